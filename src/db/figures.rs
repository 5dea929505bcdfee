//! Figures over whole tables, read in slices: each statement looks at a bounded number of rows, however many there are, so that whoever
//! counts a million of them never keeps others waiting.

use diesel::{
    QueryableByName, RunQueryDsl, sql_query,
    sql_types::{BigInt, Text},
};

use super::{Conn, DbResult};
use crate::{
    clock::Timestamp,
    domain::{
        codes::codes,
        ids::StorageId,
        image::{FileState, Kind, Stored},
    },
};

/// Images of one slice that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    pub kind: Kind,
    pub status: Stored,
    pub storage: StorageId,
    pub file: FileState,
    pub count: u64,
}

/// Counts the next `most` images after the place where the last slice ended (0 to begin with); the place where this one ends, if there
/// may be more.
pub fn images(conn: &mut Conn, after: i64, most: i64) -> DbResult<(Vec<Images>, Option<i64>)> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = Text)]
        status: String,
        #[diesel(sql_type = Text)]
        storage_id: String,
        #[diesel(sql_type = Text)]
        file_state: String,
        #[diesel(sql_type = BigInt)]
        n: i64,
        #[diesel(sql_type = BigInt)]
        last: i64,
    }
    let rows: Vec<Row> = sql_query(
        "WITH slice AS (SELECT seq, kind, status, storage_id, file_state FROM images WHERE seq > $1 ORDER BY seq LIMIT $2) \
         SELECT kind, status, storage_id, file_state, COUNT(*) AS n, MAX(seq) AS last FROM slice GROUP BY kind, status, storage_id, file_state",
    )
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(most)
    .load(conn)?;
    let seen: i64 = rows.iter().map(|row| row.n).sum();
    let end = rows.iter().map(|row| row.last).max().filter(|_| seen >= most);
    let alike = rows.into_iter().filter_map(|row| {
        Some(Images {
            kind: row.kind.parse().ok()?,
            status: row.status.parse().ok()?,
            storage: row.storage_id.parse().ok()?,
            file: row.file_state.parse().ok()?,
            count: u64::try_from(row.n).ok()?,
        })
    });
    Ok((alike.collect(), end))
}

/// How it stands with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// It has not been tried yet.
    Waiting,
    /// Somebody works on it.
    Running,
    /// It did not succeed and is tried again.
    Retrying,
}

codes!(JobState { Waiting = "waiting", Running = "running", Retrying = "retrying" });

/// Jobs of one slice that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jobs {
    pub kind: super::jobs::Kind,
    pub state: JobState,
    pub count: u64,
}

/// Counts the next `most` jobs after the place where the last slice ended (empty to begin with); the place where this one ends, if there
/// may be more.
pub fn jobs(conn: &mut Conn, after: &str, most: i64, now: Timestamp) -> DbResult<(Vec<Jobs>, Option<String>)> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = Text)]
        state: String,
        #[diesel(sql_type = BigInt)]
        n: i64,
        #[diesel(sql_type = Text)]
        last: String,
    }
    let rows: Vec<Row> = sql_query(
        "WITH slice AS (SELECT id, kind, CASE WHEN lease_until >= $1 THEN 'running' WHEN attempts > 0 THEN 'retrying' ELSE 'waiting' END AS state \
         FROM jobs WHERE id > $2 ORDER BY id LIMIT $3) \
         SELECT kind, state, COUNT(*) AS n, MAX(id) AS last FROM slice GROUP BY kind, state",
    )
    .bind::<BigInt, _>(now.micros())
    .bind::<Text, _>(after)
    .bind::<BigInt, _>(most)
    .load(conn)?;
    let seen: i64 = rows.iter().map(|row| row.n).sum();
    let end = rows.iter().map(|row| row.last.clone()).max().filter(|_| seen >= most);
    let alike = rows
        .into_iter()
        .filter_map(|row| Some(Jobs { kind: row.kind.parse().ok()?, state: row.state.parse().ok()?, count: u64::try_from(row.n).ok()? }));
    Ok((alike.collect(), end))
}

/// Sessions that were used after `idle` and begun after `oldest`.
pub fn sessions(conn: &mut Conn, idle: Timestamp, oldest: Timestamp) -> DbResult<u64> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let Row { n } = sql_query("SELECT COUNT(*) AS n FROM sessions WHERE seen_at > $1 AND created_at > $2")
        .bind::<BigInt, _>(idle.micros())
        .bind::<BigInt, _>(oldest.micros())
        .get_result(conn)?;
    Ok(u64::try_from(n).unwrap_or(0))
}
