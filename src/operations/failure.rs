//! Why an operation did not happen.

use crate::{
    db::DbError,
    domain::{access::Privilege, text::FieldError},
    storage::StorageError,
};

/// A rule stood against it: the rule and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A stable code.
    pub code: &'static str,
    /// The sentence to show.
    pub sentence: String,
    /// How far the upload has come that it is about, in bytes.
    pub offset: Option<u64>,
    /// Where the file that was shown begins to differ from what is there, in bytes.
    pub differs_at: Option<u64>,
}

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no such thing.
    #[error("not found")]
    NotFound,
    /// The actor may not know whether there is such a thing; answered like [`Failure::NotFound`].
    #[error("not to be seen")]
    Unseen,
    /// The actor sees the thing, but lacks a right.
    #[error("the right to {} is missing", privilege.words())]
    Denied {
        /// The right that is missing.
        privilege: Privilege,
        /// Names of people who can give it.
        who_can_grant: Vec<String>,
    },
    /// The user has the right, but the token that was shown was not made for it.
    #[error("the token's scopes ({scopes}) do not include the right to {}", privilege.words())]
    OutOfScope {
        /// The right that would be needed.
        privilege: Privilege,
        /// What the token was made for.
        scopes: String,
    },
    /// The token that was shown has been revoked or has expired meanwhile.
    #[error("the token has ended")]
    TokenEnded,
    /// A rule stood against it.
    #[error("{}", .0.sentence)]
    Refused(Refusal),
    /// What was typed cannot be taken; all faults at once.
    #[error("{}", .0.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join(" "))]
    Invalid(Vec<FieldError>),
    /// Somebody else changed the thing meanwhile.
    #[error("changed meanwhile")]
    Stale,
    /// Too many attempts; try again after so many seconds.
    #[error("too many attempts, wait {0} s")]
    TooOften(u64),
    /// The records.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The bytes.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A part of the program gave up.
    #[error("{0}")]
    Broken(String),
}

impl Failure {
    /// A refusal by a rule.
    pub fn refused(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::Refused(Refusal { code, sentence: sentence.into(), offset: None, differs_at: None })
    }

    /// A refusal by a rule, about an upload that has come so far.
    pub fn refused_at(offset: u64, code: &'static str, sentence: impl Into<String>) -> Self {
        Self::Refused(Refusal { code, sentence: sentence.into(), offset: Some(offset), differs_at: None })
    }

    /// The code of the rule or of the first fault.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::Invalid(faults) => faults.first().map(|fault| fault.code),
            _ => None,
        }
    }

    /// One fault in one field.
    pub fn invalid(field: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, code, message)])
    }
}

impl From<FieldError> for Failure {
    fn from(fault: FieldError) -> Self {
        Self::Invalid(vec![fault])
    }
}
