//! The records, in SQLite or PostgreSQL, chosen by the database URL; the only module that knows diesel.
//!
//! There are two doors, [`Db::read`] and [`Db::write`]; both run on threads that may block, so that no handler ever holds a connection or
//! blocks a thread that serves others. Before each door is a line: whoever waits for a connection waits there and holds no thread, so a
//! thousand writers that wait for SQLite's one pen leave the readers their threads. `write` opens a write transaction at once (on SQLite a
//! deferred one could fail halfway) and hands out a [`Tx`], the only value on which the audit log can be written: a change and its record
//! commit together or not at all.

mod dialect;
mod errors;
mod pen;
mod pool;

pub mod bulk;
pub mod clusters;
pub mod counts;
pub mod cursor;
pub mod drafts;
pub mod events;
pub mod figures;
pub mod idempotency;
pub mod images;
pub mod jobs;
pub mod migrate;
pub mod people;
pub mod schema;
pub mod storages;
pub mod tokens;
pub mod uploads;
pub mod usage;

use std::{path::Path, sync::Arc};

use diesel::{
    PgConnection, SqliteConnection,
    connection::{AnsiTransactionManager, SimpleConnection, TransactionManager},
    prelude::*,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    domain::audit::{Action, ObjectKind},
    meter,
};
pub use errors::{DbError, DbResult, Taken};
pub use pool::Pool;

/// A connection to either database. PostgreSQL stands first: diesel tries the variants in order, and SQLite takes any text for a file.
#[derive(diesel::MultiConnection)]
pub enum Conn {
    /// PostgreSQL.
    Postgres(PgConnection),
    /// SQLite, bundled.
    Sqlite(SqliteConnection),
}

/// Where the records are kept, parsed from the database URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A file, and its one process.
    Sqlite(std::path::PathBuf),
    /// A server.
    Postgres(String),
}

impl Address {
    /// Parses a database URL: `sqlite:PATH`, `postgres://…` or `postgresql://…`; anything else is refused, lest a misspelt scheme make a
    /// new empty file.
    pub fn parse(url: &str) -> Result<Self, String> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        match url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) {
            Some("" | ":memory:") => Err("The database URL names no file. Use sqlite:PATH.".to_owned()),
            Some(path) => Ok(Self::Sqlite(Path::new(path).to_path_buf())),
            None => Err("The database URL must begin with sqlite: or postgres://.".to_owned()),
        }
    }

    /// The kind of database in words.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }
}

/// The records. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Pool,
    /// One place for each connection that reads.
    readers: Arc<Semaphore>,
    writers: Writers,
    counts: counts::Counts,
}

/// Where those who write wait.
#[derive(Clone)]
enum Writers {
    /// SQLite's one pen, which takes many changes at once.
    Pen(pen::Pen),
    /// One place for each connection.
    Places(Arc<Semaphore>),
}

/// An open write transaction.
pub struct Tx<'conn> {
    conn: &'conn mut Conn,
    /// What the audit log was told, to be counted once it is certain.
    recorded: Vec<Action>,
}

impl Tx<'_> {
    /// The connection inside the transaction.
    pub fn conn(&mut self) -> &mut Conn {
        self.conn
    }
}

impl Db {
    /// Opens the database and checks what the service relies on (SQLite's version and settings). Creates a SQLite file.
    pub fn open(address: &Address) -> DbResult<Self> {
        let pool = Pool::open(address)?;
        let (readers, writers) = pool.places();
        let line = |places: u32| Arc::new(Semaphore::new(usize::try_from(places).unwrap_or(1)));
        let counts = counts::Counts::default();
        let writers = match address {
            Address::Sqlite(_) => Writers::Pen(pen::Pen::new(pool.clone(), counts.clone())?),
            Address::Postgres(_) => Writers::Places(line(writers)),
        };
        Ok(Self { pool, readers: line(readers), writers, counts })
    }

    /// What was counted a moment ago.
    pub fn counts(&self) -> &counts::Counts {
        &self.counts
    }

    /// Before the end: SQLite's write-ahead log goes into the database, so that the next start has nothing to read again. It would be
    /// read again if this did not happen.
    pub async fn settle(&self) -> DbResult<()> {
        let db = self.clone();
        let settled = tokio::task::spawn_blocking(move || match &mut **db.pool.take_writer()? {
            Conn::Sqlite(conn) => Ok(conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")?),
            Conn::Postgres(_) => Ok(()),
        });
        joined(settled.await)
    }

    /// How many may read and how many may write at once.
    pub fn places(&self) -> (u32, u32) {
        self.pool.places()
    }

    /// How many connections are in use, and how many wait.
    pub fn connections(&self) -> (u32, u32) {
        self.pool.connections()
    }

    /// Reads, off the async threads.
    pub async fn read<T, E, F>(&self, query: F) -> Result<T, E>
    where
        F: FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (db, place) = (self.clone(), take_place(&self.readers).await?);
        let work = move || {
            let _place = place;
            db.read_now(query)
        };
        joined(tokio::task::spawn_blocking(work).await)
    }

