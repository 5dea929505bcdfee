//! Tokens with which programs show whose they are. Only a token's digest is stored; a revoked token is gone.

use diesel::prelude::*;

use super::{
    Conn, DbResult, Tx,
    people::User,
    schema::{tokens, users},
};
use crate::{
    clock::Timestamp,
    domain::{
        access::{Role, Scopes},
        ids::{TokenId, UserId},
    },
};

/// A token.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = tokens)]
pub struct Token {
    #[diesel(deserialize_as = String)]
    pub id: TokenId,
    pub name: String,
    #[diesel(deserialize_as = String)]
    pub scopes: Scopes,
    #[diesel(deserialize_as = i64)]
    pub created_at: Timestamp,
    #[diesel(deserialize_as = i64)]
    pub expires_at: Timestamp,
    pub last_used_at: Option<i64>,
}

/// What a new token is.
#[derive(Debug, Clone)]
pub struct New {
    pub id: TokenId,
    pub user: UserId,
    pub name: String,
    pub token_hash: String,
    pub scopes: Scopes,
    pub expires_at: Timestamp,
}

/// Adds a token.
pub fn insert(tx: &mut Tx<'_>, new: &New, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(tokens::table)
        .values((
            tokens::id.eq(new.id.to_string()),
            tokens::user_id.eq(new.user.to_string()),
            tokens::name.eq(&new.name),
            tokens::token_hash.eq(&new.token_hash),
            tokens::scopes.eq(new.scopes.to_string()),
            tokens::created_at.eq(now.micros()),
            tokens::expires_at.eq(new.expires_at.micros()),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// The token with this digest and its owner, whether it can still be used or not.
pub fn by_hash(conn: &mut Conn, token_hash: &str) -> DbResult<Option<(Token, User)>> {
    Ok(tokens::table
        .inner_join(users::table)
        .filter(tokens::token_hash.eq(token_hash))
        .select((Token::as_select(), User::as_select()))
        .first(conn)
        .optional()?)
}

/// The role that a token's owner holds now; none if the token has ended or its owner is disabled.
pub fn role_of(conn: &mut Conn, id: TokenId, now: Timestamp) -> DbResult<Option<Role>> {
    let alive = tokens::id.eq(id.to_string()).and(tokens::expires_at.gt(now.micros())).and(users::disabled.eq(false));
    let role: Option<String> = tokens::table.inner_join(users::table).filter(alive).select(users::role).first(conn).optional()?;
    Ok(role.map(|role| role.parse().unwrap_or(Role::NoAccess)))
}

/// A user's tokens, newest first.
pub fn of_user(conn: &mut Conn, user: UserId) -> DbResult<Vec<Token>> {
    let theirs = tokens::table.filter(tokens::user_id.eq(user.to_string()));
    Ok(theirs.order((tokens::created_at.desc(), tokens::id.desc())).select(Token::as_select()).load(conn)?)
}

/// One of a user's tokens.
pub fn by_id(conn: &mut Conn, id: TokenId, user: UserId) -> DbResult<Option<Token>> {
    let own = tokens::id.eq(id.to_string()).and(tokens::user_id.eq(user.to_string()));
    Ok(tokens::table.filter(own).select(Token::as_select()).first(conn).optional()?)
}

/// How many tokens a user has.
pub fn count_of(conn: &mut Conn, user: UserId) -> DbResult<i64> {
    Ok(tokens::table.filter(tokens::user_id.eq(user.to_string())).count().get_result(conn)?)
}

/// Notes that a token was used.
pub fn touch(tx: &mut Tx<'_>, id: TokenId, now: Timestamp) -> DbResult<()> {
    diesel::update(tokens::table.find(id.to_string())).set(tokens::last_used_at.eq(now.micros())).execute(tx.conn())?;
    Ok(())
}

/// Revokes one of a user's tokens; false if there is none.
pub fn delete(tx: &mut Tx<'_>, id: TokenId, user: UserId) -> DbResult<bool> {
    let own = tokens::id.eq(id.to_string()).and(tokens::user_id.eq(user.to_string()));
    Ok(diesel::delete(tokens::table.filter(own)).execute(tx.conn())? == 1)
}

/// Forgets tokens that expired before this moment.
pub fn sweep(tx: &mut Tx<'_>, expired_before: Timestamp) -> DbResult<()> {
    diesel::delete(tokens::table.filter(tokens::expires_at.lt(expired_before.micros()))).execute(tx.conn())?;
    Ok(())
}
