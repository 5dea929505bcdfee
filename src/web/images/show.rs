//! One image: overview, access, virtual machines, events; each tab with its own address, which survives renaming.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use askama::Template;

use super::view::ImageView;
use crate::{
    authorize::{self, right},
    db::{cursor::Page, events, images::Found, people, uploads::Upload, usage, usage::Machine},
    domain::{
        access::Role,
        ids::ImageId,
        image::{FileState, Shown},
        size,
        storage::Health,
        upload::Stopped,
    },
    operations::{Service, check_image, find_image, stop_upload, upload_image},
    web::{
        error::Error,
        events::{EventView, view_events},
        page::{Flash, Moment, Shell, html, see_other},
        session::SignedIn,
    },
};

/// Cause and way out of a status that is not simply Available.
pub struct Cause {
    pub tone: &'static str,
    pub icon: &'static str,
    pub what: String,
    pub way_out: String,
    pub storage_href: Option<String>,
    pub check: bool,
    pub forget: bool,
}

/// What the overview says of an image beyond the list.
pub struct Details {
    pub note: String,
    pub sha256: Option<String>,
    pub label: Option<String>,
    pub publisher: Option<String>,
    pub file_name: String,
    pub checked: Option<Moment>,
    pub storage_words: String,
    /// The digest that the file was said to have, and whether it has it: `verified`, `mismatch`, or not known yet.
    pub expected_digest: String,
    pub digest_state: String,
}

/// What the storage holds of a file that has not arrived whole.
pub struct Part {
    pub percent: u64,
    /// `3.2 of 4.7 GiB`
    pub words: String,
    /// Bytes of the whole file.
    pub length: u64,
    /// Until when it is kept.
    pub until: Option<Moment>,
}

impl Part {
    fn of(upload: &Upload) -> Option<Self> {
        let (kept, length) = (upload.kept(), upload.declared());
        (upload.exact && kept > 0 && length > 0).then(|| Self {
            percent: upload.percent().unwrap_or(0),
            words: size::part(kept, length),
            length,
            until: upload.expires_at().map(Moment::from),
        })
    }

    /// The same as a sentence, as the page has it.
    fn sentence(&self) -> String {
        let until = self.until.as_ref().map_or("further notice", |until| until.words.as_str());
        format!("{} ({} %) are kept until {until}. Choose the same file to go on.", self.words, self.percent)
    }
}

/// Why an image cannot be used now, and the way out, in words for programs.
pub fn sentence(found: &Found) -> Option<String> {
    let cause = cause(found)?;
    let part = found.upload.as_ref().filter(|_| found.shown() == Shown::Pending).and_then(Part::of).map(|part| part.sentence());
    Some([cause.what, cause.way_out, part.unwrap_or_default()].join(" ").trim().to_owned())
}

#[derive(Template)]
#[template(path = "images/overview.html")]
struct OverviewPage {
    shell: Shell,
    tab: &'static str,
    image: ImageView,
    details: Details,
    cause: Option<Cause>,
    /// What an upload that stopped left, from which it can go on.
    part: Option<Part>,
    /// The same of an upload under way, for the browser that ran it and was loaded again.
    sending: Option<Part>,
    /// The file can be sent (again).
    can_send: bool,
    own_upload: bool,
}

#[derive(Template)]
#[template(path = "images/access.html")]
struct AccessPage {
    shell: Shell,
    tab: &'static str,
    image: ImageView,
    administrators: Vec<String>,
}

#[derive(Template)]
#[template(path = "images/vms.html")]
struct VmsPage {
    shell: Shell,
    tab: &'static str,
    image: ImageView,
}

#[derive(Template)]
#[template(path = "images/events.html")]
struct EventsPage {
    shell: Shell,
    tab: &'static str,
    image: ImageView,
    events: Vec<EventView>,
    more: bool,
}

async fn find(service: &Service, me: &SignedIn, id: ImageId) -> Result<(Found, Vec<Machine>), Error> {
    let found = authorize::read::<right::ReadImage, _>(&service.db, &me.actor, id, |conn, granted| {
        let found = find_image(conn, granted.on())?;
        let machines = usage::machines_of(conn, &[granted.on()])?.remove(&granted.on()).unwrap_or_default();
        Ok((found, machines))
    });
    Ok(found.await?)
}

fn shell(request: &HttpRequest, service: &Service, me: &SignedIn, found: &Found, tab: &str) -> Shell {
    let part = if tab.is_empty() { String::new() } else { format!("{tab} – ") };
    Shell::new(request, &service.config, me, "images", format!("{part}{} – Images", found.image.name))
}

