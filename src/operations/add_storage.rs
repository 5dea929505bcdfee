//! Adds a storage, or brings a removed one back.
//!
//! A medium is known by the UUID in its marker file, not by path or name. One that carries no marker gets one; one whose UUID belongs to a
//! removed storage brings that storage back, with all its images; one whose UUID nobody knows keeps it, and its files are counted and left
//! alone; one that is in use already is refused.

use std::path::{Path, PathBuf};

use super::{Failure, Service, check_storage, name_taken};
use crate::{
    authorize::{self, Actor, right},
    clock::{self, Timestamp},
    db::{Conn, DbError, Taken, Tx, clusters, drafts, events, events::Author, jobs, storages},
    domain::{
        audit::{Action, Entry, Object, ObjectKind},
        ids::{ClusterId, HostId, StorageId, SubmissionId},
        size,
        storage::{Health, Kind},
        text::{FieldError, Name},
    },
    storage::{Directory, Inspection, StorageError},
};

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub kind: Kind,
    pub name: String,
    pub path: String,
    /// The cluster of a local storage's host.
    pub cluster: Option<ClusterId>,
    /// The clusters to connect a datastore to.
    pub clusters: Vec<ClusterId>,
}

/// A folder that was looked at and can become a storage.
#[derive(Debug, Clone)]
pub struct Inspected {
    kind: Kind,
    name: Name,
    path: PathBuf,
    inspection: Inspection,
    returns: bool,
}

/// A folder that carries its marker.
#[derive(Debug, Clone)]
pub struct Marked {
    id: StorageId,
    inspected: Inspected,
    contents: crate::storage::Contents,
}

/// What happened.
#[derive(Debug, Clone)]
pub struct Added {
    pub id: StorageId,
    pub name: String,
    /// Whether it was here before, and how many images came back with it.
    pub returned: Option<u64>,
    /// Files that lie on it and that the service does not know.
    pub unknown_files: u64,
}

/// Adds a storage for somebody. A form that is sent twice, under one key, adds one.
pub async fn run(service: &Service, actor: &std::sync::Arc<Actor>, asked: Asked, key: Option<SubmissionId>) -> Result<Added, Failure> {
    // The right comes first: who may not add storages learns nothing about folders.
    match asked.kind {
        Kind::Datastore => authorize::read::<right::CreateDatastore, _>(&service.db, actor, authorize::Service, |_, _| Ok(())).await?,
        Kind::Local => {
            let cluster = asked.cluster.ok_or_else(|| Failure::invalid("host", "storage.no_host", "Choose the host."))?;
            authorize::read::<right::CreateLocalStorage, _>(&service.db, actor, cluster, |_, _| Ok(())).await?;
        }
    }
    for cluster in &asked.clusters {
        authorize::read::<right::UpdateCluster, _>(&service.db, actor, *cluster, |conn, granted| {
            // Found now, or the folder would get its marker first.
            let found = clusters::by_id(conn, granted.on())?;
            found.map(drop).ok_or_else(|| Failure::invalid("cluster", "cluster.none", "This cluster does not exist."))
        })
        .await?;
    }
    let inspected = inspect(service, &asked, "name", "path").await?;
    let marked = inspected.mark(service).await?;
    let user = actor.user;
    let author = actor.author();
    let added = authorize_and(service, actor, asked.clone(), move |tx| {
        let now = clock::now();
        let host = match (asked.kind, asked.cluster) {
            (Kind::Local, Some(cluster)) => Some(host_of(tx.conn(), cluster)?),
            _ => None,
        };
        let id = marked.id;
        let added = marked.insert(tx, host, &author, now)?;
        for cluster in &asked.clusters {
            storages::connect(tx, id, *cluster, now)?;
        }
        if let Some(key) = key {
            drafts::submit(tx, key, user, &format!("/{}/{id}", asked.kind.section()), now)?;
        }
        Ok(added)
    })
    .await?;
    service.wake.notify_one();
    Ok(added)
}

/// What stood against a storage at a place, as far as it is the fault of that place.
pub fn as_field_faults(failed: Failure) -> Failure {
    match failed {
        Failure::Db(DbError::Taken(Taken::StoragePath)) => {
            Failure::invalid("path", "storage.nested", "Another storage was added at this folder meanwhile.")
        }
        Failure::Storage(failed) => Failure::invalid("path", "storage.unusable", failed.to_string()),
        other => other,
    }
}

/// The right that the kind of storage needs, in the transaction that adds it.
async fn authorize_and<T: Send + 'static>(
    service: &Service,
    actor: &std::sync::Arc<Actor>,
    asked: Asked,
    change: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match (asked.kind, asked.cluster) {
        (Kind::Local, Some(cluster)) => {
            authorize::write::<right::CreateLocalStorage, _>(&service.db, actor, cluster, |tx, _| change(tx)).await
        }
        _ => authorize::write::<right::CreateDatastore, _>(&service.db, actor, authorize::Service, |tx, _| change(tx)).await,
    }
}

