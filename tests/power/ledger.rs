//! What the client was told, and when, counted in writes to the recorded disk; kept outside that disk.

use std::{collections::BTreeMap, path::PathBuf, sync::Mutex};

use crate::{Result, disk::Counter};

/// Something that was acknowledged and must be found after a power cut.
#[derive(Debug, Clone)]
pub struct Fact {
    /// The number of entries in the record when the answer had arrived.
    pub from: u64,
    /// The number when something was asked for that ends it: whatever ended it was written after these.
    pub until: Option<u64>,
    /// In words, for messages.
    pub words: String,
    /// A statement on the records that selects 1 while it holds, and what else otherwise.
    pub sql: String,
}

/// The image of one row of the records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub id: String,
    pub status: String,
    pub sha256: String,
    pub size: i64,
    /// Where its storage lies.
    pub storage: String,
}

/// The records' images at one moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The number of entries when they had been read.
    pub by: u64,
    pub rows: Vec<Row>,
}

/// A copy of the records' database, made when nothing was asked of the service.
#[derive(Debug, Clone)]
pub struct Copy {
    pub from: u64,
    /// The number of entries when the next thing was asked for.
    pub until: Option<u64>,
    pub path: PathBuf,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pub facts: Vec<Fact>,
    pub seen: Vec<Seen>,
    pub copies: Vec<Copy>,
}

impl Ledger {
    /// What must hold on the disk after `entries`.
    pub fn facts_at(&self, entries: u64) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(move |fact| fact.from <= entries && fact.until.is_none_or(|until| entries <= until))
    }

    /// The rows of which it is certain that they were in the records when the disk had `entries`: last seen before, and still so when seen
    /// next.
    pub fn rows_at(&self, entries: u64) -> Vec<&Row> {
        let at = self.seen.partition_point(|seen| seen.by <= entries);
        let Some(last) = at.checked_sub(1).map(|last| &self.seen[last]) else { return Vec::new() };
        let next = self.seen.get(at);
        last.rows.iter().filter(|row| next.is_none_or(|next| next.rows.contains(row))).collect()
    }

    /// The copy of the records that belongs to the disk with `entries`.
    pub fn copy_at(&self, entries: u64) -> Option<&Copy> {
        self.copies.iter().find(|copy| copy.from <= entries && copy.until.is_none_or(|until| entries <= until))
    }
}

/// Writes the ledger while the service works.
pub struct Writer {
    counter: Counter,
    open: Mutex<(Ledger, BTreeMap<String, Vec<usize>>)>,
}

impl Writer {
    /// An empty one.
    pub fn new(counter: Counter) -> Self {
        Self { counter, open: Mutex::default() }
    }

    /// The number of entries now.
    pub fn now(&self) -> Result<u64> {
        self.counter.now()
    }

    /// An answer has arrived: from now on this holds. `about` names what later ends it.
    pub fn acknowledged(&self, about: &str, words: &str, sql: String) -> Result<()> {
        self.acknowledged_at(self.now()?, about, words, sql)
    }

    /// The same for an answer that had arrived when there were `from` entries.
    pub fn acknowledged_at(&self, from: u64, about: &str, words: &str, sql: String) -> Result<()> {
        self.with(|ledger, by_name| {
            by_name.entry(about.to_owned()).or_default().push(ledger.facts.len());
            ledger.facts.push(Fact { from, until: None, words: words.to_owned(), sql });
            Ok(())
        })
    }

    /// Something is about to be asked for that may end what was acknowledged about this.
    pub fn asked(&self, about: &str) -> Result<()> {
        let now = self.now()?;
        self.with(|ledger, by_name| {
            for fact in by_name.remove(about).unwrap_or_default() {
                ledger.facts[fact].until.get_or_insert(now);
            }
            Ok(())
        })
    }

    /// Something is about to be asked for: the last copy of the records is old from now on.
    pub fn busy(&self) -> Result<()> {
        let now = self.now()?;
        self.with(|ledger, _| {
            if let Some(copy) = ledger.copies.last_mut() {
                copy.until.get_or_insert(now);
            }
            Ok(())
        })
    }

    /// A copy of the records was made, which was begun when there were `from` entries.
    pub fn copied(&self, from: u64, path: PathBuf) -> Result<()> {
        self.with(|ledger, _| {
            ledger.copies.push(Copy { from, until: None, path });
            Ok(())
        })
    }

    /// The rows were read; the number of entries is read after them.
    pub fn saw(&self, rows: Vec<Row>) -> Result<()> {
        let by = self.now()?;
        self.with(|ledger, _| {
            if ledger.seen.last().is_none_or(|last| last.rows != rows) {
                ledger.seen.push(Seen { by, rows });
            }
            Ok(())
        })
    }

    /// What has been written.
    pub fn close(self) -> Result<Ledger> {
        let mut ledger = self.with(|ledger, _| Ok(std::mem::take(ledger)))?;
        // Nothing is certain of the records after the last look.
        let now = self.now()?;
        if let Some(copy) = ledger.copies.last_mut() {
            copy.until.get_or_insert(now);
        }
        Ok(ledger)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Ledger, &mut BTreeMap<String, Vec<usize>>) -> Result<T>) -> Result<T> {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (ledger, by_name) = &mut *open;
        act(ledger, by_name)
    }
}
