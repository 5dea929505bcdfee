//! Images.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    body::{self, Body},
    etag::{self, IfMatch, IfMatchHeader},
    query::{Query, invalid},
    token::Caller,
    view::{Image, Paged},
};
use crate::{
    authorize::{self, right},
    db::{
        images::{self, Filter, Sort},
        storages, usage,
    },
    domain::{access::Privilege, ids::ImageId, text::fold},
    media::os_catalogue,
    operations::{Failure, Service, check_image, create_image, delete_image, edit_image, find_image, forget_image, stop_upload},
    web::{error::Error, images::list::SEARCH_MAX},
};

/// Which images, in which order. A parameter that can come several times lets through what any of its values lets through.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes what Query reads")]
struct ListQuery {
    /// Part of the name; with fewer than three characters its beginning.
    #[param(max_length = 255)]
    q: Option<String>,
    /// `installation`, `base`, `virtual_disk`; can come several times.
    r#type: Option<Vec<String>>,
    /// `available`, `uploading`, `creating`, `pending`, `degraded`, `file_unavailable`; can come several times.
    status: Option<Vec<String>>,
    /// An operating system's id, or `other`; can come several times.
    os: Option<Vec<String>>,
    /// A storage's id; can come several times.
    storage: Option<Vec<String>>,
    /// A cluster's id; can come several times.
    cluster: Option<Vec<String>>,
    /// `name`, `type`, `os`, `size` or `created`, with `-` before it for the other way round. Newest first without it.
    sort: Option<String>,
    /// Images of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// List images.
#[utoipa::path(get, path = "/images", tag = "images", params(ListQuery),
    responses((status = 200, body = Paged<Image>, headers(("Link" = String, description = "The next page, if there is one.")))))]
pub async fn list(request: HttpRequest, service: Data<Service>, caller: Caller) -> Result<HttpResponse, Error> {
    let query = Query::parse(&request, &["q", "type", "status", "os", "storage", "cluster", "sort", "limit", "after"])?;
    let search = query.one("q")?.unwrap_or_default().trim();
    if search.chars().count() > SEARCH_MAX || search.chars().any(char::is_control) {
        return Err(invalid("q", "has at most 255 characters, and no control characters"));
    }
    let system = |os: &str| os_catalogue::is_choice(os).then(|| os.to_owned());
    let filter = Filter {
        search: fold(search),
        kinds: query.each("type", |value| value.parse().ok())?,
        shown: query.each("status", |value| value.parse().ok())?,
        systems: query.each("os", system)?,
        storages: query.each("storage", |value| value.parse().ok())?,
        clusters: query.each("cluster", |value| value.parse().ok())?,
    };
    let (sort, descending) = match query.one("sort")? {
        None => (Sort::Created, true),
        Some(asked) => {
            let (key, descending) = asked.strip_prefix('-').map_or((asked, false), |key| (key, true));
            (key.parse().map_err(|_| invalid("sort", "is name, type, os, size or created, with or without - before it"))?, descending)
        }
    };
    let paging = query.paging(sort.as_str(), sort.is_text())?;
    let asked = paging.clone();
    let (slice, machines) = authorize::look(&service.db, &caller.actor, move |conn, viewer| {
        // Whoever may see no image is shown an empty list.
        let limit = if viewer.reads(Privilege::ReadImage)? { asked.limit } else { 0 };
        let all = storages::all(conn, None)?;
        let mut slice = images::list(conn, viewer.counts(), &all, &filter, sort, descending, &asked.page, limit)?;
        slice.has_next &= limit > 0;
        let ids: Vec<ImageId> = slice.rows.iter().map(|row| row.found.image.id).collect();
        let machines = usage::machines_of(conn, &ids)?;
        Ok::<_, Failure>((slice, machines))
    })
    .await?;
    let last = slice.rows.last().filter(|_| slice.has_next).map(|row| row.place(sort));
    let of = |row: &images::Row| Image::new(&row.found, machines.get(&row.found.image.id).map_or(&[], Vec::as_slice));
    Ok(query.answer(&paging, slice.rows.iter().map(of).collect(), sort.as_str(), last))
}

/// The file that is going to be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFile {
    /// Its name, which ends in `.iso`.
    #[schema(example = "debian-13.0.0-amd64-netinst.iso")]
    name: String,
    /// Its size in bytes.
    #[schema(minimum = 1)]
    size: u64,
}

/// An image to create. Its file is sent afterwards, within a minute, or later.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewImage {
    /// 1 to 255 characters, other than those of every image on the storage.
    #[schema(example = "Debian 13")]
    name: String,
    #[schema(max_length = 4096)]
    note: Option<String>,
    /// `installation`.
    #[schema(pattern = "^installation$")]
    r#type: String,
    /// The id of the storage that it will lie on.
    #[schema(format = "uuid")]
    storage: String,
    /// The id of an operating system; `other` without it.
    #[schema(example = "debian-13")]
    os: Option<String>,
    /// Not less than the operating system's, which it is without it.
    min_vcpu: Option<u32>,
    min_memory_mib: Option<u32>,
    min_disk_gib: Option<u32>,
    /// The SHA-256 or SHA-512 of the file, or a whole checksum list that names it; a file that has another one is refused.
    #[schema(max_length = 65536)]
    digest: Option<String>,
    #[serde(deserialize_with = "body::object")]
    file: NewFile,
}

