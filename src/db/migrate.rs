//! Brings the schema up to date. Both databases have migrations of the same names.

use std::sync::LazyLock;

use diesel::{
    QueryableByName, RunQueryDsl,
    migration::{Migration, MigrationSource},
    sql_query,
    sql_types::Text,
    sqlite::Sqlite,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::{Conn, Db, DbError, DbResult};

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// How the schema stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Names of the migrations that have run.
    pub applied: Vec<String>,
    /// Names of those that have not.
    pub pending: Vec<String>,
    /// Versions in the database that this program does not know: it is older than the schema.
    pub unknown: Vec<String>,
}

/// What has run and what has not.
pub fn status(db: &Db) -> DbResult<Status> {
    db.write_now(|tx| match tx.conn() {
        Conn::Sqlite(conn) => status_of(conn, &SQLITE),
        Conn::Postgres(conn) => status_of(conn, &POSTGRES),
    })
}

/// Names of the migrations that a database in use lacks. Unlike [`status`] it writes nothing, and needs nothing but a connection to read.
pub fn missing(conn: &mut Conn) -> DbResult<Vec<String>> {
    static KNOWN: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
        let known: Vec<Box<dyn Migration<Sqlite>>> = SQLITE.migrations().unwrap_or_default();
        known.iter().map(|migration| (migration.name().version().to_string(), migration.name().to_string())).collect()
    });
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let rows: Vec<Row> = sql_query("SELECT version FROM __diesel_schema_migrations").load(conn)?;
    let has = |version: &String| rows.iter().any(|row| row.version == *version);
    Ok(KNOWN.iter().filter(|(version, _)| !has(version)).map(|(_, name)| name.clone()).collect())
}

/// Runs what has not run, each migration in a transaction of its own. Refuses a database that is newer than this program.
pub fn run(db: &Db) -> DbResult<Vec<String>> {
    let Status { pending, unknown, .. } = status(db)?;
    if !unknown.is_empty() {
        return Err(DbError::Unreachable(format!(
            "the database is newer than this program: it knows no migration {}. Install the newer version again",
            unknown.join(", ")
        )));
    }
    if pending.is_empty() {
        return Ok(pending);
    }
    let mut pooled = db.pool.take_writer()?;
    let ran = match &mut **pooled {
        Conn::Sqlite(conn) => conn.run_pending_migrations(SQLITE).map(drop),
        Conn::Postgres(conn) => conn.run_pending_migrations(POSTGRES).map(drop),
    };
    ran.map_err(|failed| DbError::Unreachable(format!("a migration failed: {failed}")))?;
    Ok(pending)
}

fn status_of<C, B>(conn: &mut C, source: &EmbeddedMigrations) -> DbResult<Status>
where
    B: diesel::backend::Backend,
    C: MigrationHarness<B>,
    EmbeddedMigrations: MigrationSource<B>,
{
    let words = |failed: Box<dyn std::error::Error + Send + Sync>| DbError::Unreachable(failed.to_string());
    let known: Vec<Box<dyn Migration<B>>> = source.migrations().map_err(words)?;
    let in_database: Vec<String> = conn.applied_migrations().map_err(words)?.iter().map(ToString::to_string).collect();
    let mut status = Status { applied: Vec::new(), pending: Vec::new(), unknown: in_database.clone() };
    for migration in known {
        let version = migration.name().version().to_string();
        status.unknown.retain(|other| *other != version);
        let list = if in_database.contains(&version) { &mut status.applied } else { &mut status.pending };
        list.push(migration.name().to_string());
    }
    status.applied.sort();
    status.pending.sort();
    Ok(status)
}
