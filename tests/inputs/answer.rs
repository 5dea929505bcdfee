//! What came back over a socket, read to its end by the rules of HTTP/1.1 and no others.

use std::{
    io::Read,
    net::TcpStream,
    time::{Duration, Instant},
};

use memchr::memmem;
use scraper::{ElementRef, Html, Selector};

/// An answer. Status 0 means that the connection ended without one.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Lines `100 Continue` that came before it.
    pub continues: usize,
    /// Whether the connection was closed behind it.
    pub closed: bool,
    /// What came behind it on the same connection, as it is.
    pub behind: Vec<u8>,
    pub took: Duration,
    /// The page to which a redirect led.
    pub page: Option<Box<Answer>>,
}

impl Answer {
    /// An answer that a step made up of several others.
    pub fn of(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn location(&self) -> &str {
        self.header("location")
    }

    pub fn is_html(&self) -> bool {
        self.header("content-type").starts_with("text/html")
    }

    pub fn html(&self) -> Html {
        Html::parse_document(&self.text())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|failed| panic!("{failed}: {}", self.text()))
    }

    /// The words that a person reads, with white space run together; of JSON its text.
    pub fn words(&self) -> String {
        let own = if self.is_html() { words_of(self.html().root_element()) } else { self.text() };
        match &self.page {
            Some(page) => format!("{own} {}", page.words()),
            None => own,
        }
    }

    /// The texts of all elements that a selector finds.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let selector = Selector::parse(selector).unwrap();
        self.html().select(&selector).map(|element| element.text().collect()).collect()
    }

    /// The values of an attribute of all elements that a selector finds.
    pub fn attributes(&self, selector: &str, name: &str) -> Vec<String> {
        let selector = Selector::parse(selector).unwrap();
        self.html().select(&selector).filter_map(|element| element.attr(name).map(str::to_owned)).collect()
    }

    /// Whether it came from the parser of heads, which has no words and no number.
    pub fn is_bare(&self) -> bool {
        self.body.is_empty() && self.header("x-request-id").is_empty() && matches!(self.status, 400 | 408 | 431)
    }
}

fn words_of(element: ElementRef<'_>) -> String {
    element.text().flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// Reads one answer. `head_only`: it was a request for the head.
pub fn read(stream: &mut TcpStream, head_only: bool, within: Duration) -> Answer {
    let start = Instant::now();
    let mut bytes = Vec::new();
    let mut answer = Answer::default();
    let end = start + within;
    let mut fill = |bytes: &mut Vec<u8>| -> bool {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        stream.set_read_timeout(Some(left)).unwrap();
        let mut piece = [0; 65_536];
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                bytes.extend_from_slice(&piece[..count]);
                true
            }
        }
    };
    let head = loop {
        if let Some(at) = memmem::find(&bytes, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
            bytes.drain(..at + 4);
            if head.starts_with("HTTP/1.1 100") {
                answer.continues += 1;
                continue;
            }
            break head;
        }
        if !fill(&mut bytes) {
            answer.behind = bytes;
            answer.closed = true;
            answer.took = start.elapsed();
            return answer;
        }
    };
    let mut lines = head.split("\r\n");
    answer.status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    answer.headers =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
    answer.closed = answer.header("connection").eq_ignore_ascii_case("close");
    let length: Option<usize> = answer.header("content-length").parse().ok();
    if head_only || matches!(answer.status, 204 | 304) {
        answer.behind = bytes;
    } else if answer.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
        loop {
            if let Some((body, used)) = unchunked(&bytes) {
                answer.body = body;
                answer.behind = bytes.split_off(used);
                break;
            }
            if !fill(&mut bytes) {
                answer.closed = true;
                break;
            }
        }
    } else {
        let length = length.unwrap_or(usize::MAX);
        while bytes.len() < length && fill(&mut bytes) {}
        answer.behind = bytes.split_off(bytes.len().min(length));
        answer.body = bytes;
    }
    answer.took = start.elapsed();
    answer
}

/// Reads whatever else comes before the connection ends, for at most this long; whether it ended.
pub fn read_rest(stream: &mut TcpStream, answer: &mut Answer, within: Duration) -> bool {
    let end = Instant::now() + within;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        stream.set_read_timeout(Some(left)).unwrap();
        let mut piece = [0; 65_536];
        match stream.read(&mut piece) {
            Ok(0) => return true,
            Ok(count) => answer.behind.extend_from_slice(&piece[..count]),
            Err(failed) => return !matches!(failed.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
        }
    }
}

fn unchunked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = memmem::find(&bytes[at..], b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line]).ok()?.trim(), 16).ok()?;
        at += line + 2;
        if bytes.len() < at + length + 2 {
            return None;
        }
        body.extend_from_slice(&bytes[at..at + length]);
        at += length + 2;
        if length == 0 {
            return Some((body, at));
        }
    }
}
