//! Receives the file of an installation image: begin, bytes, finish. The file comes whole, or in chunks, each of which is a transfer of its
//! own ([`super::resume_upload`]); what came of it before the connection broke is kept where its length is known.
//!
//! Bytes go straight to the target storage. The order at the end is what makes the promise: compare length and content, flush the file,
//! write its manifest, rename it into place, flush the folder, read its size again, and only then say *Available*, in a transaction that
//! names the transfer's fence. If anything stands against it, the file is removed and the image is Pending with the reason.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use sha2::{Digest, Sha512};

use super::{
    Failure, Service,
    create_image::File,
    find_image,
    stop_upload::{self, Done, End},
};
use crate::{
    authorize::{self, Actor, right},
    clock,
    db::{DbError, images, images::Found, jobs, storages, storages::Storage, uploads},
    domain::{
        access::Privilege,
        audit::{Action, Entry, Object, ObjectKind},
        creation,
        digest::{Expected as ExpectedDigest, Verdict},
        ids::{ImageId, InstanceId},
        image::{Kind, Shown, Stored},
        size,
        text::FieldError,
        upload::{self, Due, Stopped},
        version::Expected,
    },
    media,
    meter::{self, Ended, Receiving},
    secret,
    storage::{Busy, Checkpoint, Directory, Handle, Manifest, Part, ReceiveError, Received, Receiver, StorageError},
};

/// How long flushing and publishing a file may take.
const PUBLISH_WITHIN: Duration = Duration::from_secs(300);
/// How long after an upload that failed on its storage that is compared with the records.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// Why an upload stopped that the records would not take.
const NOT_RECORDED: &str = "The database did not answer.";
/// How long a file that is in place waits for a database that is busy.
const RECORD_WITHIN: Duration = Duration::from_secs(60);
/// Bytes read at once when a digest is compared.
const READ: usize = 1 << 20;
/// What is said of an upload whose connection broke.
const CONNECTION_LOST: &str = "The connection was lost.";

/// A transfer under way. Dropped before its end, as when the client's connection breaks, it stops by itself.
pub struct Transfer {
    service: Service,
    actor: Arc<Actor>,
    image: ImageId,
    storage: Storage,
    handle: Handle,
    fence: i64,
    declared: u64,
    /// Whether the file has exactly so many bytes: what was sent of it is kept then.
    exact: bool,
    /// It is a chunk: when its connection breaks the upload stays under its lease, for the next one.
    chunk: bool,
    /// Bytes count at once; not those of a chunk whose checksum is compared at its end.
    counts: bool,
    /// What the sender says that the digest is.
    sha256: Option<[u8; 32]>,
    /// Bytes promised to the transfer in the records: all of them, or none where the medium holds the room.
    promised: u64,
    receiver: Option<Receiver>,
    busy: Arc<Busy>,
    counted: Option<Receiving>,
    checkpoint_at: u64,
    checkpoint_time: Instant,
    /// Something may have been left on the storage.
    left: bool,
}

/// A transfer whose records are made, before its file is open.
pub(super) struct Begun {
    pub image: ImageId,
    pub storage: Storage,
    pub fence: i64,
    /// Bytes of the file, or the most that it can have.
    pub declared: u64,
    /// Which of both.
    pub exact: bool,
    pub chunk: bool,
    pub counts: bool,
    pub sha256: Option<[u8; 32]>,
    /// Bytes promised in the records.
    pub promised: u64,
    /// From where it goes on, if it does.
    pub from: Option<Checkpoint>,
}

/// What became of a checkpoint.
enum Recorded {
    Present,
    Superseded,
    RightLost,
    SignedOut,
}

/// The code of an upload whose session ended before its last byte.
const SESSION_ENDED: &str = "upload.session_ended";
const SIGNED_OUT: &str = "The session that sent it had ended.";

fn signed_out() -> Failure {
    Failure::refused(SESSION_ENDED, "Your session ended during the upload. Sign in again, then send the file from the image's page.")
}

