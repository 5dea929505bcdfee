//! The creation wizard: its answers, what is wrong with them, and the image that comes of them.
//!
//! Nothing can fail late for a reason known early: name, right, storage, space, limit, extension and the first 64 KiB of the file are all
//! looked at here, before the record exists and before the bulk of the bytes is sent. What is refused leaves nothing behind.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Failure, Service, system_name};
use crate::{
    authorize::{self, Actor, Granted, right},
    clock,
    db::{Conn, DbError, Taken, Tx, drafts, images, storages, uploads},
    domain::{
        access::Privilege,
        audit::{Action, Entry, Object, ObjectKind},
        creation,
        digest::Expected,
        ids::{DraftId, ImageId, InstanceId, StorageId},
        image::Kind,
        requirements::{NOTHING, Requirements},
        size,
        text::{FieldError, Name, parse_note},
        upload,
    },
    media::{self, Label, os_catalogue},
};

/// What was typed into the wizard, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answers {
    pub name: String,
    pub note: String,
    pub kind: String,
    pub storage: String,
    pub os: String,
    pub min_vcpu: String,
    pub min_memory_mib: String,
    pub min_disk_gib: String,
    pub file_name: String,
    pub file_size: String,
    /// What the digest of the file is said to be: alone, or a whole checksum list.
    pub digest: String,
    /// The furthest step that has been reached: 1, 2 or 3.
    pub reached: u8,
}

/// What is known of a file before the bulk of its bytes.
#[derive(Debug, Clone, Default)]
pub struct File {
    pub name: String,
    /// Its size, or the most that it can be.
    pub bytes: u64,
    /// Whether `bytes` is exact.
    pub exact: bool,
    /// Its first 64 KiB, or all of it where it is smaller.
    pub head: Bytes,
    /// What its SHA-256 must turn out to be, where the sender says so.
    pub sha256: Option<[u8; 32]>,
}

/// The answers, parsed.
#[derive(Debug, Clone)]
pub struct Plan {
    pub name: Name,
    pub note: String,
    pub kind: Kind,
    pub storage: StorageId,
    pub os: String,
    pub requirements: Requirements,
}

/// A wizard and its answers.
#[derive(Debug, Clone)]
pub struct Wizard {
    pub id: DraftId,
    pub answers: Answers,
    /// The image, once it is made.
    pub image: Option<ImageId>,
}

/// Whether somebody may create images anywhere; asked before a wizard begins. Nothing is kept until its first step is sent.
pub async fn may_begin(service: &Service, actor: &Arc<Actor>) -> Result<(), Failure> {
    authorize::look(&service.db, actor, |conn, viewer| viewer.require(conn, Privilege::CreateImage)).await
}

/// A wizard of the actor's own.
pub fn find(conn: &mut Conn, id: DraftId, actor: &Actor) -> Result<Wizard, Failure> {
    let draft = drafts::by_id(conn, id, actor.user)?.ok_or(Failure::NotFound)?;
    let answers = serde_json::from_str(&draft.answers).map_err(|failed| Failure::Broken(failed.to_string()))?;
    Ok(Wizard { id, answers, image: draft.image_id.and_then(|image| image.parse().ok()) })
}

/// The same, or one that has not been sent yet.
pub fn find_or_new(conn: &mut Conn, id: DraftId, actor: &Actor) -> Result<Wizard, Failure> {
    match find(conn, id, actor) {
        Err(Failure::NotFound) => {
            let answers = Answers { kind: Kind::Installation.as_str().to_owned(), reached: 1, ..Answers::default() };
            Ok(Wizard { id, answers, image: None })
        }
        found => found,
    }
}

/// Keeps answers, right or wrong: nothing typed is asked twice.
pub async fn keep(service: &Service, actor: &Arc<Actor>, id: DraftId, answers: &Answers) -> Result<(), Failure> {
    let answers = to_json(answers)?;
    authorize::anywhere(&service.db, actor, Privilege::CreateImage, move |tx, viewer| {
        let (user, now) = (viewer.actor().user, clock::now());
        if drafts::by_id(tx.conn(), id, user)?.is_some() {
            drafts::set_answers(tx, id, &answers, now)?;
            return Ok(());
        }
        // Somebody else's wizard is answered like one that does not exist.
        drafts::insert(tx, id, user, &answers, now).map_err(|failed| match failed {
            DbError::Taken(_) => Failure::NotFound,
            other => Failure::Db(other),
        })
    })
    .await
}

