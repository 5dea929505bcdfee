//! Starts the service on a crashed disk: it must come up, clear up, and show nothing that is not so.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use diesel::{QueryableByName, RunQueryDsl, SqliteConnection, sql_query, sql_types};

use crate::{
    Result,
    console::{ADMIN, Console, Place},
    disk::Scratch,
    workload::{Recording, Records, look_into, rows, sha256},
};

/// How long clearing up may take.
const CLEARED_WITHIN: Duration = Duration::from_secs(30);

#[derive(QueryableByName)]
struct Word {
    #[diesel(sql_type = sql_types::Text)]
    t: String,
}

/// What is wrong with the service on this disk, as it was after `entries`.
pub fn run(recording: &Recording, binary: &Path, folder: &Path, scratch: &Scratch, entries: u64) -> Result<Vec<String>> {
    // The records name the place where the disk was mounted when they were written.
    let mounted = match recording.file_system.mount(&scratch.device.device, &recording.mounted_at) {
        Ok(mounted) => mounted,
        Err(failed) => return Ok(vec![format!("the disk cannot be mounted: {failed}")]),
    };
    age_what_is_momentary(&recording.mounted_at)?;
    let data = match recording.records {
        Records::Inside => recording.mounted_at.join("data"),
        Records::Outside => {
            let data = folder.join("data-after");
            let _ = fs::remove_dir_all(&data);
            fs::create_dir_all(&data)?;
            if let Some(copy) = recording.ledger.copy_at(entries) {
                fs::copy(&copy.path, data.join("vmimg.db"))?;
            }
            data
        }
    };
    let place = Place { data, media: recording.mounted_at.clone(), log: folder.join("service-after.log") };
    let wrong = match serve(recording, binary, &place, entries) {
        Ok(wrong) => wrong,
        Err(failed) => vec![format!("the service on the crashed disk: {failed}")],
    };
    mounted.unmount()?;
    Ok(wrong)
}

fn serve(recording: &Recording, binary: &Path, place: &Place, entries: u64) -> Result<Vec<String>> {
    let console = Console::start(binary, place)?;
    let mut browser = recording.browser.at(&console.address);
    let mut wrong = Vec::new();
    if browser.get("/readyz")?.status != 200 {
        wrong.push("the service is not ready".to_owned());
    }
    if !recording.ledger.facts_at(entries).any(|fact| fact.words == "somebody is signed in") {
        // The power went during the set-up: either it is still to be done, or it was done and the answer was lost.
        let asks = console.code.as_ref().map(|code| browser.get(&format!("/setup?code={code}"))).transpose()?;
        if asks.as_ref().is_some_and(|page| page.status != 200) {
            wrong.push("the set-up cannot be done".to_owned());
        }
        if asks.is_none() {
            browser.post("/sign-in", &[("email", ADMIN.0), ("password", ADMIN.1), ("next", "/images")])?;
        }
        console.stop()?;
        return Ok(wrong);
    }
    let mut records = look_into(&place.data.join("vmimg.db"))?;
    let until = Instant::now() + CLEARED_WITHIN;
    loop {
        let left = left_over(&mut records)?;
        if left.is_empty() {
            break;
        }
        if Instant::now() > until {
            wrong.extend(left.into_iter().map(|left| format!("not cleared up: {left}")));
            break;
        }
        sleep(Duration::from_millis(100));
    }
    // Whoever was signed in still is, and every image that is shown Available can be had, byte for byte.
    for row in rows(&mut records)?.into_iter().filter(|row| row.status == "available") {
        let page = browser.page(&format!("/images/{}", row.id))?.text();
        if !page.contains(&row.sha256) {
            wrong.push(format!("the page of {} does not show its SHA-256", row.id));
        }
        let removed = page.contains("File unavailable");
        let download = browser.get(&format!("/images/{}/download", row.id))?;
        if !removed && (download.status != 200 || sha256(&download.body) != row.sha256) {
            wrong.push(format!("the download of {} is not its file", row.id));
        }
    }
    browser.page("/images")?;
    console.stop()?;
    Ok(wrong)
}

/// What is kept of an interrupted upload.
#[derive(QueryableByName)]
struct Kept {
    #[diesel(sql_type = sql_types::Text)]
    id: String,
    #[diesel(sql_type = sql_types::Text)]
    storage: String,
    #[diesel(sql_type = sql_types::BigInt)]
    offset_bytes: i64,
    #[diesel(sql_type = sql_types::Binary)]
    hash_state: Vec<u8>,
}

