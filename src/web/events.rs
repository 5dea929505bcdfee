//! The audit log as a page: newest first, filters in the URL, nothing to edit.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Bytes, Data},
};
use askama::Template;
use futures_util::stream;

use super::{
    error::Error,
    form::{Fields, each_once},
    images::export::{csv, line},
    page::{Moment, Pill, Shell, html_with},
    session::SignedIn,
};
use crate::{
    authorize::{self, right},
    clock::Timestamp,
    db::{
        cursor::{Page, Place, Slice},
        events::{self, Event, Filter},
    },
    domain::audit::{Action, ObjectKind, Outcome},
    operations::{Failure, Service},
};

const PAGE: usize = 50;
/// What the log is ordered by, as cursors name it.
pub const SORT: &str = "at";

/// One line of the log, as pages show it.
pub struct EventView {
    pub at: Moment,
    pub actor: String,
    pub action: &'static str,
    pub object: String,
    pub object_href: Option<String>,
    pub outcome: Pill,
    pub detail: String,
    pub address: String,
    pub request_id: String,
}

/// Prepares lines for a page.
pub fn view_events(rows: &[Event]) -> Vec<EventView> {
    rows.iter()
        .map(|event| EventView {
            at: event.at.into(),
            actor: event.actor_name.clone(),
            action: event.action.words(),
            object: if event.object_kind == ObjectKind::Service { "The service".to_owned() } else { event.object_name.clone() },
            object_href: event.object_id.as_ref().and_then(|id| match event.object_kind {
                ObjectKind::Image => Some(format!("/images/{id}")),
                ObjectKind::Cluster => Some(format!("/clusters/{id}")),
                ObjectKind::Host => Some(format!("/hosts/{id}")),
                ObjectKind::Storage => Some(format!("/storages/{id}")),
                ObjectKind::User | ObjectKind::Token | ObjectKind::Service => None,
            }),
            outcome: Pill {
                tone: event.outcome.tone(),
                icon: event.outcome.icon(),
                words: event.outcome.words().to_owned(),
                meaning: String::new(),
            },
            detail: event.detail.clone(),
            address: event.address.clone(),
            request_id: event.request_id.clone(),
        })
        .collect()
}

struct Choice {
    value: &'static str,
    words: &'static str,
    checked: bool,
}

#[derive(Template)]
#[template(path = "events/list.html")]
struct ListPage {
    shell: Shell,
    events: Vec<EventView>,
    actions: Vec<Choice>,
    outcomes: Vec<Choice>,
    since: String,
    until: String,
    object: String,
    actor: String,
    filtered: bool,
    query: String,
    previous: Option<String>,
    next: Option<String>,
}

/// The beginning of a day, in UTC.
pub fn midnight(date: jiff::civil::Date) -> Option<Timestamp> {
    let midnight = jiff::tz::TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
    Some(Timestamp::from_micros(midnight.as_microsecond()))
}

/// What a URL asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub filter: Filter,
    pub page: Page,
    since: String,
    until: String,
}

