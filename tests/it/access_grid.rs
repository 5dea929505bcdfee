//! Every route of the real router, asked by everybody: what each of them is answered, for a thing that is there and for one that is not.
//!
//! The answers stand in `access_grid.txt`, to be read and reviewed. `VMIMG_WRITE_ACCESS_GRID=1 cargo test --test it access_grid` writes it
//! anew; nothing else does. A route that this file has no example of fails the test.

use std::{fmt::Write as _, fs, path::Path};

use actix_web::{
    http::Method,
    introspection::IntrospectionTree,
    test::TestRequest,
    web::{Bytes, Data},
};

use serde_json::json;

use super::support::{Answer, App, Browser, Left, Start, Tus, app::ADMIN, iso, page::part, program::Program};

/// A route: its pattern and its method.
type Route = (String, Method);

/// All routes that the router knows.
async fn routes(app: &App) -> Vec<Route> {
    let answer = app.call(TestRequest::get().uri("/livez")).await;
    let tree = answer.request().app_data::<Data<IntrospectionTree>>().expect("the router tells its routes").clone();
    let report: serde_json::Value = serde_json::from_str(&tree.report_as_json()).unwrap();
    let mut routes = Vec::new();
    for item in report.as_array().unwrap() {
        let path = item["full_path"].as_str().unwrap();
        for method in item["methods"].as_array().unwrap() {
            routes.push((path.to_owned(), method.as_str().unwrap().parse::<Method>().unwrap()));
        }
    }
    routes.sort_by(|one, other| (&one.0, one.1.as_str()).cmp(&(&other.0, other.1.as_str())));
    routes
}

/// The things that are there.
struct Things {
    image: String,
    cluster: String,
    host: String,
    /// `digest/path` of a style sheet.
    asset: String,
}

impl Things {
    /// The path of a route for a thing that is there, made anew where a request ends it, and for one that is not; the second is `None`
    /// where the route is about no thing.
    async fn paths(&self, app: &App, (pattern, method): &Route) -> (String, Option<String>) {
        let changes = *method == Method::POST;
        if let Some(rest) = pattern.strip_prefix("/api/v1/") {
            return self.paths_of_api(app, pattern, rest, method).await;
        }
        let section = pattern.split('/').nth(1).unwrap_or_default();
        let mut real = pattern.clone();
        if section == "account" && pattern.contains("{id}") {
            real = real.replace("{id}", &app.program("read").id);
        }
        if section == "docs" {
            real = real.replace("{code}", "name.taken");
        }
        if pattern.starts_with("/images/new/{draft}/") {
            let page = app.admin().open("/images/new").await.form("Continue").fill("name", "drafted").submit().await;
            real = real.replace("{draft}", page.path().split('/').nth(3).unwrap());
        }
        let cluster_or_host = |id: &str| id.to_owned();
        let id = match section {
            "images" if changes && pattern.ends_with("/deletion") => app.pending(&format!("gone {}", app.count("images"))).await,
            "images" => self.image.clone(),
            // One that has begun, from the administrator's browser.
            "uploads" if pattern.contains("{id}") => {
                let client = Tus::from(app.admin());
                let id = client.begin(app, &format!("upload {}", app.count("images")), &iso("GRID")).await;
                client.patch(&id, 0, &iso("GRID")[..70_000]).await.expect(204);
                app.run_out(&id);
                vmimg::jobs::end_leases(&app.service).await.unwrap();
                id
            }
            "clusters" => cluster_or_host(&self.cluster),
            "hosts" => cluster_or_host(&self.host),
            "datastores" | "storages" if !pattern.contains("{id}") => String::new(),
            "datastores" | "storages" => app.datastore(&format!("store {}", app.count("storages"))).await,
            "local-storages" if pattern.contains("{id}") => local_storage(app).await,
            _ => String::new(),
        };
        real = real.replace("{id}", &id).replace("{cluster}", &self.cluster);
        real = real.replace("{digest}/{path:.*}", &self.asset);
        assert!(!real.contains('{'), "there is no example of {pattern}: {real}");
        let nothing = vmimg::domain::ids::DraftId::new().to_string();
        let unknown = pattern
            .replace("{id}", &nothing)
            .replace("{draft}", &nothing)
            .replace("{cluster}", &nothing)
            .replace("{code}", "nothing")
            .replace("{digest}", "0123456789abcdef")
            .replace("{path:.*}", "app.css");
        let about_something = unknown != *pattern;
        (real, about_something.then_some(unknown))
    }
}

