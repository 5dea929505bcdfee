//! Reads the query of a list strictly, and pages through it: `limit`, `after`, and a `Link` to what follows.
//!
//! A cursor is the place of the last row, in the list's own words, with a digest of that place and of what the list was filtered and sorted
//! by: one that was changed, or belongs to another list, is refused. It is no secret; a place reveals nothing that the row did not.

use std::str::FromStr;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::view::Paged;
use crate::{
    db::cursor::{Page, Place},
    web::{error::Error, form::Fields},
};

/// Rows of a page, where nobody asks for another number.
const LIMIT: usize = 50;
/// Most rows of a page.
const MOST: usize = 200;
/// Values that one parameter can have.
const MOST_VALUES: usize = 200;
/// Bytes of the digest in a cursor.
const SEAL: usize = 12;

/// The parameters of a request, all of which are known.
#[derive(Debug, Clone)]
pub struct Query {
    path: String,
    fields: Fields,
}

/// Which page of which list.
#[derive(Debug, Clone)]
pub struct Paging {
    pub page: Page,
    pub limit: usize,
    list: String,
}

/// Refuses a value of a parameter.
pub fn invalid(name: &str, why: &str) -> Error {
    Error::new(StatusCode::BAD_REQUEST, "query.invalid", "A parameter cannot be taken", format!("The parameter “{name}” {why}."))
}

impl Query {
    /// The query of a request that takes these parameters and no others.
    pub fn parse(request: &HttpRequest, known: &[&str]) -> Result<Self, Error> {
        let fields = Fields::parse(request.query_string()).map_err(|_| {
            Error::new(StatusCode::BAD_REQUEST, "query.invalid", "A parameter cannot be taken", "The query is not UTF-8 text.")
        })?;
        if let Some((name, _)) = fields.pairs().iter().find(|(name, _)| !known.contains(&name.as_str())) {
            let named: String = name.chars().take(80).collect();
            let sentence = match known {
                [] => format!("This address takes no parameters, but “{named}” was sent."),
                known => format!("There is no parameter “{named}” here. There are {}.", known.join(", ")),
            };
            return Err(Error::new(StatusCode::BAD_REQUEST, "query.unknown", "Unknown parameter", sentence));
        }
        Ok(Self { path: request.path().to_owned(), fields })
    }

    /// The one value of a parameter, if it is there.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Error> {
        let mut values = self.fields.all(name);
        let first = values.next();
        if values.next().is_some() { Err(invalid(name, "came twice")) } else { Ok(first) }
    }

    /// The one value of a parameter, parsed.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        self.one(name)?.map(|value| value.parse().map_err(|_| unknown_value(name, value))).transpose()
    }

    /// All values of a parameter, each once.
    pub fn each<T: PartialEq>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Error> {
        let mut kept = Vec::new();
        for value in self.fields.all(name) {
            let value = parse(value).ok_or_else(|| unknown_value(name, value))?;
            if !kept.contains(&value) {
                kept.push(value);
            }
            if kept.len() > MOST_VALUES {
                return Err(invalid(name, "has too many values"));
            }
        }
        Ok(kept)
    }

    /// Which page is asked for, of a list that is sorted by `sort`, whose values are texts or not.
    pub fn paging(&self, sort: &str, text: bool) -> Result<Paging, Error> {
        let limit = match self.one("limit")? {
            None => LIMIT,
            Some(limit) => {
                let digits = limit.len() <= 3 && limit.bytes().all(|byte| byte.is_ascii_digit());
                let number = limit.parse().ok().filter(|number| digits && (1..=MOST).contains(number));
                number.ok_or_else(|| invalid("limit", &format!("is a number from 1 to {MOST}")))?
            }
        };
        let mut pairs: Vec<&(String, String)> = self.fields.pairs().iter().filter(|(name, _)| !is_paging(name)).collect();
        pairs.sort();
        pairs.dedup();
        let list = format!("{} {}", self.path, serde_html_form::to_string(pairs).unwrap_or_default());
        let page = match self.one("after")? {
            None => Page::First,
            Some(cursor) => {
                let place = open(cursor, &list).and_then(|place| Place::parse(&place, sort, text));
                Page::After(place.ok_or_else(|| {
                    let sentence = "The cursor was changed, or belongs to another list, filter or order.";
                    Error::new(StatusCode::BAD_REQUEST, "query.cursor", "The cursor does not fit", sentence)
                })?)
            }
        };
        Ok(Paging { page, limit, list })
    }

    /// The answer with one page; `last` is the place of its last row, if rows follow.
    pub fn answer<T: Serialize>(&self, paging: &Paging, items: Vec<T>, sort: &str, last: Option<Place>) -> HttpResponse {
        let next = last.map(|place| seal(&place.token(sort), &paging.list));
        let mut answer = HttpResponse::Ok();
        if let Some(next) = &next {
            let pairs = self.fields.pairs().iter().filter(|(name, _)| name != "after").map(|(name, value)| (name.as_str(), value.as_str()));
            let query: Vec<(&str, &str)> = pairs.chain([("after", next.as_str())]).collect();
            let query = serde_html_form::to_string(query).unwrap_or_default();
            answer.insert_header((header::LINK, format!("<{}?{query}>; rel=\"next\"", self.path)));
        }
        answer.json(Paged { items, next })
    }
}

fn is_paging(name: &str) -> bool {
    matches!(name, "after" | "limit")
}

fn unknown_value(name: &str, value: &str) -> Error {
    let shown: String = value.chars().take(80).collect();
    invalid(name, &format!("cannot be “{shown}”"))
}

fn digest(place: &str, list: &str) -> [u8; SEAL] {
    let whole: [u8; 32] = Sha256::digest(format!("{list}\n{place}").as_bytes()).into();
    let mut short = [0; SEAL];
    short.copy_from_slice(&whole[..SEAL]);
    short
}

/// The cursor of a place in a list.
pub fn seal(place: &str, list: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode([&digest(place, list)[..], place.as_bytes()].concat())
}

/// The place that a cursor of this list stands for.
pub fn open(cursor: &str, list: &str) -> Option<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (sealed, place) = bytes.split_at_checked(SEAL)?;
    let place = std::str::from_utf8(place).ok()?;
    (sealed == digest(place, list)).then(|| place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_fits_its_own_list_only() {
        let cursor = seal("name.t:debian.id", "/images q=deb");
        assert_eq!(open(&cursor, "/images q=deb").as_deref(), Some("name.t:debian.id"));
        assert_eq!(open(&cursor, "/images q=de"), None);
        for at in 0..cursor.len() {
            let mut forged = cursor.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(open(std::str::from_utf8(&forged).unwrap(), "/images q=deb"), None, "{at}");
        }
        for nonsense in ["", "A", "AAAA", "name.t:debian.id", "%%%"] {
            assert_eq!(open(nonsense, "/images q=deb"), None, "{nonsense}");
        }
    }
}
