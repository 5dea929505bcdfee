//! Datastores and local storages: lists, pages, adding, editing, removing, connecting. Both kinds share everything but the address.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use askama::Template;

use super::{
    error::Error,
    events::{EventView, view_events},
    form::Fields,
    page::{Capacity, Faults, Flash, Moment, Pill, Shell, html_with, new_key, see_other},
    session::SignedIn,
};
use crate::{
    authorize::{self, right},
    db::{
        clusters,
        cursor::Page,
        drafts, events,
        storages::{self, Storage},
    },
    domain::{
        access::Privilege,
        ids::{ClusterId, StorageId},
        size,
        storage::{Health, Kind},
        version::Expected,
    },
    operations::{
        Failure, Service,
        add_storage::{self, Asked},
        check_storage, connect_datastore, edit_storage, remove_storage,
    },
};

/// A storage, as pages show it.
pub struct StorageView {
    pub id: String,
    pub name: String,
    pub href: String,
    pub kind: &'static str,
    pub icon: &'static str,
    pub is_datastore: bool,
    pub path: String,
    pub health: Pill,
    pub removed: bool,
    pub degraded: bool,
    pub cause: String,
    pub since: Moment,
    pub checked: Moment,
    pub capacity: Capacity,
    pub promised: Option<String>,
    /// At most one more than are counted.
    pub images: u64,
    pub clusters: Vec<(String, String)>,
    pub unknown_files: u64,
    pub version: i64,
}

impl StorageView {
    fn new(storage: &Storage, images: u64, promised: u64, clusters: Vec<(ClusterId, String)>) -> Self {
        Self {
            id: storage.id.to_string(),
            name: storage.name.clone(),
            href: format!("/{}/{}", storage.kind.section(), storage.id),
            kind: storage.kind.words(),
            icon: storage.kind.icon(),
            is_datastore: storage.kind == Kind::Datastore,
            path: storage.path.clone(),
            health: storage.health.into(),
            removed: storage.health == Health::Removed,
            degraded: storage.health == Health::Degraded,
            cause: storage.cause.clone().unwrap_or_default(),
            since: storage.health_since.into(),
            checked: storage.checked_at.into(),
            capacity: Capacity::new(storage.capacity(), storage.free()),
            promised: (promised > 0).then(|| size::words(promised)),
            images,
            clusters: clusters.into_iter().map(|(id, name)| (id.to_string(), name)).collect(),
            unknown_files: storages::unsigned(storage.unknown_files),
            version: storage.version,
        }
    }

    /// `3 images`, `10,000+ images`
    fn image_words(&self) -> String {
        if self.images > storages::COUNTED {
            return "10,000+ images".to_owned();
        }
        size::counted(self.images, "image", "images")
    }
}

/// A cluster to tick or choose.
struct ClusterChoice {
    id: String,
    name: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "storages/list.html")]
struct ListPage {
    shell: Shell,
    section: &'static str,
    title: &'static str,
    intro: &'static str,
    add: &'static str,
    icon: &'static str,
    storages: Vec<StorageView>,
}

#[derive(Template)]
#[template(path = "storages/show.html")]
struct ShowPage {
    shell: Shell,
    storage: StorageView,
    other_clusters: Vec<ClusterChoice>,
    events: Vec<EventView>,
}

#[derive(Template)]
#[template(path = "storages/form.html")]
struct FormPage {
    shell: Shell,
    section: &'static str,
    kind: &'static str,
    title: String,
    action: String,
    cancel: String,
    key: String,
    version: Option<i64>,
    name: String,
    path: String,
    clusters: Vec<ClusterChoice>,
    is_datastore: bool,
    roots: String,
    faults: Faults,
    changed_meanwhile: bool,
}

#[derive(Template)]
#[template(path = "storages/removal.html")]
struct RemovalPage {
    shell: Shell,
    storage: StorageView,
}

fn kind_of(request: &HttpRequest) -> Kind {
    if request.path().starts_with("/datastores") { Kind::Datastore } else { Kind::Local }
}

fn title_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Datastore => "Datastores",
        Kind::Local => "Local storages",
    }
}

fn shell(request: &HttpRequest, service: &Service, me: &SignedIn, kind: Kind, title: &str) -> Shell {
    let title = if title.is_empty() { title_of(kind).to_owned() } else { format!("{title} – {}", title_of(kind)) };
    Shell::new(request, &service.config, me, kind.section(), title)
}

