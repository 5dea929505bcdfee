//! Connections, pooled. Each is set up when it is made, and what the service relies on is read back.
//!
//! SQLite has one writer at a time: here there is one write connection, so that writers wait for it in line instead of failing, and a few
//! connections for reading beside it. PostgreSQL has one pool for both, in which those who write leave room for those who read.

use std::{
    ops::{Deref, DerefMut},
    path::Path,
    time::{Duration, Instant},
};

use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection,
    connection::{SimpleConnection, TransactionManager},
    r2d2::{self, ManageConnection, PooledConnection},
    sql_query,
    sql_types::{BigInt, Text},
};

use super::{Address, Conn, DbError, DbResult};
use crate::meter;

/// How long somebody waits for a connection before the answer is "busy".
pub(super) const WAIT: Duration = Duration::from_secs(5);
/// Connections to SQLite for reading.
const READERS: u32 = 6;
/// Connections to PostgreSQL for writing, which may wait for each other's locks.
const POSTGRES_WRITERS: u32 = 6;
/// How long a connection that worked is handed out without being tried again: a question of its own before every read is a tenth of the
/// work of a page.
const TRUSTED: Duration = Duration::from_secs(1);
/// The first SQLite without the defect that can damage a database when a write-ahead log is reset (sqlite.org, 3.51.3).
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// The pools of one database. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    readers: r2d2::Pool<Maker>,
    writers: r2d2::Pool<Maker>,
    /// Whether both are the same.
    shared: bool,
}

/// A connection from a pool.
pub type Pooled = PooledConnection<Maker>;

impl Pool {
    /// Opens the database and fills the pools as needed.
    pub fn open(address: &Address) -> DbResult<Self> {
        let maker = |read_only| Maker { address: address.clone(), read_only };
        match address {
            Address::Sqlite(path) => {
                // The writer comes first: it makes the file and switches it to a write-ahead log.
                create_private(path).map_err(|failed| DbError::Unreachable(format!("{}: {failed}", path.display())))?;
                check_sqlite()?;
                let writers = build(maker(false), 1, false)?;
                Ok(Self { writers, readers: build(maker(true), READERS, false)?, shared: false })
            }
            Address::Postgres(_) => {
                // The server can go away and come back: a connection that was not used for a while is tried before it is handed out.
                let pool = build(maker(false), postgres_readers() + POSTGRES_WRITERS, true)?;
                Ok(Self { readers: pool.clone(), writers: pool, shared: true })
            }
        }
    }

    /// How many may read and how many may write at once.
    pub fn places(&self) -> (u32, u32) {
        if self.shared { (postgres_readers(), POSTGRES_WRITERS) } else { (self.readers.max_size(), self.writers.max_size()) }
    }

    /// A connection for reading.
    pub fn take_reader(&self) -> DbResult<Pooled> {
        self.readers.get().map_err(none_in_time)
    }

    /// A connection for writing.
    pub fn take_writer(&self) -> DbResult<Pooled> {
        self.writers.get().map_err(none_in_time)
    }

    /// How many connections are in use, and how many wait.
    pub fn connections(&self) -> (u32, u32) {
        let mut pools = vec![&self.writers];
        if !self.shared {
            pools.push(&self.readers);
        }
        let states = pools.into_iter().map(r2d2::Pool::state);
        states.fold((0, 0), |(used, idle), state| {
            (used + state.connections.saturating_sub(state.idle_connections), idle + state.idle_connections)
        })
    }
}

/// Nobody's turn came in [`WAIT`].
pub(super) fn none_was_free() -> DbError {
    meter::database_busy();
    DbError::Busy(format!("no connection was free for {} seconds", WAIT.as_secs()))
}

fn none_in_time(failed: r2d2::PoolError) -> DbError {
    meter::database_busy();
    DbError::Unreachable(failed.to_string())
}

