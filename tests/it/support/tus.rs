//! A client of tus 1.0.0, from a browser with its session or from a program with its token.

use std::net::SocketAddr;

use actix_web::http::Method;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use super::{Answer, App, Browser, browser::Asked, program::Program};

/// The head of a chunk that a browser sends over a socket of its own, up to and with the empty line.
pub fn head_of_chunk(browser: &Browser, address: SocketAddr, id: &str, offset: usize, length: usize) -> String {
    format!(
        "PATCH /uploads/{id} HTTP/1.1\r\n{}Tus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n\
         Content-Type: application/offset+octet-stream\r\nContent-Length: {length}\r\n\r\n",
        browser.headers_at(address)
    )
}

/// Whoever sends.
#[derive(Clone)]
pub struct Tus {
    browser: Browser,
    token: Option<String>,
}

impl From<Browser> for Tus {
    fn from(browser: Browser) -> Self {
        Self { browser, token: None }
    }
}

impl App {
    /// A client that shows a program's token.
    pub fn tus(&self, program: &Program) -> Tus {
        Tus { browser: self.browser(), token: Some(program.token.clone()) }
    }

    /// The same with a token by its text.
    pub fn tus_with(&self, token: &str) -> Tus {
        Tus { browser: self.browser(), token: Some(token.to_owned()) }
    }
}

impl Tus {
    /// Begins a request in the protocol's present version.
    pub fn request(&self, method: Method, path: &str) -> Asked {
        self.bare(method, path).header("tus-resumable", "1.0.0")
    }

    /// Begins a request that names no version.
    pub fn bare(&self, method: Method, path: &str) -> Asked {
        let request = self.browser.request(method, path);
        match &self.token {
            Some(token) => request.without_origin().header("authorization", &format!("Bearer {token}")),
            None => request,
        }
    }

    /// Announces an upload with this metadata.
    pub async fn create(&self, length: usize, metadata: &[(&str, &str)]) -> Answer {
        let request = self.request(Method::POST, "/uploads").header("upload-length", &length.to_string());
        request.header("upload-metadata", &encoded(metadata)).send().await
    }

    /// Announces an upload for a new image on “local”; answers its identifier.
    pub async fn begin(&self, app: &App, name: &str, bytes: &[u8]) -> String {
        let storage = app.storage("local");
        let made = self.create(bytes.len(), &[("filename", "image.iso"), ("storage", &storage), ("name", name)]).await.expect(201);
        made.header("location").rsplit_once("/uploads/").unwrap().1.to_owned()
    }

    /// Asks how far an upload has come.
    pub async fn head(&self, id: &str) -> Answer {
        self.request(Method::HEAD, &format!("/uploads/{id}")).send().await
    }

    /// How far an upload has come.
    pub async fn offset(&self, id: &str) -> usize {
        self.head(id).await.expect(200).offset()
    }

    /// Sends bytes from this offset on.
    pub async fn patch(&self, id: &str, offset: usize, bytes: &[u8]) -> Answer {
        self.chunk(id, offset, bytes).send().await
    }

    /// The same before it is sent.
    pub fn chunk(&self, id: &str, offset: usize, bytes: &[u8]) -> Asked {
        let request = self.request(Method::PATCH, &format!("/uploads/{id}")).header("upload-offset", &offset.to_string());
        request.body("application/offset+octet-stream", bytes.to_vec())
    }

    /// Ends an upload.
    pub async fn terminate(&self, id: &str) -> Answer {
        self.request(Method::DELETE, &format!("/uploads/{id}")).send().await
    }
}

impl Answer {
    /// The offset that it tells.
    #[track_caller]
    pub fn offset(&self) -> usize {
        self.header("upload-offset").parse().unwrap_or_else(|_| panic!("{}: no offset: {:?}", self.path, self.headers))
    }
}

/// Metadata as the protocol writes it.
pub fn encoded(metadata: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = metadata.iter().map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value))).collect();
    pairs.join(",")
}

/// A checksum as the protocol writes it.
pub fn checksum(bytes: &[u8]) -> String {
    format!("sha256 {}", BASE64_STANDARD.encode(Sha256::digest(bytes)))
}
