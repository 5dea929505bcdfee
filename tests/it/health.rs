//! What those who watch over the service are told.

use std::{
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

use actix_web::http::Method;
use vmimg::{
    db::{figures, jobs, jobs::Kind as JobKind},
    domain::image::Stored,
    operations::Failure,
};

use super::support::{App, Left, iso};

/// Takes every connection there is until the answered function is called.
fn take_all_connections(app: &App) -> impl FnOnce() + use<> {
    let (readers, writers) = app.service.db.places();
    let everybody = usize::try_from(readers + writers + 1).unwrap();
    let (taken, given_back) = (Arc::new(Barrier::new(everybody)), Arc::new(Barrier::new(everybody)));
    let threads: Vec<_> = (0..readers + writers)
        .map(|at| {
            let (db, taken, given_back) = (app.service.db.clone(), taken.clone(), given_back.clone());
            std::thread::spawn(move || {
                let hold = || {
                    taken.wait();
                    given_back.wait();
                    Ok(())
                };
                let held: Result<(), Failure> = if at < readers { db.read_now(|_| hold()) } else { db.write_now(|_| hold()) };
                held.unwrap();
            })
        })
        .collect();
    taken.wait();
    move || {
        given_back.wait();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

two_databases! {
    async fn a_database_that_hangs_is_told_in_time_and_the_process_is_alive(start: Start) {
        let app = start.ready().await;
        let (admin, anybody) = (app.admin(), app.browser());
        anybody.get("/readyz").await.expect(200);
        let give_back = take_all_connections(&app);
        let begun = Instant::now();
        let many: Vec<_> = (0..40).map(|_| anybody.get("/readyz")).collect();
        let asked = admin.get("/readyz?verbose");
        let (asked, many) = futures_util::future::join(asked, futures_util::future::join_all(many)).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        for answer in many.into_iter().chain([asked]) {
            let answer = answer.expect(503);
            assert_eq!(answer.text(), "the database does not answer\n");
            assert_eq!((answer.header("content-type"), answer.header("retry-after")), ("text/plain; charset=utf-8", "5"));
        }
        // Who is signed in does not matter to these, so nobody asks the database for it.
        let begun = Instant::now();
        for path in ["/livez", "/version", &format!("{}/css/app.css", vmimg::web::assets::prefix())] {
            admin.get(path).await.expect(200);
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        let json = anybody.request(Method::GET, "/healthz").json().send().await.expect(503);
        assert_eq!(json.json(), serde_json::json!({ "ready": false, "detail": "the database does not answer" }));
        give_back();
        assert_eq!(anybody.get("/healthz").await.expect(200).text(), "ready\n");
    }

    async fn a_schema_that_is_old_or_gone_is_not_ready(start: Start) {
        let app = start.ready().await;
        let versions = app.text("SELECT MAX(version) AS t FROM __diesel_schema_migrations");
        app.sql(&format!("DELETE FROM __diesel_schema_migrations WHERE version = '{versions}'"));
        assert_eq!(app.browser().get("/readyz").await.expect(503).text(), "the database's schema is not up to date\n");
        app.sql(&format!("INSERT INTO __diesel_schema_migrations (version) VALUES ('{versions}')"));
        // A newer process may have added to the schema while this one still runs.
        app.sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')");
        app.browser().get("/readyz").await.expect(200);
        app.sql("ALTER TABLE __diesel_schema_migrations RENAME TO elsewhere");
        app.browser().get("/readyz").await.expect(503);
        app.sql("ALTER TABLE elsewhere RENAME TO __diesel_schema_migrations");
        app.browser().get("/readyz").await.expect(200);
    }

    async fn administrators_are_told_everything_and_nobody_else_is(start: Start) {
        let app = start.ready().await;
        app.datastore("nas").await;
        std::fs::remove_file(app.path_of("nas").join(".vmimg-storage.json")).unwrap();
        vmimg::jobs::watch_storages(&app.service).await.unwrap();
        let told = app.admin().get("/readyz?verbose").await.expect(200);
        let lines: Vec<&str> = told.text().lines().collect();
        assert_eq!(lines[0], "ready");
        for line in ["[good] database: ", "[good] migrations: all have run", "[good] storage “local”: Healthy, ", "[degraded] storage “nas”: Degraded since ", "[good] jobs: 0 waiting, 0 running, 0 to be tried again"] {
            assert_eq!(lines.iter().filter(|found| found.starts_with(line)).count(), 1, "{line}: {lines:?}");
        }
        let json = app.admin().request(Method::GET, "/readyz?verbose").json().send().await.expect(200).json();
        assert_eq!(json["checks"].as_array().unwrap().len(), 5, "{json}");
        for other in [app.browser(), app.user("bob@example.org", "no_access").await] {
            assert_eq!(other.get("/readyz?verbose").await.expect(200).text(), "ready\n");
        }
    }

    async fn a_service_that_was_told_to_stop_is_not_ready_and_ends_its_connections(start: Start) {
        let app = start.ready().await;
        app.service.life.stop();
        assert_eq!(app.browser().get("/readyz").await.expect(503).text(), "the service is stopping\n");
        app.browser().get("/livez").await.expect(200);
        let answer = app.call(actix_web::test::TestRequest::get().uri("/livez")).await;
        assert!(!answer.response().head().keep_alive());
    }

    async fn what_runs_and_where_to_report_a_weakness(start: Start) {
        let app = start.with("security_contact", "security@example.org").with("public_url", "http://console.test").ready().await;
        let version = app.browser().get("/version").await.expect(200).json();
        assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
        assert!(version["commit"].as_str().is_some_and(|commit| !commit.is_empty()));
        let answer = app.browser().get("/.well-known/security.txt").await.expect(200);
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        let lines: Vec<(&str, &str)> = answer.text().lines().map(|line| line.split_once(": ").unwrap()).collect();
        let [("Contact", "mailto:security@example.org"), ("Expires", expires), ("Preferred-Languages", "en"), ("Canonical", "http://console.test/.well-known/security.txt")] = lines[..] else {
            panic!("{lines:?}");
        };
        assert!(expires > &*vmimg::clock::now().rfc3339() && expires.ends_with('Z'), "{expires}");
    }

    async fn a_proxys_number_stands_in_the_answer_on_the_page_and_in_the_event(start: Start) {
        let app = start.with("trusted_proxies", "192.0.2.7").ready().await;
        let id = "9b1d-from-the-proxy";
        let answer = app.admin().request(Method::GET, "/nothing").header("x-request-id", id).send().await.expect(404);
        assert_eq!(answer.header("x-request-id"), id);
        assert!(answer.text().contains(&format!("Request {id}")), "{}", answer.text());
        app.admin().request(Method::POST, "/sign-out").header("x-request-id", id).form(&[]).send().await.expect(303);
        assert_eq!(app.count(&format!("events WHERE action = 'sign_out' AND request_id = '{id}'")), 1);
        let elsewhere = app.browser().at([192, 0, 2, 8]);
        let answer = elsewhere.request(Method::GET, "/nothing").header("x-request-id", id).send().await;
        assert_ne!(answer.header("x-request-id"), id);
    }

    async fn figures_are_the_same_whatever_the_slices(start: Start) {
        let app = start.ready().await;
        app.image("x", iso("X")).await;
        app.many_images(250);
        app.pending("pending").await;
        let mut of_slices = Vec::new();
        for most in [1_000, 100, 7] {
            let (mut place, mut available, mut pending, mut slices) = (0, 0, 0, 0);
            loop {
                let (groups, end) = app.service.db.read_now(|conn| Ok::<_, Failure>(figures::images(conn, place, most)?)).unwrap();
                available += groups.iter().filter(|group| group.status == Stored::Available).map(|group| group.count).sum::<u64>();
                pending += groups.iter().filter(|group| group.status == Stored::Pending).map(|group| group.count).sum::<u64>();
                slices += 1;
                let Some(end) = end else { break };
                place = end;
            }
            assert_eq!((available, pending), (250, 1), "{most}");
            of_slices.push(slices);
        }
        assert_eq!(of_slices, [1, 3, 36]);
        let image: vmimg::domain::ids::ImageId = app.text("SELECT id AS t FROM images WHERE name = 'pending'").parse().unwrap();
        let storage = app.storage("local").parse().unwrap();
        let now = vmimg::clock::now();
        app.service.db.write_now(|tx| {
            for _ in 0..5 {
                jobs::enqueue(tx, JobKind::WriteManifest, storage, image, now)?;
            }
            Ok::<_, Failure>(())
        }).unwrap();
        let count = |most: i64, state: &str| {
            let (mut place, mut total) = (String::new(), 0);
            loop {
                let (groups, end) = app.service.db.read_now(|conn| Ok::<_, Failure>(figures::jobs(conn, &place, most, now)?)).unwrap();
                total += groups.iter().filter(|group| group.state.as_str() == state).map(|group| group.count).sum::<u64>();
                let Some(end) = end else { return total };
                place = end;
            }
        };
        app.sql("UPDATE jobs SET attempts = 3 WHERE id = (SELECT MIN(id) FROM jobs)");
        app.sql(&format!("UPDATE jobs SET attempts = 1, lease_until = {} WHERE id = (SELECT MAX(id) FROM jobs)", now.micros() + 1));
        for most in [100, 2] {
            assert_eq!(["waiting", "running", "retrying"].map(|state| count(most, state)), [3, 1, 1], "{most}");
        }
        app.sql("DELETE FROM jobs");
        start.leaves(Left::Records);
    }
}
