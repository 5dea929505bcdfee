//! The service as the client sees it: requests with a token, answers in JSON, refusals in words.

use std::time::Duration;

use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH},
};
use serde_json::Value;

use super::{Connection, Failed};

/// How long the service may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may take for an answer that carries no file, and how long nothing may arrive of one that does.
const ANSWER: Duration = Duration::from_secs(60);

/// A service and who asks.
pub struct Service {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// An answer in JSON, with the version to name when the thing is changed.
pub struct Answer {
    pub body: Value,
    pub etag: Option<String>,
}

impl Service {
    /// Reads the token and prepares connections; nothing is sent yet.
    pub fn new(connection: &Connection) -> Result<Self, Failed> {
        let base = connection.url.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(Failed::Here(format!("“{base}” is no address of a service: give one such as https://images.example.org")));
        }
        // Installed twice it says so, which does no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(ANSWER)
            // A token must not follow to where somebody else points.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("vmimg/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|failed| Failed::Here(words(&failed)))?;
        Ok(Self { http, base, token: token(connection)? })
    }

    /// A request below `/api/v1`, with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/api/v1{path}", self.base)).bearer_auth(&self.token)
    }

    /// Sends a request; a refusal becomes words.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Failed> {
        let answer = request.send().await.map_err(|failed| self.away(&failed))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer).await) }
    }

    /// Sends a request whose answer is JSON.
    pub async fn json(&self, request: RequestBuilder) -> Result<Answer, Failed> {
        let answer = self.send(request).await?;
        let etag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let body = answer.json().await.map_err(|failed| self.away(&failed))?;
        Ok(Answer { body, etag })
    }

    /// What is at `path`.
    pub async fn get(&self, path: &str) -> Result<Answer, Failed> {
        self.json(self.request(Method::GET, path)).await
    }

    /// Every item of a list, page by page, up to `most`; and whether there are more.
    pub async fn items(&self, path: &str, query: &[(&str, String)], most: usize) -> Result<(Vec<Value>, bool), Failed> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut request = self.request(Method::GET, path).query(query);
            if let Some(after) = &after {
                request = request.query(&[("after", after)]);
            }
            let mut page = self.json(request).await?.body;
            if let Value::Array(found) = page["items"].take() {
                items.extend(found);
            }
            after = page["next"].as_str().map(str::to_owned);
            if items.len() > most || after.is_none() {
                let more = items.len() > most || after.is_some();
                items.truncate(most);
                return Ok((items, more));
            }
        }
    }

    /// Removes what is at `path`, if it is still as it was seen.
    pub async fn delete(&self, path: &str, seen: Option<&str>) -> Result<(), Failed> {
        self.send(self.request(Method::DELETE, path).header(IF_MATCH, seen.unwrap_or("*"))).await.map(drop)
    }

    /// Why no answer came.
    pub fn away(&self, failed: &reqwest::Error) -> Failed {
        Failed::Away(format!("{}: {}", self.base, words(failed)))
    }

    async fn refusal(&self, answer: Response) -> Failed {
        let status = answer.status();
        if status.is_redirection() {
            return Failed::Away(format!("{} answers with a redirect; give the address that the service has in the end", self.base));
        }
        let text = answer.text().await.unwrap_or_default();
        let Some(problem) = serde_json::from_str::<Value>(&text).ok().filter(|problem| problem["detail"].is_string()) else {
            return Failed::Away(format!("{} answered {status}, and not as the service does; is a proxy in between?", self.base));
        };
        let text = |name: &str| problem[name].as_str().unwrap_or_default();
        let mut lines = vec![text("detail").to_owned()];
        for fault in problem["errors"].as_array().into_iter().flatten() {
            let field = fault["pointer"].as_str().unwrap_or_default().trim_start_matches(['#', '/']);
            lines.push(format!("  {field}: {}", fault["detail"].as_str().unwrap_or_default()));
        }
        if status == StatusCode::UNAUTHORIZED {
            lines.push("Make a token in the console under Account, API tokens, and give it as $VMIMG_TOKEN or --token-file.".to_owned());
        }
        lines.push(format!("({status}, {}, request {})", text("code"), text("request_id")));
        let words = super::output::clean(&lines.join("\n"));
        if status.is_server_error() { Failed::Away(words) } else { Failed::Refused(words) }
    }
}

/// Headers of a request whose body is a file of `bytes`.
pub fn with_file_headers(request: RequestBuilder, bytes: u64) -> RequestBuilder {
    request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, bytes).header(IF_MATCH, "*")
}

fn token(connection: &Connection) -> Result<String, Failed> {
    let text = match &connection.token_file {
        Some(path) => std::fs::read_to_string(path).map_err(|failed| Failed::Here(format!("{}: {failed}", path.display())))?,
        None => std::env::var("VMIMG_TOKEN").map_err(|_| {
            Failed::Here(
                "no token. Make one in the console under Account, API tokens, and give it as $VMIMG_TOKEN or --token-file.".to_owned(),
            )
        })?,
    };
    let token = text.trim().to_owned();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failed::Here("the token is not one: it begins with vmi_ and has no spaces".to_owned()));
    }
    Ok(token)
}

/// A failure with what lies under it: “connection refused” stands at the end of the chain.
fn words(failed: &reqwest::Error) -> String {
    let mut cause = std::error::Error::source(failed);
    let mut words = if failed.is_timeout() { "no answer in time".to_owned() } else { "no answer".to_owned() };
    while let Some(under) = cause {
        let more = under.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = under.source();
    }
    words
}
