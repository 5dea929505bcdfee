//! Clusters and their hosts.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use askama::Template;

use super::{
    error::Error,
    form::Fields,
    page::{Faults, Flash, Moment, Pill, Shell, html_with, new_key, see_other},
    session::SignedIn,
};
use crate::{
    authorize::{self, right},
    db::{
        DbError,
        clusters::{self, Cluster, Hanging, Host},
        drafts, storages,
    },
    domain::{
        access::Privilege,
        ids::{ClusterId, HostId},
        size,
        version::Expected,
    },
    operations::{Failure, Service, manage_clusters},
};

/// A cluster, as pages show it.
struct ClusterView {
    id: String,
    name: String,
    note: String,
    health: Pill,
    hosts: String,
    storages: String,
    created: Moment,
    version: i64,
    removal_refusal: Option<String>,
}

impl ClusterView {
    fn new(cluster: &Cluster, hanging: &Hanging) -> Self {
        let health = hanging.health();
        let count = |count: i64, one, many| size::counted(storages::unsigned(count), one, many);
        Self {
            id: cluster.id.to_string(),
            name: cluster.name.clone(),
            note: cluster.note.clone(),
            health: Pill { tone: health.tone(), icon: health.icon(), words: health.words().to_owned(), meaning: String::new() },
            hosts: count(hanging.hosts, "host", "hosts"),
            storages: count(hanging.local_storages + hanging.datastores, "storage", "storages"),
            created: cluster.created_at.into(),
            version: cluster.version,
            removal_refusal: manage_clusters::may_remove(hanging).err(),
        }
    }
}

/// A thing to link to, with its health.
struct Link {
    href: String,
    name: String,
    sub: String,
    health: Pill,
}

#[derive(Template)]
#[template(path = "clusters/list.html")]
struct ListPage {
    shell: Shell,
    clusters: Vec<ClusterView>,
}

#[derive(Template)]
#[template(path = "clusters/show.html")]
struct ShowPage {
    shell: Shell,
    cluster: ClusterView,
    hosts: Vec<Link>,
    storages: Vec<Link>,
}

#[derive(Template)]
#[template(path = "clusters/form.html")]
struct FormPage {
    shell: Shell,
    title: &'static str,
    action: String,
    cancel: String,
    key: String,
    version: Option<i64>,
    name: String,
    note: String,
    faults: Faults,
    changed_meanwhile: bool,
}

#[derive(Template)]
#[template(path = "clusters/removal.html")]
struct RemovalPage {
    shell: Shell,
    cluster: ClusterView,
}

#[derive(Template)]
#[template(path = "hosts/list.html")]
struct HostsPage {
    shell: Shell,
    hosts: Vec<HostView>,
}

#[derive(Template)]
#[template(path = "hosts/show.html")]
struct HostPage {
    shell: Shell,
    host: HostView,
    storages: Vec<Link>,
}

struct HostView {
    id: String,
    name: String,
    cluster_id: String,
    cluster: String,
    health: Pill,
    created: Moment,
}

impl HostView {
    fn new(host: &Host, cluster: &Cluster) -> Self {
        Self {
            id: host.id.to_string(),
            name: host.name.clone(),
            cluster_id: cluster.id.to_string(),
            cluster: cluster.name.clone(),
            health: connected(),
            created: host.created_at.into(),
        }
    }
}

/// *This machine* is connected as long as the service runs on it.
fn connected() -> Pill {
    Pill { tone: "good", icon: "check", words: "Connected".to_owned(), meaning: "The service runs on this machine.".to_owned() }
}

fn shell(request: &HttpRequest, service: &Service, me: &SignedIn, title: &str) -> Shell {
    let title = if title.is_empty() { "Clusters".to_owned() } else { format!("{title} – Clusters") };
    Shell::new(request, &service.config, me, "clusters", title)
}

fn storage_links(
    conn: &mut crate::db::Conn,
    belongs: impl Fn(&storages::Storage, &[(ClusterId, String)]) -> bool,
) -> Result<Vec<Link>, Failure> {
    let clusters = storages::clusters_of(conn)?;
    let all = storages::all(conn, None)?;
    let links = all.iter().filter(|storage| belongs(storage, clusters.get(&storage.id.to_string()).map_or(&[], Vec::as_slice)));
    Ok(links
        .filter(|storage| storage.health != crate::domain::storage::Health::Removed)
        .map(|storage| Link {
            href: format!("/{}/{}", storage.kind.section(), storage.id),
            name: storage.name.clone(),
            sub: storage.kind.words().to_owned(),
            health: storage.health.into(),
        })
        .collect())
}

