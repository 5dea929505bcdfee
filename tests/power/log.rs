//! The record of a disk, and the disks that a power cut could have left.
//!
//! A disk is a list of blocks of 4 KiB, shared between the states that have them in common. A write that a flush follows is durable; of
//! those after the last flush any subset may have reached the medium, each of them whole or torn into blocks.

use std::{fs::File, os::unix::fs::FileExt, path::Path, sync::Arc};

use crate::{Result, disk, fail};

pub const BLOCK: usize = 4096;
const SECTOR: u64 = 512;
const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// One entry of the record.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whether everything before it became durable with it.
    pub flush: bool,
    /// Whether it became durable itself.
    fua: bool,
    offset: u64,
    bytes: u64,
    /// None where the range was discarded, which reads as zeros.
    data: Option<Arc<Vec<u8>>>,
}

impl Entry {
    /// Whether it changes the disk, and is not a mere flush.
    pub fn writes(&self) -> bool {
        self.bytes > 0
    }
}

/// Reads a whole record.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let file = File::open(path)?;
    let number = |at: u64| -> Result<u64> {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_le_bytes(bytes))
    };
    if number(0)? != MAGIC {
        return fail(format!("{} is not a record of writes", path.display()));
    }
    let (count, mut at) = (number(16)?, SECTOR);
    let mut entries = Vec::new();
    for _ in 0..count {
        let (sector, sectors, flags) = (number(at)?, number(at + 8)?, number(at + 16)?);
        at += SECTOR;
        let bytes = sectors * SECTOR;
        let data = if flags & DISCARD == 0 {
            let mut data = vec![0; usize::try_from(bytes)?];
            file.read_exact_at(&mut data, at)?;
            at += bytes;
            Some(Arc::new(data))
        } else {
            None
        };
        entries.push(Entry { flush: flags & FLUSH != 0, fua: flags & FUA != 0, offset: sector * SECTOR, bytes, data });
    }
    Ok(entries)
}

/// The content of a disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Image(Vec<Option<Arc<[u8; BLOCK]>>>);

impl Image {
    /// As it lies in a file.
    pub fn load(path: &Path) -> Result<Self> {
        let mut blocks = vec![None; usize::try_from(disk::DISK_BYTES)? / BLOCK];
        disk::read_blocks(path, |number, bytes| {
            let mut block = [0; BLOCK];
            block.copy_from_slice(bytes);
            blocks[number as usize] = Some(Arc::new(block));
        })?;
        Ok(Self(blocks))
    }

    /// All blocks that are not zero.
    pub fn blocks(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.0.iter().enumerate().filter_map(|(number, block)| Some(((number * BLOCK) as u64, &block.as_ref()?[..])))
    }

    /// Takes what an entry wrote.
    pub fn apply(&mut self, entry: &Entry) {
        self.apply_some(entry, |_| true);
    }

    /// Takes those blocks of an entry that `choose` chooses, by their number in it.
    fn apply_some(&mut self, entry: &Entry, mut choose: impl FnMut(usize) -> bool) {
        let (mut at, end) = (entry.offset, entry.offset + entry.bytes);
        let mut piece = 0;
        while at < end {
            let (number, within) = ((at / BLOCK as u64) as usize, (at % BLOCK as u64) as usize);
            let length = (BLOCK - within).min((end - at) as usize);
            if choose(piece) && number < self.0.len() {
                self.put(number, within, length, entry, (at - entry.offset) as usize);
            }
            at += length as u64;
            piece += 1;
        }
    }

    fn put(&mut self, number: usize, within: usize, length: usize, entry: &Entry, from: usize) {
        let mut block = self.0[number].as_deref().copied().unwrap_or([0; BLOCK]);
        match &entry.data {
            Some(data) => block[within..within + length].copy_from_slice(&data[from..from + length]),
            None => block[within..within + length].fill(0),
        }
        self.0[number] = if block == [0; BLOCK] { None } else { Some(Arc::new(block)) };
    }
}

/// The disk on its way through the record.
#[derive(Debug, Clone)]
pub struct Player {
    durable: Image,
    all: Image,
    unflushed: Vec<Entry>,
}

impl Player {
    /// Before the first entry.
    pub fn new(base: Image) -> Self {
        Self { durable: base.clone(), all: base, unflushed: Vec::new() }
    }

    /// Takes the next entry.
    pub fn take(&mut self, entry: &Entry) {
        if entry.flush {
            self.durable = self.all.clone();
            self.unflushed.clear();
        }
        self.all.apply(entry);
        if entry.writes() {
            self.unflushed.push(entry.clone());
        }
    }

    /// The disk with everything that was written.
    pub fn all(&self) -> &Image {
        &self.all
    }

    /// How many writes could be lost.
    pub fn unflushed(&self) -> usize {
        self.unflushed.iter().filter(|entry| !entry.fua).count()
    }

    /// The disk with a random subset of what was not flushed: of each write all, nothing, or some blocks.
    pub fn subset(&self, random: &mut Random) -> Image {
        let mut image = self.durable.clone();
        for entry in &self.unflushed {
            match random.below(8) {
                // Durable by itself, whatever became of those before it.
                _ if entry.fua => image.apply(entry),
                0..=2 => image.apply(entry),
                3..=5 => {}
                _ => image.apply_some(entry, |_| random.below(2) == 0),
            }
        }
        image
    }
}

/// A sequence of numbers that its seed decides (SplitMix64).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Another sequence for every pair.
    pub fn new(seed: u64, at: u64) -> Self {
        Self(seed ^ at.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}
