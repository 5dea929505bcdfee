//! Who is signed in. Every page asks for it but the few that are named here: a new page is closed until somebody opens it.
//!
//! The browser holds a random token, the server its digest. A form that is sent when the session has run out is kept inside the sign-in page
//! and offered again afterwards, so that nothing typed is lost.

use std::sync::Arc;

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    cookie::{Cookie, SameSite, time::Duration as CookieAge},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{Method, header},
    middleware::Next,
    web::{self, Data},
};

use super::{
    api,
    error::Error,
    form::ARRIVES_WITHIN,
    page::local_path,
    request::{Asker, ClientAddress, RequestId, wants_json},
    sign_in, uploads,
};
use crate::{
    authorize::{Actor, Credential},
    clock::{self, Timestamp},
    config::Config,
    db::people::{self, User},
    operations::{Failure, Service},
    secret,
};

/// Pages that need nobody to be signed in: exact paths, and folders that end in a slash.
const OPEN: &[&str] = &["/setup", "/sign-in", "/favicon.ico", "/.well-known/", "/api", "/docs/"];
/// Paths of the same kind that do not even ask who is signed in, because they must be answered when the records do not answer.
const WITHOUT_SESSION: &[&str] = &["/assets/", "/livez", "/readyz", "/healthz", "/version"];

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    pub actor: Arc<Actor>,
    pub user: User,
    /// What the server keeps of the session's token.
    pub token_hash: String,
    /// When the session ends if nothing more is clicked.
    pub ends: Timestamp,
    /// When it ends in any case.
    pub latest: Timestamp,
}

impl SignedIn {
    /// The same person with a device: a first upload gives the browser its long-lived cookie.
    pub fn with_device(mut self, config: &Config) -> (Self, Option<Cookie<'static>>) {
        if !self.actor.device.is_empty() {
            return (self, None);
        }
        let token = secret::token();
        let mut actor = (*self.actor).clone();
        actor.device = secret::digest(&token);
        self.actor = Arc::new(actor);
        let cookie = cookie(config, DEVICE, token).max_age(CookieAge::days(400)).finish();
        (self, Some(cookie))
    }
}

impl FromRequest for SignedIn {
    type Error = Error;
    type Future = std::future::Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(request.extensions().get::<Self>().cloned().ok_or_else(Error::not_signed_in))
    }
}

/// The cookie of a session, without its prefix.
pub const SESSION: &str = "session";
const DEVICE: &str = "device";

/// A cookie's full name: the prefix makes browsers refuse it from anywhere but us, where that can be had.
pub fn cookie_name(config: &Config, name: &str) -> String {
    if config.is_secure() { format!("__Host-vmimg-{name}") } else { format!("vmimg-{name}") }
}

/// A cookie that no script can read. Lax, so that bookmarks keep people signed in.
pub fn cookie(config: &Config, name: &str, value: String) -> actix_web::cookie::CookieBuilder<'static> {
    Cookie::build(cookie_name(config, name), value).path("/").http_only(true).secure(config.is_secure()).same_site(SameSite::Lax)
}

/// The cookie of a new session.
pub fn session_cookie(config: &Config, token: String) -> Cookie<'static> {
    cookie(config, SESSION, token).finish()
}

/// Takes the session's cookie away.
pub fn no_session_cookie(config: &Config) -> Cookie<'static> {
    cookie(config, SESSION, String::new()).max_age(CookieAge::ZERO).finish()
}

