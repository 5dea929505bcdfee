//! The version of a thing as an ETag, and what a program says of it: If-Match.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, HttpResponseBuilder,
    dev::Payload,
    http::{StatusCode, header},
};
use serde::Serialize;
use utoipa::IntoParams;

use crate::{domain::version::Expected, web::error::Error};

/// Something that has a version.
pub trait Versioned: Serialize {
    /// The present one.
    fn version(&self) -> i64;
}

/// The answer with one thing.
pub fn answer(mut answer: HttpResponseBuilder, thing: &impl Versioned) -> HttpResponse {
    answer.insert_header((header::ETAG, format!("\"{}\"", thing.version()))).json(thing)
}

/// The answer with one thing that this request made, which lies at `path` below the API.
pub fn created(path: &str, thing: &impl Versioned) -> HttpResponse {
    let mut created = HttpResponse::Created();
    created.insert_header((header::LOCATION, format!("{}{path}", super::BASE)));
    answer(created, thing)
}

/// What a change is meant for. A change without it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfMatch(pub Expected);

/// The header, for the description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes what IfMatch reads")]
pub struct IfMatchHeader {
    /// The ETag of what was looked at, or `*`.
    #[param(rename = "If-Match", example = "*")]
    if_match: String,
}

impl FromRequest for IfMatch {
    type Error = Error;
    type Future = std::future::Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut lines = Vec::new();
        for line in request.headers().get_all(header::IF_MATCH) {
            match line.to_str() {
                Ok(line) => lines.push(line),
                Err(_) => return std::future::ready(Err(misspelt())),
            }
        }
        std::future::ready(if lines.is_empty() { Err(missing()) } else { parse(&lines.join(",")).map(Self).ok_or_else(misspelt) })
    }
}

fn missing() -> Error {
    let sentence = "Send the ETag of what you looked at as If-Match, or If-Match: * to change it as it is now.";
    Error::new(StatusCode::PRECONDITION_REQUIRED, "precondition.missing", "If-Match is missing", sentence)
}

fn misspelt() -> Error {
    let sentence = "If-Match holds * or ETags between quotation marks, as in “\"3\"”.";
    Error::new(StatusCode::BAD_REQUEST, "precondition.syntax", "If-Match cannot be read", sentence)
}

/// Parses `*` or a list of ETags. Weak ones, and ones that we did not make, are well-formed and match nothing.
pub fn parse(text: &str) -> Option<Expected> {
    if text.trim() == "*" {
        return Some(Expected::Any);
    }
    let mut versions = Vec::new();
    let mut rest = text.trim();
    loop {
        let weak = rest.strip_prefix("W/");
        let (tag, after) = weak.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        if !tag.bytes().all(|byte| byte == 0x21 || (0x23..=0x7e).contains(&byte)) {
            return None;
        }
        let ours = tag.parse::<i64>().ok().filter(|version| weak.is_none() && version.to_string() == tag);
        versions.extend(ours);
        let after = after.trim_start();
        if after.is_empty() {
            return Some(Expected::OneOf(versions));
        }
        rest = after.strip_prefix(',')?.trim_start();
        if versions.len() > 100 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_is_read_as_it_is_specified() {
        let of = |versions: &[i64]| Some(Expected::OneOf(versions.to_vec()));
        let rows = [
            ("*", Some(Expected::Any)),
            (" * ", Some(Expected::Any)),
            ("\"3\"", of(&[3])),
            ("\"3\", \"4\"", of(&[3, 4])),
            ("\"3\" ,\"4\"", of(&[3, 4])),
            ("W/\"3\"", of(&[])),
            ("\"03\"", of(&[])),
            ("\"+3\"", of(&[])),
            ("\"\"", of(&[])),
            ("\"a,b\", \"5\"", of(&[5])),
            ("3", None),
            ("\"3", None),
            ("\"3\" \"4\"", None),
            ("\"3\",", None),
            ("\"a b\"", None),
            ("*, \"3\"", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
