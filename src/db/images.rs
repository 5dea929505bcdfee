//! Images: one record each, and the guarded writes that move it from state to state.
//!
//! Every change of a status is an UPDATE that filters on the states it may follow and, where bytes are concerned, on the transfer's fence;
//! the count of changed rows tells whether it happened. Reading never loads an image that is being deleted.

mod legs;
mod list;

pub use list::{Filter, Row, Sort, count, list};

use diesel::prelude::*;

use super::{
    Conn, DbResult, Tx,
    schema::{images, storages, uploads},
    storages::{Storage, signed, unsigned},
    uploads::{Upload, present},
};
use crate::{
    clock::Timestamp,
    domain::{
        digest::{Expected, Verdict},
        ids::{ImageId, StorageId, UserId},
        image::{FileState, Kind, Shown, Stored},
        requirements::Requirements,
        text::Name,
    },
};

/// An image.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = images)]
pub struct Image {
    #[diesel(deserialize_as = String)]
    pub id: ImageId,
    #[diesel(deserialize_as = String)]
    pub kind: Kind,
    #[diesel(deserialize_as = String)]
    pub status: Stored,
    #[diesel(deserialize_as = String)]
    pub storage_id: StorageId,
    pub name: String,
    pub note: String,
    pub os: String,
    pub min_vcpu: i32,
    pub min_memory_mib: i32,
    pub min_disk_gib: i32,
    pub size_bytes: i64,
    pub sha256: Option<String>,
    pub format: Option<String>,
    pub label: Option<String>,
    pub publisher: Option<String>,
    pub boot: Option<String>,
    pub file_name: String,
    #[diesel(deserialize_as = String)]
    pub file_state: FileState,
    pub file_checked_at: Option<i64>,
    #[diesel(deserialize_as = i64)]
    pub status_since: Timestamp,
    #[diesel(deserialize_as = i64)]
    pub created_at: Timestamp,
    pub created_by_name: String,
    /// Counts edits, so that one form does not undo another; what the service does with the file is no edit.
    pub version: i64,
    /// What the digest of its file was said to be, as [`crate::domain::digest::Expected`] writes it.
    pub expected_digest: Option<String>,
    /// Whether it is, once that is known.
    pub digest_state: Option<String>,
}

impl Image {
    /// What a machine needs to run what is in it.
    pub const fn requirements(&self) -> Requirements {
        Requirements { vcpu: self.min_vcpu, memory_mib: self.min_memory_mib, disk_gib: self.min_disk_gib }
    }

    /// Its size in bytes; 0 where nothing is known yet.
    pub fn size(&self) -> u64 {
        unsigned(self.size_bytes)
    }
}

/// An image with what its status depends on.
#[derive(Debug, Clone)]
pub struct Found {
    pub image: Image,
    pub storage: Storage,
    pub upload: Option<Upload>,
}

impl Found {
    /// The status to show. Reading leaves out images that are being deleted, so there always is one.
    pub fn shown(&self) -> Shown {
        Shown::of(self.image.status, self.storage.health, self.image.file_state).unwrap_or(Shown::FileUnavailable)
    }
}

/// What a new image is.
#[derive(Debug, Clone)]
pub struct New {
    pub id: ImageId,
    pub kind: Kind,
    pub storage: StorageId,
    pub name: Name,
    pub note: String,
    pub os: String,
    pub requirements: Requirements,
    pub file_name: String,
    pub size_bytes: u64,
    pub reserved_bytes: u64,
    pub expected_digest: Option<Expected>,
    pub created_by: Option<UserId>,
    pub created_by_name: String,
}

/// What is known of a file once it is complete.
#[derive(Debug, Clone)]
pub struct Contents {
    pub size_bytes: u64,
    pub sha256: String,
    pub format: String,
    pub label: Option<String>,
    pub publisher: Option<String>,
    pub boot: String,
    /// Whether its digest is the expected one, where one was given.
    pub verdict: Option<Verdict>,
}

/// What an edit changes.
#[derive(Debug, Clone)]
pub struct Edit {
    pub name: Name,
    pub note: String,
    pub os: String,
    pub requirements: Requirements,
}

/// Images with what their statuses depend on.
#[diesel::dsl::auto_type(no_type_alias)]
fn with_storage_and_upload() -> _ {
    images::table.inner_join(storages::table).left_join(uploads::table.on(uploads::image_id.eq(images::id)))
}

