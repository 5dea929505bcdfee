//! Images by program: created, looked at, changed, deleted, checked, forgotten, and every refusal.

use actix_web::http::Method;
use serde_json::json;

use super::super::support::{Left, iso, sha256};

const NOTHING: &str = "0190a000-0000-7000-8000-000000000000";

two_databases! {
    async fn an_image_is_created_sent_changed_and_deleted(start: Start) {
        let app = start.ready().await;
        let program = app.program("images download");
        let (bytes, storage) = (iso("API"), app.storage("local"));
        let new = json!({ "name": " Debian 13 ", "note": "by API", "type": "installation", "storage": storage, "os": "debian-13", "min_memory_mib": 2048,
            "file": { "name": "debian.iso", "size": bytes.len() } });
        let (made, lines) = app.events_of(program.post("/images", new)).await;
        let made = made.expect(201);
        assert_eq!(lines, ["Ada create_image done Debian 13 – Installation image, 96 KiB."]);
        let image = made.json();
        let id = image["id"].as_str().unwrap().to_owned();
        assert_eq!((made.location().unwrap(), made.header("etag")), (&*format!("/api/v1/images/{id}"), "\"1\""));
        assert_eq!((&image["name"], &image["note"], &image["type"], &image["version"]), (&json!("Debian 13"), &json!("by API"), &json!("installation"), &json!(1)));
        assert_eq!((&image["status"]["code"], &image["size"], &image["sha256"]), (&json!("pending"), &json!(bytes.len()), &json!(null)));
        assert_eq!((&image["os"], &image["min_vcpu"], &image["min_memory_mib"]), (&json!({ "id": "debian-13", "name": "Debian 13 (trixie)" }), &json!(1), &json!(2048)));
        assert_eq!(image["storage"], json!({ "id": storage, "name": "local", "kind": "local" }));
        assert_eq!(app.number("SELECT reserved_bytes AS n FROM images"), i64::try_from(bytes.len()).unwrap());

        let (sent, lines) = app.events_of(program.put(&id, &bytes)).await;
        let image = sent.expect(200).json();
        assert_eq!((&image["status"]["code"], &image["sha256"], &image["label"]), (&json!("available"), &json!(sha256(&bytes)), &json!("API")));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);

        let (changed, lines) = app.events_of(program.send(Method::PATCH, &format!("/images/{id}"), "\"1\"", json!({ "name": "renamed", "os": "other" }))).await;
        let changed = changed.expect(200);
        assert_eq!((changed.header("etag"), &changed.json()["name"], &changed.json()["note"]), ("\"2\"", &json!("renamed"), &json!("by API")));
        assert_eq!(changed.json()["min_memory_mib"], 2048);
        assert!(lines[0].starts_with("Ada edit_image done renamed – Name: Debian 13 → renamed."), "{lines:?}");
        let same = program.get(&format!("/images/{id}")).await.expect(200);
        assert_eq!((same.header("etag"), &same.json()), ("\"2\"", &changed.json()));
        let higher = program.patch(&format!("/images/{id}"), json!({ "os": "windows-11" })).await.expect(200).json();
        assert_eq!((&higher["min_vcpu"], &higher["min_memory_mib"], &higher["min_disk_gib"]), (&json!(2), &json!(4096), &json!(64)));

        program.delete(&format!("/images/{id}")).await.expect(204);
        program.get(&format!("/images/{id}")).await.refused(404, "not_found");
        app.work().await;
        assert_eq!(app.count("images"), 0);
    }

    async fn what_the_console_made_the_api_shows_and_the_other_way_round(start: Start) {
        let app = start.ready().await;
        let program = app.program("images");
        let id = app.image("by console", iso("ONE")).await;
        app.attach(&id, "web-01");
        let image = program.get(&format!("/images/{id}")).await.expect(200).json();
        assert_eq!((&image["name"], &image["created_by"], &image["machines"][0]["name"]), (&json!("by console"), &json!("Ada"), &json!("web-01")));
        program.delete(&format!("/images/{id}")).await.refused(409, "image.in_use");
        app.detach_all();
        let other = program.image("by program", &iso("TWO")).await;
        app.admin().open(&format!("/images/{other}")).await.expect("by program").expect("Available");
        let listed = program.get("/images").await.expect(200).json();
        assert_eq!(listed["items"].as_array().unwrap().len(), 2);
        assert_eq!((&listed["items"][1], &listed["next"]), (&program.get(&format!("/images/{id}")).await.json(), &json!(null)));
        let events = program.get(&format!("/images/{id}/events")).await.expect(200).json();
        assert!(events["items"].as_array().unwrap().iter().any(|event| event["action"] == "create_image" && event["object"]["name"] == "by console"));
    }

    async fn what_cannot_be_created_is_refused_and_leaves_nothing(start: Start) {
        let app = start.ready().await;
        let program = app.program("images");
        app.image("taken", iso("TAKEN")).await;
        let storage = app.storage("local");
        let whole = json!({ "name": "x", "type": "installation", "storage": storage, "file": { "name": "x.iso", "size": 100_000 } });
        let before = (app.rows(), app.files());
        app.sql("UPDATE storages SET free_bytes = 100000000000000");
        let rows = [
            ("/name", json!(" "), 422, "name.empty"),
            ("/name", json!("TAKEN"), 409, "name.taken"),
            ("/name", json!("x".repeat(256)), 422, "name.too_long"),
            ("/name", json!("a\u{202e}b"), 422, "name.control"),
            ("/note", json!("y".repeat(4_097)), 422, "note.too_long"),
            ("/type", json!("base"), 422, "kind.no_machine"),
            ("/type", json!("x"), 422, "kind.none"),
            ("/storage", json!("x"), 422, "storage.none"),
            ("/storage", json!(NOTHING), 422, "storage.none"),
            ("/os", json!("debian-0"), 422, "os.none"),
            ("/min_vcpu", json!(0), 422, "requirements.too_small"),
            ("/min_disk_gib", json!(4_000_000_000_u32), 422, "requirements.too_large"),
            ("/file/name", json!("x.img"), 422, "file.extension"),
            ("/file/name", json!("x.iso.xz"), 422, "file.packed"),
            ("/file/size", json!(0), 422, "iso.empty"),
            ("/file/size", json!(1_u64 << 40), 413, "file.too_large"),
            ("/file/size", json!(60_u64 << 30), 507, "storage.full"),
            ("/file/size", json!(-1), 422, "body.member"),
            ("/file/size", json!("1"), 422, "body.member"),
            ("/file/size", json!(1.5), 422, "body.member"),
            ("/min_vcpu", json!(-1), 422, "body.member"),
            ("/name", json!(1), 422, "body.member"),
            ("/status", json!("available"), 422, "body.member"),
            ("/file/sha256", json!("x"), 422, "body.member"),
        ];
        for (pointer, value, status, code) in rows {
            let mut new = whole.clone();
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            new.pointer_mut(parent).unwrap()[member] = value.clone();
            if code == "storage.full" {
                app.sql("UPDATE storages SET free_bytes = 1000000000");
            }
            let answer = program.post("/images", new).await.refused(status, code);
            let named = answer.json()["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned();
            assert!((pointer.starts_with(&named) && !named.is_empty()) || code == "storage.full", "{pointer} {value}: {}", answer.text());
        }
        let mut several = whole.clone();
        (several["name"], several["os"], several["file"]["name"]) = (json!(""), json!("?"), json!("x"));
        let answer = program.post("/images", several).await.refused(422, "invalid");
        let codes: Vec<String> = answer.json()["errors"].as_array().unwrap().iter().map(|fault| fault["code"].as_str().unwrap().to_owned()).collect();
        assert_eq!(codes, ["name.empty", "os.none", "file.extension"]);
        let mut after = (app.rows(), app.files());
        after.0.insert("events", before.0["events"]);
        assert_eq!(after, before);
        // Who may not create learns nothing about storages.
        app.user("eve@example.org", "no_access").await;
        let nobody = app.program_of("eve@example.org", "all");
        let mut unknown = whole.clone();
        unknown["storage"] = json!(NOTHING);
        for new in [whole, unknown] {
            nobody.post("/images", new).await.refused(403, "not_allowed");
        }
    }

    async fn a_body_is_read_strictly(start: Start) {
        let app = start.ready().await;
        let program = app.program("images");
        let send = |kind: &'static str, body: &str| program.request(Method::POST, "/images").body(kind, body.to_owned()).send();
        send("application/json", "").await.refused(400, "body.syntax");
        send("application/json", "{").await.refused(400, "body.syntax");
        send("application/json", "[]").await.refused(422, "body.member");
        send("application/json", "null").await.refused(422, "body.member");
        send("application/json", r#"{"name":"a","name":"b"}"#).await.refused(422, "body.member");
        send("application/json", r#"{"file":{"name":"a","name":"b"}}"#).await.refused(422, "body.member");
        let unknown = send("application/json", r#"{"nane":"a"}"#).await.refused(422, "body.member");
        assert!(unknown.json()["errors"][0]["pointer"] == "/nane" && unknown.json()["detail"].as_str().unwrap().contains("nane"), "{}", unknown.text());
        send("application/json", &format!("{{\"name\":{}", "[".repeat(60_000))).await.refused(422, "body.member");
        send("application/json", r#"["x","n","installation"]"#).await.refused(422, "body.member");
        send("application/json", r#"{"file":["x.iso",1]}"#).await.refused(422, "body.member");
        send("application/json", &format!("\"{}\"", "x".repeat(65_536))).await.refused(413, "too_large");
        for kind in ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"] {
            send(kind, "{}").await.refused(415, "body.type");
        }
        send("Application/JSON; charset=utf-8", "{}").await.refused(422, "body.member");
        let packed = program.request(Method::POST, "/images").header("content-encoding", "gzip").body("application/json", "{}").send().await;
        packed.refused(415, "body.encoding");
        let binary = program.request(Method::POST, "/images").body("application/json", vec![b'"', 0xff, b'"']).send().await;
        binary.refused(400, "body.syntax");
        assert_eq!(app.count("images"), 0);
    }

    async fn a_change_names_what_it_is_meant_for(start: Start) {
        let app = start.ready().await;
        let program = app.program("all");
        let image = format!("/images/{}", program.image("x", &iso("X")).await);
        for method in [Method::PATCH, Method::DELETE] {
            program.send(method.clone(), &image, "", json!({ "note": "n" })).await.refused(428, "precondition.missing");
            for other in ["\"2\"", "W/\"1\"", "\"\"", "\"x\", \"0\"", "\"01\""] {
                program.send(method.clone(), &image, other, json!({ "note": "n" })).await.refused(412, "changed_meanwhile");
            }
            for broken in ["1", "\"1", "\"1\" \"2\"", "*, \"1\""] {
                program.send(method.clone(), &image, broken, json!({ "note": "n" })).await.refused(400, "precondition.syntax");
            }
        }
        assert_eq!(app.texts("SELECT note AS t FROM images"), [""]);
        program.send(Method::PATCH, &image, "\"7\", \"1\"", json!({ "note": "n" })).await.expect(200);
        program.send(Method::PATCH, &image, "\"1\"", json!({ "note": "m" })).await.refused(412, "changed_meanwhile");
        program.send(Method::PATCH, &image, "*", json!({ "note": "m" })).await.expect(200);
        program.send(Method::DELETE, &image, "\"2\"", json!(null)).await.refused(412, "changed_meanwhile");
        program.send(Method::DELETE, &image, "\"3\"", json!(null)).await.expect(204);
    }

    async fn a_change_that_cannot_be_is_refused(start: Start) {
        let app = start.ready().await;
        let program = app.program("images");
        program.image("taken", &iso("ONE")).await;
        let image = format!("/images/{}", program.image("x", &iso("TWO")).await);
        for (change, status, code) in [
            (json!({ "name": "Taken" }), 409, "name.taken"),
            (json!({ "name": "" }), 422, "name.empty"),
            (json!({ "note": "\u{1b}" }), 422, "note.control"),
            (json!({ "os": "x" }), 422, "os.none"),
            (json!({ "os": "windows-11", "min_vcpu": 1 }), 422, "requirements.too_small"),
            (json!({ "size": 1 }), 422, "body.member"),
        ] {
            program.patch(&image, change).await.refused(status, code);
        }
        program.patch(&image, json!({})).await.expect(200);
        program.patch(&image, json!({ "name": null, "min_vcpu": null })).await.expect(200);
        assert_eq!(app.texts("SELECT name AS t FROM images ORDER BY name"), ["taken", "x"]);
        app.sql("UPDATE images SET kind = 'virtual_disk' WHERE name = 'x'");
        program.patch(&image, json!({ "note": "n" })).await.refused(409, "image.virtual_disk");
        program.delete(&image).await.refused(409, "image.virtual_disk");
        app.sql("UPDATE images SET kind = 'installation' WHERE name = 'x'");
    }

    async fn only_the_token_that_sends_may_delete_meanwhile(start: Start) {
        start.leaves(Left::Transfers);
        let app = start.ready().await;
        let (one, other) = (app.program("images"), app.program("images"));
        let bytes = iso("LIVE");
        let id = one.announce("live", &bytes).await;
        app.sql("UPDATE images SET status = 'uploading'");
        let shown = other.get(&format!("/images/{id}")).await.json();
        assert_eq!((&shown["status"]["code"], &shown["status"]["progress"]), (&json!("uploading"), &json!({ "received": 0, "total": bytes.len(), "percent": 0 })));
        other.delete(&format!("/images/{id}")).await.refused(409, "image.other_device");
        app.admin().open(&format!("/images/{id}/deletion")).await.expect_status(409).expect("from another device");
        other.put(&id, &bytes).await.refused(409, "upload.under_way");
        one.delete(&format!("/images/{id}")).await.expect(204);
    }

    async fn cancelling_ends_the_transfer_and_is_done_twice_without_harm(start: Start) {
        let app = start.ready().await;
        let program = app.program("images");
        let id = program.announce("cancelled", &iso("CANCELLED")).await;
        app.sql("UPDATE images SET status = 'uploading'");
        let path = format!("/images/{id}/upload");
        let (stopped, lines) = app.events_of(program.request(Method::DELETE, &path).send()).await;
        let image = stopped.expect(200).json();
        assert_eq!(image["status"]["code"], "pending");
        assert!(image["status"]["sentence"].as_str().unwrap().starts_with("The upload was cancelled."), "{image}");
        assert_eq!(lines, ["Ada stop_upload failed cancelled – The upload was cancelled. 0 bytes had arrived."]);
        let (again, lines) = app.events_of(program.request(Method::DELETE, &path).send()).await;
        again.expect(200);
        assert_eq!(lines, [""; 0]);
        program.request(Method::DELETE, &format!("/images/{NOTHING}/upload")).send().await.refused(404, "not_found");
    }

    async fn a_file_is_checked_and_a_record_forgotten(start: Start) {
        let app = start.ready().await;
        let program = app.program("images");
        let id = program.image("x", &iso("X")).await;
        let post = |path: String| program.request(Method::POST, &path).send();
        assert_eq!(post(format!("/images/{id}/check")).await.expect(200).json()["status"]["code"], "available");
        post(format!("/images/{id}/forget")).await.refused(409, "image.not_unavailable");
        std::fs::remove_file(app.file_of(&id)).unwrap();
        let checked = post(format!("/images/{id}/check")).await.expect(200).json();
        assert_eq!(checked["status"]["code"], "file_unavailable");
        assert!(checked["status"]["sentence"].as_str().unwrap().contains("by other hands"));
        program.delete(&format!("/images/{id}")).await.refused(409, "image.file_unavailable");
        app.work().await;
        post(format!("/images/{id}/forget")).await.expect(204);
        post(format!("/images/{id}/forget")).await.refused(404, "not_found");
        let pending = program.announce("pending", &iso("P")).await;
        post(format!("/images/{pending}/check")).await.refused(409, "image.incomplete");
        program.delete(&format!("/images/{pending}")).await.expect(204);
        start.leaves(Left::Files);
    }

    async fn a_query_is_read_strictly(start: Start) {
        let app = start.ready().await;
        let program = app.program("read");
        let unknown = program.get("/images?kind=x").await.refused(400, "query.unknown");
        assert!(unknown.json()["detail"].as_str().unwrap().contains("“kind”"));
        for path in ["/clusters?x=1", "/hosts?limit=1", "/account?a", "/settings?q=", "/operating-systems?after=x", "/images/0190a000-0000-7000-8000-000000000000?x=1"] {
            program.get(path).await.refused(400, "query.unknown");
        }
        for query in ["type=x", "status=deleting", "os=x", "storage=1", "cluster=x", "sort=x", "sort=--name", "sort=name&sort=os", "limit=0", "limit=201", "limit=+5", "limit=",
            "limit=1&limit=2", "q=%00", "q=a%0Ab", "q=%ff", &format!("q={}", "x".repeat(256))] {
            program.get(&format!("/images?{query}")).await.refused(400, "query.invalid");
        }
        for query in ["action=x", "outcome=x", "object=x", "actor=1", "since=yesterday", "until=2026-13-01", "since=2026-01-01&since=2026-01-02"] {
            program.get(&format!("/events?{query}")).await.refused(400, "query.invalid");
        }
        program.get("/storages?kind=nfs").await.refused(400, "query.invalid");
        program.get(&format!("/images?{}", "type=installation&".repeat(900))).await.expect(200);
        program.get("/images?q=&type=installation&type=base&status=available&os=other&sort=-size&limit=200").await.expect(200);
    }

    async fn head_answers_as_get_and_other_methods_name_the_ones_there_are(start: Start) {
        let app = start.ready().await;
        let program = app.program("all");
        let id = program.image("x", &iso("X")).await;
        for path in ["/images".to_owned(), format!("/images/{id}"), "/storages".into(), "/clusters".into(), "/hosts".into(), "/events".into(), "/settings".into(), "/operating-systems".into(), "/account".into()] {
            let (get, head) = (program.get(&path).await.expect(200), program.request(Method::HEAD, &path).send().await.expect(200));
            for name in ["content-type", "etag", "link"] {
                assert_eq!(get.header(name), head.header(name), "{path} {name}");
            }
        }
        for (method, path, allow) in [
            (Method::DELETE, "/images".to_owned(), "GET, HEAD, POST"),
            (Method::POST, format!("/images/{id}"), "GET, HEAD, PATCH, DELETE"),
            (Method::GET, format!("/images/{id}/upload"), "DELETE"),
            (Method::OPTIONS, format!("/images/{id}/content"), "GET, HEAD, PUT"),
            (Method::GET, "/token".into(), "DELETE"),
        ] {
            let refused = program.request(method.clone(), &path).send().await.refused(405, "method_not_allowed");
            assert_eq!(refused.header("allow"), allow, "{method} {path}");
        }
        for path in ["/nothing", "/images/x", "/images/", "//images", &format!("/images/{}", id.to_uppercase()), &format!("/images/{NOTHING}"), &format!("/storages/{NOTHING}")] {
            program.get(path).await.refused(404, "not_found");
        }
    }
}
