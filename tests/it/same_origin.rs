//! Changes come from the console's own pages, or they are refused before a byte of them is read.

use actix_web::http::Method;

use super::support::{App, routes};

/// Every path that takes a POST, with identifiers in it that exist or not.
fn changes(app: &App) -> Vec<String> {
    let storage = app.storage("local");
    let of = routes::all().into_iter().filter(|route| route.method == "POST");
    of.map(|route| route.path.replace("{id}", &storage).replace("{draft}", &storage).replace("{cluster}", &storage)).collect()
}

two_databases! {
    async fn every_change_from_elsewhere_is_refused_and_nothing_changes(start: Start) {
        let app = start.ready().await;
        let before = (app.rows(), app.files());
        let all = changes(&app);
        assert!(all.len() > 30, "{all:?}");
        for path in all {
            let asked = || app.admin().request(Method::POST, &path).form(&[("name", "x"), ("key", "0190a000-0000-7000-8000-000000000000")]);
            let answers = [
                asked().without_origin().send().await,
                asked().origin("http://evil.example").send().await,
                asked().origin("null").send().await,
                asked().origin("http://console.test:81").send().await,
                asked().origin("http://sub.console.test").send().await,
                asked().header("sec-fetch-site", "cross-site").send().await,
                asked().header("sec-fetch-site", "same-site").send().await,
            ];
            for (n, answer) in answers.into_iter().enumerate() {
                if path.starts_with("/api/") {
                    // A browser's cookies open nothing there, wherever the request comes from.
                    assert_eq!(answer.status, 401, "{path} {n}");
                    continue;
                }
                assert_eq!(answer.status, 403, "{path} {n}");
                assert!(answer.text().contains("The request did not come from a page of this console."), "{path} {n}");
            }
        }
        assert_eq!((app.rows(), app.files()), before);
    }

    async fn other_methods_are_looked_at_as_well_and_no_origin_is_allowed_in(start: Start) {
        let app = start.ready().await;
        for method in [Method::PUT, Method::PATCH, Method::DELETE] {
            app.admin().request(method.clone(), "/images").origin("http://evil.example").send().await.expect(403);
            app.admin().request(method, "/images").send().await.expect(405);
        }
        let preflight = app.admin().request(Method::OPTIONS, "/images").origin("http://evil.example")
            .header("access-control-request-method", "DELETE").send().await;
        assert!(!preflight.status.is_success());
        assert!(preflight.headers.iter().all(|(name, _)| !name.as_str().starts_with("access-control")));
        let overridden = app.admin().request(Method::POST, "/clusters").header("x-http-method-override", "DELETE").send().await;
        overridden.expect(405);
    }

    async fn the_public_address_is_the_one_that_counts(start: Start) {
        start.with("public_url", "https://images.example.org");
        let app = start.open().await;
        let post = |origin: &'static str| app.browser().request(Method::POST, "/sign-in").origin(origin).form(&[("email", "a"), ("password", "b")]).send();
        post("http://console.test").await.expect(403);
        post("https://images.example.org").await.expect(422);
        let answer = app.browser().get("/sign-in").await.expect(200);
        assert!(answer.header("strict-transport-security").starts_with("max-age="));
    }
}
