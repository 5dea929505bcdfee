//! What people see when something did not happen: title, sentence, status, way out; in HTML, in JSON for the console's own scripts, or as a
//! problem (RFC 9457) for programs.
//!
//! Error pages are made without the database, because it may be the reason for them. An error that nobody expected is a 500 with the
//! request's number; its cause goes into the log, once, and never onto the page.

use actix_web::{
    HttpMessage, HttpResponse, ResponseError,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{StatusCode, header},
    middleware::Next,
};
use askama::Template;

use super::{
    api,
    request::{RequestId, wants_json},
    uploads,
};
use crate::{db::DbError, domain::text::FieldError, operations::Failure, storage::StorageError};

/// What is wrong with one member of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field of the form, or a JSON pointer.
    pub field: String,
    pub code: &'static str,
    pub message: String,
}

impl From<&FieldError> for Fault {
    fn from(fault: &FieldError) -> Self {
        Self { field: fault.field.to_owned(), code: fault.code, message: fault.message.clone() }
    }
}

/// An error on its way to the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub status: StatusCode,
    pub code: &'static str,
    pub title: &'static str,
    pub sentence: String,
    /// Seconds after which trying again makes sense.
    pub retry_after: Option<u64>,
    /// What is wrong with each member, where that is the reason.
    pub faults: Vec<Fault>,
    /// Where the upload stands that it is about, if it is about one.
    pub place: Option<Box<Place>>,
}

/// Where an upload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// How far it has come.
    pub offset: Option<u64>,
    /// Where the file that was shown begins to differ from what was sent before.
    pub differs_at: Option<u64>,
}

impl Error {
    /// An error with all its words.
    pub fn new(status: StatusCode, code: &'static str, title: &'static str, sentence: impl Into<String>) -> Self {
        Self { status, code, title, sentence: sentence.into(), retry_after: None, faults: Vec::new(), place: None }
    }

    /// There is nothing here, or nothing that this person may see.
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "Not found",
            "There is nothing at this address, or nothing that you may see. It may have been deleted.",
        )
    }

    /// The request itself is not right.
    pub fn bad_request(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", "This request cannot be understood", sentence)
    }

    /// Nobody is signed in.
    pub fn not_signed_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_signed_in", "You are signed out", "Sign in and try again.")
    }

    /// A program showed a token that cannot be used, or not any more.
    pub fn token_invalid() -> Self {
        let sentence = "The token is misspelt, has expired or was revoked, or its owner is disabled.";
        Self::new(StatusCode::UNAUTHORIZED, "token.invalid", "The token is not valid", sentence)
    }

    /// The request did not arrive in time.
    pub fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "Too slow", "The request did not arrive in time. Try again.")
    }

    /// Nobody expected this; `cause` goes into the log.
    pub fn unexpected(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "unexpected error");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "unexpected",
            "Something went wrong",
            "The service met an error that it does not know. Nothing that was acknowledged is lost. Try again; if it stays, give the number \
             below to whoever runs the service.",
        )
    }

    /// The same, to be tried again after so many seconds.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The same, with what is wrong in particular.
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.sentence)
    }
}

impl std::error::Error for Error {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotFound | Failure::Unseen => Self::not_found(),
            Failure::Denied { privilege, who_can_grant } => {
                let who = match who_can_grant.split_last() {
                    None => String::new(),
                    Some((one, [])) => format!(" {one} can give it to you."),
                    Some((last, others)) => format!(" {} or {last} can give it to you.", others.join(", ")),
                };
                let sentence = format!("You need the right to {} ({}).{who}", privilege.words(), privilege.as_str());
                Self::new(StatusCode::FORBIDDEN, "not_allowed", "Not allowed", sentence)
            }
            Failure::OutOfScope { privilege, scopes } => {
                let sentence =
                    format!("The token was made for {scopes}. It would need the right to {} ({}).", privilege.words(), privilege.as_str());
                Self::new(StatusCode::FORBIDDEN, "token.scope", "Not allowed", sentence)
            }
            Failure::TokenEnded => Self::token_invalid(),
            Failure::Refused(refusal) => {
                let status = match refusal.code {
                    "images.too_many_unfinished" => StatusCode::TOO_MANY_REQUESTS,
                    "upload.session_ended" => StatusCode::UNAUTHORIZED,
                    "upload.gone" => StatusCode::GONE,
                    "upload.locked" | "upload.other_device" => StatusCode::LOCKED,
                    "upload.length" => StatusCode::BAD_REQUEST,
                    "upload.beyond_length" => StatusCode::PAYLOAD_TOO_LARGE,
                    "upload.checksum" => checksum_mismatch(),
                    _ => StatusCode::CONFLICT,
                };
                let (offset, differs_at) = (refusal.offset, refusal.differs_at);
                let place = (offset.is_some() || differs_at.is_some()).then(|| Box::new(Place { offset, differs_at }));
                let error = Self { place, ..Self::new(status, refusal.code, "This cannot be done now", refusal.sentence) };
                if refusal.code == "upload.locked" { error.retry_after(1) } else { error }
            }
            Failure::Invalid(faults) => {
                let sentence = faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join(" ");
                let code = faults.first().map_or("invalid", |fault| fault.code);
                let status = status_of(code);
                Self::new(status, code, "This cannot be taken", sentence).with_faults(faults.iter().map(Fault::from).collect())
            }
            Failure::Stale => Self::new(
                StatusCode::CONFLICT,
                "changed_meanwhile",
                "Changed meanwhile",
                "Somebody else changed this while you looked at it. Go back, load the page again and look.",
            ),
            Failure::TooOften(seconds) => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_often",
                "Too many attempts",
                format!("Wait {seconds} seconds, then try again."),
            )
            .retry_after(seconds),
            Failure::Storage(failed) => Self::from(failed),
            Failure::Db(DbError::Busy(cause) | DbError::Unreachable(cause)) => {
                tracing::error!(%cause, "the database does not answer");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "database_unavailable",
                    "The records cannot be reached",
                    "The database does not answer at the moment. Nothing that was acknowledged is lost. Try again in a few seconds.",
                )
                .retry_after(5)
            }
            Failure::Db(DbError::Taken(_)) => Self::from(Failure::Stale),
            Failure::Db(other) => Self::unexpected(other),
            Failure::Broken(cause) => Self::unexpected(cause),
        }
    }
}

