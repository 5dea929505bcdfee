//! Closed sets of values that stand in a database column or a URL as a short word.

/// The text is none of the words of its set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is not one of the known words")]
pub struct UnknownCode(pub String);

/// Gives an enum its words: `as_str`, `ALL`, parsing, and conversion from what a column holds.
macro_rules! codes {
    ($name:ident { $($variant:ident = $code:literal),+ $(,)? }) => {
        impl $name {
            /// Every value, in the order of the declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in columns and URLs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::codes::UnknownCode;

            fn from_str(word: &str) -> Result<Self, $crate::domain::codes::UnknownCode> {
                match word {
                    $($code => Ok(Self::$variant),)+
                    other => Err($crate::domain::codes::UnknownCode(other.to_owned())),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::domain::codes::UnknownCode;

            fn try_from(word: String) -> Result<Self, $crate::domain::codes::UnknownCode> {
                word.parse()
            }
        }
    };
}

pub(crate) use codes;
