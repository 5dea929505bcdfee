//! Hands out the file of an Available image.

use std::{fs::File, sync::Arc};

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
    storage::StorageError,
};

/// Opens the file of an image; `first` says that this request begins a download, which is recorded.
pub async fn run(service: &Service, actor: &Arc<Actor>, id: ImageId, first: bool) -> Result<(Found, File), Failure> {
    let found = authorize::read::<right::DownloadImage, _>(&service.db, actor, id, |conn, granted| {
        let found = find_image(conn, granted.on())?;
        if found.shown() != Shown::Available {
            let sentence = format!("The image is {}. {}", found.shown().words(), found.shown().meaning());
            return Err(Failure::refused("image.not_available", sentence));
        }
        Ok(found)
    })
    .await?;
    let handle = service.handle(&found.storage);
    let opened = handle.run(move |directory| {
        let file = directory.open_file(id)?;
        let length = file.metadata().map_err(|source| StorageError::Io { what: "look at the file", source })?.len();
        Ok((file, length))
    });
    let (file, seen) = match opened.await {
        Ok((file, length)) if length == found.image.size() => (Some(file), FileState::Sound),
        Ok(_) | Err(StorageError::NotARegularFile) => (None, FileState::Changed),
        Err(StorageError::FileMissing) => (None, FileState::Missing),
        Err(failed) => return Err(failed.into()),
    };
    let Some(file) = file else {
        // Never silently served: the record says so from now on.
        let storage = found.storage.id;
        service.db.write(move |tx| check_storage::record_file(tx, storage, id, seen, &check_storage::watcher(), clock::now())).await?;
        let sentence = match seen {
            FileState::Missing => "The file is not on its storage any more; it was removed by other hands.",
            _ => "The file does not have the recorded bytes any more; it was changed by other hands.",
        };
        return Err(Failure::refused("image.file_unavailable", format!("{sentence} The image is File unavailable from now on.")));
    };
    if first {
        let object = image_object(&found);
        authorize::write::<right::DownloadImage, _>(&service.db, actor, id, move |tx, granted| {
            granted.record(tx, &Entry::done(Action::DownloadImage, object))
        })
        .await?;
    }
    Ok((found, file))
}