/// `GET /images/{id}`
pub async fn overview(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    let (found, machines) = find(&service, &me, *id).await?;
    let image = ImageView::new(&found, &machines, &me.actor.device);
    let (stored, shown) = (&found.image, found.shown());
    let part = |wanted| found.upload.as_ref().filter(|_| shown == wanted).and_then(Part::of);
    let page = OverviewPage {
        shell: shell(&request, &service, &me, &found, ""),
        tab: "overview",
        details: Details {
            note: stored.note.clone(),
            sha256: stored.sha256.clone(),
            label: stored.label.clone(),
            publisher: stored.publisher.clone(),
            file_name: stored.file_name.clone(),
            checked: stored.file_checked_at.map(|at| crate::clock::Timestamp::from_micros(at).into()),
            storage_words: storage_words(&found),
            expected_digest: stored.expected_digest.clone().unwrap_or_default(),
            digest_state: stored.digest_state.clone().unwrap_or_default(),
        },
        cause: cause(&found),
        part: part(Shown::Pending),
        sending: part(Shown::Uploading),
        can_send: upload_image::may_begin(&found).is_ok(),
        own_upload: found.upload.as_ref().is_some_and(|upload| !me.actor.device.is_empty() && upload.device == me.actor.device),
        image,
    };
    html(&page.shell, &page)
}

fn storage_words(found: &Found) -> String {
    let storage = &found.storage;
    match storage.health {
        Health::Healthy => format!("{}, {} free", storage.kind.words(), size::words(storage.free())),
        Health::Degraded => format!("{}, degraded", storage.kind.words()),
        Health::Removed => format!("{}, removed", storage.kind.words()),
    }
}

/// Cause, since when, what happens next and who can act; none for an image that is simply Available.
pub fn cause(found: &Found) -> Option<Cause> {
    let storage = &found.storage;
    let storage_href = Some(format!("/{}/{}", storage.kind.section(), storage.id));
    let since = storage.health_since.words();
    let plain = |tone, icon, what, way_out| Cause { tone, icon, what, way_out, storage_href: None, check: false, forget: false };
    Some(match found.shown() {
        Shown::Available => return None,
        Shown::Uploading => {
            let upload = found.upload.as_ref()?;
            let what = format!("The file is being uploaded by {}.", upload.user_name);
            plain("busy", "up", what, "Until it is complete, only the device that sends it can delete the image.".to_owned())
        }
        Shown::Creating => plain("busy", "copy", "A machine's disk is being copied.".to_owned(), String::new()),
        Shown::Degraded => Cause {
            storage_href,
            ..plain(
                "warn",
                "warning",
                format!("The storage “{}” is degraded since {since}. {}", storage.name, storage.cause.clone().unwrap_or_default()),
                "The image cannot be used until the storage is healthy again; then it is what it was, by itself.".to_owned(),
            )
        },
        Shown::FileUnavailable if storage.health == Health::Removed => Cause {
            storage_href,
            forget: true,
            ..plain(
                "bad",
                "blocked",
                format!("The storage “{}” that held the file was removed on {since}.", storage.name),
                format!(
                    "Add the storage with the UUID {} back, wherever it lies now, and the image is what it was. If the file is gone for good, \
                     forget the record.",
                    storage.id
                ),
            )
        },
        Shown::FileUnavailable => {
            let seen = found.image.status_since.words();
            let what = match found.image.file_state {
                FileState::Missing => format!("The file was removed from the storage by other hands; this was seen on {seen}."),
                _ => format!("The file was changed by other hands; this was seen on {seen}. It does not have the recorded bytes any more."),
            };
            let way_out = "Put the right file back and check again. If it is gone for good, forget the record.".to_owned();
            Cause { check: true, forget: true, storage_href, ..plain("bad", "blocked", what, way_out) }
        }
        Shown::Pending => pending_cause(found),
    })
}