/// Why an image's file cannot be sent now.
pub fn may_begin(found: &Found) -> Result<(), Failure> {
    match (found.image.kind, found.shown()) {
        (Kind::Installation, Shown::Pending) => Ok(()),
        (Kind::Installation, Shown::Uploading) => {
            Err(Failure::refused("upload.under_way", "This image is being uploaded already. Wait until that ends, or cancel it."))
        }
        (Kind::Installation, Shown::Available) => Err(Failure::refused(
            "image.complete",
            "This image has its file already. To replace it, create another image and delete this one.",
        )),
        (Kind::Installation, Shown::Degraded) => Err(Failure::refused(
            "storage.degraded",
            format!("The storage “{}” is degraded. Send the file when it is healthy again.", found.storage.name),
        )),
        (Kind::Installation, _) => Err(Failure::refused(
            "image.file_unavailable",
            format!("The storage “{}” has been removed. Add it again, then send the file.", found.storage.name),
        )),
        _ => Err(Failure::refused("image.not_uploaded", "Only installation images are uploaded.")),
    }
}

/// Begins the transfer of an image's whole file: everything that is known of it is checked first, its space is reserved. What was kept of
/// an earlier one is dropped.
pub async fn begin(
    service: &Service,
    actor: &Arc<Actor>,
    image: ImageId,
    expected: Expected,
    file: &File,
) -> Result<Box<Transfer>, Failure> {
    super::create_image::check_file(file, service.config.max_upload)?;
    let busy = service
        .storages
        .occupy(image)
        .ok_or_else(|| Failure::refused("upload.ending", "An earlier upload of this image is still ending. Try again in a few seconds."))?;
    let (bytes, exact, name, instance) = (file.bytes, file.exact, upload::clean_name(&file.name), service.instance);
    let (storage, fence) = authorize::write::<right::UpdateImage, _>(&service.db, actor, image, move |tx, granted| {
        let (now, lease_until) = super::lease();
        let found = find_image(tx.conn(), granted.on())?;
        granted.also::<right::CreateImage>(tx.conn(), found.storage.id)?;
        if !expected.admits(found.image.version) {
            return Err(Failure::Stale);
        }
        may_begin(&found)?;
        storages::lock(tx, found.storage.id)?;
        // What was promised to this image before does not stand in its own way.
        images::set_reserved(tx, image, 0)?;
        let promised = storages::promised_on(tx.conn(), found.storage.id)?;
        creation::may_take(&found.storage.place(promised), Some(bytes))
            .map_err(|reason| super::create_image::storage_fault("file", &found.storage, &reason))?;
        let sender = sender(granted.actor(), instance, lease_until);
        let fence = uploads::begin(tx, image, &sender, (bytes, exact), now)?;
        if !images::begin_upload(tx, image, &name, bytes, now)? {
            return Err(Failure::Stale);
        }
        let object = super::image_object(&found);
        granted.record(tx, &Entry::done(Action::BeginUpload, object).with(format!("“{name}”, {}.", size::words(bytes))))?;
        Ok((found.storage, fence))
    })
    .await?;
    let (counts, sha256) = (true, file.sha256);
    let begun = Begun { image, storage, fence, declared: bytes, exact, chunk: false, counts, sha256, promised: bytes, from: None };
    Transfer::open(service, actor, busy, begun).await
}

/// Whoever asks, as the sender of an upload.
pub(super) fn sender(actor: &Actor, instance: InstanceId, lease_until: clock::Timestamp) -> uploads::Sender {
    uploads::Sender { device: actor.device.clone(), user: Some(actor.user), user_name: actor.name.clone(), instance, lease_until }
}