impl View {
    /// Reads the query of a URL.
    pub fn parse(query: &Fields) -> Self {
        let first = |name: &str| query.all(name).next().unwrap_or_default().to_owned();
        let some = |name: &str| {
            Some(first(name))
                .filter(|text| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'))
        };
        let day = |text: &str| text.parse::<jiff::civil::Date>().ok();
        let place = |name: &str| Place::parse(&first(name), SORT, false);
        let page = match (place("after"), place("before")) {
            (Some(place), _) => Page::After(place),
            (None, Some(place)) => Page::Before(place),
            (None, None) => Page::First,
        };
        let (since, until) = (first("since"), first("until"));
        let filter = Filter {
            actions: each_once(query.parsed("action")),
            outcomes: each_once(query.parsed("outcome")),
            object_id: some("object"),
            actor_id: some("actor"),
            since: day(&since).and_then(midnight),
            until: day(&until).and_then(|date| date.tomorrow().ok()).and_then(midnight),
        };
        let kept = |text: String| if day(&text).is_some() { text } else { String::new() };
        Self { filter, page, since: kept(since), until: kept(until) }
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let filter = &self.filter;
        let mut pairs: Vec<(&'static str, String)> = filter.actions.iter().map(|action| ("action", action.as_str().to_owned())).collect();
        pairs.extend(filter.outcomes.iter().map(|outcome| ("outcome", outcome.as_str().to_owned())));
        pairs.extend(filter.object_id.iter().map(|id| ("object", id.clone())));
        pairs.extend(filter.actor_id.iter().map(|id| ("actor", id.clone())));
        for (name, text) in [("since", &self.since), ("until", &self.until)] {
            if !text.is_empty() {
                pairs.push((name, text.clone()));
            }
        }
        pairs
    }

    /// The address of the same filter with these pairs more.
    pub fn link(&self, more: &[(&'static str, String)]) -> String {
        let pairs: Vec<_> = self.pairs().into_iter().chain(more.iter().cloned()).collect();
        format!("/events?{}", serde_html_form::to_string(&pairs).unwrap_or_default())
    }
}

async fn find(service: &Service, me: &SignedIn, view: View, size: usize) -> Result<Slice<Event>, Failure> {
    authorize::read::<right::ViewEvents, _>(&service.db, &me.actor, authorize::Service, move |conn, _| {
        Ok(events::page(conn, &view.filter, &view.page, size)?)
    })
    .await
}

/// `GET /events`
pub async fn list(request: HttpRequest, service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    let view = View::parse(&Fields::parse(request.query_string())?);
    let slice = find(&service, &me, view.clone(), PAGE).await?;
    let token = |event: Option<&Event>| event.map(|event| event.place().token(SORT));
    let page = ListPage {
        shell: Shell::new(&request, &service.config, &me, "events", "Events"),
        previous: token(slice.rows.first()).filter(|_| slice.has_previous).map(|token| view.link(&[("before", token)])),
        next: token(slice.rows.last()).filter(|_| slice.has_next).map(|token| view.link(&[("after", token)])),
        events: view_events(&slice.rows),
        actions: Action::ALL
            .iter()
            .map(|action| Choice { value: action.as_str(), words: action.words(), checked: view.filter.actions.contains(action) })
            .collect(),
        outcomes: Outcome::ALL
            .iter()
            .map(|outcome| Choice { value: outcome.as_str(), words: outcome.words(), checked: view.filter.outcomes.contains(outcome) })
            .collect(),
        filtered: !view.pairs().is_empty(),
        query: serde_html_form::to_string(view.pairs()).unwrap_or_default(),
        object: view.filter.object_id.clone().unwrap_or_default(),
        actor: view.filter.actor_id.clone().unwrap_or_default(),
        since: view.since,
        until: view.until,
    };
    html_with(StatusCode::OK, &page.shell, &page)
}

/// `GET /events.csv`: everything that the filter lets through.
pub async fn export(request: HttpRequest, service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    let view = View { page: Page::First, ..View::parse(&Fields::parse(request.query_string())?) };
    // The first page is looked up before anything is sent, so that a missing right is an answer of its own.
    let first = find(&service, &me, view.clone(), 1_000).await?;
    let rows = stream::try_unfold(Some((first, view, true)), move |state| {
        let (service, me) = (service.clone(), me.clone());
        async move {
            let Some((slice, mut view, is_first)) = state else { return Ok::<_, Error>(None) };
            let mut text =
                if is_first { "time,actor,action,object,object id,result,detail,address,request\r\n".to_owned() } else { String::new() };
            for event in &slice.rows {
                text.push_str(&line(&[
                    event.at.rfc3339(),
                    event.actor_name.clone(),
                    event.action.words().to_owned(),
                    event.object_name.clone(),
                    event.object_id.clone().unwrap_or_default(),
                    event.outcome.words().to_owned(),
                    event.detail.clone(),
                    event.address.clone(),
                    event.request_id.clone(),
                ]));
            }
            let next = match slice.rows.last().filter(|_| slice.has_next) {
                None => None,
                Some(last) => {
                    view.page = Page::After(last.place());
                    Some((find(&service, &me, view.clone(), 1_000).await?, view, false))
                }
            };
            Ok(Some((Bytes::from(text), next)))
        }
    });
    Ok(csv("events.csv").streaming(rows))
}
