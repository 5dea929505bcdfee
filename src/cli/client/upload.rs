//! `vmimg image upload`: a record first, then its file, piece by piece; and a look at what the service made of it.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use futures_util::stream;
use indicatif::ProgressBar;
use reqwest::{
    Body, Method,
    header::{CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    Failed, image,
    output::{progress, quoted, text},
    service::Service,
    storage,
};
use crate::{domain::upload::base_name, media, secret};

/// Bytes of a file that are read and sent at a time.
const PIECE: usize = 256 * 1024;
/// How much longer than usually the service may be silent once it has the whole file: it flushes it and looks into it.
const AT_THE_END: u32 = 10;

/// What to upload, and as what.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Upload {
    /// The ISO file
    file: PathBuf,
    /// Storage to save it to, by name or identifier; needed where there are several
    #[arg(long, conflicts_with = "image")]
    storage: Option<String>,
    /// Name of the image [default: the file's name without .iso]
    #[arg(long, conflicts_with = "image")]
    name: Option<String>,
    /// Note
    #[arg(long, conflicts_with = "image")]
    note: Option<String>,
    /// Operating system, by its key in the catalogue, which brings its minimum requirements [default: other]
    #[arg(long, conflicts_with = "image")]
    os: Option<String>,
    /// SHA-256 that the file must have, in hexadecimal; compared by the service before it looks into the file
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Send the file of this image, which exists and is Pending, instead of making one
    #[arg(long, value_name = "NAME|ID")]
    image: Option<String>,
}

impl Upload {
    /// Does it; answers the image.
    pub async fn run(self, service: &Service) -> Result<Value, Failed> {
        let expected = self.sha256.as_deref().map(parse_digest).transpose()?;
        let chosen = Chosen::open(&self.file)?;
        let id = match &self.image {
            Some(named) => image::find(service, named).await?,
            None => self.create(service, &chosen).await?,
        };
        send(service, &id, chosen, expected).await.map_err(|failed| {
            let file = quoted(&self.file.to_string_lossy());
            failed.and(&format!(
                "The image {id} has no file. Send it again with: vmimg image upload {file} --image {id}\nOr delete the image with: vmimg image delete {id}"
            ))
        })
    }

    async fn create(&self, service: &Service, chosen: &Chosen) -> Result<String, Failed> {
        let storage = match &self.storage {
            Some(named) => storage::find(service, named).await?,
            None => storage::the_only_one(service).await?,
        };
        let name = self.name.as_deref().unwrap_or_else(|| without_extension(&chosen.name));
        let mut new = json!({
            "type": "installation", "name": name, "storage": storage,
            "file": { "name": chosen.name, "size": chosen.bytes },
        });
        for (member, value) in [("note", &self.note), ("os", &self.os)] {
            if let Some(value) = value {
                new[member] = json!(value);
            }
        }
        Ok(text(&service.create("/images", &new).await?, "/id"))
    }
}

/// A file's name without `.iso`.
pub fn without_extension(file_name: &str) -> &str {
    let at = file_name.len().saturating_sub(4);
    match file_name.get(at..) {
        Some(extension) if extension.eq_ignore_ascii_case(".iso") => &file_name[..at],
        _ => file_name,
    }
}

/// A SHA-256 as people write it, as the bytes that it is.
fn parse_digest(typed: &str) -> Result<[u8; 32], Failed> {
    let bytes = secret::unhex(typed.trim()).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| Failed::Here("--sha256 takes 64 hexadecimal digits, as sha256sum prints them.".to_owned()))
}

/// A file to be sent, looked at: what the service would refuse at once is refused before anything is sent.
struct Chosen {
    file: File,
    path: PathBuf,
    name: String,
    bytes: u64,
}

impl Chosen {
    fn open(path: &Path) -> Result<Self, Failed> {
        let here = |failed: &dyn std::fmt::Display| Failed::file(path, failed);
        let mut file = File::open(path).map_err(|failed| here(&failed))?;
        let about = file.metadata().map_err(|failed| here(&failed))?;
        if !about.is_file() {
            return Err(here(&"this is not a file"));
        }
        let mut head = Vec::new();
        Read::by_ref(&mut file).take(media::HEAD_BYTES as u64).read_to_end(&mut head).map_err(|failed| here(&failed))?;
        media::look_at_head(&head, Some(about.len())).map_err(|refusal| here(&refusal))?;
        file.seek(SeekFrom::Start(0)).map_err(|failed| here(&failed))?;
        let name = base_name(&path.file_name().unwrap_or_default().to_string_lossy()).to_owned();
        Ok(Self { file, path: path.to_owned(), name, bytes: about.len() })
    }
}

/// How far a file is, for the one who sends it and the one who watches.
struct Sending {
    hash: Sha256,
    taken: u64,
    /// Why the file could not be read to the end that it had.
    broken: Option<String>,
}

#[derive(Clone)]
struct Progress(Arc<Mutex<Sending>>);

