//! A page asks the database the same number of statements however many images and events there are.

use super::support::{App, Left, iso, statements};

/// The statements of one answer, for somebody whose session was seen a moment ago.
async fn asked(app: &App, path: &str) -> usize {
    let admin = app.admin();
    admin.get("/account").await.expect(200);
    let asked = statements::of(&app.database_url, async {
        admin.get(path).await.expect(200);
    })
    .await;
    assert!(!asked.is_empty(), "{path} asks nothing: the counter counts nothing");
    asked.len()
}

/// The second page behind a list.
async fn next_of(app: &App, path: &str) -> String {
    let page = app.admin().open(path).await;
    page.attributes("a[rel=next]", "href").into_iter().next().unwrap_or_else(|| panic!("{path} has one page only"))
}

fn many_events(app: &App, total: u32) {
    let sqlite = app.database_url.ends_with(".db");
    let numbers = match sqlite {
        true => format!("WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {total})"),
        false => format!("WITH numbers (n) AS (SELECT n FROM generate_series(1, {total}) AS series (n))"),
    };
    let id = match sqlite {
        true => "printf('01910000-0000-7000-8000-%012d', n)",
        false => "'01910000-0000-7000-8000-' || lpad(n::text, 12, '0')",
    };
    app.sql(&format!(
        "{numbers} INSERT INTO events (id, at, actor_id, actor_name, action, object_kind, object_id, object_name, outcome, detail, address, request_id) \
         SELECT {id}, at + n, actor_id, actor_name, action, object_kind, object_id, object_name, outcome, detail, address, request_id \
         FROM numbers, (SELECT * FROM events WHERE action = 'create_image' LIMIT 1) AS one"
    ));
}

two_databases! {
    async fn a_page_asks_as_much_of_ten_images_as_of_a_hundred_thousand(start: Start) {
        start.leaves(Left::Records);
        let app = start.ready().await;
        let id = app.image("Image 000001", iso("ONE")).await;
        let (storage, cluster) = (app.storage("local"), app.text("SELECT id AS t FROM clusters"));
        let paths: Vec<String> = vec![
            "/images".into(),
            "/images?type=installation".into(),
            "/images?status=available".into(),
            "/images?status=file_unavailable&status=available".into(),
            "/images?os=debian-13".into(),
            format!("/images?storage={storage}"),
            format!("/images?cluster={cluster}"),
            "/images?q=image".into(),
            "/images?q=im".into(),
            format!("/images?q=image&type=installation&status=available&os=other&storage={storage}&cluster={cluster}"),
            "/images?sort=name".into(),
            "/images?sort=-size".into(),
            "/images?sort=os&size=100".into(),
            "/images?sort=-type".into(),
            "/images.csv?q=image+0000".into(),
            format!("/images/{id}"),
            format!("/images/{id}/access"),
            format!("/images/{id}/vms"),
            format!("/images/{id}/events"),
            format!("/images/{id}/edit"),
            format!("/images/{id}/deletion"),
            "/datastores".into(),
            "/local-storages".into(),
            format!("/local-storages/{storage}"),
            format!("/local-storages/{storage}/removal"),
            "/clusters".into(),
            format!("/clusters/{cluster}"),
            "/hosts".into(),
            "/events".into(),
            format!("/events?object={id}&action=create_image"),
        ];
        app.many_images(10);
        let mut few = Vec::new();
        for path in &paths {
            few.push(asked(&app, path).await);
        }
        app.sql("DELETE FROM images WHERE id LIKE '01900000%'");
        app.many_images(100_000);
        many_events(&app, 5_000);
        assert_eq!(app.count("images"), 100_000);
        for (path, few) in paths.iter().zip(&few) {
            // Fewer, where what was counted a moment ago is still known.
            let many = asked(&app, path).await;
            assert!(many <= *few && *few <= 16, "{path}: {few} statements for few images, {many} for many");
        }
        // A page further on costs what the first does.
        for list in ["/images", "/images?q=image", "/images?sort=name", "/images?sort=-size", "/images?status=available", "/events"] {
            let next = next_of(&app, list).await;
            let first = few[paths.iter().position(|path| path == list).unwrap()];
            assert!(asked(&app, &next).await <= first, "{next}");
        }
        let page = app.admin().open("/images").await;
        page.expect("50 of 10,000+ images");
        assert!(!page.says("matching"), "an unknown number is not offered for a selection");
    }

    async fn a_page_asks_as_much_of_a_page_full_of_images_in_use_as_of_one(start: Start) {
        start.leaves(Left::Records);
        let app = start.ready().await;
        let id = app.image("Image 000001", iso("ONE")).await;
        app.attach(&id, "web-01");
        let few = asked(&app, "/images").await;
        app.many_images(60);
        for (n, image) in app.texts("SELECT id AS t FROM images").iter().enumerate() {
            app.attach(image, &format!("db-{n:02}"));
        }
        assert_eq!(asked(&app, "/images").await, few);
        let form = format!("ids={}", app.texts("SELECT id AS t FROM images").join("&ids="));
        let (one, all) = (format!("ids={id}"), form);
        let mut counts = Vec::new();
        for body in [one, all] {
            let admin = app.admin();
            let asked = statements::of(&app.database_url, async {
                admin.request(actix_web::http::Method::POST, "/images/selection").body("application/x-www-form-urlencoded", body).send().await;
            });
            counts.push(asked.await.len());
        }
        assert_eq!(counts[0], counts[1], "a selection asks once for all");
        app.detach_all();
    }
}
