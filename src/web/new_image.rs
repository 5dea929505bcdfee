//! The creation wizard: three steps, each with its own address, and a draft on the server, so that nothing typed is asked twice.
//!
//! With scripts the steps share one document, and the file chosen in the second one stays; without, the last step carries the file field
//! and is one form with the file in it.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path, Payload},
};
use askama::Template;

use super::{
    error::Error,
    form::Fields,
    images::{
        content::{faults_json, looked_json, read_head, receive},
        file_form::Form,
        show::name_of,
    },
    page::{Capacity, Faults, Flash, Shell, html_with, see_other, with_cookie},
    session::SignedIn,
    systems::{SystemGroup, system_groups},
};
use crate::{
    authorize::{self, Actor},
    db::storages,
    domain::{
        access::Privilege,
        creation, digest,
        ids::DraftId,
        image::Kind,
        size,
        storage::{Health, promisable},
        text::{FieldError, NOTE_MAX, Name},
    },
    operations::{
        Failure, Service,
        create_image::{self, Answers, Wizard},
        system_name,
    },
};

/// A storage to choose.
struct Place {
    id: String,
    name: String,
    sub: String,
    note: String,
    free: u64,
    capacity: Capacity,
    chosen: bool,
    usable: bool,
}

/// One line of the summary.
struct Answer {
    question: &'static str,
    answer: String,
    href: String,
}

#[derive(Template)]
#[template(path = "new/general.html")]
struct GeneralPage {
    shell: Shell,
    id: String,
    answers: Answers,
    faults: Faults,
    back: String,
    no_machines: &'static str,
}

#[derive(Template)]
#[template(path = "new/configuration.html")]
struct ConfigurationPage {
    shell: Shell,
    id: String,
    answers: Answers,
    faults: Faults,
    back: String,
    places: Vec<Place>,
    groups: Vec<SystemGroup>,
    most: String,
}

#[derive(Template)]
#[template(path = "new/summary.html")]
struct SummaryPage {
    shell: Shell,
    id: String,
    answers: Answers,
    faults: Faults,
    lines: Vec<Answer>,
    most: String,
}

#[derive(Template)]
#[template(path = "new/cancel.html")]
struct CancelPage {
    shell: Shell,
    id: String,
    name: String,
}

async fn find(service: &Service, actor: &Arc<Actor>, id: DraftId) -> Result<Wizard, Error> {
    Ok(authorize::look(&service.db, actor, move |conn, viewer| create_image::find(conn, id, viewer.actor())).await?)
}

/// The same on the first step, which may not have been sent yet.
async fn find_or_new(service: &Service, actor: &Arc<Actor>, id: DraftId) -> Result<Wizard, Error> {
    let wizard = authorize::look(&service.db, actor, move |conn, viewer| {
        viewer.require(conn, Privilege::CreateImage)?;
        create_image::find_or_new(conn, id, viewer.actor())
    });
    Ok(wizard.await?)
}

fn shell(request: &HttpRequest, service: &Service, me: &SignedIn, step: &str, faults: &Faults) -> Shell {
    Shell::new(request, &service.config, me, "images", faults.title(&format!("{step} – Create image – Images")))
}

fn step_of(id: impl std::fmt::Display, step: &str) -> String {
    format!("/images/new/{id}/{step}")
}

/// Where a step leads when it is done: on, or back to the summary that sent somebody here.
fn onward(id: DraftId, fields: &Fields, next: &str) -> Result<String, Error> {
    Ok(step_of(id, if fields.one("back")? == "summary" { "summary" } else { next }))
}

fn back_of(request: &HttpRequest) -> Result<String, Error> {
    let query = Fields::parse(request.query_string())?;
    Ok(if query.one("back")? == "summary" { "summary".to_owned() } else { String::new() })
}

/// `GET /images/new`: begins a wizard.
pub async fn begin(service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    create_image::may_begin(&service, &me.actor).await?;
    Ok(see_other(&service.config, &step_of(DraftId::new(), "general"), None))
}