/// `GET /clusters`
pub async fn list(request: HttpRequest, service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    let clusters = authorize::look(&service.db, &me.actor, |conn, viewer| {
        if !viewer.sees(Privilege::ReadCluster) {
            return Ok(Vec::new());
        }
        let hanging = clusters::hanging(conn)?;
        let of = |cluster: &Cluster| hanging.get(&cluster.id.to_string()).copied().unwrap_or_default();
        Ok::<_, Failure>(clusters::all(conn)?.iter().map(|cluster| ClusterView::new(cluster, &of(cluster))).collect())
    });
    let page = ListPage { shell: shell(&request, &service, &me, ""), clusters: clusters.await? };
    html_with(StatusCode::OK, &page.shell, &page)
}

async fn find(service: &Service, me: &SignedIn, id: ClusterId) -> Result<ClusterView, Error> {
    let found = authorize::read::<right::ReadCluster, _>(&service.db, &me.actor, id, |conn, granted| {
        let cluster = clusters::by_id(conn, granted.on())?.ok_or(Failure::NotFound)?;
        let hanging = clusters::hanging(conn)?.remove(&granted.on().to_string()).unwrap_or_default();
        Ok(ClusterView::new(&cluster, &hanging))
    });
    Ok(found.await?)
}

/// `GET /clusters/{id}`
pub async fn show(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<ClusterId>) -> Result<HttpResponse, Error> {
    let id = *id;
    let cluster = find(&service, &me, id).await?;
    let (hosts, storages) = authorize::read::<right::ReadHost, _>(&service.db, &me.actor, id, move |conn, _| {
        let hosts = clusters::all_hosts(conn)?.into_iter().filter(|(host, _)| host.cluster_id == id);
        let hosts = hosts.map(|(host, _)| Link {
            href: format!("/hosts/{}", host.id),
            name: host.name,
            sub: "Without a hypervisor".to_owned(),
            health: connected(),
        });
        Ok((hosts.collect(), storage_links(conn, |_, clusters| clusters.iter().any(|(cluster, _)| *cluster == id))?))
    })
    .await?;
    let page = ShowPage { shell: shell(&request, &service, &me, &cluster.name), cluster, hosts, storages };
    html_with(StatusCode::OK, &page.shell, &page)
}

/// `GET /clusters/new`
pub async fn show_add(request: HttpRequest, service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    authorize::look(&service.db, &me.actor, |conn, viewer| viewer.require(conn, Privilege::CreateCluster)).await?;
    form_page(&request, &service, &me, None, new_key(), (String::new(), String::new()), Faults::default(), false)
}

#[expect(clippy::too_many_arguments, reason = "one page for adding and editing")]
fn form_page(
    request: &HttpRequest,
    service: &Service,
    me: &SignedIn,
    cluster: Option<&ClusterView>,
    key: String,
    (name, note): (String, String),
    faults: Faults,
    changed_meanwhile: bool,
) -> Result<HttpResponse, Error> {
    let title = if cluster.is_some() { "Edit cluster" } else { "Add cluster" };
    let here = cluster.map(|cluster| format!("/clusters/{}", cluster.id));
    let page = FormPage {
        shell: shell(request, service, me, &faults.title(title)),
        title,
        action: here.as_ref().map_or_else(|| "/clusters/new".to_owned(), |here| format!("{here}/edit")),
        cancel: here.unwrap_or_else(|| "/clusters".to_owned()),
        key,
        version: cluster.map(|cluster| cluster.version),
        name,
        note,
        faults,
        changed_meanwhile,
    };
    html_with(if changed_meanwhile { StatusCode::CONFLICT } else { page.faults.status() }, &page.shell, &page)
}

