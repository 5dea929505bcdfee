//! Ends a transfer that will not be completed now: the image is Pending and says why. What was sent is kept for when it goes on, with its
//! space, or dropped, by what ended it.

use std::{sync::Arc, time::Duration};

use super::{Failure, Service, find_image, resume_upload};
use crate::{
    authorize::{self, Actor, right},
    clock::{self, Timestamp},
    db::{
        Tx, events,
        events::Author,
        images::{self, Found},
        storages::Storage,
        uploads,
        uploads::Upload,
    },
    domain::{
        audit::{Action, Entry, Object, ObjectKind, Outcome},
        ids::ImageId,
        image::Stored,
        size,
        storage::Health,
        upload::Stopped,
    },
    meter::{self, Ended},
    storage::{Busy, Directory},
};

/// How a transfer ends.
#[derive(Debug, Clone)]
pub struct End {
    /// Why.
    pub why: Stopped,
    /// More of it, in a sentence, or nothing.
    pub detail: String,
    /// What it is counted as.
    pub counted: Ended,
    /// Whether the storage still has what was sent, as far as anybody knows.
    pub survives: bool,
}

impl End {
    /// An end after which the storage has what it had.
    pub fn of(why: Stopped, counted: Ended, detail: impl Into<String>) -> Self {
        Self { why, detail: detail.into(), counted, survives: true }
    }
}

/// Whether a transfer was ended, and whether its bytes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// It was the image's present one.
    pub stopped: bool,
    /// Its bytes are kept.
    pub kept: bool,
    /// Its bytes are not kept, and left to the transfer of this process that is at them.
    pub left: bool,
}

/// Ends a transfer inside a transaction. What was sent is kept for `kept_for`, where it can be continued.
pub fn in_transaction(
    tx: &mut Tx<'_>,
    upload: &Upload,
    end: &End,
    kept_for: Duration,
    author: &Author,
    now: Timestamp,
) -> Result<Done, Failure> {
    let image = upload.image_id;
    images::lock(tx, image)?;
    let kept = end.why.keeps() && end.survives && upload.exact && upload.offset() > 0;
    let kept_until = kept.then(|| now.plus(kept_for));
    if !uploads::stop(tx, image, upload.fence, (end.why, &end.detail), kept_until, now)? {
        return Ok(Done { stopped: false, kept: false, left: false });
    }
    images::fall_back(tx, image, kept, now)?;
    let name = crate::db::name_of(tx.conn(), ObjectKind::Image, &image.to_string())?;
    let object = Object::new(ObjectKind::Image, image, name);
    let (action, outcome) =
        if end.why == Stopped::Refused { (Action::RefuseFile, Outcome::Refused) } else { (Action::StopUpload, Outcome::Failed) };
    let sent = match (end.why, kept_until) {
        (Stopped::NeverSent, _) => String::new(),
        (_, None) => format!(" {} had arrived.", size::words(upload.offset())),
        (_, Some(until)) => format!(" {} had arrived and are kept until {}.", size::words(upload.offset()), until.words()),
    };
    let (words, detail) = (end.why.words(), &end.detail);
    let detail = if detail.is_empty() { format!("{words}{sent}") } else { format!("{words} {detail}{sent}") };
    events::insert(tx, author, &Entry::done(action, object).ended(outcome).with(detail), now)?;
    Ok(Done { stopped: true, kept, left: false })
}

/// Somebody gives an upload up, under way or interrupted; nothing of it is kept. Answers the image as it was.
pub async fn cancel(service: &Service, actor: &Arc<Actor>, id: ImageId) -> Result<Found, Failure> {
    let found = authorize::read::<right::UpdateImage, _>(&service.db, actor, id, |conn, granted| find_image(conn, granted.on())).await?;
    let Some(upload) = &found.upload else { return Ok(found) };
    if upload.stopped().is_none() {
        let done = run(service, id, upload.fence, End::of(Stopped::Cancelled, Ended::Cancelled, ""), actor.author()).await?;
        // Whoever still waits for its sender need not wait any longer.
        service.storages.ask_to_end(id, Duration::ZERO);
        if done.left {
            // On a task of its own: whoever asked may not wait for it.
            let _ = tokio::spawn(drop_when_free(service.clone(), id)).await;
        }
    } else if upload.expires_at().is_some() {
        forget(service, upload, Stopped::Cancelled, actor.author()).await?;
    }
    Ok(found)
}

