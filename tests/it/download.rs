//! The file on its way out.

use actix_web::http::Method;

use super::support::{Answer, App, Left, iso, iso_of};

async fn ranged(app: &App, id: &str, range: &str) -> Answer {
    app.admin().request(Method::GET, &format!("/images/{id}/download")).header("range", range).send().await
}

two_databases! {
    async fn the_bytes_are_those_that_were_sent(start: Start) {
        let app = start.ready().await;
        let bytes = iso_of("DOWNLOAD", 3_000);
        let id = app.image("download", bytes.clone()).await;
        let path = format!("/images/{id}/download");
        let (answer, lines) = app.events_of(app.admin().get(&path)).await;
        let answer = answer.expect(200);
        assert!(answer.body == bytes);
        assert_eq!(lines, ["Ada download_image done download – "]);
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("content-disposition"), "attachment; filename*=UTF-8''download.iso");
        assert_eq!((answer.header("accept-ranges"), answer.header("cache-control")), ("bytes", "private, no-cache"));
        assert!(answer.header("content-security-policy").contains("sandbox"));
        let compressed = app.admin().request(Method::GET, &path).header("accept-encoding", "br, gzip").send().await;
        assert!(compressed.body == bytes && compressed.header("content-encoding") != "gzip");
        let head = app.admin().request(Method::HEAD, &path).send().await.expect(200);
        assert_eq!(head.header("content-disposition"), answer.header("content-disposition"));
        assert_eq!(app.count("events WHERE action = 'download_image'"), 2, "a look at the head is no download");
    }

    async fn parts_of_it_can_be_asked_for(start: Start) {
        let app = start.ready().await;
        let bytes = iso_of("RANGES", 100);
        let id = app.image("ranges", bytes.clone()).await;
        let total = bytes.len();
        for (range, from, to) in [("bytes=0-99", 0, 100), ("bytes=100-199", 100, 200), ("bytes=-10", total - 10, total), (&*format!("bytes={}-", total - 5), total - 5, total)] {
            let answer = ranged(&app, &id, range).await.expect(206);
            assert_eq!(answer.header("content-range"), format!("bytes {from}-{}/{total}", to - 1));
            assert!(answer.body == bytes[from..to], "{range}");
        }
        assert_eq!(app.count("events WHERE action = 'download_image'"), 1, "only the first part begins a download");
        ranged(&app, &id, &format!("bytes={}-", total + 5)).await.expect(416);
    }

    async fn who_has_it_already_is_told_so(start: Start) {
        let app = start.ready().await;
        let id = app.image("known", iso("KNOWN")).await;
        let path = format!("/images/{id}/download");
        let etag = app.admin().get(&path).await.expect(200).header("etag").to_owned();
        let again = app.admin().request(Method::GET, &path).header("if-none-match", &etag).send().await.expect(304);
        assert!(again.body.is_empty());
        let other = app.admin().request(Method::GET, &path).header("if-none-match", "\"other\"").send().await;
        other.expect(200);
        let changed = app.admin().request(Method::GET, &path).header("range", "bytes=0-9").header("if-range", "\"other\"").send().await;
        assert_eq!(changed.status, 200, "another version is sent whole");
    }

    async fn hostile_names_stay_in_their_header(start: Start) {
        let app = start.ready().await;
        let id = app.image("x", iso("NAMES")).await;
        for (name, file) in [
            ("a\"b;c.iso", "a_b%3Bc.iso"), ("../../etc/passwd", ".._.._etc_passwd.iso"), ("é ✓", "%C3%A9%20%E2%9C%93.iso"), ("C:\\x", "C__x.iso"),
            ("-rf", "%2Drf.iso"), ("NUL", "_NUL.iso"), ("dots...", "dots.iso"), ("UPPER.ISO", "UPPER.ISO"), ("%00%0d%0a", "%2500%250d%250a.iso"),
        ] {
            let name_sql = name.replace('\'', "''");
            app.sql(&format!("UPDATE images SET name = '{name_sql}'"));
            let answer = app.admin().get(&format!("/images/{id}/download")).await.expect(200);
            assert_eq!(answer.header("content-disposition"), format!("attachment; filename*=UTF-8''{file}"), "{name}");
        }
    }

    async fn only_an_available_image_can_be_downloaded(start: Start) {
        start.leaves(Left::Records);
        let app = start.ready().await;
        let pending = app.pending("pending").await;
        let id = app.image("here", iso("HERE")).await;
        app.admin().get(&format!("/images/{pending}/download")).await.expect(409);
        let page = app.admin().open(&format!("/images/{pending}")).await;
        page.expect("It can be downloaded when it is Available.");
        for health in ["degraded", "removed"] {
            app.sql(&format!("UPDATE storages SET health = '{health}'"));
            app.admin().get(&format!("/images/{id}/download")).await.expect(409);
        }
        app.sql("UPDATE storages SET health = 'healthy'");
        app.admin().get(&format!("/images/{id}/download")).await.expect(200);
        app.browser().get(&format!("/images/{id}/download")).await.expect(303);
    }

    async fn a_file_that_was_cut_is_not_served_and_said_to_be_unavailable(start: Start) {
        let app = start.ready().await;
        let id = app.image("cut", iso_of("CUT", 100)).await;
        let file = app.file_of(&id);
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, &iso_of("CUT", 100)[..100_000]).unwrap();
        let answer = app.admin().get(&format!("/images/{id}/download")).await.expect(409);
        assert!(answer.text().contains("The file does not have the recorded bytes any more; it was changed by other hands."));
        app.admin().open(&format!("/images/{id}")).await.expect("File unavailable");
        assert_eq!(app.count("events WHERE action = 'download_image' AND outcome = 'done'"), 0);
    }

    async fn a_file_that_is_not_there_is_not_served(start: Start) {
        let app = start.ready().await;
        let id = app.image("missing", iso("MISSING")).await;
        std::fs::remove_file(app.file_of(&id)).unwrap();
        let answer = app.admin().get(&format!("/images/{id}/download")).await.expect(409);
        assert!(answer.text().contains("The file is not on its storage any more; it was removed by other hands."));
        app.admin().open(&format!("/images/{id}")).await.expect("File unavailable").expect("Check again");
    }
}
