//! Looks at an image's file again: is it there, has it the recorded size; its digest is compared by a job.

use std::sync::Arc;

use super::{Failure, Service, check_storage, find_image, image_object};
use crate::{
    authorize::{self, Actor, right},
    clock,
    db::jobs,
    domain::{
        audit::{Action, Entry},
        ids::ImageId,
        image::{FileState, Stored},
        storage::Health,
    },
    storage::Look,
};

/// Looks at an image's file for somebody; answers what was found.
pub async fn run(service: &Service, actor: &Arc<Actor>, id: ImageId) -> Result<FileState, Failure> {
    let found = authorize::read::<right::UpdateImage, _>(&service.db, actor, id, |conn, granted| {
        let found = find_image(conn, granted.on())?;
        if found.storage.health == Health::Removed {
            let way_out = format!("Add the storage with the UUID {} again.", found.storage.id);
            return Err(Failure::refused("storage.removed", format!("The storage “{}” has been removed. {way_out}", found.storage.name)));
        }
        if found.image.status != Stored::Available {
            return Err(Failure::refused("image.incomplete", "The image has no complete file yet."));
        }
        Ok(found)
    })
    .await?;
    let handle = service.handle(&found.storage);
    let state = match handle.run(move |directory| directory.look(id)).await? {
        Look::Missing => FileState::Missing,
        Look::Present { bytes } if bytes == found.image.size() => FileState::Sound,
        Look::Present { .. } | Look::NotAFile => FileState::Changed,
    };
    let storage = found.storage.id;
    authorize::write::<right::UpdateImage, _>(&service.db, actor, id, move |tx, granted| {
        let now = clock::now();
        let author = granted.actor().author();
        if state == FileState::Sound && found.image.file_state != FileState::Missing {
            // The right size is not enough: the digest decides.
            jobs::enqueue(tx, jobs::Kind::VerifyImage, storage, id, now)?;
        } else {
            check_storage::record_file(tx, storage, id, state, &author, now)?;
        }
        let words = match state {
            FileState::Sound => "The file is there and has the recorded size.",
            FileState::Missing => "The file is missing.",
            FileState::Changed => "The file does not have the recorded bytes.",
        };
        granted.record(tx, &Entry::done(Action::CheckImage, image_object(&found)).with(words))
    })
    .await?;
    service.wake.notify_one();
    Ok(state)
}
