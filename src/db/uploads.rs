//! Transfers of installation images: one row an image while it is not complete, with its lease and its fence.
//!
//! The *fence* counts the transfers of an image. Whoever writes for one names its fence; a writer that was believed dead and comes back
//! changes nothing.

use diesel::{dsl::sql, prelude::*, sql_types::Bool};

use super::{
    Conn, DbResult, Tx,
    schema::{images, uploads},
    storages::{signed, unsigned},
};
use crate::{
    clock::Timestamp,
    domain::{
        ids::{ImageId, InstanceId, StorageId, UserId},
        upload::Stopped,
    },
};

/// The transfer of an image.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = uploads)]
pub struct Upload {
    #[diesel(deserialize_as = String)]
    pub image_id: ImageId,
    pub device: String,
    pub user_name: String,
    pub fence: i64,
    declared_bytes: i64,
    offset_bytes: i64,
    lease_until: Option<i64>,
    instance: String,
    pub stopped_at: Option<i64>,
    stopped: Option<String>,
    pub stopped_detail: String,
}

impl Upload {
    /// Bytes of the whole file; 0 where unknown.
    pub fn declared(&self) -> u64 {
        unsigned(self.declared_bytes)
    }

    /// Bytes that are durable on the storage.
    pub fn offset(&self) -> u64 {
        unsigned(self.offset_bytes)
    }

    /// Until when a process other than `instance` may still be carrying it on without looking at the records.
    pub fn elsewhere_until(&self, instance: InstanceId) -> Option<Timestamp> {
        self.lease_until.filter(|_| self.instance != instance.to_string()).map(Timestamp::from_micros)
    }

    /// Why nothing is moving, if so.
    pub fn stopped(&self) -> Option<Stopped> {
        self.stopped.as_deref().and_then(|word| word.parse().ok())
    }

    /// Whole percents that have arrived; none where the size is unknown.
    pub fn percent(&self) -> Option<u64> {
        (self.declared() > 0).then(|| (u128::from(self.offset()) * 100 / u128::from(self.declared())).try_into().unwrap_or(100))
    }
}

/// Who sends, and under which lease.
#[derive(Debug, Clone)]
pub struct Sender {
    pub device: String,
    pub user: Option<UserId>,
    pub user_name: String,
    pub instance: InstanceId,
    pub lease_until: Timestamp,
}

/// The condition under which a transfer with this fence is its image's present one.
#[diesel::dsl::auto_type(no_type_alias)]
pub fn present(image: String, fence: i64) -> _ {
    uploads::image_id.eq(image).and(uploads::fence.eq(fence)).and(uploads::stopped_at.is_null())
}

/// The transfer of one image.
pub fn of(conn: &mut Conn, image: ImageId) -> DbResult<Option<Upload>> {
    Ok(uploads::table.find(image.to_string()).select(Upload::as_select()).first(conn).optional()?)
}

/// Begins a transfer, replacing an earlier one of the image; answers its fence.
pub fn begin(tx: &mut Tx<'_>, image: ImageId, sender: &Sender, declared_bytes: u64, now: Timestamp) -> DbResult<i64> {
    let fence = of(tx.conn(), image)?.map_or(1, |earlier| earlier.fence + 1);
    diesel::delete(uploads::table.find(image.to_string())).execute(tx.conn())?;
    diesel::insert_into(uploads::table)
        .values((
            uploads::image_id.eq(image.to_string()),
            uploads::device.eq(&sender.device),
            uploads::user_id.eq(sender.user.map(|user| user.to_string())),
            uploads::user_name.eq(&sender.user_name),
            uploads::instance.eq(sender.instance.to_string()),
            uploads::fence.eq(fence),
            uploads::declared_bytes.eq(signed(declared_bytes)),
            uploads::offset_bytes.eq(0),
            uploads::lease_until.eq(sender.lease_until.micros()),
            uploads::begun_at.eq(now.micros()),
            uploads::stopped_detail.eq(""),
        ))
        .execute(tx.conn())?;
    Ok(fence)
}

