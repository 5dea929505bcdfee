//! Where image bytes live. A storage is a place that holds files named after image identifiers, and nothing else is known here: no
//! request, no database row, no user.
//!
//! What a storage promises: it touches nothing unless the medium under its path carries its own identifier ([`marker`]); it opens
//! nothing outside its root and follows no link; a published file is complete, durable and never replaced; a failed flush is final.
//!
//! [`directory`] keeps the files, [`pool`] keeps a storage that hangs from taking the service with it, [`receive`] moves a stream
//! of bytes into a file, and [`send`] out of one. Everything but the last three blocks, and is meant to be run by [`pool::Workers`].

mod buffer;
mod checkpoint;
mod directory;
mod error;
mod folder;
mod manifest;
mod marker;
mod part;
mod pool;
mod probe;
mod publish;
mod receive;
mod registry;
mod send;
#[cfg(test)]
mod tests;
mod writer;

pub use buffer::Buffer;
pub use checkpoint::Checkpoint;
pub use directory::Directory;
pub use error::StorageError;
pub use manifest::Manifest;
pub use part::Part;
pub use pool::Workers;
pub use receive::{BUFFER_BYTES, ReceiveError, Received, Receiver, WIDE_BUFFER_BYTES};
pub use registry::{Busy, Doing, Handle, Registry};
pub use send::Sender;

use crate::domain::ids::{ImageId, StorageId};

/// Room on a storage, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Everything the file system could hold.
    pub capacity_bytes: u64,
    /// What this process could still write: blocks reserved for root are not counted.
    pub free_bytes: u64,
}

/// What was found at a path that is to become a storage, or to come back as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// Room on it.
    pub space: Space,
    /// The identifier it already carries: adding it brings that storage back.
    pub marker: Option<StorageId>,
    /// Files in `images/` that have an image's name.
    pub images: u64,
    /// Entries at the top that are not ours; `lost+found` is not counted.
    pub others: u64,
}

/// What stands at an image's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A regular file of this many bytes.
    Present {
        /// Its length now; compare it with the recorded one.
        bytes: u64,
    },
    /// Nothing.
    Missing,
    /// A link, a folder, a pipe, a device, or a file that has a second name.
    NotAFile,
}

/// A file that has become an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Its length, read again from the medium after publishing.
    pub bytes: u64,
}

/// Everything that lies on a storage, for comparing with what should.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Published files and their lengths in bytes.
    pub images: Vec<(ImageId, u64)>,
    /// Files that are still being received, or were left by an interrupted transfer.
    pub parts: Vec<ImageId>,
    /// Images that have a manifest, with or without a file.
    pub manifests: Vec<ImageId>,
    /// Entries in our folders that we did not make. They are counted and never touched.
    pub unknown: u64,
}
