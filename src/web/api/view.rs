//! What things look like to programs.

use serde::Serialize;
use utoipa::ToSchema;

use super::etag::Versioned;
use crate::{
    clock::Timestamp,
    db::{
        clusters,
        events::Event as StoredEvent,
        images::Found,
        storages::{self, unsigned},
        usage,
    },
    domain::{ids::ClusterId, image::Shown, storage::Health},
    media::os_catalogue,
    operations::system_name,
    web::images::show,
};

/// Something else, by identifier and name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Named {
    #[schema(format = "uuid")]
    pub id: String,
    pub name: String,
}

impl Named {
    /// A thing's identifier and name.
    pub fn new(id: impl ToString, name: impl Into<String>) -> Self {
        Self { id: id.to_string(), name: name.into() }
    }
}

/// An image.
#[derive(Debug, Serialize, ToSchema)]
pub struct Image {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    note: String,
    /// `installation`, `base` or `virtual_disk`.
    r#type: &'static str,
    status: Status,
    storage: StorageOfImage,
    os: System,
    /// Least number of virtual processors.
    min_vcpu: i32,
    /// Least memory, in MiB.
    min_memory_mib: i32,
    /// Least disk, in GiB.
    min_disk_gib: i32,
    /// Bytes of the file: as announced, until it is complete.
    size: u64,
    /// SHA-256 of the file in lower-case hexadecimal digits, once it is complete.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    sha256: Option<String>,
    /// What the digest of the file was said to be, as in `sha256:…` or `sha512:…`.
    expected_digest: Option<String>,
    /// Whether it is: `verified` or `mismatch`, once that is known.
    digest_state: Option<String>,
    /// What the file is, as in `iso9660`.
    format: Option<String>,
    /// The volume label.
    label: Option<String>,
    /// Who published it, by its own words.
    publisher: Option<String>,
    /// How a machine can boot from it: `bios`, `uefi`, both or neither.
    boot: Vec<String>,
    /// The name that the file had where it came from.
    file_name: String,
    /// When the file was last looked at.
    #[schema(format = "date-time")]
    checked_at: Option<String>,
    #[schema(format = "date-time")]
    created_at: String,
    /// The name of who created it.
    created_by: String,
    /// Counts edits; the ETag is made of it.
    version: i64,
    /// The virtual machines that use it.
    machines: Vec<Named>,
}

/// The status of an image.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    /// `available`, `uploading`, `creating`, `pending`, `degraded` or `file_unavailable`.
    code: &'static str,
    /// The cause, and the way out.
    sentence: String,
    #[schema(format = "date-time")]
    since: String,
    /// How far the transfer is, while there is one.
    progress: Option<Progress>,
}

/// How far a transfer is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Progress {
    /// Bytes that are durable on the storage.
    received: u64,
    /// Bytes of the whole file.
    total: u64,
    /// Whole percents.
    #[schema(minimum = 0, maximum = 100)]
    percent: u64,
}

/// The storage of an image.
#[derive(Debug, Serialize, ToSchema)]
pub struct StorageOfImage {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    /// `datastore` or `local`.
    kind: &'static str,
}

/// An operating system of the catalogue.
#[derive(Debug, Serialize, ToSchema)]
pub struct System {
    #[schema(example = "debian-13")]
    id: String,
    name: String,
}

