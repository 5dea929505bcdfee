//! One row of the table: what is sent, the answer that is expected, and what may be left behind.

use super::{answer::Answer, world::World};

/// What sends the input. The first half prepares; between the halves the service is looked at; the second half sends.
pub type Act = Box<dyn FnOnce(&mut World) -> Send>;
/// The second half.
pub type Send = Box<dyn FnOnce(&mut World) -> Answer>;
/// A look at the answer, and at the service afterwards; a sentence where something is not as it should be.
pub type Look = Box<dyn FnOnce(&mut World, &Answer) -> Result<(), String>>;

/// What is left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// No row, no file, nothing promised. The named tables may have so many rows more.
    Nothing(&'static [(&'static str, i64)]),
    /// One image, Pending, with this reason; its bytes are gone and nothing is promised to it.
    Pending(&'static str),
    /// One image, Available, whose file has the recorded digest.
    Available,
    /// What was there is changed on purpose; `also` looks at it. No part of a file, nothing promised.
    Changed,
    /// The same, and the newest image keeps what arrived of its file: one part.
    Kept,
}

/// One row.
pub struct Row {
    pub id: &'static str,
    pub what: String,
    pub act: Act,
    /// Statuses that are right; 0 is a connection that is closed without an answer.
    pub status: Vec<u16>,
    /// Words, one of them a code where the answer is JSON, that must stand in the answer or on the page to which it leads.
    pub words: Vec<String>,
    pub left: Left,
    /// How much the resident memory may have grown at its peak, in KiB.
    pub memory: Option<u64>,
    pub also: Vec<Look>,
    /// Why the answer is another one than the listed, where it is.
    pub differs: Option<&'static str>,
}

impl Row {
    /// A row that must be answered by one of `status` and leave nothing.
    pub fn new(id: &'static str, what: impl Into<String>, act: Act, status: &[u16]) -> Self {
        Self {
            id,
            what: what.into(),
            act,
            status: status.to_vec(),
            words: Vec::new(),
            left: Left::Nothing(&[]),
            memory: None,
            also: Vec::new(),
            differs: None,
        }
    }

    pub fn words(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    pub fn left(mut self, left: Left) -> Self {
        self.left = left;
        self
    }

    /// One line of the audit log is left, and nothing else.
    pub fn audited(self) -> Self {
        self.left(Left::Nothing(&[("events", 1)]))
    }

    pub fn memory(mut self, kib: u64) -> Self {
        self.memory = Some(kib);
        self
    }

    pub fn also(mut self, look: impl FnOnce(&mut World, &Answer) -> Result<(), String> + 'static) -> Self {
        self.also.push(Box::new(look));
        self
    }

    pub fn differs(mut self, why: &'static str) -> Self {
        self.differs = Some(why);
        self
    }
}

/// A sentence if something is not so.
pub fn so(is_so: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(otherwise()) }
}
