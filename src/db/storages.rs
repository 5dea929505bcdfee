//! Storages, their health as the watcher last saw it, and the connections of datastores to clusters.

use std::collections::HashMap;

use diesel::{
    dsl::count_star,
    prelude::*,
    sql_query,
    sql_types::{BigInt, Text},
};

use super::{
    Conn, DbError, DbResult, Tx,
    counts::{Belief, Counts},
    schema::{clusters, connections, hosts, images, storages},
};
use crate::{
    clock::Timestamp,
    domain::{
        creation::Place,
        ids::{ClusterId, HostId, StorageId},
        image::Stored,
        storage::{Health, Kind},
        text::Name,
    },
};

/// A storage.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = storages)]
pub struct Storage {
    #[diesel(deserialize_as = String)]
    pub id: StorageId,
    #[diesel(deserialize_as = String)]
    pub kind: Kind,
    pub host_id: Option<String>,
    pub name: String,
    pub path: String,
    #[diesel(deserialize_as = String)]
    pub health: Health,
    pub cause: Option<String>,
    #[diesel(deserialize_as = i64)]
    pub health_since: Timestamp,
    #[diesel(deserialize_as = i64)]
    pub checked_at: Timestamp,
    pub capacity_bytes: i64,
    pub free_bytes: i64,
    pub unknown_files: i64,
    #[diesel(deserialize_as = i64)]
    pub created_at: Timestamp,
    pub version: i64,
}

impl Storage {
    /// What the rule of creation looks at, with so many bytes promised.
    pub fn place(&self, promised_bytes: u64) -> Place {
        Place {
            kind: self.kind,
            health: self.health,
            cause: self.cause.clone(),
            since: self.health_since.words(),
            free_bytes: unsigned(self.free_bytes),
            promised_bytes,
        }
    }

    /// All bytes that the storage can hold.
    pub fn capacity(&self) -> u64 {
        unsigned(self.capacity_bytes)
    }

    /// Bytes that were free at the last look.
    pub fn free(&self) -> u64 {
        unsigned(self.free_bytes)
    }
}

/// A count or size from a column that is never negative.
pub fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A count or size for a column.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// What a new storage is.
#[derive(Debug, Clone)]
pub struct New {
    pub id: StorageId,
    pub kind: Kind,
    pub host: Option<HostId>,
    pub name: Name,
    pub path: String,
    pub capacity_bytes: u64,
    pub free_bytes: u64,
    pub unknown_files: u64,
}

/// All storages of a kind, or of both, by name; the removed ones last.
pub fn all(conn: &mut Conn, kind: Option<Kind>) -> DbResult<Vec<Storage>> {
    let mut query = storages::table.select(Storage::as_select()).into_boxed();
    if let Some(kind) = kind {
        query = query.filter(storages::kind.eq(kind.as_str()));
    }
    let mut found: Vec<Storage> = query.order((storages::name, storages::id)).load(conn)?;
    found.sort_by_key(|storage| storage.health == Health::Removed);
    Ok(found)
}

/// One storage.
pub fn by_id(conn: &mut Conn, id: StorageId) -> DbResult<Option<Storage>> {
    Ok(storages::table.find(id.to_string()).select(Storage::as_select()).first(conn).optional()?)
}

/// Takes the storage's row for the rest of the transaction, so that two who promise space do it one after the other.
pub fn lock(tx: &mut Tx<'_>, id: StorageId) -> DbResult<bool> {
    let touched = diesel::update(storages::table.find(id.to_string())).set(storages::version.eq(storages::version)).execute(tx.conn())?;
    Ok(touched == 1)
}

/// Bytes that are promised on each storage and not yet written.
pub fn promised(conn: &mut Conn) -> DbResult<HashMap<String, u64>> {
    let rows: Vec<(String, i64)> = images::table
        .filter(images::reserved_bytes.gt(0))
        .group_by(images::storage_id)
        .select((images::storage_id, diesel::dsl::sql::<diesel::sql_types::BigInt>("CAST(SUM(images.reserved_bytes) AS BIGINT)")))
        .load(conn)?;
    Ok(rows.into_iter().map(|(id, bytes)| (id, unsigned(bytes))).collect())
}

/// Bytes that are promised on one storage and not yet written.
pub fn promised_on(conn: &mut Conn, id: StorageId) -> DbResult<u64> {
    let bytes: Option<i64> = images::table
        .filter(images::storage_id.eq(id.to_string()).and(images::reserved_bytes.gt(0)))
        .select(diesel::dsl::sql::<diesel::sql_types::Nullable<diesel::sql_types::BigInt>>("CAST(SUM(images.reserved_bytes) AS BIGINT)"))
        .first(conn)?;
    Ok(unsigned(bytes.unwrap_or(0)))
}

