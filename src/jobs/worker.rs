//! Works off the queue: claim, do, report; what cannot be done is tried again later, ever more seldom, and waits for its storage.

use std::{
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::{
    clock,
    db::{events, images, images::Found, jobs, jobs::Job, jobs::Kind, storages},
    domain::{
        audit::{Action, Entry, Object, ObjectKind},
        digest::{Expected, Verdict},
        ids::JobId,
        image::{FileState, Stored},
        storage::Health,
    },
    meter,
    operations::{Failure, Service, check_storage, upload_image},
    secret,
    storage::{Directory, Handle, StorageError},
};

/// A job whose lease was not renewed for so long is taken by another process. Doing one twice does no harm.
const LEASE: Duration = Duration::from_secs(60);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Bytes read at once when a digest is compared.
const READ: usize = 1 << 20;

/// Does everything that is due.
pub async fn work_off(service: &Service) -> Result<(), Failure> {
    while let Some(job) = claim(service).await? {
        let (id, begun) = (job.id, Instant::now());
        let lease = KeepLease::new(service, id);
        let done = attempt(service, &job).await;
        drop(lease);
        let told = match done {
            Ok(()) => service.db.write(move |tx| Ok::<_, Failure>(jobs::done(tx, id)?)).await,
            failed => failed,
        };
        match told {
            Ok(()) => meter::job_done(job.kind.as_str(), begun.elapsed()),
            Err(failed) => {
                let attempts = u32::try_from(job.attempts).unwrap_or(u32::MAX);
                let pause = Duration::from_secs(2_u64.saturating_pow(attempts.min(10))).min(LONGEST_PAUSE);
                tracing::info!(job = %id, kind = job.kind.as_str(), image = %job.image_id, error = %failed, "a job is tried again later");
                let words = failed.to_string();
                service.db.write(move |tx| Ok::<_, Failure>(jobs::put_back(tx, id, &words, clock::now().plus(pause))?)).await?;
            }
        }
    }
    Ok(())
}

async fn claim(service: &Service) -> Result<Option<Job>, Failure> {
    let instance = service.instance;
    service
        .db
        .write(move |tx| {
            let now = clock::now();
            Ok(jobs::claim(tx, instance, now, now.plus(LEASE))?)
        })
        .await
}

/// Renews the lease of a job for as long as it is being done: reading a large image takes longer than the lease.
struct KeepLease(tokio::task::JoinHandle<()>);

impl KeepLease {
    fn new(service: &Service, id: JobId) -> Self {
        let (db, instance) = (service.db.clone(), service.instance);
        Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(LEASE / 3).await;
                let renewed = db.write(move |tx| Ok::<_, Failure>(jobs::renew_lease(tx, id, instance, clock::now().plus(LEASE))?)).await;
                if matches!(renewed, Ok(false)) {
                    return;
                }
            }
        }))
    }
}

