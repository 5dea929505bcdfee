//! Addresses that lead nowhere: other spellings of identifiers, ways out of folders.

use super::support::iso;

two_databases! {
    async fn an_identifier_has_one_spelling(start: Start) {
        let app = start.ready().await;
        let id = app.image("x", iso("X")).await;
        app.admin().get(&format!("/images/{id}")).await.expect(200);
        let plain = id.replace('-', "");
        let nil = "00000000-0000-0000-0000-000000000000".to_owned();
        for other in [id.to_uppercase(), format!("%7B{id}%7D"), format!("urn:uuid:{id}"), plain.clone(), nil, format!("{id}%20"), format!("%20{id}"), format!("{id}%00"),
            "..%2F..%2Fx".to_owned(), "a%2Fb".to_owned(), "x".repeat(15_000), "1".to_owned(), "%c0%ae%c0%ae".to_owned(), "%ff".to_owned()] {
            for path in [format!("/images/{other}"), format!("/images/{other}/download"), format!("/storages/{other}"), format!("/clusters/{other}"), format!("/hosts/{other}")] {
                let answer = app.admin().get(&path).await;
                assert_eq!(answer.status, 404, "{}", &path[..path.len().min(90)]);
            }
            let posted = app.admin().post(&format!("/images/{other}/deletion"), &[("version", "1")]).await;
            assert_eq!(posted.status, 404);
        }
        for other in [id.to_uppercase(), plain, "x".to_owned()] {
            app.admin().get(&format!("/images/new/{other}/general")).await.expect(404);
        }
        assert_eq!(app.count("images"), 1);
    }

    async fn no_way_leads_out_of_a_folder(start: Start) {
        let app = start.ready().await;
        let assets = vmimg::web::assets::prefix();
        for path in ["/images/../../etc/passwd", "//etc/passwd", "/./etc/passwd", "/images;x=1", "/assets/../Cargo.toml", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd",
            &format!("{assets}/../../Cargo.toml"), &format!("{assets}/%2e%2e/Cargo.toml"), &format!("{assets}/"), &format!("{assets}/css"), &format!("{assets}/css/"),
            &format!("{assets}/.gitignore"), "/assets/", "/assets", "/%252e%252e/x", "/%00", "/images/", "/IMAGES"] {
            let answer = app.admin().get(path).await;
            assert_eq!(answer.status, 404, "{path}");
            assert!(!answer.text().contains("root:") && !answer.text().contains("[package]"), "{path}");
        }
    }

    async fn looking_at_every_page_twice_changes_nothing(start: Start) {
        let app = start.ready().await;
        let (image, nas) = (app.image("x", iso("X")).await, app.datastore("nas").await);
        let (cluster, host) = (app.text("SELECT id AS t FROM clusters"), app.text("SELECT id AS t FROM hosts"));
        let mut before = app.rows();
        for _ in 0..2 {
            for route in super::support::routes::all().into_iter().filter(|route| route.method == "GET" && !["/images/new", "/images/{id}/download"].contains(&&*route.path)) {
                let section = route.path.split('/').nth(1).unwrap();
                let id = match section { "images" => &image, "clusters" => &cluster, "hosts" => &host, "datastores" | "storages" => &nas, _ => "nothing" };
                app.admin().get(&route.path.replace("{id}", id).replace("{draft}", &image).replace("{path:.*}", "x").replace("{digest}", "x")).await;
            }
        }
        let mut after = app.rows();
        // Only refused looks at what is not there may have been recorded.
        before.remove("events");
        after.remove("events");
        assert_eq!(after, before);
    }
}
