//! Lists with pages: every row once, cursors that fit their own list, and as many statements for many rows as for few.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::support::{App, Left, iso, program::Program, statements};

/// Walks through a list by its cursors; answers the identifiers in order.
async fn walk(program: &Program, path: &str, limit: usize) -> Vec<String> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut next = format!("{path}{separator}limit={limit}");
    let mut ids = Vec::new();
    loop {
        let page = program.get(&next).await.expect(200);
        let json = page.json();
        let items = json["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match &json["next"] {
            Value::Null => {
                assert_eq!(page.header("link"), "");
                return ids;
            }
            cursor => {
                assert_eq!(items.len(), limit, "a page that is followed by another one is full");
                let link = page.header("link");
                let target = link.strip_prefix("</api/v1").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
                assert!(target.ends_with(&format!("after={}", cursor.as_str().unwrap())), "{link}");
                next = target.to_owned();
            }
        }
    }
}

async fn asked(app: &App, program: &Program, path: &str) -> usize {
    program.get("/account").await.expect(200);
    let asked = statements::of(&app.database_url, async {
        program.get(path).await.expect(200);
    });
    let asked = asked.await;
    assert!(!asked.is_empty(), "the counter counts nothing");
    asked.len()
}

two_databases! {
    async fn paging_shows_every_image_exactly_once(start: Start) {
        start.leaves(Left::Records);
        let app = start.ready().await;
        app.image("Image 000001", iso("ONE")).await;
        app.many_images(533);
        let program = app.program("read");
        let all: BTreeSet<String> = app.texts("SELECT id AS t FROM images").into_iter().collect();
        for (path, limit) in [("/images", 200), ("/images", 50), ("/images?sort=name", 37), ("/images?sort=-size", 100), ("/images?sort=os", 61), ("/images?sort=-type", 199),
            ("/images?sort=created&q=image&type=installation&status=available&status=pending", 89)] {
            let walked = walk(&program, path, limit).await;
            assert_eq!(walked.len(), 533, "{path}");
            assert_eq!(walked.iter().cloned().collect::<BTreeSet<_>>(), all, "{path}");
        }
        let console = app.admin().open("/images?sort=name&size=25").await.attributes("tbody tr[id^=row-]", "id");
        let first = program.get("/images?sort=name&limit=25").await.json();
        let here: Vec<String> = first["items"].as_array().unwrap().iter().map(|item| format!("row-{}", item["id"].as_str().unwrap())).collect();
        assert_eq!(here, console, "the console and the API show the same list");
        // Rows that come and go elsewhere shift nothing.
        let page = program.get("/images?sort=name&limit=10").await.json();
        app.sql("DELETE FROM images WHERE name = 'Image 000003'");
        let next = program.get(&format!("/images?sort=name&limit=10&after={}", page["next"].as_str().unwrap())).await.json();
        assert_eq!(next["items"][0]["name"], "Image 000011");
    }

    async fn a_cursor_fits_its_own_list_filter_and_order_only(start: Start) {
        start.leaves(Left::Records);
        let app = start.ready().await;
        let id = app.image("Image 000001", iso("ONE")).await;
        app.many_images(10);
        let program = app.program("read");
        let next = |page: &Value| page["next"].as_str().unwrap().to_owned();
        let cursor = next(&program.get("/images?q=image&sort=name&limit=2").await.expect(200).json());
        program.get(&format!("/images?sort=name&q=image&limit=5&after={cursor}")).await.expect(200);
        let flipped = format!("{}{}", if cursor.starts_with('A') { 'B' } else { 'A' }, &cursor[1..]);
        for query in [
            format!("q=image&sort=-name&after={cursor}"), format!("q=image&after={cursor}"), format!("sort=name&after={cursor}"), format!("q=imag&sort=name&after={cursor}"),
            format!("q=image&sort=name&type=installation&after={cursor}"), format!("q=image&sort=name&after={flipped}"), format!("q=image&sort=name&after={cursor}A"),
            "q=image&sort=name&after=".into(), "q=image&sort=name&after=name.t:image.x".into(), "q=image&sort=name&after=%FF%FF".replace("%FF", "_"),
        ] {
            program.get(&format!("/images?{query}")).await.refused(400, "query.cursor");
        }
        let events = next(&program.get("/events?limit=1").await.expect(200).json());
        program.get(&format!("/images/{id}/events?after={events}")).await.refused(400, "query.cursor");
        program.get(&format!("/images?after={events}")).await.refused(400, "query.cursor");
        program.get(&format!("/images?after={cursor}&after={cursor}")).await.refused(400, "query.invalid");
    }

    async fn the_log_is_walked_and_filtered_as_on_its_page(start: Start) {
        let app = start.ready().await;
        let program = app.program("all");
        let ids = [program.image("one", &iso("ONE")).await, program.image("two", &iso("TWO")).await];
        let whole = walk(&program, "/events", 3).await;
        assert_eq!(i64::try_from(whole.len()).unwrap(), app.count("events"));
        assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), whole.len());
        let of_one = walk(&program, &format!("/images/{}/events", ids[0]), 2).await;
        assert_eq!(of_one, walk(&program, &format!("/events?object={}", ids[0]), 200).await);
        assert_eq!(i64::try_from(of_one.len()).unwrap(), app.count(&format!("events WHERE object_id = '{}'", ids[0])));
        for (query, condition) in [("action=create_image", "action = 'create_image'"), ("action=create_image&action=begin_upload&outcome=done", "action IN ('create_image', 'begin_upload')"),
            ("outcome=failed", "outcome = 'failed'"), ("since=2020-01-01&until=2999-12-31", "1 = 1"), ("until=2020-01-01", "1 = 0")] {
            assert_eq!(i64::try_from(walk(&program, &format!("/events?{query}"), 7).await.len()).unwrap(), app.count(&format!("events WHERE {condition}")), "{query}");
        }
    }

    async fn many_images_ask_as_much_as_ten(start: Start) {
        start.leaves(Left::Records);
        let app = start.ready().await;
        let id = app.image("Image 000001", iso("ONE")).await;
        let (storage, cluster, host) = (app.storage("local"), app.text("SELECT id AS t FROM clusters"), app.text("SELECT id AS t FROM hosts"));
        let program = app.program("all");
        let paths = ["/images".into(), "/images?limit=200".into(), "/images?q=image&type=installation&status=available&os=other&sort=name".into(), format!("/images?storage={storage}&cluster={cluster}"),
            format!("/images/{id}"), format!("/images/{id}/events"), "/storages".into(), format!("/storages/{storage}"), "/clusters".into(), format!("/clusters/{cluster}"), "/hosts".into(),
            format!("/hosts/{host}"), "/events".into(), "/operating-systems".into(), "/settings".into(), "/account".into()];
        app.many_images(10);
        let mut few = Vec::new();
        for path in &paths {
            few.push(asked(&app, &program, path).await);
        }
        app.sql("DELETE FROM images WHERE id LIKE '01900000%'");
        app.many_images(5_000);
        for (n, image) in app.texts("SELECT id AS t FROM images ORDER BY name LIMIT 60").iter().enumerate() {
            app.attach(image, &format!("db-{n:02}"));
        }
        for (path, few) in paths.iter().zip(&few) {
            // Fewer, where what was counted a moment ago is still known.
            let many = asked(&app, &program, path).await;
            assert!(many <= *few && *few <= 8, "{path}: {few} statements for few images, {many} for many");
        }
        let second = program.get("/images").await.json()["next"].as_str().unwrap().to_owned();
        assert_eq!(asked(&app, &program, &format!("/images?after={second}")).await, few[0]);
        app.detach_all();
    }
}