impl Transfer {
    /// Makes or opens the file. In a box: a silent client's tasks would hold it once for each function that it is handed to.
    pub(super) async fn open(service: &Service, actor: &Arc<Actor>, busy: Busy, begun: Begun) -> Result<Box<Self>, Failure> {
        let handle = service.handle(&begun.storage);
        let counted = Some(Receiving::begin(&begun.storage.name));
        let Begun { image, storage, fence, declared, exact, chunk, counts, sha256, promised, from } = begun;
        let mut transfer = Box::new(Self {
            service: service.clone(),
            actor: actor.clone(),
            image,
            storage,
            handle,
            fence,
            declared,
            exact,
            chunk,
            counts,
            sha256,
            promised,
            receiver: None,
            busy: Arc::new(busy),
            counted,
            checkpoint_at: from.as_ref().map_or(0, |from| from.offset),
            checkpoint_time: Instant::now(),
            left: false,
        });
        let opened = match from {
            None => transfer.create().await,
            Some(from) => transfer.reopen(from).await,
        };
        match opened {
            Ok(receiver) => {
                let room_is_claimed = receiver.room_is_claimed();
                transfer.receiver = Some(receiver);
                if room_is_claimed && transfer.promised > 0 {
                    // The medium counts the room as used from now on; promising it as well would count it twice.
                    let spent = std::mem::take(&mut transfer.promised).saturating_sub(transfer.checkpoint_at);
                    let (storage, fence) = (transfer.storage.id, transfer.fence);
                    let claimed = service.db.write(move |tx| {
                        images::lock(tx, image)?;
                        if uploads::is_present(tx.conn(), image, fence)? {
                            images::set_reserved(tx, image, 0)?;
                            storages::spend(tx, storage, spent)?;
                        }
                        Ok::<_, Failure>(())
                    });
                    if let Err(failed) = claimed.await {
                        return Err(transfer.stop(Stopped::Interrupted, NOT_RECORDED.to_owned(), failed).await);
                    }
                }
                Ok(transfer)
            }
            // The records say whose turn it is; whoever had it before still holds the file.
            Err(StorageError::PartInUse) if transfer.chunk => Err(super::resume_upload::locked()),
            Err(
                failed @ (StorageError::FileMissing
                | StorageError::WrongSize { .. }
                | StorageError::BadCheckpoint
                | StorageError::NotARegularFile),
            ) if transfer.checkpoint_at > 0 => {
                let detail = format!("What had been sent is not on the storage any more: {failed}");
                transfer.end(Stopped::StorageFailed, detail, false).await;
                Err(Failure::refused_at(
                    0,
                    "upload.bytes_lost",
                    "What had been sent is not on the storage any more. Send the file from its beginning.",
                ))
            }
            Err(failed) => {
                tracing::warn!(image = %image, error = ?failed, "the storage could not take an upload");
                transfer.end(Stopped::StorageFailed, failed.to_string(), true).await;
                Err(Failure::Storage(failed))
            }
        }
    }

    async fn create(&self) -> Result<Receiver, StorageError> {
        // An earlier transfer of this image may have left something.
        self.remove(|directory, image| directory.remove(image)).await?;
        let expected = self.exact.then_some(self.declared);
        Receiver::begin(self.handle.directory.clone(), self.handle.workers.clone(), self.image, expected, self.declared).await
    }

    async fn reopen(&self, from: Checkpoint) -> Result<Receiver, StorageError> {
        let open = |from| {
            let (directory, workers) = (self.handle.directory.clone(), self.handle.workers.clone());
            Receiver::resume(directory, workers, self.image, Some(self.declared), self.declared, from)
        };
        match open(from.clone()).await {
            Err(StorageError::FileMissing) => {
                // The service may have stopped between renaming the file and recording it.
                self.remove(|directory, image| directory.take_back(image)).await?;
                open(from).await
            }
            other => other,
        }
    }

    /// Bytes that have arrived.
    pub fn received(&self) -> u64 {
        self.receiver.as_ref().map_or(self.checkpoint_at, Receiver::received)
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.exact && self.received() == self.declared
    }

    /// What its sender is waited for by, and may be taken for dead by.
    pub fn busy(&self) -> Arc<Busy> {
        self.busy.clone()
    }

    /// Takes the next bytes. After an error the transfer is over and the image is Pending.
    pub async fn push(&mut self, bytes: Bytes) -> Result<(), Failure> {
        let Some(receiver) = &mut self.receiver else { return Err(Failure::Broken("the transfer is over".to_owned())) };
        let length = bytes.len();
        if let Err(failed) = receiver.push(bytes).await {
            return Err(Box::pin(self.fail(failed)).await);
        }
        if let Some(counted) = &self.counted {
            counted.bytes(length);
        }
        let received = receiver.received();
        if let Some(due) = upload::checkpoint_due(received - self.checkpoint_at, self.checkpoint_time.elapsed()) {
            // Apart, as everything that is rare: the task of a client that is silent has no room for it.
            Box::pin(self.checkpoint(due == Due::Drip, false)).await?;
        }
        Ok(())
    }

    /// The client has been silent for a while: what arrived is made durable, and no file handle is held until it goes on.
    pub async fn rest(&mut self) -> Result<(), Failure> {
        if self.receiver.as_ref().is_some_and(|receiver| receiver.received() > self.checkpoint_at) {
            Box::pin(self.checkpoint(true, false)).await?;
        }
        Ok(())
    }

