//! Moves a stream of bytes into an image's part, and knows its SHA-256 at the end.
//!
//! A full buffer is hashed by one of the storage's workers and written by another while the next one fills, with at most two buffers
//! of [`BUFFER_BYTES`] per transfer, or of [`WIDE_BUFFER_BYTES`] for the first few that flow; a storage that is slower than the sender
//! makes [`Receiver::push`] wait. A sender that pauses holds no thread, and after [`Receiver::rest`] no file and no buffer either.
//!
//! A [`Checkpoint`] says how many bytes are durable and what the hash was there, so a transfer can go on in another process. What the
//! file has after it is cut off and sent again.
//!
//! Dropping a receiver gives its file to a worker to close and leaves the part where it is: either the transfer goes on later, or the
//! sweep removes it. A call that is given up half-way leaves the receiver unusable; the last checkpoint still holds.

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep},
};

use super::{Buffer, Checkpoint, Directory, Part, StorageError, Workers, pool::Pending, writer::Writer};
use crate::domain::ids::ImageId;

/// The most that one buffer of a transfer holds, in bytes.
pub const BUFFER_BYTES: usize = 256 * 1024;

/// The same for a transfer that flows, as long as few do. Measured: handing over four times as much at once saves half of the system's
/// share, and a quarter of the whole time of an upload over a fast line.
pub const WIDE_BUFFER_BYTES: usize = 1024 * 1024;

/// After how many bytes a transfer flows.
const FLOWS_AFTER: u64 = 4 << 20;

/// How many transfers may have such buffers at once: 16 MiB in all.
static WIDE: Semaphore = Semaphore::const_new(8);

/// How long the storage may take for one step of a transfer: less than the minute after which proxies and people give up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the writer of a transfer that was cut off may take to let go of the part.
const HANDOVER: Duration = Duration::from_secs(5);

/// A complete transfer.
#[derive(Debug)]
pub struct Received {
    /// The file, all written and not yet flushed: [`Directory::publish`] does that. Drop it on a worker.
    pub part: Part,
    /// Its length.
    pub bytes: u64,
    /// The SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// Why a transfer stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// More arrived than was announced or is allowed. Nothing of the last push was taken.
    #[error("More than {allowed} bytes were sent.")]
    TooLong {
        /// The most that could have been taken.
        allowed: u64,
    },
    /// The end came before the announced length. Everything that came is in the part.
    #[error("The transfer ended after {has} of {should} bytes.")]
    Incomplete {
        /// Bytes that arrived.
        has: u64,
        /// Bytes that were announced.
        should: u64,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// One transfer.
#[derive(Debug)]
pub struct Receiver {
    dir: Arc<Directory>,
    workers: Workers,
    image: ImageId,
    expected: Option<u64>,
    limit: u64,
    room_is_claimed: bool,
    file: Hand<Box<Writer>>,
    hash: Hand<Sha256>,
    /// What arrived and was not handed to the workers yet.
    buffer: Buffer,
    /// What the workers have, or had: the other buffer.
    in_flight: Arc<Buffer>,
    /// Bytes handed to workers.
    handed: u64,
    /// Leave to have wide buffers.
    wide: Option<SemaphorePermit<'static>>,
}

/// Something that goes to a worker and comes back.
#[derive(Debug)]
enum Hand<T> {
    Here(T),
    Away(Pending<T>),
    /// Closed, and can be opened again.
    Resting,
    /// Lost with a failure, or with a call that was given up.
    Lost,
}

impl<T: Send + 'static> Hand<T> {
    /// Waits for it; `None` when it rests. Until it is put back it counts as lost, which it is if the caller gives up.
    async fn take(&mut self, workers: &Workers) -> Result<Option<T>, StorageError> {
        if let Self::Away(pending) = self {
            let answer = pending.answer().await;
            let asked = mem::replace(self, Self::Lost);
            return answer.map(Some).inspect_err(|_| workers.dispose(asked));
        }
        match mem::replace(self, Self::Lost) {
            Self::Here(thing) => Ok(Some(thing)),
            Self::Resting => Ok(None),
            Self::Away(_) | Self::Lost => Err(StorageError::PartIsDead),
        }
    }
}

impl Receiver {
    /// Begins the part of `image`. `expected` is the announced length, for which room is claimed; `limit` is the most that is taken in
    /// any case. Both in bytes.
    ///
    /// # Errors
    /// As [`Directory::create_part`].
    pub async fn begin(
        dir: Arc<Directory>,
        workers: Workers,
        image: ImageId,
        expected: Option<u64>,
        limit: u64,
    ) -> Result<Self, StorageError> {
        let (at, pace) = (Arc::clone(&dir), workers.pace());
        let create = move || Ok(Box::new(Writer::new(at.create_part(image, expected)?, 0, pace)));
        let writer = workers.run(PATIENCE, create).await?;
        Ok(Self::new(dir, workers, image, (expected, limit), (writer, 0), Sha256::new()))
    }

