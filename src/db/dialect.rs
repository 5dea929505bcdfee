//! The statements that differ between the two databases, side by side.

use super::Conn;

/// A condition with one text bound into it: what stands before the bind, the text, what stands after.
pub struct Bound {
    /// The statement up to the bind.
    pub before: &'static str,
    /// The text to bind.
    pub text: String,
    /// The statement after the bind.
    pub after: &'static str,
}

/// A condition over `images`: the folded name contains `needle`, which is folded likewise and has at least three characters, as the
/// trigram indexes need. Nothing in the needle has a special meaning.
pub fn name_contains(conn: &Conn, needle: &str) -> Bound {
    match conn {
        Conn::Sqlite(_) => Bound {
            before: "images.seq IN (SELECT rowid FROM image_search WHERE image_search MATCH ",
            text: format!("\"{}\"", needle.replace('"', "\"\"")),
            after: ")",
        },
        Conn::Postgres(_) => Bound {
            before: "images.search_key LIKE ",
            text: format!("%{}%", needle.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")),
            after: "",
        },
    }
}
