//! `vmimg storage …`

use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    AFTER_HELP, Connection, Failed, composed, confirm, each,
    output::{ambiguous, bytes, clean, list, text, things},
    service::Service,
};

/// What can be done with storages.
#[derive(Debug, Subcommand)]
#[command(after_help = AFTER_HELP)]
pub enum Storage {
    /// List storages
    List {
        /// Only this kind
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show storages
    Show {
        /// Names or identifiers
        #[arg(required = true, value_name = "STORAGE")]
        storages: Vec<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Add a storage, or bring one back that was removed
    Add {
        /// Its name
        #[arg(long)]
        name: String,
        /// Its folder on the service's machine
        #[arg(long)]
        path: String,
        /// Its kind
        #[arg(long, value_enum, default_value_t = Kind::Datastore)]
        kind: Kind,
        /// Cluster to connect a datastore to, by name or identifier; can be given several times
        #[arg(long = "cluster", value_name = "NAME|ID")]
        clusters: Vec<String>,
        /// Host that a local storage belongs to, by name or identifier; needed where there are several
        #[arg(long, value_name = "NAME|ID")]
        host: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Look at storages now; fails if one is not healthy
    Check {
        /// Names or identifiers
        #[arg(required = true, value_name = "STORAGE")]
        storages: Vec<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Remove storages; their files stay, their images become “File unavailable” until they are added again
    Remove {
        /// Names or identifiers
        #[arg(required = true, value_name = "STORAGE")]
        storages: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

/// The kinds of storages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Shared between hosts
    Datastore,
    /// Of one host
    Local,
}

impl Kind {
    const fn code(self) -> &'static str {
        match self {
            Self::Datastore => "datastore",
            Self::Local => "local",
        }
    }
}

impl Storage {
    /// Does it.
    pub async fn run(self) -> Result<(), Failed> {
        match self {
            Self::List { kind, connection } => {
                let service = Service::new(&connection)?;
                let query: Vec<_> = kind.map(|kind| ("kind", kind.code().to_owned())).into_iter().collect();
                let (items, _) = service.items("/storages", &query, usize::MAX).await?;
                list(connection.output, &items, &["id", "name", "kind", "health", "free", "capacity", "path"], |storage| {
                    let text = |path| text(storage, path);
                    let bytes = |path| bytes(storage, path);
                    vec![
                        text("/id"),
                        text("/name"),
                        text("/kind"),
                        text("/health"),
                        bytes("/free_bytes"),
                        bytes("/capacity_bytes"),
                        text("/path"),
                    ]
                })
            }
            Self::Show { storages, connection } => {
                let service = Service::new(&connection)?;
                let mut found = Vec::new();
                for id in find_all(&service, &storages).await? {
                    found.push(service.get(&format!("/storages/{id}")).await?.body);
                }
                things(connection.output, &found, facts)
            }
            Self::Add { name, path, kind, clusters, host, connection } => {
                let service = Service::new(&connection)?;
                let mut new = json!({ "kind": kind.code(), "name": name, "path": path });
                if !clusters.is_empty() {
                    let all = service.items("/clusters", &[], usize::MAX).await?.0;
                    let ids: Result<Vec<_>, _> = clusters.iter().map(|named| one_of(&all, "clusters", "cluster", named)).collect();
                    new["clusters"] = json!(ids?);
                }
                if kind == Kind::Local || host.is_some() {
                    let all = service.items("/hosts", &[], usize::MAX).await?.0;
                    new["host"] = match (host, all.as_slice()) {
                        (Some(named), _) => json!(one_of(&all, "hosts", "host", &named)?),
                        (None, [one]) => one["id"].clone(),
                        (None, _) => return Err(Failed::Here("Which host does it belong to? Give --host.".to_owned())),
                    };
                }
                things(connection.output, &[service.create("/storages", &new).await?], facts)
            }
            Self::Check { storages, connection } => {
                let service = Service::new(&connection)?;
                let mut found = Vec::new();
                for id in find_all(&service, &storages).await? {
                    let request = service.request(Method::POST, &format!("/storages/{id}/check"));
                    found.push(service.read(service.send_safely(request).await?).await?.body);
                }
                things(connection.output, &found, facts)?;
                let ill: Vec<String> =
                    found.iter().filter(|found| text(found, "/health") != "healthy").map(|found| text(found, "/name")).collect();
                if ill.is_empty() { Ok(()) } else { Err(Failed::Here(format!("Not healthy: {}", clean(&ill.join(", "))))) }
            }
            Self::Remove { storages, yes, connection } => {
                let service = Service::new(&connection)?;
                // Everything is looked up and asked before anything is done: a name that was mistyped removes nothing.
                let mut found = Vec::new();
                for id in find_all(&service, &storages).await? {
                    found.push(service.get(&format!("/storages/{id}")).await?);
                }
                for storage in found.iter().filter(|_| !yes) {
                    let name = text(&storage.body, "/name");
                    let images = text(&storage.body, "/images");
                    confirm(
                        &format!("Remove the storage “{}” with {images} images, which become “File unavailable”?", clean(&name)),
                        &name,
                    )?;
                }
                each(found, async |storage| {
                    service.delete(&format!("/storages/{}", text(&storage.body, "/id")), storage.etag.as_deref().filter(|_| !yes)).await?;
                    eprintln!("The storage “{}” is removed. Its files are untouched.", clean(&text(&storage.body, "/name")));
                    Ok(())
                })
                .await
            }
        }
    }
}

fn facts(storage: &Value) -> Vec<(&'static str, String)> {
    let text = |path| text(storage, path);
    let clusters = storage["clusters"].as_array().into_iter().flatten().filter_map(|cluster| cluster["name"].as_str());
    vec![
        ("Identifier", text("/id")),
        ("Name", text("/name")),
        ("Kind", text("/kind")),
        ("Health", text("/health")),
        ("Cause", text("/cause")),
        ("Free", bytes(storage, "/free_bytes")),
        ("Capacity", bytes(storage, "/capacity_bytes")),
        ("Images", text("/images")),
        ("Clusters", clusters.collect::<Vec<_>>().join(", ")),
        ("Path", text("/path")),
    ]
}

/// The identifier of the one of these things that was named by it or by its name.
fn one_of(all: &[Value], plural: &str, singular: &str, named: &str) -> Result<String, Failed> {
    let name = composed(named);
    let with = |path: &str, wanted: &str| -> Vec<&Value> { all.iter().filter(|thing| text(thing, path) == wanted).collect() };
    let mut found = with("/id", &name.to_ascii_lowercase());
    if found.is_empty() {
        found = with("/name", &name);
    }
    // A removed storage keeps its name, and another may have taken it.
    if found.len() > 1 {
        found.retain(|thing| text(thing, "/health") != "removed");
    }
    match found.as_slice() {
        [one] => Ok(text(one, "/id")),
        [] => Err(Failed::Refused(format!("There is no {singular} “{}” that you may see.", clean(named)))),
        several => Err(ambiguous(plural, named, several, "/path")),
    }
}

/// The identifier of the storage that was named by it or by its name.
pub async fn find(service: &Service, named: &str) -> Result<String, Failed> {
    one_of(&service.items("/storages", &[], usize::MAX).await?.0, "storages", "storage", named)
}

/// The identifiers of all that were named, each once.
async fn find_all(service: &Service, named: &[String]) -> Result<Vec<String>, Failed> {
    let all = service.items("/storages", &[], usize::MAX).await?.0;
    let mut ids = Vec::new();
    for named in named {
        let id = one_of(&all, "storages", "storage", named)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// The identifier of the only storage that can take an image.
pub async fn the_only_one(service: &Service) -> Result<String, Failed> {
    let all = service.items("/storages", &[], usize::MAX).await?.0;
    let usable: Vec<&Value> = all.iter().filter(|storage| text(storage, "/health") == "healthy").collect();
    match usable.as_slice() {
        [one] => Ok(text(one, "/id")),
        [] => Err(Failed::Refused("There is no healthy storage that you may see.".to_owned())),
        several => {
            let names: Vec<String> = several.iter().map(|storage| clean(&text(storage, "/name"))).collect();
            Err(Failed::Here(format!("Which storage? Give --storage: {}", names.join(", "))))
        }
    }
}