    /// Goes on from a checkpoint: what the part has after it is cut off.
    ///
    /// # Errors
    /// [`StorageError::BadCheckpoint`], [`StorageError::FileMissing`] or [`StorageError::WrongSize`] when the transfer must start again;
    /// [`StorageError::PartInUse`] when its former writer is still busy after some seconds; [`StorageError::Full`].
    pub async fn resume(
        dir: Arc<Directory>,
        workers: Workers,
        image: ImageId,
        expected: Option<u64>,
        limit: u64,
        checkpoint: Checkpoint,
    ) -> Result<Self, StorageError> {
        let offset = checkpoint.offset;
        if offset > expected.unwrap_or(limit).min(limit) {
            return Err(StorageError::BadCheckpoint);
        }
        let hash = checkpoint.hash()?;
        let writer = reopen(&dir, &workers, image, offset, move |part| {
            part.truncate(offset)?;
            part.allocate(expected.unwrap_or(0))
        })
        .await?;
        Ok(Self::new(dir, workers, image, (expected, limit), (writer, offset), hash))
    }

    /// Whether the medium already holds the room for the whole file, so that what it reports as free does not include it.
    pub fn room_is_claimed(&self) -> bool {
        self.room_is_claimed
    }

    /// Bytes that have arrived, whether durable or not.
    pub fn received(&self) -> u64 {
        self.handed + self.buffer.len() as u64
    }

    /// Takes the next bytes; waits while the storage is behind.
    ///
    /// # Errors
    /// [`ReceiveError::TooLong`] before anything of `bytes` is taken; [`ReceiveError::Storage`], after which nothing more can be pushed:
    /// [`StorageError::part_survives`] tells whether the last checkpoint still holds.
    pub async fn push(&mut self, bytes: Bytes) -> Result<(), ReceiveError> {
        let allowed = self.expected.unwrap_or(self.limit).min(self.limit);
        if bytes.len() as u64 > allowed.saturating_sub(self.received()) {
            return Err(ReceiveError::TooLong { allowed });
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            // Buffers end at multiples of their size, so that after a resumption the writes are aligned again.
            let most = if self.wide.is_some() { WIDE_BUFFER_BYTES } else { BUFFER_BYTES };
            let full = most - (self.handed % most as u64) as usize;
            let (now, later) = rest.split_at(rest.len().min(full - self.buffer.len()));
            self.buffer.append(now, most);
            rest = later;
            if self.buffer.len() == full {
                self.hand_over().await?;
                if self.wide.is_none() && self.handed >= FLOWS_AFTER {
                    self.wide = WIDE.try_acquire().ok();
                }
            }
        }
        Ok(())
    }

    /// Makes everything that arrived durable and says from where the transfer can go on.
    ///
    /// # Errors
    /// [`ReceiveError::Storage`], as [`Receiver::push`].
    pub async fn checkpoint(&mut self) -> Result<Checkpoint, ReceiveError> {
        self.settle(Hand::Here).await
    }

    /// For a sender that has been silent for some seconds: a checkpoint that also closes the file and frees the buffers. The next push
    /// opens it again.
    ///
    /// # Errors
    /// As [`Receiver::checkpoint`].
    pub async fn rest(&mut self) -> Result<Checkpoint, ReceiveError> {
        let checkpoint = self.settle(|writer| {
            drop(writer);
            Hand::Resting
        });
        let checkpoint = checkpoint.await?;
        self.wide = None;
        Ok(checkpoint)
    }

    /// The end of the stream. Where the transfer may go on later although it is incomplete, call [`Receiver::rest`] instead.
    ///
    /// # Errors
    /// [`ReceiveError::Incomplete`], or [`ReceiveError::Storage`] as [`Receiver::push`].
    pub async fn finish(mut self) -> Result<Received, ReceiveError> {
        let bytes = self.received();
        if let Some(should) = self.expected.filter(|should| *should != bytes) {
            return Err(ReceiveError::Incomplete { has: bytes, should });
        }
        self.hand_over().await?;
        let sha256 = self.hash().await?.finalize().into();
        let part = self.writer().await?.into_part();
        Ok(Received { part, bytes, sha256 })
    }

