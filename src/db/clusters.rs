//! Clusters and their hosts.

use std::collections::HashMap;

use diesel::prelude::*;

use super::{
    Conn, DbResult, Tx,
    schema::{clusters, connections, hosts, storages, virtual_machines},
};
use crate::{
    clock::Timestamp,
    domain::{
        ids::{ClusterId, HostId},
        storage::{ClusterHealth, Health},
        text::Name,
    },
};

/// A cluster.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = clusters)]
pub struct Cluster {
    #[diesel(deserialize_as = String)]
    pub id: ClusterId,
    pub name: String,
    pub note: String,
    #[diesel(deserialize_as = i64)]
    pub created_at: Timestamp,
    pub version: i64,
}

/// A host.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = hosts)]
pub struct Host {
    #[diesel(deserialize_as = String)]
    pub id: HostId,
    #[diesel(deserialize_as = String)]
    pub cluster_id: ClusterId,
    pub name: String,
    pub kind: String,
    #[diesel(deserialize_as = i64)]
    pub created_at: Timestamp,
}

/// What hangs on a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hanging {
    pub hosts: i64,
    pub local_storages: i64,
    pub datastores: i64,
    pub machines: i64,
}

impl Hanging {
    /// The health of a cluster with these hosts. *This machine* is connected as long as the service runs on it.
    pub const fn health(&self) -> ClusterHealth {
        ClusterHealth::of(self.hosts, self.hosts)
    }
}

/// All clusters by name.
pub fn all(conn: &mut Conn) -> DbResult<Vec<Cluster>> {
    Ok(clusters::table.order(clusters::name_key).select(Cluster::as_select()).load(conn)?)
}

/// One cluster.
pub fn by_id(conn: &mut Conn, id: ClusterId) -> DbResult<Option<Cluster>> {
    Ok(clusters::table.find(id.to_string()).select(Cluster::as_select()).first(conn).optional()?)
}

/// All hosts, each with its cluster, by name.
pub fn all_hosts(conn: &mut Conn) -> DbResult<Vec<(Host, Cluster)>> {
    Ok(hosts::table
        .inner_join(clusters::table)
        .order((clusters::name_key, hosts::name))
        .select((Host::as_select(), Cluster::as_select()))
        .load(conn)?)
}

/// One host with its cluster.
pub fn host(conn: &mut Conn, id: HostId) -> DbResult<Option<(Host, Cluster)>> {
    Ok(hosts::table
        .inner_join(clusters::table)
        .filter(hosts::id.eq(id.to_string()))
        .select((Host::as_select(), Cluster::as_select()))
        .first(conn)
        .optional()?)
}

/// What hangs on each cluster; clusters on which nothing hangs are left out.
pub fn hanging(conn: &mut Conn) -> DbResult<HashMap<String, Hanging>> {
    use diesel::dsl::count_star;
    let mut found: HashMap<String, Hanging> = HashMap::new();
    let of_hosts: Vec<(String, i64)> = hosts::table.group_by(hosts::cluster_id).select((hosts::cluster_id, count_star())).load(conn)?;
    for (cluster, count) in of_hosts {
        found.entry(cluster).or_default().hosts = count;
    }
    let present = storages::health.ne(Health::Removed.as_str());
    let of_locals: Vec<(String, i64)> = storages::table
        .inner_join(hosts::table)
        .filter(present)
        .group_by(hosts::cluster_id)
        .select((hosts::cluster_id, count_star()))
        .load(conn)?;
    for (cluster, count) in of_locals {
        found.entry(cluster).or_default().local_storages = count;
    }
    let of_datastores: Vec<(String, i64)> =
        connections::table.group_by(connections::cluster_id).select((connections::cluster_id, count_star())).load(conn)?;
    for (cluster, count) in of_datastores {
        found.entry(cluster).or_default().datastores = count;
    }
    let of_machines: Vec<(String, i64)> =
        virtual_machines::table.group_by(virtual_machines::cluster_id).select((virtual_machines::cluster_id, count_star())).load(conn)?;
    for (cluster, count) in of_machines {
        found.entry(cluster).or_default().machines = count;
    }
    Ok(found)
}

/// Adds a cluster.
pub fn insert(tx: &mut Tx<'_>, id: ClusterId, name: &Name, note: &str, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(clusters::table)
        .values((
            clusters::id.eq(id.to_string()),
            clusters::name.eq(name.as_str()),
            clusters::name_key.eq(name.key()),
            clusters::note.eq(note),
            clusters::created_at.eq(now.micros()),
            clusters::version.eq(1),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Changes a cluster that still has `version`; false if somebody else was faster.
pub fn update(tx: &mut Tx<'_>, id: ClusterId, version: i64, name: &Name, note: &str) -> DbResult<bool> {
    let same = clusters::id.eq(id.to_string()).and(clusters::version.eq(version));
    let changed = diesel::update(clusters::table.filter(same))
        .set((
            clusters::name.eq(name.as_str()),
            clusters::name_key.eq(name.key()),
            clusters::note.eq(note),
            clusters::version.eq(version.saturating_add(1)),
        ))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// Removes a cluster; [`super::DbError::InUse`] while something hangs on it.
pub fn delete(tx: &mut Tx<'_>, id: ClusterId) -> DbResult<bool> {
    Ok(diesel::delete(clusters::table.find(id.to_string())).execute(tx.conn())? == 1)
}

/// Adds *this machine* to a cluster.
pub fn insert_host(tx: &mut Tx<'_>, id: HostId, cluster: ClusterId, name: &str, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(hosts::table)
        .values((
            hosts::id.eq(id.to_string()),
            hosts::cluster_id.eq(cluster.to_string()),
            hosts::name.eq(name),
            hosts::kind.eq("this_machine"),
            hosts::created_at.eq(now.micros()),
        ))
        .execute(tx.conn())?;
    Ok(())
}