/// Gives a wizard up.
pub async fn cancel(service: &Service, actor: &Arc<Actor>, id: DraftId) -> Result<(), Failure> {
    authorize::anywhere(&service.db, actor, Privilege::CreateImage, move |tx, viewer| {
        if drafts::by_id(tx.conn(), id, viewer.actor().user)?.is_some() {
            drafts::delete(tx, id)?;
        }
        Ok(())
    })
    .await
}

fn to_json(answers: &Answers) -> Result<String, Failure> {
    serde_json::to_string(answers).map_err(|failed| Failure::Broken(failed.to_string()))
}

/// The faults of the first step.
pub fn check_general(answers: &Answers) -> Vec<FieldError> {
    let mut faults = Vec::new();
    faults.extend(Name::parse("name", &answers.name).err());
    faults.extend(parse_note("note", &answers.note).err());
    faults.extend(parse_kind(&answers.kind).err());
    faults
}

fn parse_kind(typed: &str) -> Result<Kind, FieldError> {
    match typed.parse() {
        Ok(Kind::Installation) => Ok(Kind::Installation),
        Ok(Kind::Base) => Err(FieldError::new("kind", "kind.no_machine", NO_MACHINES)),
        _ => Err(FieldError::new("kind", "kind.none", "Choose what to create.")),
    }
}

/// Why base images cannot be chosen.
pub const NO_MACHINES: &str = "A base image is made of a virtual machine that is shut down. The service knows no virtual machines yet.";

/// The minimum requirements that a system sets.
pub fn floor(os: &str) -> Option<Requirements> {
    if os == os_catalogue::OTHER {
        return Some(NOTHING);
    }
    os_catalogue::find(os).map(|system| Requirements {
        vcpu: i32::from(system.min_vcpu),
        memory_mib: i32::try_from(system.min_memory_mib).unwrap_or(i32::MAX),
        disk_gib: i32::try_from(system.min_disk_gib).unwrap_or(i32::MAX),
    })
}

/// Parses an operating system and its requirements, as typed into the wizard or the edit form.
pub fn parse_system(os: &str, vcpu: &str, memory_mib: &str, disk_gib: &str) -> Result<Requirements, Vec<FieldError>> {
    let floor = floor(os)
        .ok_or_else(|| vec![FieldError::new("os", "os.none", "Choose the operating system, or “Other” if it is not in the list.")])?;
    Requirements::parse(vcpu, memory_mib, disk_gib, floor, system_name(os))
}

/// Parses everything; all faults at once. `bytes` is the file's size where it is known.
pub fn plan(conn: &mut Conn, answers: &Answers, bytes: Option<u64>) -> Result<Result<Plan, Vec<FieldError>>, Failure> {
    let mut faults = check_general(answers);
    let name = Name::parse("name", &answers.name).ok();
    let note = parse_note("note", &answers.note).ok();
    let kind = parse_kind(&answers.kind).ok();
    let requirements = parse_system(&answers.os, &answers.min_vcpu, &answers.min_memory_mib, &answers.min_disk_gib)
        .map_err(|more| faults.extend(more))
        .ok();
    let storage = check_storage(conn, &answers.storage, bytes)?.map_err(|fault| faults.push(fault)).ok();
    if let (Some(name), Some(storage)) = (&name, storage) {
        faults.extend(name_fault(conn, storage, name)?);
    }
    Ok(match (name, note, kind, requirements, storage) {
        (Some(name), Some(note), Some(kind), Some(requirements), Some(storage)) if faults.is_empty() => {
            Ok(Plan { name, note, kind, storage, os: answers.os.clone(), requirements })
        }
        _ => Err(faults),
    })
}

/// The fault of a name that is taken on a storage, with a link to the image that holds it.
pub fn name_fault(conn: &mut Conn, storage: StorageId, name: &Name) -> Result<Option<FieldError>, Failure> {
    let holder = images::holder_of_name(conn, storage, &name.key())?;
    Ok(holder.map(|holder| FieldError { href: Some(format!("/images/{holder}")), ..taken(name) }))
}

fn taken(name: &Name) -> FieldError {
    FieldError::new(
        "name",
        "name.taken",
        format!("There is an image “{name}” on this storage already. Choose another name, or another storage."),
    )
}