/// `GET /datastores`, `GET /local-storages`
pub async fn list(request: HttpRequest, service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    let kind = kind_of(&request);
    let storages = authorize::look(&service.db, &me.actor, move |conn, viewer| {
        if !viewer.sees(Privilege::ReadStorage) {
            return Ok(Vec::new());
        }
        let promised = storages::promised(conn)?;
        let mut clusters = storages::clusters_of(conn)?;
        let mut views = Vec::new();
        for storage in storages::all(conn, Some(kind))? {
            let id = storage.id.to_string();
            let images = storages::image_count_for_page(conn, viewer.counts(), storage.id)?;
            let promised = promised.get(&id).copied().unwrap_or(0);
            views.push(StorageView::new(&storage, images, promised, clusters.remove(&id).unwrap_or_default()));
        }
        Ok::<_, Failure>(views)
    });
    let (intro, add) = match kind {
        Kind::Datastore => ("Shared places for images, connected to one or more clusters.", "Add datastore"),
        Kind::Local => ("Places for images that belong to one host of one cluster.", "Add local storage"),
    };
    let page = ListPage {
        shell: shell(&request, &service, &me, kind, ""),
        section: kind.section(),
        title: title_of(kind),
        intro,
        add,
        icon: kind.icon(),
        storages: storages.await?,
    };
    html_with(StatusCode::OK, &page.shell, &page)
}

async fn find(service: &Service, me: &SignedIn, id: StorageId, kind: Kind) -> Result<(Storage, StorageView), Error> {
    let counts = service.db.counts().clone();
    let found = authorize::read::<right::ReadStorage, _>(&service.db, &me.actor, id, move |conn, granted| {
        let storage = storages::by_id(conn, granted.on())?.filter(|storage| storage.kind == kind).ok_or(Failure::NotFound)?;
        let clusters = storages::clusters_of(conn)?.remove(&id.to_string()).unwrap_or_default();
        let view =
            StorageView::new(&storage, storages::image_count_for_page(conn, &counts, id)?, storages::promised_on(conn, id)?, clusters);
        Ok((storage, view))
    });
    Ok(found.await?)
}

/// `GET /datastores/{id}`, `GET /local-storages/{id}`
pub async fn show(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<StorageId>) -> Result<HttpResponse, Error> {
    let kind = kind_of(&request);
    let (_, view) = find(&service, &me, *id, kind).await?;
    let object = id.to_string();
    let (all, slice) = authorize::look(&service.db, &me.actor, move |conn, _| {
        let filter = events::Filter { object_id: Some(object), ..events::Filter::default() };
        Ok::<_, Failure>((clusters::all(conn)?, events::page(conn, &filter, &Page::First, 10)?))
    })
    .await?;
    let connected = |cluster: &clusters::Cluster| view.clusters.iter().any(|(id, _)| *id == cluster.id.to_string());
    let other_clusters = all
        .iter()
        .filter(|cluster| kind == Kind::Datastore && !connected(cluster))
        .map(|cluster| ClusterChoice { id: cluster.id.to_string(), name: cluster.name.clone(), chosen: false })
        .collect();
    let page = ShowPage {
        shell: shell(&request, &service, &me, kind, &view.name),
        other_clusters,
        events: view_events(&slice.rows),
        storage: view,
    };
    html_with(StatusCode::OK, &page.shell, &page)
}

/// What is typed into the form of a storage.
struct Typed {
    name: String,
    path: String,
    clusters: Vec<ClusterId>,
}

async fn add_page(
    request: &HttpRequest,
    service: &Service,
    me: &SignedIn,
    typed: Typed,
    key: String,
    faults: Faults,
) -> Result<HttpResponse, Error> {
    let kind = kind_of(request);
    let (all, hosts) = authorize::look(&service.db, &me.actor, move |conn, viewer| {
        let privilege = if kind == Kind::Datastore { Privilege::CreateDatastore } else { Privilege::CreateLocalStorage };
        viewer.require(conn, privilege)?;
        Ok((clusters::all(conn)?, clusters::all_hosts(conn)?))
    })
    .await?;
    let choices: Vec<ClusterChoice> = match kind {
        Kind::Datastore => all
            .iter()
            .map(|cluster| ClusterChoice {
                id: cluster.id.to_string(),
                name: cluster.name.clone(),
                chosen: typed.clusters.contains(&cluster.id) || (all.len() == 1 && faults.is_empty()),
            })
            .collect(),
        Kind::Local => hosts
            .iter()
            .map(|(host, cluster)| ClusterChoice {
                id: cluster.id.to_string(),
                name: format!("{} ({})", host.name, cluster.name),
                chosen: typed.clusters.contains(&cluster.id) || hosts.len() == 1,
            })
            .collect(),
    };
    let words = match kind {
        Kind::Datastore => "Add datastore",
        Kind::Local => "Add local storage",
    };
    let page = FormPage {
        shell: shell(request, service, me, kind, &faults.title(words)),
        section: kind.section(),
        kind: kind.words(),
        title: words.to_owned(),
        action: format!("/{}/new", kind.section()),
        cancel: format!("/{}", kind.section()),
        key,
        version: None,
        name: typed.name,
        path: typed.path,
        clusters: choices,
        is_datastore: kind == Kind::Datastore,
        roots: roots(service),
        changed_meanwhile: false,
        faults,
    };
    html_with(page.faults.status(), &page.shell, &page)
}