/// Records what is durable and renews the lease; false if the transfer is no longer the image's present one.
pub fn record_offset(
    tx: &mut Tx<'_>,
    image: ImageId,
    fence: i64,
    offset: u64,
    hash_state: &[u8],
    lease_until: Timestamp,
) -> DbResult<bool> {
    let changed = diesel::update(uploads::table.filter(present(image.to_string(), fence)))
        .set((uploads::offset_bytes.eq(signed(offset)), uploads::hash_state.eq(hash_state), uploads::lease_until.eq(lease_until.micros())))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// Renews the lease of a transfer; false if it is no longer the image's present one.
pub fn renew_lease(tx: &mut Tx<'_>, image: ImageId, fence: i64, lease_until: Timestamp) -> DbResult<bool> {
    Ok(diesel::update(uploads::table.filter(present(image.to_string(), fence)))
        .set(uploads::lease_until.eq(lease_until.micros()))
        .execute(tx.conn())?
        == 1)
}

/// Whether a transfer is the image's present one.
pub fn is_present(conn: &mut Conn, image: ImageId, fence: i64) -> DbResult<bool> {
    Ok(diesel::select(diesel::dsl::exists(uploads::table.filter(present(image.to_string(), fence)))).get_result(conn)?)
}

/// Ends a transfer that still has this fence; its bytes count as dropped. False if it has not.
pub fn stop(tx: &mut Tx<'_>, image: ImageId, fence: i64, why: Stopped, detail: &str, now: Timestamp) -> DbResult<bool> {
    let changed = diesel::update(uploads::table.filter(present(image.to_string(), fence)))
        .set((
            uploads::lease_until.eq(None::<i64>),
            uploads::hash_state.eq(None::<Vec<u8>>),
            uploads::stopped_at.eq(now.micros()),
            uploads::stopped.eq(why.as_str()),
            uploads::stopped_detail.eq(detail),
        ))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// Forgets the transfer of an image that is complete.
pub fn delete(tx: &mut Tx<'_>, image: ImageId) -> DbResult<()> {
    diesel::delete(uploads::table.find(image.to_string())).execute(tx.conn())?;
    Ok(())
}

/// Transfers that nobody carries on.
#[derive(Debug, Clone, Copy)]
pub enum Lapsed<'gone> {
    /// Their lease has run out.
    At(Timestamp),
    /// They are those of another process than this one, on a database that has one process.
    NotOf(InstanceId),
    /// They are those of processes that are gone.
    Of(&'gone [InstanceId]),
}

/// Transfers that nobody carries on, some of them if there are many.
pub fn lapsed(conn: &mut Conn, which: Lapsed<'_>) -> DbResult<Vec<Upload>> {
    let mut query = uploads::table.filter(uploads::lease_until.is_not_null()).select(Upload::as_select()).into_boxed();
    query = match which {
        Lapsed::At(now) => query.filter(uploads::lease_until.lt(now.micros())),
        Lapsed::NotOf(instance) => query.filter(uploads::instance.ne(instance.to_string())),
        Lapsed::Of(gone) => query.filter(uploads::instance.eq_any(gone.iter().map(ToString::to_string))),
    };
    Ok(query.order(uploads::image_id).limit(1_000).load(conn)?)
}

/// Transfers to a storage that are under way.
pub fn under_way_on(conn: &mut Conn, storage: StorageId) -> DbResult<Vec<Upload>> {
    Ok(uploads::table
        .inner_join(images::table.on(images::id.eq(uploads::image_id)))
        .filter(uploads::lease_until.is_not_null().and(images::storage_id.eq(storage.to_string())))
        .select(Upload::as_select())
        .load(conn)?)
}

/// Images of a storage whose part files belong to a transfer under way.
pub fn live_parts(conn: &mut Conn, storage: StorageId) -> DbResult<Vec<ImageId>> {
    Ok(under_way_on(conn, storage)?.into_iter().map(|upload| upload.image_id).collect())
}

/// How many images of a user are unfinished.
pub fn unfinished_of(conn: &mut Conn, user: UserId) -> DbResult<u64> {
    // Written out, so that the partial index over unfinished images answers it.
    let theirs = images::created_by.eq(user.to_string()).and(sql::<Bool>("images.status IN ('pending', 'uploading')"));
    Ok(unsigned(images::table.filter(theirs).count().get_result(conn)?))
}
