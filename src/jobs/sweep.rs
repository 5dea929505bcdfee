//! Throws away what has expired: sessions, tokens, wizards, answers to requests, the counts of failed sign-ins (which go into the audit log first).

use std::time::Duration;

use crate::{
    clock,
    db::{drafts, idempotency, people, tokens},
    operations::{Failure, Service, manage_tokens, sign_in},
};

/// How long an unfinished wizard is kept.
const DRAFTS: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long a form that was sent, or a request with a key, is remembered.
const SUBMISSIONS: Duration = Duration::from_secs(24 * 3_600);

/// One round.
pub async fn sweep(service: &Service) -> Result<(), Failure> {
    let (idle, longest) = (service.config.session_idle, service.config.session_longest);
    service
        .db
        .write(move |tx| {
            let now = clock::now();
            sign_in::log_failures(tx, now)?;
            people::sweep(tx, now.minus(idle), now.minus(longest), now.minus(sign_in::FORGET_AFTER))?;
            tokens::sweep(tx, now.minus(manage_tokens::FORGET_AFTER))?;
            idempotency::sweep(tx, now.minus(SUBMISSIONS))?;
            Ok(drafts::sweep(tx, now.minus(DRAFTS), now.minus(SUBMISSIONS))?)
        })
        .await
}