impl Things {
    /// The same below `/api/v1`.
    async fn paths_of_api(&self, app: &App, pattern: &str, rest: &str, method: &Method) -> (String, Option<String>) {
        let changes = matches!(*method, Method::DELETE | Method::PATCH);
        let id = match rest {
            "images/{id}" if changes => app.program("images").announce(&format!("gone {}", app.count("images")), &iso("GONE")).await,
            "images/{id}/content" if *method == Method::PUT => {
                app.program("images").announce(&format!("sent {}", app.count("images")), &iso("GRID")).await
            }
            "clusters/{id}" if changes => {
                let name = format!("cluster {}", app.count("clusters"));
                let made = app.program("all").post("/clusters", json!({ "name": name })).await.expect(201);
                made.json()["id"].as_str().unwrap().to_owned()
            }
            _ if rest.starts_with("images/") => self.image.clone(),
            _ if rest.starts_with("clusters/") => self.cluster.clone(),
            _ if rest.starts_with("hosts/") => self.host.clone(),
            _ if rest.starts_with("storages/{id}") => app.datastore(&format!("store {}", app.count("storages"))).await,
            _ => String::new(),
        };
        let nothing = vmimg::domain::ids::DraftId::new().to_string();
        let real = pattern.replace("{id}", &id).replace("{cluster}", &self.cluster);
        assert!(!real.contains('{'), "there is no example of {pattern}: {real}");
        let unknown = pattern.replace("{id}", &nothing).replace("{cluster}", &nothing);
        let about_something = unknown != *pattern;
        (real, about_something.then_some(unknown))
    }
}

async fn local_storage(app: &App) -> String {
    let name = format!("local {}", app.count("storages"));
    let path = app.folder(&name);
    let page = app.admin().open("/local-storages/new").await;
    page.form("Add local storage").fill("name", &name).fill("path", path.to_str().unwrap()).submit().await.expect_status(200).id()
}

/// Asks for a route as its page or script does, with little typed in.
async fn ask(app: &App, browser: &Browser, (pattern, method): &Route, path: &str) -> Answer {
    if pattern.starts_with("/uploads") {
        return send_upload(app, browser, (pattern, method), path).await;
    }
    if *method != Method::POST {
        return browser.request(method.clone(), path).send().await;
    }
    if pattern.ends_with("/content") || pattern.ends_with("/create") {
        let mut body = Vec::new();
        part(&mut body, "b", "file", Some("image.iso"), &iso("GRID"));
        body.extend_from_slice(b"--b--\r\n");
        return browser.request(Method::POST, path).body("multipart/form-data; boundary=b", body).send().await;
    }
    if pattern.ends_with("/preflight") || pattern.ends_with("/image") {
        let (path, head) = (format!("{path}?name=image.iso&size=98304"), iso("GRID")[..65_536].to_vec());
        return browser.request(Method::POST, &path).json().body("application/octet-stream", head).send().await;
    }
    let cluster = app.text("SELECT id AS t FROM clusters WHERE name = 'Default'");
    let key = vmimg::domain::ids::SubmissionId::new().to_string();
    browser.post(path, &[("version", "1"), ("cluster", &cluster), ("key", &key), ("name", "Default")]).await
}

/// Asks for an upload as a client of the protocol does.
async fn send_upload(app: &App, browser: &Browser, (pattern, method): (&String, &Method), path: &str) -> Answer {
    let request = Tus::from(browser.clone()).request(method.clone(), path);
    let request = match (pattern.as_str(), method.as_str()) {
        ("/uploads", "POST") => {
            let name = format!("sent {}", app.count("images"));
            let metadata = [("filename", "a.iso"), ("storage", &*app.storage("local")), ("name", &*name)];
            request.header("upload-length", "98304").header("upload-metadata", &super::support::tus::encoded(&metadata))
        }
        (_, "PATCH") => request.header("upload-offset", "70000").body("application/offset+octet-stream", iso("GRID")[70_000..].to_vec()),
        (pattern, "POST") if pattern.ends_with("/proof") => {
            let digests: Vec<String> = iso("GRID")[..70_000].chunks(65_536).map(super::support::sha256).collect();
            request.body("application/json", json!({ "block": 65_536, "length": 98_304, "digests": digests }).to_string())
        }
        _ => request,
    };
    request.send().await
}

