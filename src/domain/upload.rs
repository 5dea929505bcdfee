//! One transfer of one installation image: its lease, its limits, and why it stopped.

use std::time::Duration;

use super::{codes::codes, size, text::FieldError};

/// How long an upload keeps its lease after its last byte (PRODUCT.md section 2).
pub const LEASE: Duration = Duration::from_secs(60);
/// After this much silence the file handle is closed until the next byte.
pub const REST_AFTER: Duration = Duration::from_secs(3);
/// At least so often, in bytes, what arrived is made durable and recorded.
pub const CHECKPOINT_BYTES: u64 = 64 * 1024 * 1024;
/// And at least so often, in time, while bytes arrive.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);
/// Unless they are fewer than this, in bytes: a client that drips must not cost a flush every two seconds. Its lease is renewed in time.
pub const CHECKPOINT_LEAST: u64 = 256 * 1024;
/// How often the few bytes of a client that drips are made durable and recorded.
pub const DRIP_EVERY: Duration = Duration::from_secs(15);

/// What a checkpoint is due for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Bytes flow: the file stays open.
    Flow,
    /// Bytes drip: the file is closed until there are enough of them again.
    Drip,
}

/// Whether a checkpoint is due, `new` bytes and some time after the one before.
pub fn checkpoint_due(new: u64, since: Duration) -> Option<Due> {
    match new {
        0 => None,
        CHECKPOINT_BYTES.. => Some(Due::Flow),
        CHECKPOINT_LEAST.. => (since >= CHECKPOINT_EVERY).then_some(Due::Flow),
        _ => (since >= DRIP_EVERY).then_some(Due::Drip),
    }
}

/// Why nothing of an upload is moving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stopped {
    /// The record was made, but no byte came.
    NeverSent,
    /// The connection was lost, or the client fell silent.
    Interrupted,
    /// The service was stopped or restarted meanwhile.
    ServiceStopped,
    /// The file is not what it should be.
    Refused,
    /// The storage could not take it.
    StorageFailed,
    /// The storage was removed meanwhile.
    StorageRemoved,
    /// The right to upload was lost meanwhile.
    RightLost,
}

codes!(Stopped {
    NeverSent = "never_sent",
    Interrupted = "interrupted",
    ServiceStopped = "service_stopped",
    Refused = "refused",
    StorageFailed = "storage_failed",
    StorageRemoved = "storage_removed",
    RightLost = "right_lost",
});

impl Stopped {
    /// What happened, to begin a sentence of the image's page with.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NeverSent => "The file was never sent.",
            Self::Interrupted => "The upload was interrupted.",
            Self::ServiceStopped => "The service was restarted during the upload.",
            Self::Refused => "The file was refused.",
            Self::StorageFailed => "The storage could not take the file.",
            Self::StorageRemoved => "The storage was removed during the upload.",
            Self::RightLost => "The right to upload was withdrawn during the upload.",
        }
    }
}

/// The name of a file as a browser gives it: the last part of a path, since some send the whole one.
pub fn base_name(file_name: &str) -> &str {
    file_name.rsplit(['/', '\\']).next().unwrap_or(file_name)
}

/// A file's name as it is kept: without what cannot be seen, and not longer than a file system takes.
pub fn clean_name(file_name: &str) -> String {
    base_name(file_name).chars().filter(|c| !c.is_control()).take(255).collect()
}

/// Checks what is known of a file before its first byte: its name and, if known, its size.
pub fn check_file(file_name: &str, bytes: Option<u64>, most_bytes: u64) -> Result<(), FieldError> {
    let name = base_name(file_name);
    if name.is_empty() {
        return Err(FieldError::new("file", "file.none", "Choose a file."));
    }
    let lower = name.to_lowercase();
    for packed in [".gz", ".xz", ".zst", ".bz2", ".zip", ".7z"] {
        if lower.ends_with(packed) {
            return Err(FieldError::new(
                "file",
                "file.packed",
                format!("“{name}” is compressed. Unpack it first, and choose the .iso file in it."),
            ));
        }
    }
    if !lower.ends_with(".iso") {
        return Err(FieldError::new(
            "file",
            "file.extension",
            format!("“{name}” is not named as an ISO image. Choose a file whose name ends in .iso."),
        ));
    }
    match bytes {
        Some(0) => Err(FieldError::new("file", "iso.empty", format!("“{name}” is empty. Choose another file."))),
        Some(bytes) if bytes > most_bytes => Err(too_large(bytes, most_bytes)),
        _ => Ok(()),
    }
}

/// The refusal of a file over the limit.
pub fn too_large(bytes: u64, most_bytes: u64) -> FieldError {
    FieldError::new(
        "file",
        "file.too_large",
        format!(
            "The file has {}; an image can have at most {} here. The limit is the setting max_upload.",
            size::words(bytes),
            size::words(most_bytes)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_by_bytes_or_by_time_but_not_for_every_drop() {
        let seconds = Duration::from_secs;
        assert_eq!(checkpoint_due(0, seconds(3_600)), None);
        assert_eq!(checkpoint_due(CHECKPOINT_BYTES, seconds(0)), Some(Due::Flow));
        assert_eq!(checkpoint_due(CHECKPOINT_LEAST, seconds(1)), None);
        assert_eq!(checkpoint_due(CHECKPOINT_LEAST, CHECKPOINT_EVERY), Some(Due::Flow));
        assert_eq!(checkpoint_due(1, CHECKPOINT_EVERY), None);
        assert_eq!(checkpoint_due(1, DRIP_EVERY), Some(Due::Drip));
        assert!(DRIP_EVERY < LEASE / 2, "the lease of a client that drips is renewed in time");
    }

    #[test]
    fn a_file_is_an_iso_by_name_in_any_case() {
        for fine in ["a.iso", "A.ISO", "debian-13.IsO", "C:\\isos\\x.iso", "/home/a/x.iso"] {
            assert_eq!(check_file(fine, Some(1), 10), Ok(()), "{fine}");
        }
        let rows = [
            ("", "file.none"),
            ("a.img", "file.extension"),
            ("a.iso.xz", "file.packed"),
            ("a.ISO.GZ", "file.packed"),
            ("iso", "file.extension"),
        ];
        for (name, code) in rows {
            assert_eq!(check_file(name, Some(1), 10).unwrap_err().code, code, "{name}");
        }
        assert_eq!(check_file("a.iso", Some(0), 10).unwrap_err().code, "iso.empty");
        assert_eq!(check_file("a.iso", Some(11), 10).unwrap_err().code, "file.too_large");
        assert_eq!(check_file("a.iso", None, 10), Ok(()));
    }
}
