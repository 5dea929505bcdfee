//! The settings, to read: each value, where it came from, how to change it.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use askama::Template;

use super::{
    error::Error,
    page::{Shell, html_with},
    session::SignedIn,
};
use crate::{
    authorize::{self, right},
    operations::Service,
};

struct Line {
    name: &'static str,
    variable: String,
    value: String,
    source: String,
    meaning: &'static str,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    shell: Shell,
    lines: Vec<Line>,
    version: &'static str,
    database: &'static str,
}

/// `GET /settings`
pub async fn show(request: HttpRequest, service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    authorize::read::<right::ViewSettings, _>(&service.db, &me.actor, authorize::Service, |_, _| Ok(())).await?;
    let lines = service
        .config
        .settings()
        .map(|(key, setting)| Line {
            name: key.name,
            variable: format!("VMIMG_{}", key.name.to_uppercase()),
            value: if key.secret && !setting.value.is_empty() { "(hidden)".to_owned() } else { setting.value.clone() },
            source: setting.source.to_string(),
            meaning: key.meaning,
        })
        .collect();
    let page = SettingsPage {
        shell: Shell::new(&request, &service.config, &me, "settings", "Settings"),
        lines,
        version: env!("CARGO_PKG_VERSION"),
        database: service.config.database.words(),
    };
    html_with(StatusCode::OK, &page.shell, &page)
}
