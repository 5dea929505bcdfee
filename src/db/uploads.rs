//! Transfers of installation images: one row an image while it is not complete, with its lease and its fence.
//!
//! The *fence* counts the transfers of an image. Whoever writes for one names its fence; a writer that was believed dead and comes back
//! changes nothing.

use diesel::{dsl::sql, prelude::*, sql_types::Bool};

use super::{
    Conn, DbResult, Tx,
    people::{self, User},
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
    /// Whether the file has exactly as many bytes as were declared: then it can be continued.
    pub exact: bool,
    offset_bytes: i64,
    lease_until: Option<i64>,
    instance: String,
    pub stopped_at: Option<i64>,
    stopped: Option<String>,
    pub stopped_detail: String,
    expires_at: Option<i64>,
    handover_device: Option<String>,
}

impl Upload {
    /// Bytes of the whole file; 0 where unknown.
    pub fn declared(&self) -> u64 {
        unsigned(self.declared_bytes)
    }

    /// Bytes that have become durable on the storage.
    pub fn offset(&self) -> u64 {
        unsigned(self.offset_bytes)
    }

    /// Bytes of them that are there now, from which the upload goes on.
    pub fn kept(&self) -> u64 {
        if self.stopped_at.is_none() || self.expires_at.is_some() { self.offset() } else { 0 }
    }

    /// Until when the bytes of an upload that stopped are kept; none where nothing is kept.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at.map(Timestamp::from_micros)
    }

    /// Until when the sender of an upload under way need not be heard of.
    pub fn lease_until(&self) -> Option<Timestamp> {
        self.lease_until.map(Timestamp::from_micros)
    }

    /// Whether the process `instance` received its last bytes.
    pub fn is_of(&self, instance: InstanceId) -> bool {
        self.instance == instance.to_string()
    }

    /// The device that gave its upload away by a token, if one did.
    pub fn given_by(&self) -> Option<&str> {
        self.handover_device.as_deref()
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

/// Begins a transfer of so many bytes, or of up to so many, replacing an earlier one of the image; answers its fence.
pub fn begin(tx: &mut Tx<'_>, image: ImageId, sender: &Sender, (declared_bytes, exact): (u64, bool), now: Timestamp) -> DbResult<i64> {
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
            uploads::exact.eq(exact),
            uploads::offset_bytes.eq(0),
            uploads::lease_until.eq(sender.lease_until.micros()),
            uploads::begun_at.eq(now.micros()),
            uploads::stopped_detail.eq(""),
        ))
        .execute(tx.conn())?;
    Ok(fence)
}

/// The image's upload goes on, from this sender and this offset, with a fence of its own; answers it. None if `fence` is not its present one any more.
pub fn go_on(tx: &mut Tx<'_>, image: ImageId, fence: i64, sender: &Sender, offset: u64) -> DbResult<Option<i64>> {
    let next = fence.saturating_add(1);
    let same = uploads::image_id.eq(image.to_string()).and(uploads::fence.eq(fence));
    let changed = diesel::update(uploads::table.filter(same))
        .set((
            uploads::device.eq(&sender.device),
            uploads::user_id.eq(sender.user.map(|user| user.to_string())),
            uploads::user_name.eq(&sender.user_name),
            uploads::instance.eq(sender.instance.to_string()),
            uploads::fence.eq(next),
            uploads::offset_bytes.eq(signed(offset)),
            uploads::lease_until.eq(sender.lease_until.micros()),
            uploads::stopped_at.eq(None::<i64>),
            uploads::stopped.eq(None::<String>),
            uploads::stopped_detail.eq(""),
            uploads::expires_at.eq(None::<i64>),
        ))
        .execute(tx.conn())?;
    Ok((changed == 1).then_some(next))
}

/// Another device has shown that it has the same file: it is the sender from now on. None if `fence` is not the present one any more.
pub fn take_over(tx: &mut Tx<'_>, image: ImageId, fence: i64, sender: &Sender) -> DbResult<Option<i64>> {
    let next = fence.saturating_add(1);
    let same = uploads::image_id.eq(image.to_string()).and(uploads::fence.eq(fence));
    let changed = diesel::update(uploads::table.filter(same))
        .set((
            uploads::device.eq(&sender.device),
            uploads::user_id.eq(sender.user.map(|user| user.to_string())),
            uploads::user_name.eq(&sender.user_name),
            uploads::fence.eq(next),
        ))
        .execute(tx.conn())?;
    Ok((changed == 1).then_some(next))
}

