//! The version of a thing that somebody looked at before changing it.

/// Which versions a change is meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is now.
    Any,
    /// One of these.
    OneOf(Vec<i64>),
}

impl Expected {
    /// Whether a change is meant for a thing that has this version now.
    pub fn admits(&self, version: i64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }
}

impl From<i64> for Expected {
    fn from(version: i64) -> Self {
        Self::OneOf(vec![version])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_meant_for_what_was_looked_at() {
        assert!(Expected::Any.admits(7) && Expected::from(7).admits(7) && Expected::OneOf(vec![1, 7]).admits(7));
        assert!(!Expected::from(7).admits(8) && !Expected::OneOf(Vec::new()).admits(7));
    }
}
