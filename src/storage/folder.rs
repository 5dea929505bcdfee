//! One open folder of a storage, and the only place that gives names to the kernel. A name here is a single component: it is resolved
//! beneath the open folder, through no link and onto no other file system, so whatever is swapped on the path meanwhile cannot lead
//! outside. Nothing here waits for the other end of a pipe.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path},
};

use rustix::{
    fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat},
    io::Errno,
};

use super::{Space, StorageError};

/// Prefix of every file that is ours for a moment only.
pub(super) const TEMPORARY: &str = ".vmimg-tmp-";

pub(super) struct Folder {
    fd: OwnedFd,
    device: u64,
}

impl Folder {
    /// Opens a storage's root. Links are refused in the whole path: an allowed path must not be turned to another place later.
    pub(super) fn root(path: &Path) -> Result<Self, StorageError> {
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            return Err(StorageError::BadPath);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS) {
            Err(Errno::NOSYS | Errno::PERM) => walk(path, flags),
            other => other,
        };
        let fd = opened.map_err(|errno| {
            let path = path.to_owned();
            match errno {
                Errno::NOENT => StorageError::NotThere { path },
                Errno::NOTDIR => StorageError::NotADirectory { path },
                Errno::LOOP => StorageError::ThroughALink { path },
                _ => StorageError::from_errno("open its folder", errno),
            }
        })?;
        Self::from_fd(fd)
    }

    /// Opens a folder in this one; [`StorageError::FileMissing`] when there is none.
    pub(super) fn folder(&self, name: &str) -> Result<Self, StorageError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = self.open_fd(name, flags, Mode::empty()).map_err(|errno| StorageError::from_errno("open its folder", errno))?;
        Self::from_fd(fd)
    }

    /// Opens a folder in this one, making it durably where there is none.
    pub(super) fn folder_or_new(&self, name: &str, mode: u32) -> Result<Self, StorageError> {
        match self.folder(name) {
            Err(StorageError::FileMissing) => {}
            other => return other,
        }
        match fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(StorageError::from_errno("make a folder", errno)),
        }
        let made = self.folder(name)?;
        // The umask of the service must not decide who can read images.
        fs::fchmod(&made.fd, Mode::from_raw_mode(mode)).map_err(|errno| StorageError::from_errno("make a folder", errno))?;
        made.sync()?;
        self.sync()?;
        Ok(made)
    }

    /// Opens a regular file. Its number of names is the caller's to check.
    pub(super) fn open(&self, name: &str, flags: OFlags) -> Result<File, StorageError> {
        // Asked first, because merely opening a device can make it do things.
        if self.stat(name)?.is_some_and(|stat| !is_regular(&stat)) {
            return Err(StorageError::NotARegularFile);
        }
        let fd = self.open_fd(name, flags | OFlags::NONBLOCK, Mode::empty()).map_err(|errno| match errno {
            Errno::NXIO => StorageError::NotARegularFile,
            _ => StorageError::from_errno("open the file", errno),
        })?;
        let file = File::from(fd);
        if is_regular(&stat_of(&file)?) { Ok(file) } else { Err(StorageError::NotARegularFile) }
    }

    /// Makes a file for reading and writing that was not there before, with exactly this mode.
    pub(super) fn create(&self, name: &str, mode: u32) -> Result<File, StorageError> {
        let mode = Mode::from_raw_mode(mode);
        let fd = self
            .open_fd(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, mode)
            .map_err(|errno| StorageError::from_errno("make a file", errno))?;
        fs::fchmod(&fd, mode).map_err(|errno| StorageError::from_errno("make a file", errno))?;
        Ok(File::from(fd))
    }

    /// What stands at a name, without opening it.
    pub(super) fn stat(&self, name: &str) -> Result<Option<Stat>, StorageError> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(StorageError::from_errno("look at a file", errno)),
        }
    }

    /// Gives a file another name, which must be free: [`StorageError::FileExists`] otherwise. Not durable before both folders are synced.
    pub(super) fn move_new(&self, name: &str, to: &Folder, new_name: &str) -> Result<(), StorageError> {
        let moved = match fs::renameat_with(&self.fd, name, &to.fd, new_name, RenameFlags::NOREPLACE) {
            // NFS and some FUSE file systems cannot; a hard link does not replace either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::linkat(&self.fd, name, &to.fd, new_name, AtFlags::empty()).and_then(|()| fs::unlinkat(&self.fd, name, AtFlags::empty()))
            }
            other => other,
        };
        moved.map_err(|errno| StorageError::from_errno("rename a file", errno))
    }

    /// Gives a file another name, taking the place of what had it.
    pub(super) fn move_over(&self, name: &str, to: &Folder, new_name: &str) -> Result<(), StorageError> {
        fs::renameat(&self.fd, name, &to.fd, new_name).map_err(|errno| StorageError::from_errno("rename a file", errno))
    }

    /// Removes a name; `false` when there was none. A link is removed, not what it points to.
    pub(super) fn unlink(&self, name: &str) -> Result<bool, StorageError> {
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(StorageError::from_errno("delete a file", errno)),
        }
    }

    /// Makes the names in this folder durable.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        match fs::fsync(&self.fd) {
            // Some file systems keep names durable by themselves and refuse to be asked.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(StorageError::from_failed_write(errno.into())),
        }
    }

    /// Calls `each` with every name in this folder. A name that is not UTF-8 is given as the empty one: it cannot be ours.
    pub(super) fn names(&self, mut each: impl FnMut(&str) -> Result<(), StorageError>) -> Result<(), StorageError> {
        let failed = |errno| StorageError::from_errno("list a folder", errno);
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_name().to_str().unwrap_or_default() {
                "." | ".." => {}
                name => each(name)?,
            }
        }
        Ok(())
    }

    /// Room on the file system that holds this folder.
    pub(super) fn space(&self) -> Result<Space, StorageError> {
        let found = fs::fstatvfs(&self.fd).map_err(|errno| StorageError::from_errno("tell its size", errno))?;
        Ok(Space {
            capacity_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    fn from_fd(fd: OwnedFd) -> Result<Self, StorageError> {
        let device = stat_of(&fd)?.st_dev;
        Ok(Self { fd, device })
    }

    fn open_fd(&self, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        debug_assert!(!name.contains('/') && name != ".." && !name.is_empty());
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match fs::openat2(&self.fd, name, flags, mode, resolve) {
            // Kernels before 5.6, and containers that forbid the call. One component without links cannot leave the folder either way.
            Err(Errno::NOSYS | Errno::PERM) => {
                let fd = fs::openat(&self.fd, name, flags, mode)?;
                if fs::fstat(&fd)?.st_dev == self.device { Ok(fd) } else { Err(Errno::XDEV) }
            }
            other => other,
        }
    }
}

pub(super) fn stat_of(file: impl AsFd) -> Result<Stat, StorageError> {
    fs::fstat(file).map_err(|errno| StorageError::from_errno("look at a file", errno))
}

pub(super) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// The length of a file in bytes; the kernel's type is signed.
pub(super) fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// What `openat2` does with NO_SYMLINKS, for kernels without it.
fn walk(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut at = fs::openat(CWD, "/", flags, Mode::empty())?;
    for part in path.components() {
        if let Component::Normal(name) = part {
            at = fs::openat(&at, name, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(|errno| {
                // A link that is not followed is also "not a folder"; the person needs to know which.
                let is_link = |stat: Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
                match fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) if is_link(stat) => Errno::LOOP,
                    _ => errno,
                }
            })?;
        }
    }
    Ok(at)
}
