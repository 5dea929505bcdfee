//! What must hold for any form, query and header that a client sends.

use std::{
    cell::RefCell,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    FromRequest,
    dev::Payload,
    error::PayloadError,
    http::header::{CONTENT_LENGTH, CONTENT_TYPE, ContentDisposition, HeaderValue},
    test::TestRequest,
    web::{self, Bytes},
};
use futures_util::{Stream, StreamExt};

use super::{
    events,
    form::Fields,
    images::{
        content,
        file_form::{self, Form},
        list,
    },
    page::{Flash, local_path},
    request, same_origin,
};
use crate::{
    config::{Config, Given},
    db::cursor::{Page, Place},
    domain::upload,
    fuzzing::{length, number, take},
    media::HEAD_BYTES,
    operations::Failure,
};

pub use super::api::fuzzing::check as api;

/// Reads a text as a form, as the query of both lists, as a cursor, as an address to return to, and as the message in a cookie.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = Fields::parse(text);
    assert_eq!(read.as_ref().ok().map(Fields::pairs), decoded(text).as_deref(), "the fields of {text:?}");
    if let Ok(fields) = &read {
        let again = serde_html_form::to_string(fields.pairs()).unwrap_or_default();
        assert_eq!(Fields::parse(&again).as_ref().map(Fields::pairs), Ok(fields.pairs()), "{again:?}");
        list_of_images(fields);
        list_of_events(fields);
    }
    for (sort, is_text) in [("name", true), ("created", false)] {
        for token in [text, &format!("{sort}.{text}"), &format!("{sort}.t:{text}.018f4f6e-7d3a-7000-8000-000000000001")] {
            if let Some(place) = Place::parse(token, sort, is_text) {
                let again = place.token(sort);
                assert_eq!(Place::parse(&again, sort, is_text), Some(place));
                assert_eq!(Place::parse(&again, sort, !is_text), None, "{again:?} fits a list of another kind");
            }
        }
    }
    let local = local_path(text);
    // Browsers drop these three, and take a backslash for a slash.
    let seen: String = local.chars().filter(|c| !matches!(c, '\t' | '\r' | '\n')).map(|c| if c == '\\' { '/' } else { c }).collect();
    assert!(seen.starts_with('/') && !seen.starts_with("//") && HeaderValue::from_str(local).is_ok(), "{local:?} leads away");
    if let Some(flash) = Flash::from_cookie(text) {
        assert!(flash.href.is_empty() || flash.href == local_path(&flash.href));
        assert_eq!(Flash::from_cookie(&flash.to_cookie()), Some(flash));
    }
}

/// The pairs of a query as the standard says (WHATWG URL, 5.1), or nothing where an escape is not text.
fn decoded(text: &str) -> Option<Vec<(String, String)>> {
    let plain = |part: &str| {
        let mut bytes = Vec::new();
        let mut rest = part.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            let hex = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
            rest = match (first, hex(0), hex(1)) {
                (b'%', Some(high), Some(low)) => {
                    bytes.push(high * 16 + low);
                    &after[2..]
                }
                (b'+', ..) => {
                    bytes.push(b' ');
                    after
                }
                _ => {
                    bytes.push(*first);
                    after
                }
            };
        }
        String::from_utf8(bytes).ok()
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((plain(name)?, plain(value)?))
        })
        .collect()
}

fn list_of_images(fields: &Fields) {
    let view = list::View::parse(fields);
    assert!(view.search.chars().count() <= list::SEARCH_MAX && list::SIZES.contains(&view.size));
    assert!(view.filter.systems.len() <= 200 && view.filter.storages.len() <= 200 && view.filter.clusters.len() <= 200);
    let page = match &view.page {
        Page::First => None,
        Page::After(place) => Some(("after", place.token(view.sort.as_str()))),
        Page::Before(place) => Some(("before", place.token(view.sort.as_str()))),
    };
    let query = view.query(page.as_slice());
    let again = Fields::parse(&query).map(|fields| list::View::parse(&fields));
    assert_eq!(again, Ok(view), "{query}");
}

