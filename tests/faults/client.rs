//! A client that speaks HTTP over a plain socket, one connection a request, and tells apart what was answered from what nobody knows.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// No answer takes longer than this, unless something is wrong.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
const BOUNDARY: &str = "----vmimg-faults";
const TUS: &str = "Tus-Resumable: 1.0.0\r\n";

/// The headers of a body.
fn body_of(kind: &str, length: usize) -> String {
    format!("Content-Length: {length}\r\nContent-Type: {kind}\r\n")
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// No answer came: the request may have been carried out, or not.
#[derive(Debug)]
pub struct Unknown(pub String);

/// An answer, or none.
pub type Answered = Result<Answer, Unknown>;

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Where the answer leads.
    pub fn location(&self) -> &str {
        self.headers.get("location").map_or("", String::as_str)
    }

    /// How far an upload has come by this answer.
    pub fn offset(&self) -> Option<usize> {
        self.headers.get("upload-offset")?.parse().ok()
    }

    /// The text between two others.
    pub fn between(&self, before: &str, after: &str) -> Option<String> {
        let text = self.text();
        let rest = &text[text.find(before)? + before.len()..];
        Some(rest[..rest.find(after)?].to_owned())
    }

    /// The value of the first field with this name.
    pub fn field(&self, name: &str) -> Option<String> {
        self.between(&format!("name=\"{name}\" value=\""), "\"")
    }

    /// Status and the beginning of the words, for a message.
    pub fn words(&self) -> String {
        format!("{} {} {}", self.status, self.location(), self.text().chars().take(400).collect::<String>().replace('\n', " "))
    }
}

