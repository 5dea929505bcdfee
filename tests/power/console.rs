//! The service as a process, and a client that fills in its forms as a browser without scripts does.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, Result, disk::last_lines, fail};

/// The administrator's e-mail address and password.
pub const ADMIN: (&str, &str) = ("ada@example.org", "correct horse battery");

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a service keeps its things.
#[derive(Debug, Clone)]
pub struct Place {
    pub data: PathBuf,
    /// The folder below which storages lie.
    pub media: PathBuf,
    pub log: PathBuf,
}

/// A running service. Killed when dropped.
pub struct Console {
    process: Child,
    pub address: String,
    /// The one-time code, while nobody has been created.
    pub code: Option<String>,
    log: PathBuf,
}

impl Console {
    /// Starts the program and waits until it says where it listens.
    pub fn start(binary: &Path, place: &Place) -> Result<Self> {
        let log = File::options().create(true).append(true).open(&place.log)?;
        let mut process = Command::new(binary)
            .arg("serve")
            .env_clear()
            .envs([("VMIMG_DATA_DIR", &place.data), ("VMIMG_STORAGE_ROOTS", &place.media)])
            .envs([("VMIMG_LISTEN", "127.0.0.1:0"), ("VMIMG_LOG", "info"), ("NO_COLOR", "1")])
            .current_dir(place.log.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let said = process.stdout.take().map(listen_to);
        let mut console = Self { process, address: String::new(), code: None, log: place.log.clone() };
        match said.and_then(|said| said.recv_timeout(PATIENCE).ok()) {
            Some((address, code)) => (console.address, console.code) = (address, code),
            None => return fail(format!("the service does not start: {}", last_lines(&console.log))),
        }
        Ok(console)
    }

    /// Its number among processes.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends it as an administrator does.
    pub fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let ended = self.process.wait()?;
        if ended.success() { Ok(()) } else { fail(format!("the service ended with {ended}: {}", last_lines(&self.log))) }
    }

    /// Ends it without a word.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits in a thread for the address and the code; whatever is said afterwards is read and forgotten.
fn listen_to(stdout: ChildStdout) -> mpsc::Receiver<(String, Option<String>)> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
            let Some(at) = line.find("http://") else { continue };
            let url = line[at + 7..].trim();
            let (address, rest) = url.split_once('/').unwrap_or((url, ""));
            let code = rest.strip_prefix("setup?code=").map(str::to_owned);
            let _ = tell.send((address.to_owned(), code));
        }
    });
    told
}

/// What the service answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a hidden field of a form.
    pub fn hidden(&self, name: &str) -> Result<String> {
        let (text, before) = (self.text(), format!("name=\"{name}\" value=\""));
        let value = text.split_once(&before).and_then(|(_, rest)| rest.split_once('"')).map(|(value, _)| value.to_owned());
        value.ok_or_else(|| Error::from(format!("the page has no field {name}: {text}")))
    }

    /// Where the answer leads; an error where it does not say that all went well.
    fn leads_to(&self, request: &str) -> Result<String> {
        match self.header("location").filter(|_| self.status == 303) {
            Some(location) => Ok(location.to_owned()),
            None => fail(format!("{request} was answered {}: {}", self.status, words(&self.text()))),
        }
    }
}

/// The words of a page, for messages.
fn words(page: &str) -> String {
    let text: Vec<&str> = page.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text)).collect();
    let text = text.join(" ");
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(600).collect()
}

/// A browser in which somebody may be signed in. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    pub address: String,
    cookies: Vec<(String, String)>,
}