fn host_of(conn: &mut Conn, cluster: ClusterId) -> Result<HostId, Failure> {
    let hosts = clusters::all_hosts(conn)?;
    let host = hosts.into_iter().find(|(host, _)| host.cluster_id == cluster);
    host.map(|(host, _)| host.id)
        .ok_or_else(|| Failure::invalid("host", "storage.no_host", "This cluster has no host for a local storage."))
}

/// Looks at a folder that is to become a storage; every fault that can be found is found here, and nothing is left behind.
pub async fn inspect(service: &Service, asked: &Asked, name_field: &'static str, path_field: &'static str) -> Result<Inspected, Failure> {
    let name = Name::parse(name_field, &asked.name);
    let path = allowed_path(&service.config.storage_roots, &service.config.data_dir, asked.path.trim(), path_field);
    let (name, path) = match (name, path) {
        (Ok(name), Ok(path)) => (name, path),
        (name, path) => return Err(Failure::Invalid(name.err().into_iter().chain(path.err()).collect())),
    };
    let present = service.db.read(|conn| Ok::<_, Failure>(storages::all(conn, None)?)).await?;
    let present: Vec<_> = present.into_iter().filter(|storage| storage.health != Health::Removed).collect();
    refuse_nested(&present, None, &path, path_field)?;
    if let Some(other) = present.iter().find(|other| crate::domain::text::fold(&other.name) == name.key()) {
        let message = format!("There is a storage “{}” already. Choose another name.", other.name);
        let href = Some(format!("/{}/{}", other.kind.section(), other.id));
        return Err(FieldError { href, ..FieldError::new(name_field, "name.taken", message) }.into());
    }
    let inspection = inspect_folder(service, &path, path_field).await?;
    let known = match inspection.marker {
        Some(id) => service.db.read(move |conn| Ok::<_, Failure>(storages::by_id(conn, id)?)).await?,
        None => None,
    };
    if let Some(other) = known.as_ref().filter(|other| other.health != Health::Removed) {
        let message = format!("This is the storage “{}”. If it lies here now, change the path of “{}” instead.", other.name, other.name);
        let href = Some(format!("/{}/{}/edit", other.kind.section(), other.id));
        return Err(FieldError { href, ..FieldError::new(path_field, "storage.known", message) }.into());
    }
    Ok(Inspected { kind: asked.kind, name, path, inspection, returns: known.is_some() })
}

/// Looks at a folder on a thread of its own, so that a medium that hangs holds up nobody else.
pub async fn inspect_folder(service: &Service, path: &Path, field: &'static str) -> Result<Inspection, Failure> {
    let folder = path.to_owned();
    let look = service.storages.visitors().run(std::time::Duration::from_secs(10), move || Directory::inspect(&folder)).await;
    look.map_err(|failed| match failed {
        StorageError::NotThere { .. } => {
            Failure::invalid(field, "storage.not_there", format!("There is no folder {}. Create it first.", path.display()))
        }
        failed => {
            tracing::info!(error = ?failed, path = %path.display(), "a folder cannot become a storage");
            Failure::invalid(field, "storage.unusable", failed.to_string())
        }
    })
}

/// A path below one of the allowed folders, without links or `..` that would lead elsewhere.
pub fn allowed_path(roots: &[PathBuf], data_dir: &Path, typed: &str, field: &'static str) -> Result<PathBuf, FieldError> {
    let fault = |code, message: String| Err(FieldError::new(field, code, message));
    if typed.is_empty() {
        return fault("storage.path", "Give the folder's path.".to_owned());
    }
    if typed.len() > 4_096 || typed.contains('\0') {
        return fault("storage.path", "The path can have at most 4,096 bytes.".to_owned());
    }
    let path = Path::new(typed.trim_end_matches('/'));
    let plain = path.components().all(|part| matches!(part, std::path::Component::RootDir | std::path::Component::Normal(_)));
    if !path.is_absolute() || !plain {
        return fault("storage.path", "Give an absolute path without “..”, such as /srv/images.".to_owned());
    }
    let below = |root: &PathBuf| path.starts_with(root) && path != root;
    if !roots.iter().any(below) {
        let list: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
        let message = format!("Storages may lie below {}. The setting storage_roots allows more.", list.join(", "));
        return fault("storage.not_allowed", message);
    }
    if data_dir.starts_with(path) {
        return fault("storage.not_allowed", "The service's own data folder lies in this folder. Choose another one.".to_owned());
    }
    Ok(path.to_owned())
}