/// Asks for a route of the API as a program does, with a body that cannot be taken where one is wanted.
async fn ask_as_program(program: &Program, (pattern, method): &Route, path: &str) -> Answer {
    let request = program.request(method.clone(), path.strip_prefix("/api/v1").unwrap());
    let request = match *method {
        Method::PATCH | Method::DELETE | Method::PUT => request.header("if-match", "*"),
        _ => request,
    };
    let request = match (pattern.as_str(), method.as_str()) {
        (pattern, "PUT") if pattern.ends_with("/content") => request.body("application/octet-stream", iso("GRID")),
        ("/api/v1/images", "POST") => {
            request.body("application/json", r#"{"name":"","type":"installation","storage":"","file":{"name":"x.iso","size":1}}"#)
        }
        ("/api/v1/storages", "POST") => request.body("application/json", r#"{"kind":"datastore","name":"","path":""}"#),
        ("/api/v1/clusters", "POST") => request.body("application/json", r#"{"name":""}"#),
        (_, "PATCH") => request.body("application/json", "{}"),
        _ => request,
    };
    request.send().await
}

/// The answer in a word: its status and, for a redirect, where to.
fn word(answer: &Answer) -> String {
    let status = answer.status.as_u16().to_string();
    match answer.location() {
        Some(location) => {
            let path = location.split('?').next().unwrap();
            let parts: Vec<&str> = path.split('/').map(|part| if part.len() == 36 && part.contains('-') { "…" } else { part }).collect();
            format!("{status} {}", parts.join("/"))
        }
        None => status,
    }
}

/// The body without what differs between any two requests, nor what the client itself sent.
fn neutral(answer: &Answer, path: &str) -> Bytes {
    let text = String::from_utf8_lossy(&answer.body).replace(answer.header("x-request-id"), "…");
    Bytes::from(path.split('/').filter(|part| part.len() == 36).fold(text, |text, id| text.replace(id, "…")))
}

/// Somebody who asks: with a browser in the console, with a token at the API.
struct Who {
    email: &'static str,
    browser: Browser,
    program: Option<Program>,
}

impl Who {
    fn new(app: &App, email: &'static str, browser: Browser) -> Self {
        Self { email, browser, program: Some(app.program_of(email, "all")) }
    }

    async fn ask(&mut self, app: &App, route: &Route, path: &str) -> Answer {
        match &self.program {
            Some(program) if route.0.starts_with("/api/v1/") => {
                let answer = ask_as_program(program, route, path).await;
                if route.0 == "/api/v1/token" && answer.status.is_success() {
                    self.program = Some(app.program_of(self.email, "all"));
                }
                answer
            }
            _ => ask(app, &self.browser, route, path).await,
        }
    }
}

async fn grid(start: Start) {
    start.leaves(Left::Transfers).leaves(Left::Jobs);
    let app = start.ready().await;
    app.datastore("kept").await;
    let image = app.image_on("kept", "image", iso("IMAGE")).await;
    let sheet = app.admin().open("/images").await.attributes("link[rel=stylesheet]", "href").remove(0);
    let things = Things {
        image,
        cluster: app.text("SELECT id AS t FROM clusters"),
        host: app.text("SELECT id AS t FROM hosts"),
        asset: sheet.strip_prefix("/assets/").unwrap().to_owned(),
    };
    let mut anonymous = Who { email: "", browser: app.browser(), program: None };
    let mut disabled = Who::new(&app, "dan@example.org", app.user("dan@example.org", "administrator").await);
    app.sql("UPDATE users SET disabled = TRUE WHERE email = 'dan@example.org'");
    let mut nobody = Who::new(&app, "eve@example.org", app.user("eve@example.org", "no_access").await);
    let mut admin = Who::new(&app, ADMIN.0, app.second_admin().await);
    let routes = routes(&app).await;
    assert!(routes.len() > 60, "the router knows {} routes", routes.len());
    let mut lines = "route | anonymous | disabled | no access: there, unknown | administrator: there, unknown\n".to_owned();
    for route in &routes {
        let (pattern, method) = route;
        let (real, unknown) = things.paths(&app, route).await;
        write!(lines, "{method} {pattern} | ").unwrap();
        let outside = [anonymous.ask(&app, route, &real).await, disabled.ask(&app, route, &real).await];
        write!(lines, "{} | {} | ", word(&outside[0]), word(&outside[1])).unwrap();
        // Whoever may not see a thing cannot tell it from one that is not there.
        let seen = nobody.ask(&app, route, &real).await;
        if pattern == "/sign-out" {
            nobody.browser.sign_in("eve@example.org", ADMIN.1).await.expect_path("/images");
        }
        write!(lines, "{}", word(&seen)).unwrap();
        if let Some(unknown) = &unknown {
            let not_there = nobody.ask(&app, route, unknown).await;
            write!(lines, ", {}", word(&not_there)).unwrap();
            if !pattern.starts_with("/assets/") && !pattern.starts_with("/docs/") {
                assert_eq!(word(&seen), word(&not_there), "{method} {pattern} tells what is there");
                let bodies = [neutral(&seen, &real), neutral(&not_there, unknown)];
                assert_eq!(bodies[0], bodies[1], "{method} {pattern} tells what is there");
                assert_eq!(seen.headers.len(), not_there.headers.len(), "{method} {pattern}");
            }
        }
        let administrators = admin.ask(&app, route, &real).await;
        write!(lines, " | {}", word(&administrators)).unwrap();
        if pattern == "/sign-out" {
            admin.browser.sign_in(ADMIN.0, ADMIN.1).await.expect_path("/images");
        }
        if let Some(unknown) = &unknown {
            let not_there = admin.ask(&app, route, unknown).await;
            write!(lines, ", {}", word(&not_there)).unwrap();
            // A wizard begins with a number of the page's own: its first step is there for everybody who may create images.
            let nothing = not_there.status == 404
                || pattern == "/images/new/{draft}/general"
                || pattern.starts_with("/assets/")
                || not_there.status.is_redirection();
            assert!(nothing, "{method} {pattern} for nothing: {}", word(&not_there));
        }
        lines.push('\n');
    }
    app.work().await;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/access_grid.txt");
    if std::env::var("VMIMG_WRITE_ACCESS_GRID").is_ok() {
        fs::write(&golden, &lines).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    for (here, there) in lines.lines().zip(expected.lines()) {
        assert_eq!(here, there, "the grid differs from tests/it/access_grid.txt");
    }
    assert_eq!(lines.lines().count(), expected.lines().count(), "routes came or went: write tests/it/access_grid.txt anew and read it");
}

two_databases! {
    async fn everybody_is_answered_as_the_grid_says(start: Start) {
        grid(start).await;
    }

    async fn nobody_without_a_role_changes_anything_by_any_route(start: Start) {
        let app = start.ready().await;
        let image = app.image("kept", iso("KEPT")).await;
        let things = Things {
            image,
            cluster: app.text("SELECT id AS t FROM clusters"),
            host: app.text("SELECT id AS t FROM hosts"),
            asset: String::new(),
        };
        let nobody = app.user("eve@example.org", "no_access").await;
        start.leaves(Left::Transfers);
        let state = |app: &App| {
            let mut rows = app.rows();
            rows.retain(|table, _| !["events", "sessions", "submissions"].contains(table));
            let images = app.texts("SELECT id || name || note || status || os AS t FROM images ORDER BY id");
            let storages = app.texts("SELECT id || name || path || health AS t FROM storages ORDER BY id");
            let clusters = app.texts("SELECT id || name || note AS t FROM clusters ORDER BY id");
            (rows, images, storages, clusters, app.files())
        };
        let own = ["/account/password", "/account/theme", "/account/preferences", "/images/columns", "/session/extension", "/sign-out", "/sign-in", "/setup", "/account/tokens", "/api/v1/token"];
        let program = app.program_of("eve@example.org", "all");
        for route in routes(&app).await {
            let looks = matches!(route.1, Method::GET | Method::HEAD);
            if looks || own.contains(&route.0.as_str()) {
                continue;
            }
            let (real, _) = things.paths(&app, &route).await;
            let before = state(&app);
            let answer = match route.0.as_str() {
                pattern if pattern.starts_with("/api/v1/") => {
                    let (storage, path) = (app.storage("local"), app.folder("evil"));
                    let body = match (pattern, route.1.as_str()) {
                        ("/api/v1/images", _) => json!({ "name": "evil", "type": "installation", "storage": storage, "file": { "name": "x.iso", "size": 98_304 } }),
                        ("/api/v1/storages", _) => json!({ "kind": "datastore", "name": "evil", "path": path }),
                        _ => json!({ "name": "evil" }),
                    };
                    let request = program.request(route.1.clone(), real.strip_prefix("/api/v1").unwrap()).header("if-match", "*");
                    match pattern.ends_with("/content") {
                        true => request.body("application/octet-stream", iso("GRID")).send().await,
                        false => request.body("application/json", body.to_string()).send().await,
                    }
                }
                pattern if pattern.ends_with("/content") || pattern.ends_with("/preflight") || pattern.starts_with("/images/new/") || pattern.starts_with("/uploads") => ask(&app, &nobody, &route, &real).await,
                // Everything that any of the forms holds.
                _ => {
                    let key = vmimg::domain::ids::SubmissionId::new().to_string();
                    let chosen = format!("{}.1", things.image);
                    let path = app.folder("evil");
                    let fields = [
                        ("version", "1"), ("key", &key), ("name", "evil"), ("note", "evil"), ("path", path.to_str().unwrap()), ("cluster", &things.cluster),
                        ("os", "other"), ("min_vcpu", "1"), ("min_memory_mib", "1"), ("min_disk_gib", "1"), ("chosen", &chosen), ("ids", &things.image),
                    ];
                    nobody.post(&real, &fields).await
                }
            };
            app.work().await;
            // What the protocol can do is told to everybody.
            let told = route.1 == Method::OPTIONS;
            assert!(told || answer.status.is_client_error() || answer.status.is_redirection(), "{} {real}: {}", route.0, answer.status);
            assert_eq!(state(&app), before, "{} {real}", route.0);
        }
    }
}
