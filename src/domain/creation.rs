//! Whether a storage can take a new image: the one answer for the wizard's choices, the pre-flight and the upload.

use super::{
    size,
    storage::{Health, Kind, promisable},
};

/// What the rule looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The storage's kind.
    pub kind: Kind,
    /// Its health.
    pub health: Health,
    /// Why it is not healthy, if so.
    pub cause: Option<String>,
    /// Since when, in words.
    pub since: String,
    /// Free bytes, as last seen.
    pub free_bytes: u64,
    /// Bytes of it that are promised to uploads and not yet written.
    pub promised_bytes: u64,
}

/// Why a storage cannot take the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoom {
    /// It is degraded.
    Degraded {
        /// The cause, in words.
        cause: String,
        /// Since when.
        since: String,
    },
    /// It was removed.
    Removed,
    /// Too little space.
    Full {
        /// Bytes that the image needs.
        needed: u64,
        /// Bytes that can be promised.
        free: u64,
    },
}

/// Whether an image of `bytes` (where known) can be put there now.
pub fn may_take(place: &Place, bytes: Option<u64>) -> Result<(), NoRoom> {
    match place.health {
        Health::Removed => return Err(NoRoom::Removed),
        Health::Degraded => {
            return Err(NoRoom::Degraded {
                cause: place.cause.clone().unwrap_or_else(|| "it does not answer".to_owned()),
                since: place.since.clone(),
            });
        }
        Health::Healthy => {}
    }
    let (needed, free) = (bytes.unwrap_or(1), promisable(place.free_bytes, place.promised_bytes));
    if needed > free { Err(NoRoom::Full { needed, free }) } else { Ok(()) }
}

impl NoRoom {
    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Degraded { .. } => "storage.degraded",
            Self::Removed => "storage.removed",
            Self::Full { .. } => "storage.full",
        }
    }

    /// The reason with its numbers, in a sentence.
    pub fn sentence(&self) -> String {
        match self {
            Self::Degraded { cause, since } => format!("Degraded since {since}: {cause}"),
            Self::Removed => "This storage has been removed. Choose another one.".to_owned(),
            Self::Full { needed, free } if *needed <= 1 => format!("Full: {} can still be used.", size::words(*free)),
            Self::Full { needed, free } => {
                format!(
                    "Too small: {} needed, {} free. Choose another storage, or make room there.",
                    size::words(*needed),
                    size::words(*free)
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::storage::HEADROOM_BYTES;

    #[test]
    fn a_storage_takes_what_fits_while_it_is_healthy() {
        let place = |health, free_bytes, promised_bytes| Place {
            kind: Kind::Local,
            health,
            cause: Some("the folder is gone".into()),
            since: "13:40".into(),
            free_bytes: free_bytes + HEADROOM_BYTES,
            promised_bytes,
        };
        let rows = [
            (place(Health::Healthy, 100, 0), Some(100), None),
            (place(Health::Healthy, 100, 0), None, None),
            (place(Health::Healthy, 100, 1), Some(100), Some("storage.full")),
            (place(Health::Healthy, 0, 0), None, Some("storage.full")),
            (place(Health::Degraded, 100, 0), Some(1), Some("storage.degraded")),
            (place(Health::Removed, 100, 0), Some(1), Some("storage.removed")),
        ];
        for (place, bytes, code) in rows {
            assert_eq!(may_take(&place, bytes).err().map(|reason| reason.code()), code, "{place:?} {bytes:?}");
        }
    }
}
