//! A program that shows a token: JSON in and out, no cookies, no origin.

use actix_web::http::Method;
use serde_json::Value;
use vmimg::operations::manage_tokens::{Asked, create_for};

use super::{Answer, App, app::ADMIN, browser::Asked as Request};

/// Where the API lies.
pub const BASE: &str = "/api/v1";

/// A program with its token.
#[derive(Clone)]
pub struct Program {
    app: App,
    pub token: String,
    pub id: String,
}

impl App {
    /// A program with a token of the administrator's, made for these scopes, as in `read download`.
    pub fn program(&self, scopes: &str) -> Program {
        self.program_of(ADMIN.0, scopes)
    }

    /// The same with a token of somebody else's.
    pub fn program_of(&self, email: &str, scopes: &str) -> Program {
        let scopes = scopes.split(' ').map(str::to_owned).collect();
        let made = create_for(&self.service, email, &Asked { name: "test".into(), scopes, days: "1".into() }).unwrap();
        Program { app: self.clone(), token: made.token, id: made.id.to_string() }
    }
}

impl Program {
    /// Begins a request below `/api/v1`.
    pub fn request(&self, method: Method, path: &str) -> Request {
        let request = self.app.browser().request(method, &format!("{BASE}{path}")).without_origin();
        request.header("authorization", &format!("Bearer {}", self.token))
    }

    /// Gets something.
    pub async fn get(&self, path: &str) -> Answer {
        checked(self.request(Method::GET, path).send().await)
    }

    /// Sends JSON by POST.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, "", body).await
    }

    /// Sends JSON by PATCH, for whatever is there now.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, "*", body).await
    }

    /// Sends JSON with If-Match, or without where that is empty.
    pub async fn send(&self, method: Method, path: &str, if_match: &str, body: Value) -> Answer {
        let mut request = self.request(method, path).body("application/json", body.to_string());
        if !if_match.is_empty() {
            request = request.header("if-match", if_match);
        }
        checked(request.send().await)
    }

    /// Deletes whatever is there now.
    pub async fn delete(&self, path: &str) -> Answer {
        checked(self.request(Method::DELETE, path).header("if-match", "*").send().await)
    }

    /// Announces an image on “local”; answers its identifier.
    pub async fn announce(&self, name: &str, bytes: &[u8]) -> String {
        let storage = self.app.storage("local");
        let new = serde_json::json!({ "name": name, "type": "installation", "storage": storage, "file": { "name": "image.iso", "size": bytes.len() } });
        self.post("/images", new).await.expect(201).json()["id"].as_str().unwrap().to_owned()
    }

    /// Sends an image's file.
    pub async fn put(&self, id: &str, bytes: &[u8]) -> Answer {
        let request = self.request(Method::PUT, &format!("/images/{id}/content")).header("if-match", "*");
        checked(request.body("application/octet-stream", bytes.to_vec()).send().await)
    }

    /// Creates an image with its file on “local”; answers its identifier.
    pub async fn image(&self, name: &str, bytes: &[u8]) -> String {
        let id = self.announce(name, bytes).await;
        self.put(&id, bytes).await.expect(200);
        id
    }
}

/// Every answer is of its kind: JSON, or a problem with a code that is explained.
#[track_caller]
pub fn checked(answer: Answer) -> Answer {
    assert!(answer.headers.get("set-cookie").is_none(), "{}: a program gets no cookie", answer.path);
    if answer.status.as_u16() < 400 || answer.body.is_empty() {
        return answer;
    }
    assert_eq!(answer.header("content-type"), "application/problem+json", "{}: {}", answer.path, answer.text());
    let problem = answer.json();
    let code = problem["code"].as_str().unwrap();
    let known = vmimg::web::problems::find(code).unwrap_or_else(|| panic!("{}: {code} is not explained", answer.path));
    assert_eq!(problem["status"], answer.status.as_u16(), "{problem}");
    // A fault of one member has the status of all faults of members.
    let of_member = answer.status == 422 && !problem["errors"].is_null();
    assert!(of_member || known.status == answer.status.as_u16(), "{problem}");
    assert_eq!((problem["type"].as_str().unwrap(), problem["title"].as_str().unwrap()), (&*format!("/docs/problems/{code}"), known.title));
    assert_eq!(problem["instance"].as_str().unwrap(), answer.path.split('?').next().unwrap());
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    for fault in problem["errors"].as_array().into_iter().flatten() {
        assert!(vmimg::web::problems::find(fault["code"].as_str().unwrap()).is_some(), "{fault} is not explained");
        let pointer = fault["pointer"].as_str().unwrap();
        assert!(pointer.is_empty() || pointer.starts_with('/'), "{fault}");
    }
    answer
}

impl Answer {
    /// Fails unless it is the refusal with this status and code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        let answer = checked(self.expect(status));
        assert_eq!(answer.json()["code"], code, "{}: {}", answer.path, answer.text());
        answer
    }
}