/// Two storages must not lie in one another.
pub fn refuse_nested(present: &[storages::Storage], own: Option<StorageId>, path: &Path, field: &'static str) -> Result<(), Failure> {
    for other in present.iter().filter(|other| Some(other.id) != own) {
        let place = Path::new(&other.path);
        if place.starts_with(path) || path.starts_with(place) {
            let message = if place == path {
                format!("The storage “{}” lies here already.", other.name)
            } else {
                format!("This folder and the storage “{}” at {} lie in one another. Choose another folder.", other.name, other.path)
            };
            let href = Some(format!("/{}/{}", other.kind.section(), other.id));
            return Err(FieldError { href, ..FieldError::new(field, "storage.nested", message) }.into());
        }
    }
    Ok(())
}

impl Inspected {
    /// Gives the medium its marker if it has none, and looks at what lies on it.
    pub async fn mark(self, service: &Service) -> Result<Marked, Failure> {
        let id = self.inspection.marker.unwrap_or_default();
        let handle = service.storages.at(id, &self.path);
        let contents = handle
            .run_within(check_storage::LIST_WITHIN, move |directory| {
                Directory::initialise(directory.root(), id, &clock::now().rfc3339())?;
                directory.contents()
            })
            .await?;
        Ok(Marked { id, inspected: self, contents })
    }
}

impl Marked {
    /// Adds the storage, or brings it back: its images are what they were, each seen through a look at its file, and each file's digest is
    /// checked by a job.
    pub fn insert(self, tx: &mut Tx<'_>, host: Option<HostId>, author: &Author, now: Timestamp) -> Result<Added, Failure> {
        let Self { id, inspected, contents } = self;
        let known = check_storage::known_files(tx.conn(), &contents)?;
        let unknown_files = (contents.images.len() as u64).saturating_sub(known) + contents.unknown + inspected.inspection.others;
        let new = storages::New {
            id,
            kind: inspected.kind,
            host,
            name: inspected.name.clone(),
            path: inspected.path.display().to_string(),
            capacity_bytes: inspected.inspection.space.capacity_bytes,
            free_bytes: inspected.inspection.space.free_bytes,
            unknown_files,
        };
        let name = inspected.name.as_str().to_owned();
        let object = Object::new(ObjectKind::Storage, id, name.clone());
        let taken = "There is a storage of this name already. Choose another name.";
        if !inspected.returns {
            name_taken(storages::insert(tx, &new, now), taken).map_err(|failed| match failed {
                // The medium got its marker from whoever was faster.
                Failure::Db(DbError::Taken(Taken::Id)) => Failure::Db(DbError::Taken(Taken::StoragePath)),
                other => other,
            })?;
            let detail = format!("{} at {}, {} free.", new.kind.words(), new.path, size::words(new.free_bytes));
            events::insert(tx, author, &Entry::done(Action::AddStorage, object).with(detail), now)?;
            return Ok(Added { id, name, returned: None, unknown_files });
        }
        if !name_taken(storages::bring_back(tx, &new, now), taken)? {
            return Err(Failure::Stale);
        }
        let news = check_storage::differences(check_storage::all_available(tx.conn(), id)?, &contents);
        check_storage::apply(tx, id, &news, author, now)?;
        jobs::enqueue_verification(tx, id, now)?;
        jobs::wake(tx, id, now)?;
        let images = storages::image_count(tx.conn(), id)?;
        let detail = format!("At {}, with {}.", new.path, size::counted(images, "image", "images"));
        events::insert(tx, author, &Entry::done(Action::ReturnStorage, object).with(detail), now)?;
        Ok(Added { id, name, returned: Some(images), unknown_files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_lies_where_it_may() {
        let roots = [PathBuf::from("/var/lib/vmimg"), PathBuf::from("/srv")];
        let data = Path::new("/var/lib/vmimg");
        let code = |typed: &str| allowed_path(&roots, data, typed, "path").map_err(|fault| fault.code);
        assert_eq!(code("/srv/images"), Ok(PathBuf::from("/srv/images")));
        assert_eq!(code("/srv/images/"), Ok(PathBuf::from("/srv/images")));
        assert_eq!(code("/var/lib/vmimg/storage"), Ok(PathBuf::from("/var/lib/vmimg/storage")));
        for typed in ["", "srv/x", "/srv/../etc", "./x"] {
            assert_eq!(code(typed), Err("storage.path"), "{typed}");
        }
        for typed in ["/", "/etc", "/srv", "/srvx/y", "/var/lib", "/var/lib/vmimg", "/proc/self"] {
            assert!(code(typed).is_err(), "{typed}");
        }
    }
}
