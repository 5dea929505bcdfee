//! Whose program asks: every request shows a token, and nothing else counts.

use std::sync::Arc;

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header},
    middleware::Next,
    web::Data,
};

use crate::{
    authorize::{Actor, Credential},
    clock,
    db::{
        self,
        people::User,
        tokens::{self, Token},
    },
    operations::{Failure, Service},
    secret,
    web::{
        error::Error,
        request::{Asker, ClientAddress, RequestId},
        uploads,
    },
};

/// A use of a token is noted at most so often.
const NOTED_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

/// Whose program asks, with which token.
#[derive(Debug, Clone)]
pub struct Caller {
    pub actor: Arc<Actor>,
    pub user: User,
    pub token: Token,
}

/// Whoever shows a token, a program's or one that carries on one upload.
#[derive(Debug, Clone)]
pub struct Bearer(pub Arc<Actor>);

impl FromRequest for Caller {
    type Error = Error;
    type Future = std::future::Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(request.extensions().get::<Self>().cloned().ok_or_else(missing))
    }
}

fn missing() -> Error {
    let sentence = "Send a token: Authorization: Bearer vmi_…. Tokens are made in the console, at /account/tokens.";
    Error::new(StatusCode::UNAUTHORIZED, "token.missing", "There is no token", sentence)
}

/// The middleware: finds the token and its owner, or refuses.
pub async fn require(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let found = match request.app_data::<Data<Service>>().cloned() {
        Some(service) => find(&request, &service).await,
        None => Err(Error::unexpected("no service")),
    };
    match found {
        Ok((bearer, caller)) => {
            request.extensions_mut().insert(Asker(bearer.0.user));
            request.extensions_mut().insert(bearer);
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            Ok(next.call(request).await?.map_into_boxed_body())
        }
        Err(failed) => Ok(request.into_response(failed.error_response())),
    }
}

/// The token that a request shows, if it shows one.
fn shown(request: &ServiceRequest) -> Result<String, Error> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let (Some(first), None) = (headers.next(), headers.next()) else { return Err(missing()) };
    let (scheme, token) = first.to_str().ok().and_then(|value| value.trim().split_once(' ')).ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing());
    }
    let token = token.trim_start();
    let is_token = secret::is_program_token(token) || uploads::is_here(request.path()) && secret::is_upload_token(token);
    if is_token { Ok(token.to_owned()) } else { Err(Error::token_invalid()) }
}

async fn find(request: &ServiceRequest, service: &Service) -> Result<(Bearer, Option<Caller>), Error> {
    let shown = shown(request)?;
    let hash = secret::digest(&shown);
    if secret::is_upload_token(&shown) {
        return of_upload(request, service, hash).await;
    }
    let found = service.db.read(move |conn| Ok::<_, Failure>(tokens::by_hash(conn, &hash)?)).await?;
    let now = clock::now();
    let alive = |(token, user): &(Token, User)| !user.disabled && now < token.expires_at;
    let Some((token, user)) = found.filter(alive) else { return Err(Error::token_invalid()) };
    let id = token.id;
    if token.last_used_at.is_none_or(|at| now.since(clock::Timestamp::from_micros(at)) >= NOTED_EVERY) {
        service.db.write(move |tx| Ok::<_, Failure>(tokens::touch(tx, id, now)?)).await?;
    }
    let text = |found: Option<&String>| found.cloned().unwrap_or_default();
    let extensions = request.extensions();
    let actor = Actor {
        user: user.id,
        name: user.name.clone(),
        device: secret::digest(&format!("token {id}")),
        credential: Credential::Token { id, scopes: token.scopes.clone() },
        address: text(extensions.get::<ClientAddress>().map(|found| &found.0)),
        request_id: text(extensions.get::<RequestId>().map(|found| &found.0)),
    };
    let actor = Arc::new(actor);
    Ok((Bearer(actor.clone()), Some(Caller { actor, user, token })))
}

/// A token that was made for one upload: it asks how far that has come, and sends its next bytes.
async fn of_upload(request: &ServiceRequest, service: &Service, hash: String) -> Result<(Bearer, Option<Caller>), Error> {
    let wanted = hash.clone();
    let found = service.db.read(move |conn| Ok::<_, Failure>(db::uploads::handed_over(conn, &wanted, clock::now())?)).await?;
    let Some((image, user)) = found else { return Err(Error::token_invalid()) };
    let is_its = request.path() == format!("/uploads/{image}") && matches!(*request.method(), Method::GET | Method::PATCH);
    if !is_its {
        let sentence = "The token was made for one upload: it asks how far that has come, and sends its next bytes.";
        return Err(Error::new(StatusCode::FORBIDDEN, "token.scope", "Not allowed", sentence));
    }
    let text = |found: Option<&String>| found.cloned().unwrap_or_default();
    let extensions = request.extensions();
    let actor = Actor {
        user: user.id,
        name: user.name.clone(),
        device: secret::digest(&format!("upload {hash}")),
        credential: Credential::Upload(hash),
        address: text(extensions.get::<ClientAddress>().map(|found| &found.0)),
        request_id: text(extensions.get::<RequestId>().map(|found| &found.0)),
    };
    Ok((Bearer(Arc::new(actor)), None))
}