/// What is not as it should be in the end: transfers without an end, work that is not done, marks on files, files that are not records.
fn left_over(records: &mut SqliteConnection) -> Result<Vec<String>> {
    let statement = "SELECT id || ' is ' || status AS t FROM images WHERE status IN ('uploading', 'deleting') \
                     UNION ALL SELECT 'the file of ' || id || ' is ' || file_state FROM images WHERE status = 'available' AND file_state <> 'sound' \
                     UNION ALL SELECT 'a job: ' || kind || ' ' || image_id || ' ' || COALESCE(error, '') FROM jobs \
                     UNION ALL SELECT 'the transfer of ' || image_id || ' has a lease' FROM uploads WHERE lease_until IS NOT NULL \
                     UNION ALL SELECT id || ' has space promised' FROM images WHERE reserved_bytes > 0 AND id NOT IN (SELECT image_id FROM uploads WHERE expires_at IS NOT NULL) \
                     UNION ALL SELECT 'storage ' || name || ' is degraded' FROM storages WHERE health = 'degraded' \
                     UNION ALL SELECT 'storage ' || name || ' has files that nobody knows' FROM storages WHERE health = 'healthy' AND unknown_files > 0 \
                     UNION ALL SELECT 'a foreign key points nowhere in ' || \"table\" FROM pragma_foreign_key_check";
    let found: Vec<Word> = sql_query(statement).load(records)?;
    let mut left: Vec<String> = found.into_iter().map(|word| word.t).collect();
    let healthy: Vec<Word> = sql_query("SELECT path AS t FROM storages WHERE health = 'healthy'").load(records)?;
    let images = rows(records)?;
    let kept: Vec<Kept> = sql_query(
        "SELECT i.id, s.path AS storage, u.offset_bytes, u.hash_state FROM uploads AS u JOIN images AS i ON i.id = u.image_id \
         JOIN storages AS s ON s.id = i.storage_id WHERE u.expires_at IS NOT NULL",
    )
    .load(records)?;
    for Word { t: storage } in healthy {
        let here = images.iter().filter(|row| row.storage == storage && row.status == "available");
        let should: BTreeSet<String> = here.flat_map(|row| [format!("{}.iso", row.id), format!("{}.json", row.id)]).collect();
        let root = Path::new(&storage);
        let is = names(&root.join("images"));
        left.extend(is.difference(&should).map(|name| format!("{storage}/images/{name} is nobody's")));
        left.extend(should.difference(&is).map(|name| format!("{storage}/images/{name} is missing")));
        // What was sent of an interrupted upload is kept, and is what the running hash was made of.
        let mut parts = names(&root.join("staging"));
        for kept in kept.iter().filter(|kept| kept.storage == storage) {
            let name = format!("{}.part", kept.id);
            let bytes = fs::read(root.join("staging").join(&name)).unwrap_or_default();
            let (offset, hash_state) = (u64::try_from(kept.offset_bytes)?, kept.hash_state.clone());
            let expected = vmimg::storage::Checkpoint { offset, hash_state }.sha256().ok().map(|digest| vmimg::secret::hex(&digest));
            let has = bytes.get(..usize::try_from(offset)?).map(sha256);
            if !parts.remove(&name) || expected != has {
                left.push(format!("{offset} bytes of {} are recorded, and {} are there that are others or none", kept.id, bytes.len()));
            }
        }
        left.extend(parts.into_iter().map(|name| format!("{storage}/staging/{name} is left")));
        let known = |name: &String| ["images", "staging", ".vmimg-storage.json"].contains(&name.as_str());
        // A look at the storage may be going on.
        let strange = names(root).into_iter().filter(|name| !known(name) && !name.starts_with(".vmimg-probe-"));
        left.extend(strange.map(|name| format!("{storage}/{name} is left")));
    }
    Ok(left)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(std::result::Result::ok);
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The service leaves momentary files alone that are younger than ten minutes, since another process may be writing them. The power is back
/// an hour later.
fn age_what_is_momentary(disk: &Path) -> Result<()> {
    for folder in ["first", "first/staging", "second", "second/staging", "data/storage", "data/storage/staging"] {
        for name in
            names(&disk.join(folder)).into_iter().filter(|name| name.starts_with(".vmimg-tmp-") || name.starts_with(".vmimg-probe-"))
        {
            let file = fs::File::options().write(true).open(disk.join(folder).join(name))?;
            file.set_modified(file.metadata()?.modified()? - Duration::from_secs(3_600))?;
        }
    }
    Ok(())
}
