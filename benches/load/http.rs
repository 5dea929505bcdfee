//! As much of HTTP/1.1 as the measurements need, on a blocking socket that is kept open.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A client with one connection, opened anew when the server has closed it.
pub struct Client {
    address: SocketAddr,
    cookies: String,
    connection: Option<BufReader<TcpStream>>,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's first value; empty without it.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// The path to which it leads.
    pub fn leads_to(&self) -> Result<&str, String> {
        let location = self.header("location");
        if self.status == 303 && location.starts_with('/') { Ok(location) } else { Err(self.wrong("an answer that leads on")) }
    }

    /// What was expected, and what came.
    pub fn wrong(&self, expected: &str) -> String {
        format!("expected {expected}, got {} {}", self.status, String::from_utf8_lossy(&self.body[..self.body.len().min(2_000)]))
    }
}

impl Client {
    /// A client that sends these cookies.
    pub fn new(address: SocketAddr, cookies: &str) -> Self {
        Self { address, cookies: cookies.to_owned(), connection: None }
    }

    /// A page.
    pub fn get(&mut self, path: &str) -> Result<Answer, String> {
        self.ask("GET", path, "", &[])
    }

    /// A form.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Answer, String> {
        let body = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&");
        self.ask("POST", path, "Content-Type: application/x-www-form-urlencoded\r\n", &[body.as_bytes()])
    }

    /// A form with a file, as a browser without scripts sends it.
    pub fn send_file(&mut self, path: &str, file: &[u8]) -> Result<Answer, String> {
        self.ask("POST", path, "Content-Type: multipart/form-data; boundary=b\r\n", &[FILE_PART, file, END_OF_FORM])
    }

    /// A request with more headers and a body of several pieces. Tried once more when a connection that was kept has gone.
    pub fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[&[u8]]) -> Result<Answer, String> {
        let kept = self.connection.is_some();
        let mut answer = self.try_ask(method, path, headers, body);
        if answer.is_err() && kept {
            self.connection = None;
            answer = self.try_ask(method, path, headers, body);
        }
        answer.map_err(|failed| {
            self.connection = None;
            format!("{method} {path}: {failed}")
        })
    }

    fn try_ask(&mut self, method: &str, path: &str, headers: &str, body: &[&[u8]]) -> io::Result<Answer> {
        let head = head(self.address, &self.cookies, method, path, headers, body.iter().map(|piece| piece.len()).sum());
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let socket = TcpStream::connect_timeout(&self.address, Duration::from_secs(60))?;
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(Duration::from_secs(120)))?;
                socket.set_write_timeout(Some(Duration::from_secs(120)))?;
                none.insert(BufReader::new(socket))
            }
        };
        let mut socket = connection.get_ref();
        socket.write_all(head.as_bytes())?;
        for piece in body {
            socket.write_all(piece)?;
        }
        let answer = read_answer(connection)?;
        if answer.header("connection").eq_ignore_ascii_case("close") {
            self.connection = None;
        }
        Ok(answer)
    }
}

/// What stands before a file in a form.
pub const FILE_PART: &[u8] =
    b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"image.iso\"\r\nContent-Type: application/octet-stream\r\n\r\n";
/// What stands behind it.
pub const END_OF_FORM: &[u8] = b"\r\n--b--\r\n";

/// Stands in the head of a request about an upload in chunks.
pub const TUS: &str = "Tus-Resumable: 1.0.0\r\n";

/// The head of a request.
pub fn head(address: SocketAddr, cookies: &str, method: &str, path: &str, headers: &str, length: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nCookie: {cookies}\r\n{headers}Content-Length: {length}\r\n\r\n"
    )
}

fn read_answer(from: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(wrong("the connection ended before an answer"));
    }
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| wrong("no status"))?;
    let mut answer = Answer { status, headers: Vec::new(), body: Vec::new() };
    loop {
        line.clear();
        from.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => answer.headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    if answer.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
        loop {
            line.clear();
            from.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim_end(), 16).map_err(|_| wrong("no size of a chunk"))?;
            let start = answer.body.len();
            answer.body.resize(start + size + 2, 0);
            from.read_exact(&mut answer.body[start..])?;
            answer.body.truncate(start + size);
            if size == 0 {
                return Ok(answer);
            }
        }
    }
    answer.body = vec![0; answer.header("content-length").parse().unwrap_or(0)];
    from.read_exact(&mut answer.body)?;
    Ok(answer)
}

fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
