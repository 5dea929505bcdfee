//! A file that is being received: `staging/<uuid>.part`. It is a named file, because its bytes must outlive the handle and the process.
//! A lock on it keeps a second writer away for as long as the handle lives, which with a storage that hangs can be longer than
//! anybody waits.
//!
//! After a failed write or flush the part is dead and every later call is refused. The kernel reports a failed flush once, forgets
//! what it could not write and reports success from then on; asking again would turn lost bytes into a published image.

use std::{fs::File, io, os::unix::fs::FileExt};

use rustix::{
    fs::{self, Advice, FallocateFlags, FlockOperation, Mode, Stat},
    io::Errno,
};

use super::{
    StorageError,
    folder::{length, stat_of},
};

/// An open part. Dropping it closes the file, which can block on a network storage: drop it on one of the storage's workers.
#[derive(Debug)]
pub struct Part {
    file: File,
    allocated: bool,
    dead: bool,
}

impl Part {
    /// Takes the lock: [`StorageError::PartInUse`] while another handle has it.
    pub(super) fn new(file: File) -> Result<Self, StorageError> {
        match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Without locks on this file system the database's lease is the only guard.
            Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(Self { file, allocated: false, dead: false }),
            Err(Errno::WOULDBLOCK) => Err(StorageError::PartInUse),
            Err(errno) => Err(StorageError::from_errno("lock the file", errno)),
        }
    }

    /// Claims room for `size` bytes without changing the length, so that a full storage says so at the start and not at 99 %.
    /// [`Part::allocated`] stays `false` where the file system cannot.
    pub(super) fn allocate(&mut self, size: u64) -> Result<(), StorageError> {
        if size == 0 {
            return Ok(());
        }
        loop {
            return match fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, size) {
                Ok(()) => {
                    self.allocated = true;
                    Ok(())
                }
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => Err(StorageError::from_errno("reserve space", errno)),
            };
        }
    }

    /// Whether the room was claimed at the start.
    pub fn allocated(&self) -> bool {
        self.allocated
    }

    /// Whether an earlier call failed in a way that leaves the bytes unknown.
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// [`StorageError::PartIsDead`], or the system's answer.
    pub fn len(&self) -> Result<u64, StorageError> {
        Ok(length(&self.stat()?))
    }

    /// Whether there is no byte in it yet; fails as [`Part::len`] does.
    pub fn is_empty(&self) -> Result<bool, StorageError> {
        Ok(self.len()? == 0)
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Any failure kills the part: [`StorageError::Full`], [`StorageError::WriteFailed`] and their like; later [`StorageError::PartIsDead`].
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.alive()?;
        // Goes on after short writes and interruptions.
        let done = self.file.write_all_at(bytes, offset);
        self.or_die(done)
    }

    /// Reads up to `into.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// [`StorageError::PartIsDead`], or the system's answer; reading does not kill the part.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, StorageError> {
        self.alive()?;
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(StorageError::from_errno("read the file", Errno::from_io_error(&error).unwrap_or(Errno::IO)));
                }
            }
        }
        Ok(done)
    }

    /// Makes all bytes durable.
    ///
    /// # Errors
    /// As [`Part::write_at`]; it must not be tried again, and is refused.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        self.alive()?;
        let done = fs::fdatasync(&self.file).map_err(io::Error::from);
        self.or_die(done)
    }

    /// Cuts the file to `length` bytes. Longer is refused: the bytes between would be zeros nobody sent.
    ///
    /// # Errors
    /// [`StorageError::WrongSize`] when it is shorter, and as [`Part::write_at`].
    pub fn truncate(&mut self, length: u64) -> Result<(), StorageError> {
        let has = self.len()?;
        if has < length {
            return Err(StorageError::WrongSize { has, should: length });
        }
        if has == length {
            return Ok(());
        }
        let done = self.file.set_len(length);
        self.or_die(done)
    }

    /// Asks the system to begin writing this range, so that the next flush finds little left to do. A hint: it does not wait, reports
    /// nothing, and what was written by then leaves the cache, where a large image would only displace others.
    pub fn start_writing_out(&self, offset: u64, bytes: u64) {
        if let Some(bytes) = std::num::NonZeroU64::new(bytes) {
            let _ = fs::fadvise(&self.file, offset, Some(bytes), Advice::DontNeed);
        }
    }

    /// Takes the right to write from everybody and makes bytes, length and mode durable.
    pub(super) fn seal(&mut self) -> Result<(), StorageError> {
        self.alive()?;
        fs::fchmod(&self.file, Mode::from_raw_mode(0o440)).map_err(|errno| StorageError::from_errno("change the mode", errno))?;
        let done = fs::fsync(&self.file).map_err(io::Error::from);
        self.or_die(done)?;
        // A network storage may tell only at a close that it lost something, and what a dropped file is told nobody hears: so one more
        // handle is closed, and asked.
        let closed = self.file.try_clone().and_then(|handle| nix::unistd::close(handle).map_err(io::Error::from));
        self.or_die(closed)
    }

    /// Makes a part writable again that could not be published.
    pub(super) fn unseal(&self) {
        let _ = fs::fchmod(&self.file, Mode::from_raw_mode(0o600));
    }

    pub(super) fn stat(&self) -> Result<Stat, StorageError> {
        self.alive()?;
        stat_of(&self.file)
    }

    fn alive(&self) -> Result<(), StorageError> {
        if self.dead { Err(StorageError::PartIsDead) } else { Ok(()) }
    }

    fn or_die<T>(&mut self, done: io::Result<T>) -> Result<T, StorageError> {
        done.map_err(|source| {
            self.dead = true;
            StorageError::from_failed_write(source)
        })
    }
}
