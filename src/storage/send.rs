//! Hands out a part of an image's file, piece by piece.
//!
//! It mirrors what receives: bytes are read by the storage's own workers, so a storage that hangs holds nobody else's thread, and a client
//! that takes nothing for some seconds holds no file. When it goes on, the file is opened again, and must be the very same one.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{Directory, StorageError, Workers};
use crate::domain::ids::ImageId;

/// Bytes that are read at once, and wait in memory for a client that takes them slowly.
const PIECE_BYTES: usize = 64 * 1024;

/// How long the storage may take for one piece.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file that nobody read from for this long is closed.
const REST_AFTER: Duration = Duration::from_secs(3);

/// A file on its way out. Dropping it closes the file on a worker.
#[derive(Debug)]
pub struct Sender {
    dir: Arc<Directory>,
    workers: Workers,
    image: ImageId,
    identity: Identity,
    kept: Arc<Mutex<Kept>>,
    at: u64,
    end: u64,
}

/// Which file it is, and that it has not grown or shrunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
}

impl Identity {
    fn of(file: &File) -> Result<Self, StorageError> {
        let about = file.metadata().map_err(|source| StorageError::Io { what: "look at the file", source })?;
        Ok(Self { device: about.dev(), inode: about.ino(), bytes: about.len() })
    }
}

/// The file between two pieces.
#[derive(Debug)]
struct Kept {
    file: Option<File>,
    since: Instant,
}

impl Sender {
    /// Sends the bytes from `at` to before `end` of an image's open file. To be called where tasks can be started.
    ///
    /// # Errors
    /// The system's answer to a look at the file.
    pub fn new(dir: Arc<Directory>, workers: Workers, image: ImageId, file: File, (at, end): (u64, u64)) -> Result<Self, StorageError> {
        let identity = Identity::of(&file)?;
        let kept = Arc::new(Mutex::new(Kept { file: Some(file), since: Instant::now() }));
        tokio::spawn(rest(Arc::downgrade(&kept), workers.clone()));
        Ok(Self { dir, workers, image, identity, kept, at, end })
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// [`StorageError::FileMissing`] when the file was replaced or cut meanwhile, or the storage's answer.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        let wanted = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        if wanted == 0 {
            return Ok(None);
        }
        let file = lock(&self.kept).file.take();
        let (dir, image, identity, at) = (self.dir.clone(), self.image, self.identity, self.at);
        let read = move || {
            let file = match file {
                Some(file) => file,
                None => reopen(&dir, image, identity)?,
            };
            let mut piece = vec![0; wanted];
            file.read_exact_at(&mut piece, at).map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => StorageError::FileMissing,
                _ => StorageError::Io { what: "read the file", source },
            })?;
            Ok((file, piece))
        };
        let (file, piece) = self.workers.run(PATIENCE, read).await?;
        *lock(&self.kept) = Kept { file: Some(file), since: Instant::now() };
        self.at += piece.len() as u64;
        Ok(Some(piece.into()))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(file) = lock(&self.kept).file.take() {
            self.workers.dispose(file);
        }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reopen(dir: &Directory, image: ImageId, identity: Identity) -> Result<File, StorageError> {
    let file = dir.open_file(image)?;
    if Identity::of(&file)? == identity { Ok(file) } else { Err(StorageError::FileMissing) }
}

/// Closes the file whenever it has not been read from for a while, until the sender is gone.
async fn rest(kept: Weak<Mutex<Kept>>, workers: Workers) {
    let mut wait = REST_AFTER;
    loop {
        sleep(wait).await;
        let Some(kept) = kept.upgrade() else { return };
        let mut kept = lock(&kept);
        wait = REST_AFTER.saturating_sub(kept.since.elapsed());
        if wait.is_zero() {
            wait = REST_AFTER;
            if let Some(file) = kept.file.take() {
                workers.dispose(file);
            }
        }
    }
}
