//! A browser without scripts: keeps cookies, follows redirects, says where its requests come from.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, rc::Rc};

use actix_web::{
    body::to_bytes,
    http::{
        Method, StatusCode,
        header::{HeaderMap, LOCATION, SET_COOKIE},
    },
    test::TestRequest,
    web::Bytes,
};

use super::{App, Page};

/// The address under which the service is reached in tests.
pub const ORIGIN: &str = "http://console.test";

/// One browser: a jar of cookies and an address. Cheap to clone, as two tabs of it.
#[derive(Clone)]
pub struct Browser {
    app: App,
    jar: Rc<RefCell<BTreeMap<String, String>>>,
    peer: SocketAddr,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub path: String,
}

/// A request before it is sent.
pub struct Asked {
    browser: Browser,
    request: TestRequest,
    path: String,
    origin: bool,
    body: Bytes,
}

impl Browser {
    /// A browser that has no cookies.
    pub fn new(app: App) -> Self {
        Self { app, jar: Rc::default(), peer: ([192, 0, 2, 7], 40_000).into() }
    }

    /// The same browser at another address.
    pub fn at(mut self, address: [u8; 4]) -> Self {
        self.peer = (address, 40_000).into();
        self
    }

    /// A cookie's value.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar.borrow().get(name).cloned()
    }

    /// Headers by which a request over a socket of its own is this browser's.
    pub fn headers_at(&self, address: SocketAddr) -> String {
        let (session, device) = (self.cookie("vmimg-session").unwrap(), self.cookie("vmimg-device").unwrap_or_default());
        format!("Host: {address}\r\nOrigin: http://{address}\r\nCookie: vmimg-session={session}; vmimg-device={device}\r\n")
    }

    /// Plants a cookie, or takes one away.
    pub fn set_cookie(&self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.jar.borrow_mut().insert(name.to_owned(), value.to_owned()),
            None => self.jar.borrow_mut().remove(name),
        };
    }

    /// Begins a request.
    pub fn request(&self, method: Method, path: &str) -> Asked {
        let mut request = TestRequest::with_uri(path).method(method).peer_addr(self.peer).insert_header(("host", "console.test"));
        let cookies: Vec<String> = self.jar.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.insert_header(("cookie", cookies.join("; ")));
        }
        Asked { browser: self.clone(), request, path: path.to_owned(), origin: true, body: Bytes::new() }
    }

    /// Asks for a page, without following a redirect.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).send().await
    }

    /// Sends a form, without following a redirect. For what no page offers; otherwise fill a page's form.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.request(Method::POST, path).form(fields).send().await
    }

    /// Opens a page, wherever redirects lead.
    pub async fn open(&self, path: &str) -> Page {
        self.follow(self.get(path).await).await
    }

    /// Goes where an answer leads.
    pub async fn follow(&self, mut answer: Answer) -> Page {
        for _ in 0..5 {
            let Some(location) = answer.location().filter(|_| answer.status.is_redirection()).map(str::to_owned) else {
                return Page::new(self.clone(), answer);
            };
            assert!(location.starts_with('/') && !location.starts_with("//"), "redirects stay in the console: {location}");
            answer = self.get(&location).await;
        }
        panic!("{} leads in circles", answer.path);
    }

    /// Fills the sign-in page.
    pub async fn sign_in(&self, email: &str, password: &str) -> Page {
        let page = self.open("/sign-in").await;
        page.form("Sign in").fill("email", email).fill("password", password).submit().await
    }
}

impl Asked {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.append_header((name, value));
        self
    }

    /// Sends no `Origin`, as no browser does.
    pub fn without_origin(mut self) -> Self {
        self.origin = false;
        self
    }

    /// Says that the request comes from elsewhere.
    pub fn origin(self, origin: &str) -> Self {
        self.without_origin().header("origin", origin)
    }

    /// Wants JSON, as the console's scripts do.
    pub fn json(self) -> Self {
        self.header("accept", "application/json")
    }

    /// Carries a form.
    #[track_caller]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let text = serde_html_form::to_string(fields).unwrap();
        self.body("application/x-www-form-urlencoded", text)
    }

    /// Carries bytes.
    pub fn body(mut self, kind: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("content-type", kind).header("content-length", &length)
    }

    /// Sends it and reads the whole answer.
    pub async fn send(mut self) -> Answer {
        if self.origin {
            self = self.header("origin", ORIGIN);
        }
        let answer = self.browser.app.call(self.request.set_payload(self.body)).await;
        let (_, answer) = answer.into_parts();
        let (head, body) = answer.into_parts();
        let mut headers = head.headers().clone();
        let status = head.status();
        for cookie in headers.get_all(SET_COOKIE) {
            let cookie = actix_web::cookie::Cookie::parse(cookie.to_str().unwrap().to_owned()).unwrap();
            assert_eq!(cookie.path(), Some("/"), "{cookie}");
            let gone = cookie.max_age().is_some_and(|age| age.is_zero());
            assert!(gone || cookie.http_only() == Some(true), "no script reads {cookie}");
            self.browser.set_cookie(cookie.name(), Some(cookie.value()).filter(|_| !gone));
        }
        if let Some(kind) = head.headers().get("content-type") {
            headers.insert(actix_web::http::header::CONTENT_TYPE, kind.clone());
        }
        let body = to_bytes(body).await.unwrap_or_else(|failed| panic!("{}: the body broke off: {failed}", self.path));
        Answer { status, headers, body, path: self.path }
    }
}

impl Answer {
    /// The body as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// A header as text; empty without it.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Where it leads.
    pub fn location(&self) -> Option<&str> {
        self.headers.get(LOCATION).map(|value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|failed| panic!("{}: {failed}", self.text()))
    }

    /// Fails unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.path, String::from_utf8_lossy(&self.body));
        self
    }
}
