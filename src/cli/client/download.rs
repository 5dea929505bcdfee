//! `vmimg image download`: a file arrives beside its place under another name, is compared with its SHA-256, flushed, and then renamed.
//!
//! What arrives of a download that breaks off is kept, and the same command goes on from there: the other name holds the beginning of the
//! SHA-256, so only bytes of the same file are ever put together, and the whole is compared at the end.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use futures_util::StreamExt;
use reqwest::{Method, StatusCode, header::RANGE};
use rustix::{
    fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat_with},
    io::Errno,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    Connection, Failed, Output, image,
    output::{progress, text},
    service::Service,
    upload::without_extension,
};
use crate::{domain::size, secret};

/// How often a download that broke off is gone on with, one after the other, without a byte in between.
const RETRIES: u32 = 5;
/// Bytes of a kept beginning that are read at a time.
const PIECE: usize = 256 * 1024;

/// What to download, and where to.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Download {
    /// Name or identifier
    image: String,
    /// File to write, or folder to write into; - for standard output [default: the image's name with .iso, here]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace the file if it exists; write to a terminal
    #[arg(long)]
    force: bool,
}

/// The file that is asked for.
struct Wanted {
    id: String,
    bytes: u64,
    /// SHA-256 in hexadecimal digits.
    sha256: String,
    /// The same as a header says it.
    digest: String,
}

impl Download {
    /// Does it.
    pub async fn run(self, service: &Service, connection: &Connection) -> Result<(), Failed> {
        let id = image::find(service, &self.image).await?;
        let about = service.get(&format!("/images/{id}")).await?.body;
        let Some(wanted) = Wanted::of(&about) else {
            // There is no file yet. Why, the service says best.
            service.send_safely(service.request(Method::GET, &format!("/images/{id}/content"))).await?;
            return Err(Failed::Away("The service has a file whose SHA-256 it does not know.".to_owned()));
        };
        let to = match self.to {
            Some(to) if to == Path::new("-") => {
                if io::stdout().is_terminal() && !self.force {
                    return Err(Failed::Here(
                        "This would write the bytes of the image to the terminal. Give --to FILE, or --force.".to_owned(),
                    ));
                }
                return wanted.receive(service, 0, Sha256::new(), &mut io::stdout(), "standard output").await;
            }
            Some(to) if to.is_dir() => to.join(file_name(&text(&about, "/name"))),
            Some(to) => to,
            None => PathBuf::from(file_name(&text(&about, "/name"))),
        };
        wanted.save(service, &to, self.force).await?;
        match connection.output {
            Output::Json => super::output::json(
                &json!({ "id": wanted.id, "file": to.to_string_lossy(), "size": wanted.bytes, "sha256": wanted.sha256 }),
            ),
            Output::Table => {
                eprintln!("{}: {}, SHA-256 {}", to.display(), size::words(wanted.bytes), wanted.sha256);
                Ok(())
            }
        }
    }
}

/// What a file is called where nobody said it: as the image, without what would lead elsewhere or hide it.
fn file_name(image: &str) -> String {
    let safe: String = image.chars().map(|c| if c.is_control() || matches!(c, '/' | '\\') { '_' } else { c }).collect();
    let stem = without_extension(&safe).trim_start_matches('.');
    format!("{}.iso", if stem.is_empty() { "image" } else { stem })
}

impl Wanted {
    fn of(image: &Value) -> Option<Self> {
        let (id, sha256) = (text(image, "/id"), text(image, "/sha256"));
        let digest = secret::digest_field(&secret::unhex(&sha256).filter(|digest| digest.len() == 32)?);
        Some(Self { id, bytes: image["size"].as_u64()?, sha256, digest })
    }

