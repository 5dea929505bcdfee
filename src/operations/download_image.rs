//! Hands out the file of an Available image.

use std::{fs::File, path::Path, sync::Arc};

use super::{Failure, Service, check_storage, find_image, image_object};
use crate::{
    authorize::{self, Actor, right},
    clock,
    db::images::Found,
    domain::{
        audit::{Action, Entry},
        ids::ImageId,
        image::{FileState, Shown},
    },
};

/// Opens the file of an image; `first` says that this request begins a download, which is recorded.
pub async fn run(service: &Service, actor: &Arc<Actor>, id: ImageId, first: bool) -> Result<(Found, File), Failure> {
    let found = authorize::read::<right::DownloadImage, _>(&service.db, actor, id, |conn, granted| find_image(conn, granted.on())).await?;
    if found.shown() != Shown::Available {
        let sentence = format!("The image is {}. {}", found.shown().words(), found.shown().meaning());
        return Err(Failure::refused("image.not_available", sentence));
    }
    let handle = service.storages.at(found.storage.id, Path::new(&found.storage.path));
    let file = handle.run(move |directory| directory.open_file(id)).await?;
    let length = file.metadata().map_err(|failed| Failure::Broken(failed.to_string()))?.len();
    if length != found.image.size() {
        // Never silently served: the record says so from now on.
        let storage = found.storage.id;
        service
            .db
            .write(move |tx| check_storage::record_file(tx, storage, id, FileState::Changed, &check_storage::watcher(), clock::now()))
            .await?;
        return Err(Failure::refused(
            "image.changed",
            "The file does not have the recorded bytes any more. It was changed by other hands.",
        ));
    }
    if first {
        let object = image_object(&found);
        authorize::write::<right::DownloadImage, _>(&service.db, actor, id, move |tx, granted| {
            granted.record(tx, &Entry::done(Action::DownloadImage, object))
        })
        .await?;
    }
    Ok((found, file))
}
