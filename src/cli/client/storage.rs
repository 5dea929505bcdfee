//! `vmimg storage …`

use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Connection, Failed, confirm,
    output::{bytes, list, text, thing},
    service::Service,
};

/// What can be done with storages.
#[derive(Debug, Subcommand)]
pub enum Storage {
    /// List storages
    List {
        /// Only this kind
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show a storage
    Show {
        /// Name or identifier
        storage: String,
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
        /// Clusters that a datastore is connected to, by identifier; can be given several times
        #[arg(long = "cluster", value_name = "ID")]
        clusters: Vec<String>,
        /// Host that a local storage belongs to, by identifier; needed where there are several
        #[arg(long, value_name = "ID")]
        host: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Look at a storage now
    Check {
        /// Name or identifier
        storage: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Remove a storage; its files stay, its images become “File unavailable” until it is added again
    Remove {
        /// Name or identifier
        storage: String,
        /// Do not ask
        #[arg(long)]
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
            Self::Show { storage, connection } => {
                let service = Service::new(&connection)?;
                let id = find(&service, &storage).await?;
                show(&connection, &service.get(&format!("/storages/{id}")).await?.body)
            }
            Self::Add { name, path, kind, clusters, host, connection } => {
                let service = Service::new(&connection)?;
                let mut body = json!({ "kind": kind.code(), "name": name, "path": path });
                if !clusters.is_empty() {
                    body["clusters"] = json!(clusters);
                }
                if let Some(host) = host {
                    body["host"] = json!(host);
                }
                show(&connection, &service.json(service.request(Method::POST, "/storages").json(&body)).await?.body)
            }
            Self::Check { storage, connection } => {
                let service = Service::new(&connection)?;
                let id = find(&service, &storage).await?;
                show(&connection, &service.json(service.request(Method::POST, &format!("/storages/{id}/check"))).await?.body)
            }
            Self::Remove { storage, yes, connection } => {
                let service = Service::new(&connection)?;
                let path = format!("/storages/{}", find(&service, &storage).await?);
                let seen = service.get(&path).await?;
                let name = text(&seen.body, "/name");
                confirm(&format!("Remove the storage “{name}”? Its images become “File unavailable” until it is added again."), yes)?;
                service.delete(&path, seen.etag.as_deref()).await?;
                eprintln!("The storage “{name}” is removed. Its files are untouched.");
                Ok(())
            }
        }
    }
}

fn show(connection: &Connection, storage: &Value) -> Result<(), Failed> {
    let text = |path| text(storage, path);
    thing(
        connection.output,
        storage,
        &[
            ("Identifier", text("/id")),
            ("Name", text("/name")),
            ("Kind", text("/kind")),
            ("Health", text("/health")),
            ("Cause", text("/cause")),
            ("Free", bytes(storage, "/free_bytes")),
            ("Capacity", bytes(storage, "/capacity_bytes")),
            ("Path", text("/path")),
        ],
    )
}

/// The identifier of the storage that was named by it or by its name.
pub async fn find(service: &Service, named: &str) -> Result<String, Failed> {
    let (all, _) = service.items("/storages", &[], usize::MAX).await?;
    let same = |storage: &&Value, path: &str| storage.pointer(path).and_then(Value::as_str) == Some(named);
    let found: Vec<&Value> = match all.iter().find(|storage| same(storage, "/id")) {
        Some(one) => vec![one],
        None => all.iter().filter(|storage| same(storage, "/name")).collect(),
    };
    match found.as_slice() {
        [one] => Ok(text(one, "/id")),
        [] => Err(Failed::Refused(format!("There is no storage “{named}” that you may see. `vmimg storage list` shows them."))),
        _ => Err(Failed::Here(format!("Several storages are called “{named}”. Give the identifier; `vmimg storage list` shows it."))),
    }
}
