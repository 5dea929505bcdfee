//! Removes a storage: its images become *File unavailable*, its record stays, nothing on the medium is touched.

use std::sync::Arc;

use super::{
    Failure, Service,
    stop_upload::{self, End},
};
use crate::{
    authorize::{self, Actor, right},
    clock,
    db::{storages, uploads},
    domain::{
        audit::{Action, Entry, Object, ObjectKind},
        ids::StorageId,
        size,
        upload::Stopped,
        version::Expected,
    },
    meter::{self, Ended},
};

/// Removes a storage that still has one of the expected versions; answers its name and how many images it held.
pub async fn run(service: &Service, actor: &Arc<Actor>, id: StorageId, expected: Expected) -> Result<(String, u64), Failure> {
    let kept_for = service.config.upload_expiry;
    let (name, images, stopped) = authorize::write::<right::DeleteStorage, _>(&service.db, actor, id, move |tx, granted| {
        let now = clock::now();
        storages::lock(tx, id)?;
        let storage = storages::by_id(tx.conn(), id)?.ok_or(Failure::NotFound)?;
        if !expected.admits(storage.version) {
            return Err(Failure::Stale);
        }
        let images = storages::image_count(tx.conn(), id)?;
        let mut stopped = 0_u64;
        for upload in uploads::under_way_on(tx.conn(), id)? {
            let end = End::of(Stopped::StorageRemoved, Ended::Failed, "");
            let done = stop_upload::in_transaction(tx, &upload, &end, kept_for, &granted.actor().author(), now)?;
            stopped += u64::from(done.stopped);
        }
        if !storages::remove(tx, id, now)? {
            return Err(Failure::refused("storage.removed", "This storage has been removed already."));
        }
        let detail = match images {
            0 => "It held no images.".to_owned(),
            1 => "1 image became File unavailable.".to_owned(),
            n => format!("{} images became File unavailable.", size::grouped(n)),
        };
        let object = Object::new(ObjectKind::Storage, id, storage.name.clone());
        granted.record(tx, &Entry::done(Action::RemoveStorage, object).with(detail))?;
        Ok((storage.name, images, stopped))
    })
    .await?;
    (0..stopped).for_each(|_| meter::upload_ended(Ended::Failed));
    Ok((name, images))
}
