//! What the service knows of operating systems, and its settings.

use actix_web::{HttpRequest, HttpResponse, web::Data};

use super::{
    query::Query,
    token::Caller,
    view::{All, OperatingSystem, Setting},
};
use crate::{
    authorize::{self, right},
    domain::access::Privilege,
    media::os_catalogue,
    operations::{Failure, Service},
    web::{error::Error, settings},
};

/// The operating systems that an image can be said to install. All in one piece.
#[utoipa::path(get, path = "/operating-systems", tag = "service", responses((status = 200, body = All<OperatingSystem>)))]
pub async fn operating_systems(request: HttpRequest, service: Data<Service>, caller: Caller) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    // Nobody's secret; but a token that was made for downloads is for nothing else.
    authorize::look(&service.db, &caller.actor, |_, viewer| viewer.reads(Privilege::ReadImage).map(drop)).await?;
    Ok(HttpResponse::Ok().json(All::of(os_catalogue::all().iter().map(OperatingSystem::from).collect())))
}

/// The settings, and where each comes from. Secrets are hidden. All in one piece.
#[utoipa::path(get, path = "/settings", tag = "service", responses((status = 200, body = All<Setting>)))]
pub async fn settings(request: HttpRequest, service: Data<Service>, caller: Caller) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    authorize::read::<right::ViewSettings, _>(&service.db, &caller.actor, authorize::Service, |_, _| Ok::<_, Failure>(())).await?;
    let lines = settings::lines(&service.config).map(|line| Setting {
        name: line.name,
        variable: line.variable,
        value: line.value,
        source: line.source,
        meaning: line.meaning,
    });
    Ok(HttpResponse::Ok().json(All::of(lines.collect())))
}
