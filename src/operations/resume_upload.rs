//! Uploads that can be continued: announced with their length, sent in chunks, and gone on with from where they are durable, whatever came
//! between (tus 1.0.0, see [`crate::web`]'s `uploads`).
//!
//! Each chunk is a transfer of its own under the upload's lease, with a fence of its own, so that whoever was believed dead changes nothing
//! any more. Between two chunks nothing is held: no file, no thread, no memory.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::Stream;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};

use super::{
    Failure, Service,
    create_image::{self, Answers, File},
    receive_file::{self, pump, read_up_to},
    stop_upload::{self, End},
    upload_image::{self, Begun, Transfer},
};
use crate::{
    authorize::{self, Actor, Credential, right},
    clock::{self, Timestamp},
    db::{Conn, Tx, events, images, images::Found, storages, uploads, uploads::Upload},
    domain::{
        access::Privilege,
        audit::{Action, Entry},
        creation,
        ids::ImageId,
        image::{Kind, Shown, Stored},
        size,
        text::FieldError,
        upload::{self, DEAD_AFTER, NotYours, Stopped, TURN_WITHIN, Turn},
    },
    media::HEAD_BYTES,
    meter::Ended,
    storage::{Busy, Checkpoint, Doing},
};

/// How often a request that waits for the one before looks whether that has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How far an upload has come.
#[derive(Debug, Clone)]
pub struct State {
    /// The image, with its upload if that is not complete.
    pub found: Found,
    /// How far.
    pub reached: Reached,
    /// Bytes of the whole file.
    pub length: u64,
}

/// How far an upload has come by a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Bytes that are durable.
    pub offset: u64,
    /// Until when they are kept, if nobody goes on; none where nothing was sent, or all.
    pub expires: Option<Timestamp>,
}

/// The next bytes of an upload, as their request tells of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chunk {
    /// Where they begin.
    pub offset: u64,
    /// How many they are, where that is known.
    pub length: Option<u64>,
    /// What the request says that the length of the whole file is, if it does.
    pub whole: Option<u64>,
    /// Their checksum, if it is to be compared before they count.
    pub checksum: Option<Checksum>,
}

/// The checksum of a chunk. SHA-1 keeps no attacker away, but what tells bytes that were mangled on the way need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256.
    Sha256([u8; 32]),
    /// SHA-1, which clients send that know no other.
    Sha1([u8; 20]),
}

/// A checksum on its way.
enum Summing {
    Sha256(Sha256, [u8; 32]),
    Sha1(Sha1, [u8; 20]),
}

impl Summing {
    fn new(checksum: Checksum) -> Self {
        match checksum {
            Checksum::Sha256(expected) => Self::Sha256(Sha256::new(), expected),
            Checksum::Sha1(expected) => Self::Sha1(Sha1::new(), expected),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash, _) => hash.update(bytes),
            Self::Sha1(hash, _) => hash.update(bytes),
        }
    }

    fn agrees(self) -> bool {
        match self {
            Self::Sha256(hash, expected) => hash.finalize().as_slice() == expected,
            Self::Sha1(hash, expected) => hash.finalize().as_slice() == expected,
        }
    }
}

/// What a new upload is for.
#[derive(Debug, Clone)]
pub enum For {
    /// An image that is Pending.
    Image(ImageId),
    /// An image that is made of these answers.
    New(Box<Answers>),
}

/// The refusal of a request while an earlier one is still at it.
pub fn locked() -> Failure {
    Failure::refused("upload.locked", "An earlier request of this upload is still ending. Try again in a second or two.")
}

/// The refusal of somebody whose turn it is not.
pub(super) fn not_yours(reason: NotYours) -> Failure {
    Failure::refused(reason.code(), reason.sentence())
}

/// What decides whose turn it is, for somebody at this moment.
pub(super) fn turn_of(upload: &Upload, actor: &Actor, now: Timestamp) -> Turn {
    Turn {
        stopped: upload.stopped(),
        exact: upload.exact,
        leased: upload.lease_until().is_some_and(|until| until > now),
        has_bytes: upload.kept() > 0,
        same_sender: is_sender(upload, actor),
    }
}

