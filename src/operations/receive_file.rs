//! Takes a file from a client, as a stream of bytes from wherever the web layer has it: the look at its beginning before the rest is read,
//! the limits on silence and slowness, and the whole way of a file that is sent as it is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::{
    Failure, Service,
    create_image::{self, File},
    find_image,
    upload_image::{self, Transfer},
};
use crate::{
    authorize::{self, Actor, right},
    config::Config,
    domain::{
        ids::ImageId,
        size,
        upload::{self, FIRST_REST_AFTER, REST_AFTER},
        version::Expected,
    },
    media::HEAD_BYTES,
    storage::{Buffer, Busy},
};

/// Why a sender that fell silent is not waited for any longer.
const SENT_ANEW: &str = "Its sender fell silent and began to send anew.";

/// The beginning of a stream.
pub struct Head {
    /// The first 64 KiB, or everything where it is less.
    pub bytes: Bytes,
    /// What came with it and follows it.
    pub rest: Option<Bytes>,
}

impl Head {
    /// Whether nothing follows.
    pub fn is_all(&self) -> bool {
        self.bytes.len() < HEAD_BYTES
    }
}

/// Reads the beginning of a file, however long that takes: bound it.
pub async fn read_head<E>(stream: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin)) -> Result<Head, E> {
    read_up_to(stream, HEAD_BYTES).await
}

/// Reads so many bytes, or all that come where it is fewer, however long that takes.
pub async fn read_up_to<E>(stream: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin), most: usize) -> Result<Head, E> {
    let (mut head, mut rest) = (Buffer::default(), None);
    while head.len() < most {
        let Some(chunk) = stream.next().await else { break };
        let mut chunk = chunk?;
        let now = chunk.split_to(chunk.len().min(most - head.len()));
        head.append(&now, most);
        rest = Some(chunk).filter(|chunk| !chunk.is_empty());
    }
    Ok(Head { bytes: Bytes::from_owner(head), rest })
}

/// A file that a program sends as it is, without a form around it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// How long the request says that it is; a stream of unknown length has the length that was announced with the image.
    pub length: Option<u64>,
    /// What its SHA-256 must turn out to be, if the program says so.
    pub sha256: Option<[u8; 32]>,
}

