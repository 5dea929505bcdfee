//! The storages that this process works with: where each lies now, and the workers that touch it.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{Directory, Space, StorageError, Workers};
use crate::domain::ids::{ImageId, StorageId};

/// Threads that one storage may keep busy; a storage that hangs takes no more than these with it.
const THREADS: usize = 4;
/// How long an ordinary operation may take before the storage counts as not answering.
const LIMIT: Duration = Duration::from_secs(20);

/// A storage at its present place, with its workers.
#[derive(Clone)]
pub struct Handle {
    /// The folder.
    pub directory: Arc<Directory>,
    /// The threads that may touch it.
    pub workers: Workers,
    /// One more, for looking whether it answers: work that is merely waiting must not look like a storage that hangs.
    prober: Workers,
}

impl Handle {
    /// Runs something on the storage's workers, within the usual time.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Directory) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.run_within(LIMIT, job).await
    }

    /// Writes, flushes and reads back a small file.
    pub async fn probe_within(&self, limit: Duration) -> Result<Space, StorageError> {
        let directory = self.directory.clone();
        self.prober.run(limit, move || directory.probe()).await
    }

    /// The same within another time.
    pub async fn run_within<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce(&Directory) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let directory = self.directory.clone();
        self.workers.run(limit, move || job(&directory)).await
    }
}

/// All storages of this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry {
    handles: Arc<Mutex<HashMap<StorageId, Handle>>>,
    busy: Arc<Mutex<HashSet<ImageId>>>,
}

/// The sole right, within this process, to make or remove an unfinished image's files; given back when dropped. Between processes the
/// lease in the records and the lock on the part file keep watch.
#[derive(Debug)]
pub struct Busy {
    image: ImageId,
    busy: Arc<Mutex<HashSet<ImageId>>>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.image);
    }
}

impl Registry {
    /// The storage at its present place. A storage that moved keeps its workers.
    pub fn at(&self, id: StorageId, path: &Path) -> Handle {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = handles.entry(id).or_insert_with(|| Handle {
            directory: Arc::new(Directory::at(path, id)),
            workers: Workers::new(&id.to_string(), THREADS),
            prober: Workers::new(&format!("probe {id}"), 1),
        });
        if handle.directory.root() != path {
            handle.directory = Arc::new(Directory::at(path, id));
        }
        handle.clone()
    }

    /// Occupies an image's files; none while somebody else in this process is at them.
    pub fn occupy(&self, image: ImageId) -> Option<Busy> {
        let new = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(image);
        new.then(|| Busy { image, busy: self.busy.clone() })
    }

    /// Whether anybody in this process is at the files of any image.
    pub fn is_occupied(&self) -> bool {
        !self.busy.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Threads for a look at a folder that is no storage yet.
    pub fn visitors(&self) -> Workers {
        Workers::new("visitor", 1)
    }
}
