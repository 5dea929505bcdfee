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

use super::support::{Answer, App, Browser, Left, Start, app::ADMIN, iso, page::part};

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
        let section = pattern.split('/').nth(1).unwrap_or_default();
        let mut real = pattern.clone();
        if pattern.starts_with("/images/new/{draft}/") {
            let page = app.admin().open("/images/new").await.form("Continue").fill("name", "drafted").submit().await;
            real = real.replace("{draft}", page.path().split('/').nth(3).unwrap());
        }
        let cluster_or_host = |id: &str| id.to_owned();
        let id = match section {
            "images" if changes && pattern.ends_with("/deletion") => app.pending(&format!("gone {}", app.count("images"))).await,
            "images" => self.image.clone(),
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
            .replace("{digest}", "0123456789abcdef")
            .replace("{path:.*}", "app.css");
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
fn neutral(answer: &Answer, id: &str) -> Bytes {
    let text = String::from_utf8_lossy(&answer.body).replace(answer.header("x-request-id"), "…").replace(id, "…");
    Bytes::from(text)
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
    let anonymous = app.browser();
    let disabled = app.user("dan@example.org", "administrator").await;
    app.sql("UPDATE users SET disabled = TRUE WHERE email = 'dan@example.org'");
    let nobody = app.user("eve@example.org", "no_access").await;

    let admin = app.second_admin().await;
    let routes = routes(&app).await;
    assert!(routes.len() > 60, "the router knows {} routes", routes.len());
    let mut lines = "route | anonymous | disabled | no access: there, unknown | administrator: there, unknown\n".to_owned();
    for route in &routes {
        let (pattern, method) = route;
        let (real, unknown) = things.paths(&app, route).await;
        write!(lines, "{method} {pattern} | ").unwrap();
        let outside = [ask(&app, &anonymous, route, &real).await, ask(&app, &disabled, route, &real).await];
        write!(lines, "{} | {} | ", word(&outside[0]), word(&outside[1])).unwrap();
        // Whoever may not see a thing cannot tell it from one that is not there.
        let seen = ask(&app, &nobody, route, &real).await;
        if pattern == "/sign-out" {
            nobody.sign_in("eve@example.org", ADMIN.1).await.expect_path("/images");
        }
        write!(lines, "{}", word(&seen)).unwrap();
        if let Some(unknown) = &unknown {
            let not_there = ask(&app, &nobody, route, unknown).await;
            write!(lines, ", {}", word(&not_there)).unwrap();
            if !pattern.starts_with("/assets/") {
                assert_eq!(word(&seen), word(&not_there), "{method} {pattern} tells what is there");
                let ids = |path: &str| path.split('/').find(|part| part.len() == 36).unwrap_or("-").to_owned();
                let bodies = [neutral(&seen, &ids(&real)), neutral(&not_there, &ids(unknown))];
                assert_eq!(bodies[0], bodies[1], "{method} {pattern} tells what is there");
                assert_eq!(seen.headers.len(), not_there.headers.len(), "{method} {pattern}");
            }
        }
        let administrators = ask(&app, &admin, route, &real).await;
        write!(lines, " | {}", word(&administrators)).unwrap();
        if pattern == "/sign-out" {
            admin.sign_in(ADMIN.0, ADMIN.1).await.expect_path("/images");
        }
        if let Some(unknown) = &unknown {
            let not_there = ask(&app, &admin, route, unknown).await;
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
        let state = |app: &App| {
            let mut rows = app.rows();
            rows.retain(|table, _| !["events", "sessions", "submissions"].contains(table));
            let images = app.texts("SELECT id || name || note || status || os AS t FROM images ORDER BY id");
            let storages = app.texts("SELECT id || name || path || health AS t FROM storages ORDER BY id");
            let clusters = app.texts("SELECT id || name || note AS t FROM clusters ORDER BY id");
            (rows, images, storages, clusters, app.files())
        };
        let own = ["/account/password", "/account/theme", "/account/preferences", "/images/columns", "/session/extension", "/sign-out", "/sign-in", "/setup"];
        for route in routes(&app).await {
            if route.1 != Method::POST || own.contains(&route.0.as_str()) {
                continue;
            }
            let (real, _) = things.paths(&app, &route).await;
            let before = state(&app);
            let answer = match route.0.as_str() {
                pattern if pattern.ends_with("/content") || pattern.ends_with("/preflight") || pattern.starts_with("/images/new/") => ask(&app, &nobody, &route, &real).await,
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
            assert!(answer.status.is_client_error() || answer.status.is_redirection(), "{} {real}: {}", route.0, answer.status);
            assert_eq!(state(&app), before, "{} {real}", route.0);
        }
    }
}