/// One image with its storage and its transfer.
pub fn by_id(conn: &mut Conn, id: ImageId) -> DbResult<Option<Found>> {
    let visible = images::id.eq(id.to_string()).and(images::status.ne(Stored::Deleting.as_str()));
    let found: Option<(Image, Storage, Option<Upload>)> = with_storage_and_upload()
        .filter(visible)
        .select((Image::as_select(), Storage::as_select(), Option::<Upload>::as_select()))
        .first(conn)
        .optional()?;
    Ok(found.map(|(image, storage, upload)| Found { image, storage, upload }))
}

/// Images whose files are not complete and have an upload that can go on: those of a device, or (false) of all others, newest first.
pub fn unfinished(conn: &mut Conn, device: &str, own: bool, most: i64) -> DbResult<Vec<Found>> {
    let waits = images::status.eq_any([Stored::Pending.as_str(), Stored::Uploading.as_str()]);
    let goes_on = uploads::exact.eq(true).and(uploads::lease_until.is_not_null().or(uploads::expires_at.is_not_null()));
    let found: Vec<(Image, Storage, Upload)> = images::table
        .inner_join(storages::table)
        .inner_join(uploads::table.on(uploads::image_id.eq(images::id)))
        .filter(waits.and(goes_on).and(uploads::device.eq(device).eq(own)))
        .order((uploads::begun_at.desc(), images::id))
        .limit(most)
        .select((Image::as_select(), Storage::as_select(), Upload::as_select()))
        .load(conn)?;
    Ok(found.into_iter().map(|(image, storage, upload)| Found { image, storage, upload: Some(upload) }).collect())
}

/// Complete images of exactly this size, newest first.
pub fn of_size(conn: &mut Conn, bytes: u64, most: i64) -> DbResult<Vec<Found>> {
    let complete = images::size_bytes.eq(signed(bytes)).and(images::status.eq(Stored::Available.as_str()));
    let found: Vec<(Image, Storage)> = images::table
        .inner_join(storages::table)
        .filter(complete)
        .order((images::size_bytes, images::id.desc()))
        .limit(most)
        .select((Image::as_select(), Storage::as_select()))
        .load(conn)?;
    Ok(found.into_iter().map(|(image, storage)| Found { image, storage, upload: None }).collect())
}

/// The image that holds a name on a storage.
pub fn holder_of_name(conn: &mut Conn, storage: StorageId, name_key: &str) -> DbResult<Option<ImageId>> {
    let same = images::storage_id.eq(storage.to_string()).and(images::name_key.eq(name_key));
    let id: Option<String> = images::table.filter(same).select(images::id).first(conn).optional()?;
    Ok(id.and_then(|id| id.parse().ok()))
}