    /// Changes, off the async threads, in one write transaction: an error undoes everything.
    pub async fn write<T, E, F>(&self, change: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        match &self.writers {
            Writers::Pen(pen) => pen.write(change).await,
            Writers::Places(places) => {
                let (db, place) = (self.clone(), take_place(places).await?);
                let work = move || {
                    let _place = place;
                    db.write_now(change)
                };
                joined(tokio::task::spawn_blocking(work).await)
            }
        }
    }

    /// As [`Db::read`], on the calling thread: for the command line and for code that is on a blocking thread already.
    pub fn read_now<T, E: From<DbError>>(&self, query: impl FnOnce(&mut Conn) -> Result<T, E>) -> Result<T, E> {
        let mut pooled = self.pool.take_reader()?;
        query(&mut pooled)
    }

    /// As [`Db::write`], on the calling thread.
    pub fn write_now<T, E: From<DbError>>(&self, change: impl FnOnce(&mut Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut pooled = self.pool.take_writer()?;
        let conn: &mut Conn = &mut pooled;
        begin(conn).map_err(DbError::from)?;
        let mut tx = Tx { conn, recorded: Vec::new() };
        let changed = change(&mut tx);
        let Tx { conn, recorded } = tx;
        match changed {
            Ok(done) => match <Conn as Connection>::TransactionManager::commit_transaction(conn) {
                Ok(()) => {
                    self.counts.written();
                    recorded.into_iter().for_each(meter::event);
                    Ok(done)
                }
                Err(failed) => {
                    roll_back(conn);
                    Err(E::from(DbError::from(failed)))
                }
            },
            Err(refused) => {
                roll_back(conn);
                Err(refused)
            }
        }
    }
}

/// Waits in line for a connection's place, without a thread. First come, first served.
async fn take_place(line: &Arc<Semaphore>) -> DbResult<OwnedSemaphorePermit> {
    match timeout(pool::WAIT, line.clone().acquire_owned()).await {
        Ok(Ok(place)) => Ok(place),
        Ok(Err(closed)) => Err(DbError::Interrupted(closed.to_string())),
        Err(_) => Err(pool::none_was_free()),
    }
}

fn joined<T, E: From<DbError>>(outcome: Result<Result<T, E>, tokio::task::JoinError>) -> Result<T, E> {
    match outcome {
        Ok(answer) => answer,
        Err(failed) => Err(E::from(DbError::Interrupted(failed.to_string()))),
    }
}

/// Begins a write transaction. `BEGIN IMMEDIATE` takes SQLite's write lock at once, and waits for it; a deferred transaction that first
/// reads and then writes fails without waiting when another writer came between.
fn begin(conn: &mut Conn) -> QueryResult<()> {
    match conn {
        Conn::Postgres(conn) => AnsiTransactionManager::begin_transaction(conn),
        Conn::Sqlite(conn) => AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN IMMEDIATE"),
    }
}

/// Whether it went.
fn roll_back(conn: &mut Conn) -> bool {
    let rolled_back = <Conn as Connection>::TransactionManager::rollback_transaction(conn);
    if let Err(failed) = &rolled_back {
        tracing::warn!(error = %failed, "could not roll back; the pool will close this connection");
    }
    rolled_back.is_ok()
}

/// The present name of a thing, for the audit log; empty where there is none.
pub fn name_of(conn: &mut Conn, kind: ObjectKind, id: &str) -> DbResult<String> {
    use schema::{clusters, hosts, images, storages, tokens, users};
    let found: Option<String> = match kind {
        ObjectKind::Service => None,
        ObjectKind::User => users::table.find(id).select(users::name).first(conn).optional()?,
        ObjectKind::Cluster => clusters::table.find(id).select(clusters::name).first(conn).optional()?,
        ObjectKind::Host => hosts::table.find(id).select(hosts::name).first(conn).optional()?,
        ObjectKind::Storage => storages::table.find(id).select(storages::name).first(conn).optional()?,
        ObjectKind::Token => tokens::table.find(id).select(tokens::name).first(conn).optional()?,
        ObjectKind::Image => images::table.find(id).select(images::name).first(conn).optional()?,
    };
    Ok(found.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_schemes_open_a_database() {
        assert_eq!(Address::parse("sqlite:a/b.db"), Ok(Address::Sqlite("a/b.db".into())));
        assert_eq!(Address::parse("sqlite:///srv/b.db"), Ok(Address::Sqlite("/srv/b.db".into())));
        assert!(matches!(Address::parse("postgresql://h/d"), Ok(Address::Postgres(_))));
        for url in ["", "sqlite:", "sqlite::memory:", "postgress://h/d", "/srv/b.db", "mysql://h/d"] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }
}
