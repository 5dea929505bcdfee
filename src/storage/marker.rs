//! The storage's identifier on the medium itself: `.vmimg-storage.json` at its root. The marker travels with the disk, so a disk is
//! known again wherever it is mounted, and an empty mount point or another disk is told apart before a single byte is written. It is
//! written once and never overwritten, not even when it is damaged.

use std::{fs::File, io::Read};

use rustix::{fs::OFlags, io::Errno};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    StorageError,
    folder::{Folder, TEMPORARY},
};
use crate::domain::ids::StorageId;

/// The marker's name at the root of the medium.
pub(super) const NAME: &str = ".vmimg-storage.json";

/// Neither a marker nor a manifest is ever longer; more is not read.
pub(super) const MAX_BYTES: u64 = 64 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    vmimg_storage: u32,
    id: StorageId,
    created_at: String,
}

/// Whose medium this is; `None` when it has no marker.
pub(super) fn read(root: &Folder) -> Result<Option<StorageId>, StorageError> {
    let bad = |why| Err(StorageError::BadMarker { why });
    let file = match root.open(NAME, OFlags::RDONLY) {
        Ok(file) => file,
        Err(StorageError::FileMissing) => return Ok(None),
        Err(StorageError::NotARegularFile) => return bad("it is not a plain file"),
        Err(other) => return Err(other),
    };
    match read_json::<Marker>(file)? {
        Parsed::Is(Marker { vmimg_storage: 1, id, .. }) => Ok(Some(id)),
        Parsed::Is(_) => bad("it was written by a newer version of the service"),
        Parsed::TooLong => bad("it is too long"),
        Parsed::Not => bad("it is damaged"),
    }
}

/// Refuses every medium but this storage's.
pub(super) fn require(root: &Folder, id: StorageId) -> Result<(), StorageError> {
    match read(root)? {
        Some(found) if found == id => Ok(()),
        Some(found) => Err(StorageError::OtherMedium { found }),
        None => Err(StorageError::NoMarker),
    }
}

/// Writes the marker of a new storage, durably. A marker that is there already stays: the same identifier is fine, another is
/// [`StorageError::OtherMedium`].
pub(super) fn write(root: &Folder, id: StorageId, created_at: &str) -> Result<(), StorageError> {
    if read(root)?.is_some() {
        return require(root, id);
    }
    let marker = Marker { vmimg_storage: 1, id, created_at: created_at.to_owned() };
    match write_json(&marker, 0o444, root, |temporary| root.move_new(temporary, root, NAME)) {
        // Somebody was quicker.
        Err(StorageError::FileExists) => require(root, id),
        other => other,
    }?;
    root.sync()
}

pub(super) enum Parsed<T> {
    Is(T),
    TooLong,
    Not,
}

/// Reads a small JSON file with a bound.
pub(super) fn read_json<T: DeserializeOwned>(file: File) -> Result<Parsed<T>, StorageError> {
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(|source| read_failed(&source))?;
    if text.len() as u64 > MAX_BYTES {
        return Ok(Parsed::TooLong);
    }
    Ok(serde_json::from_slice(&text).map_or(Parsed::Not, Parsed::Is))
}

/// Writes a small JSON file under a temporary name in `folder`, flushes it and lets `place` give it its own; the temporary name is
/// removed where that fails. The folder is the caller's to sync.
pub(super) fn write_json<T: Serialize>(
    value: &T,
    mode: u32,
    folder: &Folder,
    place: impl FnOnce(&str) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|_| StorageError::BadManifest { why: "it cannot be written as JSON" })?;
    text.push(b'\n');
    if text.len() as u64 > MAX_BYTES {
        return Err(StorageError::BadManifest { why: "it is longer than 64 KiB" });
    }
    let temporary = temporary_name(TEMPORARY);
    let file = folder.create(&temporary, mode)?;
    let written = (|| {
        use std::io::Write;
        (&file).write_all(&text).map_err(StorageError::from_failed_write)?;
        file.sync_all().map_err(StorageError::from_failed_write)?;
        place(&temporary)
    })();
    if written.is_err() {
        // The reason counts; what could not be removed either is swept up by a later probe.
        let _ = folder.unlink(&temporary);
    }
    written
}

/// A name nobody else has: several services may work on one medium.
#[allow(clippy::disallowed_methods, reason = "a random file name is not the identifier of anything")]
pub(super) fn temporary_name(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::new_v4())
}

fn read_failed(source: &std::io::Error) -> StorageError {
    StorageError::from_errno("read a file", Errno::from_io_error(source).unwrap_or(Errno::IO))
}
