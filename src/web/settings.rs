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
    config::Config,
    operations::Service,
};

/// One setting.
pub struct Line {
    pub name: &'static str,
    pub variable: String,
    pub value: String,
    pub source: String,
    pub meaning: &'static str,
}

/// All settings, secrets hidden.
pub fn lines(config: &Config) -> impl Iterator<Item = Line> {
    config.settings().map(|(key, setting)| Line {
        name: key.name,
        variable: format!("VMIMG_{}", key.name.to_uppercase()),
        value: if key.secret && !setting.value.is_empty() { "(hidden)".to_owned() } else { setting.value.clone() },
        source: setting.source.to_string(),
        meaning: key.meaning,
    })
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
    let page = SettingsPage {
        shell: Shell::new(&request, &service.config, &me, "settings", "Settings"),
        lines: lines(&service.config).collect(),
        version: env!("CARGO_PKG_VERSION"),
        database: service.config.database.words(),
    };
    html_with(StatusCode::OK, &page.shell, &page)
}