/// `GET /images/new/{draft}/general`
pub async fn general(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<DraftId>) -> Result<HttpResponse, Error> {
    let wizard = find_or_new(&service, &me.actor, *id).await?;
    if let Some(image) = wizard.image {
        return Ok(see_other(&service.config, &format!("/images/{image}"), None));
    }
    general_page(&request, &service, &me, *id, wizard.answers, Faults::default(), back_of(&request)?)
}

fn general_page(
    request: &HttpRequest,
    service: &Service,
    me: &SignedIn,
    id: DraftId,
    answers: Answers,
    faults: Faults,
    back: String,
) -> Result<HttpResponse, Error> {
    let shell = shell(request, service, me, "General", &faults);
    let page = GeneralPage { shell, id: id.to_string(), answers, faults, back, no_machines: create_image::NO_MACHINES };
    html_with(page.faults.status(), &page.shell, &page)
}

/// `POST /images/new/{draft}/general`
pub async fn submit_general(
    request: HttpRequest,
    service: Data<Service>,
    me: SignedIn,
    id: Path<DraftId>,
    fields: Fields,
) -> Result<HttpResponse, Error> {
    let mut answers = find_or_new(&service, &me.actor, *id).await?.answers;
    answers.name = bounded(fields.one("name")?, 4 * NOTE_MAX);
    answers.note = bounded(fields.one("note")?, 8 * NOTE_MAX);
    answers.kind = bounded(fields.one("kind")?, 32);
    let faults = Faults(create_image::check_general(&answers));
    if faults.is_empty() {
        answers.reached = answers.reached.max(2);
    }
    create_image::keep(&service, &me.actor, *id, &answers).await?;
    if faults.is_empty() {
        return Ok(see_other(&service.config, &onward(*id, &fields, "configuration")?, None));
    }
    general_page(&request, &service, &me, *id, answers, faults, fields.one("back")?.to_owned())
}

/// What is typed is kept right or wrong, but not without bound.
fn bounded(typed: &str, most: usize) -> String {
    typed.chars().take(most).collect()
}

/// `GET /images/new/{draft}/configuration`
pub async fn configuration(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<DraftId>) -> Result<HttpResponse, Error> {
    let wizard = find_or_new(&service, &me.actor, *id).await?;
    if let Some(image) = wizard.image {
        return Ok(see_other(&service.config, &format!("/images/{image}"), None));
    }
    if wizard.answers.reached < 2 {
        return Ok(see_other(&service.config, &step_of(*id, "general"), None));
    }
    configuration_page(&request, &service, &me, *id, wizard.answers, Faults::default(), back_of(&request)?).await
}

