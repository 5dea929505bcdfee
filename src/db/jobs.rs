//! Work that is done later, enqueued in the transaction of the change that it follows.

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Text},
};

use super::{Conn, DbResult, Tx, schema::jobs};
use crate::{
    clock::Timestamp,
    domain::{
        codes::codes,
        ids::{ImageId, InstanceId, JobId, StorageId},
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
    enqueue_after(tx, kind, storage, image, now, now)
}

/// Enqueues a job that is due at some time.
pub fn enqueue_after(tx: &mut Tx<'_>, kind: Kind, storage: StorageId, image: ImageId, after: Timestamp, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(jobs::table)
        .values((
            jobs::id.eq(JobId::new().to_string()),
            jobs::kind.eq(kind.as_str()),
            jobs::storage_id.eq(storage.to_string()),
            jobs::image_id.eq(image.to_string()),
            jobs::attempts.eq(0),
            jobs::run_after.eq(after.max(now).micros()),
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

/// Claims a job that is due and that nobody else holds. Of one image's jobs one at a time is held, in the order in which they are due: what
/// one writes another must not remove, or write with older words.
pub fn claim(tx: &mut Tx<'_>, instance: InstanceId, now: Timestamp, lease_until: Timestamp) -> DbResult<Option<Job>> {
    let images_in_hand: Vec<String> = jobs::table.filter(jobs::lease_until.ge(now.micros())).select(jobs::image_id).load(tx.conn())?;
    let free = jobs::lease_until.is_null().or(jobs::lease_until.lt(now.micros()));
    let candidate: Option<Job> = jobs::table
        .filter(jobs::run_after.le(now.micros()).and(free).and(jobs::image_id.ne_all(images_in_hand)))
        .order((jobs::run_after, jobs::id))
        .select(Job::as_select())
        .first(tx.conn())
        .optional()?;
    let Some(job) = candidate else { return Ok(None) };
    // Another process may be claiming another job of the same image: one of the two comes first.
    super::images::lock(tx, job.image_id)?;
    let in_hand = jobs::image_id.eq(job.image_id.to_string()).and(jobs::lease_until.ge(now.micros()));
    if diesel::select(diesel::dsl::exists(jobs::table.filter(in_hand))).get_result(tx.conn())? {
        return Ok(None);
    }
    let claimed = diesel::update(jobs::table.find(job.id.to_string()))
        .set((jobs::lease_until.eq(lease_until.micros()), jobs::instance.eq(instance.to_string()), jobs::attempts.eq(jobs::attempts + 1)))
        .execute(tx.conn())?;
    Ok((claimed == 1).then_some(job))
}

/// Renews the lease of a job that is being done by this process; false if it is not.
pub fn renew_lease(tx: &mut Tx<'_>, id: JobId, instance: InstanceId, lease_until: Timestamp) -> DbResult<bool> {
    let ours = jobs::id.eq(id.to_string()).and(jobs::instance.eq(instance.to_string())).and(jobs::lease_until.is_not_null());
    Ok(diesel::update(jobs::table.filter(ours)).set(jobs::lease_until.eq(lease_until.micros())).execute(tx.conn())? == 1)
}

#[diesel::dsl::auto_type(no_type_alias)]
fn not_held_by(instance: String) -> _ {
    jobs::lease_until.is_not_null().and(jobs::instance.is_null().or(jobs::instance.ne(instance)))
}

#[diesel::dsl::auto_type(no_type_alias)]
fn held_by(gone: Vec<String>) -> _ {
    jobs::lease_until.is_not_null().and(jobs::instance.eq_any(gone))
}

fn names(gone: &[InstanceId]) -> Vec<String> {
    gone.iter().map(ToString::to_string).collect()
}

/// Whether a process that is gone holds a job: any but `sole` on a database that has one process, otherwise one of `gone`.
pub fn held_by_others(conn: &mut Conn, sole: Option<InstanceId>, gone: &[InstanceId]) -> DbResult<bool> {
    Ok(match sole {
        Some(sole) => diesel::select(diesel::dsl::exists(jobs::table.filter(not_held_by(sole.to_string())))).get_result(conn)?,
        None => diesel::select(diesel::dsl::exists(jobs::table.filter(held_by(names(gone))))).get_result(conn)?,
    })
}

/// Frees what such processes hold.
pub fn free(tx: &mut Tx<'_>, sole: Option<InstanceId>, gone: &[InstanceId]) -> DbResult<()> {
    let nobody = jobs::lease_until.eq(None::<i64>);
    match sole {
        Some(sole) => diesel::update(jobs::table.filter(not_held_by(sole.to_string()))).set(nobody).execute(tx.conn())?,
        None => diesel::update(jobs::table.filter(held_by(names(gone)))).set(nobody).execute(tx.conn())?,
    };
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