impl Image {
    /// An image with the machines that use it.
    pub fn new(found: &Found, machines: &[usage::Machine]) -> Self {
        let (image, storage, shown) = (&found.image, &found.storage, found.shown());
        let sentence = show::sentence(found).unwrap_or_else(|| shown.meaning().to_owned());
        let since = if storage.health == Health::Healthy { image.status_since } else { storage.health_since };
        let progress = found.upload.as_ref().filter(|_| shown == Shown::Uploading).map(|upload| Progress {
            received: upload.offset(),
            total: upload.declared(),
            percent: upload.percent().unwrap_or(0),
        });
        Self {
            id: image.id.to_string(),
            name: image.name.clone(),
            note: image.note.clone(),
            r#type: image.kind.as_str(),
            status: Status { code: shown.as_str(), sentence, since: since.rfc3339(), progress },
            storage: StorageOfImage { id: storage.id.to_string(), name: storage.name.clone(), kind: storage.kind.as_str() },
            os: System { id: image.os.clone(), name: system_name(&image.os).to_owned() },
            min_vcpu: image.min_vcpu,
            min_memory_mib: image.min_memory_mib,
            min_disk_gib: image.min_disk_gib,
            size: image.size(),
            sha256: image.sha256.clone(),
            expected_digest: image.expected_digest.clone(),
            digest_state: image.digest_state.clone(),
            format: image.format.clone(),
            label: image.label.clone(),
            publisher: image.publisher.clone(),
            boot: image.boot.iter().flat_map(|boot| boot.split(',')).filter(|way| !way.is_empty()).map(str::to_owned).collect(),
            file_name: image.file_name.clone(),
            checked_at: image.file_checked_at.map(|at| Timestamp::from_micros(at).rfc3339()),
            created_at: image.created_at.rfc3339(),
            created_by: image.created_by_name.clone(),
            version: image.version,
            machines: machines.iter().map(|machine| Named::new(machine.id, &machine.name)).collect(),
        }
    }
}

impl Versioned for Image {
    fn version(&self) -> i64 {
        self.version
    }
}

/// A storage.
#[derive(Debug, Serialize, ToSchema)]
pub struct Storage {
    #[schema(format = "uuid")]
    id: String,
    /// `datastore` or `local`.
    kind: &'static str,
    name: String,
    path: String,
    /// `healthy`, `degraded` or `removed`.
    health: &'static str,
    /// Why it is degraded.
    cause: Option<String>,
    #[schema(format = "date-time")]
    health_since: String,
    #[schema(format = "date-time")]
    checked_at: String,
    capacity_bytes: u64,
    free_bytes: u64,
    /// Bytes that are free, but promised to uploads.
    promised_bytes: u64,
    images: u64,
    /// Files that lie on it and that the service does not know.
    unknown_files: u64,
    /// The host of a local storage.
    #[schema(format = "uuid")]
    host: Option<String>,
    /// The clusters that it serves.
    clusters: Vec<Named>,
    #[schema(format = "date-time")]
    created_at: String,
    version: i64,
}

impl Storage {
    /// A storage with what hangs on it.
    pub fn new(storage: &storages::Storage, images: u64, promised_bytes: u64, clusters: &[(ClusterId, String)]) -> Self {
        Self {
            id: storage.id.to_string(),
            kind: storage.kind.as_str(),
            name: storage.name.clone(),
            path: storage.path.clone(),
            health: storage.health.as_str(),
            cause: storage.cause.clone(),
            health_since: storage.health_since.rfc3339(),
            checked_at: storage.checked_at.rfc3339(),
            capacity_bytes: storage.capacity(),
            free_bytes: storage.free(),
            promised_bytes,
            images,
            unknown_files: unsigned(storage.unknown_files),
            host: storage.host_id.clone(),
            clusters: clusters.iter().map(|(id, name)| Named::new(id, name)).collect(),
            created_at: storage.created_at.rfc3339(),
            version: storage.version,
        }
    }
}

impl Versioned for Storage {
    fn version(&self) -> i64 {
        self.version
    }
}

/// A cluster.
#[derive(Debug, Serialize, ToSchema)]
pub struct Cluster {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    note: String,
    /// `healthy`, `partially_unhealthy` or `unhealthy`.
    health: &'static str,
    hosts: u64,
    local_storages: u64,
    datastores: u64,
    machines: u64,
    #[schema(format = "date-time")]
    created_at: String,
    version: i64,
}