    /// Ends the transfer and removes the part.
    ///
    /// # Errors
    /// Why it could not be removed; the sweep will find it.
    pub async fn abandon(mut self) -> Result<(), StorageError> {
        // However the transfer stands: what is under way ends before the file goes, or hangs and is given up.
        let writer = self.file.take(&self.workers).await;
        let (dir, image) = (Arc::clone(&self.dir), self.image);
        self.workers
            .run(PATIENCE, move || {
                drop(writer);
                dir.remove_part(image)
            })
            .await
    }

    fn new(
        dir: Arc<Directory>,
        workers: Workers,
        image: ImageId,
        (expected, limit): (Option<u64>, u64),
        (writer, handed): (Box<Writer>, u64),
        hash: Sha256,
    ) -> Self {
        let room_is_claimed = writer.room_is_claimed();
        let (file, hash) = (Hand::Here(writer), Hand::Here(hash));
        Self {
            dir,
            workers,
            image,
            expected,
            limit,
            room_is_claimed,
            file,
            hash,
            buffer: Buffer::default(),
            in_flight: Arc::default(),
            handed,
            wide: None,
        }
    }

    /// Bytes of memory in both buffers.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.buffer.capacity() + self.in_flight.capacity()
    }

    /// Gives the buffer to the workers and goes on with the other one.
    async fn hand_over(&mut self) -> Result<(), StorageError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer().await?;
        let mut hash = self.hash().await?;
        // Both workers let go of the other buffer before they answered.
        let mut empty = Arc::try_unwrap(mem::take(&mut self.in_flight)).unwrap_or_default();
        empty.clear();
        self.in_flight = Arc::new(mem::replace(&mut self.buffer, empty));
        self.handed += self.in_flight.len() as u64;
        let (to_write, to_hash) = (Arc::clone(&self.in_flight), Arc::clone(&self.in_flight));
        let write = move || {
            writer.write((*to_write).as_ref())?;
            drop(to_write);
            Ok(writer)
        };
        let update = move || {
            hash.update((*to_hash).as_ref());
            drop(to_hash);
            Ok(hash)
        };
        self.file = Hand::Away(self.workers.submit(PATIENCE, write).await?);
        self.hash = Hand::Away(self.workers.submit(PATIENCE, update).await?);
        Ok(())
    }

    /// Writes and flushes everything, and does `then` with the file on the same worker.
    async fn settle(&mut self, then: impl FnOnce(Box<Writer>) -> Hand<Box<Writer>> + Send + 'static) -> Result<Checkpoint, ReceiveError> {
        self.hand_over().await?;
        let hash = self.hash().await?;
        let checkpoint = Checkpoint::new(self.handed, &hash);
        self.file = match self.file.take(&self.workers).await? {
            None => Hand::Resting,
            Some(mut writer) => {
                // Both are empty now, and others may wait to be flushed before.
                (self.buffer, self.in_flight) = Default::default();
                let settle = move || {
                    writer.sync()?;
                    Ok(then(writer))
                };
                self.workers.run(PATIENCE, settle).await?
            }
        };
        self.hash = Hand::Here(hash);
        Ok(checkpoint)
    }

    /// The writer, once it is free; opened again if the transfer rested.
    async fn writer(&mut self) -> Result<Box<Writer>, StorageError> {
        if let Some(writer) = self.file.take(&self.workers).await? {
            return Ok(writer);
        }
        let offset = self.handed;
        // Another transfer may have gone on meanwhile; its bytes are not ours to cut.
        reopen(&self.dir, &self.workers, self.image, offset, move |part| match part.len()? {
            has if has == offset => Ok(()),
            has => Err(StorageError::WrongSize { has, should: offset }),
        })
        .await
    }

    async fn hash(&mut self) -> Result<Sha256, StorageError> {
        self.hash.take(&self.workers).await?.ok_or(StorageError::PartIsDead)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        match mem::replace(&mut self.file, Hand::Lost) {
            Hand::Resting | Hand::Lost => {}
            holding => self.workers.dispose(holding),
        }
    }
}

/// Opens the part on a worker, waiting a little for a former writer that is just ending.
async fn reopen(
    dir: &Arc<Directory>,
    workers: &Workers,
    image: ImageId,
    offset: u64,
    prepare: impl Fn(&mut Part) -> Result<(), StorageError> + Clone + Send + 'static,
) -> Result<Box<Writer>, StorageError> {
    let until = Instant::now() + HANDOVER;
    loop {
        let (dir, prepare, pace) = (Arc::clone(dir), prepare.clone(), workers.pace());
        let open = move || {
            let mut part = dir.open_part(image)?;
            prepare(&mut part)?;
            Ok(Box::new(Writer::new(part, offset, pace)))
        };
        match workers.run(PATIENCE, open).await {
            Err(StorageError::PartInUse) if Instant::now() < until => sleep(Duration::from_millis(50)).await,
            other => return other,
        }
    }
}
