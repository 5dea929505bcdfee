//! The headers that every answer carries.

use actix_web::http::Method;
use vmimg::web::assets;

use super::support::{Answer, iso};

fn check(answer: &Answer) {
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("default-src 'none'"), "{}: {policy}", answer.path);
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{}: {policy}", answer.path);
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), value, "{} {name}", answer.path);
    }
    assert!(!answer.header("cache-control").is_empty(), "{}", answer.path);
    assert_eq!(answer.header("x-request-id").len(), 16, "{}", answer.path);
    assert!(answer.header("server").is_empty() && answer.header("x-powered-by").is_empty());
}

two_databases! {
    async fn every_answer_carries_them(start: Start) {
        let app = start.ready().await;
        let image = app.image("x", iso("X")).await;
        let admin = app.admin();
        let css = format!("{}/css/app.css", assets::prefix());
        let paths = ["/", "/images", "/images.csv", "/events", "/settings", "/account", "/nothing", "/images/nonsense", "/setup", "/livez", "/readyz",
            &css, "/assets/0/none.css", &format!("/images/{image}"), &format!("/images/{image}/download")];
        for path in paths {
            check(&admin.get(path).await);
            check(&app.browser().get(path).await);
        }
        check(&admin.request(Method::POST, "/images").send().await.expect(405));
        check(&admin.request(Method::POST, "/sign-out").origin("http://evil.example").send().await.expect(403));
        check(&app.user("bob@example.org", "no_access").await.get("/settings").await.expect(403));
        check(&admin.post("/clusters/new", &[("key", "x")]).await.expect(400));
        check(&app.browser().post("/sign-in", &[("email", "a"), ("password", "b")]).await.expect(422));
    }

    async fn pages_are_kept_by_nobody_and_assets_for_ever(start: Start) {
        let app = start.ready().await;
        for path in ["/images", "/nothing", "/sign-in", "/images.csv", "/events.csv"] {
            assert_eq!(app.admin().get(path).await.header("cache-control"), "no-store", "{path}");
        }
        let browser = app.browser();
        let css = browser.get(&format!("{}/css/app.css", assets::prefix())).await.expect(200);
        assert_eq!(css.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(css.header("content-type"), "text/css; charset=utf-8");
        let etag = css.header("etag").to_owned();
        browser.request(Method::GET, &css.path).header("if-none-match", &etag).send().await.expect(304);
        let old = browser.get("/assets/0123456789abcdef/css/app.css").await.expect(200);
        assert_eq!(old.header("cache-control"), "no-cache");
    }

    async fn an_error_that_nobody_expected_tells_its_number_and_nothing_else(start: Start) {
        let app = start.ready().await;
        app.sql("ALTER TABLE uploads RENAME TO elsewhere");
        let answer = app.admin().get("/images").await.expect(500);
        check(&answer);
        assert!(answer.text().contains(answer.header("x-request-id")), "{}", answer.text());
        for secret in ["uploads", "SELECT", "no such table", "relation", "diesel"] {
            assert!(!answer.text().contains(secret), "{secret}");
        }
        let json = app.admin().request(Method::GET, "/images").json().send().await.expect(500);
        assert_eq!(json.json()["request_id"], json.header("x-request-id"));
        app.sql("ALTER TABLE elsewhere RENAME TO uploads");
    }

    async fn every_script_and_style_is_a_file_of_ours(start: Start) {
        let app = start.ready().await;
        let image = app.image("x", iso("X")).await;
        for path in ["/images", "/images/new", "/events", "/settings", "/account", "/datastores/new", &format!("/images/{image}/edit")] {
            let page = app.admin().open(path).await;
            assert_eq!(page.texts("script:not([src])"), [""; 0], "{path}");
            assert_eq!(page.texts("style, [style]"), [""; 0], "{path}");
            for source in page.attributes("script", "src").into_iter().chain(page.attributes("link[rel=stylesheet]", "href")) {
                assert!(source.starts_with(assets::prefix()), "{path}: {source}");
                app.browser().get(&source).await.expect(200);
            }
            assert!(!page.answer.text().contains(" onclick=") && !page.answer.text().contains("javascript:"));
        }
    }
}
