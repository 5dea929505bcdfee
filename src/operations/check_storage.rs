//! Looks at a storage: is it reachable and writable and the right one, and do the files on it agree with the records.
//!
//! The watcher does this all the time, an administrator by "Check again". Nothing is ever removed here but what an interrupted transfer of
//! our own left behind; files that nobody knows are counted and left alone.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{Failure, Service};
use crate::{
    authorize::{self, Actor, right},
    clock::{self, Timestamp},
    db::{Conn, Tx, events, events::Author, images, jobs, storages, storages::Storage, uploads},
    domain::{
        audit::{Action, Entry, Object, ObjectKind, Outcome},
        ids::{ImageId, StorageId},
        image::{FileState, Stored},
        storage::Health,
    },
    storage::{Contents, Space, StorageError},
};

/// A storage that takes longer than this to write, flush and read back one small file is degraded.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// How long listing a storage may take.
pub const LIST_WITHIN: Duration = Duration::from_secs(120);
/// Images that are compared in one go.
const BATCH: i64 = 10_000;
/// Differences that are recorded in one transaction.
const RECORDED_AT_ONCE: usize = 200;

/// Looks at a storage for somebody, and compares its files with the records.
pub async fn run(service: &Service, actor: &Arc<Actor>, id: StorageId) -> Result<Storage, Failure> {
    let storage = authorize::read::<right::UpdateStorage, _>(&service.db, actor, id, |conn, granted| {
        let storage = storages::by_id(conn, granted.on())?.ok_or(Failure::NotFound)?;
        refuse_removed(&storage)?;
        Ok(storage)
    })
    .await?;
    look(service, &storage).await?;
    let author = actor.author();
    authorize::write::<right::UpdateStorage, _>(&service.db, actor, id, move |tx, granted| {
        let storage = storages::by_id(tx.conn(), granted.on())?.ok_or(Failure::NotFound)?;
        let detail = storage.cause.clone().unwrap_or_else(|| storage.health.words().to_owned());
        let object = Object::new(ObjectKind::Storage, storage.id, storage.name.clone());
        events::insert(tx, &author, &Entry::done(Action::CheckStorage, object).with(detail), clock::now())?;
        Ok(storage)
    })
    .await?;
    let storage = service.db.read(move |conn| storages::by_id(conn, id)?.ok_or(Failure::NotFound)).await?;
    if storage.health == Health::Healthy {
        reconcile(service, &storage).await?;
    }
    Ok(storage)
}

/// Nothing is done with a removed storage but to add it again.
pub fn refuse_removed(storage: &Storage) -> Result<(), Failure> {
    if storage.health == Health::Removed {
        return Err(Failure::refused("storage.removed", "This storage has been removed. Add it again to bring it back."));
    }
    Ok(())
}

/// The service itself as the author of what it notices.
pub fn watcher() -> Author {
    Author { id: None, name: "vmimg".to_owned(), address: String::new(), request_id: String::new() }
}

/// Looks at a storage once and records what it found; true if its health changed.
pub async fn look(service: &Service, storage: &Storage) -> Result<bool, Failure> {
    let handle = service.handle(storage);
    let answer = handle.probe_within(ANSWER_WITHIN).await;
    let (health, cause, space) = match &answer {
        Ok(space) => (Health::Healthy, None, Some(*space)),
        Err(StorageError::TooManyOpenFiles) => return Ok(false),
        // A full storage is healthy: it reads, and what is free says the rest.
        Err(failed) if failed.is_full() => (Health::Healthy, None, None),
        Err(failed) => (Health::Degraded, Some(cause_words(failed)), None),
    };
    let seen = storage.clone();
    let unchanged = seen.health == health && seen.cause == cause && space.is_none_or(|space| same_space(&seen, space));
    if unchanged && clock::now().since(seen.checked_at) < Duration::from_secs(30) {
        return Ok(false);
    }
    if let (Err(failed), Health::Healthy) = (&answer, seen.health) {
        tracing::warn!(storage = %seen.id, name = %seen.name, error = ?failed, "storage degraded");
    }
    service
        .db
        .write(move |tx| {
            let now = clock::now();
            let space = space.map(|space| (space.capacity_bytes, space.free_bytes));
            let turned = storages::record_look(tx, &seen, health, cause.as_deref(), space, now)?;
            if turned {
                let object = Object::new(ObjectKind::Storage, seen.id, seen.name.clone());
                let entry = if health == Health::Healthy {
                    jobs::wake(tx, seen.id, now)?;
                    Entry::done(Action::StorageHealthy, object)
                } else {
                    Entry::done(Action::StorageDegraded, object).ended(Outcome::Failed).with(cause.unwrap_or_default())
                };
                events::insert(tx, &watcher(), &entry, now)?;
            }
            Ok(turned)
        })
        .await
}