    async fn save(&self, service: &Service, to: &Path, force: bool) -> Result<(), Failed> {
        let exists = || Failed::file(to, "it exists already. Give another name with --to, or --force to replace it.");
        if !force && to.symlink_metadata().is_ok() {
            return Err(exists());
        }
        let Some(name) = to.file_name() else { return Err(Failed::file(to, "this is no name of a file")) };
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beginning: String = self.sha256.chars().take(16).collect();
        let part = folder.join(format!(".{beginning}.vmimg-part"));
        let here = |failed: io::Error| Failed::file(&part, failed);

        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(flags).open(&part);
        let mut file = opened.map_err(|failed| Failed::file(folder, failed))?;
        // A file system without locks has nobody else on it, as far as can be known.
        if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Err(Failed::file(&part, "another download of the same image is under way."));
        }
        let (has, hash) = self.beginning(&mut file).map_err(here)?;
        let received = self.receive(service, has, hash, &mut file, &part.to_string_lossy()).await;
        if let Err(failed) = received.and_then(|()| file.sync_all().map_err(here)) {
            // A whole file that is the wrong one is no beginning of anything.
            let kept = matches!(failed, Failed::Away(_)) && file.metadata().is_ok_and(|about| (1..self.bytes).contains(&about.len()));
            if kept {
                return Err(failed.and("What arrived is kept; the same command goes on from there."));
            }
            let _ = std::fs::remove_file(&part);
            return Err(failed);
        }
        if force {
            std::fs::rename(&part, to).map_err(|failed| Failed::file(to, failed))?;
        } else {
            let placed = match renameat_with(CWD, &part, CWD, to, RenameFlags::NOREPLACE) {
                // Not every file system can; a second name comes to the same.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    std::fs::hard_link(&part, to).and_then(|()| std::fs::remove_file(&part))
                }
                other => other.map_err(io::Error::from),
            };
            placed.map_err(|failed| if failed.kind() == io::ErrorKind::AlreadyExists { exists() } else { Failed::file(to, failed) })?;
        }
        // The new name is durable when its folder is.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|failed| Failed::file(&folder.join(name), failed))
    }

    /// What an earlier download left: how many bytes, and the SHA-256 so far. The file stands at its end afterwards.
    fn beginning(&self, file: &mut File) -> io::Result<(u64, Sha256)> {
        let mut hash = Sha256::new();
        if file.metadata()?.len() > self.bytes {
            file.set_len(0)?;
        }
        let (mut has, mut piece) = (0, vec![0; PIECE]);
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                file.seek(SeekFrom::Start(has))?;
                return Ok((has, hash));
            }
            hash.update(&piece[..read]);
            has += read as u64;
        }
    }

    /// Receives the rest of the file after `has` bytes and compares the whole. A connection that breaks is taken up where it broke.
    async fn receive(
        &self,
        service: &Service,
        mut has: u64,
        mut hash: Sha256,
        into: &mut (dyn Write + Send),
        place: &str,
    ) -> Result<(), Failed> {
        let bar = progress(self.bytes);
        bar.set_position(has);
        let here = |failed: io::Error| Failed::Here(format!("{place}: {failed}"));
        let mut failures = 0;
        while has < self.bytes {
            let broke = match self.ask(service, has).await {
                Ok(answer) => {
                    let mut pieces = answer.bytes_stream();
                    loop {
                        match pieces.next().await {
                            Some(Ok(piece)) => {
                                has += piece.len() as u64;
                                if has > self.bytes {
                                    return Err(Failed::Away("The service sent more than the image has.".to_owned()));
                                }
                                into.write_all(&piece).map_err(here)?;
                                hash.update(&piece);
                                bar.set_position(has);
                                failures = 0;
                            }
                            Some(Err(failed)) => break service.away(&failed),
                            None => break Failed::Away(format!("Only {has} of {} bytes arrived.", self.bytes)),
                        }
                    }
                }
                Err(failed @ Failed::Away(_)) => failed,
                Err(refused) => return Err(refused),
            };
            if has < self.bytes {
                failures += 1;
                if failures > RETRIES {
                    return Err(broke);
                }
                tokio::time::sleep(Duration::from_millis(100 << failures)).await;
            }
        }
        into.flush().map_err(here)?;
        bar.finish_and_clear();
        let received = secret::hex(&hash.finalize());
        if received == self.sha256 {
            return Ok(());
        }
        Err(Failed::Away(format!("What arrived has the SHA-256 {received}, but the image has {}. It is not kept.", self.sha256)))
    }

    /// Asks for the file from `has` on.
    async fn ask(&self, service: &Service, has: u64) -> Result<reqwest::Response, Failed> {
        let mut request = service.request(Method::GET, &format!("/images/{}/content", self.id));
        if has > 0 {
            request = request.header(RANGE, format!("bytes={has}-"));
        }
        let answer = service.send(request).await?;
        let digest = answer.headers().get("repr-digest").and_then(|digest| digest.to_str().ok());
        if digest.is_some_and(|digest| digest != self.digest) {
            return Err(Failed::Refused(format!("The image has another file than a moment ago ({}).", digest.unwrap_or_default())));
        }
        if has > 0 && answer.status() != StatusCode::PARTIAL_CONTENT {
            return Err(Failed::Refused("The service does not go on where a download broke off. Is something in between?".to_owned()));
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_as_its_image_and_lies_here() {
        let rows = [
            ("Debian 13", "Debian 13.iso"),
            ("debian.iso", "debian.iso"),
            ("../../etc/passwd", "_.._etc_passwd.iso"),
            ("a\\b", "a_b.iso"),
            (".hidden", "hidden.iso"),
            (".iso", "image.iso"),
            ("...", "image.iso"),
            ("日本", "日本.iso"),
        ];
        for (image, name) in rows {
            assert_eq!(file_name(image), name);
        }
    }

    #[test]
    fn what_was_kept_is_counted_and_hashed_unless_it_is_too_long() {
        let wanted = Wanted { id: String::new(), bytes: 5, sha256: String::new(), digest: String::new() };
        for (kept, counts) in [("", 0), ("abc", 3), ("abcde", 5), ("abcdef", 0)] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(kept.as_bytes()).unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            let (has, hash) = wanted.beginning(&mut file).unwrap();
            assert_eq!(has, counts, "{kept}");
            assert_eq!(hash.finalize(), Sha256::digest(&kept.as_bytes()[..counts as usize]), "{kept}");
            assert_eq!(file.metadata().unwrap().len(), counts, "{kept}");
        }
    }
}
