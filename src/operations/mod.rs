//! What an administrator can do, one thing a file: check, change, record and enqueue, in one transaction.
//!
//! An operation is handed the proof of a right ([`crate::authorize::Granted`]), gathers facts, asks the pure rule in [`crate::domain`], and
//! writes. It knows nothing of pages. Bytes are moved outside of transactions, by the storage's own workers.

mod failure;

pub mod add_storage;
pub mod check_image;
pub mod check_storage;
pub mod connect_datastore;
pub mod create_image;
pub mod delete_image;
pub mod download_image;
pub mod edit_image;
pub mod edit_storage;
pub mod expect_digest;
pub mod forget_image;
pub mod manage_clusters;
pub mod manage_people;
pub mod manage_tokens;
pub mod readiness;
pub mod receive_file;
pub mod remove_storage;
pub mod resume_upload;
pub mod same_content;
pub mod seed;
pub mod set_up;
pub mod sign_in;
pub mod stop_upload;
pub mod take_over_upload;
pub mod upload_image;

pub use failure::{Failure, Refusal};

use std::path::Path;

use crate::{
    clock,
    config::Config,
    db::{Conn, Db, DbError, DbResult, Taken, images, images::Found, storages::Storage, usage},
    domain::{
        audit::{Object, ObjectKind},
        deletion::Facts,
        ids::{ImageId, InstanceId},
        text::FieldError,
    },
    media::os_catalogue,
    storage::{Handle, Registry},
};

/// What operations work with. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    /// The records.
    pub db: Db,
    /// The bytes.
    pub storages: Registry,
    /// The settings.
    pub config: std::sync::Arc<Config>,
    /// This process.
    pub instance: InstanceId,
    /// Processes that are gone: they served from the data folder whose lock this one has.
    pub predecessors: std::sync::Arc<[InstanceId]>,
    /// Wakes the worker when a job was enqueued.
    pub wake: std::sync::Arc<tokio::sync::Notify>,
    /// Wakes whoever compares storages with the records.
    pub compare: std::sync::Arc<tokio::sync::Notify>,
    /// Whether this process is to be asked anything, and how much it has to do.
    pub life: std::sync::Arc<readiness::Life>,
}

impl Service {
    /// The bytes of a storage, where it lies by the records.
    pub fn handle(&self, storage: &Storage) -> Handle {
        self.storages.at(storage.id, Path::new(&storage.path))
    }
}

/// An image that is there, or [`Failure::NotFound`].
pub fn find_image(conn: &mut Conn, id: ImageId) -> Result<Found, Failure> {
    images::by_id(conn, id)?.ok_or(Failure::NotFound)
}

/// What the rules about deleting look at.
pub fn deletion_facts(found: &Found, machines: &[usage::Machine], device: &str) -> Facts {
    Facts {
        kind: found.image.kind,
        shown: found.shown(),
        machines: machines.iter().map(|machine| machine.name.clone()).collect(),
        more_machines: 0,
        same_device: !device.is_empty() && found.upload.as_ref().is_some_and(|upload| upload.device == device),
        storage: found.storage.name.clone(),
    }
}

/// An image as the audit log names it.
pub fn image_object(found: &Found) -> Object {
    Object::new(ObjectKind::Image, found.image.id, found.image.name.clone())
}

/// The name of an operating system of the catalogue; *Other* for what it does not know.
pub fn system_name(id: &str) -> &str {
    os_catalogue::find(id).map_or("Other", |system| system.name)
}

/// Turns a name that is taken into the fault of a field.
fn name_taken<T>(written: DbResult<T>, message: &str) -> Result<T, Failure> {
    written.map_err(|failed| match failed {
        DbError::Taken(Taken::StorageName | Taken::ClusterName) => Failure::Invalid(vec![FieldError::new("name", "name.taken", message)]),
        other => Failure::Db(other),
    })
}

/// Runs what takes long on the calculator's threads, not on the ones that serve.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|failed| Failure::Broken(failed.to_string()))
}

/// The present moment and the one until which a lease from now lasts.
fn lease() -> (clock::Timestamp, clock::Timestamp) {
    let now = clock::now();
    (now, now.plus(crate::domain::upload::LEASE))
}
