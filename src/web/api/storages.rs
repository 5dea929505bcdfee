//! Storages of both kinds, and the connections of datastores.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    body::Body,
    etag::{self, IfMatch, IfMatchHeader},
    query::Query,
    token::Caller,
    view::{All, Storage},
};
use crate::{
    authorize::{self, right},
    db::{Conn, storages},
    domain::{
        access::Privilege,
        ids::{ClusterId, HostId, StorageId},
        storage::Kind,
    },
    operations::{
        Failure, Service,
        add_storage::{self, Asked},
        check_storage, connect_datastore, edit_storage, manage_clusters, remove_storage,
    },
    web::error::Error,
};

/// Which storages.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes what Query reads")]
struct ListQuery {
    /// `datastore` or `local`; both without it.
    kind: Option<String>,
}

/// List the storages, removed ones last. All in one piece.
#[utoipa::path(get, path = "/storages", tag = "storages", params(ListQuery), responses((status = 200, body = All<Storage>)))]
pub async fn list(request: HttpRequest, service: Data<Service>, caller: Caller) -> Result<HttpResponse, Error> {
    let kind: Option<Kind> = Query::parse(&request, &["kind"])?.parsed("kind")?;
    let storages = authorize::look(&service.db, &caller.actor, move |conn, viewer| {
        if !viewer.reads(Privilege::ReadStorage)? {
            return Ok(Vec::new());
        }
        let (counts, promised) = (storages::image_counts(conn)?, storages::promised(conn)?);
        let clusters = storages::clusters_of(conn)?;
        let of = |storage: &storages::Storage| {
            let id = storage.id.to_string();
            let number = |found: Option<&u64>| found.copied().unwrap_or(0);
            Storage::new(storage, number(counts.get(&id)), number(promised.get(&id)), clusters.get(&id).map_or(&[], Vec::as_slice))
        };
        Ok::<_, Failure>(storages::all(conn, kind)?.iter().map(of).collect())
    });
    Ok(HttpResponse::Ok().json(All::of(storages.await?)))
}

fn find(conn: &mut Conn, id: StorageId) -> Result<Storage, Failure> {
    let storage = storages::by_id(conn, id)?.ok_or(Failure::NotFound)?;
    let clusters = storages::clusters_of(conn)?.remove(&id.to_string()).unwrap_or_default();
    Ok(Storage::new(&storage, storages::image_count(conn, id)?, storages::promised_on(conn, id)?, &clusters))
}

/// The answer with a storage that this request just made or changed.
async fn answer(service: &Service, id: StorageId) -> Result<HttpResponse, Error> {
    let storage = service.db.read(move |conn| find(conn, id)).await?;
    Ok(etag::answer(HttpResponse::Ok(), &storage))
}

/// A storage to add, or to bring back: the marker on the medium decides.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStorage {
    /// `datastore` or `local`.
    #[schema(pattern = "^(datastore|local)$")]
    kind: String,
    #[schema(example = "nas")]
    name: String,
    /// The folder, which exists, on the machine that runs the service.
    #[schema(example = "/srv/images")]
    path: String,
    /// The ids of the clusters to connect a datastore to.
    clusters: Option<Vec<String>>,
    /// The id of the host of a local storage.
    #[schema(format = "uuid")]
    host: Option<String>,
}

/// Add a storage, or bring a removed one back.
#[utoipa::path(post, path = "/storages", tag = "storages", request_body = NewStorage,
    responses((status = 201, body = Storage, headers(("ETag" = String), ("Location" = String)))))]
pub async fn add(request: HttpRequest, service: Data<Service>, caller: Caller, new: Body<NewStorage>) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let new = new.0;
    let kind: Kind =
        new.kind.parse().map_err(|_| Failure::invalid("/kind", "storage.kind", "A storage is of the kind datastore or local."))?;
    let mut clusters: Vec<ClusterId> = Vec::new();
    for id in new.clusters.as_deref().unwrap_or_default() {
        clusters.push(id.parse().map_err(|_| Failure::invalid("/clusters", "cluster.none", "One of the clusters does not exist."))?);
    }
    clusters.sort_unstable();
    clusters.dedup();
    let no_host = || Failure::invalid("/host", "storage.no_host", "This host does not exist. A local storage belongs to a host.");
    let cluster = match (kind, &new.host) {
        (Kind::Datastore, Some(_)) => {
            return Err(Failure::invalid("/host", "storage.kind", "A datastore belongs to no host; it is connected to clusters.").into());
        }
        (Kind::Local, _) if !clusters.is_empty() => {
            return Err(Failure::invalid(
                "/clusters",
                "storage.kind",
                "A local storage is not connected to clusters; it belongs to a host.",
            )
            .into());
        }
        (Kind::Datastore, None) => None,
        (Kind::Local, None) => return Err(no_host().into()),
        (Kind::Local, Some(host)) => {
            let id: HostId = host.parse().map_err(|_| no_host())?;
            match manage_clusters::find_host(&service, &caller.actor, id).await {
                Ok((_, cluster)) => Some(cluster.id),
                Err(Failure::NotFound | Failure::Unseen) => return Err(no_host().into()),
                Err(failed) => return Err(failed.into()),
            }
        }
    };
    let asked = Asked { kind, name: new.name, path: new.path, cluster, clusters };
    let added = add_storage::run(&service, &caller.actor, asked, None).await.map_err(add_storage::as_field_faults)?;
    let id = added.id;
    let storage = service.db.read(move |conn| find(conn, id)).await?;
    Ok(etag::created(&format!("/storages/{id}"), &storage))
}

