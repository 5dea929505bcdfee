//! What must hold after every start: RELIABILITY.md's I-01 (an Available image has its bytes), I-02 (what was acknowledged is there), I-06
//! (files and records agree), I-07 (nothing is stuck), I-08 and I-12 (deleted is gone, promises of space are given back), I-24 (one line in the
//! audit log for each change).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::AT_FDCWD,
    sys::{
        stat::{UtimensatFlags, utimensat},
        time::{TimeSpec, TimeValLike},
    },
};
use sha2::{Digest, Sha256};

use super::{
    client::Client,
    ledger::{Done, Ledger},
    media,
    records::{EventRow, ImageRow, Records, StorageRow},
};

/// Within this after its start the service has ended what the last process was at, and removed what it left. Measured: 2 s for 99 of 100; more
/// is for machines that are busy.
pub const RECOVERS_WITHIN: Duration = Duration::from_secs(15);

/// What was looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Looked {
    pub images: u64,
    pub available: u64,
    pub bytes_hashed: u64,
    pub pending_pages: u64,
    pub events: u64,
    pub files: u64,
    pub temporary: u64,
}

impl std::ops::AddAssign for Looked {
    fn add_assign(&mut self, other: Self) {
        self.images += other.images;
        self.available += other.available;
        self.bytes_hashed += other.bytes_hashed;
        self.pending_pages += other.pending_pages;
        self.events += other.events;
        self.files += other.files;
        self.temporary += other.temporary;
    }
}