/// Drops the bytes of an upload that is over, when nobody is at them any more: a request that had them, or was about to, can be cut off
/// before it learns that they are nobody's.
async fn drop_when_free(service: Service, image: ImageId) {
    let Ok(busy) = resume_upload::turn(&service, image).await else { return service.compare.notify_one() };
    let found = service.db.read(move |conn| Ok::<_, Failure>(images::by_id(conn, image)?)).await;
    let Ok(Some(found)) = found else { return };
    let is_over = |upload: &Upload| upload.stopped().is_some() && upload.expires_at().is_none();
    if found.image.status == Stored::Pending && found.upload.as_ref().is_some_and(is_over) {
        drop_part(&service, &found.storage, busy, image).await;
    }
}

/// What cannot be removed now is removed by the next comparison of the storage with the records.
async fn drop_part(service: &Service, storage: &Storage, busy: Busy, image: ImageId) {
    let removal = move |directory: &Directory| {
        let _busy = busy;
        directory.remove_part(image)
    };
    if let Err(failed) = service.handle(storage).run(removal).await {
        tracing::info!(image = %image, error = %failed, "the bytes of a stopped upload stay until the storage is looked through");
    }
}

/// Drops what was kept of an interrupted upload.
pub async fn forget(service: &Service, upload: &Upload, why: Stopped, author: Author) -> Result<(), Failure> {
    let (image, upload) = (upload.image_id, upload.clone());
    let storage = service
        .db
        .write(move |tx| {
            let now = clock::now();
            images::lock(tx, image)?;
            if !uploads::drop_kept(tx, image, upload.fence, why, now)? {
                return Ok(None);
            }
            images::set_reserved(tx, image, 0)?;
            let name = crate::db::name_of(tx.conn(), ObjectKind::Image, &image.to_string())?;
            let entry = Entry::done(Action::StopUpload, Object::new(ObjectKind::Image, image, name));
            let detail = format!("{} The {} that had arrived are dropped.", why.words(), size::words(upload.offset()));
            events::insert(tx, &author, &entry.with(detail), now)?;
            Ok::<_, Failure>(images::by_id(tx.conn(), image)?.map(|found| found.storage))
        })
        .await?;
    // A storage that is away is looked through when it is back.
    if let (Some(storage), Some(busy)) = (storage.filter(|storage| storage.health == Health::Healthy), service.storages.occupy(image)) {
        let removal = move |directory: &Directory| {
            let _busy = busy;
            // The service may have stopped between renaming the file and recording it.
            directory.remove(image)
        };
        if let Err(failed) = service.handle(&storage).run(removal).await {
            tracing::info!(image = %image, error = %failed, "the bytes of an upload that is over stay until the storage is looked through");
        }
    }
    Ok(())
}

/// Ends the present transfer of an image if it has this fence; where its bytes are not kept they are dropped, unless a transfer of this
/// process is still at them, which then does that itself.
pub async fn run(service: &Service, image: ImageId, fence: i64, end: End, author: Author) -> Result<Done, Failure> {
    let (kept_for, counted) = (service.config.upload_expiry, end.counted);
    let (storage, done) = service
        .db
        .write(move |tx| {
            let found = images::by_id(tx.conn(), image)?;
            let present = found.as_ref().and_then(|found| found.upload.as_ref()).filter(|upload| upload.fence == fence);
            let done = match present {
                Some(upload) => in_transaction(tx, upload, &end, kept_for, &author, clock::now())?,
                None => Done { stopped: false, kept: false, left: false },
            };
            Ok::<_, Failure>((found.map(|found| found.storage), done))
        })
        .await?;
    if done.stopped {
        meter::upload_ended(counted);
    }
    if !done.stopped || done.kept {
        return Ok(done);
    }
    match (storage, service.storages.occupy(image)) {
        (Some(storage), Some(busy)) => drop_part(service, &storage, busy, image).await,
        _ => return Ok(Done { left: true, ..done }),
    }
    Ok(done)
}
