//! Clusters and their hosts.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    body::Body,
    etag::{self, IfMatch, IfMatchHeader},
    query::Query,
    token::Caller,
    view::{All, Cluster, Host},
};
use crate::{
    authorize::{self, right},
    db::{Conn, clusters},
    domain::{
        access::Privilege,
        ids::{ClusterId, HostId},
    },
    operations::{Failure, Service, manage_clusters},
    web::error::Error,
};

/// List the clusters. All in one piece.
#[utoipa::path(get, path = "/clusters", tag = "clusters", responses((status = 200, body = All<Cluster>)))]
pub async fn list(request: HttpRequest, service: Data<Service>, caller: Caller) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let clusters = authorize::look(&service.db, &caller.actor, |conn, viewer| {
        if !viewer.reads(Privilege::ReadCluster)? {
            return Ok(Vec::new());
        }
        let hanging = clusters::hanging(conn)?;
        let of = |cluster: &clusters::Cluster| hanging.get(&cluster.id.to_string()).copied().unwrap_or_default();
        Ok::<_, Failure>(clusters::all(conn)?.iter().map(|cluster| Cluster::new(cluster, of(cluster))).collect())
    });
    Ok(HttpResponse::Ok().json(All::of(clusters.await?)))
}

fn find(conn: &mut Conn, id: ClusterId) -> Result<Cluster, Failure> {
    let cluster = clusters::by_id(conn, id)?.ok_or(Failure::NotFound)?;
    let hanging = clusters::hanging(conn)?.remove(&id.to_string()).unwrap_or_default();
    Ok(Cluster::new(&cluster, hanging))
}

/// A cluster that this request just made or changed.
async fn made(service: &Service, id: ClusterId) -> Result<Cluster, Error> {
    Ok(service.db.read(move |conn| find(conn, id)).await?)
}

/// A cluster to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCluster {
    #[schema(example = "Berlin")]
    name: String,
    #[schema(max_length = 4096)]
    note: Option<String>,
}

/// Add a cluster.
#[utoipa::path(post, path = "/clusters", tag = "clusters", request_body = NewCluster,
    responses((status = 201, body = Cluster, headers(("ETag" = String), ("Location" = String)))))]
pub async fn add(request: HttpRequest, service: Data<Service>, caller: Caller, new: Body<NewCluster>) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let id = manage_clusters::add(&service, &caller.actor, &new.0.name, new.0.note.as_deref().unwrap_or_default(), None).await?;
    Ok(etag::created(&format!("/clusters/{id}"), &made(&service, id).await?))
}

/// Get a cluster.
#[utoipa::path(get, path = "/clusters/{id}", tag = "clusters", params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = Cluster, headers(("ETag" = String)))))]
pub async fn show(request: HttpRequest, service: Data<Service>, caller: Caller, id: Path<ClusterId>) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let found = authorize::read::<right::ReadCluster, _>(&service.db, &caller.actor, *id, |conn, granted| find(conn, granted.on()));
    Ok(etag::answer(HttpResponse::Ok(), &found.await?))
}

/// What is to change; what is not named stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterChanges {
    name: Option<String>,
    #[schema(max_length = 4096)]
    note: Option<String>,
}

/// Change a cluster's name or note.
#[utoipa::path(patch, path = "/clusters/{id}", tag = "clusters", params(("id" = String, Path, format = "uuid"), IfMatchHeader), request_body = ClusterChanges,
    responses((status = 200, body = Cluster, headers(("ETag" = String)))))]
pub async fn change(
    request: HttpRequest,
    service: Data<Service>,
    caller: Caller,
    id: Path<ClusterId>,
    expected: IfMatch,
    changes: Body<ClusterChanges>,
) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    manage_clusters::edit(&service, &caller.actor, *id, expected.0, changes.0.name, changes.0.note).await?;
    Ok(etag::answer(HttpResponse::Ok(), &made(&service, *id).await?))
}

/// Remove a cluster on which nothing hangs.
#[utoipa::path(delete, path = "/clusters/{id}", tag = "clusters", params(("id" = String, Path, format = "uuid"), IfMatchHeader),
    responses((status = 204, description = "It is gone."), (status = 409, description = "Something hangs on it.")))]
pub async fn remove(
    request: HttpRequest,
    service: Data<Service>,
    caller: Caller,
    id: Path<ClusterId>,
    expected: IfMatch,
) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    manage_clusters::remove(&service, &caller.actor, *id, expected.0).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// List the hosts. All in one piece.
#[utoipa::path(get, path = "/hosts", tag = "clusters", responses((status = 200, body = All<Host>)))]
pub async fn hosts(request: HttpRequest, service: Data<Service>, caller: Caller) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let hosts = authorize::look(&service.db, &caller.actor, |conn, viewer| {
        let hosts = if viewer.reads(Privilege::ReadHost)? { clusters::all_hosts(conn)? } else { Vec::new() };
        Ok::<_, Failure>(hosts.iter().map(|(host, cluster)| Host::new(host, cluster)).collect())
    });
    Ok(HttpResponse::Ok().json(All::of(hosts.await?)))
}

/// Get a host.
#[utoipa::path(get, path = "/hosts/{id}", tag = "clusters", params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = Host)))]
pub async fn host(request: HttpRequest, service: Data<Service>, caller: Caller, id: Path<HostId>) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let (host, cluster) = manage_clusters::find_host(&service, &caller.actor, *id).await?;
    Ok(HttpResponse::Ok().json(Host::new(&host, &cluster)))
}