/// Remembers the token by which an upload is handed over, in place of an earlier one; false if there is no upload.
pub fn hand_over(tx: &mut Tx<'_>, image: ImageId, hash: &str, (user, device): (UserId, &str), until: Timestamp) -> DbResult<bool> {
    let changed = diesel::update(uploads::table.find(image.to_string()))
        .set((
            uploads::handover_hash.eq(hash),
            uploads::handover_user.eq(user.to_string()),
            uploads::handover_device.eq(device),
            uploads::handover_until.eq(until.micros()),
        ))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// The upload that a token carries on, and the user who gave it, if it still does.
pub fn handed_over(conn: &mut Conn, hash: &str, now: Timestamp) -> DbResult<Option<(ImageId, User)>> {
    let alive = uploads::handover_hash.eq(hash).and(uploads::handover_until.gt(now.micros()));
    let found: Option<(String, Option<String>)> =
        uploads::table.filter(alive).select((uploads::image_id, uploads::handover_user)).first(conn).optional()?;
    let Some((Ok(image), Some(Ok(user)))) = found.map(|(image, user)| (image.parse(), user.map(|user| user.parse()))) else {
        return Ok(None);
    };
    let user = people::by_id(conn, user)?;
    Ok(user.filter(|user| !user.disabled).map(|user| (image, user)))
}

/// The running hash of an upload at its offset, where it has one.
pub fn hash_state(conn: &mut Conn, image: ImageId) -> DbResult<Option<Vec<u8>>> {
    Ok(uploads::table.find(image.to_string()).select(uploads::hash_state).first(conn).optional()?.flatten())
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

/// Ends a transfer that still has this fence. Its bytes are kept until `kept_until`, or count as dropped. False if it has another.
pub fn stop(
    tx: &mut Tx<'_>,
    image: ImageId,
    fence: i64,
    (why, detail): (Stopped, &str),
    kept_until: Option<Timestamp>,
    now: Timestamp,
) -> DbResult<bool> {
    let row = diesel::update(uploads::table.filter(present(image.to_string(), fence)));
    let stopped = (
        uploads::lease_until.eq(None::<i64>),
        uploads::stopped_at.eq(now.micros()),
        uploads::stopped.eq(why.as_str()),
        uploads::stopped_detail.eq(detail),
        uploads::expires_at.eq(kept_until.map(Timestamp::micros)),
    );
    let changed = match kept_until {
        Some(_) => row.set(stopped).execute(tx.conn())?,
        None => row.set((stopped, uploads::hash_state.eq(None::<Vec<u8>>))).execute(tx.conn())?,
    };
    Ok(changed == 1)
}

/// The bytes that were kept of an upload that stopped are dropped, for this reason; false if it goes on, or none were kept.
pub fn drop_kept(tx: &mut Tx<'_>, image: ImageId, fence: i64, why: Stopped, now: Timestamp) -> DbResult<bool> {
    let kept = uploads::image_id.eq(image.to_string()).and(uploads::fence.eq(fence)).and(uploads::expires_at.is_not_null());
    let changed = diesel::update(uploads::table.filter(kept))
        .set((
            uploads::hash_state.eq(None::<Vec<u8>>),
            uploads::expires_at.eq(None::<i64>),
            uploads::stopped_at.eq(now.micros()),
            uploads::stopped.eq(why.as_str()),
            uploads::stopped_detail.eq(""),
        ))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// Uploads whose bytes have been kept long enough, some of them if there are many.
pub fn expired(conn: &mut Conn, now: Timestamp) -> DbResult<Vec<Upload>> {
    Ok(uploads::table
        .filter(uploads::expires_at.le(now.micros()))
        .order(uploads::expires_at)
        .limit(1_000)
        .select(Upload::as_select())
        .load(conn)?)
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

/// Images of a storage whose part files are somebody's: of a transfer under way (true), or kept for when it goes on.
pub fn parts_on(conn: &mut Conn, storage: StorageId) -> DbResult<Vec<(ImageId, bool)>> {
    let theirs = uploads::lease_until.is_not_null().or(uploads::expires_at.is_not_null());
    let rows: Vec<(String, Option<i64>)> = uploads::table
        .inner_join(images::table.on(images::id.eq(uploads::image_id)))
        .filter(theirs.and(images::storage_id.eq(storage.to_string())))
        .select((uploads::image_id, uploads::lease_until))
        .load(conn)?;
    Ok(rows.into_iter().filter_map(|(id, lease)| Some((id.parse().ok()?, lease.is_some()))).collect())
}

/// How many images of a user are unfinished.
pub fn unfinished_of(conn: &mut Conn, user: UserId) -> DbResult<u64> {
    // Written out, so that the partial index over unfinished images answers it.
    let theirs = images::created_by.eq(user.to_string()).and(sql::<Bool>("images.status IN ('pending', 'uploading')"));
    Ok(unsigned(images::table.filter(theirs).count().get_result(conn)?))
}
