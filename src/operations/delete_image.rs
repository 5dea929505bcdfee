//! Deletes an image: gone for everybody at once, its files by a job.

use std::sync::Arc;

use super::{Failure, Service, deletion_facts, find_image, image_object};
use crate::{
    authorize::{self, Actor, right},
    clock,
    db::{images, jobs, uploads, usage},
    domain::{
        audit::{Action, Entry},
        deletion,
        ids::ImageId,
        version::Expected,
    },
    meter::{self, Ended},
};

/// Deletes an image that still has one of the expected versions, if the rule allows; answers its name.
pub async fn run(service: &Service, actor: &Arc<Actor>, id: ImageId, expected: Expected) -> Result<String, Failure> {
    let instance = service.instance;
    let (name, was_arriving) = authorize::write::<right::DeleteImage, _>(&service.db, actor, id, move |tx, granted| {
        let now = clock::now();
        images::lock(tx, id)?;
        let found = find_image(tx.conn(), granted.on())?;
        let machines = usage::machines_of(tx.conn(), &[id])?.remove(&id).unwrap_or_default();
        let facts = deletion_facts(&found, &machines, &granted.actor().device);
        deletion::may_delete(&facts).map_err(|reason| Failure::refused(reason.code(), reason.sentence()))?;
        if !expected.admits(found.image.version) || !images::begin_deletion(tx, id, found.image.version, now)? {
            return Err(Failure::Stale);
        }
        // Whoever is sending its bytes finds no transfer any more, and stops. Another process may not have looked yet: the record stays
        // until its lease would have ended, lest it make a file that nobody knows.
        let after = found.upload.as_ref().and_then(|upload| upload.elsewhere_until(instance)).unwrap_or(now);
        uploads::delete(tx, id)?;
        jobs::enqueue_after(tx, jobs::Kind::RemoveFiles, found.storage.id, id, after, now)?;
        granted.record(tx, &Entry::done(Action::DeleteImage, image_object(&found)))?;
        let was_arriving = found.upload.is_some_and(|upload| upload.stopped().is_none());
        Ok((found.image.name, was_arriving))
    })
    .await?;
    if was_arriving {
        meter::upload_ended(Ended::Cancelled);
    }
    service.wake.notify_one();
    Ok(name)
}