impl Browser {
    /// Nobody is signed in.
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), cookies: Vec::new() }
    }

    /// The same person at a service that listens elsewhere now.
    pub fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), cookies: self.cookies.clone() }
    }

    /// Opens a page.
    pub fn get(&mut self, path: &str) -> Result<Answer> {
        self.send("GET", path, "", &[], None)
    }

    /// Opens a page that must be there.
    pub fn page(&mut self, path: &str) -> Result<Answer> {
        let answer = self.get(path)?;
        if answer.status == 200 {
            Ok(answer)
        } else {
            fail(format!("GET {path} was answered {}: {}", answer.status, words(&answer.text())))
        }
    }

    /// Follows a link that only leads elsewhere.
    pub fn follow(&mut self, path: &str) -> Result<String> {
        self.get(path)?.leads_to(path)
    }

    /// Sends a form, which must be accepted; answers where it leads.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<String> {
        let body = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&");
        self.send("POST", path, "application/x-www-form-urlencoded", body.as_bytes(), None)?.leads_to(path)
    }

    /// Makes the image of a wizard without its file yet, as the page's script does; answers its identifier.
    pub fn create_image(&mut self, draft: &str, file: &[u8]) -> Result<String> {
        let head = &file[..file.len().min(64 * 1024)];
        let path = format!("{draft}/image?name=image.iso&size={}", file.len());
        let answer = self.send("POST", &path, "application/octet-stream", head, None)?;
        let text = answer.text();
        let image = text.split_once("/images/").map(|(_, rest)| rest.chars().take(36).collect::<String>());
        match image.filter(|_| answer.status == 201) {
            Some(image) => Ok(image),
            None => fail(format!("{path} was answered {}: {}", answer.status, words(&text))),
        }
    }

    /// Sends a file by its form; answers where that leads, which is the image's page also where the file was refused. With `cut`, the connection breaks after so many bytes of the file.
    pub fn upload(&mut self, path: &str, file: &[u8], cut: Option<usize>) -> Result<String> {
        const BOUNDARY: &str = "----power-cut-7d1a";
        let mut body = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"image.iso\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        let cut = cut.map(|bytes| body.len() + bytes);
        body.extend_from_slice(file);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        self.send("POST", path, &format!("multipart/form-data; boundary={BOUNDARY}"), &body, cut)?.leads_to(path)
    }

    fn send(&mut self, method: &str, path: &str, kind: &str, body: &[u8], cut: Option<usize>) -> Result<Answer> {
        let mut connection = TcpStream::connect(&self.address)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {0}\r\nConnection: close\r\n", self.address);
        if method != "GET" {
            head += &format!("Origin: http://{}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", self.address, body.len());
        }
        if !cookies.is_empty() {
            head += &format!("Cookie: {}\r\n", cookies.join("; "));
        }
        connection.write_all(format!("{head}\r\n").as_bytes())?;
        if let Some(cut) = cut {
            connection.write_all(&body[..cut])?;
            thread::sleep(Duration::from_millis(300));
            return Ok(Answer { status: 303, headers: vec![("location".to_owned(), path.to_owned())], body: Vec::new() });
        }
        connection.write_all(body)?;
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes)?;
        let answer = parse(&bytes)?;
        for (name, value) in &answer.headers {
            if let Some((cookie, value)) =
                value.split(';').next().and_then(|pair| pair.split_once('=')).filter(|_| name.eq_ignore_ascii_case("set-cookie"))
            {
                self.cookies.retain(|(kept, _)| kept != cookie);
                if !value.is_empty() {
                    self.cookies.push((cookie.to_owned(), value.to_owned()));
                }
            }
        }
        Ok(answer)
    }
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return fail("the connection broke before the answer") };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let Some(status) = status else { return fail(format!("not an answer: {head}")) };
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    let answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
    if answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        let body = unchunked(&answer.body)?;
        return Ok(Answer { body, ..answer });
    }
    match answer.header("content-length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length != answer.body.len() => fail(format!("an answer of {length} bytes ended after {}", answer.body.len())),
        _ => Ok(answer),
    }
}

fn unchunked(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n");
        let length = end.and_then(|end| usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok());
        let (Some(end), Some(length)) = (end, length) else { return fail("an answer in pieces is not well-formed") };
        if length == 0 {
            return Ok(body);
        }
        let Some(piece) = rest.get(end + 2..end + 2 + length) else { return fail("an answer in pieces broke off") };
        body.extend_from_slice(piece);
        rest = rest.get(end + 4 + length..).unwrap_or_default();
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
