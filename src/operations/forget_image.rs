//! Forgets the record of an image whose file is gone for good. Nothing on any storage is touched.

use std::sync::Arc;

use super::{Failure, Service, deletion_facts, find_image, image_object};
use crate::{
    authorize::{self, Actor, right},
    db::{DbError, images, usage},
    domain::{
        audit::{Action, Entry},
        deletion,
        ids::ImageId,
    },
};

/// Forgets an image's record, if the rule allows; answers its name.
pub async fn run(service: &Service, actor: &Arc<Actor>, id: ImageId) -> Result<String, Failure> {
    authorize::write::<right::ForgetImage, _>(&service.db, actor, id, move |tx, granted| {
        let found = find_image(tx.conn(), granted.on())?;
        let machines = usage::machines_of(tx.conn(), &[id])?.remove(&id).unwrap_or_default();
        let facts = deletion_facts(&found, &machines, &granted.actor().device);
        deletion::may_forget(&facts).map_err(|reason| Failure::refused(reason.code(), reason.sentence()))?;
        match images::delete(tx, id) {
            Err(DbError::InUse) => return Err(Failure::refused("image.in_use", "A virtual machine was given this image meanwhile.")),
            other => drop(other?),
        }
        let detail = format!("It lay on “{}”.", found.storage.name);
        granted.record(tx, &Entry::done(Action::ForgetImage, image_object(&found)).with(detail))?;
        Ok(found.image.name)
    })
    .await
}