/// Whether somebody sent the bytes before, or was given the upload by who did.
pub fn is_sender(upload: &Upload, actor: &Actor) -> bool {
    let given = matches!(actor.credential, Credential::Upload(_)) && upload.given_by() == Some(upload.device.as_str());
    given || !actor.device.is_empty() && upload.device == actor.device
}

/// Whether somebody may take an upload over by showing the same file.
pub(super) fn may_take_over(turn: Turn) -> Result<(), Failure> {
    upload::may_take_over(turn).map_err(not_yours)
}

/// The image of an upload that can be asked for; one that is gone is told from one that never was.
pub(super) fn find(conn: &mut Conn, id: ImageId) -> Result<Found, Failure> {
    match images::by_id(conn, id)? {
        Some(found) if found.image.kind == Kind::Installation => Ok(found),
        None if events::was_made(conn, &id.to_string())? => Err(not_yours(NotYours::Gone)),
        _ => Err(Failure::NotFound),
    }
}

/// How far the upload of an image has come.
fn state_of(found: Found, expiry: Duration) -> Result<State, Failure> {
    if found.image.status == Stored::Available {
        let length = found.image.size();
        return Ok(State { found, reached: Reached { offset: length, expires: None }, length });
    }
    let Some(upload) = found.upload.as_ref() else { return Err(not_yours(NotYours::Gone)) };
    if !upload.exact || upload.stopped().is_some_and(Stopped::is_final) {
        return Err(not_yours(NotYours::Gone));
    }
    let (reached, length) = (reached_by(upload, expiry), upload.declared());
    Ok(State { reached, length, found })
}

/// How far an upload has come that is not complete.
fn reached_by(upload: &Upload, expiry: Duration) -> Reached {
    let expires = upload.expires_at().or_else(|| upload.lease_until().map(|until| until.plus(expiry)));
    Reached { offset: upload.kept(), expires }
}

/// Asks how far an upload has come.
pub async fn state(service: &Service, actor: &Arc<Actor>, id: ImageId) -> Result<State, Failure> {
    let expiry = service.config.upload_expiry;
    // A refusal here is an answer, not something for the audit log.
    authorize::read::<right::ReadImage, _>(&service.db, actor, id, move |conn, granted| {
        Ok(find(conn, granted.on()).and_then(|found| state_of(found, expiry)))
    })
    .await?
}

/// An upload as people see it.
#[derive(Debug, Clone)]
pub struct Shows {
    /// The image, with its upload if that is not complete.
    pub found: Found,
    /// Whether it is sent from the very device that asks.
    pub mine: bool,
    /// Whether who asks may go on with it now, after showing the same file.
    pub may_take_over: bool,
    /// What this process does with it at this moment.
    pub doing: Option<Doing>,
}

impl Shows {
    fn new(service: &Service, found: Found, actor: &Actor, may_send: bool) -> Self {
        let upload = found.upload.as_ref();
        let mine = upload.is_some_and(|upload| is_sender(upload, actor));
        let may_take_over = may_send
            && !mine
            && upload.is_some_and(|upload| upload::may_take_over(turn_of(upload, actor, clock::now())).is_ok())
            && matches!(found.shown(), Shown::Pending | Shown::Uploading);
        let doing = service.storages.doing(found.image.id);
        Self { found, mine, may_take_over, doing }
    }
}

/// One upload, as whoever may read its image sees it.
pub async fn show(service: &Service, actor: &Arc<Actor>, id: ImageId) -> Result<Shows, Failure> {
    let asker = actor.clone();
    let (found, may_send) = authorize::look(&service.db, actor, move |conn, viewer| {
        if !viewer.reads(Privilege::ReadImage)? {
            return Err(Failure::Unseen);
        }
        let may_send = viewer.sees(Privilege::UpdateImage) && viewer.sees(Privilege::CreateImage);
        Ok(find(conn, id).map(|found| (found, may_send)))
    })
    .await??;
    Ok(Shows::new(service, found, &asker, may_send))
}

