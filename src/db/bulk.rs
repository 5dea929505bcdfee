//! Many records at once, for trying the service out with them: rows in batches, as fast as the database takes them, and the indexes made
//! afterwards, all in one transaction. Nothing that the service does for people writes so.

use diesel::{connection::SimpleConnection, prelude::*, sql_query, sql_types::Text};

use super::{
    Conn, Db, DbResult, Tx,
    schema::{attachments, events, images, jobs, uploads, virtual_machines},
};

/// The tables that grow large, and whose indexes are made afterwards.
const LARGE: &str = "'images', 'events'";

/// Rows in one statement of SQLite, which takes 32,766 values.
const AT_ONCE: usize = 500;

/// A kind of row that can be added in batches.
pub trait Record: Sized {
    /// Adds rows.
    fn insert(tx: &mut Tx<'_>, rows: &[Self]) -> DbResult<()>;
}

/// Row types with the columns of their tables; they are inserted whole, by COPY where there is one.
macro_rules! records {
    ($($(#[$doc:meta])* $name:ident of $table:ident { $($field:ident: $kind:ty),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Insertable)]
        #[diesel(table_name = $table, treat_none_as_default_value = false)]
        #[expect(missing_docs, reason = "the columns of the table")]
        pub struct $name { $(pub $field: $kind),+ }

        impl Record for $name {
            fn insert(tx: &mut Tx<'_>, rows: &[Self]) -> DbResult<()> {
                match tx.conn() {
                    Conn::Postgres(conn) => {
                        use diesel::ExecuteCopyFromDsl;
                        diesel::copy_from($table::table).from_insertable(rows).execute(conn)?;
                    }
                    Conn::Sqlite(conn) => {
                        for part in rows.chunks(AT_ONCE) {
                            diesel::insert_into($table::table).values(part).execute(conn)?;
                        }
                    }
                }
                Ok(())
            }
        }
    )+};
}

records! {
    /// A row of `images`.
    ImageRow of images {
        id: String, kind: &'static str, status: &'static str, storage_id: String, name: String, search_key: String, name_key: Option<String>,
        note: String, os: &'static str, min_vcpu: i32, min_memory_mib: i32, min_disk_gib: i32, size_bytes: i64, sha256: Option<String>,
        format: Option<&'static str>, label: Option<String>, publisher: Option<&'static str>, boot: Option<&'static str>, file_name: String,
        file_state: &'static str, file_checked_at: Option<i64>, reserved_bytes: i64, status_since: i64, created_at: i64,
        created_by: Option<String>, created_by_name: String, version: i64,
    }
    /// A row of `uploads`.
    UploadRow of uploads {
        image_id: String, device: String, user_id: Option<String>, user_name: String, instance: String, fence: i64, declared_bytes: i64,
        offset_bytes: i64, lease_until: Option<i64>, begun_at: i64, stopped_at: Option<i64>, stopped: Option<&'static str>,
        stopped_detail: String,
    }
    /// A row of `virtual_machines`.
    MachineRow of virtual_machines { id: String, cluster_id: String, name: String, created_at: i64 }
    /// A row of `attachments`.
    AttachmentRow of attachments { image_id: String, vm_id: String, attached_at: i64 }
    /// A row of `jobs`.
    JobRow of jobs {
        id: String, kind: &'static str, storage_id: String, image_id: String, attempts: i64, run_after: i64, created_at: i64,
    }
    /// A row of `events`.
    EventRow of events {
        id: String, at: i64, actor_id: Option<String>, actor_name: String, action: &'static str, object_kind: &'static str,
        object_id: Option<String>, object_name: String, outcome: &'static str, detail: String, address: String, request_id: String,
    }
}

/// How many images there are.
pub fn images(conn: &mut Conn) -> DbResult<i64> {
    Ok(images::table.count().get_result(conn)?)
}

#[derive(QueryableByName)]
struct Definition {
    #[diesel(sql_type = Text)]
    undo: String,
    #[diesel(sql_type = Text)]
    redo: String,
}

/// Does `fill` while the large tables have no index but those of their keys, and makes the indexes afterwards.
pub fn without_indexes<T, E: From<super::DbError>>(tx: &mut Tx<'_>, fill: impl FnOnce(&mut Tx<'_>) -> Result<T, E>) -> Result<T, E> {
    let found = take_indexes_away(tx)?;
    let filled = fill(tx)?;
    make_indexes(tx, &found)?;
    Ok(filled)
}

fn take_indexes_away(tx: &mut Tx<'_>) -> DbResult<Vec<Definition>> {
    let conn = tx.conn();
    let definitions = match conn {
        Conn::Sqlite(conn) => {
            conn.batch_execute("PRAGMA cache_size = -262144")?;
            format!(
                "SELECT 'DROP ' || type || ' ' || name AS undo, sql AS redo FROM sqlite_schema \
                 WHERE type IN ('index', 'trigger') AND tbl_name IN ({LARGE}) AND sql IS NOT NULL ORDER BY name"
            )
        }
        Conn::Postgres(conn) => {
            conn.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL maintenance_work_mem = '256MB'")?;
            format!(
                "SELECT 'DROP INDEX ' || indexname AS undo, indexdef AS redo FROM pg_indexes \
                 WHERE schemaname = current_schema() AND tablename IN ({LARGE}) \
                 AND indexname NOT IN (SELECT conname FROM pg_constraint) ORDER BY indexname"
            )
        }
    };
    let found: Vec<Definition> = sql_query(definitions).load(conn)?;
    for definition in &found {
        conn.batch_execute(&definition.undo)?;
    }
    Ok(found)
}

fn make_indexes(tx: &mut Tx<'_>, found: &[Definition]) -> DbResult<()> {
    let conn = tx.conn();
    for definition in found {
        conn.batch_execute(&definition.redo)?;
    }
    if let Conn::Sqlite(conn) = conn {
        conn.batch_execute("INSERT INTO image_search (image_search) VALUES ('rebuild')")?;
    }
    Ok(())
}

/// What the database does by itself sooner or later after so much was written; outside of a transaction.
pub fn settle(db: &Db) -> DbResult<()> {
    let mut pooled = db.pool.take_writer()?;
    match &mut **pooled {
        Conn::Sqlite(conn) => conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA cache_size = -2000")?,
        // One by one: together they would be one transaction, which VACUUM refuses.
        Conn::Postgres(conn) => {
            for statement in ["SET statement_timeout = 0", "VACUUM (ANALYZE)", "SET statement_timeout = '30s'"] {
                conn.batch_execute(statement)?;
            }
        }
    }
    Ok(())
}