fn list_of_events(fields: &Fields) {
    let view = events::View::parse(fields);
    assert!(view.filter.actions.len() <= 200 && view.filter.outcomes.len() <= 200, "a condition many times");
    let page = match &view.page {
        Page::First => None,
        Page::After(place) => Some(("after", place.token(events::SORT))),
        Page::Before(place) => Some(("before", place.token(events::SORT))),
    };
    let link = view.link(page.as_slice());
    let again = Fields::parse(link.trim_start_matches("/events?")).map(|fields| events::View::parse(&fields));
    assert_eq!(again, Ok(view), "{link}");
}

/// Reads the lines of an input as host, origin, kind of site, addresses of proxies, and the name of a file; a line may be missing.
pub fn headers(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    // What is no header value does not reach us.
    let values: Vec<Option<HeaderValue>> =
        (0..6).map(|at| lines.get(at).filter(|line| !line.is_empty()).and_then(|line| HeaderValue::from_bytes(line).ok())).collect();
    let text = |at: usize| values[at].as_ref().map(|value| value.to_str().unwrap_or("?"));
    origin(text(0).unwrap_or_default(), text(1), text(2));
    proxies(text(3).unwrap_or_default(), text(4).unwrap_or_default());
    if let Some(value) = &values[5]
        && let Some(name) = stated_name(value)
    {
        let kept = upload::clean_name(&name);
        assert!(!kept.contains(['/', '\\']) && !kept.chars().any(char::is_control));
    }
    if let Ok(name) = std::str::from_utf8(data) {
        offered(name);
    }
}

fn origin(host: &str, origin: Option<&str>, site: Option<&str>) {
    let ours = same_origin::is_ours(site, origin, host, None);
    let same_host = origin.is_some_and(|origin| {
        let authority = origin.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")).map(|(_, rest)| rest);
        !host.is_empty() && authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    });
    let expected = match (site, origin) {
        (None, None) => false,
        (None | Some("same-origin" | "none"), Some(_)) => same_host,
        (Some("same-origin" | "none"), None) => true,
        (Some(_), _) => false,
    };
    assert_eq!(ours, expected, "{host:?} {origin:?} {site:?}");
    let public = "https://images.example.org";
    let ours = same_origin::is_ours(site, origin, host, Some(public));
    assert!(!ours || origin.is_none_or(|origin| origin.eq_ignore_ascii_case(public)), "{origin:?} is not {public}");
    assert!(!ours || expected || site.is_none_or(|site| matches!(site, "same-origin" | "none")));
}

fn proxies(first: &str, second: &str) {
    let trusted = ["127.0.0.1", "10.0.0.1", "2001:db8::1"].map(|address| address.parse().unwrap_or(IpAddr::from([127, 0, 0, 1])));
    let stranger = IpAddr::from([192, 0, 2, 7]);
    let forwarded = format!("{first},{second}");
    assert_eq!(request::sender(stranger, &forwarded, &trusted), stranger, "a stranger's word counts");
    let sender = request::sender(trusted[0], second, &trusted);
    if !trusted.contains(&sender) {
        assert_eq!(request::sender(trusted[0], &forwarded, &trusted), sender, "what stands before a stranger's address counts");
        assert_eq!(request::sender(trusted[1], &format!("{second}, 127.0.0.1"), &trusted), sender);
    }
    assert_eq!(request::sender(trusted[0], &format!("{first}, unknown"), &trusted), trusted[0], "what stands before no address counts");
}

fn stated_name(value: &HeaderValue) -> Option<String> {
    file_form::stated_name(ContentDisposition::from_raw(value).ok().as_ref(), std::str::from_utf8(value.as_bytes()).ok())
}

