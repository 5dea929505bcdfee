//! Requests of programs that carry a key of their own, and the answers they were given, so that one sent again does nothing twice.

use diesel::prelude::*;

use super::{Conn, DbResult, Tx, schema::requests};
use crate::{clock::Timestamp, domain::ids::UserId};

/// A request that was seen before.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = requests)]
pub struct Seen {
    pub fingerprint: String,
    /// The answer as the web layer wrote it; none while the request is under way.
    pub answer: Option<String>,
}

/// Notes that a request begins. One that was begun before `abandoned` and never answered counts as not begun, for its process has ended; so
/// does one from before `oldest`. [`super::DbError::Taken`] if the key is in use.
pub fn begin(
    tx: &mut Tx<'_>,
    user: UserId,
    key: &str,
    fingerprint: &str,
    abandoned: Timestamp,
    oldest: Timestamp,
    now: Timestamp,
) -> DbResult<()> {
    let dead = requests::answer.is_null().and(requests::created_at.lt(abandoned.micros()));
    let over = dead.or(requests::created_at.lt(oldest.micros()));
    diesel::delete(requests::table.filter(theirs(user, key).and(over))).execute(tx.conn())?;
    diesel::insert_into(requests::table)
        .values((
            requests::user_id.eq(user.to_string()),
            requests::key.eq(key),
            requests::fingerprint.eq(fingerprint),
            requests::created_at.eq(now.micros()),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// What was seen under a user's key.
pub fn find(conn: &mut Conn, user: UserId, key: &str) -> DbResult<Option<Seen>> {
    Ok(requests::table.filter(theirs(user, key)).select(Seen::as_select()).first(conn).optional()?)
}

/// Keeps the answer of a request.
pub fn keep(tx: &mut Tx<'_>, user: UserId, key: &str, answer: &str) -> DbResult<()> {
    diesel::update(requests::table.filter(theirs(user, key))).set(requests::answer.eq(answer)).execute(tx.conn())?;
    Ok(())
}

/// Forgets a request whose answer is not worth keeping: it can be sent again.
pub fn forget(tx: &mut Tx<'_>, user: UserId, key: &str) -> DbResult<()> {
    diesel::delete(requests::table.filter(theirs(user, key))).execute(tx.conn())?;
    Ok(())
}

/// Forgets requests from before this moment.
pub fn sweep(tx: &mut Tx<'_>, before: Timestamp) -> DbResult<()> {
    diesel::delete(requests::table.filter(requests::created_at.lt(before.micros()))).execute(tx.conn())?;
    Ok(())
}

#[diesel::dsl::auto_type(no_type_alias)]
fn theirs(user: UserId, key: &str) -> _ {
    let (user, key): (String, String) = (user.to_string(), key.to_owned());
    requests::user_id.eq(user).and(requests::key.eq(key))
}
