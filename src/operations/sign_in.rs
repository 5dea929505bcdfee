//! Signing in and out.
//!
//! A wrong name and a wrong password get the same answer after the same work. Failures are counted by account and by address: after a few
//! in a row each further attempt has to wait, longer each time up to a bound, so that the right person is never locked out for good.

use std::{sync::LazyLock, time::Duration};

use tokio::sync::Semaphore;

use super::{Failure, Service, off_thread};
use crate::{
    clock::{self, Timestamp},
    db::{Conn, Tx, events, events::Author, people},
    domain::{
        audit::{Action, Entry, Object, ObjectKind, Outcome},
        ids::UserId,
        text::fold,
    },
    meter::{self, Login},
    secret,
};

/// Failures in a row that cost nothing.
const FREE_FAILURES: i64 = 5;
/// An address can belong to many people.
const FREE_FAILURES_OF_ADDRESS: i64 = 30;
/// The longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// Failures are forgotten after this.
pub const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);
/// Subjects under which the failures of an address in a minute are counted for the audit log.
pub const MINUTES: &str = "minute ";

/// Hashes that may be computed at once: each takes 19 MiB and a processor.
static HASHING: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(4));

/// Who is signed in, and the token of the session, which only the browser keeps.
#[derive(Debug)]
pub struct SignedIn {
    pub user: UserId,
    pub token: String,
}

/// How long somebody has to wait after so many failures, the last at `last`.
fn wait(failures: i64, free: i64, last: Timestamp, now: Timestamp) -> Duration {
    let over = u32::try_from(failures - free).unwrap_or(0);
    if failures < free {
        return Duration::ZERO;
    }
    let whole = Duration::from_secs(2_u64.saturating_pow(over.min(12))).min(LONGEST_WAIT);
    whole.saturating_sub(now.since(last))
}

fn subjects(email: &str, address: &str) -> [(String, i64); 2] {
    [(format!("account {}", fold(email)), FREE_FAILURES), (format!("address {address}"), FREE_FAILURES_OF_ADDRESS)]
}

fn longest_wait(conn: &mut Conn, email: &str, address: &str, now: Timestamp) -> Result<Duration, Failure> {
    let mut longest = Duration::ZERO;
    for (subject, free) in subjects(email, address) {
        let (failures, last) = people::failures(conn, &subject)?;
        longest = longest.max(wait(failures, free, last, now));
    }
    Ok(longest)
}

/// Signs somebody in: [`Failure::TooOften`] while they have to wait, [`Failure::NotFound`] if name and password do not belong together.
pub async fn sign_in(service: &Service, email: String, password: String, address: String, request_id: String) -> Result<SignedIn, Failure> {
    let attempt = attempt(service, email, password, address, request_id).await;
    meter::login(match &attempt {
        Ok(_) => Login::Success,
        Err(Failure::NotFound) => Login::Failure,
        Err(Failure::TooOften(_)) => Login::Throttled,
        Err(_) => Login::Error,
    });
    attempt
}