async fn configuration_page(
    request: &HttpRequest,
    service: &Service,
    me: &SignedIn,
    id: DraftId,
    answers: Answers,
    faults: Faults,
    back: String,
) -> Result<HttpResponse, Error> {
    let (chosen, bytes) = (answers.storage.clone(), answers.file_size.parse::<u64>().ok());
    let places = authorize::look(&service.db, &me.actor, move |conn, viewer| {
        if !viewer.sees(Privilege::CreateImage) {
            return Ok(Vec::new());
        }
        let promised = storages::promised(conn)?;
        let clusters = storages::clusters_of(conn)?;
        let all = storages::all(conn, None)?;
        let only = all.iter().filter(|storage| storage.health == Health::Healthy).count() == 1;
        let places = all.into_iter().filter(|storage| storage.health != Health::Removed).map(|storage| {
            let id = storage.id.to_string();
            let promised = promised.get(&id).copied().unwrap_or(0);
            let names: Vec<&str> = clusters.get(&id).map(|found| found.iter().map(|(_, name)| name.as_str()).collect()).unwrap_or_default();
            let serves = match names.as_slice() {
                [] => "no cluster connected".to_owned(),
                [one] => format!("cluster {one}"),
                many => format!("clusters {}", many.join(", ")),
            };
            let refusal = creation::may_take(&storage.place(promised), bytes).err();
            let usable = refusal.is_none();
            let sub = match &refusal {
                Some(reason) => format!("{} · {}", storage.kind.words(), reason.sentence()),
                None => format!("{} · {serves}", storage.kind.words()),
            };
            Place {
                chosen: id == chosen || (chosen.is_empty() && only && usable),
                id,
                name: storage.name.clone(),
                sub,
                note: match (&storage.health, usable) {
                    (Health::Healthy, _) => format!("{} of {} free", size::words(storage.free()), size::words(storage.capacity())),
                    _ => "cannot be used now".to_owned(),
                },
                free: promisable(storage.free(), promised),
                capacity: Capacity::new(storage.capacity(), storage.free()),
                usable,
            }
        });
        Ok::<_, Failure>(places.collect())
    })
    .await?;
    let shell = shell(request, service, me, "Configuration", &faults);
    let groups = system_groups(&answers.os);
    let most = size::words(service.config.max_upload);
    let page = ConfigurationPage { shell, id: id.to_string(), answers, faults, back, places, groups, most };
    html_with(page.faults.status(), &page.shell, &page)
}

/// `POST /images/new/{draft}/configuration`
pub async fn submit_configuration(
    request: HttpRequest,
    service: Data<Service>,
    me: SignedIn,
    id: Path<DraftId>,
    fields: Fields,
) -> Result<HttpResponse, Error> {
    let mut answers = find(&service, &me.actor, *id).await?.answers;
    for (kept, field) in [
        (&mut answers.storage, "storage"),
        (&mut answers.os, "os"),
        (&mut answers.min_vcpu, "min_vcpu"),
        (&mut answers.min_memory_mib, "min_memory_mib"),
        (&mut answers.min_disk_gib, "min_disk_gib"),
        (&mut answers.file_name, "file_name"),
        (&mut answers.file_size, "file_size"),
    ] {
        *kept = bounded(fields.one(field)?, 1_024);
    }
    answers.digest = bounded(fields.one("digest")?, digest::MOST_BYTES);
    let faults = Faults(configuration_faults(&service, &me.actor, &answers).await?);
    if faults.is_empty() {
        answers.reached = 3;
    }
    create_image::keep(&service, &me.actor, *id, &answers).await?;
    if faults.is_empty() {
        return Ok(see_other(&service.config, &step_of(*id, "summary"), None));
    }
    configuration_page(&request, &service, &me, *id, answers, faults, fields.one("back")?.to_owned()).await
}

async fn configuration_faults(service: &Service, actor: &Arc<Actor>, answers: &Answers) -> Result<Vec<FieldError>, Error> {
    let mut faults = Vec::new();
    let bytes = answers.file_size.parse::<u64>().ok();
    if !answers.file_name.is_empty() {
        faults.extend(crate::domain::upload::check_file(&answers.file_name, bytes, service.config.max_upload).err());
    }
    let (storage, name) = (answers.storage.clone(), Name::parse("name", &answers.name).ok());
    let of_storage = authorize::look(&service.db, actor, move |conn, _| {
        Ok::<_, Failure>(match (create_image::check_storage(conn, &storage, bytes)?, name) {
            (Err(fault), _) => vec![fault],
            (Ok(id), Some(name)) => create_image::name_fault(conn, id, &name)?.into_iter().collect(),
            (Ok(_), None) => Vec::new(),
        })
    });
    faults.extend(of_storage.await?);
    let system = create_image::parse_system(&answers.os, &answers.min_vcpu, &answers.min_memory_mib, &answers.min_disk_gib);
    faults.extend(system.err().unwrap_or_default());
    // Which line of a list is the file's is known only with the file.
    if !answers.file_name.is_empty() {
        faults.extend(digest::Expected::parse("digest", &answers.digest, &answers.file_name).err());
    }
    Ok(faults)
}

