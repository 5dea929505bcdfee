//! Reads forms and queries: pairs of names and texts, each field once unless a page says that it may come several times.

use std::{str::FromStr, time::Duration};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::StatusCode, web};
use futures_util::future::LocalBoxFuture;

use super::error::Error;
use crate::domain::ids::SubmissionId;

/// Largest form that is not a file, in bytes.
pub const MOST_BYTES: usize = 256 * 1024;

/// A form that is not a file arrives within this time, or the connection is given up.
pub const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

/// The fields of a form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Parses `a=1&b=2`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if !escapes_are_text(text) {
            return Err(Error::bad_request("A field of the form is not UTF-8 text."));
        }
        let pairs = serde_html_form::from_str(text).map_err(|_| Error::bad_request("A field of the form is not well-formed text."))?;
        Ok(Self(pairs))
    }

    /// The one value of a field, or an empty text. A field that must be single and comes twice is refused.
    pub fn one(&self, name: &str) -> Result<&str, Error> {
        let mut values = self.all(name);
        let first = values.next().unwrap_or_default();
        if values.next().is_some() {
            return Err(Error::bad_request(format!("The field “{name}” came twice.")));
        }
        Ok(first)
    }

    /// All values of a field.
    pub fn all<'fields>(&'fields self, name: &str) -> impl Iterator<Item = &'fields str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a field that can be parsed; others are ignored, as a query's unknown values are.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Vec<T> {
        self.all(name).filter_map(|value| value.parse().ok()).collect()
    }

    /// The number by which a second click is told from a second wish.
    pub fn key(&self) -> Result<SubmissionId, Error> {
        self.one("key")?.parse().map_err(|_| Error::bad_request("The form is incomplete: load its page again."))
    }

    /// The version of the thing that the form was made for.
    pub fn version(&self) -> Result<i64, Error> {
        self.one("version")?.parse().map_err(|_| Error::bad_request("The form is incomplete: load its page again."))
    }

    /// Every pair, in order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// Each value once, and no more of them than a person would tick: a URL can repeat one ten thousand times.
pub fn each_once<T: PartialEq>(values: Vec<T>) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for value in values.into_iter().take(1_000) {
        if kept.len() < 200 && !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}

/// Whether what is written as `%xx` is UTF-8. The parser would put a replacement character in its place, and something else than what was
/// sent would be kept.
fn escapes_are_text(text: &str) -> bool {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        let escaped = match (first, rest) {
            (b'%', [high, low, ..]) => std::str::from_utf8(&[*high, *low]).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()),
            _ => None,
        };
        decoded.push(escaped.unwrap_or(*first));
        bytes = if escaped.is_some() { &rest[2..] } else { rest };
    }
    std::str::from_utf8(&decoded).is_ok()
}

impl FromRequest for Fields {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let kind = request.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_form = kind.is_empty() || kind.split(';').next().is_some_and(|kind| kind.trim() == "application/x-www-form-urlencoded");
        let body = web::Bytes::from_request(request, payload);
        Box::pin(async move {
            if !is_form {
                let sentence = "This address takes a form (application/x-www-form-urlencoded).";
                return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "form.type", "This cannot be understood", sentence));
            }
            let body = tokio::time::timeout(ARRIVES_WITHIN, body).await.map_err(|_| Error::too_slow())?;
            let body = body.map_err(|failed| match failed.as_response_error().status_code() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    let sentence = format!("The form is larger than {} KiB. Shorten what you typed.", MOST_BYTES / 1024);
                    Error::new(StatusCode::PAYLOAD_TOO_LARGE, "form.too_large", "Too large", sentence)
                }
                _ => Error::bad_request("The form did not arrive whole. Try again."),
            })?;
            let text = std::str::from_utf8(&body).map_err(|_| Error::bad_request("The form is not UTF-8 text."))?;
            Self::parse(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_must_be_text() {
        for fine in ["a=%C3%A9", "a=é", "a=100%", "a=%zz", "a=%2", ""] {
            assert!(Fields::parse(fine).is_ok(), "{fine}");
        }
        for broken in ["a=%ff", "a=%C3", "a=%C3%28", "a=%ed%a0%80"] {
            assert!(Fields::parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_single_field_comes_once() {
        let fields = Fields::parse("a=1&b=%20x%2B&a=2&c=").unwrap();
        assert_eq!(fields.one("b").unwrap(), " x+");
        assert_eq!((fields.one("c").unwrap(), fields.one("d").unwrap()), ("", ""));
        assert!(fields.one("a").is_err());
        assert_eq!(fields.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(fields.parsed::<u8>("a"), [1, 2]);
    }
}
