//! An image: its type, the status that is stored, and the status that is shown.
//!
//! Stored is only what happened to the image. Shown is that, seen through the health of its storage and the last look at its file:
//! *Degraded* and *File unavailable* are answers, never columns (PRODUCT.md section 1), so an image is again what it was when its
//! storage recovers.

use super::{codes::codes, storage::Health};

/// The type of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file that an administrator uploads, from which an operating system is installed.
    Installation,
    /// A full copy of the bootable disk of a machine that is shut down.
    Base,
    /// A disk of a machine; managed from that machine's page only.
    VirtualDisk,
}

codes!(Kind { Installation = "installation", Base = "base", VirtualDisk = "virtual_disk" });

impl Kind {
    /// The type in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Installation => "Installation image",
            Self::Base => "Base image",
            Self::VirtualDisk => "Virtual disk",
        }
    }

    /// The icon that stands for it.
    pub const fn icon(self) -> &'static str {
        match self {
            Self::Installation => "disc",
            Self::Base => "copy",
            Self::VirtualDisk => "disk",
        }
    }
}

/// What happened to an image, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stored {
    /// The record exists, nothing is moving.
    Pending,
    /// Bytes arrive from a device, under a lease.
    Uploading,
    /// A disk is being copied.
    Creating,
    /// The file is complete, verified and durable.
    Available,
    /// Gone for everybody; its files are being removed.
    Deleting,
}

codes!(Stored {
    Pending = "pending",
    Uploading = "uploading",
    Creating = "creating",
    Available = "available",
    Deleting = "deleting",
});

impl Stored {
    /// The states from which an image may come into this one. Every UPDATE of a status filters on them.
    pub const fn may_follow(self) -> &'static [Self] {
        match self {
            Self::Pending => &[Self::Uploading, Self::Creating],
            Self::Uploading | Self::Creating => &[Self::Pending],
            Self::Available => &[Self::Uploading, Self::Creating],
            Self::Deleting => &[Self::Pending, Self::Uploading, Self::Creating, Self::Available],
        }
    }
}

/// What the last look at an Available image's file found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileState {
    /// There, with the recorded bytes.
    Sound,
    /// Not there.
    Missing,
    /// There, but not the recorded bytes.
    Changed,
}

codes!(FileState { Sound = "sound", Missing = "missing", Changed = "changed" });

/// The status of an image, as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shown {
    /// Usable.
    Available,
    /// Bytes arrive.
    Uploading,
    /// A disk is being copied.
    Creating,
    /// Never sent, interrupted or refused.
    Pending,
    /// Its storage is degraded.
    Degraded,
    /// Its storage is removed, or its file was removed or changed by other hands.
    FileUnavailable,
}

codes!(Shown {
    Available = "available",
    Uploading = "uploading",
    Creating = "creating",
    Pending = "pending",
    Degraded = "degraded",
    FileUnavailable = "file_unavailable",
});

impl Shown {
    /// The status of an image; the first line of PRODUCT.md's table that fits wins. An image that is being deleted has none: it is
    /// gone for everybody.
    pub const fn of(stored: Stored, storage: Health, file: FileState) -> Option<Self> {
        Some(match (stored, storage, file) {
            (Stored::Deleting, _, _) => return None,
            (_, Health::Removed, _) => Self::FileUnavailable,
            (Stored::Available, Health::Healthy, FileState::Missing | FileState::Changed) => Self::FileUnavailable,
            (_, Health::Degraded, _) => Self::Degraded,
            (Stored::Uploading, Health::Healthy, _) => Self::Uploading,
            (Stored::Creating, Health::Healthy, _) => Self::Creating,
            (Stored::Pending, Health::Healthy, _) => Self::Pending,
            (Stored::Available, Health::Healthy, FileState::Sound) => Self::Available,
        })
    }

    /// The status in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Uploading => "Uploading",
            Self::Creating => "Creating",
            Self::Pending => "Pending",
            Self::Degraded => "Degraded",
            Self::FileUnavailable => "File unavailable",
        }
    }

    /// What the status means, in one sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Available => "The file is complete, verified and durable. It can be used.",
            Self::Uploading => "The file is arriving from somebody's device.",
            Self::Creating => "A machine's disk is being copied.",
            Self::Pending => "The record exists, but nothing is moving: the file was never sent, was interrupted or was refused.",
            Self::Degraded => "The image cannot be used now, because its storage is degraded.",
            Self::FileUnavailable => "The storage that held the file was removed, or the file was removed or changed by other hands.",
        }
    }

    /// One of the five tones of the console: good, warn, bad, idle, busy.
    pub const fn tone(self) -> &'static str {
        match self {
            Self::Available => "good",
            Self::Uploading | Self::Creating => "busy",
            Self::Pending => "idle",
            Self::Degraded => "warn",
            Self::FileUnavailable => "bad",
        }
    }

    /// The icon whose shape tells the status without colour.
    pub const fn icon(self) -> &'static str {
        match self {
            Self::Available => "check",
            Self::Uploading => "up",
            Self::Creating => "copy",
            Self::Pending => "pause",
            Self::Degraded => "warning",
            Self::FileUnavailable => "blocked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_the_table_that_fits_wins() {
        use {FileState as F, Health as H, Shown as S, Stored as I};
        for file in [F::Sound, F::Missing, F::Changed] {
            for stored in [I::Pending, I::Uploading, I::Creating, I::Available] {
                assert_eq!(S::of(stored, H::Removed, file), Some(S::FileUnavailable));
                assert_eq!(S::of(stored, H::Degraded, file), Some(S::Degraded));
            }
            for health in [H::Healthy, H::Degraded, H::Removed] {
                assert_eq!(S::of(I::Deleting, health, file), None);
            }
            assert_eq!(S::of(I::Pending, H::Healthy, file), Some(S::Pending));
            assert_eq!(S::of(I::Uploading, H::Healthy, file), Some(S::Uploading));
            assert_eq!(S::of(I::Creating, H::Healthy, file), Some(S::Creating));
        }
        assert_eq!(S::of(I::Available, H::Healthy, F::Sound), Some(S::Available));
        assert_eq!(S::of(I::Available, H::Healthy, F::Missing), Some(S::FileUnavailable));
        assert_eq!(S::of(I::Available, H::Healthy, F::Changed), Some(S::FileUnavailable));
    }

    #[test]
    fn an_image_becomes_available_only_while_its_bytes_move() {
        for (from, to) in Stored::ALL.iter().flat_map(|from| Stored::ALL.iter().map(move |to| (*from, *to))) {
            let allowed = match (from, to) {
                (Stored::Pending, Stored::Uploading | Stored::Creating) => true,
                (Stored::Uploading | Stored::Creating, Stored::Pending | Stored::Available) => true,
                (Stored::Deleting, _) => false,
                (_, Stored::Deleting) => true,
                _ => false,
            };
            assert_eq!(to.may_follow().contains(&from), allowed, "{from:?} to {to:?}");
        }
    }
}