/// Get a storage.
#[utoipa::path(get, path = "/storages/{id}", tag = "storages", params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = Storage, headers(("ETag" = String)))))]
pub async fn show(request: HttpRequest, service: Data<Service>, caller: Caller, id: Path<StorageId>) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let found = authorize::read::<right::ReadStorage, _>(&service.db, &caller.actor, *id, |conn, granted| find(conn, granted.on()));
    Ok(etag::answer(HttpResponse::Ok(), &found.await?))
}

/// What is to change; what is not named stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageChanges {
    name: Option<String>,
    /// Where the same medium lies now.
    path: Option<String>,
}

/// Change a storage's name, or its path if the medium moved.
#[utoipa::path(patch, path = "/storages/{id}", tag = "storages", params(("id" = String, Path, format = "uuid"), IfMatchHeader), request_body = StorageChanges,
    responses((status = 200, body = Storage, headers(("ETag" = String))), (status = 409, description = "The storage has been removed.")))]
pub async fn change(
    request: HttpRequest,
    service: Data<Service>,
    caller: Caller,
    id: Path<StorageId>,
    expected: IfMatch,
    changes: Body<StorageChanges>,
) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let StorageChanges { name, path } = changes.0;
    edit_storage::run(&service, &caller.actor, *id, expected.0, name.as_deref(), path.as_deref())
        .await
        .map_err(add_storage::as_field_faults)?;
    answer(&service, *id).await
}

/// Remove a storage: its images become File unavailable until it is added again, its record stays, nothing on the medium is touched.
#[utoipa::path(delete, path = "/storages/{id}", tag = "storages", params(("id" = String, Path, format = "uuid"), IfMatchHeader),
    responses((status = 204, description = "It is removed."), (status = 409, description = "It has been removed already.")))]
pub async fn remove(
    request: HttpRequest,
    service: Data<Service>,
    caller: Caller,
    id: Path<StorageId>,
    expected: IfMatch,
) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    remove_storage::run(&service, &caller.actor, *id, expected.0).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// Look at a storage, and compare its files with the records.
#[utoipa::path(post, path = "/storages/{id}/check", tag = "storages", params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = Storage, headers(("ETag" = String)))))]
pub async fn check(request: HttpRequest, service: Data<Service>, caller: Caller, id: Path<StorageId>) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    check_storage::run(&service, &caller.actor, *id).await?;
    service.wake.notify_one();
    answer(&service, *id).await
}

/// Connect a datastore to a cluster. Nothing happens if it is connected; so it needs no If-Match.
#[utoipa::path(put, path = "/storages/{id}/connections/{cluster}", tag = "storages",
    params(("id" = String, Path, format = "uuid"), ("cluster" = String, Path, format = "uuid")),
    responses((status = 200, body = Storage, headers(("ETag" = String))), (status = 409, description = "The datastore has been removed.")))]
pub async fn connect(
    request: HttpRequest,
    service: Data<Service>,
    caller: Caller,
    path: Path<(StorageId, ClusterId)>,
) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let (id, cluster) = path.into_inner();
    connect_datastore::connect(&service, &caller.actor, id, cluster).await?;
    answer(&service, id).await
}

/// Disconnect a datastore from a cluster. Nothing happens if it is not connected; so it needs no If-Match.
#[utoipa::path(delete, path = "/storages/{id}/connections/{cluster}", tag = "storages",
    params(("id" = String, Path, format = "uuid"), ("cluster" = String, Path, format = "uuid")),
    responses((status = 204, description = "They are not connected."), (status = 409, description = "Machines of the cluster use images on it.")))]
pub async fn disconnect(
    request: HttpRequest,
    service: Data<Service>,
    caller: Caller,
    path: Path<(StorageId, ClusterId)>,
) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let (id, cluster) = path.into_inner();
    connect_datastore::disconnect(&service, &caller.actor, id, cluster).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}
