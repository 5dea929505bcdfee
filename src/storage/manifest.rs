//! What is known about an image, beside its file on the medium: `images/<uuid>.json`. The database is the truth while it is there;
//! the manifest lets a storage that comes back to a new installation bring its images with names, notes and requirements. It is
//! written to a temporary name and renamed, so it is always one whole version or another.

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::{
    StorageError,
    folder::Folder,
    marker::{Parsed, read_json, write_json},
};
use crate::domain::ids::{ImageId, StorageId};

/// One image's description. At most 64 KiB as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The layout of this description: 1.
    pub version: u32,
    /// The image that lies beside it.
    pub image: ImageId,
    /// The storage it was written on; another one means that the files were copied here by hand.
    pub storage: StorageId,
    /// Installation image or base image, in the database's spelling.
    pub kind: String,
    /// As shown.
    pub name: String,
    /// As shown; may be empty.
    pub note: String,
    /// Length of the file in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the file in lower-case hexadecimal digits.
    pub sha256: String,
    /// Such as `iso` or `raw`.
    pub format: String,
    /// The medium's own label, where it has one.
    pub volume_label: Option<String>,
    /// Operating system, in the catalogue's spelling.
    pub os: String,
    /// Least number of virtual processors.
    pub min_vcpu: u32,
    /// Least memory in MiB.
    pub min_memory_mib: u64,
    /// Least disk in GiB.
    pub min_disk_gib: u64,
    /// When the image was created, RFC 3339.
    pub created_at: String,
    /// Who created it, as shown then.
    pub created_by: String,
}

/// The only layout there is.
pub(super) const VERSION: u32 = 1;

pub(super) fn file_name(image: ImageId) -> String {
    format!("{image}.json")
}

/// [`StorageError::FileMissing`] where there is none, [`StorageError::BadManifest`] where it is damaged or another image's.
pub(super) fn read(images: &Folder, image: ImageId) -> Result<Manifest, StorageError> {
    let bad = |why| Err(StorageError::BadManifest { why });
    match read_json::<Manifest>(images.open(&file_name(image), OFlags::RDONLY)?)? {
        Parsed::Is(manifest) if manifest.version != VERSION => bad("it was written by a newer version of the service"),
        Parsed::Is(manifest) if manifest.image != image => bad("it describes another image"),
        Parsed::Is(manifest) => Ok(manifest),
        Parsed::TooLong => bad("it is too long"),
        Parsed::Not => bad("it is damaged"),
    }
}

/// Writes or replaces a manifest, durably. The temporary file lies in `staging`, where leftovers are swept up.
pub(super) fn write(images: &Folder, staging: &Folder, manifest: &Manifest) -> Result<(), StorageError> {
    if manifest.version != VERSION {
        return Err(StorageError::BadManifest { why: "its version is not 1" });
    }
    write_json(manifest, 0o640, staging, |temporary| staging.move_over(temporary, images, &file_name(manifest.image)))?;
    images.sync()
}