/// The name under which an image's file is offered.
fn offered(name: &str) {
    let name = content::download_name(name);
    let text = content::saved_as(&name);
    assert!(text.starts_with("attachment; filename*=UTF-8''") && text.is_ascii(), "{text:?}");
    let Ok(value) = HeaderValue::from_str(&text) else { panic!("{text:?} is no header") };
    let Some(back) = stated_name(&value) else { panic!("{text:?} says no name") };
    assert_eq!(back, name);
    assert!(back.to_lowercase().ends_with(".iso") && !back.chars().any(|c| c.is_control() || "/\\:*?\"<>|".contains(c)), "{back:?}");
}

const BOUNDARY: &str = "BoUnD";

/// Reads a form with a file: one made of parts, so that what must come out is known, or any bytes, compared with a plain reading of them.
/// However the bytes are cut into chunks, the same comes out.
pub fn multipart(mut data: &[u8]) {
    let flags = number(&mut data, 1);
    let seed = number(&mut data, 2);
    let mut kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let (body, expected) = if flags & 1 == 0 {
        let Some((body, expected)) = well_formed(data, flags & 2 != 0) else { return };
        (body, Some(expected))
    } else {
        if flags & 2 != 0 {
            let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
            kind = String::from_utf8_lossy(take(&mut data, end)).into_owned();
        }
        (data.to_vec(), None)
    };
    let Ok(kind) = HeaderValue::from_str(&kind) else { return };
    let (outcome, written) = send(&kind, &body, usize::MAX, seed);
    if let Some(expected) = expected {
        match expected {
            Outcome::Read { name, content } => {
                assert!(
                    written == content,
                    "{} bytes came out instead of {}: {:?}",
                    written.len(),
                    content.len(),
                    body.escape_ascii().to_string()
                );
                assert_eq!(outcome, Ok((name, content.len() < HEAD_BYTES)));
            }
            Outcome::Refused(code) => assert_eq!(outcome, Err(code), "{}", body.escape_ascii()),
        }
    } else if outcome.is_ok() && kind.to_str().is_ok_and(|kind| kind.ends_with(BOUNDARY)) {
        let last = plain_reading(&body);
        assert_eq!(last.map(|part| part.escape_ascii().to_string()), Some(written.escape_ascii().to_string()), "{}", body.escape_ascii());
    }
    for piece in [1, 3, 1_000] {
        if body.len() / piece > 3_000 {
            continue;
        }
        let (other, other_written) = send(&kind, &body, piece, seed);
        assert_eq!(other, outcome, "in pieces of up to {piece}: {}", body.escape_ascii());
        let common = written.len().min(other_written.len());
        assert!(written[..common] == other_written[..common], "other bytes in pieces of up to {piece}");
        assert!(outcome.is_err() || written.len() == other_written.len());
    }
}