/// `GET /images/new/{draft}/summary`
pub async fn summary(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<DraftId>) -> Result<HttpResponse, Error> {
    let wizard = find_or_new(&service, &me.actor, *id).await?;
    if let Some(image) = wizard.image {
        return Ok(see_other(&service.config, &format!("/images/{image}"), None));
    }
    if wizard.answers.reached < 3 {
        let step = if wizard.answers.reached < 2 { "general" } else { "configuration" };
        return Ok(see_other(&service.config, &step_of(*id, step), None));
    }
    // Without scripts the answer to the form comes after the upload: the browser must be known as its device before.
    let (me, cookie) = me.with_device(&service.config);
    let answer = summary_page(&request, &service, &me, *id, wizard.answers, Faults::default()).await?;
    with_cookie(answer, cookie.as_ref())
}

async fn summary_page(
    request: &HttpRequest,
    service: &Service,
    me: &SignedIn,
    id: DraftId,
    answers: Answers,
    faults: Faults,
) -> Result<HttpResponse, Error> {
    let chosen = answers.storage.parse().ok();
    let storage = authorize::look(&service.db, &me.actor, move |conn, _| {
        Ok::<_, Failure>(match chosen {
            Some(id) => storages::by_id(conn, id)?,
            None => None,
        })
    })
    .await?;
    let change = |step: &str, field: &str| format!("{}?back=summary#{field}", step_of(id, step));
    let line = |question, answer: String, step, field| Answer { question, answer, href: change(step, field) };
    let needs = create_image::parse_system(&answers.os, &answers.min_vcpu, &answers.min_memory_mib, &answers.min_disk_gib);
    let lines = vec![
        line("Name", answers.name.trim().to_owned(), "general", "name"),
        line("Note", answers.note.trim().to_owned(), "general", "note"),
        line("Type", answers.kind.parse::<Kind>().map(Kind::words).unwrap_or_default().to_owned(), "general", "kind"),
        line(
            "Save image to",
            storage.map(|storage| format!("{} ({})", storage.name, storage.kind.words())).unwrap_or_default(),
            "configuration",
            "storage",
        ),
        line("Operating system", system_name(&answers.os).to_owned(), "configuration", "os"),
        line("Minimum requirements", needs.map(|needs| needs.words()).unwrap_or_default(), "configuration", "min_vcpu"),
    ];
    let shell = shell(request, service, me, "Summary", &faults);
    let most = size::words(service.config.max_upload);
    let page = SummaryPage { shell, id: id.to_string(), answers, faults, lines, most };
    html_with(page.faults.status(), &page.shell, &page)
}

/// `POST /images/new/{draft}/preflight`: may this file be sent? For scripts, as soon as a file is chosen.
pub async fn preflight(
    request: HttpRequest,
    service: Data<Service>,
    me: SignedIn,
    id: Path<DraftId>,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let (file, query) = read_head(&request, payload).await?;
    Ok(match create_image::preflight(&service, &me.actor, *id, query.one("storage")?.to_owned(), &file).await {
        Ok(label) => looked_json(&service, &me.actor, &file, &label).await?,
        Err(Failure::Invalid(faults)) => faults_json(StatusCode::OK, &faults),
        Err(other) => return Err(other.into()),
    })
}

/// `POST /images/new/{draft}/image`: makes the image, for scripts, which then send the file.
pub async fn create(
    request: HttpRequest,
    service: Data<Service>,
    me: SignedIn,
    id: Path<DraftId>,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let (me, cookie) = me.with_device(&service.config);
    let (file, _) = read_head(&request, payload).await?;
    let answer = match create_image::create(&service, &me.actor, *id, &file).await {
        Ok(image) => {
            let here = format!("/images/{image}");
            HttpResponse::Created().json(serde_json::json!({ "image": here, "content": format!("{here}/content") }))
        }
        Err(Failure::Invalid(faults)) => faults_json(Faults(faults.clone()).status(), &links(*id, faults)),
        Err(Failure::Refused(refusal)) => {
            let fault = FieldError::new("file", refusal.code, refusal.sentence.clone());
            faults_json(Error::from(Failure::Refused(refusal)).status, &[fault])
        }
        Err(other) => return Err(other.into()),
    };
    with_cookie(answer, cookie.as_ref())
}