impl Drop for KeepLease {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn attempt(service: &Service, job: &Job) -> Result<(), Failure> {
    let (storage_id, image) = (job.storage_id, job.image_id);
    let storage = service.db.read(move |conn| storages::by_id(conn, storage_id)?.ok_or(Failure::NotFound)).await?;
    if storage.health == Health::Removed && job.kind == Kind::VerifyImage {
        // When it is added again, every digest is compared anyway.
        return Ok(());
    }
    if storage.health != Health::Healthy {
        return Err(Failure::refused("storage.degraded", format!("The storage “{}” is {}.", storage.name, storage.health.words())));
    }
    let handle = service.handle(&storage);
    match job.kind {
        Kind::RemoveFiles => remove_files(service, &handle, job).await,
        Kind::WriteManifest | Kind::VerifyImage => {
            let found = service.db.read(move |conn| Ok::<_, Failure>(images::by_id(conn, image)?)).await?;
            let Some(found) = found.filter(|found| found.image.status == Stored::Available) else { return Ok(()) };
            if job.kind == Kind::WriteManifest { write_manifest(&handle, &found).await } else { verify(service, &handle, &found).await }
        }
    }
}

async fn remove_files(service: &Service, handle: &Handle, job: &Job) -> Result<(), Failure> {
    let (id, image) = (job.id, job.image_id);
    // A transfer of this image that has not noticed yet may make its file once more: the record stays until it has ended, so that
    // whatever it leaves is somebody's.
    let busy = service.storages.occupy(image);
    let alone = busy.is_some();
    let removal = move |directory: &Directory| {
        // Occupied until it is done, even if nobody waits for it any more.
        let _busy = busy;
        directory.remove(image)
    };
    handle.run(removal).await?;
    if !alone {
        return Err(Failure::refused("upload.ending", "An upload of it is still ending."));
    }
    service
        .db
        .write(move |tx| {
            let name = crate::db::name_of(tx.conn(), ObjectKind::Image, &image.to_string())?;
            // Together with the job, so that it is not done and told a second time.
            jobs::done(tx, id)?;
            if !images::delete(tx, image)? {
                return Ok(());
            }
            let entry = Entry::done(Action::RemoveFile, Object::new(ObjectKind::Image, image, name));
            Ok(events::insert(tx, &check_storage::watcher(), &entry, clock::now())?)
        })
        .await
}

async fn write_manifest(handle: &Handle, found: &Found) -> Result<(), Failure> {
    let image = &found.image;
    let contents = images::Contents {
        size_bytes: image.size(),
        sha256: image.sha256.clone().unwrap_or_default(),
        format: image.format.clone().unwrap_or_default(),
        label: image.label.clone(),
        publisher: image.publisher.clone(),
        boot: image.boot.clone().unwrap_or_default(),
        verdict: None,
    };
    let manifest = upload_image::manifest(found, &contents);
    Ok(handle.run(move |directory| directory.write_manifest(&manifest)).await?)
}

/// Reads the whole file and compares its digest; whatever differs is *File unavailable* from then on.
async fn verify(service: &Service, handle: &Handle, found: &Found) -> Result<(), Failure> {
    let (image, size, expected) = (found.image.id, found.image.size(), found.image.sha256.clone().unwrap_or_default());
    let hour = Duration::from_secs(3_600);
    let said = found.image.expected_digest.as_ref().and_then(|said| said.parse::<Expected>().ok());
    let wanted = said.filter(|said| matches!(said, Expected::Sha512(_)) && found.image.digest_state.is_none());
    let also = wanted.is_some();
    let digest = handle.run_within(hour, move |directory| {
        let digest = digest_of(directory, image)?;
        let more = match also {
            true => {
                let file = directory.open_file(image)?;
                let read = |offset, buffer: &mut [u8]| {
                    file.read_at(buffer, offset).map_err(|source| StorageError::Io { what: "read the file", source })
                };
                Some(upload_image::sha512_of(read, size)?)
            }
            false => None,
        };
        Ok((digest, more))
    });
    let mut verdict = None;
    let state = match digest.await {
        Ok(((bytes, digest), more)) if bytes == size && digest == expected => {
            verdict = more.zip(wanted).map(|(has, said)| (if has == said.digits() { Verdict::Verified } else { Verdict::Mismatch }, said));
            FileState::Sound
        }
        Ok(_) => FileState::Changed,
        Err(StorageError::FileMissing) => FileState::Missing,
        Err(failed) => return Err(failed.into()),
    };
    let (storage, was) = (found.storage.id, found.image.file_state);
    service
        .db
        .write(move |tx| {
            let now = clock::now();
            if let Some((verdict, said)) = verdict
                && images::expected_digest(tx.conn(), image)?.as_ref() == Some(&said)
            {
                images::expect_digest(tx, image, Some(&said), Some(verdict))?;
            }
            if state == FileState::Sound {
                if images::record_look(tx, image, state, now)? && was != FileState::Sound {
                    let name = crate::db::name_of(tx.conn(), ObjectKind::Image, &image.to_string())?;
                    let entry = Entry::done(Action::FileFound, Object::new(ObjectKind::Image, image, name));
                    events::insert(tx, &check_storage::watcher(), &entry, now)?;
                }
                return Ok(());
            }
            check_storage::record_file(tx, storage, image, state, &check_storage::watcher(), now)
        })
        .await
}

fn digest_of(directory: &Directory, image: crate::domain::ids::ImageId) -> Result<(u64, String), StorageError> {
    use std::io::Read;
    let mut file = directory.open_file(image)?;
    let (mut hash, mut buffer, mut total) = (Sha256::new(), vec![0_u8; READ], 0_u64);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((total, secret::hex(&hash.finalize()))),
            Ok(read) => {
                hash.update(&buffer[..read]);
                total += read as u64;
            }
            Err(interrupted) if interrupted.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(StorageError::Io { what: "read the file", source }),
        }
    }
}
