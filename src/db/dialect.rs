//! The words in which the two databases' indexes of parts of names are asked, side by side. Nothing that is looked for has a special meaning.

/// What SQLite's index is asked for: a phrase.
pub fn phrase(part: &str) -> String {
    format!("\"{}\"", part.replace('"', "\"\""))
}

/// What PostgreSQL's index is asked for: a pattern.
pub fn pattern(part: &str) -> String {
    format!("%{}%", part.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}
