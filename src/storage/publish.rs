//! How a part becomes an image: everything durable in an order in which a power cut at any point leaves either no image or a whole one.
//!
//! File, then manifest, then the new name, then the folders. The manifest comes first because a description without a file is harmless,
//! and a file without a description could not be brought back.

use rustix::fs::OFlags;

use super::{
    Directory, Manifest, Part, Published, StorageError,
    directory::{IMAGES, IMAGES_MODE, STAGING, file_name, part_name, same_file},
    folder::{Folder, length, stat_of},
    manifest,
};
use crate::domain::ids::ImageId;

impl Directory {
    /// Turns a complete part of `size` bytes into the image's file, durably, with its manifest beside it. Never replaces a file. The part
    /// must be the one that [`super::Receiver::finish`] gave. After a failed write or flush it is removed, unless the storage is merely
    /// full or can only be read; after any other error it is still there and can be opened again.
    ///
    /// # Errors
    /// [`StorageError::WrongSize`], [`StorageError::FileExists`], [`StorageError::NotARegularFile`] when the name of the part no longer
    /// leads to the open file, or why the storage could not.
    pub fn publish(&self, image: ImageId, mut part: Part, size: u64, manifest: &Manifest) -> Result<Published, StorageError> {
        if manifest.image != image || manifest.storage != self.id() || manifest.size_bytes != size {
            return Err(StorageError::BadManifest { why: "it describes another file" });
        }
        let has = part.len()?;
        if has != size {
            return Err(StorageError::WrongSize { has, should: size });
        }
        let root = self.open()?;
        let images = root.folder_or_new(IMAGES, IMAGES_MODE)?;
        let staging = root.folder(STAGING)?;
        let (name, part_name) = (file_name(image), part_name(image));
        // Before the manifest: it must not describe the new bytes beside the old ones.
        if images.stat(&name)?.is_some() {
            return Err(StorageError::FileExists);
        }
        let opened = part.stat()?;
        let mut manifest_is_ours = false;
        let published = (|| {
            part.seal()?;
            manifest_is_ours = true;
            manifest::write(&images, &staging, manifest)?;
            if !staging.stat(&part_name)?.is_some_and(|found| same_file(&found, &opened) && found.st_nlink == 1) {
                return Err(StorageError::NotARegularFile);
            }
            staging.move_new(&part_name, &images, &name).inspect_err(|error| {
                // Somebody published this image between our look and now; the manifest is theirs too.
                manifest_is_ours &= !matches!(error, StorageError::FileExists);
            })?;
            images.sync()?;
            staging.sync()?;
            let found = stat_of(images.open(&name, OFlags::RDONLY)?)?;
            if !same_file(&found, &opened) {
                return Err(StorageError::NotARegularFile);
            }
            match length(&found) {
                bytes if bytes == size => Ok(Published { bytes }),
                has => Err(StorageError::WrongSize { has, should: size }),
            }
        })();
        if let Err(error) = &published {
            // Cleaning up can fail for the same reason as publishing did; the caller's sweep finds the rest by `contents`.
            let _ = manifest_is_ours.then(|| images.unlink(&manifest::file_name(image)));
            // What was durable before the storage was full is still there, and the upload goes on from it.
            let lost = !error.part_survives() && (part.is_dead() || matches!(error, StorageError::WriteFailed { .. }));
            let ours_at = |folder: &Folder, name: &str| matches!(folder.stat(name), Ok(Some(found)) if same_file(&found, &opened));
            if ours_at(&images, &name) {
                let _ = if lost || ours_at(&staging, &part_name) {
                    images.unlink(&name).map(drop)
                } else {
                    images.move_new(&name, &staging, &part_name)
                };
            }
            if lost && ours_at(&staging, &part_name) {
                let _ = staging.unlink(&part_name);
            }
            part.unseal();
            let _ = images.sync();
            let _ = staging.sync();
        }
        published
    }
}
