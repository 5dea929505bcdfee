//! Images that nobody uploaded: consistent with the records' rules and with the files, the same for the same seed.

use std::collections::BTreeSet;

use vmimg::{
    jobs,
    operations::seed::{self, Made, Plan},
};

use super::support::{App, Left};

/// Everything that the seed decides.
const DECIDED: [&str; 4] = [
    "SELECT name || ' ' || id || ' ' || kind || ' ' || status || ' ' || os || ' ' || file_state || ' ' || size_bytes || ' ' || created_at AS t FROM images ORDER BY id",
    "SELECT id || ' ' || name || ' ' || health AS t FROM storages ORDER BY id",
    "SELECT image_id || ' ' || vm_id AS t FROM attachments ORDER BY image_id, vm_id",
    "SELECT id || ' ' || object_name AS t FROM events ORDER BY id",
];

fn plan(images: u64) -> Plan {
    Plan { images, storages: 12, administrators: 2, seed: 3, password: "correct horse battery".into(), files: true, add: false }
}

async fn seeded(app: &App, plan: &Plan) -> Made {
    seed::run(&app.service, plan, |_| {}).unwrap()
}

two_databases! {
    async fn what_is_seeded_is_what_a_service_would_have(start: Start) {
        start.leaves(Left::Records).leaves(Left::Jobs).leaves(Left::Files).leaves(Left::Transfers);
        let app = start.open().await;
        let made = seeded(&app, &plan(600)).await;
        assert_eq!((made.images, app.count("images")), (600, 600));
        assert_eq!(made.attachments, app.count("attachments").unsigned_abs());
        // Every status, type and health is there, and a page full of each.
        let admin = app.browser();
        let page = admin.sign_in("admin02@example.org", "correct horse battery").await;
        let present = app.count("images WHERE status <> 'deleting'");
        page.expect_path("/images").expect(&format!("50 of {present} images"));
        for query in ["type=installation", "type=base", "status=available", "status=uploading", "status=creating", "status=pending", "status=degraded", "status=file_unavailable", "os=debian-12"] {
            let page = admin.open(&format!("/images?{query}")).await;
            assert!(page.texts("tbody tr").len() >= 25, "{query}: {page}");
        }
        assert_eq!(admin.open("/images?q=zephyr").await.texts("tbody tr").len(), 10);
        // The files are those of the records: a comparison finds nothing new.
        let before = app.texts(DECIDED[0]);
        jobs::compare_storages(&app.service).await.unwrap();
        jobs::watch_storages(&app.service).await.unwrap();
        assert_eq!(app.texts(DECIDED[0]), before);
        assert_eq!(app.texts("SELECT DISTINCT health AS t FROM storages ORDER BY health"), ["degraded", "healthy", "removed"]);
        assert_eq!(app.number("SELECT CAST(SUM(unknown_files) AS BIGINT) AS n FROM storages"), 0);
        // Whoever has images already is asked first.
        let refused = seed::run(&app.service, &plan(600), |_| {}).unwrap_err();
        assert_eq!(refused.to_string(), "There are 600 images already. Say --add to make more beside them.");
        assert_eq!(app.count("images"), 600);
        seeded(&app, &Plan { seed: 4, images: 30, add: true, files: false, ..plan(0) }).await;
        assert_eq!(app.count("images"), 630);
        assert_eq!(admin.open("/images?q=zephyr").await.texts("tbody tr").len(), 20, "the search index knows all of them");
    }

    async fn the_indexes_are_those_of_the_migrations(start: Start) {
        start.leaves(Left::Records).leaves(Left::Jobs).leaves(Left::Transfers);
        let app = start.open().await;
        let indexes = || -> BTreeSet<String> {
            let all = if app.database_url.ends_with(".db") {
                app.texts("SELECT type || ' ' || name || ' ' || sql AS t FROM sqlite_schema WHERE sql IS NOT NULL")
            } else {
                app.texts("SELECT indexdef AS t FROM pg_indexes WHERE schemaname = 'public'")
            };
            all.into_iter().collect()
        };
        let before = indexes();
        assert!(before.len() > 30, "{before:?}");
        seeded(&app, &Plan { files: false, ..plan(100) }).await;
        assert_eq!(indexes(), before);
    }
}

#[actix_web::test]
async fn a_seed_decides_everything_on_both_databases() {
    let starts = [super::support::Start::sqlite(), super::support::Start::postgres(), super::support::Start::sqlite()];
    let mut found = Vec::new();
    for (n, start) in (0..).zip(&starts) {
        start.leaves(Left::Records).leaves(Left::Jobs).leaves(Left::Transfers);
        let app = start.open().await;
        seeded(&app, &Plan { files: false, seed: 3 + n / 2, ..plan(300) }).await;
        found.push(DECIDED.map(|query| app.texts(query)));
    }
    assert_eq!(found[0], found[1], "both databases have the same");
    for (one, other) in found[0].iter().zip(&found[2]) {
        assert_ne!(one, other, "another seed makes others");
    }
    for start in starts {
        start.finish().await;
    }
}