/// Connections to PostgreSQL for reading. More would not answer sooner, only less evenly: with 12 on two cores the slowest of a hundred pages
/// took 2.7 times as long as the median, with 5 it took 1.6 times as long.
fn postgres_readers() -> u32 {
    let cores = std::thread::available_parallelism().map_or(4, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
    cores.saturating_mul(2).saturating_add(1).clamp(5, 24)
}

fn build(maker: Maker, most: u32, try_first: bool) -> DbResult<r2d2::Pool<Maker>> {
    r2d2::Pool::builder()
        .max_size(most)
        .min_idle(Some(1))
        .connection_timeout(WAIT)
        .test_on_check_out(try_first)
        .build(maker)
        .map_err(|failed| DbError::Unreachable(failed.to_string()))
}

/// Makes the database file readable by its owner only, before SQLite would make it readable by all.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

fn check_sqlite() -> DbResult<()> {
    #[derive(QueryableByName)]
    struct Version {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let mut conn = SqliteConnection::establish(":memory:").map_err(|failed| DbError::Unreachable(failed.to_string()))?;
    let Version { version } = sql_query("SELECT sqlite_version() AS version").get_result(&mut conn)?;
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0_u32));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < OLDEST_SQLITE {
        return Err(DbError::Unreachable(format!("SQLite {version} can damage its write-ahead log; 3.51.3 or newer is needed")));
    }
    Ok(())
}

/// A connection, and when it was last seen to work.
pub struct Held {
    conn: Conn,
    worked_at: Instant,
}

impl Deref for Held {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

/// Makes connections for a pool.
#[derive(Debug)]
pub struct Maker {
    address: Address,
    read_only: bool,
}

impl ManageConnection for Maker {
    type Connection = Held;
    type Error = r2d2::Error;

    fn connect(&self) -> Result<Held, r2d2::Error> {
        let conn = match &self.address {
            Address::Postgres(url) => {
                let mut conn = PgConnection::establish(url).map_err(r2d2::Error::ConnectionError)?;
                conn.batch_execute("SET TIME ZONE 'UTC'; SET statement_timeout = '30s'; SET lock_timeout = '5s'")
                    .map_err(r2d2::Error::QueryError)?;
                Conn::Postgres(conn)
            }
            Address::Sqlite(path) => {
                let mut conn = SqliteConnection::establish(&path.to_string_lossy()).map_err(r2d2::Error::ConnectionError)?;
                set_up_sqlite(&mut conn, self.read_only).map_err(r2d2::Error::QueryError)?;
                Conn::Sqlite(conn)
            }
        };
        Ok(Held { conn, worked_at: Instant::now() })
    }

    fn is_valid(&self, held: &mut Held) -> Result<(), r2d2::Error> {
        if held.worked_at.elapsed() >= TRUSTED {
            held.conn.batch_execute("SELECT 1").map_err(r2d2::Error::QueryError)?;
            held.worked_at = Instant::now();
        }
        Ok(())
    }

    fn has_broken(&self, held: &mut Held) -> bool {
        std::thread::panicking() || <Conn as Connection>::TransactionManager::is_broken_transaction_manager(&mut held.conn)
    }
}

/// A write-ahead log whose every commit reaches the medium, foreign keys, and patience with other writers; then reads them back, because a
/// pragma that is not understood is silently ignored.
fn set_up_sqlite(conn: &mut SqliteConnection, read_only: bool) -> diesel::QueryResult<()> {
    conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY")?;
    if read_only {
        conn.batch_execute("PRAGMA query_only = ON")?;
    }
    #[derive(QueryableByName)]
    struct Settings {
        #[diesel(sql_type = Text)]
        journal: String,
        #[diesel(sql_type = BigInt)]
        synchronous: i64,
        #[diesel(sql_type = BigInt)]
        foreign_keys: i64,
    }
    let found: Settings = sql_query(
        "SELECT j.journal_mode AS journal, s.synchronous AS synchronous, f.foreign_keys AS foreign_keys \
         FROM pragma_journal_mode AS j, pragma_synchronous AS s, pragma_foreign_keys AS f",
    )
    .get_result(conn)?;
    if (found.journal.as_str(), found.synchronous, found.foreign_keys) != ("wal", 2, 1) {
        return Err(diesel::result::Error::QueryBuilderError(
            format!("SQLite did not take its settings: {} {} {}", found.journal, found.synchronous, found.foreign_keys).into(),
        ));
    }
    Ok(())
}
