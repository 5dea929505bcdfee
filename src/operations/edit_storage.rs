//! Changes a storage's name and path. A new path must hold the same medium.

use std::{path::Path, sync::Arc};

use super::{Failure, Service, add_storage, check_storage, name_taken};
use crate::{
    authorize::{self, Actor, right},
    db::storages,
    domain::{
        audit::{Action, Entry, Object, ObjectKind},
        ids::StorageId,
        storage::Health,
        text::Name,
        version::Expected,
    },
};

/// Changes name and path, as far as they are given, of a storage that still has one of the expected versions.
pub async fn run(
    service: &Service,
    actor: &Arc<Actor>,
    id: StorageId,
    expected: Expected,
    name: Option<&str>,
    path: Option<&str>,
) -> Result<(), Failure> {
    let (present, others) = authorize::read::<right::UpdateStorage, _>(&service.db, actor, id, |conn, granted| {
        let present = storages::by_id(conn, granted.on())?.ok_or(Failure::NotFound)?;
        check_storage::refuse_removed(&present)?;
        Ok((present, storages::all(conn, None)?))
    })
    .await?;
    if !expected.admits(present.version) {
        return Err(Failure::Stale);
    }
    let name = Name::parse("name", name.unwrap_or(&present.name))?;
    let path = path.unwrap_or(&present.path).trim();
    let moved = path != present.path;
    if moved {
        let folder = add_storage::allowed_path(&service.config.storage_roots, &service.config.data_dir, path, "path")?;
        let others: Vec<_> = others.into_iter().filter(|other| other.health != Health::Removed).collect();
        add_storage::refuse_nested(&others, Some(id), &folder, "path")?;
        let inspection = add_storage::inspect_folder(service, Path::new(&folder), "path").await?;
        if inspection.marker != Some(id) {
            let message = match inspection.marker {
                None => "This folder does not carry the storage's marker: it is another place. Give the folder where the same medium lies."
                    .to_owned(),
                Some(other) => format!("Another storage lies here, with the UUID {other}. Give the folder where the same medium lies."),
            };
            return Err(Failure::invalid("path", "storage.other_medium", message));
        }
    }
    let path = path.trim_end_matches('/').to_owned();
    authorize::write::<right::UpdateStorage, _>(&service.db, actor, id, move |tx, granted| {
        let taken = "There is a storage of this name already. Choose another name.";
        if !name_taken(storages::update(tx, id, present.version, &name, &path), taken)? {
            return Err(Failure::Stale);
        }
        let mut changes = Vec::new();
        if name.as_str() != present.name {
            changes.push(format!("Name: {} → {name}.", present.name));
        }
        if path != present.path {
            changes.push(format!("Path: {} → {path}.", present.path));
        }
        let object = Object::new(ObjectKind::Storage, id, name.as_str());
        granted.record(tx, &Entry::done(Action::EditStorage, object).with(changes.join(" ")))
    })
    .await?;
    if moved {
        let storage = service.db.read(move |conn| storages::by_id(conn, id)?.ok_or(Failure::NotFound)).await?;
        check_storage::look(service, &storage).await?;
    }
    Ok(())
}
