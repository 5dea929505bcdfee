//! `vmimg image …`

use clap::Subcommand;
use serde_json::Value;

use super::{
    AFTER_HELP, Connection, Failed, composed, confirm,
    download::Download,
    each,
    output::{ambiguous, bytes, clean, list, text, things},
    service::{Answer, Service},
    storage,
    upload::Upload,
};
use crate::domain::ids::ImageId;

/// As many images with a text in their name are looked through for the one that has just this name.
const MOST_LIKE_IT: usize = 2_000;

/// What can be done with images.
#[derive(Debug, Subcommand)]
#[command(after_help = AFTER_HELP)]
pub enum Image {
    /// List images, newest first
    List {
        /// Only those with this in their name; fewer than three characters: those that begin with it
        #[arg(long, short, value_name = "TEXT")]
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
        #[arg(long, default_value_t = 100, value_name = "N", conflicts_with = "all", value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// All of them
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show images
    Show {
        /// Names or identifiers
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Make an image of an ISO file: check it, send it, wait until it is durable
    Upload {
        #[command(flatten)]
        upload: Upload,
        #[command(flatten)]
        connection: Connection,
    },
    /// Download an image's file and compare its SHA-256; one that broke off goes on where it was
    Download {
        #[command(flatten)]
        download: Download,
        #[command(flatten)]
        connection: Connection,
    },
    /// Delete images and their files
    Delete {
        /// Names or identifiers
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
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
                let most = if all { usize::MAX } else { limit as usize };
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
            Self::Show { images, connection } => {
                let service = Service::new(&connection)?;
                let found = find_all(&service, &images).await?;
                things(connection.output, &found.into_iter().map(|found| found.body).collect::<Vec<_>>(), facts)
            }
            Self::Upload { upload, connection } => {
                let service = Service::new(&connection)?;
                things(connection.output, &[upload.run(&service).await?], facts)
            }
            Self::Download { download, connection } => download.run(&Service::new(&connection)?, &connection).await,
            Self::Delete { images, yes, connection } => {
                let service = Service::new(&connection)?;
                // Everything is looked up and asked before anything is done: a name that was mistyped deletes nothing.
                let found = find_all(&service, &images).await?;
                for image in found.iter().filter(|_| !yes) {
                    let name = text(&image.body, "/name");
                    confirm(&format!("Delete the image “{}” and its file, for good?", clean(&name)), &name)?;
                }
                each(found, async |image| {
                    service.delete(&format!("/images/{}", text(&image.body, "/id")), image.etag.as_deref().filter(|_| !yes)).await?;
                    eprintln!("The image “{}” is deleted.", clean(&text(&image.body, "/name")));
                    Ok(())
                })
                .await
            }
        }
    }
}

fn status_words(image: &Value) -> String {
    let code = text(image, "/status/code").replace('_', " ");
    let mut letters = code.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn facts(image: &Value) -> Vec<(&'static str, String)> {
    let text = |path| text(image, path);
    let least = format!("{} vCPU, {} MiB memory, {} GiB disk", text("/min_vcpu"), text("/min_memory_mib"), text("/min_disk_gib"));
    vec![
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
    ]
}

/// The identifier of the image that was named by it or by its name.
pub async fn find(service: &Service, named: &str) -> Result<String, Failed> {
    if let Ok(id) = named.trim().to_ascii_lowercase().parse::<ImageId>() {
        return Ok(id.to_string());
    }
    let name = composed(named);
    if name.is_empty() {
        return Err(Failed::Here("An image is named by its name or its identifier; this is neither.".to_owned()));
    }
    // Shorter names come first among those that begin alike, and so does the one that is meant.
    let query = [("q", name.clone()), ("sort", "name".to_owned()), ("limit", "200".to_owned())];
    let (like_it, more) = service.items("/images", &query, MOST_LIKE_IT).await?;
    let found: Vec<&Value> = like_it.iter().filter(|image| image["name"].as_str() == Some(&name)).collect();
    match found.as_slice() {
        [one] => Ok(text(one, "/id")),
        [] if more => {
            let words = format!("More than {MOST_LIKE_IT} images have “{}” in their name. Give the identifier.", clean(named));
            Err(Failed::Here(words))
        }
        [] => Err(Failed::Refused(format!("There is no image “{}” that you may see. `vmimg image list` shows them.", clean(named)))),
        several => Err(ambiguous("images", named, several, "/storage/name")),
    }
}

/// Every image that was named, once.
async fn find_all(service: &Service, named: &[String]) -> Result<Vec<Answer>, Failed> {
    let mut ids = Vec::new();
    for named in named {
        let id = find(service, named).await?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let mut found = Vec::new();
    for id in ids {
        found.push(service.get(&format!("/images/{id}")).await?);
    }
    Ok(found)
}