/// `POST /clusters/new`
pub async fn add(request: HttpRequest, service: Data<Service>, me: SignedIn, fields: Fields) -> Result<HttpResponse, Error> {
    let (key, user) = (fields.key()?, me.user.id);
    let before = move |conn: &mut crate::db::Conn| Ok::<_, Failure>(drafts::submitted(conn, key, user)?);
    if let Some(before) = service.db.read(before).await? {
        return Ok(see_other(&service.config, &before, None));
    }
    let (name, note) = (fields.one("name")?.to_owned(), fields.one("note")?.to_owned());
    match manage_clusters::add(&service, &me.actor, &name, &note, Some(key)).await {
        Ok(id) => {
            let here = format!("/clusters/{id}");
            Ok(see_other(&service.config, &here, Some(&Flash::about("Cluster ", here.clone(), name.trim(), " is added."))))
        }
        Err(Failure::Invalid(faults)) => form_page(&request, &service, &me, None, key.to_string(), (name, note), Faults(faults), false),
        Err(Failure::Db(DbError::Taken(_))) => {
            let before = service.db.read(before).await?;
            Ok(see_other(&service.config, &before.unwrap_or_else(|| "/clusters".to_owned()), None))
        }
        Err(other) => Err(other.into()),
    }
}

/// `GET /clusters/{id}/edit`
pub async fn show_edit(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<ClusterId>) -> Result<HttpResponse, Error> {
    let cluster = find(&service, &me, *id).await?;
    let typed = (cluster.name.clone(), cluster.note.clone());
    form_page(&request, &service, &me, Some(&cluster), String::new(), typed, Faults::default(), false)
}

/// `POST /clusters/{id}/edit`
pub async fn edit(
    request: HttpRequest,
    service: Data<Service>,
    me: SignedIn,
    id: Path<ClusterId>,
    fields: Fields,
) -> Result<HttpResponse, Error> {
    let (name, note) = (fields.one("name")?.to_owned(), fields.one("note")?.to_owned());
    let (faults, stale) =
        match manage_clusters::edit(&service, &me.actor, *id, fields.version()?.into(), Some(name.clone()), Some(note.clone())).await {
            Ok(()) => {
                let here = format!("/clusters/{id}");
                return Ok(see_other(&service.config, &here, Some(&Flash::about("Cluster ", here.clone(), name.trim(), " is saved."))));
            }
            Err(Failure::Invalid(faults)) => (Faults(faults), false),
            Err(Failure::Stale) => (Faults::default(), true),
            Err(other) => return Err(other.into()),
        };
    let cluster = find(&service, &me, *id).await?;
    form_page(&request, &service, &me, Some(&cluster), String::new(), (name, note), faults, stale)
}

/// `GET /clusters/{id}/removal`
pub async fn show_removal(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<ClusterId>) -> Result<HttpResponse, Error> {
    let cluster = find(&service, &me, *id).await?;
    let status = if cluster.removal_refusal.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    let page = RemovalPage { shell: shell(&request, &service, &me, &format!("Remove {}", cluster.name)), cluster };
    html_with(status, &page.shell, &page)
}

/// `POST /clusters/{id}/removal`
pub async fn remove(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<ClusterId>) -> Result<HttpResponse, Error> {
    match manage_clusters::remove(&service, &me.actor, *id, Expected::Any).await {
        Ok(name) => Ok(see_other(&service.config, "/clusters", Some(&Flash::plain("Cluster ", &name, " is removed.")))),
        Err(Failure::Refused(_)) => show_removal(request, service, me, id).await,
        Err(other) => Err(other.into()),
    }
}

/// `GET /hosts`
pub async fn hosts(request: HttpRequest, service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    let hosts = authorize::look(&service.db, &me.actor, |conn, viewer| {
        let all = if viewer.sees(Privilege::ReadHost) { clusters::all_hosts(conn)? } else { Vec::new() };
        Ok::<_, Failure>(all.iter().map(|(host, cluster)| HostView::new(host, cluster)).collect())
    });
    let page = HostsPage { shell: Shell::new(&request, &service.config, &me, "hosts", "Hosts"), hosts: hosts.await? };
    html_with(StatusCode::OK, &page.shell, &page)
}

/// `GET /hosts/{id}`
pub async fn host(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<HostId>) -> Result<HttpResponse, Error> {
    let own = id.to_string();
    let (host, cluster) = manage_clusters::find_host(&service, &me.actor, *id).await?;
    let storages = authorize::read::<right::ReadHost, _>(&service.db, &me.actor, cluster.id, move |conn, _| {
        storage_links(conn, |storage, _| storage.host_id.as_deref() == Some(own.as_str()))
    })
    .await?;
    let host = HostView::new(&host, &cluster);
    let page = HostPage { shell: Shell::new(&request, &service.config, &me, "hosts", format!("{} – Hosts", host.name)), host, storages };
    html_with(StatusCode::OK, &page.shell, &page)
}
