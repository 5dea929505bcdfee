//! Makes and revokes the tokens of programs. A token is shown once, to whoever makes it; the service keeps its digest.
//!
//! Tokens are made by somebody who is signed in, or on the command line, never with another token.

use std::time::Duration;

use super::{Failure, Service};
use crate::{
    authorize::{Actor, Credential},
    clock,
    db::{Tx, drafts, events, events::Author, people, tokens, tokens::Token},
    domain::{
        access::Scopes,
        audit::{Action, Entry, Object, ObjectKind},
        ids::{SubmissionId, TokenId, UserId},
        text::{Email, FieldError, Name},
    },
    secret,
};

/// Tokens that one person can have.
const MOST: i64 = 100;
/// The longest life of a token, in days.
pub const MOST_DAYS: u64 = 365;
/// A token that expired is shown to its owner for so long.
pub const FORGET_AFTER: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    pub name: String,
    pub scopes: Vec<String>,
    /// As typed.
    pub days: String,
}

/// A token that was just made: the only time that anybody sees it.
#[derive(Clone)]
pub struct Made {
    pub id: TokenId,
    pub name: String,
    pub token: String,
}

struct Plan {
    name: Name,
    scopes: Scopes,
    days: u64,
}

fn parse(asked: &Asked) -> Result<Plan, Failure> {
    let mut faults = Vec::new();
    let name = Name::parse("name", &asked.name).map_err(|fault| faults.push(fault)).ok();
    let scopes = Scopes::parse("scope", asked.scopes.iter().map(String::as_str)).map_err(|fault| faults.push(fault)).ok();
    let days = asked.days.trim().parse().ok().filter(|days| (1..=MOST_DAYS).contains(days));
    if days.is_none() {
        faults.push(FieldError::new("days", "token.days", format!("Give the token's life in whole days, from 1 to {MOST_DAYS}.")));
    }
    match (name, scopes, days) {
        (Some(name), Some(scopes), Some(days)) => Ok(Plan { name, scopes, days }),
        _ => Err(Failure::Invalid(faults)),
    }
}

fn make(tx: &mut Tx<'_>, user: UserId, author: &Author, plan: Plan) -> Result<Made, Failure> {
    let now = clock::now();
    if tokens::count_of(tx.conn(), user)? >= MOST {
        return Err(Failure::refused("tokens.too_many", format!("There are {MOST} tokens already, the most there can be. Revoke some.")));
    }
    let token = secret::program_token();
    let made = Made { id: TokenId::new(), name: plan.name.as_str().to_owned(), token };
    let detail = format!("For {}, {} days.", plan.scopes, plan.days);
    let new = tokens::New {
        id: made.id,
        user,
        name: made.name.clone(),
        token_hash: secret::digest(&made.token),
        scopes: plan.scopes,
        expires_at: now.plus(Duration::from_secs(plan.days * 24 * 3_600)),
    };
    tokens::insert(tx, &new, now)?;
    events::insert(tx, author, &Entry::done(Action::CreateToken, Object::new(ObjectKind::Token, made.id, &made.name)).with(detail), now)?;
    Ok(made)
}

/// Somebody who is signed in makes a token of their own. The same form sent twice makes one: [`crate::db::DbError::Taken`] the second time.
pub async fn create(service: &Service, actor: &Actor, asked: &Asked, key: SubmissionId) -> Result<Made, Failure> {
    let plan = parse(asked)?;
    if matches!(actor.credential, Credential::Token { .. }) {
        return Err(Failure::refused("token.by_token", "A token makes no tokens. Sign in to the console to make one."));
    }
    let (user, author) = (actor.user, actor.author());
    service
        .db
        .write(move |tx| {
            drafts::submit(tx, key, user, "/account/tokens", clock::now())?;
            make(tx, user, &author, plan)
        })
        .await
}

/// Makes a token for the user with this address, on the calling thread.
pub fn create_for(service: &Service, email: &str, asked: &Asked) -> Result<Made, Failure> {
    let (email, plan) = (Email::parse("email", email)?, parse(asked)?);
    service.db.write_now(|tx| {
        let user = people::by_email(tx.conn(), &email.key())?.ok_or(Failure::NotFound)?;
        make(tx, user.id, &super::manage_people::command_line(), plan)
    })
}

/// The actor's own tokens.
pub async fn list(service: &Service, actor: &Actor) -> Result<Vec<Token>, Failure> {
    let user = actor.user;
    service.db.read(move |conn| Ok(tokens::of_user(conn, user)?)).await
}

/// One of the actor's own tokens.
pub async fn find(service: &Service, actor: &Actor, id: TokenId) -> Result<Token, Failure> {
    let user = actor.user;
    service.db.read(move |conn| tokens::by_id(conn, id, user)?.ok_or(Failure::NotFound)).await
}

/// Revokes one of the actor's own tokens, which is gone from then on; answers its name. A program can revoke the token that it shows.
pub async fn revoke(service: &Service, actor: &Actor, id: TokenId) -> Result<String, Failure> {
    if matches!(&actor.credential, Credential::Token { id: shown, .. } if *shown != id) {
        return Err(Failure::NotFound);
    }
    let (user, author) = (actor.user, actor.author());
    service
        .db
        .write(move |tx| {
            let token = tokens::by_id(tx.conn(), id, user)?.ok_or(Failure::NotFound)?;
            if !tokens::delete(tx, id, user)? {
                return Err(Failure::NotFound);
            }
            let object = Object::new(ObjectKind::Token, id, token.name.clone());
            events::insert(tx, &author, &Entry::done(Action::RevokeToken, object), clock::now())?;
            Ok(token.name)
        })
        .await
}
