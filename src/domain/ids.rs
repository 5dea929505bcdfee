//! Identifiers, one type per kind of thing, so that a storage's identifier can never be passed where an image's is meant.
//!
//! An identifier has exactly one spelling, the canonical lower-case one with hyphens: every other spelling of the same UUID is
//! refused, so that one thing has one URL. Rows get version 7 (they sort by age); what must not be guessed is made elsewhere.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// The text was not one canonical UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an identifier")]
pub struct NotAnId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier, never used before.
            #[expect(clippy::disallowed_methods, reason = "the one place that makes identifiers")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The bytes of the identifier.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let uuid = Uuid::try_parse(text).map_err(|_| NotAnId)?;
                // `try_parse` also takes upper case, braces and urn:uuid:
                if uuid.hyphenated().to_string() == text { Ok(Self(uuid)) } else { Err(NotAnId) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )+};
}

ids! {
    /// An image.
    ImageId,
    /// A storage; the same UUID stands in the marker file on the medium.
    StorageId,
    /// A cluster of hosts.
    ClusterId,
    /// A hypervisor server.
    HostId,
    /// A virtual machine.
    VmId,
    /// A user.
    UserId,
    /// One transfer of one installation image.
    UploadId,
    /// A creation wizard that was begun and not finished.
    DraftId,
    /// Work done later.
    JobId,
    /// One line of the audit log.
    EventId,
    /// A form that is sent at most once.
    SubmissionId,
    /// A token with which a program shows whose it is.
    TokenId,
    /// One running process of the service.
    InstanceId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = ImageId::new();
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        for other in [text.to_uppercase(), format!("{{{text}}}"), format!("urn:uuid:{text}"), text.replace('-', ""), format!(" {text}")] {
            assert_eq!(other.parse::<ImageId>(), Err(NotAnId), "{other}");
        }
    }
}
