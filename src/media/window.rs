//! The bytes of one file as far as they may be looked at: its head, and what can be read behind it within the budget.
//!
//! "Not there" and "not known yet" are one answer here (`false`): a reader treats both as bytes that say nothing. What follows from a
//! missing byte is decided by whoever knows the file's size.

use std::io;

use super::{HEAD_BYTES, READ_LIMIT, ReadAt, Refusal, SECTOR_BYTES};

/// One sector as read.
pub(super) type Sector = [u8; SECTOR_BYTES];

/// How many bytes at the end of a file can make it a disk image: the footer of a stream-optimised VMDK stands 1,024 before the end.
pub(super) const TAIL_BYTES: usize = 1024;

/// Why an examination ended early.
pub(super) enum Stop {
    Io(io::Error),
    Refused(Refusal),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What may be looked at.
pub(super) struct Window<'a, S: ReadAt + ?Sized> {
    head: &'a [u8],
    rest: Option<&'a S>,
    total: Option<u64>,
    budget: usize,
}

impl<'a, S: ReadAt + ?Sized> Window<'a, S> {
    /// The head alone.
    pub(super) fn over_head(head: &'a [u8], total: Option<u64>) -> Self {
        Self { head, rest: None, total, budget: 0 }
    }

    /// A whole file whose head has been read already.
    pub(super) fn over_file(head: &'a [u8], source: &'a S, total: u64) -> Self {
        Self { head, rest: Some(source), total: Some(total), budget: READ_LIMIT - HEAD_BYTES }
    }

    pub(super) fn head(&self) -> &'a [u8] {
        self.head
    }

    /// The size of the whole file in bytes, if known.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// The sector with this number, unless it is not wholly there, not known, or beyond the budget.
    pub(super) fn sector(&mut self, number: u64) -> io::Result<Option<Sector>> {
        let mut sector = [0; SECTOR_BYTES];
        let Some(offset) = number.checked_mul(SECTOR_BYTES as u64) else { return Ok(None) };
        Ok(self.fill(offset, &mut sector)?.then_some(sector))
    }

    /// The last [`TAIL_BYTES`] of the file, fewer of a smaller file, none where they are not known.
    pub(super) fn tail(&mut self) -> io::Result<Vec<u8>> {
        let Some(total) = self.total else { return Ok(Vec::new()) };
        let mut tail = vec![0; usize::try_from(total).map_or(TAIL_BYTES, |total| total.min(TAIL_BYTES))];
        let start = total.saturating_sub(TAIL_BYTES as u64);
        if !self.fill(start, &mut tail)? {
            tail.clear();
        }
        Ok(tail)
    }

    /// Whether all of `buffer` could be filled from `offset` on.
    fn fill(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
        let in_head = usize::try_from(offset).ok().and_then(|start| self.head.get(start..start.checked_add(buffer.len())?));
        if let Some(bytes) = in_head {
            buffer.copy_from_slice(bytes);
            return Ok(true);
        }
        let Some(source) = self.rest else { return Ok(false) };
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none() || end > self.total || buffer.len() > self.budget {
            return Ok(false);
        }
        self.budget -= buffer.len();
        Ok(read_full(source, offset, buffer)? == buffer.len())
    }
}

/// Reads until `buffer` is full or nothing more comes; returns how much of it is filled.
pub(super) fn read_full(source: &(impl ReadAt + ?Sized), offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        let Some(at) = offset.checked_add(filled as u64) else { break };
        match source.read_at(at, &mut buffer[filled..]) {
            // A source that claims more than it was given room for must not move us beyond the buffer.
            Ok(count) if count > 0 => filled = filled.saturating_add(count).min(buffer.len()),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Whether `mark` stands at `offset`.
pub(super) fn has(bytes: &[u8], offset: usize, mark: &[u8]) -> bool {
    bytes.get(offset..).is_some_and(|rest| rest.starts_with(mark))
}

/// The bytes at `offset`, zeros where there are none: every field read this way is checked for sense afterwards.
pub(super) fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}
