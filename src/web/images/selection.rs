//! Deleting several images at once: a page that says which can be deleted, which cannot and why, and asks once.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use askama::Template;

use super::{list::View, view::ImageView};
use crate::{
    authorize,
    db::{
        cursor::Page,
        images::{self, Found},
        storages, usage,
    },
    domain::{access::Privilege, ids::ImageId, size, text::FieldError},
    operations::{Failure, Service, delete_image},
    web::{
        error::Error,
        form::Fields,
        page::{Faults, Flash, Shell, html_with, see_other},
        session::SignedIn,
    },
};

/// Most images that one selection can hold.
const MOST: usize = 1_000;
/// From this many on the number has to be typed.
const TYPE_FROM: usize = 5;

#[derive(Template)]
#[template(path = "images/selection.html")]
struct SelectionPage {
    shell: Shell,
    deletable: Vec<ImageView>,
    refused: Vec<ImageView>,
    /// More match than one selection can hold.
    more: bool,
    type_number: bool,
    faults: Faults,
    words: String,
}

async fn find(service: &Service, me: &SignedIn, fields: &Fields) -> Result<(Vec<ImageView>, bool), Error> {
    let all_matching = fields.all("all_matching").next() == Some("1");
    let ids: Vec<ImageId> = fields.parsed::<ImageId>("ids").into_iter().take(MOST + 1).collect();
    let view = View::parse(&Fields::parse(fields.one("filter")?)?);
    let device = me.actor.device.clone();
    let found = authorize::look(&service.db, &me.actor, move |conn, viewer| {
        if !viewer.sees(Privilege::ReadImage) {
            return Ok((Vec::new(), false));
        }
        let (found, more): (Vec<Found>, bool) = if all_matching {
            let all = storages::all(conn, None)?;
            let slice = images::list(conn, viewer.counts(), &all, &view.filter, view.sort, view.descending, &Page::First, MOST)?;
            (slice.rows.into_iter().map(|row| row.found).collect(), slice.has_next)
        } else {
            (images::by_ids(conn, &ids)?, ids.len() > MOST)
        };
        let ids: Vec<_> = found.iter().map(|found| found.image.id).collect();
        let machines = usage::machines_of(conn, &ids)?;
        let views = found.iter().map(|found| ImageView::new(found, machines.get(&found.image.id).map_or(&[], Vec::as_slice), &device));
        Ok::<_, Failure>((views.collect(), more))
    });
    Ok(found.await?)
}

/// `POST /images/selection`: shows what was chosen; nothing is changed yet.
pub async fn show(request: HttpRequest, service: Data<Service>, me: SignedIn, fields: Fields) -> Result<HttpResponse, Error> {
    let (views, more) = find(&service, &me, &fields).await?;
    if views.is_empty() {
        let flash = Flash::plain("Choose images first: tick the boxes at the left of the list.", "", "").bad();
        return Ok(see_other(&service.config, "/images", Some(&flash)));
    }
    page(&request, &service, &me, views, more, Faults::default())
}

fn page(
    request: &HttpRequest,
    service: &Service,
    me: &SignedIn,
    views: Vec<ImageView>,
    more: bool,
    faults: Faults,
) -> Result<HttpResponse, Error> {
    let (deletable, refused): (Vec<_>, Vec<_>) = views.into_iter().partition(|view| view.delete_refusal.is_none());
    let words = size::counted(deletable.len() as u64, "image", "images");
    let status = if deletable.is_empty() { StatusCode::CONFLICT } else { faults.status() };
    let shell = Shell::new(request, &service.config, me, "images", faults.title(&format!("Delete {words} – Images")));
    let page = SelectionPage { shell, type_number: deletable.len() >= TYPE_FROM, deletable, refused, more, faults, words };
    html_with(status, &page.shell, &page)
}

/// `POST /images/selection/deletion`
pub async fn delete(request: HttpRequest, service: Data<Service>, me: SignedIn, fields: Fields) -> Result<HttpResponse, Error> {
    let chosen: Vec<(ImageId, i64)> = fields
        .all("chosen")
        .filter_map(|pair| pair.split_once('.'))
        .filter_map(|(id, version)| Some((id.parse().ok()?, version.parse().ok()?)))
        .take(MOST)
        .collect();
    if chosen.len() >= TYPE_FROM && fields.one("typed_number")?.trim() != chosen.len().to_string() {
        let ids: Vec<(String, String)> = chosen.iter().map(|(id, _)| ("ids".to_owned(), id.to_string())).collect();
        let again = Fields::parse(&serde_html_form::to_string(&ids).unwrap_or_default())?;
        let (views, more) = find(&service, &me, &again).await?;
        let message = format!("Type {}, the number of images that would be deleted.", chosen.len());
        return page(&request, &service, &me, views, more, Faults(vec![FieldError::new("typed_number", "number.different", message)]));
    }
    let (mut deleted, mut kept) = (0_u64, Vec::new());
    for (id, version) in chosen {
        match delete_image::run(&service, &me.actor, id, version.into()).await {
            Ok(_) => deleted += 1,
            Err(Failure::Refused(refusal)) => kept.push(refusal.sentence),
            Err(Failure::Stale | Failure::NotFound) => kept.push("One was changed or deleted meanwhile.".to_owned()),
            Err(other) => return Err(other.into()),
        }
    }
    let done = format!("{} deleted.", size::counted(deleted, "image is", "images are"));
    let flash = match kept.first() {
        None => Flash::plain(&done, "", ""),
        Some(first) => {
            Flash::plain(&done, "", format!(" {} kept: {first}", size::counted(kept.len() as u64, "image was", "images were"))).bad()
        }
    };
    Ok(see_other(&service.config, "/images", Some(&flash)))
}
