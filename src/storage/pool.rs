//! The threads that wait for one storage.
//!
//! A file system that hangs cannot be told to give up: the caller sleeps in the kernel, and no time limit wakes it. So each storage
//! has a few threads of its own. When they are stuck, callers of this storage are told so in time, and everybody else goes on. Nothing
//! ever joins these threads; the process can end while they sleep.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, oneshot},
    time::{Instant, timeout_at},
};

use super::{StorageError, writer::Pace};

type Job = Box<dyn FnOnce() + Send>;

/// A thread with nothing to do for this long ends.
const IDLE: Duration = Duration::from_secs(30);

/// A storage's threads. Clones share them; they end after the last clone is dropped and their work is done.
#[derive(Debug, Clone)]
pub struct Workers(Arc<Owner>);

/// Dropped with the last clone, unlike [`Shared`], which the threads hold too.
#[derive(Debug)]
struct Owner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    threads: usize,
    free: Arc<Semaphore>,
    queue: Mutex<Queue>,
    wake: Condvar,
    pace: Arc<Pace>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Threads that exist.
    started: usize,
    /// Threads that run a job.
    running: usize,
    closed: bool,
}

impl Workers {
    /// How many threads a storage has unless configured.
    pub const DEFAULT_THREADS: usize = 4;

    /// Up to `threads` (at least 1) threads with this name, of which the system shows 15 bytes. None is started before it is needed.
    pub fn new(name: &str, threads: usize) -> Self {
        let threads = threads.max(1);
        let shared = Shared {
            name: name.to_owned(),
            threads,
            free: Arc::new(Semaphore::new(threads)),
            queue: Mutex::default(),
            wake: Condvar::new(),
            pace: Arc::default(),
        };
        Self(Arc::new(Owner(Arc::new(shared))))
    }

    /// What the storage's transfers have learned of its flushes.
    pub(super) fn pace(&self) -> Arc<Pace> {
        self.0.0.pace.clone()
    }

    /// Runs `job` on a thread and waits for it: at most `limit` in all, for a free thread and for the answer. A job whose caller has
    /// gone still finishes; one that had not started then never does.
    ///
    /// # Errors
    /// [`StorageError::NotAnswering`] after `limit`, [`StorageError::Io`] when the job panicked, and the job's own.
    pub async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.submit(limit, job).await?.answer().await
    }

    /// Threads at work now; those that hang are among them.
    pub fn busy(&self) -> usize {
        self.shared().lock().running
    }

    /// Like [`Workers::run`], but comes back as soon as a thread has taken the job.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
    ) -> Result<Pending<T>, StorageError> {
        let deadline = Instant::now() + limit;
        // What a job owns may only be dropped on a worker: closing a file can hang just as writing it can.
        let mut unstarted = Unstarted { workers: self, job: Some(job) };
        let free = Arc::clone(&self.shared().free);
        let permit = match Arc::clone(&free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => match timeout_at(deadline, free.acquire_owned()).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) | Err(_) => return Err(not_answering(limit)),
            },
        };
        let (send, receive) = oneshot::channel();
        if let Some(job) = unstarted.job.take() {
            self.push(Box::new(move || {
                let answer = catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| {
                    Err(StorageError::Io { what: "finish its work", source: io::Error::other("an internal fault, see the log") })
                });
                drop(permit);
                // Where the caller has gone, the answer is dropped here, with the file it may hold.
                let _ = send.send(answer);
            }))?;
        }
        Ok(Pending { receive, deadline, limit })
    }

    /// Drops something on a thread some time, without waiting: for what holds a file.
    pub(super) fn dispose(&self, thing: impl Send + 'static) {
        // Without a single thread nobody else can drop it.
        let _ = self.push(Box::new(move || drop(thing)));
    }

    fn push(&self, job: Job) -> Result<(), StorageError> {
        let shared = self.shared();
        let mut queue = shared.lock();
        let wanted = queue.running + queue.jobs.len() + 1;
        if queue.started < wanted.min(shared.threads) {
            let worker = Arc::clone(shared);
            match thread::Builder::new().name(shared.name.clone()).spawn(move || worker.work()) {
                Ok(_) => queue.started += 1,
                Err(source) if queue.started == 0 => return Err(StorageError::Io { what: "be given a thread", source }),
                // The threads there are will come to it.
                Err(_) => {}
            }
        }
        queue.jobs.push_back(job);
        drop(queue);
        shared.wake.notify_one();
        Ok(())
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No job runs under this lock, so what it guards is whole even if a thread panicked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                queue.running += 1;
                drop(queue);
                // Only what is dropped after a job can panic here; the count must stay right even so.
                let _ = catch_unwind(AssertUnwindSafe(job));
                queue = self.lock();
                queue.running -= 1;
                continue;
            }
            if queue.closed {
                break;
            }
            let (again, waited) = self.wake.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
            queue = again;
            if waited.timed_out() && queue.jobs.is_empty() {
                break;
            }
        }
        queue.started -= 1;
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_all();
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("jobs", &self.jobs.len()).field("started", &self.started).field("running", &self.running).finish()
    }
}

/// Sees to it that a job which will not run is dropped on a thread, also when the waiting itself is given up.
struct Unstarted<'a, J: Send + 'static> {
    workers: &'a Workers,
    job: Option<J>,
}

impl<J: Send + 'static> Drop for Unstarted<'_, J> {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            self.workers.dispose(job);
        }
    }
}

/// A job that a thread has taken.
#[derive(Debug)]
pub(super) struct Pending<T> {
    receive: oneshot::Receiver<Result<T, StorageError>>,
    deadline: Instant,
    limit: Duration,
}

impl<T> Pending<T> {
    /// The answer. May be given up and asked again, but not after it was given.
    pub(super) async fn answer(&mut self) -> Result<T, StorageError> {
        match timeout_at(self.deadline, &mut self.receive).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StorageError::Io { what: "finish its work", source: io::Error::other("its thread has ended") }),
            Err(_) => Err(not_answering(self.limit)),
        }
    }
}

fn not_answering(limit: Duration) -> StorageError {
    StorageError::NotAnswering { seconds: limit.as_secs() + u64::from(limit.subsec_nanos() > 0) }
}
