//! A POST with an `Idempotency-Key` does its work once: sent again within a day it gets the first one's answer.
//!
//! The request goes on when its client goes away, so that the answer is there when the client comes back. Answers that say that the service
//! failed (5xx) are not kept: then sending again is the right thing to do.

use std::time::Duration;

use actix_web::{
    HttpMessage, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody, to_bytes_limited},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::{Bytes, Data},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{body, token::Caller};
use crate::{
    clock,
    db::{DbError, idempotency},
    domain::ids::UserId,
    operations::{Failure, Service},
    secret,
    web::error::Error,
};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 3_600);
/// A request that has not been answered for so long never will be: its process has ended. No operation behind a POST takes half as long.
const ABANDONED: Duration = Duration::from_secs(600);
/// Largest answer that is kept; no answer to a POST comes near it.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// The headers of an answer that are its own, and not those of every answer.
const OWN_HEADERS: [HeaderName; 7] =
    [header::LOCATION, header::ETAG, header::CONTENT_TYPE, header::LINK, header::ALLOW, header::RETRY_AFTER, header::CACHE_CONTROL];

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// The middleware.
pub async fn keep(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if *request.method() != Method::POST || !request.headers().contains_key("idempotency-key") {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let begun = begin(&mut request).await;
    match begun {
        Err(failed) => Ok(request.into_response(failed.error_response())),
        Ok(Begun::Before(answer)) => Ok(request.into_response(replay(answer))),
        Ok(Begun::Now { service, user, key }) => {
            let whole = async move {
                let answered = next.call(request).await;
                finish(&service, user, key, answered).await
            };
            actix_web::rt::spawn(whole).await.map_err(Error::unexpected)?
        }
    }
}

enum Begun {
    Now { service: Data<Service>, user: UserId, key: String },
    Before(Answer),
}

fn key_of(request: &ServiceRequest) -> Option<String> {
    let mut keys = request.headers().get_all("idempotency-key");
    let (Some(key), None) = (keys.next(), keys.next()) else { return None };
    let key = key.to_str().ok()?;
    let visible = key.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    (visible && (1..=255).contains(&key.len())).then(|| key.to_owned())
}

async fn begin(request: &mut ServiceRequest) -> Result<Begun, Error> {
    let refused = |status, code, sentence: &str| Error::new(status, code, "The Idempotency-Key cannot be taken", sentence);
    let key = key_of(request).ok_or_else(|| {
        refused(StatusCode::BAD_REQUEST, "idempotency.key", "An Idempotency-Key has 1 to 255 visible ASCII characters and comes once.")
    })?;
    let service = request.app_data::<Data<Service>>().cloned().ok_or_else(|| Error::unexpected("no service"))?;
    let user = request.extensions().get::<Caller>().map(|caller| caller.user.id).ok_or_else(|| Error::unexpected("no caller"))?;
    let body = body::read(&mut request.take_payload()).await?;
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let fingerprint = fingerprint(request.method(), target, &body);
    request.set_payload(Payload::from(body));
    let now = clock::now();
    let (wanted, print) = (key.clone(), fingerprint.clone());
    let begun = service
        .db
        .write(move |tx| Ok::<_, Failure>(idempotency::begin(tx, user, &wanted, &print, now.minus(ABANDONED), now.minus(KEPT), now)?))
        .await;
    match begun {
        Ok(()) => return Ok(Begun::Now { service, user, key }),
        Err(Failure::Db(DbError::Taken(_))) => {}
        Err(failed) => return Err(failed.into()),
    }
    let seen = service.db.read(move |conn| Ok::<_, Failure>(idempotency::find(conn, user, &key)?)).await?;
    if seen.as_ref().is_some_and(|seen| seen.fingerprint != fingerprint) {
        let sentence = "This Idempotency-Key was sent with another request within the last 24 hours.";
        return Err(refused(StatusCode::UNPROCESSABLE_ENTITY, "idempotency.other_request", sentence));
    }
    match seen.and_then(|seen| seen.answer) {
        Some(answer) => Ok(Begun::Before(serde_json::from_str(&answer).map_err(Error::unexpected)?)),
        None => {
            let sentence = "The request with this Idempotency-Key has not been answered yet.";
            Err(refused(StatusCode::CONFLICT, "idempotency.in_progress", sentence).retry_after(1))
        }
    }
}

/// What a request is told from another by.
fn fingerprint(method: &Method, target: &str, body: &Bytes) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{method} {target}\n"));
    hash.update(body);
    secret::hex(&hash.finalize())
}

fn replay(answer: Answer) -> HttpResponse {
    let mut replayed = HttpResponse::build(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in answer.headers {
        replayed.insert_header((name, value));
    }
    replayed.insert_header(("Idempotency-Replayed", "true"));
    replayed.body(answer.body)
}

async fn finish(
    service: &Service,
    user: UserId,
    key: String,
    answered: Result<ServiceResponse<impl MessageBody>, actix_web::Error>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let answered = match answered {
        Ok(answered) => answered,
        Err(failed) => {
            forget(service, user, key).await;
            return Err(failed);
        }
    };
    let (http, response) = answered.into_parts();
    let (head, body) = response.into_parts();
    let body = match to_bytes_limited(body, MOST_BYTES).await {
        Ok(Ok(body)) => body,
        _ => {
            forget(service, user, key).await;
            return Err(Error::unexpected("an answer to a POST could not be kept").into());
        }
    };
    match std::str::from_utf8(&body) {
        Ok(text) if !head.status().is_server_error() => {
            let text_of = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
            let headers = OWN_HEADERS.iter().filter_map(|name| Some((name.to_string(), text_of(head.headers().get(name)?)?))).collect();
            let answer = Answer { status: head.status().as_u16(), headers, body: text.to_owned() };
            let answer = serde_json::to_string(&answer).map_err(Error::unexpected)?;
            let kept = service.db.write(move |tx| Ok::<_, Failure>(idempotency::keep(tx, user, &key, &answer)?)).await;
            if let Err(failed) = kept {
                tracing::warn!(error = %failed, "an answer could not be kept; the request cannot be sent again under its key for some minutes");
            }
        }
        _ => forget(service, user, key).await,
    }
    Ok(ServiceResponse::new(http, head.set_body(BoxBody::new(body))))
}

async fn forget(service: &Service, user: UserId, key: String) {
    if let Err(failed) = service.db.write(move |tx| Ok::<_, Failure>(idempotency::forget(tx, user, &key)?)).await {
        tracing::warn!(error = %failed, "a request that failed still holds its key for some minutes");
    }
}
