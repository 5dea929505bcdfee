//! The set-up page of the first run: behind a one-time code, and gone afterwards.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use askama::Template;

use super::{
    error::Error,
    form::Fields,
    page::{Faults, Flash, bare_html, see_other},
    session::session_cookie,
    sign_in::origin_of,
};
use crate::operations::{Failure, Service, set_up, sign_in};

#[derive(Template)]
#[template(path = "set_up.html")]
struct SetUpPage {
    answers: set_up::Answers,
    faults: Faults,
    database: &'static str,
}

/// `GET /setup?code=…`
pub async fn show(request: HttpRequest, service: Data<Service>) -> Result<HttpResponse, Error> {
    let code = Fields::parse(request.query_string())?.one("code")?.to_owned();
    if !set_up::is_open(&service, code.clone()).await? {
        return Err(Error::not_found());
    }
    let answers = set_up::Answers {
        code,
        name: String::new(),
        email: String::new(),
        password: String::new(),
        storage_name: "local".to_owned(),
        storage_path: set_up::proposed_path(&service).display().to_string(),
    };
    bare_html(StatusCode::OK, &SetUpPage { answers, faults: Faults::default(), database: service.config.database.words() })
}

/// `POST /setup`
pub async fn submit(request: HttpRequest, service: Data<Service>, fields: Fields) -> Result<HttpResponse, Error> {
    let text = |name| fields.one(name).map(str::to_owned);
    let answers = set_up::Answers {
        code: text("code")?,
        name: text("name")?,
        email: text("email")?,
        password: text("password")?,
        storage_name: text("storage_name")?,
        storage_path: text("storage_path")?,
    };
    let (address, request_id) = origin_of(&request);
    let user = match set_up::run(&service, answers.clone(), address.clone(), request_id).await {
        Ok(user) => user,
        Err(Failure::Invalid(faults)) => {
            let faults = Faults(faults);
            return bare_html(faults.status(), &SetUpPage { answers, faults, database: service.config.database.words() });
        }
        Err(other) => return Err(other.into()),
    };
    let session = sign_in::begin_session(&service, user, address).await?;
    let flash = Flash::plain("The service is set up. You are signed in as ", &answers.name, ".");
    let mut answer = see_other(&service.config, "/images", Some(&flash));
    answer.add_cookie(&session_cookie(&service.config, session.token)).map_err(Error::unexpected)?;
    Ok(answer)
}