    /// `must`: whoever sent the bytes will be told that they are there.
    async fn checkpoint(&mut self, resting: bool, must: bool) -> Result<(), Failure> {
        let Some(receiver) = &mut self.receiver else { return Ok(()) };
        let reached = if resting { receiver.rest().await } else { receiver.checkpoint().await };
        let reached = match reached {
            Ok(reached) => reached,
            Err(failed) => return Err(self.fail(failed).await),
        };
        (self.checkpoint_at, self.checkpoint_time) = (reached.offset, Instant::now());
        match self.record_offset(reached).await {
            Ok(Recorded::Present) => Ok(()),
            Ok(Recorded::Superseded) => Err(self.give_up().await),
            Ok(Recorded::RightLost) => {
                self.end(Stopped::RightLost, String::new(), true).await;
                Err(Failure::refused("upload.right_lost", Stopped::RightLost.words()))
            }
            Ok(Recorded::SignedOut) => {
                self.end(Stopped::RightLost, SIGNED_OUT.to_owned(), true).await;
                Err(signed_out())
            }
            // The bytes are safe and the lease still runs: the next checkpoint tries again.
            Err(Failure::Db(DbError::Busy(cause) | DbError::Unreachable(cause))) if !must => {
                tracing::warn!(image = %self.image, %cause, "an upload's offset could not be recorded");
                Ok(())
            }
            // Nothing is acknowledged: the sender asks how far it has come, and goes on from there.
            Err(failed) if self.chunk => Err(failed),
            Err(failed) => {
                self.end(Stopped::Interrupted, NOT_RECORDED.to_owned(), true).await;
                Err(failed)
            }
        }
    }

    /// Records what is durable, renews the lease, and asks whether the sender may still send.
    async fn record_offset(&self, reached: Checkpoint) -> Result<Recorded, Failure> {
        let (image, fence, promised) = (self.image, self.fence, self.promised);
        // An upload that has all its bytes in the records would look complete to whoever asks before it is published.
        let counts = self.counts && !(self.exact && reached.offset == self.declared);
        let actor = self.actor.clone();
        let recorded = self.service.db.write(move |tx| {
            let lease_until = super::lease().1;
            images::lock(tx, image)?;
            let is_present = if counts {
                uploads::record_offset(tx, image, fence, reached.offset, &reached.hash_state, lease_until)?
            } else {
                uploads::renew_lease(tx, image, fence, lease_until)?
            };
            if !is_present {
                return Ok(Recorded::Superseded);
            }
            if counts {
                images::set_reserved(tx, image, promised.saturating_sub(reached.offset))?;
            }
            // The upload is a sign of life of its session; and whoever has lost session, token or right goes no further.
            if !authorize::is_signed_in(tx, &actor)? {
                return Ok(Recorded::SignedOut);
            }
            let permitted = authorize::may_go_on(tx, &actor, &[Privilege::UpdateImage, Privilege::CreateImage])?;
            Ok::<_, Failure>(if permitted { Recorded::Present } else { Recorded::RightLost })
        });
        recorded.await
    }

    /// The end of a chunk that is not the last one: what arrived is durable and recorded, and the upload waits for the next one under its
    /// lease. Answers how far it has come.
    pub async fn rest_until_next(mut self) -> Result<u64, Failure> {
        // Its checksum, if it had one, has been compared by now.
        self.counts = true;
        // Closed, so that the next one need not wait for it.
        self.checkpoint(true, true).await?;
        drop(self.receiver.take());
        Ok(self.checkpoint_at)
    }

    /// A chunk is not what it should be: nothing of it counts, and the upload is where it was before.
    pub async fn forget_chunk(mut self) {
        // What the file has beyond the recorded offset is cut off when the upload goes on.
        drop(self.receiver.take());
        let (image, fence) = (self.image, self.fence);
        let renewed = self.service.db.write(move |tx| Ok::<_, Failure>(uploads::renew_lease(tx, image, fence, super::lease().1)?));
        if let Err(failed) = renewed.await {
            tracing::warn!(%image, error = %failed, "the lease of an upload could not be renewed");
        }
    }

    /// The sender is gone. A chunk leaves the upload under its lease for the next one; a whole file is interrupted. What arrived is kept
    /// as far as it becomes durable.
    pub async fn lost(mut self, detail: String) {
        if self.chunk {
            self.settle().await;
        } else {
            self.end(Stopped::Interrupted, detail, true).await;
        }
    }

