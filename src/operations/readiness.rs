//! Whether this process can serve: its records answer, their schema is the one that it knows, and nobody told it to stop.
//!
//! The answer comes in time whatever the database does. One look is under way at a time, so that no number of questions can take the
//! connections away from those who work; who asks meanwhile shares the answer of a look that began after the question. Storages never make
//! the process unready: the console is where people see that one is lost.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{Failure, Service};
use crate::{
    authorize::{self, Actor, right},
    clock,
    db::{
        Conn,
        figures::{self, JobState},
        migrate, storages,
    },
    domain::{size, storage::Health},
};

/// How long the database may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// How long the rest of a report may take.
const REPORTS_WITHIN: Duration = Duration::from_millis(600);
/// Jobs that a report counts.
const JOBS_COUNTED: i64 = 10_000;

/// Whether this process is to be asked anything, and how much it has to do.
#[derive(Debug, Default)]
pub struct Life {
    stopping: AtomicBool,
    active: AtomicUsize,
    looking: Arc<tokio::sync::Mutex<()>>,
    last: Mutex<Option<(Instant, Verdict)>>,
}

impl Life {
    /// From now on the process is not ready.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Whether the process was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// A request begins.
    pub fn begin_request(&self) {
        self.active.fetch_add(1, Ordering::SeqCst);
    }

    /// A request ends.
    pub fn end_request(&self) {
        self.active.fetch_sub(1, Ordering::SeqCst);
    }

    /// Requests that are being answered.
    pub fn active_requests(&self) -> usize {
        self.active.load(Ordering::SeqCst)
    }

    fn last_since(&self, asked: Instant) -> Option<Verdict> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(begun, _)| *begun >= asked).map(|(_, verdict)| verdict.clone())
    }
}

/// What a look at the records found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It can serve.
    Ready,
    /// It was told to stop.
    Stopping,
    /// The database does not answer.
    NoDatabase(String),
    /// These migrations have not run.
    SchemaIsOld(Vec<String>),
}

impl Verdict {
    /// Whether it can serve.
    pub const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }

    /// The verdict for everybody: it tells nothing of the inside.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Stopping => "the service is stopping",
            Self::NoDatabase(_) => "the database does not answer",
            Self::SchemaIsOld(_) => "the database's schema is not up to date",
        }
    }
}

/// Looks whether this process can serve.
pub async fn look(service: &Service) -> Verdict {
    if service.life.is_stopping() {
        return Verdict::Stopping;
    }
    let asked = Instant::now();
    let verdict = match timeout(ANSWERS_WITHIN, ask(service, asked)).await {
        Ok(verdict) => verdict,
        Err(_) => Verdict::NoDatabase(format!("no answer within {} s", ANSWERS_WITHIN.as_secs())),
    };
    if let Verdict::NoDatabase(cause) = &verdict {
        tracing::warn!(%cause, "not ready: the database does not answer");
    }
    verdict
}

async fn ask(service: &Service, asked: Instant) -> Verdict {
    let looking = service.life.looking.clone().lock_owned().await;
    if let Some(shared) = service.life.last_since(asked) {
        return shared;
    }
    let begun = Instant::now();
    let query = move |conn: &mut Conn| {
        // Nobody else asks before this one is answered, even if nobody waits for it any more.
        let _looking = looking;
        Ok::<_, Failure>(migrate::missing(conn)?)
    };
    let verdict = match service.db.read(query).await {
        Ok(missing) if missing.is_empty() => Verdict::Ready,
        Ok(missing) => Verdict::SchemaIsOld(missing),
        Err(failed) => Verdict::NoDatabase(failed.to_string()),
    };
    *service.life.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((begun, verdict.clone()));
    verdict
}

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Good,
    /// Not as it should be, but the process can serve.
    Degraded,
    /// The process cannot serve.
    Fault,
}

impl State {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Degraded => "degraded",
            Self::Fault => "fault",
        }
    }
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// What there is to say.
    pub detail: String,
}

fn check(name: impl Into<String>, state: State, detail: impl Into<String>) -> Check {
    Check { name: name.into(), state, detail: detail.into() }
}

/// Everything that there is to say, for somebody who may see the settings.
pub async fn report(service: &Service, actor: &Arc<Actor>) -> Result<Vec<Check>, Failure> {
    let database = service.config.database.words();
    let found = authorize::read::<right::ViewSettings, _>(&service.db, actor, authorize::Service, move |conn, _| {
        let mut checks = vec![check("database", State::Good, format!("{database} answers"))];
        let missing = migrate::missing(conn)?;
        checks.push(match missing.as_slice() {
            [] => check("migrations", State::Good, "all have run"),
            missing => check("migrations", State::Fault, format!("not run: {}", missing.join(", "))),
        });
        for storage in storages::all(conn, None)?.into_iter().filter(|storage| storage.health != Health::Removed) {
            let state = if storage.health == Health::Healthy { State::Good } else { State::Degraded };
            let detail = match &storage.cause {
                Some(cause) => format!("{} since {}: {cause}", storage.health.words(), storage.health_since.rfc3339()),
                None => format!("{}, {} free", storage.health.words(), size::words(storage.free())),
            };
            checks.push(check(format!("storage “{}”", storage.name), state, detail));
        }
        let (groups, more) = figures::jobs(conn, "", JOBS_COUNTED, clock::now())?;
        let of = |state: JobState| groups.iter().filter(|group| group.state == state).map(|group| group.count).sum::<u64>();
        let retrying = of(JobState::Retrying);
        let words = format!("{} waiting, {} running, {retrying} to be tried again", of(JobState::Waiting), of(JobState::Running));
        let words = if more.is_some() { format!("of the first {JOBS_COUNTED}: {words}") } else { words };
        checks.push(check("jobs", if retrying == 0 { State::Good } else { State::Degraded }, words));
        Ok(checks)
    });
    match timeout(REPORTS_WITHIN, found).await {
        Ok(found) => found,
        Err(_) => Ok(vec![check("database", State::Degraded, "it answers, but slowly: no report was to be had in time")]),
    }
}
