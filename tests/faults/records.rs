//! The records, read past the service: its own database, opened for a moment and closed again before the next kill, so that every start
//! meets what the last process left and nothing that another one holds open.

use diesel::{
    Connection, QueryableByName, RunQueryDsl, sql_query,
    sql_types::{BigInt, Binary, Nullable, Text},
};
use vmimg::db::Conn;

/// An open connection.
pub struct Records(Conn);

/// One image's row, with its transfer's.
#[derive(Debug, Clone, QueryableByName)]
pub struct ImageRow {
    #[diesel(sql_type = Text)]
    pub id: String,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Text)]
    pub note: String,
    #[diesel(sql_type = Text)]
    pub status: String,
    #[diesel(sql_type = Text)]
    pub storage_id: String,
    #[diesel(sql_type = BigInt)]
    pub size_bytes: i64,
    #[diesel(sql_type = Nullable<Text>)]
    pub sha256: Option<String>,
    #[diesel(sql_type = Text)]
    pub file_state: String,
    #[diesel(sql_type = BigInt)]
    pub reserved_bytes: i64,
    #[diesel(sql_type = Nullable<Text>)]
    pub stopped: Option<String>,
    /// Bytes of an interrupted upload that are kept, and the running hash there.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub kept: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    pub hash_state: Option<Vec<u8>>,
}

/// One storage's row.
#[derive(Debug, Clone, QueryableByName)]
pub struct StorageRow {
    #[diesel(sql_type = Text)]
    pub id: String,
    #[diesel(sql_type = Text)]
    pub path: String,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Text)]
    pub health: String,
}

/// One line of the audit log.
#[derive(Debug, Clone, QueryableByName)]
pub struct EventRow {
    #[diesel(sql_type = Text)]
    pub action: String,
    #[diesel(sql_type = Text)]
    pub outcome: String,
    #[diesel(sql_type = Text)]
    pub object: String,
    #[diesel(sql_type = Text)]
    pub object_name: String,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    t: String,
}

impl Records {
    /// Opens the database.
    pub fn open(url: &str) -> Self {
        let mut conn = Conn::establish(url).unwrap_or_else(|failed| panic!("{url}: {failed}"));
        if matches!(conn, Conn::Sqlite(_)) {
            sql_query("PRAGMA busy_timeout = 10000").execute(&mut conn).unwrap();
        }
        Self(conn)
    }

    /// Every image.
    pub fn images(&mut self) -> Vec<ImageRow> {
        self.load(
            "SELECT i.id, i.name, i.note, i.status, i.storage_id, i.size_bytes, i.sha256, i.file_state, i.reserved_bytes, u.stopped, \
             CASE WHEN u.expires_at IS NOT NULL THEN u.offset_bytes END AS kept, u.hash_state \
             FROM images AS i LEFT JOIN uploads AS u ON u.image_id = i.id ORDER BY i.id",
        )
    }

    /// Every storage.
    pub fn storages(&mut self) -> Vec<StorageRow> {
        self.load("SELECT id, path, kind, health FROM storages ORDER BY id")
    }

    /// The audit log, oldest first.
    pub fn events(&mut self) -> Vec<EventRow> {
        self.load("SELECT action, outcome, COALESCE(object_id, '') AS object, object_name FROM events ORDER BY seq")
    }

    /// The texts that a statement selects as `t`.
    pub fn texts(&mut self, statement: &str) -> Vec<String> {
        self.load::<Line>(statement).into_iter().map(|line| line.t).collect()
    }

    /// Images that are announced and wait for their files.
    pub fn waiting(&mut self) -> Vec<String> {
        self.texts("SELECT i.id AS t FROM images AS i JOIN uploads AS u ON u.image_id = i.id WHERE i.status = 'pending' AND u.lease_until IS NOT NULL")
    }

    /// What still moves, in words; nothing once the service has come to rest. What waits for a removed storage may wait.
    pub fn moving(&mut self) -> Vec<String> {
        let mut moving = self.texts(
            "SELECT 'image ' || i.id || ' is ' || i.status AS t FROM images AS i JOIN storages AS s ON s.id = i.storage_id \
             WHERE i.status IN ('uploading', 'creating') OR (i.status = 'deleting' AND s.health <> 'removed')",
        );
        moving.extend(self.texts("SELECT 'transfer of ' || image_id || ' has a lease' AS t FROM uploads WHERE lease_until IS NOT NULL"));
        moving.extend(self.texts(
            "SELECT 'job ' || j.kind || ' of ' || j.image_id || ' waits, ' || COALESCE(j.error, 'not tried') AS t \
             FROM jobs AS j JOIN storages AS s ON s.id = j.storage_id WHERE s.health <> 'removed'",
        ));
        moving.extend(
            self.texts("SELECT 'storage ' || name || ' is degraded: ' || COALESCE(cause, '') AS t FROM storages WHERE health = 'degraded'"),
        );
        moving
    }

    fn load<T: QueryableByName<diesel::sqlite::Sqlite> + QueryableByName<diesel::pg::Pg> + 'static>(&mut self, statement: &str) -> Vec<T> {
        let loaded = match &mut self.0 {
            Conn::Postgres(conn) => sql_query(statement).load(conn),
            Conn::Sqlite(conn) => sql_query(statement).load(conn),
        };
        loaded.unwrap_or_else(|failed| panic!("{statement}: {failed}"))
    }
}