    /// Makes durable and records what arrived, as far as that can be.
    async fn settle(&mut self) {
        let Some(mut receiver) = self.receiver.take() else { return };
        if !self.counts || !self.exact || receiver.received() == self.checkpoint_at {
            return;
        }
        let reached = match receiver.rest().await {
            Ok(reached) => reached,
            Err(failed) => return tracing::info!(image = %self.image, error = %failed, "the last bytes of an upload are lost"),
        };
        self.checkpoint_at = reached.offset;
        if let Err(failed) = self.record_offset(reached).await {
            tracing::warn!(image = %self.image, error = %failed, "the last bytes of an upload could not be recorded");
        }
    }

    /// All bytes are here: checks, publishes and says so. Not to be cut off: run it on a task of its own.
    pub async fn finish(mut self) -> Result<(), Failure> {
        let Some(receiver) = self.receiver.take() else { return Err(Failure::Broken("the transfer is over".to_owned())) };
        let _lease = KeepLease::new(&self);
        self.busy.checks();
        let received = match receiver.finish().await {
            Ok(received) => received,
            Err(failed) => return Err(self.fail(failed).await),
        };
        let Received { part, bytes, sha256 } = received;
        if let Some(expected) = self.sha256.filter(|expected| *expected != sha256) {
            let detail =
                format!("The file that arrived has the SHA-256 {}, not the announced {}.", secret::hex(&sha256), secret::hex(&expected));
            drop(part);
            return Err(self.stop(Stopped::Refused, detail.clone(), Failure::invalid("file", "upload.hash_mismatch", detail)).await);
        }
        let (part, verdict) = match self.compare_digest(part, bytes, &sha256).await {
            Ok(compared) => compared,
            Err(failed) => return Err(failed),
        };
        let looked = self
            .handle
            .run_within(PUBLISH_WITHIN, move |_| {
                let looked = media::look_at_file(&Readable(&part), bytes);
                Ok((looked.map_err(|failed| failed.to_string()), part))
            })
            .await;
        let (label, part) = match looked {
            Ok((Ok(Ok(label)), part)) => (label, part),
            Ok((Ok(Err(refusal)), _)) => {
                let fault = FieldError::new("file", refusal.code(), refusal.to_string());
                return Err(self.stop(Stopped::Refused, fault.message.clone(), fault.into()).await);
            }
            Ok((Err(failed), _)) => {
                let detail = format!("The storage could not read the file again: {failed}.");
                return Err(self.stop(Stopped::StorageFailed, detail.clone(), Failure::Broken(detail)).await);
            }
            Err(failed) => return Err(self.fail(ReceiveError::Storage(failed)).await),
        };
        let boot = match (label.bios, label.uefi) {
            (true, true) => "bios,uefi",
            (true, false) => "bios",
            (false, true) => "uefi",
            (false, false) => "",
        };
        let contents = images::Contents {
            size_bytes: bytes,
            sha256: secret::hex(&sha256),
            format: label.format.as_str().to_owned(),
            label: label.title().map(str::to_owned),
            publisher: label.publisher.clone(),
            boot: boot.to_owned(),
            verdict,
        };
        self.publish(part, contents).await
    }

    /// Compares the file with the digest that it was said to have, before anything parses it.
    async fn compare_digest(&mut self, part: Part, bytes: u64, sha256: &[u8; 32]) -> Result<(Part, Option<Verdict>), Failure> {
        let image = self.image;
        let expected = self.service.db.read(move |conn| Ok::<_, Failure>(images::expected_digest(conn, image)?)).await;
        let expected = match expected {
            Ok(Some(expected)) => expected,
            Ok(None) => return Ok((part, None)),
            Err(failed) => {
                self.end(Stopped::Interrupted, NOT_RECORDED.to_owned(), true).await;
                return Err(failed);
            }
        };
        let (part, has) = match &expected {
            ExpectedDigest::Sha256(_) => (part, secret::hex(sha256)),
            // Seldom asked for, and so not summed up on the way: the file is read once more.
            ExpectedDigest::Sha512(_) => {
                let read = self.handle.run_within(PUBLISH_WITHIN, move |_| {
                    let digest = sha512_of(|offset, buffer| part.read_at(offset, buffer), bytes)?;
                    Ok((part, digest))
                });
                match read.await {
                    Ok(read) => read,
                    Err(failed) => return Err(self.fail(ReceiveError::Storage(failed)).await),
                }
            }
        };
        if has == expected.digits() {
            return Ok((part, Some(Verdict::Verified)));
        }
        drop(part);
        let detail = format!("The file that arrived has the {} {has}, not the expected {}.", expected.algorithm(), expected.digits());
        self.end(Stopped::Refused, detail.clone(), false).await;
        Err(Failure::invalid("file", "upload.hash_mismatch", detail))
    }

