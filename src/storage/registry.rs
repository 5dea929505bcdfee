//! The storages that this process works with: where each lies now, and the workers that touch it.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

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
    busy: Arc<Mutex<HashMap<ImageId, Arc<Asked>>>>,
}

/// What whoever is at an image's files can be asked.
#[derive(Debug, Default)]
struct Asked {
    /// Since when its sender has been silent; none while it is not waited for.
    silent_since: Mutex<Option<Instant>>,
    end: Notify,
    /// Bytes are received, or all are there and are looked at.
    checks: AtomicBool,
}

/// What somebody in this process does with an image's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Receives bytes, or something short.
    Receives,
    /// Has all of them, and looks at them.
    Checks,
}

/// The sole right, within this process, to make or remove an unfinished image's files; given back when dropped. Between processes the
/// lease in the records and the lock on the part file keep watch.
#[derive(Debug)]
pub struct Busy {
    image: ImageId,
    asked: Arc<Asked>,
    busy: Arc<Mutex<HashMap<ImageId, Arc<Asked>>>>,
}

impl Busy {
    /// The sender is waited for from now on, or (false) not any more: as long as it is, somebody may ask for an end.
    pub fn waits(&self, waits: bool) {
        *self.asked.silent_since.lock().unwrap_or_else(PoisonError::into_inner) = waits.then(Instant::now);
    }

    /// All bytes are there from now on, and are looked at.
    pub fn checks(&self) {
        self.asked.checks.store(true, Ordering::Relaxed);
        self.waits(false);
    }

    /// Waits until somebody asks to come to an end.
    pub async fn asked_to_end(&self) {
        self.asked.end.notified().await;
    }
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
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if busy.contains_key(&image) {
            return None;
        }
        let asked = Arc::<Asked>::default();
        busy.insert(image, asked.clone());
        drop(busy);
        Some(Busy { image, asked, busy: self.busy.clone() })
    }

    /// Asks whoever is at an image's files to come to an end, if it has waited for its sender for so long.
    pub fn ask_to_end(&self, image: ImageId, silent: Duration) {
        let asked = self.busy.lock().unwrap_or_else(PoisonError::into_inner).get(&image).cloned();
        let is_dead = |asked: &Arc<Asked>| {
            let since = *asked.silent_since.lock().unwrap_or_else(PoisonError::into_inner);
            since.is_some_and(|since| since.elapsed() >= silent)
        };
        if let Some(asked) = asked.filter(is_dead) {
            asked.end.notify_one();
        }
    }

    /// What somebody in this process does with an image's files, if somebody is at them.
    pub fn doing(&self, image: ImageId) -> Option<Doing> {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.get(&image).map(|asked| if asked.checks.load(Ordering::Relaxed) { Doing::Checks } else { Doing::Receives })
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
