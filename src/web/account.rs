//! One's own account: password, theme, shortcuts; and staying signed in.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use askama::Template;

use super::{
    error::Error,
    form::Fields,
    page::{Faults, Flash, Shell, html_with, see_other},
    session::SignedIn,
};
use crate::{
    clock,
    db::people,
    operations::{Failure, Service, manage_people},
};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    email: String,
    role: &'static str,
    faults: Faults,
}

fn page(request: &HttpRequest, service: &Service, me: &SignedIn, faults: Faults) -> Result<HttpResponse, Error> {
    let shell = Shell::new(request, &service.config, me, "account", faults.title("Account"));
    let status = faults.status();
    let page = AccountPage { shell, email: me.user.email.clone(), role: me.user.role.words(), faults };
    html_with(status, &page.shell, &page)
}

/// `GET /account`
pub async fn show(request: HttpRequest, service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    page(&request, &service, &me, Faults::default())
}

/// `GET /.well-known/change-password`
pub async fn change_password_hint() -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, "/account")).finish()
}

/// `POST /account/password`
pub async fn set_password(request: HttpRequest, service: Data<Service>, me: SignedIn, fields: Fields) -> Result<HttpResponse, Error> {
    let (present, new) = (fields.one("password")?.to_owned(), fields.one("new_password")?.to_owned());
    match manage_people::change_own_password(&service, &me.actor, me.token_hash.clone(), present, new).await {
        Ok(()) => {
            let flash = Flash::plain("Your password is changed. ", "", "Sessions in other browsers have ended.");
            Ok(see_other(&service.config, "/account", Some(&flash)))
        }
        Err(Failure::Invalid(faults)) => page(&request, &service, &me, Faults(faults)),
        Err(other) => Err(other.into()),
    }
}

/// `POST /account/theme`
pub async fn set_theme(service: Data<Service>, me: SignedIn, fields: Fields) -> Result<HttpResponse, Error> {
    let theme = fields.one("theme")?.to_owned();
    if !matches!(theme.as_str(), "system" | "light" | "dark") {
        return Err(Error::bad_request("The theme is system, light or dark."));
    }
    let user = me.user.id;
    service.db.write(move |tx| Ok::<_, Failure>(people::set_preferences(tx, user, Some(&theme), None, None)?)).await?;
    Ok(see_other(&service.config, "/account", Some(&Flash::plain("The theme is kept.", "", ""))))
}

/// `POST /account/preferences`
pub async fn set_preferences(service: Data<Service>, me: SignedIn, fields: Fields) -> Result<HttpResponse, Error> {
    let (user, shortcuts) = (me.user.id, fields.one("shortcuts")? == "on");
    service.db.write(move |tx| Ok::<_, Failure>(people::set_preferences(tx, user, None, Some(shortcuts), None)?)).await?;
    let words = if shortcuts { "Keyboard shortcuts are on." } else { "Keyboard shortcuts are off." };
    Ok(see_other(&service.config, "/account", Some(&Flash::plain(words, "", ""))))
}

/// `POST /session/extension`: somebody is still there.
pub async fn extend_session(service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    let token_hash = me.token_hash.clone();
    let now = clock::now();
    service.db.write(move |tx| Ok::<_, Failure>(people::touch_session(tx, &token_hash, now)?)).await?;
    let ends = now.plus(service.config.session_idle).min(me.latest);
    Ok(HttpResponse::Ok().json(serde_json::json!({ "ends": ends.millis() })))
}