/// Faults of earlier steps lead to the step that has the field.
fn links(id: DraftId, faults: Vec<FieldError>) -> Vec<FieldError> {
    faults
        .into_iter()
        .map(|fault| {
            let step = match fault.field {
                "file" => return fault,
                _ if fault.href.is_some() => return fault,
                "name" | "note" | "kind" => "general",
                _ => "configuration",
            };
            FieldError { href: Some(format!("{}?back=summary#{}", step_of(id, step), fault.field)), ..fault }
        })
        .collect()
}

/// `POST /images/new/{draft}/create`: makes the image and takes its file, in one form, without scripts.
pub async fn create_with_file(
    request: HttpRequest,
    service: Data<Service>,
    me: SignedIn,
    id: Path<DraftId>,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let (me, cookie) = me.with_device(&service.config);
    let mut form = Form::new(&request, payload, &service.config);
    // Boxed, as what comes after the file: a client that is silent in the middle of it has no room for the rest.
    let created = Box::pin(async {
        let part = form.file_part().await?;
        let image = create_image::create(&service, &me.actor, *id, &part.file).await?;
        Ok::<_, Failure>((image, part))
    });
    let answer = match created.await {
        Ok((image, part)) => {
            let here = format!("/images/{image}");
            let flash = match Box::pin(receive(&service, &me.actor, image, part, &mut form)).await {
                Ok(()) => {
                    let name = Box::pin(name_of(&service, image)).await?;
                    Flash::about("The file of ", here.clone(), &name, " is complete. The image is Available.")
                }
                // The image is there and says why it is Pending.
                Err(failed) => Flash::plain(&Error::from(failed).sentence, "", "").bad(),
            };
            see_other(&service.config, &here, Some(&flash))
        }
        Err(failed) => {
            let faults = match failed {
                Failure::Invalid(faults) => links(*id, faults),
                Failure::Refused(refusal) => vec![FieldError::new("file", refusal.code, refusal.sentence)],
                other => return Err(other.into()),
            };
            let page = Box::pin(async {
                let answers = find(&service, &me.actor, *id).await?.answers;
                summary_page(&request, &service, &me, *id, answers, Faults(faults)).await
            });
            page.await?
        }
    };
    with_cookie(answer, cookie.as_ref())
}

/// `GET /images/new/{draft}/cancel`: asks only when something would be lost.
pub async fn show_cancel(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<DraftId>) -> Result<HttpResponse, Error> {
    let wizard = find_or_new(&service, &me.actor, *id).await?;
    let answers = &wizard.answers;
    let nothing_typed = [&answers.name, &answers.note, &answers.storage, &answers.os].iter().all(|typed| typed.trim().is_empty());
    if wizard.image.is_some() || nothing_typed {
        create_image::cancel(&service, &me.actor, *id).await?;
        return Ok(see_other(&service.config, "/images", None));
    }
    let page =
        CancelPage { shell: shell(&request, &service, &me, "Cancel", &Faults::default()), id: id.to_string(), name: answers.name.clone() };
    html_with(StatusCode::OK, &page.shell, &page)
}

/// `POST /images/new/{draft}/cancel`
pub async fn cancel(service: Data<Service>, me: SignedIn, id: Path<DraftId>) -> Result<HttpResponse, Error> {
    create_image::cancel(&service, &me.actor, *id).await?;
    Ok(see_other(&service.config, "/images", Some(&Flash::plain("Nothing was created.", "", ""))))
}