enum Outcome {
    Read { name: String, content: Vec<u8> },
    Refused(&'static str),
}

/// A form that is right in every respect, and what must be made of it.
fn well_formed(mut data: &[u8], epilogue: bool) -> Option<(Vec<u8>, Outcome)> {
    let mut body = Vec::new();
    let mut outcome = None;
    let (mut parts, mut skipped) = (0, 0);
    while !data.is_empty() {
        let kind = number(&mut data, 1);
        let (name_length, repeat) = (length(&mut data, 1), 1 + length(&mut data, 1));
        let name = take(&mut data, name_length);
        let name: String = std::str::from_utf8(name).ok()?.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect();
        let content_length = length(&mut data, 2);
        // Repeated, a short input fills more than the head, and puts whatever it says on the border.
        let content = take(&mut data, content_length).repeat(if kind & 8 == 0 { 1 } else { repeat });
        if content.windows(BOUNDARY.len() + 2).any(|window| &window[2..] == BOUNDARY.as_bytes() && window.starts_with(b"--")) {
            return None;
        }
        let is_file = kind & 3 == 0;
        let field = if is_file { "file" } else { "other" };
        body.extend_from_slice(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"").as_bytes());
        if is_file {
            body.extend_from_slice(format!("; filename=\"{name}\"").as_bytes());
        }
        body.extend_from_slice(b"\r\n");
        if kind & 4 != 0 {
            body.extend_from_slice(b"Content-Type: application/octet-stream\r\n");
        }
        let stated = kind & 0x30 == 0x30;
        if stated {
            body.extend_from_slice(format!("Content-Length: {}\r\n", content.len()).as_bytes());
        }
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(&content);
        body.extend_from_slice(b"\r\n");
        outcome = Some(match outcome {
            Some(Outcome::Read { .. }) if is_file => Outcome::Refused("form.two_files"),
            Some(Outcome::Read { .. }) => Outcome::Refused("form.field_order"),
            Some(refused @ Outcome::Refused(_)) => refused,
            None if parts == 32 => Outcome::Refused("form.too_many_parts"),
            None if stated => Outcome::Refused("form.part_length"),
            None if !is_file && skipped + content.len() > 64 * 1024 => Outcome::Refused("form.too_large"),
            None if !is_file => {
                skipped += content.len();
                parts += 1;
                continue;
            }
            None => Outcome::Read { name: upload::base_name(name.trim()).to_owned(), content },
        });
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    if epilogue {
        body.extend_from_slice(b"what follows does not count\r\n");
    }
    if outcome.is_none() && parts == 0 {
        return None;
    }
    let none = Outcome::Refused(if parts == 32 { "form.too_many_parts" } else { "file.none" });
    Some((body, outcome.unwrap_or(none)))
}

/// The content of the last part by the plainest reading there is: from a blank line to the next delimiter.
fn plain_reading(body: &[u8]) -> Option<&[u8]> {
    let find = |from: usize, what: &[u8]| {
        let rest = body.get(from..)?;
        rest.windows(what.len()).position(|window| window == what).map(|at| from + at)
    };
    let (first, delimiter) = (format!("--{BOUNDARY}\r\n"), format!("\r\n--{BOUNDARY}"));
    let mut at = if body.starts_with(first.as_bytes()) { 0 } else { find(0, format!("\n{first}").as_bytes())? + 1 };
    at += first.len();
    loop {
        // A part without any header begins with the blank line itself.
        let start = find(at.checked_sub(2)?, b"\r\n\r\n")? + 4;
        let end = find(start, delimiter.as_bytes())?;
        let after = end + delimiter.len();
        match body.get(after..after + 2) {
            Some(b"\r\n") => at = after + 2,
            Some(b"--") => return body.get(start..end),
            _ => return None,
        }
    }
}

/// Sends a form in chunks and answers what became of it: name and whether its size is known, or the code of the refusal; and its bytes.
fn send(kind: &HeaderValue, body: &[u8], piece: usize, seed: u64) -> (Result<(String, bool), &'static str>, Vec<u8>) {
    thread_local! {
        static RUNTIME: RefCell<Option<(tokio::runtime::Runtime, Config)>> = const { RefCell::new(None) };
    }
    RUNTIME.with_borrow_mut(|runtime| {
        if runtime.is_none() {
            let one = tokio::runtime::Builder::new_current_thread().enable_time().build().ok();
            *runtime = one.zip(Config::load(&Given::default()).ok());
        }
        let Some((runtime, config)) = runtime else { panic!("no runtime, or no settings") };
        runtime.block_on(async {
            let chunks = Chunks { body: Bytes::copy_from_slice(body), piece, random: seed, rested: false };
            let request = TestRequest::default()
                .insert_header((CONTENT_TYPE, kind.clone()))
                .insert_header((CONTENT_LENGTH, body.len().to_string()))
                .to_http_request();
            let mut payload: Payload = Payload::Stream { payload: Box::pin(chunks) };
            let Ok(payload) = web::Payload::from_request(&request, &mut payload).await else { panic!("no payload") };
            let mut form = Form::new(&request, payload, config);
            let part = match form.file_part().await {
                Ok(part) => part,
                Err(failed) => return (Err(code(&failed)), Vec::new()),
            };
            assert!(part.file.head.len() <= HEAD_BYTES);
            let (name, exact, bytes, mut written) = (part.file.name, part.file.exact, part.file.bytes, part.file.head.to_vec());
            written.extend(part.rest.iter().flatten());
            let Some(mut field) = part.field else {
                assert!(exact && written.len() as u64 == bytes, "{} bytes, and not {bytes}", written.len());
                return (Ok((name, true)), written);
            };
            while let Some(chunk) = field.next().await {
                match chunk {
                    Ok(bytes) => written.extend_from_slice(&bytes),
                    Err(_) => return (Err("upload.incomplete"), written),
                }
            }
            drop(field);
            (form.end().await.map(|()| (name, exact)).map_err(|failed| code(&failed)), written)
        })
    })
}

fn code(failure: &Failure) -> &'static str {
    match failure {
        Failure::Invalid(faults) => faults.first().map_or("", |fault| fault.code),
        other => panic!("{other}"),
    }
}