/// The cause of *Degraded*, and what to do about it.
fn cause_words(failed: &StorageError) -> String {
    let way_out = match failed {
        StorageError::NotThere { .. } | StorageError::NoMarker => " Mount the right medium there, or change the storage's path.",
        StorageError::OtherMedium { .. } => " Mount the right medium there, or change the storage's path to where it lies now.",
        StorageError::ReadOnly => " Mount it writable again.",
        StorageError::NotAnswering { .. } | StorageError::Lost { .. } => " Check the server or the cable behind it.",
        _ => "",
    };
    format!("{failed}{way_out}")
}

/// Differences below a mebibyte are not worth a write every few seconds.
fn same_space(seen: &Storage, space: Space) -> bool {
    seen.capacity() == space.capacity_bytes && seen.free().abs_diff(space.free_bytes) < 1 << 20
}

/// Compares what lies on a healthy storage with the records: files that are missing or have another size are marked, those that are back
/// are cleared, what interrupted transfers left is removed, files that nobody knows are counted.
pub async fn reconcile(service: &Service, storage: &Storage) -> Result<(), Failure> {
    let id = storage.id;
    let handle = service.handle(storage);
    // The records come first: what was Available then and is not listed afterwards is really missing.
    let recorded = service.db.read(move |conn| all_available(conn, id)).await?;
    let contents = handle.run_within(LIST_WITHIN, |directory| directory.contents()).await?;
    let listed = contents.clone();
    let leftovers = service.db.read(move |conn| leftovers(conn, id, &listed)).await?;
    for image in leftovers {
        // Whoever is at the image's files now will leave them right; and what the listing showed may be past.
        let Some(busy) = service.storages.occupy(image) else { continue };
        let listed = contents.clone();
        let left = service.db.read(move |conn| leftover(conn, id, image, &listed)).await?;
        let Some(left) = left else { continue };
        let removal = move |directory: &crate::storage::Directory| {
            // Occupied until it is done, even if nobody waits for it any more.
            let _busy = busy;
            match left {
                Leftover::Part => directory.remove_part(image),
                Leftover::Everything => directory.remove(image),
                Leftover::Unrecorded => directory.take_back(image),
            }
        };
        handle.run(removal).await?;
        tracing::info!(storage = %id, %image, "removed what an interrupted transfer had left");
    }
    let (news, unknown) = service
        .db
        .read(move |conn| {
            let known = known_files(conn, &contents)?;
            let unknown = (contents.images.len() as u64).saturating_sub(known) + contents.unknown;
            Ok::<_, Failure>((differences(recorded, &contents), unknown))
        })
        .await?;
    service.db.write(move |tx| Ok::<_, Failure>(storages::record_unknown_files(tx, id, unknown)?)).await?;
    // In small transactions: when a whole storage's files are gone, everybody else's changes must still come through.
    for batch in news.chunks(RECORDED_AT_ONCE) {
        let batch = batch.to_vec();
        service.db.write(move |tx| apply(tx, id, &batch, &watcher(), clock::now())).await?;
    }
    Ok(())
}

/// What an interrupted transfer left of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leftover {
    /// Its unfinished part; the file beside it, if any, is the image's.
    Part,
    /// Everything: nothing of it is kept.
    Everything,
    /// A file in its place although its upload goes on later: the service stopped between renaming the file and recording it.
    Unrecorded,
}

/// Images of which something may have been left: parts that no upload needs, and whole files whose image is not Available.
fn leftovers(conn: &mut Conn, id: StorageId, contents: &Contents) -> Result<Vec<ImageId>, Failure> {
    let uploads: HashMap<ImageId, bool> = uploads::parts_on(conn, id)?.into_iter().collect();
    let mut candidates: Vec<ImageId> = contents
        .parts
        .iter()
        .chain(contents.images.iter().map(|(image, _)| image))
        .chain(&contents.manifests)
        .copied()
        .filter(|image| uploads.get(image) != Some(&true))
        .collect();
    candidates.sort_unstable();
    candidates.dedup();
    let published: HashSet<ImageId> = contents.images.iter().map(|(image, _)| *image).chain(contents.manifests.iter().copied()).collect();
    let parts: HashSet<ImageId> = contents.parts.iter().copied().collect();
    let mut left = Vec::new();
    for batch in candidates.chunks(500) {
        let known: HashMap<ImageId, Stored> = images::known(conn, batch)?.into_iter().collect();
        left.extend(batch.iter().filter(|image| {
            let lies = Lies { part: parts.contains(image), published: published.contains(image) };
            judge(known.get(image).copied(), uploads.contains_key(image), lies).is_some()
        }));
    }
    Ok(left)
}

/// The same for one image, by what the records say now.
fn leftover(conn: &mut Conn, id: StorageId, image: ImageId, contents: &Contents) -> Result<Option<Leftover>, Failure> {
    let upload = uploads::parts_on(conn, id)?.into_iter().find(|(of, _)| *of == image);
    if upload.is_some_and(|(_, under_way)| under_way) {
        return Ok(None);
    }
    let state = images::known(conn, &[image])?.first().map(|(_, state)| *state);
    let published = contents.images.iter().any(|(of, _)| *of == image) || contents.manifests.contains(&image);
    let lies = Lies { part: contents.parts.contains(&image), published };
    Ok(judge(state, upload.is_some(), lies))
}