async fn attempt(service: &Service, email: String, password: String, address: String, request_id: String) -> Result<SignedIn, Failure> {
    let email: String = email.chars().filter(|c| !c.is_control()).take(crate::domain::text::EMAIL_MAX).collect();
    let (typed, from) = (email.clone(), address.clone());
    // The attempt counts before its outcome is known, so that many at once do not all go free.
    let account = service
        .db
        .write(move |tx| {
            let now = clock::now();
            for (subject, _) in subjects(&typed, &from) {
                people::lock_failures(tx, &subject)?;
            }
            let wait = longest_wait(tx.conn(), &typed, &from, now)?;
            if wait > Duration::ZERO {
                return Err(Failure::TooOften(wait.as_secs().max(1)));
            }
            for (subject, _) in subjects(&typed, &from) {
                people::count_failure(tx, &subject, now)?;
            }
            Ok(people::by_email(tx.conn(), &fold(&typed))?)
        })
        .await?;
    let account = account.filter(|account| !account.disabled);
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    let permit = HASHING.acquire().await.map_err(|failed| Failure::Broken(failed.to_string()))?;
    let (right, newer) = off_thread(move || {
        let too_long = password.len() > crate::domain::text::PASSWORD_MAX;
        let right = !too_long && secret::verify_password(&password, hash.as_deref());
        let outdated = right && hash.as_deref().is_some_and(secret::is_outdated);
        (right, outdated.then(|| secret::hash_password(&password).ok()).flatten())
    })
    .await?;
    drop(permit);
    let author = Author { id: None, name: String::new(), address: address.clone(), request_id };
    let Some(account) = account.filter(|_| right) else {
        service
            .db
            .write(move |tx| {
                let now = clock::now();
                Ok::<_, Failure>(people::count_failure(tx, &format!("{MINUTES}{} {address}", minute(now)), now)?)
            })
            .await?;
        return Err(Failure::NotFound);
    };
    let token = secret::token();
    let token_hash = secret::digest(&token);
    let user = account.id;
    service
        .db
        .write(move |tx| {
            let now = clock::now();
            people::begin_session(tx, &token_hash, user, &address, now)?;
            // The address is not cleared: somebody with an account could go on guessing others' passwords.
            let [(account_subject, _), (address_subject, _)] = subjects(&email, &address);
            people::clear_failures(tx, &account_subject)?;
            people::uncount_failure(tx, &address_subject)?;
            if let Some(newer) = newer {
                people::rehash(tx, user, &account.password_hash, &newer)?;
            }
            let author = Author { id: Some(user), name: account.name.clone(), ..author };
            let entry = Entry::done(Action::SignIn, Object::new(ObjectKind::User, user, account.name));
            Ok::<_, Failure>(events::insert(tx, &author, &entry, now)?)
        })
        .await?;
    Ok(SignedIn { user, token })
}

/// Begins a session for somebody who has just been created by the set-up page.
pub async fn begin_session(service: &Service, user: UserId, address: String) -> Result<SignedIn, Failure> {
    let token = secret::token();
    let token_hash = secret::digest(&token);
    service.db.write(move |tx| Ok::<_, Failure>(people::begin_session(tx, &token_hash, user, &address, clock::now())?)).await?;
    Ok(SignedIn { user, token })
}

/// Ends a session on the server.
pub async fn sign_out(service: &Service, session_hash: String, author: Author) -> Result<(), Failure> {
    service
        .db
        .write(move |tx| {
            people::end_session(tx, &session_hash)?;
            let object = author.id.map_or_else(Object::service, |id| Object::new(ObjectKind::User, id, author.name.clone()));
            Ok(events::insert(tx, &author, &Entry::done(Action::SignOut, object), clock::now())?)
        })
        .await
}

fn minute(now: Timestamp) -> i64 {
    now.micros().div_euclid(60_000_000)
}

/// Writes the failures of past minutes into the audit log, one line an address and minute.
pub fn log_failures(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), Failure> {
    let current = format!("{MINUTES}{} ", minute(now));
    for (subject, count) in people::take_failures(tx, MINUTES, &current)? {
        let mut words = subject.strip_prefix(MINUTES).unwrap_or_default().splitn(2, ' ');
        let (begun, address) = (words.next().and_then(|word| word.parse::<i64>().ok()).unwrap_or(0), words.next().unwrap_or_default());
        let since = Timestamp::from_micros(begun * 60_000_000);
        let author = Author { id: None, name: "nobody".to_owned(), address: address.to_owned(), request_id: String::new() };
        let detail = format!("{count} failed in the minute from {}.", since.words());
        let entry = Entry::done(Action::SignIn, Object::service()).ended(Outcome::Failed).with(detail);
        events::insert(tx, &author, &entry, now)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let at = Timestamp::from_micros(0);
        let seconds = |failures| wait(failures, FREE_FAILURES, at, at).as_secs();
        assert_eq!([0, 4, 5, 6, 8, 14, 1_000].map(seconds), [0, 0, 1, 2, 8, 512, 900]);
        assert_eq!(wait(6, FREE_FAILURES, at, at.plus(Duration::from_secs(2))), Duration::ZERO);
    }
}
