//! Users, their sessions, the set-up code, and the count of failed sign-ins.

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Text},
};

use super::{
    Conn, DbResult, Tx,
    schema::{sessions, setup_codes, sign_in_failures, users},
};
use crate::{
    clock::Timestamp,
    domain::{access::Role, ids::UserId, text::Email},
};

/// A user.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = users)]
pub struct User {
    #[diesel(deserialize_as = String)]
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub password_hash: String,
    #[diesel(deserialize_as = String)]
    pub role: Role,
    pub disabled: bool,
    pub theme: String,
    pub shortcuts: bool,
    pub list_columns: String,
}

/// A session with its user.
#[derive(Debug, Clone)]
pub struct Session {
    pub user: User,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
}

/// Whether anybody has been created yet.
pub fn anybody(conn: &mut Conn) -> DbResult<bool> {
    Ok(diesel::select(diesel::dsl::exists(users::table.select(users::id))).get_result(conn)?)
}

/// The user with this e-mail address.
pub fn by_email(conn: &mut Conn, email_key: &str) -> DbResult<Option<User>> {
    Ok(users::table.filter(users::email_key.eq(email_key)).select(User::as_select()).first(conn).optional()?)
}

/// The user with this identifier.
pub fn by_id(conn: &mut Conn, id: UserId) -> DbResult<Option<User>> {
    Ok(users::table.find(id.to_string()).select(User::as_select()).first(conn).optional()?)
}

/// The role that a user holds now: none if disabled or gone.
pub fn role_of(conn: &mut Conn, id: UserId) -> DbResult<Role> {
    let found: Option<(String, bool)> = users::table.find(id.to_string()).select((users::role, users::disabled)).first(conn).optional()?;
    Ok(match found {
        Some((role, false)) => role.parse().unwrap_or(Role::NoAccess),
        _ => Role::NoAccess,
    })
}

/// Names of up to three enabled users with this role, for "who can grant it".
pub fn some_with_role(conn: &mut Conn, role: Role) -> DbResult<Vec<String>> {
    let named = users::role.eq(role.as_str()).and(users::disabled.eq(false));
    Ok(users::table.filter(named).order(users::created_at).select(users::name).limit(3).load(conn)?)
}