impl Cluster {
    /// A cluster with what hangs on it.
    pub fn new(cluster: &clusters::Cluster, hanging: clusters::Hanging) -> Self {
        Self {
            id: cluster.id.to_string(),
            name: cluster.name.clone(),
            note: cluster.note.clone(),
            health: hanging.health().as_str(),
            hosts: unsigned(hanging.hosts),
            local_storages: unsigned(hanging.local_storages),
            datastores: unsigned(hanging.datastores),
            machines: unsigned(hanging.machines),
            created_at: cluster.created_at.rfc3339(),
            version: cluster.version,
        }
    }
}

impl Versioned for Cluster {
    fn version(&self) -> i64 {
        self.version
    }
}

/// A host.
#[derive(Debug, Serialize, ToSchema)]
pub struct Host {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    /// `this_machine`: the one on which the service runs.
    kind: String,
    cluster: Named,
    #[schema(format = "date-time")]
    created_at: String,
}

impl Host {
    /// A host with its cluster.
    pub fn new(host: &clusters::Host, cluster: &clusters::Cluster) -> Self {
        Self {
            id: host.id.to_string(),
            name: host.name.clone(),
            kind: host.kind.clone(),
            cluster: Named::new(cluster.id, &cluster.name),
            created_at: host.created_at.rfc3339(),
        }
    }
}

/// One line of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    #[schema(format = "uuid")]
    id: String,
    #[schema(format = "date-time")]
    at: String,
    actor: Actor,
    /// As in `create_image`.
    action: &'static str,
    object: Object,
    /// `done`, `refused`, `denied` or `failed`.
    outcome: &'static str,
    detail: String,
    address: String,
    request_id: String,
}

/// Who did it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Actor {
    /// None for the service itself and for the command line.
    #[schema(format = "uuid")]
    id: Option<String>,
    name: String,
}

/// What it was done to. The name is kept as it was then.
#[derive(Debug, Serialize, ToSchema)]
pub struct Object {
    /// `service`, `user`, `cluster`, `host`, `storage`, `image` or `token`.
    kind: &'static str,
    id: Option<String>,
    name: String,
}

impl From<&StoredEvent> for Event {
    fn from(event: &StoredEvent) -> Self {
        Self {
            id: event.id.clone(),
            at: event.at.rfc3339(),
            actor: Actor { id: event.actor_id.clone(), name: event.actor_name.clone() },
            action: event.action.as_str(),
            object: Object { kind: event.object_kind.as_str(), id: event.object_id.clone(), name: event.object_name.clone() },
            outcome: event.outcome.as_str(),
            detail: event.detail.clone(),
            address: event.address.clone(),
            request_id: event.request_id.clone(),
        }
    }
}

/// An operating system that an image can install, with the least machine that it needs.
#[derive(Debug, Serialize, ToSchema)]
pub struct OperatingSystem {
    #[schema(example = "debian-13")]
    id: &'static str,
    name: &'static str,
    family: String,
    min_vcpu: u16,
    min_memory_mib: u32,
    min_disk_gib: u32,
}

impl From<&os_catalogue::OperatingSystem> for OperatingSystem {
    fn from(system: &os_catalogue::OperatingSystem) -> Self {
        Self {
            id: system.id,
            name: system.name,
            family: system.family.to_string(),
            min_vcpu: system.min_vcpu,
            min_memory_mib: system.min_memory_mib,
            min_disk_gib: system.min_disk_gib,
        }
    }
}

/// One setting.
#[derive(Debug, Serialize, ToSchema)]
pub struct Setting {
    pub name: &'static str,
    /// The environment variable that sets it.
    pub variable: String,
    /// Its value; `(hidden)` for a secret.
    pub value: String,
    /// Where the value comes from.
    pub source: String,
    pub meaning: &'static str,
}

/// Everything that there is, where a list has no pages.
#[derive(Debug, Serialize, ToSchema)]
pub struct All<T> {
    pub items: Vec<T>,
    /// There is nothing more.
    pub next: Option<String>,
}

impl<T> All<T> {
    /// A list in one piece.
    pub fn of(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Paged<T> {
    pub items: Vec<T>,
    /// Send it as `after` to get what follows; none on the last page.
    pub next: Option<String>,
}
