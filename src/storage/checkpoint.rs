//! The point from which an interrupted transfer goes on, small enough for a column of the database.

use sha2::{
    Digest, Sha256,
    digest::common::hazmat::{SerializableState, SerializedState},
};

use super::StorageError;

/// Names the layout of [`Checkpoint::hash_state`], which only one minor version of sha2 promises to read. A test notices a change.
const HASH_STATE_VERSION: u8 = 1;

/// A point from which a transfer can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Bytes that are durable.
    pub offset: u64,
    /// The running hash at `offset`, about 100 bytes that mean nothing to others.
    pub hash_state: Vec<u8>,
}

impl Checkpoint {
    pub(super) fn new(offset: u64, hash: &Sha256) -> Self {
        let mut hash_state = vec![HASH_STATE_VERSION];
        hash_state.extend_from_slice(&hash.serialize());
        Self { offset, hash_state }
    }

    /// The SHA-256 of the bytes before the offset.
    ///
    /// # Errors
    /// [`StorageError::BadCheckpoint`] for a state that another version wrote.
    pub fn sha256(&self) -> Result<[u8; 32], StorageError> {
        Ok(self.hash()?.finalize().into())
    }

    pub(super) fn hash(&self) -> Result<Sha256, StorageError> {
        let Some((&HASH_STATE_VERSION, state)) = self.hash_state.split_first() else { return Err(StorageError::BadCheckpoint) };
        let state = SerializedState::<Sha256>::try_from(state).map_err(|_| StorageError::BadCheckpoint)?;
        Sha256::deserialize(&state).map_err(|_| StorageError::BadCheckpoint)
    }
}
