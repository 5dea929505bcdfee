//! The audit log: one line for each change, refusals too, and nobody alters it.

use super::support::{App, Left, Page, iso};

async fn rows(app: &App, query: &str) -> Vec<String> {
    app.admin().open(&format!("/events{query}")).await.texts("tbody tr")
}

async fn walk(app: &App, first: &str, link: &str) -> (Vec<String>, Page) {
    let mut page = app.admin().open(first).await;
    let mut all = page.texts("tbody tr");
    while page.says(link) && page.texts("a[rel]").contains(&link.to_owned()) {
        page = page.click(link).await;
        all.extend(page.texts("tbody tr"));
    }
    (all, page)
}

two_databases! {
    async fn every_change_has_exactly_one_line(start: Start) {
        let app = start.ready().await;
        let admin = app.admin();
        let nas = app.datastore("nas").await;
        let id = app.image("life", iso("LIFE")).await;
        admin.open(&format!("/images/{id}/edit")).await.form("Save").fill("note", "n").submit().await;
        admin.get(&format!("/images/{id}/download")).await;
        admin.post(&format!("/images/{id}/check"), &[]).await;
        admin.open(&format!("/datastores/{nas}")).await.form("Check again").submit().await;
        admin.open(&format!("/images/{id}/deletion")).await.form("Delete image").submit().await;
        app.work().await;
        admin.open(&format!("/datastores/{nas}/removal")).await.form("Remove storage").submit().await;
        admin.open("/images").await.form("Sign out").submit().await;
        let actions = app.texts("SELECT action || ' ' || outcome AS t FROM events ORDER BY seq");
        assert_eq!(actions, [
            "set_up done", "add_storage done", "add_storage done", "create_image done", "begin_upload done", "complete_upload done", "edit_image done",
            "download_image done", "check_image done", "check_storage done", "delete_image done", "remove_file done", "remove_storage done", "sign_out done",
        ]);
        assert_eq!(app.count("events WHERE actor_name = 'Ada' AND (address <> '192.0.2.7' OR length(request_id) <> 16)"), 0);
    }

    async fn the_line_names_the_request_that_its_answer_names(start: Start) {
        let app = start.ready().await;
        let page = app.admin().open("/clusters/new").await;
        let answer = page.form("Add cluster").fill("name", "North").send().await;
        assert_eq!(app.text("SELECT request_id AS t FROM events WHERE action = 'add_cluster'"), answer.header("x-request-id"));
    }

    async fn refusals_by_a_right_are_recorded_and_typing_errors_are_not(start: Start) {
        let app = start.ready().await;
        let id = app.pending("secret").await;
        let bob = app.user("bob@example.org", "no_access").await;
        let (answer, lines) = app.events_of(bob.get(&format!("/images/{id}"))).await;
        assert!(!answer.expect(404).text().contains("secret"));
        assert_eq!(lines, ["bob other denied secret – The right to see it is missing."]);
        let (answer, lines) = app.events_of(bob.get("/settings")).await;
        assert!(answer.expect(403).text().contains("Ada can give it to you."));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("bob other denied  – The right to see the settings is missing."), "{lines:?}");
        let before = app.events();
        app.admin().open("/clusters/new").await.form("Add cluster").submit().await.expect_status(422);
        app.browser().get("/images").await;
        app.browser().get("/nothing").await;
        assert_eq!(app.events(), before);
    }

    async fn nobody_changes_or_removes_a_line(start: Start) {
        let app = start.ready().await;
        let before = app.events();
        for statement in ["UPDATE events SET detail = 'x'", "DELETE FROM events", "DELETE FROM events WHERE seq = 1", "UPDATE events SET seq = seq + 1"] {
            let failed = app.try_sql(statement).unwrap_err();
            assert!(format!("{failed:?} {failed}").contains("append-only"), "{statement}: {failed:?}");
        }
        assert_eq!(app.events(), before);
        for path in ["/events", "/events.csv"] {
            for method in [actix_web::http::Method::POST, actix_web::http::Method::DELETE, actix_web::http::Method::PUT] {
                app.admin().request(method, path).send().await.expect(405);
            }
        }
    }

    async fn filters_stand_in_the_address(start: Start) {
        let app = start.ready().await;
        let id = app.pending("filtered").await;
        let admin = app.text("SELECT id AS t FROM users");
        app.admin().get(&format!("/images/{id}/download")).await.expect(409);
        assert_eq!(rows(&app, "?action=create_image").await.len(), 1);
        assert_eq!(rows(&app, "?action=create_image&action=set_up").await.len(), 2);
        assert_eq!(rows(&app, "?outcome=failed").await.len(), 1);
        assert_eq!(rows(&app, &format!("?object={id}")).await.len(), 3);
        assert_eq!(rows(&app, &format!("?object={id}&outcome=refused")).await.len(), 1);
        assert_eq!(rows(&app, &format!("?actor={admin}")).await.len(), 4);
        assert_eq!(rows(&app, "?until=2001-01-01").await.len(), 0);
        let total = app.events().len();
        for all in ["", "?since=2001-01-01", "?action=nonsense", "?since=yesterday", "?outcome=", "?after=forged", "?before=at.1", "?nonsense=1"] {
            assert_eq!(rows(&app, all).await.len(), total, "{all}");
        }
        app.sql("INSERT INTO events (id, at, actor_name, action, object_kind, object_name, outcome, detail, address, request_id) \
                 VALUES ('01900000-0000-7000-8000-000000000001', 1735689600000000, 'x', 'other', 'service', '', 'done', 'on new year', '', '')");
        assert_eq!(rows(&app, "?since=2025-01-01&until=2025-01-01").await.len(), 1);
        assert_eq!(rows(&app, "?since=2025-01-02&until=2025-01-02").await.len(), 0);
        let page = app.admin().open(&format!("/events?object={id}&action=create_image")).await;
        let form = page.form("/events");
        assert_eq!((form.value("object"), form.value("action")), (&*id, "create_image"));
        page.click("Clear all filters").await.expect_path("/events");
        app.admin().open(&format!("/images/{id}/events")).await.expect("Create image").expect("Refused");
    }

    async fn pages_show_every_line_once_in_both_directions(start: Start) {
        let app = start.ready().await;
        for n in 0..123 {
            // Several at one moment, so that ties are broken.
            app.sql(&format!("INSERT INTO events (id, at, actor_name, action, object_kind, object_name, outcome, detail, address, request_id) \
                VALUES ('01900000-0000-7000-8000-{n:012}', {}, 'x', 'other', 'service', '', 'done', 'line {n:03}', '', '')", 1_735_689_600_000_000_i64 + n / 3));
        }
        let total = app.events().len();
        let (older, last) = walk(&app, "/events", "Older").await;
        assert_eq!(older.len(), total);
        let mut once = older.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), total);
        let lines: Vec<usize> = older.iter().filter_map(|row| row.find("line ").map(|at| row[at + 5..at + 8].parse().unwrap())).collect();
        assert!(lines.windows(2).all(|pair| pair[0] > pair[1]), "{lines:?}");
        let mut page = last;
        let mut back = page.texts("tbody tr");
        while page.texts("a[rel]").contains(&"Newer".to_owned()) {
            page = page.click("Newer").await;
            back.splice(0..0, page.texts("tbody tr"));
        }
        assert_eq!(back.len(), total);
    }

    async fn the_export_holds_all_that_match_and_no_formula(start: Start) {
        start.leaves(Left::Records);
        let app = start.ready().await;
        app.pending("=cmd()").await;
        let all = app.admin().get("/events.csv").await.expect(200);
        assert_eq!((all.header("content-type"), all.header("content-disposition")), ("text/csv; charset=utf-8", "attachment; filename=\"events.csv\""));
        assert_eq!(all.text().lines().count(), app.events().len() + 1);
        assert!(all.text().contains("\"'=cmd()\""), "{}", all.text());
        let some = app.admin().get("/events.csv?action=set_up").await.expect(200);
        assert_eq!(some.text().lines().count(), 2);
        app.user("bob@example.org", "no_access").await.get("/events.csv").await.expect(403);
    }
}
