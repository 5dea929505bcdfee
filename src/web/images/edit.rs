//! Changes name, note, operating system and requirements. Who saves later than somebody else sees both versions and chooses.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use askama::Template;

use crate::{
    authorize::{self, right},
    db::images::Found,
    domain::{digest::Verdict, ids::ImageId},
    operations::{Failure, Service, edit_image, edit_image::Typed, expect_digest, find_image, system_name},
    web::{
        error::Error,
        form::Fields,
        page::{Faults, Flash, Shell, html_with, see_other},
        session::SignedIn,
        systems::{SystemGroup, system_groups},
    },
};

/// One field that differs between what somebody else saved and what was typed here.
struct Difference {
    field: &'static str,
    theirs: String,
    yours: String,
}

#[derive(Template)]
#[template(path = "images/edit.html")]
struct EditPage {
    shell: Shell,
    id: String,
    name: String,
    version: i64,
    typed: Typed,
    groups: Vec<SystemGroup>,
    faults: Faults,
    differences: Vec<Difference>,
    conflict: bool,
}

async fn find(service: &Service, me: &SignedIn, id: ImageId) -> Result<Found, Failure> {
    authorize::read::<right::UpdateImage, _>(&service.db, &me.actor, id, |conn, granted| find_image(conn, granted.on())).await
}

fn saved(found: &Found) -> Typed {
    let image = &found.image;
    Typed {
        name: image.name.clone(),
        note: image.note.clone(),
        os: image.os.clone(),
        min_vcpu: image.min_vcpu.to_string(),
        min_memory_mib: image.min_memory_mib.to_string(),
        min_disk_gib: image.min_disk_gib.to_string(),
    }
}

fn differences(theirs: &Typed, yours: &Typed) -> Vec<Difference> {
    let system = |os: &str| system_name(os).to_owned();
    [
        ("Name", theirs.name.clone(), yours.name.trim().to_owned()),
        ("Note", theirs.note.clone(), yours.note.replace("\r\n", "\n").trim().to_owned()),
        ("Operating system", system(&theirs.os), system(&yours.os)),
        ("Minimum vCPU", theirs.min_vcpu.clone(), yours.min_vcpu.clone()),
        ("Minimum memory (MiB)", theirs.min_memory_mib.clone(), yours.min_memory_mib.clone()),
        ("Minimum disk (GiB)", theirs.min_disk_gib.clone(), yours.min_disk_gib.clone()),
    ]
    .into_iter()
    .filter(|(_, theirs, yours)| theirs != yours)
    .map(|(field, theirs, yours)| Difference { field, theirs, yours })
    .collect()
}

fn page(
    request: &HttpRequest,
    service: &Service,
    me: &SignedIn,
    found: &Found,
    typed: Typed,
    faults: Faults,
    conflict: bool,
) -> Result<HttpResponse, Error> {
    let title = faults.title(&format!("Edit {} – Images", found.image.name));
    let status = if conflict { StatusCode::CONFLICT } else { faults.status() };
    let page = EditPage {
        shell: Shell::new(request, &service.config, me, "images", if conflict { format!("Error: {title}") } else { title }),
        id: found.image.id.to_string(),
        name: found.image.name.clone(),
        version: found.image.version,
        groups: system_groups(&typed.os),
        differences: if conflict { differences(&saved(found), &typed) } else { Vec::new() },
        typed,
        faults,
        conflict,
    };
    html_with(status, &page.shell, &page)
}

/// `GET /images/{id}/edit`
pub async fn show(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    let found = find(&service, &me, *id).await?;
    page(&request, &service, &me, &found, saved(&found), Faults::default(), false)
}

/// `POST /images/{id}/edit`
pub async fn submit(
    request: HttpRequest,
    service: Data<Service>,
    me: SignedIn,
    id: Path<ImageId>,
    fields: Fields,
) -> Result<HttpResponse, Error> {
    let text = |name| fields.one(name).map(str::to_owned);
    let typed = Typed {
        name: text("name")?,
        note: text("note")?,
        os: text("os")?,
        min_vcpu: text("min_vcpu")?,
        min_memory_mib: text("min_memory_mib")?,
        min_disk_gib: text("min_disk_gib")?,
    };
    let done = edit_image::run(&service, &me.actor, *id, fields.version()?.into(), (&typed).into()).await;
    let (faults, conflict) = match done {
        Ok(()) => {
            let here = format!("/images/{id}");
            return Ok(see_other(&service.config, &here, Some(&Flash::about("Image ", here.clone(), typed.name.trim(), " is saved."))));
        }
        Err(Failure::Invalid(faults)) => (Faults(faults), false),
        Err(Failure::Stale) => (Faults::default(), true),
        Err(other) => return Err(other.into()),
    };
    let found = find(&service, &me, *id).await?;
    page(&request, &service, &me, &found, typed, faults, conflict)
}

/// `POST /images/{id}/digest`: what the digest of the file is said to be.
pub async fn expected_digest(service: Data<Service>, me: SignedIn, id: Path<ImageId>, fields: Fields) -> Result<HttpResponse, Error> {
    let here = format!("/images/{id}");
    let flash = match expect_digest::run(&service, &me.actor, *id, fields.one("digest")?.to_owned()).await {
        Ok((name, Some(Verdict::Verified))) => Flash::about("The file of ", here.clone(), &name, " has the expected digest."),
        Ok((name, Some(Verdict::Mismatch))) => {
            Flash::about("The file of ", here.clone(), &name, " has another digest than the expected one.").bad()
        }
        Ok((name, None)) => {
            Flash::about("The expected digest of ", here.clone(), &name, " is kept. It is compared as soon as that can be.")
        }
        Err(failed @ Failure::Invalid(_)) => Flash::plain(&failed.to_string(), "", "").bad(),
        Err(failed) => return Err(failed.into()),
    };
    Ok(see_other(&service.config, &here, Some(&flash)))
}
