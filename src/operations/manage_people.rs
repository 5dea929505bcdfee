//! Makes users and resets passwords, from the set-up page and the command line; people change their own password here.

use super::{Failure, Service, off_thread};
use crate::{
    authorize::Actor,
    clock,
    db::{DbError, events, events::Author, people},
    domain::{
        access::Role,
        audit::{Action, Entry, Object, ObjectKind},
        ids::UserId,
        text::{Email, FieldError, Name, check_password},
    },
    secret,
};

/// A person whose name and address are well formed.
#[derive(Debug, Clone)]
pub struct Person {
    pub name: Name,
    pub email: Email,
}

/// Checks what was typed about a new person; all faults at once.
pub fn check(name: &str, email: &str, password: &str) -> (Option<Person>, Vec<FieldError>) {
    let mut faults = Vec::new();
    let name = Name::parse("name", name).map_err(|fault| faults.push(fault)).ok();
    let parsed = Email::parse("email", email).map_err(|fault| faults.push(fault)).ok();
    faults.extend(check_password("password", password, email).err());
    (name.zip(parsed).map(|(name, email)| Person { name, email }), faults)
}

/// The command line as the author of an event.
pub fn command_line() -> Author {
    Author { id: None, name: "command line".to_owned(), address: String::new(), request_id: String::new() }
}

/// Makes a user, on the calling thread.
pub fn create_user(service: &Service, name: &str, email: &str, password: &str, role: Role) -> Result<UserId, Failure> {
    let (person, faults) = check(name, email, password);
    let Some(person) = person.filter(|_| faults.is_empty()) else { return Err(Failure::Invalid(faults)) };
    let hash = secret::hash_password(password).map_err(Failure::Broken)?;
    let user = UserId::new();
    service.db.write_now(|tx| {
        let now = clock::now();
        people::insert(tx, user, &person.email, person.name.as_str(), &hash, role, now).map_err(|failed| match failed {
            DbError::Taken(_) => Failure::invalid("email", "email.taken", "Somebody has this e-mail address already."),
            other => Failure::Db(other),
        })?;
        let object = Object::new(ObjectKind::User, user, person.name.as_str());
        events::insert(tx, &command_line(), &Entry::done(Action::CreateUser, object).with(role.words()), now)?;
        Ok(user)
    })
}

/// Sets a new password for the user with this address and ends their sessions, on the calling thread.
pub fn reset_password(service: &Service, email: &str, password: &str) -> Result<(), Failure> {
    let parsed = Email::parse("email", email)?;
    check_password("password", password, email)?;
    let hash = secret::hash_password(password).map_err(Failure::Broken)?;
    service.db.write_now(|tx| {
        let user = people::by_email(tx.conn(), &parsed.key())?.ok_or(Failure::NotFound)?;
        people::set_password(tx, user.id, &hash, None)?;
        let object = Object::new(ObjectKind::User, user.id, user.name);
        Ok(events::insert(tx, &command_line(), &Entry::done(Action::ResetPassword, object), clock::now())?)
    })
}

/// Somebody changes their own password; their other sessions end.
pub async fn change_own_password(
    service: &Service,
    actor: &Actor,
    session_hash: String,
    present: String,
    new: String,
) -> Result<(), Failure> {
    let (user, author) = (actor.user, actor.author());
    let account = service.db.read(move |conn| Ok::<_, Failure>(people::by_id(conn, user)?)).await?.ok_or(Failure::NotFound)?;
    let mut faults = Vec::new();
    faults.extend(check_password("new_password", &new, &account.email).err());
    let old_hash = account.password_hash.clone();
    let hashed = off_thread(move || secret::verify_password(&present, Some(&old_hash)).then(|| secret::hash_password(&new))).await?;
    let Some(hash) = hashed else {
        faults.insert(0, FieldError::new("password", "password.wrong", "This is not your present password."));
        return Err(Failure::Invalid(faults));
    };
    if !faults.is_empty() {
        return Err(Failure::Invalid(faults));
    }
    let hash = hash.map_err(Failure::Broken)?;
    service
        .db
        .write(move |tx| {
            people::set_password(tx, user, &hash, Some(&session_hash))?;
            let object = Object::new(ObjectKind::User, user, account.name);
            Ok(events::insert(tx, &author, &Entry::done(Action::ChangePassword, object), clock::now())?)
        })
        .await
}
