//! The digest that a file is said to have: typed alone, or found in a whole list as publishers give it.

use std::{fmt, str::FromStr};

use super::text::FieldError;

/// The longest text that is read, in bytes: a list of some hundred files.
pub const MOST_BYTES: usize = 64 * 1024;

/// What the digest of a file must turn out to be, in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Its SHA-256.
    Sha256(String),
    /// Its SHA-512.
    Sha512(String),
}

/// Whether a file has the digest that it was said to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has.
    Verified,
    /// It has another one.
    Mismatch,
}

super::codes::codes!(Verdict { Verified = "verified", Mismatch = "mismatch" });

impl Expected {
    /// Reads a digest, or the line of a checksum list that names the file; nothing for nothing.
    ///
    /// # Errors
    /// The fault of `field`: no digest in it, no line for this file, or two lines that differ.
    pub fn parse(field: &'static str, text: &str, file_name: &str) -> Result<Option<Self>, FieldError> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        if text.len() > MOST_BYTES {
            return Err(FieldError::new(field, "digest.list", format!("A checksum list can have at most {} KiB here.", MOST_BYTES / 1024)));
        }
        let lines: Vec<(Self, Option<&str>)> = text.lines().filter_map(line).collect();
        let named = |wanted: &str| {
            let mut found: Vec<&Self> = Vec::new();
            for (digest, name) in &lines {
                if name.is_some_and(|name| super::upload::base_name(name) == wanted) && !found.contains(&digest) {
                    found.push(digest);
                }
            }
            found
        };
        let mut found = named(super::upload::base_name(file_name));
        if found.is_empty() && lines.len() == 1 && lines[0].1.is_none() {
            found.push(&lines[0].0);
        }
        // The longer one says more.
        if let Some(at) = found.iter().position(|digest| matches!(digest, Self::Sha512(_))).filter(|_| found.len() == 2)
            && matches!(found[1 - at], Self::Sha256(_))
        {
            found = vec![found[at]];
        }
        match (found.as_slice(), lines.is_empty()) {
            ([one], _) => Ok(Some((*one).clone())),
            ([], true) => Err(FieldError::new(
                field,
                "digest.syntax",
                "Give a SHA-256 (64 hexadecimal digits) or a SHA-512 (128), or a whole list such as SHA256SUMS.",
            )),
            ([], false) => Err(FieldError::new(
                field,
                "digest.list",
                format!("The list has no line for “{file_name}”. Give the digest alone, or the right list."),
            )),
            _ => Err(FieldError::new(
                field,
                "digest.list",
                format!("The list has several lines for “{file_name}” that differ. Give one digest alone."),
            )),
        }
    }

    /// The algorithm, as people write it.
    pub const fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::Sha512(_) => "SHA-512",
        }
    }

    /// The digits.
    pub fn digits(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::Sha512(digits) => digits,
        }
    }

    fn of(digits: &str) -> Option<Self> {
        let digits = digits.to_ascii_lowercase();
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match digits.len() {
            64 if plain => Some(Self::Sha256(digits)),
            128 if plain => Some(Self::Sha512(digits)),
            _ => None,
        }
    }
}

/// A line of a list: `DIGEST  NAME`, `DIGEST *NAME`, `SHA256 (NAME) = DIGEST`, or a digest alone. Anything else, such as a signature, is none.
fn line(text: &str) -> Option<(Expected, Option<&str>)> {
    let text = text.trim();
    if let Some((head, digits)) = text.rsplit_once('=')
        && let Some((_, name)) = head.trim().strip_suffix(')').and_then(|head| head.split_once('('))
    {
        return Some((Expected::of(digits.trim())?, Some(name)));
    }
    let text = text.strip_prefix("sha256:").or_else(|| text.strip_prefix("sha512:")).unwrap_or(text);
    match text.split_once(char::is_whitespace) {
        None => Some((Expected::of(text)?, None)),
        Some((digits, name)) => {
            let name = name.trim_start();
            Some((Expected::of(digits)?, Some(name.strip_prefix('*').unwrap_or(name))))
        }
    }
}

impl fmt::Display for Expected {
    /// As a column holds it: `sha256:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digits) => write!(f, "sha256:{digits}"),
            Self::Sha512(digits) => write!(f, "sha512:{digits}"),
        }
    }
}

impl FromStr for Expected {
    type Err = ();

    fn from_str(column: &str) -> Result<Self, ()> {
        column.split_once(':').and_then(|(_, digits)| Self::of(digits)).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_alone_or_out_of_a_list() {
        let (a, b, long) = ("a".repeat(64), "B".repeat(64), "c".repeat(128));
        let read = |text: &str| Expected::parse("digest", text, "dir/x.iso").map_err(|fault| fault.code);
        let sha256 = |digits: &str| Ok(Some(Expected::Sha256(digits.to_lowercase())));
        assert_eq!(read(" \n"), Ok(None));
        assert_eq!(read(&a), sha256(&a));
        assert_eq!(read(&format!("  {b}\n")), sha256(&b));
        assert_eq!(read(&format!("sha256:{a}")), sha256(&a));
        assert_eq!(read(&long), Ok(Some(Expected::Sha512(long.clone()))));
        assert_eq!(read(&format!("{b}  y.iso\n{a}  x.iso\n")), sha256(&a));
        assert_eq!(read(&format!("{a} *./x.iso\r\n{b} *y.iso")), sha256(&a));
        assert_eq!(
            read(&format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# x\nSHA256 (x.iso) = {a}\nSHA256 (y.iso) = {b}")),
            sha256(&a)
        );
        assert_eq!(read(&format!("{a}  x.iso\n{long}  x.iso")), Ok(Some(Expected::Sha512(long.clone()))));
        assert_eq!(read(&format!("{a}  x.iso\n{a}  x.iso")), sha256(&a));
        assert_eq!(read(&format!("{a}  x.iso\n{b}  x.iso")), Err("digest.list"));
        assert_eq!(read(&format!("{a}  y.iso")), Err("digest.list"));
        assert_eq!(read(&"x".repeat(MOST_BYTES + 1)), Err("digest.list"));
        for broken in [&a[1..], "nothing", &format!("{a}0"), &format!("g{}", &a[1..])] {
            assert_eq!(read(broken), Err("digest.syntax"), "{broken}");
        }
        let column = Expected::Sha512(long).to_string();
        assert_eq!(column.parse::<Expected>().unwrap().to_string(), column);
    }
}
