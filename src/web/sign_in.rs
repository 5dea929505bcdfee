//! The sign-in page, and signing out.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, http::header, web::Data};
use askama::Template;

use super::{
    error::Error,
    form::Fields,
    page::{bare_html, local_path, see_other},
    request::{ClientAddress, RequestId},
    session::{SignedIn, no_session_cookie, session_cookie},
};
use crate::operations::{Failure, Service, sign_in};
use actix_web::HttpMessage;

#[derive(Template, Default)]
#[template(path = "sign_in.html")]
struct SignInPage {
    email: String,
    next: String,
    /// A form that was sent after its session had ended.
    kept: Option<String>,
    problem: Option<String>,
    notice: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "continue.html")]
struct ContinuePage {
    target: String,
    fields: Vec<(String, String)>,
}

/// `GET /sign-in`
pub async fn show(request: HttpRequest, me: Option<SignedIn>) -> Result<HttpResponse, Error> {
    let query = Fields::parse(request.query_string())?;
    let next = local_path(query.one("next")?).to_owned();
    if me.is_some() {
        return Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, next)).finish());
    }
    let notice = (query.one("signed_out")? == "1").then_some("You are signed out.");
    bare_html(StatusCode::OK, &SignInPage { next, notice, ..SignInPage::default() })
}

/// The sign-in page in answer to a form whose session has ended; what was typed is kept in it.
pub fn page_for_expired(here: &str, kept: Option<String>) -> Result<HttpResponse, Error> {
    let notice = Some("Your session has ended. Sign in again; what you typed is kept.");
    bare_html(StatusCode::UNAUTHORIZED, &SignInPage { next: here.to_owned(), kept, notice, ..SignInPage::default() })
}

/// `POST /sign-in`
pub async fn submit(request: HttpRequest, service: Data<Service>, fields: Fields) -> Result<HttpResponse, Error> {
    let (email, password) = (fields.one("email")?.to_owned(), fields.one("password")?.to_owned());
    let next = local_path(fields.one("next")?).to_owned();
    let kept = Some(fields.one("kept")?.to_owned()).filter(|kept| !kept.is_empty());
    let (address, request_id) = origin_of(&request);
    match sign_in::sign_in(&service, email.clone(), password, address, request_id).await {
        Ok(signed_in) => {
            let cookie = session_cookie(&service.config, signed_in.token);
            let mut answer = match kept {
                Some(kept) => {
                    let fields = Fields::parse(&kept)?.pairs().to_vec();
                    bare_html(StatusCode::OK, &ContinuePage { target: next, fields })?
                }
                None => see_other(&service.config, &next, None),
            };
            answer.add_cookie(&cookie).map_err(Error::unexpected)?;
            Ok(answer)
        }
        Err(Failure::NotFound) => {
            let problem = Some("E-mail address and password do not belong together.".to_owned());
            bare_html(StatusCode::UNPROCESSABLE_ENTITY, &SignInPage { email, next, kept, problem, notice: None })
        }
        Err(Failure::TooOften(seconds)) => {
            let problem =
                Some(format!("Too many attempts. Wait {seconds} {}, then try again.", if seconds == 1 { "second" } else { "seconds" }));
            let mut answer = bare_html(StatusCode::TOO_MANY_REQUESTS, &SignInPage { email, next, kept, problem, notice: None })?;
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            Ok(answer)
        }
        Err(other) => Err(other.into()),
    }
}

/// `POST /sign-out`
pub async fn sign_out(service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    sign_in::sign_out(&service, me.token_hash.clone(), me.actor.author()).await?;
    let mut answer = see_other(&service.config, "/sign-in?signed_out=1", None);
    answer.add_cookie(&no_session_cookie(&service.config)).map_err(Error::unexpected)?;
    answer.headers_mut().insert(header::HeaderName::from_static("clear-site-data"), header::HeaderValue::from_static("\"cache\""));
    Ok(answer)
}

/// Address and number of a request by somebody who is not signed in.
pub fn origin_of(request: &HttpRequest) -> (String, String) {
    let extensions = request.extensions();
    let address = extensions.get::<ClientAddress>().map(|found| found.0.clone()).unwrap_or_default();
    (address, extensions.get::<RequestId>().map(|found| found.0.clone()).unwrap_or_default())
}
