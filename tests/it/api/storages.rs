//! Storages, clusters and hosts by program.

use actix_web::http::Method;
use serde_json::json;

use super::super::support::iso;

const NOTHING: &str = "0190a000-0000-7000-8000-000000000000";

two_databases! {
    async fn a_datastore_is_added_connected_changed_removed_and_brought_back(start: Start) {
        let app = start.ready().await;
        let program = app.program("all");
        let default = app.text("SELECT id AS t FROM clusters");
        let path = app.folder("nas");
        let (made, lines) = app.events_of(program.post("/storages", json!({ "kind": "datastore", "name": "nas", "path": path, "clusters": [default] }))).await;
        let made = made.expect(201);
        let storage = made.json();
        let id = storage["id"].as_str().unwrap().to_owned();
        let here = format!("/storages/{id}");
        assert_eq!((made.location().unwrap(), made.header("etag")), (&*format!("/api/v1{here}"), "\"1\""));
        assert_eq!((&storage["health"], &storage["clusters"][0]["name"], &storage["images"], &storage["host"]), (&json!("healthy"), &json!("Default"), &json!(0), &json!(null)));
        assert!(lines[0].starts_with("Ada add_storage done nas"), "{lines:?}");
        assert_eq!(program.get(&here).await.expect(200).json(), storage);
        app.admin().open(&format!("/datastores/{id}")).await.expect("nas").expect("Healthy");

        let other = program.post("/clusters", json!({ "name": "Berlin" })).await.expect(201).json()["id"].as_str().unwrap().to_owned();
        let connection = format!("{here}/connections/{other}");
        for _ in 0..2 {
            let connected = program.request(Method::PUT, &connection).send().await.expect(200).json();
            assert_eq!(connected["clusters"].as_array().unwrap().len(), 2);
        }
        program.delete(&format!("/clusters/{other}")).await.refused(409, "cluster.in_use");
        for _ in 0..2 {
            program.request(Method::DELETE, &connection).send().await.expect(204);
        }
        program.request(Method::PUT, &format!("{here}/connections/{NOTHING}")).send().await.refused(404, "not_found");
        program.request(Method::PUT, &format!("/storages/{}/connections/{other}", app.storage("local"))).send().await.refused(404, "not_found");
        program.delete(&format!("/clusters/{other}")).await.expect(204);

        program.send(Method::PATCH, &here, "", json!({ "name": "x" })).await.refused(428, "precondition.missing");
        program.send(Method::PATCH, &here, "\"9\"", json!({ "name": "x" })).await.refused(412, "changed_meanwhile");
        let changed = program.send(Method::PATCH, &here, "\"1\"", json!({ "name": "renamed" })).await.expect(200);
        assert_eq!((changed.header("etag"), &changed.json()["name"]), ("\"2\"", &json!("renamed")));
        program.patch(&here, json!({ "name": "local" })).await.refused(409, "name.taken");
        program.patch(&here, json!({ "path": "/etc" })).await.refused(422, "storage.not_allowed");
        let moved = app.dir().join("media/moved");
        std::fs::rename(&path, &moved).unwrap();
        let checked = program.request(Method::POST, &format!("{here}/check")).send().await.expect(200).json();
        assert!(checked["health"] == "degraded" && checked["cause"].is_string(), "{checked}");
        let healthy = program.patch(&here, json!({ "path": moved })).await.expect(200).json();
        assert_eq!((&healthy["health"], &healthy["path"]), (&json!("healthy"), &json!(moved)));
        program.request(Method::POST, &format!("{here}/check")).send().await.expect(200);

        let image = app.image_on("renamed", "kept", iso("KEPT")).await;
        program.send(Method::DELETE, &here, "\"1\"", json!(null)).await.refused(412, "changed_meanwhile");
        program.send(Method::DELETE, &here, "", json!(null)).await.refused(428, "precondition.missing");
        program.delete(&here).await.expect(204);
        assert_eq!(program.get(&here).await.expect(200).json()["health"], "removed");
        program.delete(&here).await.refused(409, "storage.removed");
        program.patch(&here, json!({ "name": "x" })).await.refused(409, "storage.removed");
        program.request(Method::POST, &format!("{here}/check")).send().await.refused(409, "storage.removed");
        program.request(Method::PUT, &connection).send().await.refused(409, "storage.removed");
        let shown = program.get(&format!("/images/{image}")).await.json();
        assert_eq!(shown["status"]["code"], "file_unavailable");
        let back = program.post("/storages", json!({ "kind": "datastore", "name": "back", "path": moved })).await.expect(201).json();
        assert_eq!((&back["id"], &back["images"]), (&json!(id), &json!(1)));
        assert_eq!(program.get(&format!("/images/{image}")).await.json()["status"]["code"], "available");
    }

    async fn a_local_storage_belongs_to_a_host(start: Start) {
        let app = start.ready().await;
        let program = app.program("storages");
        let hosts = program.get("/hosts").await.expect(200).json();
        let host = hosts["items"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(program.get(&format!("/hosts/{host}")).await.expect(200).json(), hosts["items"][0]);
        let path = app.folder("second");
        let made = program.post("/storages", json!({ "kind": "local", "name": "second", "path": path, "host": host })).await.expect(201).json();
        assert_eq!((&made["kind"], &made["host"]), (&json!("local"), &json!(host)));
        let names = |list: serde_json::Value| list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        app.datastore("nas").await;
        assert_eq!(names(program.get("/storages").await.json()), ["local", "nas", "second"]);
        assert_eq!(names(program.get("/storages?kind=local").await.json()), ["local", "second"]);
        assert_eq!(names(program.get("/storages?kind=datastore").await.json()), ["nas"]);
    }

    async fn what_cannot_be_a_storage_is_refused_and_leaves_no_marker(start: Start) {
        let app = start.ready().await;
        let program = app.program("storages");
        let (path, host) = (app.folder("fine"), app.text("SELECT id AS t FROM hosts"));
        let whole = json!({ "kind": "datastore", "name": "x", "path": path });
        let rows = [
            ("kind", json!("nfs"), "/kind", "storage.kind"),
            ("host", json!(host), "/host", "storage.kind"),
            ("name", json!(""), "/name", "name.empty"),
            ("name", json!("LOCAL"), "/name", "name.taken"),
            ("path", json!("relative"), "/path", "storage.path"),
            ("path", json!("/etc"), "/path", "storage.not_allowed"),
            ("path", json!(app.dir().join("media/none")), "/path", "storage.not_there"),
            ("path", json!(app.path_of("local").join("images")), "/path", "storage.nested"),
            ("clusters", json!(["x"]), "/clusters", "cluster.none"),
            ("clusters", json!([NOTHING]), "/clusters", "cluster.none"),
            ("clusters", json!("x"), "/clusters", "body.member"),
            ("capacity", json!(1), "/capacity", "body.member"),
        ];
        for (member, value, pointer, code) in rows {
            let mut new = whole.clone();
            new[member] = value;
            let refused = program.post("/storages", new).await.refused(if code == "name.taken" { 409 } else { 422 }, code);
            assert_eq!(refused.json()["errors"][0]["pointer"], pointer, "{}", refused.text());
        }
        for host in [json!(null), json!("x"), json!(NOTHING)] {
            program.post("/storages", json!({ "kind": "local", "name": "x", "path": path, "host": host })).await.refused(422, "storage.no_host");
        }
        program.post("/storages", json!({ "kind": "local", "name": "x", "path": path, "host": host, "clusters": [NOTHING] })).await.refused(422, "storage.kind");
        assert_eq!((app.count("storages"), std::fs::read_dir(&path).unwrap().count()), (1, 0));
    }

    async fn clusters_are_added_changed_and_removed(start: Start) {
        let app = start.ready().await;
        let program = app.program("storages");
        let made = program.post("/clusters", json!({ "name": " Berlin ", "note": "n" })).await.expect(201);
        let cluster = made.json();
        let here = format!("/clusters/{}", cluster["id"].as_str().unwrap());
        assert_eq!((&cluster["name"], &cluster["health"], made.location().unwrap()), (&json!("Berlin"), &json!("healthy"), &*format!("/api/v1{here}")));
        let changed = program.send(Method::PATCH, &here, "\"1\"", json!({ "note": "m" })).await.expect(200);
        assert_eq!((changed.header("etag"), &changed.json()["name"], &changed.json()["note"]), ("\"2\"", &json!("Berlin"), &json!("m")));
        program.send(Method::PATCH, &here, "\"1\"", json!({ "note": "l" })).await.refused(412, "changed_meanwhile");
        program.send(Method::PATCH, &here, "", json!({ "note": "l" })).await.refused(428, "precondition.missing");
        program.patch(&here, json!({ "name": "default" })).await.refused(409, "name.taken");
        program.post("/clusters", json!({ "name": "BERLIN" })).await.refused(409, "name.taken");
        assert_eq!(program.get("/clusters").await.expect(200).json()["items"].as_array().unwrap().len(), 2);
        program.send(Method::DELETE, &here, "\"1\"", json!(null)).await.refused(412, "changed_meanwhile");
        program.send(Method::DELETE, &here, "\"2\"", json!(null)).await.expect(204);
        program.get(&here).await.refused(404, "not_found");
        let default = format!("/clusters/{}", app.text("SELECT id AS t FROM clusters"));
        program.delete(&default).await.refused(409, "cluster.in_use");
    }

    async fn the_catalogue_and_the_settings_are_shown(start: Start) {
        let app = start.ready().await;
        let program = app.program("read");
        let systems = program.get("/operating-systems").await.expect(200).json();
        let debian = systems["items"].as_array().unwrap().iter().find(|system| system["id"] == "debian-13").unwrap().clone();
        assert_eq!((&debian["min_memory_mib"], &debian["family"]), (&json!(512), &json!("Debian and relatives")));
        let settings = program.get("/settings").await.expect(200).json();
        let value = |name: &str| settings["items"].as_array().unwrap().iter().find(|setting| setting["name"] == name).unwrap()["value"].clone();
        assert_eq!(value("listen"), "127.0.0.1:0");
        if !app.database_url.ends_with(".db") {
            assert_eq!(value("database_url"), "(hidden)");
        }
    }
}