/// The unfinished uploads that somebody may see: those of the same device first, at most so many in all.
pub async fn unfinished(service: &Service, actor: &Arc<Actor>, most: i64) -> Result<Vec<Shows>, Failure> {
    let asker = actor.clone();
    let (found, may_send) = authorize::look(&service.db, actor, move |conn, viewer| {
        if !viewer.reads(Privilege::ReadImage)? {
            return Ok((Vec::new(), false));
        }
        let device = viewer.actor().device.clone();
        let mut found = images::unfinished(conn, &device, true, most)?;
        let left = most - i64::try_from(found.len()).unwrap_or(most);
        found.extend(images::unfinished(conn, &device, false, left)?);
        Ok((found, viewer.sees(Privilege::UpdateImage) && viewer.sees(Privilege::CreateImage)))
    })
    .await?;
    Ok(found.into_iter().map(|found| Shows::new(service, found, &asker, may_send)).collect())
}

/// Announces an upload of `length` bytes: everything that can be known of it is checked now. Answers the image's identifier, which is the
/// upload's too. `head` is the beginning of the file, where it came along.
pub async fn create(
    service: &Service,
    actor: &Arc<Actor>,
    what: For,
    file_name: Option<String>,
    length: u64,
    head: Option<Bytes>,
) -> Result<ImageId, Failure> {
    let most = service.config.max_upload;
    match what {
        For::New(answers) => {
            let name = file_name.unwrap_or_default();
            check_head(&name, length, head, most)?;
            create_image::announce(service, actor, *answers, &name, length).await
        }
        For::Image(id) => announce_again(service, actor, id, file_name, length, head).await.map(|()| id),
    }
}

/// What the beginning of a file says, where enough of it is there to say anything.
fn check_head(name: &str, length: u64, head: Option<Bytes>, most: u64) -> Result<(), FieldError> {
    upload::check_file(name, Some(length), most)?;
    match head {
        Some(head) if head.len() as u64 >= length.min(HEAD_BYTES as u64) => {
            let file = File { name: name.to_owned(), bytes: length, exact: true, head, sha256: None };
            create_image::check_file(&file, most).map(drop)
        }
        _ => Ok(()),
    }
}

/// An image that is Pending waits for its file again; where the same upload has been interrupted, it goes on.
async fn announce_again(
    service: &Service,
    actor: &Arc<Actor>,
    id: ImageId,
    file_name: Option<String>,
    length: u64,
    head: Option<Bytes>,
) -> Result<(), Failure> {
    let (most, instance) = (service.config.max_upload, service.instance);
    authorize::write::<right::UpdateImage, _>(&service.db, actor, id, move |tx, granted| {
        let (now, lease_until) = super::lease();
        let found = find(tx.conn(), granted.on())?;
        granted.also::<right::CreateImage>(tx.conn(), found.storage.id)?;
        if found.shown() != Shown::Uploading {
            upload_image::may_begin(&found)?;
        }
        let name = upload::clean_name(file_name.as_deref().unwrap_or(&found.image.file_name));
        check_head(&name, length, head, most)?;
        storages::lock(tx, found.storage.id)?;
        images::lock(tx, id)?;
        if let Some(upload) = &found.upload {
            let turn = turn_of(upload, granted.actor(), now);
            match upload::may_go_on(turn) {
                Err(NotYours::OtherDevice) => return Err(not_yours(NotYours::OtherDevice)),
                _ if turn.has_bytes && upload.exact && upload.declared() == length => return Ok(()),
                _ if turn.has_bytes => {
                    let sentence = format!(
                        "{} of a file of {} are kept for this image. Go on with that file, or cancel its upload first.",
                        size::words(upload.kept()),
                        size::exact(upload.declared())
                    );
                    return Err(Failure::refused_at(upload.kept(), "upload.has_bytes", sentence));
                }
                _ => {}
            }
        }
        images::set_reserved(tx, id, 0)?;
        let promised = storages::promised_on(tx.conn(), found.storage.id)?;
        creation::may_take(&found.storage.place(promised), Some(length))
            .map_err(|reason| create_image::storage_fault("file", &found.storage, &reason))?;
        let sender = upload_image::sender(granted.actor(), instance, lease_until);
        uploads::begin(tx, id, &sender, (length, true), now)?;
        images::announce(tx, id, &name, length)?;
        Ok(())
    })
    .await
}

