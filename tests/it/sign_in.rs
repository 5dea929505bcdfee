//! Signing in and out, sessions and their ends.

use super::support::{App, app::ADMIN};

/// Moves all that is remembered of failed sign-ins into the past, as if somebody had waited.
fn wait(app: &App, seconds: i64) {
    app.sql(&format!("UPDATE sign_in_failures SET last_at = last_at - {}", seconds * 1_000_000));
}

/// As if so many more guesses had been made just now: waits are long enough then to be seen by a slow test.
fn guess(app: &App, times: i64) {
    let now = vmimg::clock::now().micros();
    app.sql(&format!("UPDATE sign_in_failures SET failures = failures + {times}, last_at = {now}"));
}

two_databases! {
    async fn a_wrong_name_and_a_wrong_password_get_the_same_answer(start: Start) {
        let app = start.ready().await;
        let mut answers = Vec::new();
        for (email, password) in [(ADMIN.0, "a wrong password"), ("nobody@example.org", ADMIN.1), ("not an address", ""), (ADMIN.0, "")] {
            let browser = app.browser();
            let page = browser.sign_in(email, password).await;
            page.expect_status(422).expect("E-mail address and password do not belong together.");
            assert!(browser.cookie("vmimg-session").is_none());
            answers.push(page.answer.text().replace(email, "EMAIL"));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1);
        app.browser().sign_in(" ADA@example.org ", ADMIN.1).await;
        app.browser().sign_in("ADA@Example.ORG", ADMIN.1).await.expect_path("/images");
    }

    async fn who_guesses_waits_longer_each_time_and_the_right_person_gets_in_later(start: Start) {
        let app = start.ready().await;
        for _ in 0..5 {
            app.browser().sign_in(ADMIN.0, "a wrong password").await.expect_status(422);
        }
        guess(&app, 4);
        let mut waits = Vec::new();
        for _ in 0..4 {
            // Even the right password waits, or guessing would go on behind the refusal.
            let refused = app.browser().sign_in(ADMIN.0, ADMIN.1).await;
            refused.expect_status(429).expect("Too many attempts");
            let seconds: i64 = refused.answer.header("retry-after").parse().unwrap();
            waits.push(seconds);
            wait(&app, seconds + 1);
            app.browser().sign_in(ADMIN.0, "a wrong password").await.expect_status(422);
        }
        assert!(waits.windows(2).all(|pair| pair[1] >= pair[0]) && waits[3] > waits[0], "{waits:?}");
        wait(&app, 3_600);
        app.browser().sign_in(ADMIN.0, ADMIN.1).await.expect_path("/images");
        app.browser().sign_in(ADMIN.0, ADMIN.1).await.expect_path("/images");
    }

    async fn an_unknown_name_waits_like_a_known_one(start: Start) {
        let app = start.ready().await;
        for _ in 0..5 {
            app.browser().sign_in("nobody@example.org", "a wrong password").await.expect_status(422);
        }
        guess(&app, 4);
        app.browser().sign_in("nobody@example.org", "a wrong password").await.expect_status(429);
        app.browser().sign_in(ADMIN.0, ADMIN.1).await.expect_path("/images");
    }

    async fn one_password_tried_on_many_names_makes_the_address_wait(start: Start) {
        let app = start.ready().await;
        let guesser = app.browser().at([203, 0, 113, 9]);
        for n in 0..30 {
            guesser.sign_in(&format!("user{n}@example.org"), "the same guess").await.expect_status(422);
        }
        guess(&app, 4);
        guesser.sign_in("user30@example.org", "the same guess").await.expect_status(429);
        app.browser().at([203, 0, 113, 10]).sign_in(ADMIN.0, ADMIN.1).await.expect_path("/images");
    }

    async fn failures_stand_in_the_log_by_address_and_minute(start: Start) {
        let app = start.ready().await;
        for address in [[203, 0, 113, 1], [203, 0, 113, 2], [203, 0, 113, 1]] {
            app.browser().at(address).sign_in("eve@example.org", "a wrong password").await.expect_status(422);
        }
        // As if the minute were over.
        let subjects = app.texts("SELECT subject AS t FROM sign_in_failures WHERE subject LIKE 'minute %'");
        for subject in subjects {
            let words: Vec<&str> = subject.split(' ').collect();
            let past = format!("minute {} {}", words[1].parse::<i64>().unwrap() - 2, words[2]);
            app.sql(&format!("UPDATE sign_in_failures SET subject = '{past}' WHERE subject = '{subject}'"));
        }
        let ((), lines) = app.events_of(async { vmimg::jobs::sweep(&app.service).await.unwrap() }).await;
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("nobody sign_in failed  – 2 failed in the minute from "), "{lines:?}");
        assert!(lines[1].starts_with("nobody sign_in failed  – 1 failed in the minute from "), "{lines:?}");
        let ((), again) = app.events_of(async { vmimg::jobs::sweep(&app.service).await.unwrap() }).await;
        assert_eq!(again, [""; 0]);
    }

    async fn a_session_ends_when_somebody_signs_out(start: Start) {
        let app = start.ready().await;
        let browser = app.admin();
        let token = browser.cookie("vmimg-session").unwrap();
        assert_eq!(app.count(&format!("sessions WHERE token_hash = '{token}'")), 0, "only a digest is kept");
        browser.open("/images").await.form("Sign out").submit().await.expect("You are signed out.");
        assert!(browser.cookie("vmimg-session").is_none());
        browser.set_cookie("vmimg-session", Some(&token));
        browser.open("/images").await.expect("Sign in");
        assert_eq!(app.events().last().unwrap(), "Ada sign_out done Ada – ");
    }

    async fn a_new_password_ends_the_sessions_elsewhere(start: Start) {
        let app = start.ready().await;
        let (here, elsewhere) = (app.admin(), app.second_admin().await);
        let page = here.open("/account").await;
        let fill = |old: &str, new: &str| page.form("Change password").fill("password", old).fill("new_password", new);
        let back = fill("not the present one", "a new long password").submit().await;
        assert_eq!(back.faults(), ["password: This is not your present password."]);
        fill(ADMIN.1, "short").submit().await.expect_status(422);
        elsewhere.open("/images").await.expect_path("/images");
        fill(ADMIN.1, "a new long password").submit().await.expect("Your password is changed.");
        here.open("/images").await.expect_path("/images");
        elsewhere.open("/images").await.expect("Sign in");
        app.browser().sign_in(ADMIN.0, ADMIN.1).await.expect_status(422);
        app.browser().sign_in(ADMIN.0, "a new long password").await.expect_path("/images");
    }

    async fn a_session_ends_when_nothing_is_clicked_or_after_the_longest_time(start: Start) {
        let app = start.ready().await;
        for column in ["seen_at", "created_at"] {
            let browser = app.second_admin().await;
            let hours = if column == "seen_at" { 1 } else { 13 };
            app.sql(&format!("UPDATE sessions SET {column} = {column} - {}", hours * 3_600_000_000_i64));
            browser.open("/images").await.expect("Sign in");
        }
        vmimg::jobs::sweep(&app.service).await.unwrap();
        assert_eq!(app.count("sessions"), 0);
    }

    async fn what_a_page_does_by_itself_keeps_nobody_signed_in(start: Start) {
        let app = start.ready().await;
        let seen = |app: &App| app.number("SELECT MAX(seen_at) AS n FROM sessions");
        app.sql("UPDATE sessions SET seen_at = seen_at - 600000000");
        let before = seen(&app);
        let admin = app.admin();
        admin.request(actix_web::http::Method::GET, "/images").header("x-background", "1").send().await.expect(200);
        assert_eq!(seen(&app), before);
        admin.post("/session/extension", &[]).await.expect(200);
        assert!(seen(&app) > before);
    }

    async fn somebody_who_is_disabled_is_out_at_once(start: Start) {
        let app = start.ready().await;
        let browser = app.user("bob@example.org", "administrator").await;
        app.sql("UPDATE users SET disabled = true WHERE email = 'bob@example.org'");
        browser.open("/images").await.expect("Sign in");
        app.browser().sign_in("bob@example.org", ADMIN.1).await.expect_status(422);
    }

    async fn a_session_is_new_after_signing_in_and_forged_ones_are_none(start: Start) {
        let app = start.ready().await;
        let browser = app.browser();
        let planted = "0".repeat(64);
        browser.set_cookie("vmimg-session", Some(&planted));
        browser.open("/images").await.expect("Sign in");
        browser.sign_in(ADMIN.0, ADMIN.1).await.expect_path("/images");
        let token = browser.cookie("vmimg-session").unwrap();
        assert_ne!(token, planted);
        for forged in ["", "x", &token[..63], &format!("{token}0"), &token.to_uppercase()] {
            browser.set_cookie("vmimg-session", Some(forged));
            browser.open("/images").await.expect("Sign in");
        }
    }

    async fn a_deep_link_is_kept_and_leads_nowhere_else(start: Start) {
        let app = start.ready().await;
        let browser = app.browser();
        let page = browser.open("/events?action=sign_in&outcome=done").await;
        let page = page.form("Sign in").fill("email", ADMIN.0).fill("password", ADMIN.1).submit().await;
        page.expect_path("/events?action=sign_in&outcome=done");
        for evil in ["//evil.example", "https:evil", "https://evil.example/", "/\\evil", "/%0d%0aSet-Cookie: a=b", "evil", "javascript:alert(1)"] {
            let browser = app.browser();
            let answer = browser.post("/sign-in", &[("email", ADMIN.0), ("password", ADMIN.1), ("next", evil)]).await.expect(303);
            let location = answer.location().unwrap().to_owned();
            assert!(location == "/images" || location.starts_with("/%0d"), "{evil} led to {location}");
            let query = serde_html_form::to_string([("next", evil)]).unwrap();
            let shown = browser.get(&format!("/sign-in?{query}")).await.expect(303);
            assert!(!shown.location().unwrap().contains("evil."), "{evil}");
        }
    }

    async fn a_form_sent_after_the_end_of_the_session_is_kept_and_goes_on(start: Start) {
        let app = start.ready().await;
        let browser = app.admin();
        let form = browser.open("/clusters/new").await.form("Add cluster").fill("name", "North & <South>").fill("note", "kept\nas typed");
        browser.set_cookie("vmimg-session", None);
        let page = form.submit().await;
        page.expect_status(401).expect("Your session has ended.");
        assert_eq!(app.count("clusters"), 1);
        let again = page.form("Sign in").fill("email", ADMIN.0).fill("password", "a wrong password").submit().await;
        again.expect_status(422);
        let page = again.form("Sign in").fill("email", ADMIN.0).fill("password", ADMIN.1).submit().await;
        page.expect("You are signed in again").expect("North & <South>");
        page.form("Continue").submit().await.expect("North & <South>").expect("is added.");
        assert_eq!(app.texts("SELECT note AS t FROM clusters WHERE name LIKE 'North%'"), ["kept\nas typed"]);
    }

    async fn a_password_is_never_shown_or_too_long_to_look_at(start: Start) {
        let app = start.ready().await;
        let page = app.browser().sign_in(ADMIN.0, "a secret that is wrong").await;
        assert!(!page.answer.text().contains("a secret that is wrong"));
        app.browser().sign_in(ADMIN.0, &"x".repeat(5_000)).await.expect_status(422);
        let huge = "x".repeat(300_000);
        app.browser().post("/sign-in", &[("email", ADMIN.0), ("password", &huge)]).await.expect(413);
        app.browser().post("/sign-in", &[("email", ADMIN.0), ("password", "a"), ("password", "b")]).await.expect(400);
        let json = app.browser().request(actix_web::http::Method::POST, "/sign-in").body("application/json", "{}").send().await;
        json.expect(415);
    }

    async fn nobody_makes_a_session_by_looking(start: Start) {
        let app = start.ready().await;
        let before = app.rows();
        for path in ["/", "/images", "/sign-in", "/livez", "/readyz", "/nothing", "/setup"] {
            app.browser().get(path).await;
        }
        assert_eq!(app.rows(), before);
    }
}