impl Progress {
    fn look(&self) -> MutexGuard<'_, Sending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pieces of a file: exactly as many bytes as it had when it was opened, or an error.
fn pieces(file: File, bytes: u64, progress: Progress, bar: ProgressBar) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::unfold((file, bytes), move |(mut file, left)| {
        let next = (left > 0).then(|| {
            let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
            let read = match file.read(&mut piece) {
                Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was sent")),
                other => other,
            };
            let mut sending = progress.look();
            match read {
                Ok(length) => {
                    piece.truncate(length);
                    sending.hash.update(&piece);
                    sending.taken += length as u64;
                    bar.set_position(sending.taken);
                    (Ok(Bytes::from(piece)), (file, left - length as u64))
                }
                Err(failed) => {
                    sending.broken = Some(failed.to_string());
                    (Err(failed), (file, 0))
                }
            }
        });
        std::future::ready(next)
    })
}

/// Sends a file and compares what the service made of it with what was sent.
async fn send(service: &Service, image: &str, chosen: Chosen, expected: Option<[u8; 32]>) -> Result<Value, Failed> {
    let Chosen { file, path, bytes, .. } = chosen;
    let bar = progress(bytes);
    let progress = Progress(Arc::new(Mutex::new(Sending { hash: Sha256::new(), taken: 0, broken: None })));
    let body = Body::wrap_stream(pieces(file, bytes, progress.clone(), bar.clone()));
    let request = service.patient_request(Method::PUT, &format!("/images/{image}/content"));
    let mut request =
        request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, bytes).header(IF_MATCH, "*").body(body);
    if let Some(expected) = expected {
        request = request.header("repr-digest", secret::digest_field(&expected));
    }
    let answered = tokio::select! {
        answer = async { service.read(service.send(request).await?).await } => answer,
        () = silence(service.silence, bytes, &progress) => Err(service.silent("nothing more was taken")),
    };
    bar.finish_and_clear();
    if let Some(why) = progress.look().broken.take() {
        return Err(Failed::file(&path, why));
    }
    let (sent, whole) = {
        let sending = progress.look();
        (secret::hex(&sending.hash.clone().finalize()), sending.taken == bytes)
    };
    let made = match answered {
        Ok(answer) => answer.body,
        // The answer may have been lost, and not the file.
        Err(failed @ Failed::Away(_)) if whole => match service.get(&format!("/images/{image}")).await {
            Ok(found) if text(&found.body, "/status/code") == "available" => found.body,
            _ => return Err(failed),
        },
        Err(failed) => return Err(failed),
    };
    if text(&made, "/sha256") == sent {
        return Ok(made);
    }
    Err(Failed::Away(format!("The service has a file with the SHA-256 {}, but {sent} was sent. Do not use it.", text(&made, "/sha256"))))
}

/// Ends when the service has taken nothing for too long.
async fn silence(longest: Duration, bytes: u64, progress: &Progress) {
    let mut taken = 0;
    loop {
        let whole = taken == bytes;
        tokio::time::sleep(if whole { longest * AT_THE_END } else { longest }).await;
        let now = progress.look().taken;
        if now == taken {
            return;
        }
        taken = now;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[test]
    fn an_extension_is_cut_off_whatever_its_case() {
        let rows = [("a.iso", "a"), ("B.ISO", "B"), ("c.img", "c.img"), (".iso", ""), ("é", "é"), ("日本.iso", "日本")];
        for (name, without) in rows {
            assert_eq!(without_extension(name), without);
        }
    }

    #[test]
    fn a_digest_is_64_digits() {
        let digest = parse_digest(&format!(" {}\n", "0aF1".repeat(16))).unwrap();
        assert_eq!(digest[..2], [0x0a, 0xf1]);
        for wrong in ["", "0a", &"0g".repeat(32), &"é".repeat(32), &"+1".repeat(32)] {
            assert!(parse_digest(wrong).is_err(), "{wrong}");
        }
        assert_eq!(secret::digest_field(&[0; 32]), format!("sha-256=:{}=:", "A".repeat(43)));
    }

    #[test]
    fn a_file_that_is_no_medium_is_refused_before_anything_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.iso");
        std::fs::write(&path, "not an ISO").unwrap();
        let Err(Failed::Here(words)) = Chosen::open(&path) else { panic!("taken") };
        assert!(words.contains("text.iso: "), "{words}");
    }

    /// What comes of a file of `has` bytes that had `bytes` when it was opened: how many bytes, and whether it ended well.
    async fn sent(has: usize, bytes: u64) -> (u64, bool) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![7; has]).unwrap();
        let progress = Progress(Arc::new(Mutex::new(Sending { hash: Sha256::new(), taken: 0, broken: None })));
        let all: Vec<_> = pieces(File::open(&path).unwrap(), bytes, progress.clone(), ProgressBar::hidden()).collect().await;
        assert!(all.iter().flatten().all(|piece| piece.len() <= PIECE), "a piece at a time");
        let well = all.iter().all(Result::is_ok);
        let sending = progress.look();
        assert_eq!(sending.broken.is_none(), well);
        (sending.taken, well)
    }

    #[tokio::test]
    async fn a_file_is_sent_as_long_as_it_was_when_it_was_opened() {
        let large = 3 * PIECE + 1;
        assert_eq!(sent(large, large as u64).await, (large as u64, true));
        assert_eq!(sent(large + 5, large as u64).await, (large as u64, true), "it grew");
        assert_eq!(sent(large - 5, large as u64).await, (large as u64 - 5, false), "it shrank");
    }
}
