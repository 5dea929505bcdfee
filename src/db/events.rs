//! The audit log: written in the transaction of the change, read page by page, never altered.

use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{BigInt, Bool, Text},
};

use super::{
    Conn, DbResult, Tx,
    cursor::{Page, Place, Slice, Value},
    schema::events,
};
use crate::{
    clock::Timestamp,
    domain::{
        audit::{Action, Entry, ObjectKind, Outcome},
        ids::{EventId, UserId},
    },
};

/// Who acts, and from where, as the log keeps it.
#[derive(Debug, Clone)]
pub struct Author {
    pub id: Option<UserId>,
    pub name: String,
    pub address: String,
    pub request_id: String,
}

/// One line of the log.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = events)]
pub struct Event {
    pub id: String,
    #[diesel(deserialize_as = i64)]
    pub at: Timestamp,
    pub actor_id: Option<String>,
    pub actor_name: String,
    #[diesel(deserialize_as = String)]
    pub action: Action,
    #[diesel(deserialize_as = String)]
    pub object_kind: ObjectKind,
    pub object_id: Option<String>,
    pub object_name: String,
    #[diesel(deserialize_as = String)]
    pub outcome: Outcome,
    pub detail: String,
    pub address: String,
    pub request_id: String,
}

impl Event {
    /// Its place in the log.
    pub fn place(&self) -> Place {
        Place { value: Value::Number(self.at.micros()), id: self.id.clone() }
    }
}

/// Which lines to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub actions: Vec<Action>,
    pub outcomes: Vec<Outcome>,
    pub object_id: Option<String>,
    pub actor_id: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Writes one line.
pub fn insert(tx: &mut Tx<'_>, author: &Author, entry: &Entry, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(events::table)
        .values((
            events::id.eq(EventId::new().to_string()),
            events::at.eq(now.micros()),
            events::actor_id.eq(author.id.map(|id| id.to_string())),
            events::actor_name.eq(&author.name),
            events::action.eq(entry.action.as_str()),
            events::object_kind.eq(entry.object.kind.as_str()),
            events::object_id.eq(&entry.object.id),
            events::object_name.eq(&entry.object.name),
            events::outcome.eq(entry.outcome.as_str()),
            events::detail.eq(&entry.detail),
            events::address.eq(&author.address),
            events::request_id.eq(&author.request_id),
        ))
        .execute(tx.conn())?;
    tx.recorded.push(entry.action);
    Ok(())
}

/// Up to `size` lines of the log, newest first.
pub fn page(conn: &mut Conn, filter: &Filter, page: &Page, size: usize) -> DbResult<Slice<Event>> {
    let mut query = events::table.select(Event::as_select()).into_boxed();
    if !filter.actions.is_empty() {
        query = query.filter(events::action.eq_any(filter.actions.iter().map(|action| action.as_str())));
    }
    if !filter.outcomes.is_empty() {
        query = query.filter(events::outcome.eq_any(filter.outcomes.iter().map(|outcome| outcome.as_str())));
    }
    if let Some(id) = &filter.object_id {
        query = query.filter(events::object_id.eq(id));
    }
    if let Some(id) = &filter.actor_id {
        query = query.filter(events::actor_id.eq(id));
    }
    if let Some(since) = filter.since {
        query = query.filter(events::at.ge(since.micros()));
    }
    if let Some(until) = filter.until {
        query = query.filter(events::at.lt(until.micros()));
    }
    let border = |comparison: &str, place: &Place| {
        let at = if let Value::Number(at) = place.value { at } else { 0 };
        sql::<Bool>(comparison).bind::<BigInt, _>(at).sql(", ").bind::<Text, _>(place.id.clone()).sql(")")
    };
    query = match page {
        Page::First => query.order((events::at.desc(), events::id.desc())),
        Page::After(place) => query.filter(border("(events.at, events.id) < (", place)).order((events::at.desc(), events::id.desc())),
        Page::Before(place) => query.filter(border("(events.at, events.id) > (", place)).order((events::at.asc(), events::id.asc())),
    };
    let limit = i64::try_from(size + 1).unwrap_or(i64::MAX);
    Ok(Slice::cut(query.limit(limit).load(conn)?, page, size))
}

/// Whether an image with this identifier was ever made, as far back as the log goes.
pub fn was_made(conn: &mut Conn, image: &str) -> DbResult<bool> {
    let made =
        events::object_id.eq(image).and(events::action.eq(Action::CreateImage.as_str())).and(events::outcome.eq(Outcome::Done.as_str()));
    Ok(diesel::select(diesel::dsl::exists(events::table.filter(made))).get_result(conn)?)
}
