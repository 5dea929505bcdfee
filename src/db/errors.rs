//! What can go wrong in the database, as far as anybody can do something about it.

use diesel::result::{DatabaseErrorKind, Error};

/// A result of a query.
pub type DbResult<T> = Result<T, DbError>;

/// Why a query did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A value that must be unique is taken.
    #[error("{0:?} is taken")]
    Taken(Taken),
    /// A row cannot go, because others refer to it.
    #[error("the row is still in use")]
    InUse,
    /// Others are writing; trying again later helps.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// There is no connection to be had.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The query's task was cut off.
    #[error("the query was interrupted: {0}")]
    Interrupted(String),
    /// Anything else.
    #[error(transparent)]
    Other(Error),
}

impl DbError {
    /// The same once more, for another who was hit by it.
    pub(super) fn told_again(&self) -> Self {
        match self {
            Self::Taken(taken) => Self::Taken(*taken),
            Self::InUse => Self::InUse,
            Self::Busy(cause) => Self::Busy(cause.clone()),
            Self::Unreachable(cause) => Self::Unreachable(cause.clone()),
            Self::Interrupted(cause) => Self::Interrupted(cause.clone()),
            Self::Other(error) => Self::Interrupted(error.to_string()),
        }
    }
}

/// The value that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// An image's name on its storage.
    ImageName,
    /// A cluster's name.
    ClusterName,
    /// A storage's name.
    StorageName,
    /// A storage's place.
    StoragePath,
    /// A user's e-mail address.
    Email,
    /// An identifier that is used once.
    Id,
}

/// Constraint as PostgreSQL names it; column list as SQLite reports it; meaning.
const UNIQUE: &[(&str, &str, Taken)] = &[
    ("images_name_unique", "images.storage_id, images.name_key", Taken::ImageName),
    ("clusters_name_key_unique", "clusters.name_key", Taken::ClusterName),
    ("storages_name_key_unique", "storages.name_key", Taken::StorageName),
    ("storages_path_key_unique", "storages.path_key", Taken::StoragePath),
    ("users_email_key_unique", "users.email_key", Taken::Email),
];

impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        match &error {
            Error::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => {
                let (constraint, message) = (info.constraint_name().unwrap_or_default(), info.message());
                let columns = message.strip_prefix("UNIQUE constraint failed: ").unwrap_or_default();
                let known = UNIQUE.iter().find(|(name, list, _)| *name == constraint || *list == columns);
                Self::Taken(known.map_or(Taken::Id, |(_, _, taken)| *taken))
            }
            Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _) => Self::InUse,
            Error::DatabaseError(DatabaseErrorKind::SerializationFailure, info) => busy(info.message()),
            Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection, info) => {
                Self::Unreachable(info.message().to_owned())
            }
            Error::DatabaseError(_, info) if is_busy(info.message()) => busy(info.message()),
            Error::DatabaseError(_, info) if is_gone(info.message()) => Self::Unreachable(info.message().to_owned()),
            _ => Self::Other(error),
        }
    }
}

fn busy(message: &str) -> DbError {
    crate::meter::database_busy();
    DbError::Busy(message.to_owned())
}

/// SQLite reports a lock held by others only in words; so does PostgreSQL a lock time-out.
fn is_busy(message: &str) -> bool {
    ["database is locked", "database table is locked", "lock timeout", "deadlock detected"].iter().any(|words| message.contains(words))
}

fn is_gone(message: &str) -> bool {
    [
        "terminating connection",
        "server closed the connection",
        "the database system is",
        "could not connect",
        "disk I/O error",
        "unable to open database",
    ]
    .iter()
    .any(|words| message.contains(words))
}