    async fn publish(mut self, part: Part, contents: images::Contents) -> Result<(), Failure> {
        let image = self.image;
        let found = self.service.db.read(move |conn| Ok::<_, Failure>(images::by_id(conn, image)?)).await?;
        let Some(found) = found else { return Err(self.give_up().await) };
        let (manifest, version) = (manifest(&found, &contents), found.image.version);
        let bytes = contents.size_bytes;
        let published = self.handle.run_within(PUBLISH_WITHIN, move |directory| directory.publish(image, part, bytes, &manifest)).await;
        if let Err(failed) = published {
            return Err(self.fail(ReceiveError::Storage(failed)).await);
        }
        let until = Instant::now() + RECORD_WITHIN;
        let mut tried = false;
        let recorded = loop {
            match self.record(&contents, version).await {
                // Whether an attempt that failed was written after all nobody can know at once. But it is written only while the fence is
                // the present one, and so only once; the file is in place, and the lease is kept.
                Err(Failure::Db(failed)) if Instant::now() < until => {
                    tracing::warn!(%image, cause = %failed, "a complete upload waits for its record");
                    tried = true;
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                Err(Failure::Stale) if tried && self.is_recorded(&contents).await => break Ok(()),
                recorded => break recorded,
            }
        };
        match recorded {
            Ok(()) => {
                meter::upload_ended(Ended::Completed);
                Ok(())
            }
            Err(Failure::Unseen | Failure::Denied { .. } | Failure::OutOfScope { .. } | Failure::TokenEnded) => {
                self.take_back().await;
                let failure = Failure::refused("upload.right_lost", Stopped::RightLost.words());
                Err(self.stop(Stopped::RightLost, String::new(), failure).await)
            }
            Err(failure) if failure.code() == Some(SESSION_ENDED) => {
                self.take_back().await;
                Err(self.stop(Stopped::RightLost, SIGNED_OUT.to_owned(), failure).await)
            }
            Err(Failure::Stale) => Err(self.give_up().await),
            // Still unknown: the file stays. When the lease has run out, a comparison with the records decides.
            Err(unknown) => Err(unknown),
        }
    }

    async fn record(&self, contents: &images::Contents, version: i64) -> Result<(), Failure> {
        let (image, fence, storage, contents) = (self.image, self.fence, self.storage.id, contents.clone());
        authorize::write::<right::UpdateImage, _>(&self.service.db, &self.actor, image, move |tx, granted| {
            granted.also::<right::CreateImage>(tx.conn(), storage)?;
            if !authorize::is_signed_in(tx, granted.actor())? {
                return Err(signed_out());
            }
            if !images::publish(tx, image, fence, &contents, clock::now())? {
                return Err(Failure::Stale);
            }
            uploads::delete(tx, image)?;
            if images::by_id(tx.conn(), image)?.is_some_and(|found| found.image.version != version) {
                // Somebody edited the image after its description was written.
                jobs::enqueue(tx, jobs::Kind::WriteManifest, storage, image, clock::now())?;
            }
            let name = crate::db::name_of(tx.conn(), ObjectKind::Image, &image.to_string())?;
            let object = Object::new(ObjectKind::Image, image, name);
            let detail = format!("{}, SHA-256 {}.", size::exact(contents.size_bytes), contents.sha256);
            granted.record(tx, &Entry::done(Action::CompleteUpload, object).with(detail))
        })
        .await
    }

    /// Whether an attempt to record that was not answered was written after all. Nobody else can have completed this image meanwhile: its
    /// files are occupied.
    async fn is_recorded(&self, contents: &images::Contents) -> bool {
        let image = self.image;
        let found = self.service.db.read(move |conn| Ok::<_, Failure>(images::by_id(conn, image)?)).await;
        let same = |found: &Found| found.image.status == Stored::Available && found.image.sha256.as_deref() == Some(&contents.sha256);
        matches!(found, Ok(Some(found)) if same(&found))
    }

    /// Removes something of the image's. The files stay occupied until that is done, even if nobody waits for it any more.
    async fn remove(&self, what: fn(&Directory, ImageId) -> Result<(), StorageError>) -> Result<(), StorageError> {
        let (image, busy) = (self.image, self.busy.clone());
        let job = move |directory: &Directory| {
            let _busy = busy;
            what(directory, image)
        };
        self.handle.run(job).await
    }

    /// The file is in place, and will not be its image's for now.
    async fn take_back(&mut self) {
        if let Err(failed) = self.remove(|directory, image| directory.take_back(image)).await {
            tracing::warn!(image = %self.image, error = %failed, "a file that is nobody's stays until the storage is looked through");
            self.left = true;
        }
    }

    /// The storage or the client's bytes stood against it.
    async fn fail(&mut self, failed: ReceiveError) -> Failure {
        match failed {
            ReceiveError::Storage(failed) => {
                tracing::warn!(image = %self.image, error = ?failed, "upload stopped by its storage");
                let detail = failed.to_string();
                self.end(Stopped::StorageFailed, detail, failed.part_survives()).await;
                Failure::Storage(failed)
            }
            ReceiveError::TooLong { .. } if self.chunk => {
                let at = self.checkpoint_at;
                drop(self.receiver.take());
                Failure::refused_at(
                    at,
                    "upload.beyond_length",
                    format!("The upload has {}; the chunk runs past that.", size::exact(self.declared)),
                )
            }
            ReceiveError::TooLong { .. } => {
                let detail = format!("More than the announced {} arrived.", size::exact(self.declared));
                self.end(Stopped::Refused, detail.clone(), false).await;
                Failure::invalid("file", "upload.too_long", detail)
            }
            ReceiveError::Incomplete { has, should } => {
                let detail = format!("Only {} of {} arrived.", size::exact(has), size::exact(should));
                self.end(Stopped::Interrupted, detail.clone(), true).await;
                Failure::invalid("file", "upload.incomplete", detail)
            }
        }
    }

    /// The image is no longer waiting for these bytes: deleted, its storage removed, the upload given up or continued by somebody else.
    /// What is not theirs is dropped.
    async fn give_up(&mut self) -> Failure {
        let image = self.image;
        let found = self.service.db.read(move |conn| Ok::<_, Failure>((images::by_id(conn, image)?, uploads::of(conn, image)?))).await;
        match found {
            Ok((Some(found), _)) if found.image.status == Stored::Available => drop(self.receiver.take()),
            Ok((_, Some(theirs))) if theirs.stopped().is_none() || theirs.expires_at().is_some() => {
                drop(self.receiver.take());
                let sentence = match theirs.stopped() {
                    None => "Another request goes on with this upload. Ask how far it has come.".to_owned(),
                    // Such as the removal of its storage, which keeps what is there.
                    Some(why) => format!("{} {} of it are kept.", why.words(), size::words(theirs.kept())),
                };
                return Failure::refused_at(theirs.kept(), "upload.superseded", sentence);
            }
            // Unknown: a comparison of the storage with the records decides.
            Err(_) => {
                drop(self.receiver.take());
                self.left = true;
            }
            Ok(_) => {
                drop(self.receiver.take());
                if let Err(failed) = self.remove(|directory, image| directory.remove(image)).await {
                    tracing::warn!(%image, error = %failed, "a file that is nobody's stays until the storage is looked through");
                    self.left = true;
                }
            }
        }
        Failure::refused(
            "upload.superseded",
            "The image was deleted, its upload given up, or its storage removed while the file arrived. Nothing of it was kept.",
        )
    }

    /// Ends the transfer for a reason of the caller's; answers `failure`.
    pub async fn stop(mut self, why: Stopped, detail: String, failure: Failure) -> Failure {
        self.end(why, detail, true).await;
        failure
    }

    /// Ends the transfer. `survives`: whether the storage has what was sent, as far as anybody knows.
    async fn end(&mut self, why: Stopped, detail: String, survives: bool) {
        let keeps = why.keeps() && survives && self.exact;
        if why == Stopped::StorageFailed {
            self.left = true;
        }
        if !keeps {
            self.drop_bytes().await;
        } else if why == Stopped::StorageFailed {
            // What was recorded is there; a storage that failed is not asked for more.
            drop(self.receiver.take());
        } else {
            self.settle().await;
        }
        let end = End { survives, ..End::of(why, Ended::Failed, detail) };
        match stop_upload::run(&self.service, self.image, self.fence, end, self.actor.author()).await {
            Ok(Done { kept: false, .. }) if keeps => self.drop_bytes().await,
            Ok(_) => {}
            Err(failed) => {
                tracing::warn!(image = %self.image, error = %failed, "a stopped upload could not be recorded; its lease will run out");
            }
        }
    }

    async fn drop_bytes(&mut self) {
        let dropped = match self.receiver.take() {
            Some(receiver) => receiver.abandon().await,
            None => self.remove(|directory, image| directory.remove_part(image)).await,
        };
        if let Err(failed) = dropped {
            tracing::info!(image = %self.image, error = %failed, "the bytes of a stopped upload stay until the storage is looked through");
            self.left = true;
        }
    }
}

impl Drop for Transfer {
    /// The connection broke and the request's task was dropped with it.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.left {
            // Cleaning up can fail for the same reason as the upload did: the storage is looked through once its files are free again.
            let compare = self.service.compare.clone();
            runtime.spawn(async move {
                tokio::time::sleep(LOOK_AFTER).await;
                compare.notify_one();
            });
        }
        let Some(receiver) = self.receiver.take() else { return };
        let rest = Self {
            service: self.service.clone(),
            actor: self.actor.clone(),
            image: self.image,
            storage: self.storage.clone(),
            handle: self.handle.clone(),
            fence: self.fence,
            declared: self.declared,
            exact: self.exact,
            chunk: self.chunk,
            counts: self.counts,
            sha256: self.sha256,
            promised: self.promised,
            receiver: Some(receiver),
            // Nobody else begins before this end.
            busy: self.busy.clone(),
            counted: self.counted.take(),
            checkpoint_at: self.checkpoint_at,
            checkpoint_time: self.checkpoint_time,
            left: false,
        };
        runtime.spawn(rest.lost(CONNECTION_LOST.to_owned()));
    }
}