/// Create an image: Pending, with space reserved for a minute. Then send its file.
#[utoipa::path(post, path = "/images", tag = "images", request_body = NewImage,
    responses((status = 201, body = Image, headers(("ETag" = String), ("Location" = String))), (status = 507, description = "The storage is full.")))]
pub async fn create(request: HttpRequest, service: Data<Service>, caller: Caller, new: Body<NewImage>) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let new = new.0;
    let figure = |figure: Option<u32>| figure.map(|figure| figure.to_string()).unwrap_or_default();
    let answers = create_image::Answers {
        name: new.name,
        note: new.note.unwrap_or_default(),
        kind: new.r#type,
        storage: new.storage,
        os: new.os.unwrap_or_else(|| os_catalogue::OTHER.to_owned()),
        min_vcpu: figure(new.min_vcpu),
        min_memory_mib: figure(new.min_memory_mib),
        min_disk_gib: figure(new.min_disk_gib),
        digest: new.digest.unwrap_or_default(),
        ..create_image::Answers::default()
    };
    let id = create_image::announce(&service, &caller.actor, answers, &new.file.name, new.file.size).await?;
    Ok(etag::created(&format!("/images/{id}"), &made(&service, id).await?))
}

/// An image that this request just made or changed, whoever may see images.
async fn made(service: &Service, id: ImageId) -> Result<Image, Error> {
    let found = service.db.read(move |conn| with_machines(conn, id));
    Ok(found.await?)
}

fn with_machines(conn: &mut crate::db::Conn, id: ImageId) -> Result<Image, Failure> {
    let found = find_image(conn, id)?;
    let machines = usage::machines_of(conn, &[id])?.remove(&id).unwrap_or_default();
    Ok(Image::new(&found, &machines))
}

/// The answer with an image as it is now.
pub async fn answer(service: &Service, id: ImageId) -> Result<HttpResponse, Error> {
    Ok(etag::answer(HttpResponse::Ok(), &made(service, id).await?))
}

/// Get an image.
#[utoipa::path(get, path = "/images/{id}", tag = "images", params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = Image, headers(("ETag" = String)))))]
pub async fn show(request: HttpRequest, service: Data<Service>, caller: Caller, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let id = *id;
    let found = authorize::read::<right::ReadImage, _>(&service.db, &caller.actor, id, move |conn, _| with_machines(conn, id));
    Ok(etag::answer(HttpResponse::Ok(), &found.await?))
}

/// What is to change; what is not named stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageChanges {
    name: Option<String>,
    #[schema(max_length = 4096)]
    note: Option<String>,
    /// The id of an operating system, or `other`. Requirements that are not named follow one that needs more.
    os: Option<String>,
    min_vcpu: Option<u32>,
    min_memory_mib: Option<u32>,
    min_disk_gib: Option<u32>,
}

/// Change name, note, operating system or requirements of an image.
#[utoipa::path(patch, path = "/images/{id}", tag = "images", params(("id" = String, Path, format = "uuid"), IfMatchHeader), request_body = ImageChanges,
    responses((status = 200, body = Image, headers(("ETag" = String))), (status = 409, description = "A rule stands against it.")))]
pub async fn change(
    request: HttpRequest,
    service: Data<Service>,
    caller: Caller,
    id: Path<ImageId>,
    expected: IfMatch,
    changes: Body<ImageChanges>,
) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let changes = changes.0;
    let figure = |figure: Option<u32>| figure.map(|figure| figure.to_string());
    let changes = edit_image::Changes {
        name: changes.name,
        note: changes.note,
        os: changes.os,
        min_vcpu: figure(changes.min_vcpu),
        min_memory_mib: figure(changes.min_memory_mib),
        min_disk_gib: figure(changes.min_disk_gib),
    };
    edit_image::run(&service, &caller.actor, *id, expected.0, changes).await?;
    answer(&service, *id).await
}

/// Delete an image and its file.
#[utoipa::path(delete, path = "/images/{id}", tag = "images", params(("id" = String, Path, format = "uuid"), IfMatchHeader),
    responses((status = 204, description = "It is gone."), (status = 409, description = "The rule of deletion stands against it.")))]
pub async fn delete(
    request: HttpRequest,
    service: Data<Service>,
    caller: Caller,
    id: Path<ImageId>,
    expected: IfMatch,
) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    delete_image::run(&service, &caller.actor, *id, expected.0).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// Cancel the upload of an image's file. Nothing happens if none is under way.
#[utoipa::path(delete, path = "/images/{id}/upload", tag = "images", params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = Image, headers(("ETag" = String)))))]
pub async fn cancel_upload(request: HttpRequest, service: Data<Service>, caller: Caller, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    stop_upload::cancel(&service, &caller.actor, *id).await?;
    answer(&service, *id).await
}

/// Look at an image's file again. Its digest is compared afterwards, in the background.
#[utoipa::path(post, path = "/images/{id}/check", tag = "images", params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = Image, headers(("ETag" = String)))))]
pub async fn check(request: HttpRequest, service: Data<Service>, caller: Caller, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    check_image::run(&service, &caller.actor, *id).await?;
    answer(&service, *id).await
}

/// Forget the record of an image whose file is unavailable. Nothing on any storage is touched.
#[utoipa::path(post, path = "/images/{id}/forget", tag = "images", params(("id" = String, Path, format = "uuid")),
    responses((status = 204, description = "The record is gone.")))]
pub async fn forget(request: HttpRequest, service: Data<Service>, caller: Caller, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    forget_image::run(&service, &caller.actor, *id).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}