/// Images on one storage beyond which nothing is counted.
pub const COUNTED: u64 = 10_000;

/// How many images lie on one storage, counted up to one more than [`COUNTED`].
pub fn image_count_for_page(conn: &mut Conn, counts: &Counts, id: StorageId) -> DbResult<u64> {
    let most = signed(COUNTED) + 1;
    let number = counts.of(format!("on {id}"), most, Belief::Exact, || {
        let number: Number = sql_query(
            "SELECT count(*) AS number FROM (SELECT 1 FROM images WHERE storage_id = $1 AND status <> 'deleting' LIMIT $2) AS counted",
        )
        .bind::<Text, _>(id.to_string())
        .bind::<BigInt, _>(most)
        .get_result(conn)?;
        Ok::<_, DbError>(number.number)
    })?;
    Ok(unsigned(number))
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// How many images lie on each storage, exactly.
pub fn image_counts(conn: &mut Conn) -> DbResult<HashMap<String, u64>> {
    let rows: Vec<(String, i64)> = images::table
        .filter(images::status.ne(Stored::Deleting.as_str()))
        .group_by(images::storage_id)
        .select((images::storage_id, count_star()))
        .load(conn)?;
    Ok(rows.into_iter().map(|(id, count)| (id, unsigned(count))).collect())
}

/// How many images lie on one storage.
pub fn image_count(conn: &mut Conn, id: StorageId) -> DbResult<u64> {
    let there = images::storage_id.eq(id.to_string()).and(images::status.ne(Stored::Deleting.as_str()));
    Ok(unsigned(images::table.filter(there).count().get_result(conn)?))
}

/// For each storage, the clusters that it serves: a datastore's connections, a local storage's host's cluster.
pub fn clusters_of(conn: &mut Conn) -> DbResult<HashMap<String, Vec<(ClusterId, String)>>> {
    let connected: Vec<(String, String, String)> = connections::table
        .inner_join(clusters::table)
        .order(clusters::name_key)
        .select((connections::storage_id, clusters::id, clusters::name))
        .load(conn)?;
    let local: Vec<(String, String, String)> = storages::table
        .inner_join(hosts::table.inner_join(clusters::table))
        .select((storages::id, clusters::id, clusters::name))
        .load(conn)?;
    let mut found: HashMap<String, Vec<(ClusterId, String)>> = HashMap::new();
    for (storage, cluster, name) in connected.into_iter().chain(local) {
        if let Ok(cluster) = cluster.parse() {
            found.entry(storage).or_default().push((cluster, name));
        }
    }
    Ok(found)
}

/// The storages that serve these clusters: connected datastores, and local storages of their hosts.
pub fn serving(conn: &mut Conn, clusters: &[String]) -> DbResult<Vec<String>> {
    let mut found: Vec<String> =
        connections::table.filter(connections::cluster_id.eq_any(clusters)).select(connections::storage_id).load(conn)?;
    let local: Vec<String> =
        storages::table.inner_join(hosts::table).filter(hosts::cluster_id.eq_any(clusters)).select(storages::id).load(conn)?;
    found.extend(local);
    Ok(found)
}

/// The columns of a storage that was just seen healthy at its place, whether it is new there or has come back.
#[derive(Insertable, AsChangeset)]
#[diesel(table_name = storages, treat_none_as_null = true)]
struct Placed {
    kind: &'static str,
    host_id: Option<String>,
    name: String,
    name_key: Option<String>,
    path: String,
    path_key: Option<String>,
    health: &'static str,
    cause: Option<String>,
    health_since: i64,
    checked_at: i64,
    capacity_bytes: i64,
    free_bytes: i64,
    unknown_files: i64,
}

impl Placed {
    fn new(new: &New, now: Timestamp) -> Self {
        Self {
            kind: new.kind.as_str(),
            host_id: new.host.map(|host| host.to_string()),
            name: new.name.as_str().to_owned(),
            name_key: Some(new.name.key()),
            path: new.path.clone(),
            path_key: Some(new.path.clone()),
            health: Health::Healthy.as_str(),
            cause: None,
            health_since: now.micros(),
            checked_at: now.micros(),
            capacity_bytes: signed(new.capacity_bytes),
            free_bytes: signed(new.free_bytes),
            unknown_files: signed(new.unknown_files),
        }
    }
}

/// Adds a storage that was just seen healthy.
pub fn insert(tx: &mut Tx<'_>, new: &New, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(storages::table)
        .values((
            storages::id.eq(new.id.to_string()),
            Placed::new(new, now),
            storages::created_at.eq(now.micros()),
            storages::version.eq(1),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Brings a removed storage back, wherever and under whatever name it lies now; false if it is not removed.
pub fn bring_back(tx: &mut Tx<'_>, new: &New, now: Timestamp) -> DbResult<bool> {
    let removed = storages::id.eq(new.id.to_string()).and(storages::health.eq(Health::Removed.as_str()));
    let changed = diesel::update(storages::table.filter(removed))
        .set((Placed::new(new, now), storages::version.eq(storages::version + 1)))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// Changes the name and path of a storage that still has `version`; false if somebody else was faster.
pub fn update(tx: &mut Tx<'_>, id: StorageId, version: i64, name: &Name, path: &str) -> DbResult<bool> {
    let same = storages::id.eq(id.to_string()).and(storages::version.eq(version)).and(storages::health.ne(Health::Removed.as_str()));
    let changed = diesel::update(storages::table.filter(same))
        .set((
            storages::name.eq(name.as_str()),
            storages::name_key.eq(name.key()),
            storages::path.eq(path),
            storages::path_key.eq(path),
            storages::version.eq(version.saturating_add(1)),
        ))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// Removes a storage: its name and place are free again, its record stays. False if it was removed already.
pub fn remove(tx: &mut Tx<'_>, id: StorageId, now: Timestamp) -> DbResult<bool> {
    let present = storages::id.eq(id.to_string()).and(storages::health.ne(Health::Removed.as_str()));
    let changed = diesel::update(storages::table.filter(present))
        .set((
            storages::health.eq(Health::Removed.as_str()),
            storages::cause.eq(None::<String>),
            storages::health_since.eq(now.micros()),
            storages::name_key.eq(None::<String>),
            storages::path_key.eq(None::<String>),
            storages::version.eq(storages::version + 1),
        ))
        .execute(tx.conn())?;
    diesel::delete(connections::table.filter(connections::storage_id.eq(id.to_string()))).execute(tx.conn())?;
    Ok(changed == 1)
}

/// Records what a look at a storage found. True if its health changed by it: only then `health_since` moves. A removed storage, and one
/// that lies elsewhere now, is left alone.
pub fn record_look(
    tx: &mut Tx<'_>,
    seen: &Storage,
    health: Health,
    cause: Option<&str>,
    space: Option<(u64, u64)>,
    now: Timestamp,
) -> DbResult<bool> {
    let same_place =
        storages::id.eq(seen.id.to_string()).and(storages::path_key.eq(&seen.path)).and(storages::health.ne(Health::Removed.as_str()));
    let turned = diesel::update(storages::table.filter(same_place.clone().and(storages::health.ne(health.as_str()))))
        .set((storages::health.eq(health.as_str()), storages::health_since.eq(now.micros())))
        .execute(tx.conn())?;
    diesel::update(storages::table.filter(same_place.clone()))
        .set((storages::cause.eq(cause), storages::checked_at.eq(now.micros())))
        .execute(tx.conn())?;
    if let Some((capacity, free)) = space {
        diesel::update(storages::table.filter(same_place))
            .set((storages::capacity_bytes.eq(signed(capacity)), storages::free_bytes.eq(signed(free))))
            .execute(tx.conn())?;
    }
    Ok(turned == 1)
}

/// Takes bytes from what counts as free until the next look, which finds them gone.
pub fn spend(tx: &mut Tx<'_>, id: StorageId, bytes: u64) -> DbResult<()> {
    diesel::update(storages::table.find(id.to_string()))
        .set(storages::free_bytes.eq(storages::free_bytes - signed(bytes)))
        .execute(tx.conn())?;
    Ok(())
}

/// Records how many files lie on a storage that the service does not know.
pub fn record_unknown_files(tx: &mut Tx<'_>, id: StorageId, count: u64) -> DbResult<()> {
    diesel::update(storages::table.find(id.to_string())).set(storages::unknown_files.eq(signed(count))).execute(tx.conn())?;
    Ok(())
}

/// Connects a datastore to a cluster.
pub fn connect(tx: &mut Tx<'_>, storage: StorageId, cluster: ClusterId, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(connections::table)
        .values((
            connections::storage_id.eq(storage.to_string()),
            connections::cluster_id.eq(cluster.to_string()),
            connections::created_at.eq(now.micros()),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Takes a datastore from a cluster; false if they were not connected.
pub fn disconnect(tx: &mut Tx<'_>, storage: StorageId, cluster: ClusterId) -> DbResult<bool> {
    let both = connections::storage_id.eq(storage.to_string()).and(connections::cluster_id.eq(cluster.to_string()));
    Ok(diesel::delete(connections::table.filter(both)).execute(tx.conn())? == 1)
}