/// Adds a user.
pub fn insert(tx: &mut Tx<'_>, id: UserId, email: &Email, name: &str, password_hash: &str, role: Role, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(users::table)
        .values((
            users::id.eq(id.to_string()),
            users::email.eq(email.as_str()),
            users::email_key.eq(email.key()),
            users::name.eq(name),
            users::password_hash.eq(password_hash),
            users::role.eq(role.as_str()),
            users::disabled.eq(false),
            users::theme.eq("system"),
            users::shortcuts.eq(true),
            users::list_columns.eq(""),
            users::created_at.eq(now.micros()),
            users::version.eq(1),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Sets the password and ends the user's sessions, save the one that is kept.
pub fn set_password(tx: &mut Tx<'_>, id: UserId, password_hash: &str, keep_session: Option<&str>) -> DbResult<()> {
    diesel::update(users::table.find(id.to_string()))
        .set((users::password_hash.eq(password_hash), users::version.eq(users::version + 1)))
        .execute(tx.conn())?;
    let others = sessions::user_id.eq(id.to_string()).and(sessions::token_hash.ne(keep_session.unwrap_or_default().to_owned()));
    diesel::delete(sessions::table.filter(others)).execute(tx.conn())?;
    Ok(())
}

/// Replaces a password's hash by one of the same password with newer parameters.
pub fn rehash(tx: &mut Tx<'_>, id: UserId, old_hash: &str, new_hash: &str) -> DbResult<()> {
    let same = users::id.eq(id.to_string()).and(users::password_hash.eq(old_hash.to_owned()));
    diesel::update(users::table.filter(same)).set(users::password_hash.eq(new_hash)).execute(tx.conn())?;
    Ok(())
}

/// Keeps how a user likes the console.
pub fn set_preferences(tx: &mut Tx<'_>, id: UserId, theme: Option<&str>, shortcuts: Option<bool>, columns: Option<&str>) -> DbResult<()> {
    if let Some(theme) = theme {
        diesel::update(users::table.find(id.to_string())).set(users::theme.eq(theme)).execute(tx.conn())?;
    }
    if let Some(shortcuts) = shortcuts {
        diesel::update(users::table.find(id.to_string())).set(users::shortcuts.eq(shortcuts)).execute(tx.conn())?;
    }
    if let Some(columns) = columns {
        diesel::update(users::table.find(id.to_string())).set(users::list_columns.eq(columns)).execute(tx.conn())?;
    }
    Ok(())
}

/// Begins a session.
pub fn begin_session(tx: &mut Tx<'_>, token_hash: &str, user: UserId, address: &str, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(sessions::table)
        .values((
            sessions::token_hash.eq(token_hash),
            sessions::user_id.eq(user.to_string()),
            sessions::created_at.eq(now.micros()),
            sessions::seen_at.eq(now.micros()),
            sessions::address.eq(address),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// The session with this token and its user.
pub fn session(conn: &mut Conn, token_hash: &str) -> DbResult<Option<Session>> {
    let found: Option<(i64, i64, User)> = sessions::table
        .inner_join(users::table)
        .filter(sessions::token_hash.eq(token_hash))
        .select((sessions::created_at, sessions::seen_at, User::as_select()))
        .first(conn)
        .optional()?;
    Ok(found.map(|(created_at, seen_at, user)| Session { user, created_at: created_at.into(), seen_at: seen_at.into() }))
}

/// Notes that a session is in use; false if it has ended.
pub fn touch_session(tx: &mut Tx<'_>, token_hash: &str, now: Timestamp) -> DbResult<bool> {
    Ok(diesel::update(sessions::table.find(token_hash)).set(sessions::seen_at.eq(now.micros())).execute(tx.conn())? == 1)
}

/// Ends a session.
pub fn end_session(tx: &mut Tx<'_>, token_hash: &str) -> DbResult<()> {
    diesel::delete(sessions::table.find(token_hash)).execute(tx.conn())?;
    Ok(())
}

/// Ends what has not been used since `idle`, or was begun before `oldest`, and forgets failures from before `failures`.
pub fn sweep(tx: &mut Tx<'_>, idle: Timestamp, oldest: Timestamp, failures: Timestamp) -> DbResult<()> {
    let over = sessions::seen_at.lt(idle.micros()).or(sessions::created_at.lt(oldest.micros()));
    diesel::delete(sessions::table.filter(over)).execute(tx.conn())?;
    diesel::delete(sign_in_failures::table.filter(sign_in_failures::last_at.lt(failures.micros()))).execute(tx.conn())?;
    Ok(())
}

/// Makes `code_hash` the one set-up code.
pub fn set_setup_code(tx: &mut Tx<'_>, code_hash: &str, now: Timestamp) -> DbResult<()> {
    diesel::delete(setup_codes::table).execute(tx.conn())?;
    diesel::insert_into(setup_codes::table)
        .values((setup_codes::code_hash.eq(code_hash), setup_codes::created_at.eq(now.micros())))
        .execute(tx.conn())?;
    Ok(())
}

/// Whether this is the set-up code.
pub fn is_setup_code(conn: &mut Conn, code_hash: &str) -> DbResult<bool> {
    Ok(diesel::select(diesel::dsl::exists(setup_codes::table.find(code_hash))).get_result(conn)?)
}

/// Uses up the set-up code; false if it was not the one.
pub fn use_setup_code(tx: &mut Tx<'_>, code_hash: &str) -> DbResult<bool> {
    Ok(diesel::delete(setup_codes::table.find(code_hash)).execute(tx.conn())? == 1)
}

/// How often signing in failed for a subject (an address or an account) in a row, and when last.
pub fn failures(conn: &mut Conn, subject: &str) -> DbResult<(i64, Timestamp)> {
    let found: Option<(i64, i64)> =
        sign_in_failures::table.find(subject).select((sign_in_failures::failures, sign_in_failures::last_at)).first(conn).optional()?;
    Ok(found.map_or((0, Timestamp::from_micros(0)), |(count, at)| (count, at.into())))
}

/// Takes a subject's row for the rest of the transaction, making it if it is not there, so that attempts at once are looked at one by one.
pub fn lock_failures(tx: &mut Tx<'_>, subject: &str) -> DbResult<()> {
    sql_query(
        "INSERT INTO sign_in_failures (subject, failures, last_at) VALUES ($1, 0, 0) \
         ON CONFLICT (subject) DO UPDATE SET failures = sign_in_failures.failures",
    )
    .bind::<Text, _>(subject)
    .execute(tx.conn())?;
    Ok(())
}

/// Counts one more failure of a subject.
pub fn count_failure(tx: &mut Tx<'_>, subject: &str, now: Timestamp) -> DbResult<()> {
    sql_query(
        "INSERT INTO sign_in_failures (subject, failures, last_at) VALUES ($1, 1, $2) \
         ON CONFLICT (subject) DO UPDATE SET failures = sign_in_failures.failures + 1, last_at = $2",
    )
    .bind::<Text, _>(subject)
    .bind::<BigInt, _>(now.micros())
    .execute(tx.conn())?;
    Ok(())
}

/// Takes one failure of a subject back: it was none.
pub fn uncount_failure(tx: &mut Tx<'_>, subject: &str) -> DbResult<()> {
    let counted = sign_in_failures::subject.eq(subject.to_owned()).and(sign_in_failures::failures.gt(0));
    diesel::update(sign_in_failures::table.filter(counted))
        .set(sign_in_failures::failures.eq(sign_in_failures::failures - 1))
        .execute(tx.conn())?;
    Ok(())
}

/// Forgets the failures of a subject.
pub fn clear_failures(tx: &mut Tx<'_>, subject: &str) -> DbResult<()> {
    diesel::delete(sign_in_failures::table.find(subject)).execute(tx.conn())?;
    Ok(())
}

/// Takes out the failures that were counted under subjects beginning with `prefix`, save those under `current`.
pub fn take_failures(tx: &mut Tx<'_>, prefix: &str, current: &str) -> DbResult<Vec<(String, i64)>> {
    let counted = sign_in_failures::subject
        .ge(prefix.to_owned())
        .and(sign_in_failures::subject.lt(format!("{prefix}{}", char::MAX)))
        .and(sign_in_failures::subject.not_like(format!("{current}%")));
    let found: Vec<(String, i64)> = sign_in_failures::table
        .filter(counted)
        .order(sign_in_failures::subject)
        .select((sign_in_failures::subject, sign_in_failures::failures))
        .load(tx.conn())?;
    for (subject, _) in &found {
        clear_failures(tx, subject)?;
    }
    Ok(found)
}
