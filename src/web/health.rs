//! For those who watch over the service: is the process alive, can it serve, what runs, and where weaknesses are reported.
//!
//! These answers are for programs: plain text, or JSON for who asks for it, also where they say no.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use tokio::time::timeout;

use super::{
    error::{Error, OwnWords},
    request::wants_json,
    session,
};
use crate::{
    clock, meter,
    operations::{
        Failure, Service,
        readiness::{self, Check, State, Verdict},
    },
};

const PLAIN: &str = "text/plain; charset=utf-8";
/// Finding out who asks for details may take so long.
const WHO_ASKS_WITHIN: Duration = Duration::from_millis(200);
/// For so long a reader may keep `security.txt`.
const SECURITY_LASTS: Duration = Duration::from_secs(180 * 24 * 3_600);

/// `GET /livez`: the process answers. It asks nobody.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type(PLAIN).body("ok\n")
}

/// `GET /readyz`: 200 if the process can serve, 503 if not. With `?verbose`, an administrator who is signed in gets a line for everything
/// that was looked at; all others get the same short answer as without.
pub async fn ready(request: HttpRequest, service: Data<Service>) -> HttpResponse {
    let verdict = readiness::look(&service).await;
    let wants_details = request.query_string().split('&').any(|part| part == "verbose" || part.starts_with("verbose="));
    let details = if wants_details && verdict.is_ready() { details(&request, &service).await } else { Vec::new() };
    let mut answer = if verdict.is_ready() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    if !verdict.is_ready() {
        answer.insert_header((header::RETRY_AFTER, 5));
    }
    let mut answer = if wants_json(request.headers()) {
        answer.json(as_json(&verdict, &details))
    } else {
        answer.content_type(PLAIN).body(as_text(&verdict, &details))
    };
    answer.extensions_mut().insert(OwnWords);
    answer
}

async fn details(request: &HttpRequest, service: &Service) -> Vec<Check> {
    let Ok(Ok(Some(me))) = timeout(WHO_ASKS_WITHIN, session::find(request, service)).await else { return Vec::new() };
    match readiness::report(service, &me.actor).await {
        Ok(checks) => checks,
        Err(Failure::Denied { .. } | Failure::Unseen) => Vec::new(),
        Err(failed) => vec![Check { name: "report".to_owned(), state: State::Degraded, detail: failed.to_string() }],
    }
}

fn as_text(verdict: &Verdict, details: &[Check]) -> String {
    let lines = details.iter().map(|check| {
        // One line each, whatever a storage is called.
        let words = format!("{}: {}", check.name, check.detail).replace(char::is_control, " ");
        format!("[{}] {words}\n", check.state.as_str())
    });
    format!("{}\n{}", verdict.words(), lines.collect::<String>())
}

fn as_json(verdict: &Verdict, details: &[Check]) -> serde_json::Value {
    let mut answer = serde_json::json!({ "ready": verdict.is_ready(), "detail": verdict.words() });
    if !details.is_empty() {
        let line = |check: &Check| serde_json::json!({ "name": check.name, "state": check.state.as_str(), "detail": check.detail });
        answer["checks"] = details.iter().map(line).collect();
    }
    answer
}

/// `GET /version`
pub async fn version() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "version": meter::VERSION, "commit": meter::commit() }))
}

/// `GET /.well-known/security.txt` (RFC 9116), where the settings name a contact.
pub async fn security(service: Data<Service>) -> Result<HttpResponse, Error> {
    let contact = service.config.security_contact.as_deref().ok_or_else(Error::not_found)?;
    let mut text = format!("Contact: {contact}\nExpires: {}\nPreferred-Languages: en\n", clock::now().plus(SECURITY_LASTS).rfc3339());
    if let Some(url) = &service.config.public_url {
        text.push_str(&format!("Canonical: {url}/.well-known/security.txt\n"));
    }
    Ok(HttpResponse::Ok().content_type(PLAIN).body(text))
}