/// Waits until the service has come to rest: nothing moves, and nothing is left over. Answers how long that took, or what was still
/// there when the time was up.
pub fn wait_for_rest(url: &str, within: Duration) -> Result<Duration, Vec<String>> {
    let began = Instant::now();
    let mut records = Records::open(url);
    loop {
        let moving = records.moving();
        let left = if moving.is_empty() { leftovers(&mut records) } else { moving };
        if left.is_empty() {
            return Ok(began.elapsed());
        }
        if began.elapsed() > within {
            return Err(left.into_iter().map(|what| format!("after {} s: {what}", within.as_secs())).collect());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Files on storages that are there without being an Available image's.
fn leftovers(records: &mut Records) -> Vec<String> {
    let images = records.images();
    let mut left = Vec::new();
    for storage in records.storages().into_iter().filter(|storage| storage.health == "healthy") {
        let should: BTreeSet<&str> = images
            .iter()
            .filter(|image| image.storage_id == storage.id && image.status == "available")
            .map(|image| image.id.as_str())
            .collect();
        for name in names(&Path::new(&storage.path).join("images")) {
            let id = name.split('.').next().unwrap_or_default();
            if !should.contains(id) {
                left.push(format!("{}/images/{name} is nobody's", storage.path));
            }
        }
        left.extend(
            names(&Path::new(&storage.path).join("staging"))
                .into_iter()
                .filter(|name| name.ends_with(".part") && !is_kept(name, &images))
                .map(|name| format!("{}/staging/{name} was left", storage.path)),
        );
    }
    left
}

/// Whether this is the part of an interrupted upload that is kept for when it goes on.
fn is_kept(name: &str, images: &[ImageRow]) -> bool {
    images.iter().any(|image| image.kept.is_some() && name.strip_suffix(".part") == Some(image.id.as_str()))
}

/// What is kept of an interrupted upload is on its storage, and is what was sent: the running hash says so. No more room is promised to it
/// than for what is missing.
fn kept(images: &[ImageRow], storages: &[StorageRow], faults: &mut Vec<String>) {
    for image in images {
        let (Some(kept), Some(state)) = (image.kept, &image.hash_state) else { continue };
        let Some(storage) = storages.iter().find(|storage| storage.id == image.storage_id && storage.health == "healthy") else { continue };
        let offset = u64::try_from(kept).unwrap();
        if image.reserved_bytes > image.size_bytes - kept {
            faults.push(format!(
                "{} bytes are promised to {}, of which {kept} of {} are there",
                image.reserved_bytes, image.id, image.size_bytes
            ));
        }
        let path = Path::new(&storage.path).join(format!("staging/{}.part", image.id));
        let taken_back = fs::read(&path);
        let Ok(bytes) = taken_back else {
            faults.push(format!("{kept} bytes of {} are recorded as kept, and {} is not there", image.id, path.display()));
            continue;
        };
        let expected = vmimg::storage::Checkpoint { offset, hash_state: state.clone() }.sha256();
        let has = bytes.get(..usize::try_from(offset).unwrap()).map(|bytes| <[u8; 32]>::from(Sha256::digest(bytes)));
        if expected.ok() != has {
            faults.push(format!("{} of the {kept} bytes that are recorded of {} are not what was sent", bytes.len(), image.id));
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Compares everything with the ledger, and writes into the ledger what had been open. The service has come to rest.
pub fn everything(url: &str, ledger: &mut Ledger, client: &Client) -> Result<Looked, Vec<String>> {
    let mut faults = Vec::new();
    let mut looked = Looked::default();
    let mut records = Records::open(url);
    let (images, storages, events) = (records.images(), records.storages(), records.events());
    let rows: BTreeMap<&str, &ImageRow> = images.iter().map(|row| (row.id.as_str(), row)).collect();
    let health: BTreeMap<&str, &str> = storages.iter().map(|storage| (storage.id.as_str(), storage.health.as_str())).collect();
    roaming(ledger, &health, &events, &mut faults);
    kept(&images, &storages, &mut faults);
    let edits = the_ledger(ledger, &images, &health, client, &mut looked, &mut faults);
    // Rows that nobody asked for.
    let asked: BTreeSet<&str> = ledger.images.iter().filter_map(|image| image.id.as_deref()).collect();
    for row in &images {
        let is_away = health.get(row.storage_id.as_str()) == Some(&"removed");
        if !(asked.contains(row.id.as_str()) || row.status == "deleting" && is_away) {
            faults.push(format!("image {} “{}” {} is in the records and nobody made it", row.id, row.name, row.status));
        }
        if row.reserved_bytes != 0 && row.kept.is_none() {
            faults.push(format!("{} bytes are still promised to image {}", row.reserved_bytes, row.id));
        }
        if row.file_state != "sound" {
            faults.push(format!("image {}: its file is {}", row.id, row.file_state));
        }
    }
    audit(&events, &rows, &edits, &mut faults);
    (looked.images, looked.events) = (images.len() as u64, events.len() as u64);
    for storage in &storages {
        files(storage, &images, &mut looked, &mut faults);
        if storage.health == "healthy" {
            looked.temporary += temporary(storage, client, &mut faults);
        }
    }
    for orphan in records.texts("SELECT u.image_id AS t FROM uploads AS u LEFT JOIN images AS i ON i.id = u.image_id WHERE i.id IS NULL OR i.status IN ('available', 'deleting')") {
        faults.push(format!("the transfer of {orphan} is recorded although it is over"));
    }
    ledger.images.retain(|image| image.deleted != Done::Yes && image.created == Done::Yes);
    if faults.is_empty() { Ok(looked) } else { Err(faults) }
}

fn roaming(ledger: &mut Ledger, health: &BTreeMap<&str, &str>, events: &[EventRow], faults: &mut Vec<String>) {
    let roaming = &mut ledger.roaming;
    if roaming.id.is_empty() {
        return;
    }
    let is_removed = match health.get(roaming.id.as_str()) {
        Some(health) => *health == "removed",
        None => return faults.push("the record of the storage is gone".to_owned()),
    };
    match roaming.removed {
        Some(removed) if removed != is_removed => {
            faults.push(format!("the storage was acknowledged as {}, and is not", if removed { "removed" } else { "added again" }));
        }
        Some(_) => {}
        None => {
            if let Some(removal) = roaming.perhaps.take().filter(|removal| *removal == is_removed) {
                *(if removal { &mut roaming.removals } else { &mut roaming.returns }) += 1;
            }
            roaming.removed = Some(is_removed);
        }
    }
    for (action, should) in [("remove_storage", roaming.removals), ("return_storage", roaming.returns), ("add_storage", 1)] {
        let has = events.iter().filter(|event| event.action == action && event.outcome == "done" && event.object == roaming.id).count();
        if has != should {
            faults.push(format!("{action} stands {has} times in the audit log and was done {should} times"));
        }
    }
}

/// Compares each image of the ledger with its row; answers how often each was edited.
fn the_ledger(
    ledger: &mut Ledger,
    images: &[ImageRow],
    health: &BTreeMap<&str, &str>,
    client: &Client,
    looked: &mut Looked,
    faults: &mut Vec<String>,
) -> BTreeMap<String, usize> {
    let mut edits = BTreeMap::new();
    for image in &mut ledger.images {
        let row = images.iter().find(|row| match &image.id {
            Some(id) => row.id == *id,
            None => row.name == image.words.name,
        });
        let row = row.filter(|row| row.status != "deleting");
        let name = image.words.name.clone();
        let id = image.id.clone().or(row.map(|row| row.id.clone())).unwrap_or_default();
        let mut fault = |what: String| faults.push(format!("image {id} “{name}” {what}"));
        let Some(row) = row else {
            match (image.created, image.deleted) {
                (Done::Yes, Done::No) => fault("was acknowledged and is not in the records".to_owned()),
                _ => image.deleted = Done::Yes,
            }
            continue;
        };
        if image.deleted == Done::Yes {
            fault(format!("was acknowledged as deleted and is {}", row.status));
        }
        image.deleted = Done::No;
        (image.id, image.created) = (Some(row.id.clone()), Done::Yes);
        match image.perhaps.take() {
            Some(perhaps) if perhaps.name == row.name && perhaps.note == row.note => {
                image.words = perhaps;
                image.edits += 1;
            }
            _ if image.words.name == row.name && image.words.note == row.note => {}
            perhaps => fault(format!("is called “{}” with the note “{}”; an edit that was under way: {perhaps:?}", row.name, row.note)),
        }
        edits.insert(row.id.clone(), image.edits);
        match (row.status.as_str(), image.complete) {
            ("available", Done::No) => fault("is Available although its file was refused or never sent whole".to_owned()),
            ("available", _) => {
                if row.sha256.as_deref() != Some(&image.sha256) || row.size_bytes != i64::try_from(image.bytes).unwrap() {
                    fault(format!(
                        "has {} bytes and SHA-256 {:?}; sent were {} and {}",
                        row.size_bytes, row.sha256, image.bytes, image.sha256
                    ));
                }
                image.complete = Done::Yes;
            }
            (status, Done::Yes) => fault(format!("was acknowledged as complete and is {status}")),
            ("pending", _) => {
                image.complete = Done::No;
                pending(image.interrupted, row, health.get(row.storage_id.as_str()) == Some(&"healthy"), client, looked, &mut fault);
            }
            (status, _) => fault(format!("is {status}")),
        }
        image.interrupted = false;
    }
    edits
}

/// An interrupted image says so, in the records and on its page.
fn pending(interrupted: bool, row: &ImageRow, is_here: bool, client: &Client, looked: &mut Looked, fault: &mut impl FnMut(String)) {
    let Some(stopped) = &row.stopped else { return fault("is Pending and does not say why".to_owned()) };
    if interrupted && !matches!(stopped.as_str(), "service_stopped" | "storage_removed" | "never_sent") {
        fault(format!("was interrupted by the kill and says {stopped}"));
    }
    if !is_here {
        return;
    }
    let words = match stopped.parse::<vmimg::domain::upload::Stopped>() {
        Ok(stopped) => stopped.words(),
        Err(_) => return fault(format!("says {stopped}, which nobody understands")),
    };
    match client.get(&format!("/images/{}", row.id)) {
        Ok(page) if page.status == 200 && page.text().contains("Pending") && page.text().contains(words) => looked.pending_pages += 1,
        Ok(page) => fault(format!("does not show “Pending” and “{words}”: {}", page.words())),
        Err(lost) => fault(format!("has no page: {}", lost.0)),
    }
}

/// Replays the audit log: each image goes through the states that PRODUCT.md lists, one line for each step, and ends where its row is.
fn audit(events: &[EventRow], rows: &BTreeMap<&str, &ImageRow>, edits: &BTreeMap<String, usize>, faults: &mut Vec<String>) {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum State {
        None,
        Pending,
        Uploading,
        Available,
        Deleted,
        Gone,
    }
    let mut states: BTreeMap<&str, (State, usize)> = BTreeMap::new();
    for event in events {
        let id = event.object.as_str();
        let (state, edited) = states.entry(id).or_insert((State::None, 0));
        let next = match (event.action.as_str(), event.outcome.as_str(), *state) {
            ("create_image", "done", State::None) => State::Pending,
            ("begin_upload", "done", State::Pending) => State::Uploading,
            ("continue_upload" | "take_over_upload", "done", State::Pending | State::Uploading) => State::Uploading,
            ("stop_upload", "failed", State::Pending | State::Uploading) => State::Pending,
            ("stop_upload", "done", State::Pending) => State::Pending,
            ("refuse_file", "refused", State::Uploading) => State::Pending,
            ("complete_upload", "done", State::Uploading) => State::Available,
            ("delete_image", "done", State::Pending | State::Uploading | State::Available) => State::Deleted,
            ("remove_file", "done", State::Deleted) => State::Gone,
            ("edit_image", "done", State::Pending | State::Uploading | State::Available) => {
                *edited += 1;
                *state
            }
            (
                "create_image" | "begin_upload" | "stop_upload" | "refuse_file" | "complete_upload" | "delete_image" | "remove_file"
                | "edit_image",
                "refused" | "denied",
                _,
            ) => continue,
            (
                "create_image" | "begin_upload" | "stop_upload" | "refuse_file" | "complete_upload" | "delete_image" | "remove_file"
                | "edit_image" | "file_lost" | "file_found",
                outcome,
                was,
            ) => {
                faults.push(format!("the audit log has {} ({outcome}) of {id} “{}” after {was:?}", event.action, event.object_name));
                continue;
            }
            _ => continue,
        };
        *state = next;
    }
    for (id, (state, edited)) in &states {
        let row = rows.get(id);
        let agrees = match (state, row.map(|row| row.status.as_str())) {
            (State::None, _) => continue,
            (State::Pending, Some("pending"))
            | (State::Available, Some("available"))
            | (State::Deleted, Some("deleting"))
            | (State::Gone, None) => true,
            _ => false,
        };
        if !agrees {
            faults.push(format!("image {id} is {state:?} by the audit log and {:?} in the records", row.map(|row| &row.status)));
        }
        if let Some(made) = edits.get(*id).filter(|made| *made != edited) {
            faults.push(format!("image {id} was edited {made} times, and {edited} edits stand in the audit log"));
        }
    }
    for id in rows.keys().filter(|id| !states.contains_key(**id)) {
        faults.push(format!("image {id} has no line in the audit log"));
    }
}

/// Every Available image has its file, with its bytes and its description; on a storage that is there, nothing else lies beside them.
fn files(storage: &StorageRow, images: &[ImageRow], looked: &mut Looked, faults: &mut Vec<String>) {
    let root = Path::new(&storage.path);
    let mut should = BTreeSet::new();
    for image in images.iter().filter(|image| image.storage_id == storage.id && image.status == "available") {
        let path = root.join("images").join(format!("{}.iso", image.id));
        should.insert(format!("{}.iso", image.id));
        should.insert(format!("{}.json", image.id));
        match fs::read(&path) {
            Ok(bytes) => {
                if Some(media::sha256(&bytes).as_str()) != image.sha256.as_deref() {
                    faults.push(format!("{} is Available and its file has other bytes", image.id));
                }
                looked.available += 1;
                looked.bytes_hashed += bytes.len() as u64;
                let about = fs::metadata(&path).unwrap();
                if about.permissions().mode() & 0o7777 != 0o440 || about.nlink() != 1 {
                    faults.push(format!("{} has mode {:o} and {} names", path.display(), about.permissions().mode(), about.nlink()));
                }
            }
            Err(failed) => faults.push(format!("{} is Available, but {}: {failed}", image.id, path.display())),
        }
        let described = fs::read(path.with_extension("json")).ok().and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
        let Some(described) = described else {
            faults.push(format!("{} is Available and has no description beside it", image.id));
            continue;
        };
        // A storage that was removed meanwhile gets its descriptions when it is back.
        let same = described["sha256"].as_str() == image.sha256.as_deref()
            && (storage.health == "removed" || described["name"] == image.name.as_str() && described["note"] == image.note.as_str());
        if !same {
            faults.push(format!("the description beside {} “{}” “{}” says {described}", image.id, image.name, image.note));
        }
    }
    looked.files += should.len() as u64;
    if storage.health != "removed" {
        for name in names(&root.join("images")).into_iter().filter(|name| !should.contains(name)) {
            faults.push(format!("{}/images/{name} is nobody's", storage.path));
        }
        for name in names(&root.join("staging")).into_iter().filter(|name| !name.starts_with(".vmimg-") && !is_kept(name, images)) {
            faults.push(format!("{}/staging/{name} was left", storage.path));
        }
    }
}

/// Momentary files that a process left when it died go when they are ten minutes old: here they are made as old, and the storage is looked
/// at. Answers how many there were.
fn temporary(storage: &StorageRow, client: &Client, faults: &mut Vec<String>) -> u64 {
    let root = Path::new(&storage.path);
    let find = || -> Vec<_> {
        [root.to_owned(), root.join("staging"), root.join("images")]
            .iter()
            .flat_map(|folder| {
                names(folder)
                    .into_iter()
                    .filter(|name| name.starts_with(".vmimg-") && name != ".vmimg-storage.json")
                    .map(|name| folder.join(name))
            })
            .collect()
    };
    let left = find();
    let old = TimeSpec::seconds(i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()).unwrap() - 700);
    let mut aged = 0;
    for path in &left {
        // The watcher's own little file may be gone again by now.
        aged += u64::from(utimensat(AT_FDCWD, path, &old, &old, UtimensatFlags::NoFollowSymlink).is_ok());
    }
    if aged == 0 {
        return 0;
    }
    let section = if storage.kind == "local" { "local-storages" } else { "datastores" };
    if let Err(lost) = client.post(&format!("/{section}/{}/check", storage.id), &[]) {
        faults.push(format!("checking a storage: {}", lost.0));
    }
    for path in find().iter().filter(|path| left.contains(path)) {
        faults.push(format!("{} stays for ever", path.display()));
    }
    aged
}
