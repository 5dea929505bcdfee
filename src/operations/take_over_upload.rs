//! An upload goes on elsewhere: another device shows that it has the same file, or is given a token for this one upload.
//!
//! The proof is made of digests of what was sent before. The storage's bytes are read again for it, so that a file that differs is told by
//! where it does, and no byte of another file is ever glued on.

use std::{sync::Arc, time::Duration};

use sha2::{Digest, Sha256};

use super::{
    Failure, Service, image_object,
    resume_upload::{find, may_take_over, turn, turn_of},
    stop_upload::{self, End},
    upload_image,
};
use crate::{
    authorize::{self, Actor, Credential, right},
    clock::{self, Timestamp},
    db::{images::Found, uploads, uploads::Upload},
    domain::{
        audit::{Action, Entry},
        ids::ImageId,
        size,
        upload::{self, NotYours, Stopped},
    },
    meter::Ended,
    secret,
    storage::{Checkpoint, Handle, StorageError},
};

/// Bytes that are read at once for a proof.
const READ: usize = 1 << 20;
/// How long a token that carries on one upload can be used: a working day, so that a large file gets through a slow line.
pub const TOKEN_LASTS: Duration = Duration::from_secs(12 * 3_600);

/// What a device shows of its file: the SHA-256 of each block of what was sent before; the last block ends with it.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Bytes of a block.
    pub block: u64,
    /// Bytes of the whole file.
    pub length: u64,
    /// Bytes that were sent before, as far as the device knows.
    pub offset: Option<u64>,
    /// One digest for each block.
    pub digests: Vec<[u8; 32]>,
}

/// A token that carries on one upload, and what its bearer must know.
#[derive(Debug, Clone)]
pub struct Handed {
    /// Told once.
    pub token: String,
    /// Until when it can be used.
    pub until: Timestamp,
    /// Bytes that were sent before.
    pub offset: u64,
    /// Bytes of the whole file.
    pub length: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
    /// How the file was called.
    pub file_name: String,
}

/// Whether an upload can be taken over by somebody now.
fn check(found: &Found, actor: &Actor) -> Result<Upload, Failure> {
    if found.image.status == crate::domain::image::Stored::Available {
        return Err(Failure::refused_at(found.image.size(), "image.complete", "This image has its file already."));
    }
    let Some(upload) = &found.upload else { return Err(super::resume_upload::not_yours(NotYours::Gone)) };
    may_take_over(turn_of(upload, actor, clock::now()))?;
    Ok(upload.clone())
}

/// The image and its upload, for whoever may go on with it.
async fn look(service: &Service, actor: &Arc<Actor>, id: ImageId) -> Result<(Found, Upload), Failure> {
    let asker = actor.clone();
    authorize::read::<right::UpdateImage, _>(&service.db, actor, id, move |conn, granted| {
        let found = match find(conn, granted.on()) {
            Ok(found) => found,
            Err(gone) => return Ok(Err(gone)),
        };
        granted.also::<right::CreateImage>(conn, found.storage.id)?;
        Ok(check(&found, &asker).map(|upload| (found, upload)))
    })
    .await?
}

/// Compares what a device shows with what was sent before; where it is the same, that device is the sender from now on. Answers how far
/// the upload has come.
pub async fn prove(service: &Service, actor: &Arc<Actor>, id: ImageId, proof: Proof) -> Result<u64, Failure> {
    let (found, upload) = look(service, actor, id).await?;
    let busy = turn(service, id).await?;
    // What was sent may have become more while the request before ended.
    let (_, upload) = if upload.stopped().is_none() { look(service, actor, id).await? } else { (found.clone(), upload) };
    let (offset, declared) = (upload.kept(), upload.declared());
    if proof.length != declared {
        let sentence = format!("The chosen file has {}; the upload is of one with {}.", size::exact(proof.length), size::exact(declared));
        return Err(differs(proof.length.min(declared), offset, sentence));
    }
    if proof.offset.is_some_and(|at| at != offset) || proof.digests.len() as u64 != offset.div_ceil(proof.block) {
        let sentence = format!("The digests are not those of the first {offset} bytes. Ask how far the upload has come, and show these.");
        return Err(Failure::refused_at(offset, "upload.offset", sentence));
    }
    let handle = service.handle(&found.storage);
    for (number, shown) in proof.digests.iter().enumerate() {
        let from = number as u64 * proof.block;
        let is = digest_of(&handle, id, from, (offset - from).min(proof.block)).await?;
        if is != *shown {
            let sentence = format!("This is another file: it differs from what was sent before in the block that begins at byte {from}.");
            return Err(differs(from, offset, sentence));
        }
    }
    let instance = service.instance;
    let fence = upload.fence;
    let taken = authorize::write::<right::UpdateImage, _>(&service.db, actor, id, move |tx, granted| {
        granted.also::<right::CreateImage>(tx.conn(), found.storage.id)?;
        let sender = upload_image::sender(granted.actor(), instance, clock::now());
        if upload.device == sender.device {
            return Ok(true);
        }
        if uploads::take_over(tx, id, fence, &sender)?.is_none() {
            return Ok(false);
        }
        let far = format!("“{}”, at {} of {}.", found.image.file_name, size::words(offset), size::words(declared));
        granted.record(tx, &Entry::done(Action::TakeOverUpload, image_object(&found)).with(far))?;
        Ok(true)
    })
    .await?;
    drop(busy);
    if taken { Ok(offset) } else { Err(super::resume_upload::locked()) }
}

