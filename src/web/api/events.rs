//! The audit log.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use utoipa::IntoParams;

use super::{
    query::{Query, invalid},
    token::Caller,
    view::{Event, Paged},
};
use crate::{
    authorize::{self, right},
    db::events::{self, Filter},
    domain::ids::ImageId,
    operations::{Service, find_image},
    web::{
        error::Error,
        events::{SORT, midnight},
    },
};

/// Which lines of the log.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes what Query reads")]
struct ListQuery {
    /// As in `create_image`; can come several times.
    action: Option<Vec<String>>,
    /// `done`, `refused`, `denied` or `failed`; can come several times.
    outcome: Option<Vec<String>>,
    /// The id of what it was done to.
    object: Option<String>,
    /// The id of who did it.
    actor: Option<String>,
    /// The first day, in UTC.
    #[param(format = "date", example = "2026-11-23")]
    since: Option<String>,
    /// The last day, in UTC.
    #[param(format = "date", example = "2026-11-24")]
    until: Option<String>,
    /// Lines of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// One page of a log.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes what Query reads")]
struct PageQuery {
    /// Lines of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// The audit log, newest first.
#[utoipa::path(get, path = "/events", tag = "service", params(ListQuery),
    responses((status = 200, body = Paged<Event>, headers(("Link" = String, description = "The next page, if there is one.")))))]
pub async fn list(request: HttpRequest, service: Data<Service>, caller: Caller) -> Result<HttpResponse, Error> {
    let query = Query::parse(&request, &["action", "outcome", "object", "actor", "since", "until", "limit", "after"])?;
    let day = |name: &str| -> Result<Option<jiff::civil::Date>, Error> {
        query.one(name)?.map(|day| day.parse().map_err(|_| invalid(name, "is a day, as in 2026-11-23"))).transpose()
    };
    let start = |name: &str, date: jiff::civil::Date| midnight(date).ok_or_else(|| invalid(name, "lies too far away"));
    let id = |name: &str| -> Result<Option<String>, Error> { Ok(query.parsed::<ImageId>(name)?.map(|id| id.to_string())) };
    let filter = Filter {
        actions: query.each("action", |value| value.parse().ok())?,
        outcomes: query.each("outcome", |value| value.parse().ok())?,
        object_id: id("object")?,
        actor_id: id("actor")?,
        since: day("since")?.map(|date| start("since", date)).transpose()?,
        until: day("until")?
            .map(|date| date.tomorrow().map_err(|_| invalid("until", "lies too far away")).and_then(|date| start("until", date)))
            .transpose()?,
    };
    let paging = query.paging(SORT, false)?;
    let asked = paging.clone();
    let slice = authorize::read::<right::ViewEvents, _>(&service.db, &caller.actor, authorize::Service, move |conn, _| {
        Ok(events::page(conn, &filter, &asked.page, asked.limit)?)
    })
    .await?;
    let last = slice.rows.last().filter(|_| slice.has_next).map(events::Event::place);
    Ok(query.answer(&paging, slice.rows.iter().map(Event::from).collect(), SORT, last))
}

/// What happened to an image, newest first.
#[utoipa::path(get, path = "/images/{id}/events", tag = "images", params(("id" = String, Path, format = "uuid"), PageQuery),
    responses((status = 200, body = Paged<Event>, headers(("Link" = String, description = "The next page, if there is one.")))))]
pub async fn of_image(request: HttpRequest, service: Data<Service>, caller: Caller, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    let query = Query::parse(&request, &["limit", "after"])?;
    let paging = query.paging(SORT, false)?;
    let asked = paging.clone();
    let slice = authorize::read::<right::ReadImage, _>(&service.db, &caller.actor, *id, move |conn, granted| {
        let id = find_image(conn, granted.on())?.image.id;
        let filter = Filter { object_id: Some(id.to_string()), ..Filter::default() };
        Ok(events::page(conn, &filter, &asked.page, asked.limit)?)
    })
    .await?;
    let last = slice.rows.last().filter(|_| slice.has_next).map(events::Event::place);
    Ok(query.answer(&paging, slice.rows.iter().map(Event::from).collect(), SORT, last))
}