/// Whether the chosen storage can take the image.
pub fn check_storage(conn: &mut Conn, chosen: &str, bytes: Option<u64>) -> Result<Result<StorageId, FieldError>, Failure> {
    let Ok(id) = chosen.parse::<StorageId>() else {
        return Ok(Err(FieldError::new("storage", "storage.none", "Choose the storage to save the image to.")));
    };
    let Some(storage) = storages::by_id(conn, id)? else {
        return Ok(Err(FieldError::new("storage", "storage.none", "This storage does not exist. Choose another one.")));
    };
    let promised = storages::promised_on(conn, id)?;
    Ok(creation::may_take(&storage.place(promised), bytes).map(|()| id).map_err(|reason| storage_fault("storage", &storage, &reason)))
}

/// The fault of a field by which this storage was chosen.
pub fn storage_fault(field: &'static str, storage: &storages::Storage, reason: &creation::NoRoom) -> FieldError {
    FieldError::new(field, reason.code(), format!("“{}”: {}", storage.name, reason.sentence()))
}

/// Whether a storage can take any bytes at all.
pub fn check_health(storage: &storages::Storage) -> Result<(), FieldError> {
    creation::may_take(&storage.place(0), None).map_err(|reason| storage_fault("storage", storage, &reason))
}

/// What the file's name, size and first 64 KiB say.
pub fn check_file(file: &File, most_bytes: u64) -> Result<Label, FieldError> {
    upload::check_file(&file.name, file.exact.then_some(file.bytes), most_bytes)?;
    if file.head.is_empty() {
        return Err(FieldError::new("file", "iso.empty", format!("“{}” is empty. Choose another file.", upload::base_name(&file.name))));
    }
    let looked = media::look_at_head(&file.head, file.exact.then_some(file.bytes)).and_then(|label| match label.declared_bytes {
        // Where the size is not known exactly, it is known that it is not more.
        Some(should) if should > file.bytes => Err(media::Refusal::Truncated { has: file.bytes, should }),
        _ => Ok(label),
    });
    looked.map_err(|refusal| FieldError::new("file", refusal.code(), refusal.to_string()))
}

/// What the first look says of a file, for the page: `ISO 9660, “DEBIAN_13”`.
pub fn label_words(label: &Label) -> String {
    let title = label.title().map(|title| format!(", “{title}”")).unwrap_or_default();
    format!("{}{title}", label.format)
}

/// Looks at a chosen file before anything else of it is sent.
pub async fn preflight(service: &Service, actor: &Arc<Actor>, id: DraftId, storage: String, file: &File) -> Result<Label, Failure> {
    let most = service.config.max_upload;
    let label = check_file(file, most)?;
    let bytes = file.bytes;
    authorize::look(&service.db, actor, move |conn, viewer| {
        let wizard = find(conn, id, viewer.actor())?;
        if !storage.is_empty() {
            let storage = check_storage(conn, &storage, Some(bytes))??;
            if let Ok(name) = Name::parse("name", &wizard.answers.name)
                && let Some(fault) = name_fault(conn, storage, &name)?
            {
                return Err(fault.into());
            }
        }
        Ok(())
    })
    .await?;
    Ok(label)
}

/// Makes the image of a wizard: Pending, its space reserved, waiting for this device to send. A wizard makes one image: asked again it
/// answers the same.
pub async fn create(service: &Service, actor: &Arc<Actor>, id: DraftId, file: &File) -> Result<ImageId, Failure> {
    let wizard = {
        let actor = actor.clone();
        service.db.read(move |conn| find(conn, id, &actor)).await?
    };
    if let Some(image) = wizard.image {
        return Ok(image);
    }
    let most = service.config.max_upload;
    let file_fault = check_file(file, most).err();
    let bytes = file.bytes;
    let answers = wizard.answers.clone();
    let checked = service.db.read(move |conn| plan(conn, &answers, Some(bytes))).await?;
    if checked.is_err() {
        // The same form sent twice at once: what the other one made may be the very fault.
        let again = actor.clone();
        if let Some(image) = service.db.read(move |conn| find(conn, id, &again)).await?.image {
            return Ok(image);
        }
    }
    let file_fault = file_fault.or_else(|| Expected::parse("digest", &wizard.answers.digest, &file.name).err());
    let plan_now = agreed(checked, file_fault)?;
    let (file, unfinished, instance) = (Announced::new(&file.name, bytes), service.config.max_unfinished, service.instance);
    authorize::write::<right::CreateImage, _>(&service.db, actor, plan_now.storage, move |tx, granted| {
        storages::lock(tx, granted.on())?;
        let wizard = find(tx.conn(), id, granted.actor())?;
        if let Some(image) = wizard.image {
            return Ok(image);
        }
        let image = make(tx, &granted, &wizard.answers, file, unfinished, instance)?;
        if !drafts::set_image(tx, id, image)? {
            return Err(Failure::Stale);
        }
        Ok(image)
    })
    .await
}

