//! `vmimg image …`

use std::{
    fs::File,
    io::{IsTerminal, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use clap::Subcommand;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::{Body, Method, header::RANGE};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    Connection, Failed, confirm,
    output::{bytes, list, text, thing},
    service::{Service, with_file_headers},
    storage,
};
use crate::{domain::size, media, secret};

/// Bytes of a file that are read and sent at a time.
const PIECE: usize = 256 * 1024;
/// How often a download that broke off is gone on with, one after the other, without a byte in between.
const RETRIES: u32 = 5;

/// What can be done with images.
#[derive(Debug, Subcommand)]
pub enum Image {
    /// List images, newest first
    List {
        /// Only those with this in their name; fewer than three characters: those that begin with it
        #[arg(long, short = 'q', value_name = "TEXT")]
        search: Option<String>,
        /// Only this status: available, pending, uploading, creating, degraded, `file_unavailable`; can be given several times
        #[arg(long)]
        status: Vec<String>,
        /// Only this type: installation, base, `virtual_disk`; can be given several times
        #[arg(long = "type", value_name = "TYPE")]
        kind: Vec<String>,
        /// Only on this storage, by name or identifier
        #[arg(long)]
        storage: Option<String>,
        /// Order: name, type, os, size, created; with - before it the other way round
        #[arg(long, allow_hyphen_values = true, value_name = "KEY")]
        sort: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 100, value_name = "N", conflicts_with = "all")]
        limit: usize,
        /// All of them
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show an image
    Show {
        /// Name or identifier
        image: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Make an image of an ISO file: check it, send it, wait until it is durable
    Upload {
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
        /// Operating system, by its key in the catalogue, which brings its minimum requirements
        #[arg(long, default_value = "other", conflicts_with = "image")]
        os: String,
        /// SHA-256 that the file must have, in hexadecimal; compared by the service before it looks into the file
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        /// Send the file of this image, which exists and is Pending, instead of making one
        #[arg(long, value_name = "NAME|ID")]
        image: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Download an image's file and compare its SHA-256
    Download {
        /// Name or identifier
        image: String,
        /// File to write, - for standard output [default: the image's name with .iso]
        #[arg(long, short = 'o', value_name = "FILE")]
        to: Option<PathBuf>,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Delete an image and its file
    Delete {
        /// Name or identifier
        image: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

impl Image {
    /// Does it.
    pub async fn run(self) -> Result<(), Failed> {
        match self {
            Self::List { search, status, kind, storage, sort, limit, all, connection } => {
                let service = Service::new(&connection)?;
                let mut query: Vec<(&str, String)> = Vec::new();
                query.extend(search.map(|search| ("q", search)));
                query.extend(status.into_iter().map(|status| ("status", status)));
                query.extend(kind.into_iter().map(|kind| ("type", kind)));
                query.extend(sort.map(|sort| ("sort", sort)));
                if let Some(named) = storage {
                    query.push(("storage", storage::find(&service, &named).await?));
                }
                let most = if all { usize::MAX } else { limit };
                query.push(("limit", most.clamp(1, 200).to_string()));
                let (items, more) = service.items("/images", &query, most).await?;
                list(connection.output, &items, &["id", "name", "type", "status", "os", "size", "storage", "created"], |image| {
                    let text = |path| text(image, path);
                    vec![
                        text("/id"),
                        text("/name"),
                        text("/type"),
                        status_words(image),
                        text("/os/name"),
                        bytes(image, "/size"),
                        text("/storage/name"),
                        text("/created_at"),
                    ]
                })?;
                if more {
                    eprintln!("There are more; --all shows them.");
                }
                Ok(())
            }
            Self::Show { image, connection } => {
                let service = Service::new(&connection)?;
                let id = find(&service, &image).await?;
                show(&connection, &service.get(&format!("/images/{id}")).await?.body)
            }
            Self::Upload { file, storage, name, note, os, sha256, image, connection } => {
                let service = Service::new(&connection)?;
                let chosen = Chosen::open(&file)?;
                let expected = sha256.as_deref().map(parse_digest).transpose()?;
                let id = match image {
                    Some(named) => find(&service, &named).await?,
                    None => {
                        let storage = match storage {
                            Some(named) => storage::find(&service, &named).await?,
                            None => the_only_storage(&service).await?,
                        };
                        let name = name.unwrap_or_else(|| without_extension(&chosen.name).to_owned());
                        let body = json!({
                            "type": "installation", "name": name, "note": note.unwrap_or_default(), "storage": storage, "os": os,
                            "file": { "name": chosen.name, "size": chosen.bytes },
                        });
                        let request = service.request(Method::POST, "/images").header("idempotency-key", secret::token()).json(&body);
                        text(&service.json(request).await?.body, "/id")
                    }
                };
                let sent = send(&service, &id, chosen, expected).await.map_err(|failed| match failed {
                    Failed::Away(why) => Failed::Away(format!(
                        "{why}\nThe image {id} is Pending. Send its file again with: vmimg image upload {} --image {id}",
                        file.display()
                    )),
                    other => other,
                })?;
                show(&connection, &sent)
            }
            Self::Download { image, to, force, connection } => {
                let service = Service::new(&connection)?;
                let id = find(&service, &image).await?;
                download(&service, &id, to, force).await
            }
            Self::Delete { image, yes, connection } => {
                let service = Service::new(&connection)?;
                let path = format!("/images/{}", find(&service, &image).await?);
                let seen = service.get(&path).await?;
                let name = text(&seen.body, "/name");
                confirm(&format!("Delete the image “{name}” and its file, for good?"), yes)?;
                service.delete(&path, seen.etag.as_deref()).await?;
                eprintln!("The image “{name}” is deleted.");
                Ok(())
            }
        }
    }
}

fn status_words(image: &Value) -> String {
    let code = text(image, "/status/code").replace('_', " ");
    let mut letters = code.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn show(connection: &Connection, image: &Value) -> Result<(), Failed> {
    let text = |path| text(image, path);
    let least = format!("{} vCPU, {} MiB memory, {} GiB disk", text("/min_vcpu"), text("/min_memory_mib"), text("/min_disk_gib"));
    thing(
        connection.output,
        image,
        &[
            ("Identifier", text("/id")),
            ("Name", text("/name")),
            ("Type", text("/type")),
            ("Status", format!("{}. {}", status_words(image), text("/status/sentence"))),
            ("Storage", text("/storage/name")),
            ("Size", bytes(image, "/size")),
            ("SHA-256", text("/sha256")),
            ("Label", text("/label")),
            ("OS", text("/os/name")),
            ("At least", least),
            ("Note", text("/note")),
            ("Created", format!("{} by {}", text("/created_at"), text("/created_by"))),
        ],
    )
}

/// The identifier of the image that was named by it or by its name.
async fn find(service: &Service, named: &str) -> Result<String, Failed> {
    if named.parse::<crate::domain::ids::ImageId>().is_ok() {
        return Ok(named.to_owned());
    }
    let query = [("q", named.to_owned()), ("limit", "200".to_owned())];
    let (found, _) = service.items("/images", &query, usize::MAX).await?;
    let found: Vec<&Value> = found.iter().filter(|image| image["name"].as_str() == Some(named)).collect();
    match found.as_slice() {
        [one] => Ok(text(one, "/id")),
        [] => Err(Failed::Refused(format!("There is no image “{named}” that you may see. `vmimg image list` shows them."))),
        several => {
            let ids: Vec<String> =
                several.iter().map(|image| format!("  {}  {}", text(image, "/id"), text(image, "/storage/name"))).collect();
            Err(Failed::Here(format!("Several images are called “{named}”. Give the identifier:\n{}", ids.join("\n"))))
        }
    }
}

async fn the_only_storage(service: &Service) -> Result<String, Failed> {
    let (all, _) = service.items("/storages", &[], usize::MAX).await?;
    let usable: Vec<&Value> = all.iter().filter(|storage| text(storage, "/health") == "healthy").collect();
    match usable.as_slice() {
        [one] => Ok(text(one, "/id")),
        _ => Err(Failed::Here("which storage? Give --storage; `vmimg storage list` shows them.".to_owned())),
    }
}

fn without_extension(file_name: &str) -> &str {
    let at = file_name.len().saturating_sub(4);
    match file_name.get(at..) {
        Some(extension) if extension.eq_ignore_ascii_case(".iso") => &file_name[..at],
        _ => file_name,
    }
}

/// A SHA-256 as people write it, as the bytes that it is.
fn parse_digest(typed: &str) -> Result<[u8; 32], Failed> {
    let wrong = || Failed::Here("--sha256 takes 64 hexadecimal digits, as sha256sum prints them".to_owned());
    let digits = typed.trim().as_bytes();
    let mut digest = [0_u8; 32];
    if digits.len() != 64 {
        return Err(wrong());
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

/// A file to be sent, looked at: what the service would refuse at once is refused before anything is sent.
struct Chosen {
    file: File,
    name: String,
    bytes: u64,
}

impl Chosen {
    fn open(path: &Path) -> Result<Self, Failed> {
        let here = |failed: &dyn std::fmt::Display| Failed::Here(format!("{}: {failed}", path.display()));
        let mut file = File::open(path).map_err(|failed| here(&failed))?;
        let about = file.metadata().map_err(|failed| here(&failed))?;
        if !about.is_file() {
            return Err(here(&"this is not a file"));
        }
        let mut head = Vec::new();
        Read::by_ref(&mut file).take(media::HEAD_BYTES as u64).read_to_end(&mut head).map_err(|failed| here(&failed))?;
        media::look_at_head(&head, Some(about.len())).map_err(|refusal| here(&refusal))?;
        file.seek(SeekFrom::Start(0)).map_err(|failed| here(&failed))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { file, name, bytes: about.len() })
    }
}

/// A bar on a terminal, nothing elsewhere.
fn progress(bytes: u64) -> ProgressBar {
    let shown = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(bytes), shown);
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {bytes} of {total_bytes}  {binary_bytes_per_sec}  {eta} left");
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// Sends a file piece by piece and compares what the service made of it with what was sent.
async fn send(service: &Service, image: &str, chosen: Chosen, expected: Option<[u8; 32]>) -> Result<Value, Failed> {
    let bar = progress(chosen.bytes);
    let hash = Arc::new(Mutex::new(Sha256::new()));
    let (shown, hashed) = (bar.clone(), hash.clone());
    let pieces = stream::unfold(chosen.file, move |mut file| {
        let mut piece = vec![0; PIECE];
        let read = match file.read(&mut piece) {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                shown.inc(length as u64);
                hashed.lock().unwrap_or_else(PoisonError::into_inner).update(&piece);
                Some((Ok(Bytes::from(piece)), file))
            }
            Err(failed) => Some((Err(failed), file)),
        };
        std::future::ready(read)
    });
    let request = service.request(Method::PUT, &format!("/images/{image}/content"));
    let mut request = with_file_headers(request, chosen.bytes).body(Body::wrap_stream(pieces));
    if let Some(expected) = expected {
        request = request.header("repr-digest", digest_field(&expected));
    }
    // The end is the service's work: it flushes and publishes, which takes as long as the storage needs.
    let answer = service.json(request.timeout(Duration::from_secs(7 * 24 * 3600))).await;
    bar.finish_and_clear();
    let image = answer?.body;
    let sent = secret::hex(&hash.lock().unwrap_or_else(PoisonError::into_inner).clone().finalize());
    if text(&image, "/sha256") == sent {
        return Ok(image);
    }
    Err(Failed::Away(format!("the service has an image with the SHA-256 {}, but {sent} was sent; do not use it", text(&image, "/sha256"))))
}

/// `sha-256=:…:`, as in RFC 9530.
fn digest_field(digest: &[u8; 32]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("sha-256=:{}:", STANDARD.encode(digest))
}

/// Writes an image's file beside its place, compares its SHA-256 and renames it.
async fn download(service: &Service, id: &str, to: Option<PathBuf>, force: bool) -> Result<(), Failed> {
    let image = service.get(&format!("/images/{id}")).await?.body;
    let (name, sha256) = (text(&image, "/name"), text(&image, "/sha256"));
    let bytes = image["size"].as_u64().unwrap_or_default();
    let to = to.unwrap_or_else(|| {
        let safe: String = name.chars().map(|c| if c.is_control() || matches!(c, '/' | '\\') { '_' } else { c }).collect();
        PathBuf::from(format!("{}.iso", without_extension(&safe).trim_start_matches('.')))
    });
    if to == Path::new("-") {
        let digest = receive(service, id, bytes, &mut std::io::stdout()).await?;
        return compare(&digest, &sha256);
    }
    if to.exists() && !force {
        return Err(Failed::Here(format!("{} exists; give another name with --to, or --force", to.display())));
    }
    let mut part = to.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let here = |failed: std::io::Error| Failed::Here(format!("{}: {failed}", part.display()));
    let mut file = File::create(&part).map_err(here)?;
    let received = receive(service, id, bytes, &mut file).await.and_then(|digest| compare(&digest, &sha256));
    if let Err(failed) = received.and_then(|()| file.sync_all().map_err(here)) {
        // Half a file under any name would be taken for a whole one sooner or later.
        let _ = std::fs::remove_file(&part);
        return Err(failed);
    }
    std::fs::rename(&part, &to).map_err(here)?;
    eprintln!("{}: {}, SHA-256 {sha256}", to.display(), size::words(bytes));
    Ok(())
}

fn compare(received: &str, should: &str) -> Result<(), Failed> {
    if received == should {
        return Ok(());
    }
    Err(Failed::Away(format!("what arrived has the SHA-256 {received}, the image has {should}")))
}

/// Receives a file and says its SHA-256. A connection that breaks is taken up where it broke.
async fn receive(service: &Service, id: &str, bytes: u64, into: &mut (dyn Write + Send)) -> Result<String, Failed> {
    let bar = progress(bytes);
    let mut hash = Sha256::new();
    let (mut has, mut failures) = (0_u64, 0_u32);
    while has < bytes {
        let mut request = service.request(Method::GET, &format!("/images/{id}/content"));
        if has > 0 {
            request = request.header(RANGE, format!("bytes={has}-"));
        }
        let broke = match service.send(request).await {
            Ok(answer) if has > 0 && answer.status() != reqwest::StatusCode::PARTIAL_CONTENT => {
                return Err(Failed::Away("the connection broke, and the service did not go on where it was".to_owned()));
            }
            Ok(answer) => {
                let mut pieces = answer.bytes_stream();
                let mut broke = None;
                while let Some(piece) = pieces.next().await {
                    match piece {
                        Ok(piece) => {
                            into.write_all(&piece)?;
                            hash.update(&piece);
                            has += piece.len() as u64;
                            bar.set_position(has);
                            failures = 0;
                        }
                        Err(failed) => {
                            broke = Some(service.away(&failed));
                            break;
                        }
                    }
                }
                broke
            }
            Err(Failed::Away(why)) => Some(Failed::Away(why)),
            Err(refused) => return Err(refused),
        };
        if has < bytes {
            failures += 1;
            if failures > RETRIES {
                return Err(broke.unwrap_or_else(|| Failed::Away(format!("only {has} of {bytes} bytes arrived"))));
            }
            tokio::time::sleep(Duration::from_millis(200 << failures)).await;
        }
    }
    into.flush()?;
    bar.finish_and_clear();
    Ok(secret::hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
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
        assert_eq!(digest_field(&[0; 32]), format!("sha-256=:{}=:", "A".repeat(43)));
    }

    #[test]
    fn a_file_that_is_no_medium_is_refused_before_anything_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.iso");
        std::fs::write(&path, "not an ISO").unwrap();
        let Err(Failed::Here(words)) = Chosen::open(&path) else { panic!("taken") };
        assert!(words.contains("text.iso: "), "{words}");
    }
}