/// Renews the lease of a transfer for as long as it lives: flushing and publishing a large file can take longer than the lease.
struct KeepLease(tokio::task::JoinHandle<()>);

impl KeepLease {
    fn new(transfer: &Transfer) -> Self {
        let (db, image, fence) = (transfer.service.db.clone(), transfer.image, transfer.fence);
        Self(tokio::spawn(async move {
            loop {
                let renewed = db.write(move |tx| Ok::<_, Failure>(uploads::renew_lease(tx, image, fence, super::lease().1)?)).await;
                if matches!(renewed, Ok(false)) {
                    return;
                }
                tokio::time::sleep(upload::LEASE / 3).await;
            }
        }))
    }
}

impl Drop for KeepLease {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The SHA-512 of so many bytes that are read by `read`, on the calling thread.
pub fn sha512_of(read: impl Fn(u64, &mut [u8]) -> Result<usize, StorageError>, bytes: u64) -> Result<String, StorageError> {
    let (mut hash, mut buffer, mut done) = (Sha512::new(), vec![0_u8; READ], 0_u64);
    while done < bytes {
        match read(done, &mut buffer)? {
            0 => return Err(StorageError::WrongSize { has: done, should: bytes }),
            count => {
                hash.update(&buffer[..count]);
                done += count as u64;
            }
        }
    }
    Ok(secret::hex(&hash.finalize()))
}

/// What is written beside the file.
pub fn manifest(found: &Found, contents: &images::Contents) -> Manifest {
    let image = &found.image;
    Manifest {
        version: 1,
        image: image.id,
        storage: image.storage_id,
        kind: image.kind.as_str().to_owned(),
        name: image.name.clone(),
        note: image.note.clone(),
        size_bytes: contents.size_bytes,
        sha256: contents.sha256.clone(),
        format: contents.format.clone(),
        volume_label: contents.label.clone(),
        os: image.os.clone(),
        min_vcpu: u32::try_from(image.min_vcpu).unwrap_or(0),
        min_memory_mib: u64::try_from(image.min_memory_mib).unwrap_or(0),
        min_disk_gib: u64::try_from(image.min_disk_gib).unwrap_or(0),
        created_at: image.created_at.rfc3339(),
        created_by: image.created_by_name.clone(),
    }
}

/// A part file as the reader of media sees it.
struct Readable<'part>(&'part Part);

impl media::ReadAt for Readable<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read_at(offset, buffer).map_err(std::io::Error::other)
    }
}