/// Somebody with cookies. Cheap to clone, as two tabs of one browser.
#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    /// How long an answer may take.
    pub patience: Duration,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Client {
    /// Without cookies.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, patience: ANSWERS_WITHIN, cookies: Arc::default() }
    }

    /// The same person, after the service was started again.
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// Asks for a page.
    pub fn get(&self, path: &str) -> Answered {
        self.send("GET", path, "", &[], "text/html")
    }

    /// Sends a form.
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answered {
        let body = serde_html_form::to_string(fields).unwrap();
        self.send("POST", path, "application/x-www-form-urlencoded", body.as_bytes(), "text/html")
    }

    /// Sends bytes as the console's scripts do, wanting JSON.
    pub fn post_bytes(&self, path: &str, bytes: &[u8]) -> Answered {
        self.send("POST", path, "application/octet-stream", bytes, "application/json")
    }

    /// Sends a file in a form, wanting JSON. `pause` is called before each of so many pieces and may wait, or give up with an error.
    pub fn post_file(&self, path: &str, name: &str, bytes: &[u8], pieces: usize, pause: impl FnMut(usize) -> io::Result<()>) -> Answered {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        let tail = format!("\r\n--{BOUNDARY}--\r\n");
        let length = head.len() + bytes.len() + tail.len();
        let mut pause = pause;
        let about = body_of(&format!("multipart/form-data; boundary={BOUNDARY}"), length) + "Accept: application/json\r\n";
        self.begin("POST", path, &about, |socket| {
            socket.write_all(head.as_bytes())?;
            for (number, piece) in bytes.chunks(bytes.len().div_ceil(pieces).max(1)).enumerate() {
                pause(number)?;
                socket.write_all(piece)?;
            }
            socket.write_all(tail.as_bytes())
        })
    }

    /// Announces an upload of so many bytes that is sent in chunks.
    pub fn announce(&self, length: usize, metadata: &[(&str, &str)]) -> Answered {
        let pairs: Vec<String> = metadata.iter().map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value))).collect();
        self.tus("POST", "/uploads", &format!("Upload-Length: {length}\r\nUpload-Metadata: {}\r\n", pairs.join(",")))
    }

    /// Asks how far an upload has come, or ends it.
    pub fn about_upload(&self, method: &str, id: &str) -> Answered {
        self.tus(method, &format!("/uploads/{id}"), "")
    }

    /// Sends the next bytes of an upload; `pause` is called after so many of them and may give up with an error.
    pub fn patch(&self, id: &str, offset: usize, bytes: &[u8], after: usize, pause: impl FnOnce() -> io::Result<()>) -> Answered {
        let about = format!("{TUS}Upload-Offset: {offset}\r\n{}", body_of("application/offset+octet-stream", bytes.len()));
        self.begin("PATCH", &format!("/uploads/{id}"), &about, |socket| {
            socket.write_all(&bytes[..after])?;
            pause()?;
            socket.write_all(&bytes[after..])
        })
    }

    fn tus(&self, method: &str, path: &str, headers: &str) -> Answered {
        self.begin(method, path, &format!("{TUS}{headers}Content-Length: 0\r\n"), |_| Ok(()))
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: &[u8], accept: &str) -> Answered {
        let about = if method == "POST" { body_of(kind, body.len()) } else { String::new() };
        self.begin(method, path, &format!("{about}Accept: {accept}\r\n"), |socket| socket.write_all(body))
    }

    fn begin(&self, method: &str, path: &str, headers: &str, write: impl FnOnce(&mut TcpStream) -> io::Result<()>) -> Answered {
        let lost = |failed: io::Error| Unknown(format!("{method} {path}: {failed}"));
        let mut socket = TcpStream::connect_timeout(&self.address, Duration::from_secs(5)).map_err(lost)?;
        socket.set_read_timeout(Some(self.patience)).map_err(lost)?;
        socket.set_write_timeout(Some(self.patience)).map_err(lost)?;
        socket.set_nodelay(true).map_err(lost)?;
        let cookies: Vec<String> = self.cookies.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nConnection: close\r\n{headers}", self.address);
        if !cookies.is_empty() {
            head += &format!("Cookie: {}\r\n", cookies.join("; "));
        }
        head += "\r\n";
        // A refusal may come before the whole body was sent; it counts, whatever became of the rest.
        let sent = socket.write_all(head.as_bytes()).and_then(|()| write(&mut socket));
        if let Err(failed) = &sent
            && failed.kind() == io::ErrorKind::Other
        {
            // The sender gave up on purpose, and does not wait for an answer.
            return Err(Unknown(format!("{method} {path}: {failed}")));
        }
        let (mut bytes, mut buffer) = (Vec::new(), [0; 65_536]);
        // A connection whose body was not read stays open for some seconds after its answer.
        let (answer, read) = loop {
            let read = socket.read(&mut buffer);
            bytes.extend_from_slice(&buffer[..read.as_ref().copied().unwrap_or_default()]);
            let ended = !matches!(read, Ok(1..));
            let answer = parse(&bytes, method == "HEAD", ended);
            if answer.is_some() || ended {
                break (answer, read);
            }
        };
        match answer {
            Some(answer) => {
                for (name, value) in &answer.1 {
                    self.cookies.lock().unwrap().insert(name.clone(), value.clone());
                }
                Ok(answer.0)
            }
            None => {
                let why =
                    sent.err().or(read.err()).map_or_else(|| format!("{} bytes of an answer", bytes.len()), |failed| failed.to_string());
                Err(Unknown(format!("{method} {path}: {why}")))
            }
        }
    }
}

/// A whole answer and the cookies in it; none if something is missing. `ended`: nothing more will come.
fn parse(bytes: &[u8], is_head: bool, ended: bool) -> Option<(Answer, Vec<(String, String)>)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let (mut headers, mut cookies) = (BTreeMap::new(), Vec::new());
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let (name, value) = (name.to_lowercase(), value.trim().to_owned());
        if name == "set-cookie" {
            let pair = value.split(';').next()?;
            let (cookie, text) = pair.split_once('=')?;
            cookies.push((cookie.to_owned(), text.to_owned()));
        } else {
            headers.insert(name, value);
        }
    }
    let rest = &bytes[end + 4..];
    // "Go on" and its like are not the answer yet.
    if (100..200).contains(&status) {
        return parse(rest, is_head, ended);
    }
    let body = if is_head || status == 204 {
        Vec::new()
    } else if headers.get("transfer-encoding").is_some_and(|kind| kind.contains("chunked")) {
        dechunked(rest)?
    } else {
        match headers.get("content-length") {
            Some(length) => rest.get(..length.parse().ok()?)?.to_vec(),
            None if ended => rest.to_vec(),
            None => return None,
        }
    };
    Some((Answer { status, headers, body }, cookies))
}

fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
