//! Changes what an administrator wrote about an image: name, note, operating system, requirements.

use std::sync::Arc;

use super::{Failure, Service, create_image, find_image, system_name};
use crate::{
    authorize::{self, Actor, right},
    clock,
    db::{DbError, Taken, images, images::Edit, jobs},
    domain::{
        audit::{Action, Entry, Object, ObjectKind},
        ids::ImageId,
        image::{Kind, Stored},
        text::{FieldError, Name, parse_note},
        version::Expected,
    },
};

/// What was typed.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    pub name: String,
    pub note: String,
    pub os: String,
    pub min_vcpu: String,
    pub min_memory_mib: String,
    pub min_disk_gib: String,
}

/// What is to change; the rest stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub name: Option<String>,
    pub note: Option<String>,
    pub os: Option<String>,
    pub min_vcpu: Option<String>,
    pub min_memory_mib: Option<String>,
    pub min_disk_gib: Option<String>,
}

impl From<&Typed> for Changes {
    /// A form holds everything.
    fn from(typed: &Typed) -> Self {
        let Typed { name, note, os, min_vcpu, min_memory_mib, min_disk_gib } = typed.clone();
        Self {
            name: Some(name),
            note: Some(note),
            os: Some(os),
            min_vcpu: Some(min_vcpu),
            min_memory_mib: Some(min_memory_mib),
            min_disk_gib: Some(min_disk_gib),
        }
    }
}

impl Changes {
    /// The image's present values with the changes. Requirements that are not named follow an operating system that needs more.
    fn applied_to(self, image: &images::Image) -> Typed {
        let present = image.requirements();
        let floor = self.os.as_deref().and_then(create_image::floor).unwrap_or(present);
        let figure = |named: Option<String>, present: i32, floor: i32| named.unwrap_or_else(|| present.max(floor).to_string());
        Typed {
            name: self.name.unwrap_or_else(|| image.name.clone()),
            note: self.note.unwrap_or_else(|| image.note.clone()),
            min_vcpu: figure(self.min_vcpu, present.vcpu, floor.vcpu),
            min_memory_mib: figure(self.min_memory_mib, present.memory_mib, floor.memory_mib),
            min_disk_gib: figure(self.min_disk_gib, present.disk_gib, floor.disk_gib),
            os: self.os.unwrap_or_else(|| image.os.clone()),
        }
    }
}

/// Changes an image that still has one of the expected versions; [`Failure::Stale`] if somebody else was faster.
pub async fn run(service: &Service, actor: &Arc<Actor>, id: ImageId, expected: Expected, changes: Changes) -> Result<(), Failure> {
    authorize::write::<right::UpdateImage, _>(&service.db, actor, id, move |tx, granted| {
        images::lock(tx, id)?;
        let found = find_image(tx.conn(), granted.on())?;
        if !expected.admits(found.image.version) {
            return Err(Failure::Stale);
        }
        if found.image.kind == Kind::VirtualDisk {
            return Err(Failure::refused("image.virtual_disk", "A virtual disk is managed from its virtual machine's page."));
        }
        let edit = parse(&changes.applied_to(&found.image))?;
        if let Some(holder) = images::holder_of_name(tx.conn(), found.storage.id, &edit.name.key())?.filter(|holder| *holder != id) {
            let message = format!("There is an image “{}” on “{}” already. Choose another name.", edit.name, found.storage.name);
            return Err(FieldError { href: Some(format!("/images/{holder}")), ..FieldError::new("name", "name.taken", message) }.into());
        }
        let changed = images::edit(tx, id, found.image.version, &edit).map_err(|failed| match failed {
            DbError::Taken(Taken::ImageName) => Failure::invalid(
                "name",
                "name.taken",
                format!("There is an image “{}” on “{}” already. Choose another name.", edit.name, found.storage.name),
            ),
            other => Failure::Db(other),
        })?;
        if !changed {
            return Err(Failure::Stale);
        }
        if found.image.status == Stored::Available {
            jobs::enqueue(tx, jobs::Kind::WriteManifest, found.storage.id, id, clock::now())?;
        }
        let mut changes = Vec::new();
        if found.image.name != edit.name.as_str() {
            changes.push(format!("Name: {} → {}.", found.image.name, edit.name));
        }
        if found.image.note != edit.note {
            changes.push("Note changed.".to_owned());
        }
        if found.image.os != edit.os {
            changes.push(format!("Operating system: {} → {}.", system_name(&found.image.os), system_name(&edit.os)));
        }
        if found.image.requirements() != edit.requirements {
            changes.push(format!("Requirements: {} → {}.", found.image.requirements().words(), edit.requirements.words()));
        }
        let object = Object::new(ObjectKind::Image, id, edit.name.as_str());
        granted.record(tx, &Entry::done(Action::EditImage, object).with(changes.join(" ")))
    })
    .await?;
    service.wake.notify_one();
    Ok(())
}

fn parse(typed: &Typed) -> Result<Edit, Failure> {
    let mut faults: Vec<FieldError> = Vec::new();
    let name = Name::parse("name", &typed.name).map_err(|fault| faults.push(fault)).ok();
    let note = parse_note("note", &typed.note).map_err(|fault| faults.push(fault)).ok();
    let requirements = create_image::parse_system(&typed.os, &typed.min_vcpu, &typed.min_memory_mib, &typed.min_disk_gib)
        .map_err(|more| faults.extend(more))
        .ok();
    match (name, note, requirements) {
        (Some(name), Some(note), Some(requirements)) => Ok(Edit { name, note, os: typed.os.clone(), requirements }),
        _ => Err(Failure::Invalid(faults)),
    }
}