/// The middleware: finds the session, or sends the browser to sign in.
pub async fn require(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let path = request.path();
    if api::is_api(path) {
        // Programs show a token; cookies count for nothing there.
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    if uploads::is_open(&request) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    if uploads::shows_token(&request) {
        return api::token::require(request, next).await;
    }
    let is_in = |list: &[&str]| list.iter().any(|open| path == *open || open.ends_with('/') && path.starts_with(open));
    if is_in(WITHOUT_SESSION) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let open = is_in(OPEN);
    let found = match request.app_data::<Data<Service>>().cloned() {
        // Apart from the request's own task: very many wait for the rest of their bodies long after this.
        Some(service) => Box::pin(find(request.request(), &service)).await,
        None => Err(Error::unexpected("no service")),
    };
    match found {
        Ok(Some(found)) => {
            request.extensions_mut().insert(Asker(found.actor.user));
            request.extensions_mut().insert(found);
        }
        Ok(None) if open => {}
        Ok(None) => return Ok(Box::pin(ask(request)).await),
        // Static files and the pages of health and set-up do not wait for the records.
        Err(_) if open => {}
        Err(failed) => return Ok(request.into_response(failed.error_response())),
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

/// The digest of a session's token, and the session, if it goes on.
pub async fn of_token(service: &Service, token: &str) -> Result<Option<(String, people::Session)>, Error> {
    if token.len() != 64 {
        return Ok(None);
    }
    let token_hash = secret::digest(token);
    let wanted = token_hash.clone();
    let found = service.db.read(move |conn| Ok::<_, Failure>(people::session(conn, &wanted)?)).await?;
    let (now, idle, longest) = (clock::now(), service.config.session_idle, service.config.session_longest);
    let alive =
        |session: &people::Session| !session.user.disabled && now.since(session.seen_at) < idle && now.since(session.created_at) < longest;
    Ok(found.filter(alive).map(|session| (token_hash, session)))
}

/// Who a request is from, if its session is alive.
pub async fn find(request: &HttpRequest, service: &Service) -> Result<Option<SignedIn>, Error> {
    let config = &service.config;
    let Some(token) = request.cookie(&cookie_name(config, SESSION)).map(|cookie| cookie.value().to_owned()) else { return Ok(None) };
    let Some((token_hash, session)) = of_token(service, &token).await? else { return Ok(None) };
    let (now, longest, idle) = (clock::now(), config.session_longest, config.session_idle);
    // What the page does by itself is no sign of life of the person.
    let background = request.headers().contains_key("x-background");
    let mut seen_at = session.seen_at;
    if !background && now.since(seen_at) > std::time::Duration::from_secs(30) {
        let touched = token_hash.clone();
        service.db.write(move |tx| Ok::<_, Failure>(people::touch_session(tx, &touched, now)?)).await?;
        seen_at = now;
    }
    let device = request.cookie(&cookie_name(config, DEVICE)).map(|cookie| secret::digest(cookie.value())).unwrap_or_default();
    let text = |found: Option<&String>| found.cloned().unwrap_or_default();
    let (address, request_id) = {
        let extensions = request.extensions();
        (text(extensions.get::<ClientAddress>().map(|found| &found.0)), text(extensions.get::<RequestId>().map(|found| &found.0)))
    };
    let actor = Actor {
        user: session.user.id,
        name: session.user.name.clone(),
        device,
        credential: Credential::Session(token_hash.clone()),
        address,
        request_id,
    };
    let latest = session.created_at.plus(longest);
    Ok(Some(SignedIn { actor: Arc::new(actor), user: session.user, token_hash, ends: seen_at.plus(idle).min(latest), latest }))
}

/// Nobody is signed in: a page leads to sign-in and back; a form is kept; anything else is told so.
async fn ask(mut request: ServiceRequest) -> ServiceResponse {
    if wants_json(request.headers()) || uploads::is_here(request.path()) {
        return request.into_response(Error::not_signed_in().error_response());
    }
    let here = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    match *request.method() {
        Method::GET | Method::HEAD => {
            let next = serde_html_form::to_string([("next", local_path(&here))]).unwrap_or_default();
            let answer = HttpResponse::SeeOther().insert_header((header::LOCATION, format!("/sign-in?{next}"))).finish();
            request.into_response(answer)
        }
        Method::POST if is_short_form(&request) => {
            let body = tokio::time::timeout(ARRIVES_WITHIN, request.extract::<web::Bytes>()).await.ok().and_then(Result::ok);
            let kept = body.and_then(|body| String::from_utf8(body.to_vec()).ok());
            let answer = sign_in::page_for_expired(local_path(&here), kept).unwrap_or_else(|failed| failed.error_response());
            request.into_response(answer)
        }
        _ => request.into_response(Error::not_signed_in().error_response()),
    }
}

fn is_short_form(request: &ServiceRequest) -> bool {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let short = header(header::CONTENT_LENGTH).parse::<usize>().is_ok_and(|length| length <= 64 * 1024);
    short && header(header::CONTENT_TYPE).starts_with("application/x-www-form-urlencoded")
}
