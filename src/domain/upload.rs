//! One transfer of one installation image: its lease, its limits, and why it stopped.

use std::time::Duration;

use super::{codes::codes, size, text::FieldError};

/// How long an upload keeps its lease after its last byte (PRODUCT.md section 2).
pub const LEASE: Duration = Duration::from_secs(60);
/// After this much silence the file handle is closed until the next byte.
pub const REST_AFTER: Duration = Duration::from_secs(3);
/// The same before the first pause of a transfer. Later pauses may be longer, so that a client that drips costs no flush a second.
pub const FIRST_REST_AFTER: Duration = Duration::from_millis(250);
/// A sender that has been silent for so long is taken for dead when the same device asks to go on.
pub const DEAD_AFTER: Duration = Duration::from_millis(1_500);
/// How long a request to go on waits for the one before it to end.
pub const TURN_WITHIN: Duration = Duration::from_secs(8);
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
    /// Somebody gave it up.
    Cancelled,
    /// Nobody went on with it for as long as its bytes are kept.
    Expired,
}

codes!(Stopped {
    NeverSent = "never_sent",
    Interrupted = "interrupted",
    ServiceStopped = "service_stopped",
    Refused = "refused",
    StorageFailed = "storage_failed",
    StorageRemoved = "storage_removed",
    RightLost = "right_lost",
    Cancelled = "cancelled",
    Expired = "expired",
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
            Self::Cancelled => "The upload was cancelled.",
            Self::Expired => "The upload was not continued in time.",
        }
    }

    /// Whether what was sent is kept for when it goes on, as far as the storage has it.
    pub const fn keeps(self) -> bool {
        match self {
            Self::Interrupted | Self::ServiceStopped | Self::StorageFailed | Self::StorageRemoved | Self::RightLost => true,
            Self::NeverSent | Self::Refused | Self::Cancelled | Self::Expired => false,
        }
    }

    /// Whether the upload is over: what is sent after that belongs to another one, which begins anew.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Refused | Self::Cancelled | Self::Expired)
    }
}

/// What decides who may send the next bytes of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Why nothing is moving, if so.
    pub stopped: Option<Stopped>,
    /// Whether its length is known: without it nobody could tell when it is complete.
    pub exact: bool,
    /// Whether it is under way and its lease runs.
    pub leased: bool,
    /// Whether bytes of it are there.
    pub has_bytes: bool,
    /// Whether who asks sent the bytes before, proved to have the same file, or was given the upload by who did.
    pub same_sender: bool,
}

/// Why somebody may not send the next bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotYours {
    /// The upload is over, or cannot be continued.
    Gone,
    /// Another device sends, and its lease runs.
    OtherDevice,
    /// Another device began: first it must be shown that the file is the same.
    ProofNeeded,
}

/// Whether somebody may send the next bytes of an upload.
///
/// # Errors
/// The rule that stands against it.
pub const fn may_go_on(turn: Turn) -> Result<(), NotYours> {
    if !turn.exact || matches!(turn.stopped, Some(stopped) if stopped.is_final()) {
        return Err(NotYours::Gone);
    }
    if turn.same_sender {
        return Ok(());
    }
    if turn.leased {
        return Err(NotYours::OtherDevice);
    }
    if turn.has_bytes { Err(NotYours::ProofNeeded) } else { Ok(()) }
}

/// Whether somebody may take an upload over by showing that the file is the same.
///
/// # Errors
/// As [`may_go_on`], but for the proof itself.
pub const fn may_take_over(turn: Turn) -> Result<(), NotYours> {
    match may_go_on(turn) {
        Err(NotYours::ProofNeeded) => Ok(()),
        other => other,
    }
}

impl NotYours {
    /// A stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Gone => "upload.gone",
            Self::OtherDevice => "upload.other_device",
            Self::ProofNeeded => "upload.proof_needed",
        }
    }

    /// The rule and the way out.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Gone => {
                "This upload is over: it was cancelled, refused, or not continued in time. Begin anew: POST to /uploads with this image."
            }
            Self::OtherDevice => {
                "Another device sends this file. 60 seconds after its last byte the image is Pending, and whoever has the right may go on."
            }
            Self::ProofNeeded => {
                "Another device sent the beginning of this file. Show first that yours is the same: choose the file on the image's page, or \
                 POST the digests of its blocks to this upload's address with /proof."
            }
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
    fn who_may_send_the_next_bytes_follows_the_table() {
        let all = [None].into_iter().chain(Stopped::ALL.iter().map(|stopped| Some(*stopped)));
        for (stopped, bits) in all.flat_map(|stopped| (0..16_u8).map(move |bits| (stopped, bits))) {
            let [exact, leased, has_bytes, same_sender] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let turn = Turn { stopped, exact, leased, has_bytes, same_sender };
            let expected = match stopped {
                Some(Stopped::Refused | Stopped::Cancelled | Stopped::Expired) => Err(NotYours::Gone),
                _ if !exact => Err(NotYours::Gone),
                _ if same_sender => Ok(()),
                _ if leased => Err(NotYours::OtherDevice),
                _ if has_bytes => Err(NotYours::ProofNeeded),
                _ => Ok(()),
            };
            assert_eq!(may_go_on(turn), expected, "{turn:?}");
            assert_eq!(may_take_over(turn).is_ok(), expected.is_ok() || expected == Err(NotYours::ProofNeeded), "{turn:?}");
        }
    }

    #[test]
    fn what_was_refused_or_given_up_keeps_nothing() {
        for stopped in Stopped::ALL {
            assert!(!(stopped.keeps() && stopped.is_final()), "{stopped:?}");
        }
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