fn pending_cause(found: &Found) -> Cause {
    let plain =
        Cause { tone: "idle", icon: "pause", what: String::new(), way_out: String::new(), storage_href: None, check: false, forget: false };
    let upload = found.upload.as_ref();
    let stopped = upload.and_then(|upload| upload.stopped());
    let detail = upload.map(|upload| upload.stopped_detail.clone()).unwrap_or_default();
    let (what, way_out) = match (upload, stopped) {
        (Some(upload), Some(stopped)) => {
            let at = upload.stopped_at.map(|at| crate::clock::Timestamp::from_micros(at).words()).unwrap_or_default();
            let what = format!("{} {detail}", stopped.words()).trim_end().to_owned();
            if let Some(part) = Part::of(upload) {
                let way_out = format!("{what} That was on {at}.");
                return Cause { tone: "busy", what: format!("{} % received.", part.percent), way_out, ..plain };
            }
            let way_out = match stopped {
                Stopped::Refused => "Nothing of it was kept. Choose another file, or delete the image.".to_owned(),
                Stopped::NeverSent | Stopped::Cancelled | Stopped::Expired => "Choose the file and send it.".to_owned(),
                _ => format!("That was on {at}. Nothing of it was kept. Choose the file and send it again."),
            };
            (what, way_out)
        }
        (Some(_), None) => ("The upload is about to begin.".to_owned(), "If it does not, choose the file here.".to_owned()),
        (None, _) => (Stopped::NeverSent.words().to_owned(), "Choose the file and send it.".to_owned()),
    };
    let tone = if stopped == Some(Stopped::Refused) { "bad" } else { "idle" };
    Cause { tone, what, way_out, ..plain }
}

#[derive(Template)]
#[template(path = "images/handover.html")]
struct HandoverPage {
    shell: Shell,
    id: ImageId,
    name: String,
    command: String,
    url: String,
    until: Moment,
}

/// The command with which another machine goes on, for who asked by a plain form.
pub async fn handed_over(
    request: &HttpRequest,
    service: &Service,
    me: &SignedIn,
    id: ImageId,
    (command, url): (String, String),
    until: Moment,
) -> Result<HttpResponse, Error> {
    let name = name_of(service, id).await?;
    let shell = Shell::new(request, &service.config, me, "images", format!("Another machine – {name} – Images"));
    let page = HandoverPage { shell, id, name, command, url, until };
    html(&page.shell, &page)
}

/// `GET /images/{id}/access`
pub async fn access(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    let (found, machines) = find(&service, &me, *id).await?;
    let administrators = authorize::read::<right::ReadImage, _>(&service.db, &me.actor, *id, |conn, _| {
        Ok(people::some_with_role(conn, Role::Administrator)?)
    });
    let page = AccessPage {
        shell: shell(&request, &service, &me, &found, "Access"),
        tab: "access",
        image: ImageView::new(&found, &machines, &me.actor.device),
        administrators: administrators.await?,
    };
    html(&page.shell, &page)
}

/// `GET /images/{id}/vms`
pub async fn vms(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    let (found, machines) = find(&service, &me, *id).await?;
    let page = VmsPage {
        shell: shell(&request, &service, &me, &found, "Virtual machines"),
        tab: "vms",
        image: ImageView::new(&found, &machines, &me.actor.device),
    };
    html(&page.shell, &page)
}

/// `GET /images/{id}/events`
pub async fn events(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    let (found, machines) = find(&service, &me, *id).await?;
    let filter = events::Filter { object_id: Some(id.to_string()), ..events::Filter::default() };
    let slice = authorize::read::<right::ReadImage, _>(&service.db, &me.actor, *id, move |conn, _| {
        Ok(events::page(conn, &filter, &Page::First, 50)?)
    });
    let slice = slice.await?;
    let page = EventsPage {
        shell: shell(&request, &service, &me, &found, "Events"),
        tab: "events",
        image: ImageView::new(&found, &machines, &me.actor.device),
        more: slice.has_next,
        events: view_events(&slice.rows),
    };
    html(&page.shell, &page)
}

/// An image's name, for a message about what was just done with it.
pub async fn name_of(service: &Service, id: ImageId) -> Result<String, Error> {
    let name = move |conn: &mut crate::db::Conn| crate::db::name_of(conn, crate::domain::audit::ObjectKind::Image, &id.to_string());
    Ok(service.db.read(name).await?)
}

/// `POST /images/{id}/check`
pub async fn check(service: Data<Service>, me: SignedIn, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    let state = check_image::run(&service, &me.actor, *id).await?;
    let here = format!("/images/{id}");
    let name = name_of(&service, *id).await?;
    let about = |after: &str| Flash::about("The file of ", here.clone(), &name, after);
    let flash = match state {
        FileState::Sound => about(" is there and has the recorded size. Its digest is being compared."),
        FileState::Missing => about(" is still missing.").bad(),
        FileState::Changed => about(" still does not have the recorded bytes.").bad(),
    };
    Ok(see_other(&service.config, &here, Some(&flash)))
}

/// `POST /images/{id}/upload/cancel`
pub async fn cancel_upload(service: Data<Service>, me: SignedIn, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    let found = stop_upload::cancel(&service, &me.actor, *id).await?;
    let here = format!("/images/{id}");
    let flash = Flash::about("The upload of ", here.clone(), &found.image.name, " is cancelled. Nothing of it was kept.");
    Ok(see_other(&service.config, &here, Some(&flash)))
}
