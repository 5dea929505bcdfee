//! Tokens: made and revoked in the console and on the command line; what they open, and what not.

use actix_web::http::Method;
use serde_json::json;

use super::super::support::{App, Left, app::ADMIN, iso};

fn hash_of(token: &str) -> String {
    vmimg::secret::digest(token)
}

async fn made(app: &App, scopes: &[&str]) -> (String, String) {
    let page = app.admin().open("/account/tokens").await;
    let key = page.attributes("input[name=key]", "value").remove(0);
    let mut fields = vec![("key", key.as_str()), ("name", "backup on nas1"), ("days", "30")];
    fields.extend(scopes.iter().map(|scope| ("scope", *scope)));
    let answer = app.admin().post("/account/tokens", &fields).await.expect(201);
    let page = app.admin().follow(answer).await;
    let token = page.texts("#token").remove(0);
    (token, app.text("SELECT id AS t FROM tokens ORDER BY created_at DESC LIMIT 1"))
}

async fn account(app: &App, token: &str) -> super::super::support::Answer {
    app.browser().request(Method::GET, "/api/v1/account").header("authorization", &format!("Bearer {token}")).send().await
}

two_databases! {
    async fn a_token_is_shown_once_and_kept_as_a_digest(start: Start) {
        let app = start.ready().await;
        let ((token, id), lines) = app.events_of(made(&app, &["read", "download"])).await;
        assert!(vmimg::secret::is_program_token(&token), "{token}");
        assert_eq!(lines, ["Ada create_token done backup on nas1 – For read download, 30 days."]);
        let page = app.admin().open("/account/tokens").await;
        page.expect("backup on nas1").expect("read, download").expect("never");
        assert!(!page.answer.text().contains(&token));
        assert_eq!(app.texts("SELECT token_hash AS t FROM tokens"), [hash_of(&token)]);
        for text in app.events() {
            assert!(!text.contains(&token));
        }
        let who = account(&app, &token).await.expect(200).json();
        assert_eq!((who["user"]["email"].as_str(), who["user"]["name"].as_str()), (Some(ADMIN.0), Some("Ada")));
        assert_eq!((&who["token"]["id"], &who["token"]["scopes"]), (&json!(id), &json!(["read", "download"])));
        assert!(who["token"]["expires_at"].as_str().unwrap().ends_with('Z'));
    }

    async fn a_form_sent_twice_makes_one_token(start: Start) {
        let app = start.ready().await;
        let key = vmimg::domain::ids::SubmissionId::new().to_string();
        let fields = [("key", &*key), ("name", "twice"), ("days", "1"), ("scope", "all")];
        app.admin().post("/account/tokens", &fields).await.expect(201);
        let again = app.admin().post("/account/tokens", &fields).await;
        app.admin().follow(again.expect(303)).await.expect("is not shown again");
        assert_eq!(app.count("tokens"), 1);
    }

    async fn faults_stand_beside_their_fields(start: Start) {
        let app = start.ready().await;
        for (name, scopes, days, field, code) in [
            ("", vec!["read"], "1", "name", "Give a name."),
            ("x", vec![], "1", "scope", "Choose what the token may be used for."),
            ("x", vec!["write"], "1", "scope", "“write” is no scope."),
            ("x", vec!["read"], "0", "days", "from 1 to 365"),
            ("x", vec!["read"], "366", "days", "from 1 to 365"),
            ("x", vec!["read"], "1e2", "days", "from 1 to 365"),
        ] {
            let key = vmimg::domain::ids::SubmissionId::new().to_string();
            let mut fields = vec![("key", &*key), ("name", name), ("days", days)];
            fields.extend(scopes.iter().map(|scope| ("scope", *scope)));
            let page = app.admin().follow(app.admin().post("/account/tokens", &fields).await.expect(422)).await;
            let faults = page.faults();
            assert!(faults.len() == 1 && faults[0].starts_with(field) && faults[0].contains(code), "{faults:?}");
        }
        assert_eq!(app.count("tokens"), 0);
    }

    async fn who_shows_no_valid_token_is_not_let_in(start: Start) {
        let app = start.ready().await;
        let program = app.program("all");
        let ask = |value: Option<&str>| {
            let request = app.admin().request(Method::GET, "/api/v1/account");
            match value {
                Some(value) => request.header("authorization", value),
                None => request,
            }
        };
        for value in [None, Some(""), Some("Basic YTpi"), Some("Bearer"), Some(&*program.token)] {
            let answer = ask(value).send().await.refused(401, "token.missing");
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{value:?}");
        }
        let other = vmimg::secret::program_token();
        let shorter = &program.token[..46];
        for token in ["x", "vmi_", shorter, &other, &program.token.to_uppercase(), &hash_of(&program.token), &app.admin().cookie("vmimg-session").unwrap()] {
            let answer = account(&app, token).await.refused(401, "token.invalid");
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{token}");
        }
        let bearer = format!("Bearer {}", program.token);
        ask(Some(&bearer)).header("authorization", &bearer).send().await.refused(401, "token.missing");
        for fine in [bearer.clone(), format!("bearer {}", program.token), format!("BEARER  {}", program.token)] {
            ask(Some(&fine)).send().await.expect(200);
        }
        // What is below /api/v1 and not there is not told to strangers either.
        app.browser().get("/api/v1/nothing").await.refused(401, "token.missing");
        app.browser().get("/api/v1").await.refused(401, "token.missing");
        app.browser().get("/api/v2/images").await.refused(404, "not_found");
    }

    async fn a_session_opens_nothing_and_an_origin_closes_nothing(start: Start) {
        let app = start.ready().await;
        let program = app.program("images");
        app.admin().get("/api/v1/images").await.refused(401, "token.missing");
        app.admin().request(Method::DELETE, "/api/v1/token").send().await.refused(401, "token.missing");
        let id = program.announce("x", &iso("X")).await;
        let sent = program.request(Method::PATCH, &format!("/images/{id}")).header("origin", "http://evil.example").header("sec-fetch-site", "cross-site")
            .header("cookie", "vmimg-session=0").header("if-match", "*").body("application/json", r#"{"note":"n"}"#).send().await;
        sent.expect(200);
        let preflight = program.request(Method::OPTIONS, "/images").header("origin", "http://evil.example").header("access-control-request-method", "POST").send().await;
        let preflight = preflight.refused(405, "method_not_allowed");
        assert!(preflight.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
        // And a token opens no page of the console.
        let page = app.browser().request(Method::GET, "/images").header("authorization", &format!("Bearer {}", program.token)).send().await;
        assert_eq!(page.status, 303);
        start.leaves(Left::Transfers);
    }

    async fn an_ended_token_opens_nothing(start: Start) {
        let app = start.ready().await;
        let program = app.program("all");
        program.get("/images").await.expect(200);
        app.sql(&format!("UPDATE tokens SET expires_at = 1 WHERE id = '{}'", program.id));
        program.get("/images").await.refused(401, "token.invalid");
        app.admin().open("/account/tokens").await.expect("Expired");

        let (token, id) = made(&app, &["all"]).await;
        let page = app.admin().open(&format!("/account/tokens/{id}/revocation")).await;
        page.expect("Revoke token “backup on nas1”?");
        let (page, lines) = app.events_of(page.form("Revoke token").submit()).await;
        page.expect_path("/account/tokens").expect("Token backup on nas1 is revoked.");
        assert_eq!(lines, ["Ada revoke_token done backup on nas1 – "]);
        account(&app, &token).await.refused(401, "token.invalid");
        app.admin().get(&format!("/account/tokens/{id}/revocation")).await.expect(404);

        let program = app.program("read");
        program.request(Method::DELETE, "/token").send().await.expect(204);
        program.get("/account").await.refused(401, "token.invalid");

        app.user("dan@example.org", "administrator").await;
        let program = app.program_of("dan@example.org", "all");
        program.get("/images").await.expect(200);
        app.sql("UPDATE users SET disabled = TRUE WHERE email = 'dan@example.org'");
        program.get("/images").await.refused(401, "token.invalid");
        app.sql("UPDATE users SET disabled = FALSE, role = 'no_access' WHERE email = 'dan@example.org'");
        assert_eq!(program.get("/images").await.expect(200).json()["items"], json!([]));
        program.get("/events").await.refused(403, "not_allowed");
    }

    async fn nobody_sees_or_revokes_the_tokens_of_others(start: Start) {
        let app = start.ready().await;
        let (token, id) = made(&app, &["all"]).await;
        let bob = app.user("bob@example.org", "administrator").await;
        assert!(!bob.open("/account/tokens").await.says("backup on nas1"));
        bob.get(&format!("/account/tokens/{id}/revocation")).await.expect(404);
        bob.post(&format!("/account/tokens/{id}/revocation"), &[]).await.expect(404);
        account(&app, &token).await.expect(200);
    }

    async fn a_token_does_what_its_scopes_say(start: Start) {
        let app = start.ready().await;
        let whole = app.program("all");
        let id = whole.image("x", &iso("X")).await;
        let (image, content) = (format!("/images/{id}"), format!("/images/{id}/content"));
        let cluster = app.text("SELECT id AS t FROM clusters");
        // Method, path, body, the scopes that open it.
        let rows: Vec<(Method, String, Option<serde_json::Value>, &[&str])> = vec![
            (Method::GET, "/images".into(), None, &["read", "images", "storages", "all"]),
            (Method::GET, image.clone(), None, &["read", "images", "storages", "all"]),
            (Method::GET, "/storages".into(), None, &["read", "images", "storages", "all"]),
            (Method::GET, "/clusters".into(), None, &["read", "images", "storages", "all"]),
            (Method::GET, "/hosts".into(), None, &["read", "images", "storages", "all"]),
            (Method::GET, "/events".into(), None, &["read", "images", "storages", "all"]),
            (Method::GET, "/settings".into(), None, &["read", "images", "storages", "all"]),
            (Method::GET, "/operating-systems".into(), None, &["read", "images", "storages", "all"]),
            (Method::GET, content, None, &["download", "all"]),
            (Method::PATCH, image.clone(), Some(json!({ "note": "n" })), &["images", "all"]),
            (Method::POST, format!("{image}/check"), None, &["images", "all"]),
            (Method::PATCH, format!("/clusters/{cluster}"), Some(json!({ "note": "n" })), &["storages", "all"]),
            (Method::GET, "/account".into(), None, &["read", "download", "images", "storages", "all"]),
        ];
        for scope in ["read", "download", "images", "storages", "all"] {
            let program = app.program(scope);
            for (method, path, body, open) in &rows {
                let mut request = program.request(method.clone(), path).header("if-match", "*");
                if *method == Method::GET {
                    request = program.request(method.clone(), path);
                }
                if let Some(body) = body {
                    request = request.body("application/json", body.to_string());
                }
                let (answer, lines) = app.events_of(request.send()).await;
                if open.contains(&scope) {
                    answer.expect(200);
                } else {
                    let refused = answer.refused(403, "token.scope");
                    assert!(refused.json()["detail"].as_str().unwrap().contains(&format!("made for {scope}.")), "{}", refused.text());
                    assert!(lines.len() == 1 && lines[0].contains("denied"), "{lines:?}");
                }
            }
        }
        app.work().await;
    }

    async fn a_use_is_noted_once_a_minute(start: Start) {
        let app = start.ready().await;
        let program = app.program("read");
        let used = || app.number("SELECT COALESCE(MAX(last_used_at), 0) AS n FROM tokens");
        assert_eq!(used(), 0);
        program.get("/account").await.expect(200);
        let first = used();
        assert!(first > 0);
        program.get("/account").await.expect(200);
        assert_eq!(used(), first);
        app.sql("UPDATE tokens SET last_used_at = last_used_at - 61000000");
        program.get("/account").await.expect(200);
        assert!(used() >= first);
    }

    async fn tokens_have_a_number_and_an_end(start: Start) {
        let app = start.ready().await;
        for _ in 0..100 {
            app.program("read");
        }
        let full = vmimg::operations::manage_tokens::create_for(&app.service, ADMIN.0, &vmimg::operations::manage_tokens::Asked { name: "x".into(), scopes: vec!["read".into()], days: "1".into() });
        assert!(full.is_err_and(|failed| failed.to_string().contains("100 tokens")));
        app.sql("UPDATE tokens SET expires_at = 1");
        vmimg::jobs::sweep(&app.service).await.unwrap();
        assert_eq!(app.count("tokens"), 0);
    }
}