/// The status that tus made for a chunk whose checksum is another one.
fn checksum_mismatch() -> StatusCode {
    StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST)
}

impl From<StorageError> for Error {
    fn from(failed: StorageError) -> Self {
        if failed.is_full() {
            return Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage.full", "The storage is full", failed.to_string());
        }
        if matches!(failed, StorageError::FileMissing) {
            return Self::new(
                StatusCode::CONFLICT,
                "image.file_missing",
                "The file is not there",
                "The file is not on its storage any more. “Check again” on the image's page records that.",
            );
        }
        tracing::warn!(error = ?failed, "a storage refused");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage.failed", "The storage cannot be used now", failed.to_string()).retry_after(10)
    }
}

impl From<DbError> for Error {
    fn from(failed: DbError) -> Self {
        Self::from(Failure::Db(failed))
    }
}

impl From<askama::Error> for Error {
    fn from(failed: askama::Error) -> Self {
        Self::unexpected(failed)
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status);
        response.extensions_mut().insert(self.clone());
        response
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'error> {
    error: &'error Error,
    request_id: &'error str,
    signed_out: bool,
}

/// Gives every error that has no words of its own, the framework's too, a page or a JSON body.
pub async fn render(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let wants_json = wants_json(request.headers());
    let is_api = api::is_api(request.path()) || uploads::is_here(request.path());
    let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let response = next.call(request).await?.map_into_boxed_body();
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error())
        || response.response().extensions().get::<OwnWords>().is_some()
        || response.headers().contains_key(header::CONTENT_TYPE) && !is_plain(&response) && !is_empty(&response)
    {
        return Ok(response);
    }
    let error = response.response().extensions().get::<Error>().cloned().unwrap_or_else(|| of_status(status));
    let (http, old) = response.into_parts();
    if is_api {
        let answer = api::problem(error, http.path(), &request_id, old.headers());
        return Ok(ServiceResponse::new(http, answer));
    }
    let mut answer = answer_to(&error, wants_json, &request_id);
    for name in [header::ALLOW, header::CONTENT_RANGE] {
        if let Some(value) = old.headers().get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    Ok(ServiceResponse::new(http, answer))
}

/// The answer that tells an error, as a page or as JSON.
pub fn answer_to(error: &Error, wants_json: bool, request_id: &str) -> HttpResponse {
    let mut answer = HttpResponse::build(error.status);
    if let Some(seconds) = error.retry_after {
        answer.insert_header((header::RETRY_AFTER, seconds));
    }
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    if wants_json {
        return answer.json(serde_json::json!({
            "errors": [{ "code": error.code, "message": error.sentence }], "title": error.title, "request_id": request_id,
        }));
    }
    let page = ErrorPage { error, request_id, signed_out: error.status == StatusCode::UNAUTHORIZED };
    let html = page.render().unwrap_or_else(|_| error.sentence.clone());
    answer.content_type("text/html; charset=utf-8").body(html)
}

/// Stands with an answer whose words are meant for a program, though they are plain text: no page takes their place.
#[derive(Debug, Clone, Copy)]
pub struct OwnWords;

/// The framework's own short answers, which nobody wrote for people.
fn is_plain(response: &ServiceResponse<BoxBody>) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

/// An answer that has a type and nothing in it, as to a range that is not there.
fn is_empty(response: &ServiceResponse<BoxBody>) -> bool {
    matches!(response.response().body().size(), BodySize::None | BodySize::Sized(0))
}

/// The status that goes with the code of a fault, where a form has no other fault.
pub fn status_of(code: &str) -> StatusCode {
    match code {
        "storage.full" => StatusCode::INSUFFICIENT_STORAGE,
        "file.too_large" | "form.too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "upload.no_length" => StatusCode::LENGTH_REQUIRED,
        "upload.incomplete"
        | "form.bad_boundary"
        | "form.malformed"
        | "form.field_order"
        | "form.part_length"
        | "form.two_files"
        | "form.too_many_parts" => StatusCode::BAD_REQUEST,
        "name.taken" => StatusCode::CONFLICT,
        "images.too_many_unfinished" => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn of_status(status: StatusCode) -> Error {
    match status {
        StatusCode::NOT_FOUND => Error::not_found(),
        StatusCode::METHOD_NOT_ALLOWED => Error::new(
            status,
            "method_not_allowed",
            "This cannot be done here",
            "This address does not take that kind of request. Go back and use the page's own buttons.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => {
            Error::new(status, "too_large", "Too large", "What was sent is larger than this page takes. Send less.")
        }
        StatusCode::REQUEST_TIMEOUT => Error::too_slow(),
        StatusCode::PRECONDITION_FAILED => Error { status, ..Error::from(Failure::Stale) },
        StatusCode::RANGE_NOT_SATISFIABLE => {
            Error::new(status, "range.unsatisfiable", "Outside of the file", "The range that was asked for lies outside of the file.")
        }
        status if status.is_client_error() => Error { status, ..Error::bad_request("Go back and try again from the page itself.") },
        status => Error { status, ..Error::unexpected(format!("an answer {status} without words")) },
    }
}
