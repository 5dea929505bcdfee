//! Connects datastores to clusters, and takes them off again. A connection gives nobody any right.

use std::sync::Arc;

use super::{Failure, Service};
use crate::{
    authorize::{self, Actor, right},
    clock,
    db::{Conn, clusters, storages, storages::Storage},
    domain::{
        audit::{Action, Entry, Object, ObjectKind},
        ids::{ClusterId, StorageId},
        storage::{Health, Kind},
    },
};

/// Connects a datastore to a cluster; nothing happens if it is connected already.
pub async fn connect(service: &Service, actor: &Arc<Actor>, storage: StorageId, cluster: ClusterId) -> Result<String, Failure> {
    authorize::write::<right::ConnectDatastore, _>(&service.db, actor, storage, move |tx, granted| {
        let datastore = find(tx.conn(), storage)?;
        granted.also::<right::UpdateCluster>(tx.conn(), cluster)?;
        let cluster = clusters::by_id(tx.conn(), cluster)?.ok_or(Failure::NotFound)?;
        let connected = storages::clusters_of(tx.conn())?.remove(&storage.to_string()).unwrap_or_default();
        if connected.iter().all(|(id, _)| *id != cluster.id) {
            storages::connect(tx, storage, cluster.id, clock::now())?;
            record(tx, &granted, Action::ConnectDatastore, &datastore, &cluster.name)?;
        }
        Ok(cluster.name)
    })
    .await
}

/// Takes a datastore from a cluster. Refused while a machine of the cluster uses an image on it.
pub async fn disconnect(service: &Service, actor: &Arc<Actor>, storage: StorageId, cluster: ClusterId) -> Result<String, Failure> {
    authorize::write::<right::DisconnectDatastore, _>(&service.db, actor, storage, move |tx, granted| {
        let datastore = find(tx.conn(), storage)?;
        let cluster = clusters::by_id(tx.conn(), cluster)?.ok_or(Failure::NotFound)?;
        let machines = crate::db::usage::machines_between(tx.conn(), storage, cluster.id)?;
        if !machines.is_empty() {
            let names: Vec<String> = machines.iter().map(|machine| format!("“{}”", machine.name)).collect();
            let sentence = format!("Machines of “{}” use images on it: {}. Detach them first.", cluster.name, names.join(", "));
            return Err(Failure::refused("datastore.in_use", sentence));
        }
        if storages::disconnect(tx, storage, cluster.id)? {
            record(tx, &granted, Action::DisconnectDatastore, &datastore, &cluster.name)?;
        }
        Ok(cluster.name)
    })
    .await
}

fn find(conn: &mut Conn, id: StorageId) -> Result<Storage, Failure> {
    let storage = storages::by_id(conn, id)?.filter(|storage| storage.kind == Kind::Datastore).ok_or(Failure::NotFound)?;
    if storage.health == Health::Removed {
        return Err(Failure::refused("storage.removed", "This datastore has been removed. Add it again first."));
    }
    Ok(storage)
}

fn record<R: authorize::Right>(
    tx: &mut crate::db::Tx<'_>,
    granted: &authorize::Granted<R>,
    action: Action,
    storage: &Storage,
    cluster: &str,
) -> Result<(), Failure> {
    let object = Object::new(ObjectKind::Storage, storage.id, storage.name.clone());
    granted.record(tx, &Entry::done(action, object).with(format!("Cluster “{cluster}”.")))
}