/// A body that arrives in chunks of different lengths, and keeps the reader waiting before each.
struct Chunks {
    body: Bytes,
    piece: usize,
    random: u64,
    rested: bool,
}

impl Stream for Chunks {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.body.is_empty() {
            return Poll::Ready(None);
        }
        self.rested = !self.rested;
        if self.rested && self.piece != usize::MAX {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let most = self.piece.min(self.body.len());
        let next = 1 + usize::try_from(self.random >> 33).unwrap_or(0) % most;
        let next = if self.piece == usize::MAX { most } else { next };
        Poll::Ready(Some(Ok(self.body.split_to(next))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::short::seed;

    /// A part as the target's input; with bit 3 of `kind` the content is repeated.
    fn part(kind: u8, name: &str, repeat: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_le_bytes();
        [&[kind, u8::try_from(name.len()).unwrap(), repeat], name.as_bytes(), &length, content].concat()
    }

    #[test]
    fn the_seeds_of_forms_are_read() {
        let almost = b"text\r\n--BoUn\r\n--BoUn\r--BoUn--\r\n-".as_slice();
        let forms = [
            ("file", [&[0, 7, 7][..], &part(4, "debian.iso", 0, b"CD001")].concat()),
            ("fields-then-file", [&[2, 1, 0][..], &part(1, "", 0, b"x"), &part(1, "", 0, b""), &part(0, "a.iso", 0, b"x")].concat()),
            ("file-then-field", [&[0, 1, 0][..], &part(0, "a.iso", 0, b"x"), &part(1, "", 0, b"x")].concat()),
            ("almost-boundaries", [&[0, 9, 9][..], &part(0, "a.iso", 0, almost)].concat()),
            ("over-the-border", [&[0, 3, 1][..], &part(8, "C:\\isos\\a.iso", 255, &almost.repeat(10))].concat()),
            ("length-of-a-part", [&[0, 3, 1][..], &part(0x34, "a.iso", 0, b"abc")].concat()),
            ("thirty-three-parts", [&[0, 3, 1][..], &part(1, "", 0, b"x").repeat(33), &part(0, "a.iso", 0, b"x")].concat()),
            (
                "any",
                b"\x01\0\0preamble\r\n--BoUnD\r\nContent-Disposition: form-data; name=file; filename*=UTF-8''a%20b.iso\r\n\r\nx\r\n--BoUnD--"
                    .to_vec(),
            ),
            (
                "any-kind",
                b"\x03\0\0multipart/form-data; boundary=\"a b\"\n--a b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--a b--"
                    .to_vec(),
            ),
            (
                "false-length",
                b"\x01\0\0--BoUnD\r\nContent-Disposition: form-data; name=\"file\"\r\nContent-Length: 1\r\n\r\nxyz\r\n--BoUnD--\r\n".to_vec(),
            ),
        ];
        for (name, input) in forms {
            seed("multipart", name, &input);
        }
    }

    #[test]
    fn a_form_comes_out_as_it_was_sent() {
        let kind = HeaderValue::from_static("multipart/form-data; boundary=BoUnD");
        let head = "--BoUnD\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.iso\"\r\n";
        let sent = |headers: &str, rest: &str| send(&kind, format!("{head}{headers}\r\n{rest}").as_bytes(), 5, 1);
        assert_eq!(sent("", "abc\r\n--BoUnD--\r\n"), (Ok(("a.iso".into(), true)), b"abc".to_vec()));
        assert_eq!(sent("", "abc\r\n--BoUnD\r\n").0, Err("upload.incomplete"));
        // A part's own length would be believed, and what lies beyond it silently left away.
        for length in ["1", "3", "99"] {
            assert_eq!(sent(&format!("Content-Length: {length}\r\n"), "abc\r\n--BoUnD--\r\n").0, Err("form.part_length"), "{length}");
        }
    }

    #[test]
    fn the_seeds_of_queries_and_headers_are_there() {
        let queries = [
            ("filters", "q=debian%2013&type=installation&status=available&status=degraded&os=debian-13&os=other&sort=-size&size=100"),
            ("things", "storage=018f4f6e-7d3a-7000-8000-000000000001&cluster=018f4f6e-7d3a-7000-8000-000000000002&q=+%09x"),
            ("after", "sort=name&after=name.t%3Adebian+13.018f4f6e-7d3a-7000-8000-000000000001"),
            ("before", "before=created.1795462200000000.018f4f6e-7d3a-7000-8000-000000000001"),
            ("events", "action=create_image&action=sign_in&outcome=denied&object=018f4f6e&since=2026-01-01&until=2026-12-31"),
            ("many-times", &"action=sign_in&os=debian-13&".repeat(250)),
            ("number", "-7.018f4f6e-7d3a-7000-8000-000000000001"),
            ("place", "created.-7.018f4f6e-7d3a-7000-8000-000000000001"),
            ("local", "/images?q=a#b"),
            ("not-local", "//example.org/"),
            (
                "flash",
                "7b22746f6e65223a22676f6f64222c226265666f7265223a22222c2268726566223a222f61222c226c696e6b223a22222c226166746572223a22227d",
            ),
            ("escapes", "a=%C3%A9&b=%&c=%zz&d=+%2B&=&e"),
        ];
        for (name, text) in queries {
            seed("query", name, text.as_bytes());
        }
        let lines = [
            ("ours", "a:80\nhttp://a:80\nsame-origin\n203.0.113.9\n198.51.100.1, 10.0.0.1\nform-data; name=\"file\"; filename=\"a.iso\""),
            (
                "foreign",
                "a:80\nhttps://b\ncross-site\n\n[2001:db8::9]:4711\nform-data; name=file; filename*=UTF-8''%e4%bd%a0.iso; filename=x",
            ),
            ("none", "a\n\nnone\nunknown\n1.2.3.4:80,127.0.0.1\nattachment; filename=\"..\\..\\a\\\".iso\""),
            ("name", "Debian 13 / \"amd64\" ünï\u{202e}cod.iso."),
        ];
        for (name, text) in lines {
            seed("headers", name, text.as_bytes());
        }
        let long = "x".repeat(256);
        let texts = [
            ("name", "  Cafe\u{301} Straße \u{212a}"),
            ("note", "first\r\nsecond\rthird\tfourth"),
            ("email", "Ada.Lovelace@Example.org"),
            ("file", "C:\\isos\\Debian 13.ISO"),
            ("packed", "/home/ada/debian.iso.xz"),
            ("id", "018f4f6e-7d3a-7000-8000-000000000001"),
            ("folder", "/srv/images/two"),
            ("folder-up", "/srv/../etc/./x"),
            ("invisible", "\u{200b}\u{202e}\u{3164}"),
            ("long", &long),
            ("iota", "\u{3b1}\u{345}\u{301}"),
        ];
        for (name, text) in texts {
            seed("texts", name, text.as_bytes());
        }
    }
}
