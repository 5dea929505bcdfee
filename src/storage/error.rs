//! What can go wrong with a storage, told apart by what an administrator or an operation would do next. Every message is a sentence
//! for a person; it names no path but the storage's own root, and no error number. The number is in the `source`, for the log.

use std::{io, path::PathBuf};

use rustix::io::Errno;

use crate::domain::ids::StorageId;

/// Why a storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The root does not exist.
    #[error("There is nothing at {}.", path.display())]
    NotThere {
        /// The storage's root.
        path: PathBuf,
    },
    /// The root exists and is something else.
    #[error("{} is not a folder.", path.display())]
    NotADirectory {
        /// The storage's root.
        path: PathBuf,
    },
    /// A component of the root is a symbolic link, which somebody could turn to another place later.
    #[error("The path {} goes through a symbolic link. Use the path that it leads to.", path.display())]
    ThroughALink {
        /// The storage's root.
        path: PathBuf,
    },
    /// The root is relative or climbs with `..`.
    #[error("The path of a storage starts with / and has no “..” in it.")]
    BadPath,
    /// The folder is there without our marker.
    #[error("The folder is there, but it does not carry the storage's marker. Perhaps it is an empty mount point, and nothing is mounted.")]
    NoMarker,
    /// The folder carries another storage's marker.
    #[error("Another storage is mounted here. Its identifier is {found}.")]
    OtherMedium {
        /// Who it says it is.
        found: StorageId,
    },
    /// The marker cannot be understood; it is left as it is.
    #[error("The storage's marker cannot be read: {why}.")]
    BadMarker {
        /// The reason, without a full stop.
        why: &'static str,
    },
    /// A manifest cannot be understood, or is not one that we would write.
    #[error("The description beside the image cannot be used: {why}.")]
    BadManifest {
        /// The reason, without a full stop.
        why: &'static str,
    },
    /// EACCES or EPERM.
    #[error("The storage refused to {what}: permission denied. Check the owner and the mode of its folders and files.")]
    NotWritable {
        /// What was tried, as a verb.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// No space, no inodes, or the quota is used up.
    #[error("{}", full_sentence(*needed, *free))]
    Full {
        /// Bytes that were asked for at once, where that is known.
        needed: Option<u64>,
        /// Bytes that were free a moment later, where that is known.
        free: Option<u64>,
    },
    /// EFBIG: the file system's or the process's limit for one file.
    #[error("The file is larger than a file on this storage may be.")]
    TooLargeForStorage,
    /// EROFS.
    #[error("The storage can only be read. Its file system may have been switched to read-only after an error.")]
    ReadOnly,
    /// The connection to the medium is gone: ESTALE, ENOTCONN, ENODEV and their like. The next operation opens everything anew.
    #[error("The connection to the storage was lost ({}).", words(source))]
    Lost {
        /// The system's answer.
        source: io::Error,
    },
    /// EMFILE or ENFILE: our own shortage, not the storage's.
    #[error("The service has too many files open at the moment.")]
    TooManyOpenFiles,
    /// Anything else, a medium's EIO above all.
    #[error("The storage could not {what} ({}).", words(source))]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A write or a flush failed. What the file holds is unknown from here on: it is never flushed again and never published.
    #[error("The storage reported a write error ({}).", words(source))]
    WriteFailed {
        /// The system's answer.
        source: io::Error,
    },
    /// No answer in time; the call may still be under way.
    #[error("The storage has not answered for {seconds} seconds.")]
    NotAnswering {
        /// How long was waited, rounded up.
        seconds: u64,
    },
    /// There is no such file.
    #[error("The file is not on the storage.")]
    FileMissing,
    /// A file of this name is there already; it was not touched.
    #[error("A file for this image is already on the storage.")]
    FileExists,
    /// Something else stands at the file's place; it was not touched.
    #[error("What lies at the place of the file is not a plain file, or it has a second name.")]
    NotARegularFile,
    /// Another file system is mounted inside the storage.
    #[error("Another file system is mounted inside the storage.")]
    OtherFileSystem,
    /// Another transfer, perhaps one that is still ending, holds the part.
    #[error("Another transfer is still writing this file.")]
    PartInUse,
    /// An earlier write, flush or time limit made this handle useless.
    #[error("This transfer failed earlier and cannot go on.")]
    PartIsDead,
    /// The file has another length than it should.
    #[error("The file has {has} bytes and should have {should}.")]
    WrongSize {
        /// Bytes in the file.
        has: u64,
        /// Bytes expected.
        should: u64,
    },
    /// A stored checkpoint cannot be used; the transfer starts again.
    #[error("The transfer cannot be continued from where it stopped.")]
    BadCheckpoint,
}

impl StorageError {
    /// Nothing more fits: the answer is to free space, and other storages are not affected.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Whether a transfer that met this error may go on later from its last checkpoint. After a failed write or flush it may not: the
    /// system drops what it could not write and then reports success, so nothing in the file can be relied on.
    pub fn part_survives(&self) -> bool {
        !matches!(
            self,
            Self::WriteFailed { .. }
                | Self::Io { .. }
                | Self::TooLargeForStorage
                | Self::FileMissing
                | Self::FileExists
                | Self::NotARegularFile
                | Self::WrongSize { .. }
                | Self::BadCheckpoint
        )
    }

    /// Sorts an error of the system. `what` is a verb with its object: "open the file".
    pub(super) fn from_errno(what: &'static str, errno: Errno) -> Self {
        let source = io::Error::from(errno);
        match errno {
            Errno::NOSPC | Errno::DQUOT => Self::Full { needed: None, free: None },
            Errno::ROFS => Self::ReadOnly,
            Errno::ACCESS | Errno::PERM => Self::NotWritable { what, source },
            Errno::STALE | Errno::NOTCONN | Errno::REMOTEIO | Errno::NODEV | Errno::NXIO | Errno::HOSTDOWN | Errno::TIMEDOUT => {
                Self::Lost { source }
            }
            Errno::MFILE | Errno::NFILE => Self::TooManyOpenFiles,
            Errno::FBIG => Self::TooLargeForStorage,
            Errno::XDEV => Self::OtherFileSystem,
            Errno::NOENT => Self::FileMissing,
            Errno::EXIST => Self::FileExists,
            Errno::LOOP | Errno::ISDIR | Errno::NOTDIR => Self::NotARegularFile,
            _ => Self::Io { what, source },
        }
    }

    /// Sorts the error of a write or a flush, after which the file is lost unless the reason was a full storage.
    pub(super) fn from_failed_write(source: io::Error) -> Self {
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::ROFS)) => Self::from_errno("write", errno),
            _ => Self::WriteFailed { source },
        }
    }
}

/// The system's own words without its number.
fn words(source: &io::Error) -> String {
    let mut text = source.to_string();
    if let Some(end) = text.find(" (os error") {
        text.truncate(end);
    }
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

fn full_sentence(needed: Option<u64>, free: Option<u64>) -> String {
    match (needed, free) {
        (Some(needed), Some(free)) => format!("The storage is full: {} are needed and {} are free.", size(needed), size(free)),
        (Some(needed), None) => format!("The storage is full: {} are needed.", size(needed)),
        _ => "The storage is full.".to_owned(),
    }
}

fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x10_0000 => return format!("{bytes} bytes"),
        0x10_0000..0x4000_0000 => (0x10_0000, "MiB"),
        _ => (0x4000_0000, "GiB"),
    };
    // Tenths in whole numbers; u128 because bytes * 10 may not fit.
    let tenths = u128::from(bytes) * 10 / unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}