/// Adds a pending image.
pub fn insert(tx: &mut Tx<'_>, new: &New, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(images::table)
        .values((
            images::id.eq(new.id.to_string()),
            images::kind.eq(new.kind.as_str()),
            images::status.eq(Stored::Pending.as_str()),
            images::storage_id.eq(new.storage.to_string()),
            images::name.eq(new.name.as_str()),
            images::search_key.eq(new.name.key()),
            images::name_key.eq(new.name.key()),
            images::note.eq(&new.note),
            images::os.eq(&new.os),
            (
                images::min_vcpu.eq(new.requirements.vcpu),
                images::min_memory_mib.eq(new.requirements.memory_mib),
                images::min_disk_gib.eq(new.requirements.disk_gib),
            ),
            images::size_bytes.eq(signed(new.size_bytes)),
            images::file_name.eq(&new.file_name),
            images::file_state.eq(FileState::Sound.as_str()),
            images::reserved_bytes.eq(signed(new.reserved_bytes)),
            images::status_since.eq(now.micros()),
            images::created_at.eq(now.micros()),
            images::created_by.eq(new.created_by.map(|user| user.to_string())),
            (
                images::created_by_name.eq(&new.created_by_name),
                images::expected_digest.eq(new.expected_digest.as_ref().map(ToString::to_string)),
            ),
            images::version.eq(1),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// The states from which an image may come into `to`, as in the columns.
fn permitted(to: Stored) -> Vec<&'static str> {
    to.may_follow().iter().map(|from| from.as_str()).collect()
}

/// Takes an image's row for the rest of the transaction. Whoever changes an image and its transfer takes the image first, so that two such
/// transactions wait for each other instead of standing in each other's way.
pub fn lock(tx: &mut Tx<'_>, id: ImageId) -> DbResult<bool> {
    let touched =
        diesel::update(images::table.filter(images::id.eq(id.to_string()))).set(images::version.eq(images::version)).execute(tx.conn())?;
    Ok(touched == 1)
}

/// Moves an image from one of the permitted states into `to`; false if it is in none of them.
pub fn set_status(tx: &mut Tx<'_>, id: ImageId, to: Stored, now: Timestamp) -> DbResult<bool> {
    let ready = images::id.eq(id.to_string()).and(images::status.eq_any(permitted(to)));
    let changed = diesel::update(images::table.filter(ready))
        .set((images::status.eq(to.as_str()), images::status_since.eq(now.micros())))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// A transfer of an image begins: what it will be named by and how many bytes are promised to it.
pub fn begin_upload(tx: &mut Tx<'_>, id: ImageId, file_name: &str, size_bytes: u64, now: Timestamp) -> DbResult<bool> {
    if !set_status(tx, id, Stored::Uploading, now)? {
        return Ok(false);
    }
    announce(tx, id, file_name, size_bytes)?;
    Ok(true)
}

/// Another file is announced for an image that is Pending: its name, its size, and as many bytes promised.
pub fn announce(tx: &mut Tx<'_>, id: ImageId, file_name: &str, size_bytes: u64) -> DbResult<()> {
    diesel::update(images::table.filter(images::id.eq(id.to_string())))
        .set((images::file_name.eq(file_name), images::size_bytes.eq(signed(size_bytes)), images::reserved_bytes.eq(signed(size_bytes))))
        .execute(tx.conn())?;
    Ok(())
}

/// Sets the bytes that are promised to an image and not yet written.
pub fn set_reserved(tx: &mut Tx<'_>, id: ImageId, bytes: u64) -> DbResult<()> {
    diesel::update(images::table.filter(images::id.eq(id.to_string()))).set(images::reserved_bytes.eq(signed(bytes))).execute(tx.conn())?;
    Ok(())
}

/// The file of an image is complete, verified and durable. False if the image is not in a state to become Available, or if another
/// transfer than `fence` is its present one: then the file is nobody's and must be removed.
pub fn publish(tx: &mut Tx<'_>, id: ImageId, fence: i64, contents: &Contents, now: Timestamp) -> DbResult<bool> {
    let present = diesel::dsl::exists(uploads::table.filter(present(id.to_string(), fence)));
    let ready = images::id.eq(id.to_string()).and(images::status.eq_any(permitted(Stored::Available))).and(present);
    let changed = diesel::update(images::table.filter(ready))
        .set((
            images::status.eq(Stored::Available.as_str()),
            images::status_since.eq(now.micros()),
            images::size_bytes.eq(signed(contents.size_bytes)),
            images::sha256.eq(&contents.sha256),
            images::format.eq(&contents.format),
            images::label.eq(&contents.label),
            images::publisher.eq(&contents.publisher),
            images::boot.eq(&contents.boot),
            images::digest_state.eq(contents.verdict.map(Verdict::as_str)),
            images::file_state.eq(FileState::Sound.as_str()),
            images::file_checked_at.eq(now.micros()),
            images::reserved_bytes.eq(0),
        ))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// Nothing of the image is moving any more. Unless its bytes are kept, nothing is promised to it either.
pub fn fall_back(tx: &mut Tx<'_>, id: ImageId, kept: bool, now: Timestamp) -> DbResult<bool> {
    let moved = set_status(tx, id, Stored::Pending, now)?;
    if !kept {
        set_reserved(tx, id, 0)?;
    }
    Ok(moved)
}

/// Bytes that are promised to an image and not yet written.
pub fn reserved(conn: &mut Conn, id: ImageId) -> DbResult<u64> {
    let bytes: Option<i64> = images::table.filter(images::id.eq(id.to_string())).select(images::reserved_bytes).first(conn).optional()?;
    Ok(unsigned(bytes.unwrap_or(0)))
}

/// The image is gone for everybody and its name is free; its files follow by a job.
pub fn begin_deletion(tx: &mut Tx<'_>, id: ImageId, version: i64, now: Timestamp) -> DbResult<bool> {
    let ready = images::id.eq(id.to_string()).and(images::version.eq(version)).and(images::status.eq_any(permitted(Stored::Deleting)));
    let changed = diesel::update(images::table.filter(ready))
        .set((
            images::status.eq(Stored::Deleting.as_str()),
            images::status_since.eq(now.micros()),
            images::name_key.eq(None::<String>),
            images::reserved_bytes.eq(0),
            images::version.eq(version.saturating_add(1)),
        ))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// Removes the record of an image whose files are gone, or that is forgotten; false if there is none.
pub fn delete(tx: &mut Tx<'_>, id: ImageId) -> DbResult<bool> {
    Ok(diesel::delete(images::table.filter(images::id.eq(id.to_string()))).execute(tx.conn())? == 1)
}

/// Changes what an administrator wrote about an image that still has `version`; false if somebody else was faster.
pub fn edit(tx: &mut Tx<'_>, id: ImageId, version: i64, edit: &Edit) -> DbResult<bool> {
    let same = images::id.eq(id.to_string()).and(images::version.eq(version)).and(images::status.ne(Stored::Deleting.as_str()));
    let changed = diesel::update(images::table.filter(same))
        .set((
            images::name.eq(edit.name.as_str()),
            images::search_key.eq(edit.name.key()),
            images::name_key.eq(edit.name.key()),
            images::note.eq(&edit.note),
            images::os.eq(&edit.os),
            images::min_vcpu.eq(edit.requirements.vcpu),
            images::min_memory_mib.eq(edit.requirements.memory_mib),
            images::min_disk_gib.eq(edit.requirements.disk_gib),
            images::version.eq(version.saturating_add(1)),
        ))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// What the digest of an image's file was said to be.
pub fn expected_digest(conn: &mut Conn, id: ImageId) -> DbResult<Option<Expected>> {
    let column: Option<Option<String>> =
        images::table.filter(images::id.eq(id.to_string())).select(images::expected_digest).first(conn).optional()?;
    Ok(column.flatten().and_then(|column| column.parse().ok()))
}

/// Sets what the digest of an image's file is said to be, and whether it is, where that is known; false if the image is not there.
pub fn expect_digest(tx: &mut Tx<'_>, id: ImageId, expected: Option<&Expected>, verdict: Option<Verdict>) -> DbResult<bool> {
    let there = images::id.eq(id.to_string()).and(images::status.ne(Stored::Deleting.as_str()));
    let changed = diesel::update(images::table.filter(there))
        .set((images::expected_digest.eq(expected.map(ToString::to_string)), images::digest_state.eq(verdict.map(Verdict::as_str))))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// Records what a look at an Available image's file found; true if that is news.
pub fn record_look(tx: &mut Tx<'_>, id: ImageId, state: FileState, now: Timestamp) -> DbResult<bool> {
    let available = images::id.eq(id.to_string()).and(images::status.eq(Stored::Available.as_str()));
    let news = diesel::update(images::table.filter(available.clone().and(images::file_state.ne(state.as_str()))))
        .set((images::file_state.eq(state.as_str()), images::status_since.eq(now.micros())))
        .execute(tx.conn())?;
    diesel::update(images::table.filter(available)).set(images::file_checked_at.eq(now.micros())).execute(tx.conn())?;
    Ok(news == 1)
}

/// Available images of a storage with their sizes and the last look, to be compared with what lies there: those after `after`, up to `most`.
pub fn available_on(conn: &mut Conn, storage: StorageId, after: &str, most: i64) -> DbResult<Vec<(ImageId, u64, FileState)>> {
    let there = images::storage_id.eq(storage.to_string()).and(images::status.eq(Stored::Available.as_str()));
    let rows: Vec<(String, i64, String)> = images::table
        .filter(there.and(images::id.gt(after)))
        .order(images::id)
        .limit(most)
        .select((images::id, images::size_bytes, images::file_state))
        .load(conn)?;
    Ok(rows.into_iter().filter_map(|(id, bytes, state)| Some((id.parse().ok()?, unsigned(bytes), state.parse().ok()?))).collect())
}

/// What the last look at an image's file found.
pub fn file_state(conn: &mut Conn, id: ImageId) -> DbResult<Option<FileState>> {
    let word: Option<String> = images::table.filter(images::id.eq(id.to_string())).select(images::file_state).first(conn).optional()?;
    Ok(word.and_then(|word| word.parse().ok()))
}

/// Which of these images the service has a record of, being deleted or not.
pub fn known(conn: &mut Conn, ids: &[ImageId]) -> DbResult<Vec<(ImageId, Stored)>> {
    let rows: Vec<(String, String)> =
        images::table.filter(images::id.eq_any(ids.iter().map(ToString::to_string))).select((images::id, images::status)).load(conn)?;
    Ok(rows.into_iter().filter_map(|(id, status)| Some((id.parse().ok()?, status.parse().ok()?))).collect())
}

/// Several images with what their statuses depend on, for an action on a selection.
pub fn by_ids(conn: &mut Conn, ids: &[ImageId]) -> DbResult<Vec<Found>> {
    let visible = images::id.eq_any(ids.iter().map(ToString::to_string)).and(images::status.ne(Stored::Deleting.as_str()));
    let found: Vec<(Image, Storage, Option<Upload>)> = with_storage_and_upload()
        .filter(visible)
        .order((images::search_key, images::id))
        .select((Image::as_select(), Storage::as_select(), Option::<Upload>::as_select()))
        .load(conn)?;
    Ok(found.into_iter().map(|(image, storage, upload)| Found { image, storage, upload }).collect())
}