/// What is known of an upload before its next bytes are read.
struct Ready {
    reached: Reached,
    declared: u64,
    name: String,
    storage: storages::Storage,
}

/// Whether these bytes may be sent now.
fn check_chunk<'found>(found: &'found Found, actor: &Actor, chunk: &Chunk, now: Timestamp) -> Result<&'found Upload, Failure> {
    if found.image.status == Stored::Available {
        let sentence = "This image has its file already. To replace it, create another image and delete this one.";
        return Err(Failure::refused_at(found.image.size(), "image.complete", sentence));
    }
    if found.shown() != Shown::Uploading {
        upload_image::may_begin(found)?;
    }
    let Some(upload) = &found.upload else { return Err(not_yours(NotYours::Gone)) };
    upload::may_go_on(turn_of(upload, actor, now)).map_err(not_yours)?;
    let (at, declared) = (upload.kept(), upload.declared());
    if chunk.whole.is_some_and(|whole| whole != declared) {
        let sentence = format!("The upload was announced with {}; its length cannot change.", size::exact(declared));
        return Err(Failure::refused_at(at, "upload.length", sentence));
    }
    if chunk.offset != at {
        let sentence = format!("The upload has come to byte {at}, not {}. Go on from there.", chunk.offset);
        return Err(Failure::refused_at(at, "upload.offset", sentence));
    }
    if chunk.length.is_some_and(|length| length > declared - at) {
        let sentence =
            format!("The upload has {}, of which {} are missing. The chunk is longer.", size::exact(declared), size::exact(declared - at));
        return Err(Failure::refused_at(at, "upload.beyond_length", sentence));
    }
    Ok(upload)
}

