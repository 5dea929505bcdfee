//! Deleting an image, and forgetting one whose file is gone: each a page of its own that says what will happen, or why it cannot.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use askama::Template;

use super::view::ImageView;
use crate::{
    authorize::{self, right},
    db::usage,
    domain::ids::ImageId,
    operations::{Failure, Service, delete_image, find_image, forget_image},
    web::{
        error::Error,
        form::Fields,
        page::{Faults, Flash, Shell, html_with, see_other},
        session::SignedIn,
    },
};

#[derive(Template)]
#[template(path = "images/deletion.html")]
struct DeletionPage {
    shell: Shell,
    image: ImageView,
    refusal: Option<String>,
    faults: Faults,
    forgetting: bool,
}

async fn page(
    request: &HttpRequest,
    service: &Service,
    me: &SignedIn,
    id: ImageId,
    forgetting: bool,
    faults: Faults,
) -> Result<HttpResponse, Error> {
    let find = move |conn: &mut crate::db::Conn| -> Result<_, Failure> {
        let found = find_image(conn, id)?;
        let machines = usage::machines_of(conn, &[id])?.remove(&id).unwrap_or_default();
        Ok((found, machines))
    };
    let (found, machines) = if forgetting {
        authorize::read::<right::ForgetImage, _>(&service.db, &me.actor, id, move |conn, _| find(conn)).await?
    } else {
        authorize::read::<right::DeleteImage, _>(&service.db, &me.actor, id, move |conn, _| find(conn)).await?
    };
    let image = ImageView::new(&found, &machines, &me.actor.device);
    let refusal = if forgetting { image.forget_refusal.clone() } else { image.delete_refusal.clone() };
    let status = if refusal.is_some() { StatusCode::CONFLICT } else { faults.status() };
    let verb = if forgetting { "Forget" } else { "Delete" };
    let title = faults.title(&format!("{verb} {} – Images", image.name));
    let page = DeletionPage { shell: Shell::new(request, &service.config, me, "images", title), image, refusal, faults, forgetting };
    html_with(status, &page.shell, &page)
}

/// `GET /images/{id}/deletion`
pub async fn show(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    page(&request, &service, &me, *id, false, Faults::default()).await
}

/// `POST /images/{id}/deletion`
pub async fn submit(
    request: HttpRequest,
    service: Data<Service>,
    me: SignedIn,
    id: Path<ImageId>,
    fields: Fields,
) -> Result<HttpResponse, Error> {
    let found =
        authorize::read::<right::DeleteImage, _>(&service.db, &me.actor, *id, |conn, granted| find_image(conn, granted.on())).await?;
    if found.image.kind == crate::domain::image::Kind::Base && fields.one("typed_name")?.trim() != found.image.name {
        let fault = crate::domain::text::FieldError::new("typed_name", "name.different", "Type the image's name as it stands above.");
        return page(&request, &service, &me, *id, false, Faults(vec![fault])).await;
    }
    match delete_image::run(&service, &me.actor, *id, fields.version()?.into()).await {
        Ok(name) => Ok(see_other(&service.config, "/images", Some(&Flash::plain("Image ", &name, " is deleted.")))),
        Err(Failure::Refused(_)) => refused(page(&request, &service, &me, *id, false, Faults::default()).await?),
        Err(other) => Err(other.into()),
    }
}

/// It was refused, even if nothing stands against it any more by the time that the page is made.
fn refused(mut answer: HttpResponse) -> Result<HttpResponse, Error> {
    *answer.status_mut() = StatusCode::CONFLICT;
    Ok(answer)
}

/// `GET /images/{id}/forgetting`
pub async fn show_forgetting(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    page(&request, &service, &me, *id, true, Faults::default()).await
}

/// `POST /images/{id}/forgetting`
pub async fn forget(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    match forget_image::run(&service, &me.actor, *id).await {
        Ok(name) => Ok(see_other(&service.config, "/images", Some(&Flash::plain("The record of ", &name, " is forgotten.")))),
        Err(Failure::Refused(_)) => refused(page(&request, &service, &me, *id, true, Faults::default()).await?),
        Err(other) => Err(other.into()),
    }
}