/// What lies on a storage of an image.
#[derive(Debug, Clone, Copy)]
struct Lies {
    /// Its part.
    part: bool,
    /// Its file or its manifest.
    published: bool,
}

/// What is left of an image in this state, or of one that nobody knows, without a transfer under way. `kept`: an upload of it goes on later.
fn judge(state: Option<Stored>, kept: bool, lies: Lies) -> Option<Leftover> {
    match state {
        Some(Stored::Pending | Stored::Uploading) if kept => lies.published.then_some(Leftover::Unrecorded),
        Some(Stored::Pending | Stored::Uploading) => Some(Leftover::Everything),
        Some(Stored::Available) if lies.part => Some(Leftover::Part),
        // What nobody knows came with the medium, or belongs to another installation: it is left alone.
        // A copy is under way, or a job removes the files.
        Some(Stored::Available | Stored::Creating | Stored::Deleting) | None => None,
    }
}

/// How many of the files on a storage the service has a record of.
pub fn known_files(conn: &mut Conn, contents: &Contents) -> Result<u64, Failure> {
    let ids: Vec<ImageId> = contents.images.iter().map(|(image, _)| *image).collect();
    let mut known = 0;
    for batch in ids.chunks(500) {
        known += images::known(conn, batch)?.len() as u64;
    }
    Ok(known)
}

/// All Available images of a storage, with size and last look.
pub fn all_available(conn: &mut Conn, id: StorageId) -> Result<Vec<(ImageId, u64, FileState)>, Failure> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let batch = images::available_on(conn, id, &after, BATCH)?;
        let Some((last, ..)) = batch.last() else { return Ok(all) };
        after = last.to_string();
        all.extend(batch);
    }
}

/// Images whose files are missing, have another size, or are back; what a look finds of those that it says nothing new of is left out.
pub fn differences(recorded: Vec<(ImageId, u64, FileState)>, contents: &Contents) -> Vec<(ImageId, FileState)> {
    let sizes: HashMap<ImageId, u64> = contents.images.iter().copied().collect();
    let news = |(image, recorded, last): (ImageId, u64, FileState)| {
        let found = match sizes.get(&image) {
            None => FileState::Missing,
            Some(bytes) if *bytes == recorded => FileState::Sound,
            Some(_) => FileState::Changed,
        };
        (found != last).then_some((image, found))
    };
    recorded.into_iter().filter_map(news).collect()
}

/// Records such differences. A file of the right size whose digest differed stays marked until its digest agrees: a job compares it.
pub fn apply(tx: &mut Tx<'_>, id: StorageId, news: &[(ImageId, FileState)], author: &Author, now: Timestamp) -> Result<(), Failure> {
    for (image, found) in news {
        if *found == FileState::Sound && images::file_state(tx.conn(), *image)? == Some(FileState::Changed) {
            jobs::enqueue(tx, jobs::Kind::VerifyImage, id, *image, now)?;
        } else {
            record_file(tx, id, *image, *found, author, now)?;
        }
    }
    Ok(())
}

/// Records what a look at an image's file found, with an event if it is news.
pub fn record_file(
    tx: &mut Tx<'_>,
    storage: StorageId,
    image: ImageId,
    found: FileState,
    author: &Author,
    now: Timestamp,
) -> Result<(), Failure> {
    if !images::record_look(tx, image, found, now)? {
        return Ok(());
    }
    let name = crate::db::name_of(tx.conn(), ObjectKind::Image, &image.to_string())?;
    let object = Object::new(ObjectKind::Image, image, name);
    let entry = match found {
        FileState::Sound => {
            jobs::enqueue(tx, jobs::Kind::VerifyImage, storage, image, now)?;
            Entry::done(Action::FileFound, object)
        }
        FileState::Missing => Entry::done(Action::FileLost, object).ended(Outcome::Failed).with("The file is not on the storage."),
        FileState::Changed => {
            Entry::done(Action::FileLost, object).ended(Outcome::Failed).with("The file does not have the recorded bytes.")
        }
    };
    Ok(events::insert(tx, author, &entry, now)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_an_available_image_is_never_a_leftover() {
        for (part, published) in [(false, true), (true, false), (true, true)] {
            for kept in [false, true] {
                let judge = |state| judge(state, kept, Lies { part, published });
                assert!(!matches!(judge(Some(Stored::Available)), Some(Leftover::Everything | Leftover::Unrecorded)));
                assert_eq!(judge(None), None);
                let of_pending = if !kept { Some(Leftover::Everything) } else { published.then_some(Leftover::Unrecorded) };
                assert_eq!(judge(Some(Stored::Pending)), of_pending, "what is kept is never removed");
                assert_eq!(judge(Some(Stored::Creating)), None);
                assert_eq!(judge(Some(Stored::Deleting)), None);
            }
        }
    }
}
