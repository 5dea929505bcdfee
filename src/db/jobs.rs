//! Work that is done later, enqueued in the transaction of the change that it follows.

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Text},
};

use super::{DbResult, Tx, schema::jobs};
use crate::{
    clock::Timestamp,
    domain::{
        codes::codes,
        ids::{ImageId, JobId, StorageId},
    },
};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Remove the files of an image that is being deleted, then its row.
    RemoveFiles,
    /// Write an image's manifest anew after an edit.
    WriteManifest,
    /// Read an image's whole file and compare its digest.
    VerifyImage,
}

codes!(Kind {
    RemoveFiles = "remove_files",
    WriteManifest = "write_manifest",
    VerifyImage = "verify_image",
});

/// A job.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = jobs)]
pub struct Job {
    #[diesel(deserialize_as = String)]
    pub id: JobId,
    #[diesel(deserialize_as = String)]
    pub kind: Kind,
    #[diesel(deserialize_as = String)]
    pub storage_id: StorageId,
    #[diesel(deserialize_as = String)]
    pub image_id: ImageId,
    pub attempts: i64,
}

/// Enqueues a job.
pub fn enqueue(tx: &mut Tx<'_>, kind: Kind, storage: StorageId, image: ImageId, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(jobs::table)
        .values((
            jobs::id.eq(JobId::new().to_string()),
            jobs::kind.eq(kind.as_str()),
            jobs::storage_id.eq(storage.to_string()),
            jobs::image_id.eq(image.to_string()),
            jobs::attempts.eq(0),
            jobs::run_after.eq(now.micros()),
            jobs::created_at.eq(now.micros()),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Enqueues a comparison of the digest of every Available image of a storage that none waits for yet, in one statement however many there
/// are. Such a job has its image's identifier.
pub fn enqueue_verification(tx: &mut Tx<'_>, storage: StorageId, now: Timestamp) -> DbResult<()> {
    sql_query(
        "INSERT INTO jobs (id, kind, storage_id, image_id, attempts, run_after, created_at) \
         SELECT images.id, 'verify_image', images.storage_id, images.id, 0, $1, $1 FROM images \
         WHERE images.storage_id = $2 AND images.status = 'available' \
         AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = images.id)",
    )
    .bind::<BigInt, _>(now.micros())
    .bind::<Text, _>(storage.to_string())
    .execute(tx.conn())?;
    Ok(())
}

/// Claims a job that is due and that nobody else holds.
pub fn claim(tx: &mut Tx<'_>, now: Timestamp, lease_until: Timestamp) -> DbResult<Option<Job>> {
    let free = jobs::lease_until.is_null().or(jobs::lease_until.lt(now.micros()));
    let candidate: Option<Job> = jobs::table
        .filter(jobs::run_after.le(now.micros()).and(free))
        .order((jobs::run_after, jobs::id))
        .select(Job::as_select())
        .first(tx.conn())
        .optional()?;
    let Some(job) = candidate else { return Ok(None) };
    let still_free = jobs::id.eq(job.id.to_string()).and(jobs::lease_until.is_null().or(jobs::lease_until.lt(now.micros())));
    let claimed = diesel::update(jobs::table.filter(still_free))
        .set((jobs::lease_until.eq(lease_until.micros()), jobs::attempts.eq(jobs::attempts + 1)))
        .execute(tx.conn())?;
    Ok((claimed == 1).then_some(job))
}

/// Nobody holds any job.
pub fn free_all(tx: &mut Tx<'_>) -> DbResult<()> {
    diesel::update(jobs::table).set(jobs::lease_until.eq(None::<i64>)).execute(tx.conn())?;
    Ok(())
}

/// A job is done.
pub fn done(tx: &mut Tx<'_>, id: JobId) -> DbResult<()> {
    diesel::delete(jobs::table.find(id.to_string())).execute(tx.conn())?;
    Ok(())
}

/// A job could not be done; it is tried again after `run_after`.
pub fn put_back(tx: &mut Tx<'_>, id: JobId, error: &str, run_after: Timestamp) -> DbResult<()> {
    diesel::update(jobs::table.find(id.to_string()))
        .set((jobs::lease_until.eq(None::<i64>), jobs::run_after.eq(run_after.micros()), jobs::error.eq(error)))
        .execute(tx.conn())?;
    Ok(())
}

/// Jobs of a storage that wait are due now: it has come back.
pub fn wake(tx: &mut Tx<'_>, storage: StorageId, now: Timestamp) -> DbResult<()> {
    let waiting = jobs::storage_id.eq(storage.to_string()).and(jobs::run_after.gt(now.micros()));
    diesel::update(jobs::table.filter(waiting)).set(jobs::run_after.eq(now.micros())).execute(tx.conn())?;
    Ok(())
}
