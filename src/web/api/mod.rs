//! The same operations as the console's, for programs: JSON under `/api/v1`, with a token in place of a session.
//!
//! A handler reads the request, calls one operation, and answers; there is no rule here that the operation does not have. What is the
//! API's own stands beside: [`token`] (who asks), [`idempotency`] (a request that is sent again), [`body`] and [`query`] (strict readers),
//! [`etag`] (versions), [`view`] (what things look like), [`document`] (OpenAPI, from the handlers themselves), and the form of a refusal,
//! below. The layers around a handler are, from the outside in: those of the whole service, then token, kept answers, problems.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

mod body;
mod clusters;
mod content;
mod document;
mod etag;
mod events;
mod idempotency;
mod images;
mod own;
mod query;
mod storages;
mod system;
pub mod token;
mod view;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderMap},
    },
    middleware::from_fn,
    web::{ServiceConfig, resource, scope},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{self, Error},
    problems, uploads,
};

pub use token::Bearer;

/// Where the API lies.
pub const BASE: &str = "/api/v1";

/// Whether programs ask at this path: then sessions and origins count for nothing, and every refusal is a problem.
pub fn is_api(path: &str) -> bool {
    path.starts_with("/api/")
}

/// Mounts every URL. What can be got can be asked for by HEAD.
pub fn configure(app: &mut ServiceConfig) {
    app.service(resource("/api").get(document::page));
    app.service(resource("/api/v1/openapi.json").get(document::json).head(document::json));
    app.service(
        scope(BASE)
            .wrap(from_fn(error::render))
            .wrap(from_fn(idempotency::keep))
            .wrap(from_fn(token::require))
            .service(resource("/account").get(own::account).head(own::account))
            .service(resource("/token").delete(own::revoke_token))
            .service(resource("/images").get(images::list).head(images::list).post(images::create))
            .service(resource("/images/{id}").get(images::show).head(images::show).patch(images::change).delete(images::delete))
            .service(resource("/images/{id}/content").get(content::get).head(content::head).put(content::put))
            .service(resource("/images/{id}/upload").delete(images::cancel_upload))
            .service(resource("/images/{id}/check").post(images::check))
            .service(resource("/images/{id}/forget").post(images::forget))
            .service(resource("/images/{id}/events").get(events::of_image).head(events::of_image))
            .service(resource("/storages").get(storages::list).head(storages::list).post(storages::add))
            .service(resource("/storages/{id}").get(storages::show).head(storages::show).patch(storages::change).delete(storages::remove))
            .service(resource("/storages/{id}/check").post(storages::check))
            .service(resource("/storages/{id}/connections/{cluster}").put(storages::connect).delete(storages::disconnect))
            .service(resource("/clusters").get(clusters::list).head(clusters::list).post(clusters::add))
            .service(resource("/clusters/{id}").get(clusters::show).head(clusters::show).patch(clusters::change).delete(clusters::remove))
            .service(resource("/hosts").get(clusters::hosts).head(clusters::hosts))
            .service(resource("/hosts/{id}").get(clusters::host).head(clusters::host))
            .service(resource("/operating-systems").get(system::operating_systems).head(system::operating_systems))
            .service(resource("/events").get(events::list).head(events::list))
            .service(resource("/settings").get(system::settings).head(system::settings)),
    );
}

/// Why a request was refused (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// The address of a page that explains the code.
    #[serde(rename = "type")]
    #[schema(example = "/docs/problems/name.taken", format = "uri-reference")]
    kind: String,
    /// A few words, the same for every occurrence.
    title: String,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened this time.
    detail: String,
    /// The path that was asked for.
    #[schema(format = "uri-reference")]
    instance: String,
    /// Stable code.
    #[schema(example = "name.taken")]
    code: String,
    /// The number of the request, which also stands in the log, the events and the header X-Request-Id.
    request_id: String,
    /// Where the file that was shown begins to differ from what was sent before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    differs_at: Option<u64>,
    /// What is wrong with each member of the body, where that is the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<MemberFault>,
}

/// What is wrong with one member of a body.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberFault {
    /// JSON pointer to the member.
    #[schema(example = "/name")]
    pointer: String,
    /// Stable code.
    code: String,
    /// What is wrong, and the way out.
    detail: String,
}

/// A refusal as programs get it. `old` has the headers of the answer that it takes the place of.
pub fn problem(error: Error, path: &str, request_id: &str, old: &HeaderMap) -> HttpResponse {
    let several = error.status == StatusCode::UNPROCESSABLE_ENTITY && error.faults.len() > 1;
    let code = if several { "invalid" } else { error.code };
    let about = problems::find(code);
    let offset = error.place.as_ref().and_then(|place| place.offset);
    // A version that is not the present one fails the precondition that named it.
    let status = if code == "changed_meanwhile" { StatusCode::PRECONDITION_FAILED } else { error.status };
    let detail = match (about, code) {
        // Their sentences are for people in front of the console.
        (Some(about), "changed_meanwhile" | "method_not_allowed" | "too_large") => about.explanation.to_owned(),
        _ => error.sentence,
    };
    let pointer = |field: &str| match field {
        "kind" => "/type".to_owned(),
        "cluster" => "/clusters".to_owned(),
        pointer if pointer.is_empty() || pointer.starts_with('/') => pointer.to_owned(),
        field => format!("/{field}"),
    };
    let problem = Problem {
        kind: problems::address(code),
        title: about.map_or(error.title, |about| about.title).to_owned(),
        status: status.as_u16(),
        detail,
        instance: path.to_owned(),
        code: code.to_owned(),
        request_id: request_id.to_owned(),
        differs_at: error.place.as_ref().and_then(|place| place.differs_at),
        errors: error
            .faults
            .into_iter()
            .map(|fault| MemberFault { pointer: pointer(&fault.field), code: fault.code.to_owned(), detail: fault.message })
            .collect(),
    };
    let mut answer = HttpResponse::build(status);
    for name in [header::ALLOW, header::CONTENT_RANGE, uploads::TUS_VERSION, uploads::TUS_MAX_SIZE] {
        if let Some(value) = old.get(&name) {
            answer.insert_header((name, value.clone()));
        }
    }
    if let Some(offset) = offset {
        answer.insert_header((uploads::UPLOAD_OFFSET, offset.to_string()));
    }
    if let Some(seconds) = error.retry_after {
        answer.insert_header((header::RETRY_AFTER, seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        answer.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    let body = serde_json::to_string(&problem).unwrap_or_default();
    answer.content_type("application/problem+json").body(body)
}
