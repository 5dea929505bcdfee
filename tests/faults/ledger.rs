//! What the service acknowledged, kept outside of it: what must be there, what must be gone, and what nobody can know because the process
//! died before it answered.

/// Whether something was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Refused, or never asked for.
    No,
    /// Asked for, and no answer came.
    Perhaps,
    /// Acknowledged.
    Yes,
}

/// What somebody wrote about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    pub name: String,
    pub note: String,
}

/// One image, as far as its client knows.
#[derive(Debug, Clone)]
pub struct Image {
    pub id: Option<String>,
    pub words: Words,
    /// An edit that was not answered.
    pub perhaps: Option<Words>,
    /// The identifier of the storage it was made for.
    pub storage: String,
    pub bytes: u64,
    pub sha256: String,
    pub created: Done,
    pub complete: Done,
    pub deleted: Done,
    /// Edits that were made.
    pub edits: usize,
    /// A transfer was announced or under way when the process died.
    pub interrupted: bool,
}

impl Image {
    /// One that is asked for now, and whose file is not sent yet.
    pub fn new(words: Words, storage: String, bytes: usize, sha256: String) -> Self {
        Self {
            id: None,
            words,
            perhaps: None,
            storage,
            bytes: bytes as u64,
            sha256,
            created: Done::Perhaps,
            complete: Done::No,
            deleted: Done::No,
            edits: 0,
            interrupted: true,
        }
    }
}

/// The storage that comes and goes.
#[derive(Debug, Clone, Default)]
pub struct Roaming {
    pub id: String,
    /// Whether it is removed now, as far as anybody knows: nothing where the last answer did not come.
    pub removed: Option<bool>,
    pub removals: usize,
    pub returns: usize,
    /// What was asked last and not answered: true for a removal.
    pub perhaps: Option<bool>,
}

/// Everything that was acknowledged.
#[derive(Debug, Default)]
pub struct Ledger {
    pub images: Vec<Image>,
    pub roaming: Roaming,
    /// Changes that were acknowledged, over the whole run.
    pub acknowledged: u64,
    /// Requests whose answer did not come.
    pub unknown: u64,
}
