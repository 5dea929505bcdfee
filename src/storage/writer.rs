//! The half of a transfer that runs on a storage's worker and touches its file.
//!
//! Bytes that only lie in the cache are a debt that the next flush pays at once. It is kept small: the system is asked early to write
//! out what came, and after some mebibytes the writer flushes by itself. How many depends on how long the storage's last flush took, so
//! that one of 1 MiB/s is never asked for a flush that outlasts anybody's patience, and a fast one is seldom asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Part, StorageError};

/// Bytes after which the system is asked to begin writing. Measured: 8 MiB kept the disk busy all the time, 32 MiB and more did not.
const WRITE_OUT: u64 = 8 << 20;

/// The number of bytes between two flushes: at the start, at least and at most.
const FLUSH_FIRST: u64 = 4 << 20;
const FLUSH_LEAST: u64 = 1 << 20;
const FLUSH_MOST: u64 = 64 << 20;

/// A flush that takes longer than this makes the next one come sooner, one that takes a fraction of it later.
const LONG: Duration = Duration::from_secs(2);

/// How many bytes a storage takes between two flushes. Its transfers share what they learn of it: each chunk is a new one.
#[derive(Debug)]
pub(super) struct Pace(AtomicU64);

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicU64::new(FLUSH_FIRST))
    }
}

impl Pace {
    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// A flush of that many bytes took so long.
    fn learn(&self, bytes: u64, took: Duration) {
        if took > LONG {
            self.0.store((bytes / 2).max(FLUSH_LEAST), Ordering::Relaxed);
        } else if took < LONG / 8 {
            self.0.store((bytes * 2).min(FLUSH_MOST), Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    part: Part,
    offset: u64,
    durable: u64,
    written_out: u64,
    pace: Arc<Pace>,
}

impl Writer {
    /// Goes on after the first `offset` bytes, which are durable.
    pub(super) fn new(part: Part, offset: u64, pace: Arc<Pace>) -> Self {
        Self { part, offset, durable: offset, written_out: offset, pace }
    }

    /// Writes the next bytes, and flushes when it is time.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.part.write_at(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        let waiting = self.offset - self.written_out;
        if waiting >= WRITE_OUT {
            self.part.start_writing_out(self.written_out, waiting);
            self.written_out = self.offset;
        }
        let due = self.pace.bytes();
        if self.offset - self.durable >= due {
            let began = Instant::now();
            self.sync()?;
            self.pace.learn(due, began.elapsed());
        }
        Ok(())
    }

    /// Makes everything written durable.
    pub(super) fn sync(&mut self) -> Result<(), StorageError> {
        if self.durable < self.offset {
            self.part.sync()?;
            // What was still on its way when this was asked before did not leave the cache; now that it is durable it can.
            self.part.start_writing_out(self.durable, self.offset - self.durable);
            self.durable = self.offset;
        }
        Ok(())
    }

    pub(super) fn room_is_claimed(&self) -> bool {
        self.part.allocated()
    }

    pub(super) fn into_part(self) -> Part {
        self.part
    }
}
