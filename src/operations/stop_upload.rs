//! Ends a transfer that will not be completed: the image is Pending and says why, its bytes are dropped, its space is free.

use std::sync::Arc;

use super::{Failure, Service, find_image};
use crate::{
    authorize::{self, Actor, right},
    clock::{self, Timestamp},
    db::{
        Tx, events,
        events::Author,
        images::{self, Found},
        uploads,
        uploads::Upload,
    },
    domain::{
        audit::{Action, Entry, Object, ObjectKind, Outcome},
        ids::ImageId,
        size,
        upload::Stopped,
    },
    meter::{self, Ended},
};

/// Ends a transfer inside a transaction; true if it was the image's present one.
pub fn in_transaction(
    tx: &mut Tx<'_>,
    upload: &Upload,
    why: Stopped,
    detail: &str,
    author: &Author,
    now: Timestamp,
) -> Result<bool, Failure> {
    let image = upload.image_id;
    images::lock(tx, image)?;
    if !uploads::stop(tx, image, upload.fence, why, detail, now)? {
        return Ok(false);
    }
    images::fall_back(tx, image, now)?;
    let name = crate::db::name_of(tx.conn(), ObjectKind::Image, &image.to_string())?;
    let object = Object::new(ObjectKind::Image, image, name);
    let (action, outcome) =
        if why == Stopped::Refused { (Action::RefuseFile, Outcome::Refused) } else { (Action::StopUpload, Outcome::Failed) };
    let sent = match why {
        Stopped::NeverSent => String::new(),
        _ => format!(" {} had arrived.", size::words(upload.offset())),
    };
    let detail = if detail.is_empty() { format!("{}{sent}", why.words()) } else { format!("{} {detail}{sent}", why.words()) };
    events::insert(tx, author, &Entry::done(action, object).ended(outcome).with(detail), now)?;
    Ok(true)
}

/// Somebody cancels the transfer of an image, if one is under way; answers the image as it was.
pub async fn cancel(service: &Service, actor: &Arc<Actor>, id: ImageId) -> Result<Found, Failure> {
    let found = authorize::read::<right::UpdateImage, _>(&service.db, actor, id, |conn, granted| find_image(conn, granted.on())).await?;
    if let Some(upload) = found.upload.as_ref().filter(|upload| upload.stopped().is_none()) {
        run(service, id, upload.fence, (Stopped::Interrupted, Ended::Cancelled), "It was cancelled.".to_owned(), actor.author()).await?;
    }
    Ok(found)
}

/// Ends the present transfer of an image if it has this fence, and drops its bytes. It is counted as ended in the way of `how`.
pub async fn run(
    service: &Service,
    image: ImageId,
    fence: i64,
    (why, how): (Stopped, Ended),
    detail: String,
    author: Author,
) -> Result<(), Failure> {
    let (storage, stopped) = service
        .db
        .write(move |tx| {
            let found = images::by_id(tx.conn(), image)?;
            let present = found.as_ref().and_then(|found| found.upload.as_ref()).filter(|upload| upload.fence == fence);
            let stopped = match present {
                Some(upload) => in_transaction(tx, upload, why, &detail, &author, clock::now())?,
                None => false,
            };
            Ok::<_, Failure>((found.map(|found| found.storage), stopped))
        })
        .await?;
    if stopped {
        meter::upload_ended(how);
    }
    // A transfer that is alive in this process removes its part itself.
    if let (Some(storage), Some(busy)) = (storage, service.storages.occupy(image)) {
        let handle = service.handle(&storage);
        // What cannot be removed now is removed by the next comparison of the storage with the records.
        if let Err(failed) = handle
            .run(move |directory| {
                let _busy = busy;
                directory.remove_part(image)
            })
            .await
        {
            tracing::info!(image = %image, error = %failed, "the bytes of a stopped upload stay until the storage is looked through");
        }
    }
    Ok(())
}