/// Makes an image for a program, which says all at once: Pending, its space reserved, waiting for this token to send the file.
pub async fn announce(service: &Service, actor: &Arc<Actor>, answers: Answers, file_name: &str, bytes: u64) -> Result<ImageId, Failure> {
    // The right comes first: who may not create images learns nothing about storages and names.
    may_begin(service, actor).await?;
    let file_fault = upload::check_file(file_name, Some(bytes), service.config.max_upload).err();
    let file_fault = file_fault.or_else(|| Expected::parse("digest", &answers.digest, file_name).err());
    let asked = answers.clone();
    let plan = agreed(service.db.read(move |conn| plan(conn, &asked, Some(bytes))).await?, file_fault)?;
    let (file, unfinished, instance) = (Announced::new(file_name, bytes), service.config.max_unfinished, service.instance);
    authorize::write::<right::CreateImage, _>(&service.db, actor, plan.storage, move |tx, granted| {
        storages::lock(tx, granted.on())?;
        make(tx, &granted, &answers, file, unfinished, instance)
    })
    .await
}

/// The plan, if nothing stands against it or its file; else all faults at once.
fn agreed(planned: Result<Plan, Vec<FieldError>>, file_fault: Option<FieldError>) -> Result<Plan, Failure> {
    match (planned, file_fault) {
        (Ok(plan), None) => Ok(plan),
        (Ok(_), Some(fault)) => Err(fault.into()),
        (Err(faults), fault) => Err(Failure::Invalid(faults.into_iter().chain(fault).collect())),
    }
}

/// A file that is going to be sent.
struct Announced {
    name: String,
    bytes: u64,
}

impl Announced {
    fn new(name: &str, bytes: u64) -> Self {
        Self { name: upload::clean_name(name), bytes }
    }
}

/// The record of a new image, on a storage that is locked.
fn make(
    tx: &mut Tx<'_>,
    granted: &Granted<right::CreateImage>,
    answers: &Answers,
    file: Announced,
    unfinished: u64,
    instance: InstanceId,
) -> Result<ImageId, Failure> {
    let (now, lease_until) = super::lease();
    let (actor, bytes) = (granted.actor(), file.bytes);
    if uploads::unfinished_of(tx.conn(), actor.user)? >= unfinished {
        let message =
            format!("You have {unfinished} unfinished images, the most there can be. Finish or delete some (setting max_unfinished).");
        return Err(Failure::refused("images.too_many_unfinished", message));
    }
    // Everything once more, now that nobody else can take the space or the name.
    let plan = plan(tx.conn(), answers, Some(bytes))?.map_err(Failure::Invalid)?;
    let expected = Expected::parse("digest", &answers.digest, &file.name)?;
    let image = ImageId::new();
    let new = images::New {
        id: image,
        kind: plan.kind,
        storage: plan.storage,
        name: plan.name.clone(),
        note: plan.note,
        os: plan.os,
        requirements: plan.requirements,
        file_name: file.name,
        size_bytes: bytes,
        reserved_bytes: bytes,
        expected_digest: expected,
        created_by: Some(actor.user),
        created_by_name: actor.name.clone(),
    };
    images::insert(tx, &new, now).map_err(|failed| match failed {
        DbError::Taken(Taken::ImageName) => Failure::from(taken(&new.name)),
        other => Failure::Db(other),
    })?;
    let sender =
        uploads::Sender { device: actor.device.clone(), user: Some(actor.user), user_name: actor.name.clone(), instance, lease_until };
    uploads::begin(tx, image, &sender, (bytes, true), now)?;
    let object = Object::new(ObjectKind::Image, image, new.name.as_str());
    granted.record(tx, &Entry::done(Action::CreateImage, object).with(format!("{}, {}.", new.kind.words(), size::words(bytes))))?;
    Ok(image)
}
