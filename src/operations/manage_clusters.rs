//! Adds, changes and removes clusters.

use std::sync::Arc;

use super::{Failure, Service, name_taken};
use crate::{
    authorize::{self, Actor, right},
    clock,
    db::{
        DbError,
        clusters::{self, Cluster, Hanging, Host},
        drafts,
    },
    domain::{
        audit::{Action, Entry, Object, ObjectKind},
        ids::{ClusterId, HostId, SubmissionId},
        size,
        text::{Name, parse_note},
        version::Expected,
    },
};

const TAKEN: &str = "There is a cluster of this name already. Choose another name.";

/// A host with its cluster, for somebody who may see that cluster's hosts.
pub async fn find_host(service: &Service, actor: &Arc<Actor>, id: HostId) -> Result<(Host, Cluster), Failure> {
    let cluster = service.db.read(move |conn| Ok::<_, Failure>(clusters::host(conn, id)?.map(|(host, _)| host.cluster_id))).await?;
    let cluster = cluster.ok_or(Failure::NotFound)?;
    authorize::read::<right::ReadHost, _>(&service.db, actor, cluster, move |conn, _| clusters::host(conn, id)?.ok_or(Failure::NotFound))
        .await
}

/// Adds a cluster. A form that is sent twice, under one key, adds one.
pub async fn add(service: &Service, actor: &Arc<Actor>, name: &str, note: &str, key: Option<SubmissionId>) -> Result<ClusterId, Failure> {
    let (id, name, note) = (ClusterId::new(), name.to_owned(), note.to_owned());
    authorize::write::<right::CreateCluster, _>(&service.db, actor, authorize::Service, move |tx, granted| {
        let now = clock::now();
        let (name, note) = parse(&name, &note)?;
        name_taken(clusters::insert(tx, id, &name, &note, now), TAKEN)?;
        if let Some(key) = key {
            drafts::submit(tx, key, granted.actor().user, &format!("/clusters/{id}"), now)?;
        }
        granted.record(tx, &Entry::done(Action::AddCluster, Object::new(ObjectKind::Cluster, id, name.as_str())))?;
        Ok(id)
    })
    .await
}

/// Changes name and note, as far as they are given, of a cluster that still has one of the expected versions.
pub async fn edit(
    service: &Service,
    actor: &Arc<Actor>,
    id: ClusterId,
    expected: Expected,
    name: Option<String>,
    note: Option<String>,
) -> Result<(), Failure> {
    authorize::write::<right::UpdateCluster, _>(&service.db, actor, id, move |tx, granted| {
        let present = clusters::by_id(tx.conn(), id)?.ok_or(Failure::NotFound)?;
        let (name, note) = parse(name.as_ref().unwrap_or(&present.name), note.as_ref().unwrap_or(&present.note))?;
        let admitted = expected.admits(present.version);
        if !admitted || !name_taken(clusters::update(tx, id, present.version, &name, &note), TAKEN)? {
            return Err(Failure::Stale);
        }
        let detail = if present.name == name.as_str() { String::new() } else { format!("Name: {} → {name}.", present.name) };
        granted.record(tx, &Entry::done(Action::EditCluster, Object::new(ObjectKind::Cluster, id, name.as_str())).with(detail))
    })
    .await
}

/// Why a cluster cannot be removed, if so: something hangs on it.
pub fn may_remove(hanging: &Hanging) -> Result<(), String> {
    let parts: Vec<String> = [
        (hanging.hosts, "host", "hosts"),
        (hanging.local_storages, "local storage", "local storages"),
        (hanging.datastores, "connected datastore", "connected datastores"),
        (hanging.machines, "virtual machine", "virtual machines"),
    ]
    .into_iter()
    .filter_map(|(count, one, many)| u64::try_from(count).ok().filter(|count| *count > 0).map(|count| size::counted(count, one, many)))
    .collect();
    if parts.is_empty() { Ok(()) } else { Err(format!("It still has {}. Remove or disconnect them first.", parts.join(", "))) }
}

/// Removes a cluster that still has one of the expected versions and on which nothing hangs; answers its name.
pub async fn remove(service: &Service, actor: &Arc<Actor>, id: ClusterId, expected: Expected) -> Result<String, Failure> {
    authorize::write::<right::DeleteCluster, _>(&service.db, actor, id, move |tx, granted| {
        let cluster = clusters::by_id(tx.conn(), id)?.ok_or(Failure::NotFound)?;
        if !expected.admits(cluster.version) {
            return Err(Failure::Stale);
        }
        let hanging = clusters::hanging(tx.conn())?.remove(&id.to_string()).unwrap_or_default();
        may_remove(&hanging).map_err(|sentence| Failure::refused("cluster.in_use", sentence))?;
        match clusters::delete(tx, id) {
            Err(DbError::InUse) => return Err(Failure::refused("cluster.in_use", "Something was added to it meanwhile. Look again.")),
            other => other?,
        };
        granted.record(tx, &Entry::done(Action::RemoveCluster, Object::new(ObjectKind::Cluster, id, cluster.name.clone())))?;
        Ok(cluster.name)
    })
    .await
}

fn parse(name: &str, note: &str) -> Result<(Name, String), Failure> {
    match (Name::parse("name", name), parse_note("note", note)) {
        (Ok(name), Ok(note)) => Ok((name, note)),
        (name, note) => Err(Failure::Invalid(name.err().into_iter().chain(note.err()).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_goes_only_when_nothing_hangs_on_it() {
        assert_eq!(may_remove(&Hanging::default()), Ok(()));
        let reason = may_remove(&Hanging { hosts: 1, local_storages: 2, ..Hanging::default() }).unwrap_err();
        assert_eq!(reason, "It still has 1 host, 2 local storages. Remove or disconnect them first.");
    }
}