/// Receives and publishes such a file, for an image that still has one of the expected versions. Everything that can be refused is refused
/// before more than the first 64 KiB are read.
pub async fn run<E: std::fmt::Display>(
    service: &Service,
    actor: &Arc<Actor>,
    id: ImageId,
    expected: Expected,
    sent: Sent,
    stream: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> Result<(), Failure> {
    let most = service.config.max_upload;
    let admitted = expected.clone();
    let (name, announced) = authorize::read::<right::UpdateImage, _>(&service.db, actor, id, move |conn, granted| {
        let found = find_image(conn, granted.on())?;
        granted.also::<right::CreateImage>(conn, found.storage.id)?;
        if !admitted.admits(found.image.version) {
            return Err(Failure::Stale);
        }
        upload_image::may_begin(&found)?;
        let length = sent.length.or(Some(found.image.size()).filter(|announced| *announced > 0));
        upload::check_file(&found.image.file_name, length, most)?;
        // What is promised to this image does not stand in its own way; the exact look follows when the transfer begins.
        create_image::check_health(&found.storage)?;
        Ok((found.image.file_name, length))
    })
    .await?;
    let interrupted = |sentence: &str| Failure::invalid("file", "upload.incomplete", sentence);
    let head = match timeout(service.config.client_silence, read_head(stream)).await {
        Ok(Ok(head)) => head,
        Ok(Err(_)) => return Err(interrupted("The connection was lost.")),
        Err(_) => return Err(interrupted("The beginning of the file did not arrive in time. Try again.")),
    };
    let has = head.bytes.len() as u64;
    if let Some(should) = announced.filter(|should| head.is_all() && has < *should) {
        return Err(interrupted(&format!("Only {has} of {should} bytes arrived.")));
    }
    let (bytes, exact) = if head.is_all() { (has, true) } else { (announced.unwrap_or(most), announced.is_some()) };
    let file = File { name, bytes, exact, head: head.bytes, sha256: sent.sha256 };
    let mut transfer = Box::pin(upload_image::begin(service, actor, id, expected, &file)).await?;
    transfer.push(file.head).await?;
    if let Some(rest) = head.rest {
        transfer.push(rest).await?;
    }
    let transfer = pump(transfer, stream, &service.config).await?;
    publish(transfer).await
}

/// Everything has arrived. From here on nothing more is needed of the client: publishing goes on when it goes away.
pub async fn publish(transfer: Box<Transfer>) -> Result<(), Failure> {
    tokio::spawn(transfer.finish()).await.map_err(|failed| Failure::Broken(failed.to_string()))?
}

/// Moves the rest of a stream into a transfer. A client that falls silent or drips is given up.
pub async fn pump<E: std::fmt::Display>(
    mut transfer: Box<Transfer>,
    stream: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    config: &Config,
) -> Result<Box<Transfer>, Failure> {
    let (silence, least) = (config.client_silence, config.client_rate.saturating_mul(config.client_silence.as_secs()));
    // Who never paused before rests sooner: a crowd that falls silent at once must not keep its first buffers for long.
    let mut rest_after = FIRST_REST_AFTER.min(silence / 2);
    let (mut window, mut in_window) = (Instant::now(), 0_u64);
    let busy = transfer.busy();
    loop {
        busy.waits(true);
        let chunk = match turn(&busy, rest_after, stream).await {
            Turn::Moves(chunk) => chunk,
            Turn::Asked => return Err(interrupted(transfer, SENT_ANEW.to_owned()).await),
            Turn::Silence => {
                transfer.rest().await?;
                let rest = silence - std::mem::replace(&mut rest_after, REST_AFTER.min(silence / 2));
                match turn(&busy, rest, stream).await {
                    Turn::Moves(chunk) => chunk,
                    Turn::Asked => return Err(interrupted(transfer, SENT_ANEW.to_owned()).await),
                    Turn::Silence => {
                        let detail = format!("Nothing arrived for {} seconds.", silence.as_secs());
                        return Err(interrupted(transfer, detail).await);
                    }
                }
            }
        };
        busy.waits(false);
        match chunk {
            None => return Ok(transfer),
            Some(Ok(bytes)) => {
                in_window += bytes.len() as u64;
                transfer.push(bytes).await?;
            }
            Some(Err(failed)) => {
                tracing::info!(error = %failed, "an upload's connection broke");
                return Err(interrupted(transfer, "The connection was lost.".to_owned()).await);
            }
        }
        if window.elapsed() >= silence {
            if in_window < least {
                let detail = format!("Less than {} a second arrived.", size::words(config.client_rate));
                return Err(interrupted(transfer, detail).await);
            }
            (window, in_window) = (Instant::now(), 0);
        }
    }
}

/// What a wait for the sender's next bytes came to.
enum Turn<E> {
    Moves(Option<Result<Bytes, E>>),
    Silence,
    /// The same device began a new request to go on: this one is dead.
    Asked,
}

async fn turn<E>(busy: &Busy, within: Duration, stream: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin)) -> Turn<E> {
    tokio::select! {
        biased;
        next = timeout(within, stream.next()) => next.map_or(Turn::Silence, Turn::Moves),
        () = busy.asked_to_end() => Turn::Asked,
    }
}

/// Ends a transfer whose client was lost. What arrived is kept where it can be continued.
pub async fn interrupted(transfer: Box<Transfer>, detail: String) -> Failure {
    let failure = Failure::invalid("file", "upload.incomplete", detail.clone());
    Box::pin(transfer.lost(detail)).await;
    failure
}