/// Takes the next bytes of an upload, and publishes the file when they are the last ones. What can be refused is refused before they are
/// read. Answers how far the upload has come.
///
/// # Errors
/// After any of them [`state`] tells from where the upload goes on.
pub async fn send<E: std::fmt::Display>(
    service: &Service,
    actor: &Arc<Actor>,
    id: ImageId,
    chunk: Chunk,
    stream: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> Result<Reached, Failure> {
    let (asker, expiry) = (actor.clone(), service.config.upload_expiry);
    let ready = authorize::read::<right::UpdateImage, _>(&service.db, actor, id, move |conn, granted| {
        // What is not the right's fault is an answer, and nothing for the audit log: programs ask again and again.
        let found = match find(conn, granted.on()) {
            Ok(found) => found,
            Err(gone) => return Ok(Err(gone)),
        };
        granted.also::<right::CreateImage>(conn, found.storage.id)?;
        Ok(check_chunk(&found, &asker, &chunk, clock::now()).map(|upload| Ready {
            reached: reached_by(upload, expiry),
            declared: upload.declared(),
            name: found.image.file_name.clone(),
            storage: found.storage.clone(),
        }))
    })
    .await??;
    if chunk.length == Some(0) {
        return Ok(ready.reached);
    }
    let mut stream = Summed { stream, hash: chunk.checksum.map(Summing::new) };
    let looked_at = ready.declared.min(HEAD_BYTES as u64);
    let head = match looked_at.checked_sub(chunk.offset) {
        None | Some(0) => None,
        Some(missing) => {
            let missing = usize::try_from(missing).unwrap_or(HEAD_BYTES);
            let interrupted = |sentence: &str| Failure::invalid("file", "upload.incomplete", sentence);
            match timeout(service.config.client_silence, read_up_to(&mut stream, missing)).await {
                Ok(Ok(head)) => Some(head),
                Ok(Err(_)) => return Err(interrupted("The connection was lost.")),
                Err(_) => return Err(interrupted("The beginning of the chunk did not arrive in time. Try again.")),
            }
        }
    };
    let busy = turn(service, id).await?;
    let before = match &head {
        // What came of the beginning in earlier chunks, so that the whole of it can be looked at.
        Some(head) if chunk.offset > 0 && chunk.offset + head.bytes.len() as u64 >= looked_at => {
            let most = usize::try_from(chunk.offset).unwrap_or(HEAD_BYTES);
            service.handle(&ready.storage).run(move |directory| directory.read_part(id, 0, most)).await?
        }
        _ => Vec::new(),
    };
    let mut transfer = take_turn(service, actor, id, chunk, busy).await?;
    if let Some(head) = head {
        if chunk.offset + head.bytes.len() as u64 >= looked_at {
            let file = File {
                name: ready.name,
                bytes: ready.declared,
                exact: true,
                head: [&before[..], &head.bytes[..]].concat().into(),
                sha256: None,
            };
            if let Err(fault) = create_image::check_file(&file, service.config.max_upload) {
                let message = fault.message.clone();
                return Err(transfer.stop(Stopped::Refused, message, fault.into()).await);
            }
        }
        transfer.push(head.bytes).await?;
        if let Some(rest) = head.rest {
            transfer.push(rest).await?;
        }
    }
    let transfer = pump(transfer, &mut stream, &service.config).await?;
    if stream.hash.is_some_and(|hash| !hash.agrees()) {
        transfer.forget_chunk().await;
        let sentence = "The bytes that arrived do not have the announced checksum. Nothing of this chunk counts: send it again.";
        return Err(Failure::refused_at(chunk.offset, "upload.checksum", sentence));
    }
    if transfer.is_complete() {
        receive_file::publish(transfer).await?;
        return Ok(Reached { offset: ready.declared, expires: None });
    }
    let offset = transfer.rest_until_next().await?;
    Ok(Reached { offset, expires: Some(super::lease().1.plus(service.config.upload_expiry)) })
}

/// Waits for the request before to end. One whose sender has fallen silent is told to: it is dead, and this one takes over.
pub(super) async fn turn(service: &Service, id: ImageId) -> Result<Busy, Failure> {
    let until = Instant::now() + TURN_WITHIN;
    loop {
        if let Some(busy) = service.storages.occupy(id) {
            return Ok(busy);
        }
        if Instant::now() >= until {
            return Err(locked());
        }
        service.storages.ask_to_end(id, DEAD_AFTER);
        sleep(LOOK_AGAIN).await;
    }
}

/// Why a chunk is not taken.
enum NotTaken {
    Refused(Failure),
    /// The storage takes nothing, so that the upload with this fence stops.
    ByStorage(i64, FieldError),
}

/// The upload goes on with this chunk, if it still may. One whose storage takes nothing stops, and says why.
async fn take_turn(service: &Service, actor: &Arc<Actor>, id: ImageId, chunk: Chunk, busy: Busy) -> Result<Box<Transfer>, Failure> {
    let instance = service.instance;
    let begun = authorize::write::<right::UpdateImage, _>(&service.db, actor, id, move |tx, granted| {
        let (now, lease_until) = super::lease();
        let found = match find(tx.conn(), granted.on()) {
            Ok(found) => found,
            Err(gone) => return Ok(Err(NotTaken::Refused(gone))),
        };
        granted.also::<right::CreateImage>(tx.conn(), found.storage.id)?;
        // Storage before image, as everybody takes them.
        let from_the_start = chunk.offset == 0;
        if from_the_start {
            storages::lock(tx, found.storage.id)?;
        }
        images::lock(tx, id)?;
        // Once more, now that nobody else can change them.
        let found = match find(tx.conn(), granted.on()) {
            Ok(found) => found,
            Err(gone) => return Ok(Err(NotTaken::Refused(gone))),
        };
        let upload = match check_chunk(&found, granted.actor(), &chunk, now) {
            Ok(upload) => upload,
            Err(refused) => return Ok(Err(NotTaken::Refused(refused))),
        };
        let (declared, reserved) = (upload.declared(), images::reserved(tx.conn(), id)?);
        let room = if from_the_start {
            // What is promised to this image does not stand in its own way.
            let others = storages::promised_on(tx.conn(), found.storage.id)?.saturating_sub(reserved);
            creation::may_take(&found.storage.place(others), Some(declared))
                .map_err(|reason| create_image::storage_fault("file", &found.storage, &reason))
        } else {
            create_image::check_health(&found.storage)
        };
        if let Err(fault) = room {
            return Ok(Err(NotTaken::ByStorage(upload.fence, fault)));
        }
        let (from, promised) = if from_the_start {
            images::set_reserved(tx, id, declared)?;
            (None, declared)
        } else {
            let hash_state = uploads::hash_state(tx.conn(), id)?.unwrap_or_default();
            let promised = if reserved == 0 { 0 } else { declared };
            (Some(Checkpoint { offset: chunk.offset, hash_state }), promised)
        };
        let sender = upload_image::sender(granted.actor(), instance, lease_until);
        let Some(fence) = uploads::go_on(tx, id, upload.fence, &sender, chunk.offset)? else { return Err(Failure::Stale) };
        if found.image.status == Stored::Pending && !images::set_status(tx, id, Stored::Uploading, now)? {
            return Err(Failure::Stale);
        }
        record_turn(tx, &granted, &found, upload)?;
        let (storage, counts) = (found.storage.clone(), chunk.checksum.is_none());
        Ok(Ok(Begun { image: id, storage, fence, declared, exact: true, chunk: true, counts, sha256: None, promised, from }))
    })
    .await?;
    match begun {
        Ok(begun) => Transfer::open(service, actor, busy, begun).await,
        Err(NotTaken::Refused(refused)) => Err(refused),
        Err(NotTaken::ByStorage(fence, fault)) => {
            drop(busy);
            let end = End::of(Stopped::StorageFailed, Ended::Failed, fault.message.clone());
            stop_upload::run(service, id, fence, end, actor.author()).await?;
            Err(fault.into())
        }
    }
}

/// Chunks that follow one another are no news; that an upload begins, goes on, or goes on from elsewhere, is.
fn record_turn(tx: &mut Tx<'_>, granted: &authorize::Granted<right::UpdateImage>, found: &Found, upload: &Upload) -> Result<(), Failure> {
    let (object, declared) = (super::image_object(found), upload.declared());
    let name = &found.image.file_name;
    let entry = match upload.kept() {
        0 if found.image.status == Stored::Pending => {
            Entry::done(Action::BeginUpload, object).with(format!("“{name}”, {}.", size::words(declared)))
        }
        0 => return Ok(()),
        at => {
            let far = format!("“{name}”, from {} of {}.", size::words(at), size::words(declared));
            if upload.device != granted.actor().device {
                Entry::done(Action::TakeOverUpload, object).with(far)
            } else if upload.stopped().is_some() {
                Entry::done(Action::ContinueUpload, object).with(far)
            } else {
                return Ok(());
            }
        }
    };
    granted.record(tx, &entry)
}

/// Bytes on their way, summed up as they pass.
struct Summed<'stream, S> {
    stream: &'stream mut S,
    hash: Option<Summing>,
}

impl<S: Stream<Item = Result<Bytes, E>> + Unpin, E> Stream for Summed<'_, S> {
    type Item = Result<Bytes, E>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = Pin::new(&mut *this.stream).poll_next(context);
        if let (Poll::Ready(Some(Ok(bytes))), Some(hash)) = (&next, &mut this.hash) {
            hash.update(bytes);
        }
        next
    }
}