fn differs(at: u64, offset: u64, sentence: String) -> Failure {
    match Failure::refused_at(offset, "upload.other_file", sentence) {
        Failure::Refused(refusal) => Failure::Refused(super::Refusal { differs_at: Some(at), ..refusal }),
        other => other,
    }
}

/// The SHA-256 of some bytes of a part, read piece by piece, so that other work of the storage comes in between.
async fn digest_of(handle: &Handle, id: ImageId, from: u64, bytes: u64) -> Result<[u8; 32], Failure> {
    let (mut hash, mut done) = (Sha256::new(), 0_u64);
    while done < bytes {
        let most = usize::try_from(bytes - done).unwrap_or(READ).min(READ);
        let (at, mut summed) = (from + done, hash);
        let read = handle.run(move |directory| {
            let piece = directory.read_part(id, at, most)?;
            if piece.len() < most {
                return Err(StorageError::WrongSize { has: at + piece.len() as u64, should: at + most as u64 });
            }
            summed.update(&piece);
            Ok(summed)
        });
        hash = read.await?;
        done += most as u64;
    }
    Ok(hash.finalize().into())
}

/// Makes a token that carries on this one upload, in place of an earlier one.
pub async fn hand_over(service: &Service, actor: &Arc<Actor>, id: ImageId) -> Result<Handed, Failure> {
    if !matches!(actor.credential, Credential::Session(_)) {
        return Err(Failure::refused("token.by_token", "A token makes no tokens. Sign in to the console to make one."));
    }
    let token = secret::upload_token();
    let hash = secret::digest(&token);
    let (file_name, upload, state, until) = authorize::write::<right::UpdateImage, _>(&service.db, actor, id, move |tx, granted| {
        let found = find(tx.conn(), granted.on())?;
        granted.also::<right::CreateImage>(tx.conn(), found.storage.id)?;
        let upload = check(&found, granted.actor())?;
        let until = clock::now().plus(TOKEN_LASTS);
        let giver = granted.actor();
        if !uploads::hand_over(tx, id, &hash, (giver.user, &giver.device), until)? {
            return Err(super::resume_upload::not_yours(NotYours::Gone));
        }
        let far = format!("At {} of {}, until {}.", size::words(upload.kept()), size::words(upload.declared()), until.words());
        granted.record(tx, &Entry::done(Action::HandOverUpload, image_object(&found)).with(far))?;
        let state = uploads::hash_state(tx.conn(), id)?;
        Ok((found.image.file_name, upload, state, until))
    })
    .await?;
    let (offset, length) = (upload.kept(), upload.declared());
    let sha256 = match state {
        Some(hash_state) if offset > 0 => Checkpoint { offset, hash_state }.sha256()?,
        _ => Sha256::digest([]).into(),
    };
    Ok(Handed { token, until, offset, length, sha256, file_name })
}

/// Its own sender pauses an upload: it is Pending at once, and not only when its lease has run out. Answers how far it has come.
pub async fn pause(service: &Service, actor: &Arc<Actor>, id: ImageId) -> Result<u64, Failure> {
    let (_, upload) = look(service, actor, id).await?;
    if upload.stopped().is_some() {
        return Ok(upload.kept());
    }
    upload::may_go_on(turn_of(&upload, actor, clock::now())).map_err(super::resume_upload::not_yours)?;
    let busy = turn(service, id).await?;
    let (_, upload) = look(service, actor, id).await?;
    let why = if upload.kept() == 0 { Stopped::NeverSent } else { Stopped::Interrupted };
    let detail = if upload.kept() == 0 { "" } else { "It was paused." };
    // Whatever it is ended with keeps what is durable; the next one begins after that.
    drop(busy);
    if upload.stopped().is_none() {
        stop_upload::run(service, id, upload.fence, End::of(why, Ended::Cancelled, detail), actor.author()).await?;
    }
    Ok(upload.kept())
}
