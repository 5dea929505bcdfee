//! A POST with a key of its own does its work once.

use actix_web::http::Method;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use super::super::support::{Answer, Left, program::Program};

async fn post(program: &Program, path: &str, key: &str, body: &Value) -> Answer {
    let request = program.request(Method::POST, path).header("idempotency-key", key);
    super::super::support::program::checked(request.body("application/json", body.to_string()).send().await)
}

two_databases! {
    async fn a_request_sent_again_gets_the_same_answer(start: Start) {
        start.leaves(Left::Transfers);
        let app = start.ready().await;
        let program = app.program("images");
        let new = json!({ "name": "once", "type": "installation", "storage": app.storage("local"), "file": { "name": "x.iso", "size": 100_000 } });
        let first = post(&program, "/images", "k-1", &new).await.expect(201);
        let (again, lines) = app.events_of(post(&program, "/images", "k-1", &new)).await;
        let again = again.expect(201);
        assert_eq!((again.text(), again.location(), again.header("etag")), (first.text(), first.location(), first.header("etag")));
        assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
        assert_eq!(again.header("content-type"), "application/json");
        assert_eq!((app.count("images"), lines), (1, vec![]));
        // Refusals are answers too.
        let refused = post(&program, "/images", "k-2", &new).await.refused(409, "name.taken");
        app.sql("UPDATE images SET name_key = 'other'");
        let again = post(&program, "/images", "k-2", &new).await.refused(409, "name.taken");
        assert_eq!((again.text(), again.header("idempotency-replayed")), (refused.text(), "true"));
        // Another key is another request, and without a key nothing is remembered.
        post(&program, "/images", "k-3", &new).await.expect(201);
        program.post("/images", new.clone()).await.refused(409, "name.taken");
        // So are bodies that are not there.
        let id = first.json()["id"].as_str().unwrap().to_owned();
        for _ in 0..2 {
            program.request(Method::POST, &format!("/images/{id}/check")).header("idempotency-key", "k-4").send().await.refused(409, "image.incomplete");
        }
    }

    async fn a_key_belongs_to_one_request_of_one_person(start: Start) {
        start.leaves(Left::Transfers);
        let app = start.ready().await;
        let program = app.program("all");
        let cluster = json!({ "name": "Berlin" });
        post(&program, "/clusters", "k", &cluster).await.expect(201);
        post(&program, "/clusters", "k", &json!({ "name": "Potsdam" })).await.refused(422, "idempotency.other_request");
        post(&program, "/images", "k", &cluster).await.refused(422, "idempotency.other_request");
        // Another token of the same person gets the same answer, another person makes a request of their own.
        post(&app.program("all"), "/clusters", "k", &cluster).await.expect(201);
        app.user("bob@example.org", "administrator").await;
        post(&app.program_of("bob@example.org", "all"), "/clusters", "k", &cluster).await.refused(409, "name.taken");
        assert_eq!(app.count("clusters"), 2);
        for key in ["", "a b", "é", &"x".repeat(256)] {
            post(&program, "/clusters", key, &cluster).await.refused(400, "idempotency.key");
        }
        let twice = program.request(Method::POST, "/clusters").header("idempotency-key", "a").header("idempotency-key", "b");
        twice.body("application/json", "{}").send().await.refused(400, "idempotency.key");
        let large = program.request(Method::POST, "/clusters").header("idempotency-key", "large").body("application/json", "x".repeat(65_537)).send().await;
        large.refused(413, "too_large");
        post(&program, "/clusters", &"~".repeat(255), &json!({ "name": "long key" })).await.expect(201);
    }

    async fn two_at_once_do_it_once(start: Start) {
        let app = start.ready().await;
        let program = app.program("all");
        for round in 0..5 {
            let cluster = json!({ "name": format!("cluster {round}") });
            let key = format!("k{round}");
            let answers = join_all((0..6).map(|_| post(&program, "/clusters", &key, &cluster))).await;
            let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
            assert!(!made.is_empty(), "{answers:?}");
            assert_eq!(made.iter().filter(|answer| answer.header("idempotency-replayed").is_empty()).count(), 1);
            for answer in answers.iter().filter(|answer| answer.status != 201) {
                assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str(), answer.header("retry-after")), (409, Some("idempotency.in_progress"), "1"));
            }
            post(&program, "/clusters", &key, &cluster).await.expect(201);
            assert_eq!(app.count("clusters"), 2 + round);
        }
        let (one, other) = join(post(&program, "/clusters", "x1", &json!({ "name": "same" })), post(&program, "/clusters", "x2", &json!({ "name": "same" }))).await;
        let mut statuses = [one.status.as_u16(), other.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);
    }

    async fn a_failure_of_the_service_is_not_remembered(start: Start) {
        let app = start.ready().await;
        let program = app.program("all");
        let cluster = json!({ "name": "Berlin" });
        app.sql("ALTER TABLE events RENAME TO elsewhere");
        post(&program, "/clusters", "k", &cluster).await.refused(500, "unexpected");
        app.sql("ALTER TABLE elsewhere RENAME TO events");
        assert_eq!(app.count("requests"), 0);
        let made = post(&program, "/clusters", "k", &cluster).await.expect(201);
        assert_eq!(made.header("idempotency-replayed"), "");
    }

    async fn a_request_whose_process_ended_does_not_hold_its_key_for_ever_and_a_day_ends_all(start: Start) {
        let app = start.ready().await;
        let program = app.program("all");
        let cluster = json!({ "name": "Berlin" });
        post(&program, "/clusters", "k", &cluster).await.expect(201);
        app.sql("UPDATE requests SET answer = NULL");
        post(&program, "/clusters", "k", &cluster).await.refused(409, "idempotency.in_progress");
        app.sql("UPDATE requests SET created_at = created_at - 601000000");
        post(&program, "/clusters", "k", &cluster).await.refused(409, "name.taken");
        app.sql("UPDATE requests SET created_at = created_at - 86401000000");
        let anew = post(&program, "/clusters", "k", &cluster).await.refused(409, "name.taken");
        assert_eq!(anew.header("idempotency-replayed"), "");
        app.sql("UPDATE requests SET created_at = created_at - 86401000000");
        vmimg::jobs::sweep(&app.service).await.unwrap();
        assert_eq!(app.count("requests"), 0);
    }
}
