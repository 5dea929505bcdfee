//! The service as the client sees it: requests with a token, answers in JSON, refusals in words.

use std::{net::IpAddr, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use reqwest::{
    Certificate, Method, RequestBuilder, Response, StatusCode, Url,
    header::{ETAG, IF_MATCH, RETRY_AFTER},
};
use serde_json::Value;

use super::{Connection, Failed, output::clean};
use crate::secret;

/// How long the service may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Pauses before a request that broke off, or that the service asked to send later, is sent again.
const PAUSES: [Duration; 3] = [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3)];
/// Longest pause that the service can ask for before the request is given up instead.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A service and who asks.
pub struct Service {
    /// For answers that come at once.
    http: reqwest::Client,
    /// For files that are sent: their answer comes when they have arrived.
    patient: reqwest::Client,
    base: String,
    token: String,
    /// How long the service may be silent.
    pub silence: Duration,
}

/// An answer in JSON, with the version to name when the thing is changed.
pub struct Answer {
    pub body: Value,
    pub etag: Option<String>,
}

impl Service {
    /// Reads the token and prepares connections; nothing is sent yet.
    pub fn new(connection: &Connection) -> Result<Self, Failed> {
        let url = address(&connection.url)?;
        let here = is_here(&url);
        if url.scheme() == "http" && !here && !connection.plain_http {
            return Err(Failed::Here(format!(
                "{url} is another machine, and http:// would show the token to everybody on the way. Use https://, or give --plain-http if you trust the way."
            )));
        }
        let token = token(connection)?;
        let silence = Duration::from_secs(connection.timeout);
        let client = |silence: Option<Duration>| -> Result<reqwest::Client, Failed> {
            let mut builder = reqwest::Client::builder()
                .connect_timeout(CONNECT)
                // A token must not follow to where somebody else points.
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("vmimg/", env!("CARGO_PKG_VERSION")));
            if let Some(silence) = silence {
                builder = builder.read_timeout(silence);
            }
            if here {
                builder = builder.no_proxy();
            }
            builder = if url.scheme() == "http" {
                // Nothing will be encrypted; a system without certificates must not stand against that.
                builder.tls_certs_only([])
            } else {
                builder.tls_certs_merge(authorities(connection.ca_file.as_deref())?)
            };
            builder.build().map_err(|failed| Failed::Here(words(&failed)))
        };
        // Installed twice it says so, which does no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            http: client(Some(silence))?,
            patient: client(None)?,
            base: url.as_str().trim_end_matches('/').to_owned(),
            token,
            silence,
        })
    }

    /// A request below `/api/v1`, with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(&self.token)
    }

    /// The same for one whose answer may take as long as its body.
    pub fn patient_request(&self, method: Method, path: &str) -> RequestBuilder {
        self.patient.request(method, self.url(path)).bearer_auth(&self.token)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.base)
    }

    /// Sends a request once; a refusal becomes words.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Failed> {
        self.judge(request.send().await.map_err(|failed| self.away(&failed))?).await
    }

    /// Sends a request that does no more when it is sent again, and sends it again if the connection breaks or the service asks for it.
    pub async fn send_safely(&self, request: RequestBuilder) -> Result<Response, Failed> {
        for pause in PAUSES {
            let Some(copy) = request.try_clone() else { break };
            let pause = match copy.send().await {
                // Nobody is there, or does not answer at all: the next moment will be no better.
                Err(failed) if failed.is_connect() || failed.is_timeout() || failed.is_builder() => return Err(self.away(&failed)),
                Err(_) => pause,
                Ok(answer) => match later(&answer) {
                    Some(asked) if asked <= LONGEST_PAUSE => asked.max(pause),
                    _ => return self.judge(answer).await,
                },
            };
            tokio::time::sleep(pause).await;
        }
        self.send(request).await
    }

    async fn judge(&self, answer: Response) -> Result<Response, Failed> {
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer).await) }
    }

    /// An answer's JSON.
    pub async fn read(&self, answer: Response) -> Result<Answer, Failed> {
        let etag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let body = answer.json().await.map_err(|failed| self.away(&failed))?;
        Ok(Answer { body, etag })
    }

    /// What is at `path`.
    pub async fn get(&self, path: &str) -> Result<Answer, Failed> {
        self.read(self.send_safely(self.request(Method::GET, path)).await?).await
    }

    /// Makes something, once, however often the request has to be sent.
    pub async fn create(&self, path: &str, new: &Value) -> Result<Value, Failed> {
        let request = self.request(Method::POST, path).header("idempotency-key", secret::token()).json(new);
        Ok(self.read(self.send_safely(request).await?).await?.body)
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
            let mut page = self.read(self.send_safely(request).await?).await?.body;
            let Value::Array(found) = page["items"].take() else {
                return Err(Failed::Away(format!("{} answered with something that is no list.", self.base)));
            };
            items.extend(found);
            after = page["next"].as_str().map(str::to_owned);
            if items.len() >= most || after.is_none() {
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

    /// The service was silent for too long.
    pub fn silent(&self, doing: &str) -> Failed {
        Failed::Away(format!("{}: {doing} for {} seconds; --timeout allows more.", self.base, self.silence.as_secs()))
    }

    async fn refusal(&self, answer: Response) -> Failed {
        let status = answer.status();
        if status.is_redirection() {
            return Failed::Away(format!("{} answers with a redirect. Give the address that the service has in the end.", self.base));
        }
        let text = answer.text().await.unwrap_or_default();
        let Some(problem) = serde_json::from_str::<Value>(&text).ok().filter(|problem| problem["detail"].is_string()) else {
            return Failed::Away(format!("{} answered {status}, and not as the service does. Is the address right?", self.base));
        };
        let text = |name: &str| problem[name].as_str().unwrap_or_default();
        let mut lines = vec![text("detail").to_owned()];
        for fault in problem["errors"].as_array().into_iter().flatten() {
            let of = |name: &str| fault[name].as_str().unwrap_or_default();
            let field = of("pointer").trim_start_matches('/');
            lines.push(format!("  {}: {} ({})", if field.is_empty() { "request" } else { field }, of("detail"), of("code")));
        }
        if status == StatusCode::UNAUTHORIZED {
            lines.push("Make a token in the console under Account, API tokens, and give it by --token-file or $VMIMG_TOKEN.".to_owned());
        }
        lines.push(format!("({}, {}, request {})", status.as_u16(), text("code"), text("request_id")));
        let words = clean(&lines.join("\n"));
        // A storage that is full is a reason, not a fault.
        if status.is_server_error() && status != StatusCode::INSUFFICIENT_STORAGE { Failed::Away(words) } else { Failed::Refused(words) }
    }
}

/// The address of a service, below which the API lies. The API's own is taken for it.
fn address(typed: &str) -> Result<Url, Failed> {
    let wrong = |why: &str| Failed::Here(format!("“{}” is no address of a service: {why}", clean(typed)));
    let mut url = Url::parse(typed.trim()).map_err(|_| wrong("give one such as https://images.example.org"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("give one such as https://images.example.org"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failed::Here("The address of the service holds a name or a password. It takes neither.".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it ends before ? and #"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(path.strip_suffix("/api/v1").unwrap_or(&path));
    Ok(url)
}

/// Whether bytes for this address stay on this machine.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

fn authorities(file: Option<&Path>) -> Result<Vec<Certificate>, Failed> {
    let Some(path) = file else { return Ok(Vec::new()) };
    let pem = std::fs::read(path).map_err(|failed| Failed::file(path, failed))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|failed| Failed::file(path, words(&failed)))?;
    if found.is_empty() { Err(Failed::file(path, "there is no certificate in it")) } else { Ok(found) }
}

fn token(connection: &Connection) -> Result<String, Failed> {
    let in_environment = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let text = match (&connection.token_file, in_environment("VMIMG_TOKEN"), in_environment("VMIMG_TOKEN_FILE")) {
        (Some(path), _, _) => token_in(path)?,
        (None, Some(token), _) => token,
        (None, None, Some(path)) => token_in(Path::new(&path))?,
        (None, None, None) => {
            let words =
                "There is no token. Make one in the console under Account, API tokens, and give it by --token-file or $VMIMG_TOKEN.";
            return Err(Failed::Here(words.to_owned()));
        }
    };
    let token = text.trim().to_owned();
    if secret::is_program_token(&token) {
        return Ok(token);
    }
    Err(Failed::Here(format!("The token is not one: a token is {} and 43 characters.", secret::TOKEN_PREFIX)))
}

fn token_in(path: &Path) -> Result<String, Failed> {
    let text = std::fs::read_to_string(path).map_err(|failed| Failed::file(path, failed))?;
    let about = std::fs::metadata(path).map_err(|failed| Failed::file(path, failed))?;
    let mode = about.permissions().mode() & 0o777;
    if about.is_file() && mode & 0o077 != 0 {
        eprintln!(
            "vmimg: warning: others on this machine can read the token in {} (mode {mode:o}); chmod 600 keeps it yours.",
            path.display()
        );
    }
    Ok(text)
}

/// After which pause the service wants the request again, if it does.
fn later(answer: &Response) -> Option<Duration> {
    let status = answer.status();
    let worth_it = matches!(status, StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let seconds = answer.headers().get(RETRY_AFTER).filter(|_| worth_it)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_where_the_service_lies() {
        let rows = [
            ("http://127.0.0.1:8080", Some(("http://127.0.0.1:8080/", true))),
            (" http://localhost/ ", Some(("http://localhost/", true))),
            ("http://[::1]:80", Some(("http://[::1]/", true))),
            ("http://[::ffff:127.0.0.1]", Some(("http://[::ffff:7f00:1]/", true))),
            ("http://127.1", Some(("http://127.0.0.1/", true))),
            ("http://localhost.example.org", Some(("http://localhost.example.org/", false))),
            ("http://127.0.0.1.example.org", Some(("http://127.0.0.1.example.org/", false))),
            ("http://10.0.0.1", Some(("http://10.0.0.1/", false))),
            ("http://0.0.0.0", Some(("http://0.0.0.0/", false))),
            ("https://images.example.org/below//", Some(("https://images.example.org/below", false))),
            ("https://images.example.org/api/v1/", Some(("https://images.example.org/", false))),
            ("https://ada:secret@images.example.org", None),
            ("https://images.example.org?x=1", None),
            ("https://images.example.org#x", None),
            ("images.example.org", None),
            ("localhost:8080", None),
            ("file:///etc/passwd", None),
            ("", None),
        ];
        for (typed, expected) in rows {
            let found = address(typed).ok().map(|url| (url.to_string(), is_here(&url)));
            assert_eq!(found, expected.map(|(url, here)| (url.to_owned(), here)), "{typed}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        let Err(Failed::Here(words)) = address("https://ada:secret@images.example.org") else { panic!("taken") };
        assert!(!words.contains("secret"), "{words}");
    }
}