fn roots(service: &Service) -> String {
    service.config.storage_roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// `GET /datastores/new`, `GET /local-storages/new`
pub async fn show_add(request: HttpRequest, service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    let typed = Typed { name: String::new(), path: String::new(), clusters: Vec::new() };
    add_page(&request, &service, &me, typed, new_key(), Faults::default()).await
}

/// `POST /datastores/new`, `POST /local-storages/new`
pub async fn add(request: HttpRequest, service: Data<Service>, me: SignedIn, fields: Fields) -> Result<HttpResponse, Error> {
    let (kind, key, user) = (kind_of(&request), fields.key()?, me.user.id);
    if let Some(before) = service.db.read(move |conn| Ok::<_, Failure>(drafts::submitted(conn, key, user)?)).await? {
        return Ok(see_other(&service.config, &before, None));
    }
    let mut clusters: Vec<ClusterId> = fields.parsed("cluster");
    clusters.sort_unstable();
    clusters.dedup();
    let asked = Asked {
        kind,
        name: fields.one("name")?.to_owned(),
        path: fields.one("path")?.to_owned(),
        cluster: clusters.first().copied().filter(|_| kind == Kind::Local),
        clusters: if kind == Kind::Datastore { clusters.clone() } else { Vec::new() },
    };
    match add_storage::run(&service, &me.actor, asked.clone(), Some(key)).await {
        Ok(added) => {
            let href = format!("/{}/{}", kind.section(), added.id);
            let unknown = match added.unknown_files {
                0 => String::new(),
                n => format!(" {} on it are not known here and are left alone.", size::counted(n, "file", "files")),
            };
            let after = match added.returned {
                None => format!(" is added.{unknown}"),
                Some(images) => format!(" is back, with {}.{unknown}", size::counted(images, "image", "images")),
            };
            Ok(see_other(
                &service.config,
                &href,
                Some(&Flash::about(&format!("{} ", kind.words()), href.clone(), added.name.trim(), after)),
            ))
        }
        Err(failed) => {
            // The same form was sent twice at once, and the other one added it.
            if let Some(before) = service.db.read(move |conn| Ok::<_, Failure>(drafts::submitted(conn, key, user)?)).await? {
                return Ok(see_other(&service.config, &before, None));
            }
            let faults = form_faults(failed)?;
            add_page(&request, &service, &me, Typed { name: asked.name, path: asked.path, clusters }, key.to_string(), faults).await
        }
    }
}

/// Faults that a form can show; a storage that cannot be written is the path's.
fn form_faults(failed: Failure) -> Result<Faults, Error> {
    match add_storage::as_field_faults(failed) {
        Failure::Invalid(faults) => Ok(Faults(faults)),
        other => Err(other.into()),
    }
}

fn edit_page(
    request: &HttpRequest,
    service: &Service,
    me: &SignedIn,
    view: &StorageView,
    typed: Typed,
    faults: Faults,
    changed_meanwhile: bool,
) -> Result<HttpResponse, Error> {
    let kind = kind_of(request);
    let title = format!("Edit {}", view.name);
    let page = FormPage {
        shell: shell(request, service, me, kind, &faults.title(&title)),
        section: kind.section(),
        kind: kind.words(),
        title: format!("Edit {}", kind.words().to_lowercase()),
        action: format!("{}/edit", view.href),
        cancel: view.href.clone(),
        key: String::new(),
        version: Some(view.version),
        name: typed.name,
        path: typed.path,
        clusters: Vec::new(),
        is_datastore: view.is_datastore,
        roots: roots(service),
        changed_meanwhile,
        faults,
    };
    html_with(if changed_meanwhile { StatusCode::CONFLICT } else { page.faults.status() }, &page.shell, &page)
}

/// `GET …/{id}/edit`
pub async fn show_edit(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<StorageId>) -> Result<HttpResponse, Error> {
    let (storage, view) = find(&service, &me, *id, kind_of(&request)).await?;
    let typed = Typed { name: storage.name, path: storage.path, clusters: Vec::new() };
    edit_page(&request, &service, &me, &view, typed, Faults::default(), false)
}

/// `POST …/{id}/edit`
pub async fn edit(
    request: HttpRequest,
    service: Data<Service>,
    me: SignedIn,
    id: Path<StorageId>,
    fields: Fields,
) -> Result<HttpResponse, Error> {
    let kind = kind_of(&request);
    find(&service, &me, *id, kind).await?;
    let typed = Typed { name: fields.one("name")?.to_owned(), path: fields.one("path")?.to_owned(), clusters: Vec::new() };
    let (faults, stale) =
        match edit_storage::run(&service, &me.actor, *id, fields.version()?.into(), Some(&typed.name), Some(&typed.path)).await {
            Ok(()) => {
                let href = format!("/{}/{id}", kind.section());
                let flash = Flash::about(&format!("{} ", kind.words()), href.clone(), typed.name.trim(), " is saved.");
                return Ok(see_other(&service.config, &href, Some(&flash)));
            }
            Err(Failure::Stale) => (Faults::default(), true),
            Err(failed) => (form_faults(failed)?, false),
        };
    let (_, view) = find(&service, &me, *id, kind).await?;
    edit_page(&request, &service, &me, &view, typed, faults, stale)
}

/// `POST …/{id}/check`
pub async fn check(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<StorageId>) -> Result<HttpResponse, Error> {
    let kind = kind_of(&request);
    find(&service, &me, *id, kind).await?;
    let storage = check_storage::run(&service, &me.actor, *id).await?;
    service.wake.notify_one();
    let href = format!("/{}/{id}", kind.section());
    let flash = match storage.health {
        Health::Healthy => Flash::about("", href.clone(), &storage.name, " is healthy. Its files were compared with the records."),
        _ => Flash::about("", href.clone(), &storage.name, format!(" is still degraded: {}", storage.cause.unwrap_or_default())).bad(),
    };
    Ok(see_other(&service.config, &href, Some(&flash)))
}

/// `GET …/{id}/removal`
pub async fn show_removal(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<StorageId>) -> Result<HttpResponse, Error> {
    let kind = kind_of(&request);
    let (_, storage) = find(&service, &me, *id, kind).await?;
    let page = RemovalPage { shell: shell(&request, &service, &me, kind, &format!("Remove {}", storage.name)), storage };
    html_with(StatusCode::OK, &page.shell, &page)
}

/// `POST …/{id}/removal`
pub async fn remove(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<StorageId>) -> Result<HttpResponse, Error> {
    let kind = kind_of(&request);
    find(&service, &me, *id, kind).await?;
    let (name, images) = remove_storage::run(&service, &me.actor, *id, Expected::Any).await?;
    let after = match images {
        0 => " is removed. Nothing on it was touched.".to_owned(),
        n => format!(" is removed; {} unavailable until it is added again.", size::counted(n, "image is", "images are")),
    };
    let flash = Flash::about(&format!("{} ", kind.words()), format!("/{}/{id}", kind.section()), &name, after);
    Ok(see_other(&service.config, &format!("/{}", kind.section()), Some(&flash)))
}

/// `POST /datastores/{id}/connections`
pub async fn connect(service: Data<Service>, me: SignedIn, id: Path<StorageId>, fields: Fields) -> Result<HttpResponse, Error> {
    let cluster: ClusterId = fields.one("cluster")?.parse().map_err(|_| Error::bad_request("Choose a cluster."))?;
    let name = connect_datastore::connect(&service, &me.actor, *id, cluster).await?;
    let flash = Flash::about("Connected to ", format!("/clusters/{cluster}"), &name, ".");
    Ok(see_other(&service.config, &format!("/datastores/{id}"), Some(&flash)))
}

/// `POST /datastores/{id}/connections/{cluster}/removal`
pub async fn disconnect(service: Data<Service>, me: SignedIn, path: Path<(StorageId, ClusterId)>) -> Result<HttpResponse, Error> {
    let (id, cluster) = path.into_inner();
    let name = connect_datastore::disconnect(&service, &me.actor, id, cluster).await?;
    let flash = Flash::about("Disconnected from ", format!("/clusters/{cluster}"), &name, ".");
    Ok(see_other(&service.config, &format!("/datastores/{id}"), Some(&flash)))
}
