//! What the console's scripts do: look before sending, make the image, send the file.

use actix_web::http::Method;

use super::support::{Answer, App, Browser, Left, fixtures, fixtures::iso_of, iso, page::part, sha256};

async fn look(browser: &Browser, url: &str, name: &str, bytes: &[u8], more: &str) -> Answer {
    let query = serde_html_form::to_string([("name", name), ("size", &bytes.len().to_string())]).unwrap();
    let head = bytes[..bytes.len().min(65_536)].to_vec();
    browser.request(Method::POST, &format!("{url}?{query}{more}")).json().body("application/octet-stream", head).send().await
}

async fn send(browser: &Browser, image: &str, name: &str, bytes: &[u8]) -> Answer {
    let mut body = Vec::new();
    part(&mut body, "b", "file", Some(name), bytes);
    body.extend_from_slice(b"--b--\r\n");
    browser.request(Method::POST, &format!("/images/{image}/content")).json().body("multipart/form-data; boundary=b", body).send().await
}

fn first_fault(answer: &Answer) -> (String, String) {
    let fault = &answer.json()["errors"][0];
    (fault["code"].as_str().unwrap().to_owned(), fault["message"].as_str().unwrap().to_owned())
}

async fn begin(app: &App, name: &str) -> String {
    let page = app.admin().open("/images/new").await.form("Continue").fill("name", name).submit().await;
    page.path().split('/').nth(3).unwrap().to_owned()
}

two_databases! {
    async fn a_good_file_is_looked_at_made_and_sent(start: Start) {
        let app = start.ready().await;
        let bytes = iso_of("SCRIPTED", 700);
        let draft = begin(&app, "scripted").await;
        let before = app.rows();
        let answer = look(&app.admin(), &format!("/images/new/{draft}/preflight"), "scripted.iso", &bytes, &format!("&storage={}", app.storage("local"))).await;
        let json = answer.expect(200).json();
        assert_eq!(json["ok"], true);
        assert!(json["label"].as_str().unwrap().contains("SCRIPTED"), "{json}");
        assert_eq!(app.rows(), before, "a look changes nothing");
        let id = app.announced(&app.admin(), "scripted too", &bytes).await;
        assert_eq!(app.number("SELECT CAST(SUM(reserved_bytes) AS BIGINT) AS n FROM images"), bytes.len() as i64);
        let page = app.admin().open(&format!("/images/{id}")).await;
        page.expect("Pending").expect("The upload is about to begin.");
        let answer = send(&app.admin(), &id, "image.iso", &bytes).await.expect(200);
        assert_eq!(answer.json()["image"], format!("/images/{id}"));
        assert_eq!(sha256(&std::fs::read(app.file_of(&id)).unwrap()), sha256(&bytes));
        assert_eq!(app.number("SELECT size_bytes AS n FROM images"), bytes.len() as i64);
    }

    async fn what_a_look_refuses_is_said_with_its_code_and_leaves_nothing(start: Start) {
        start.with("max_upload", "10 MiB");
        let app = start.ready().await;
        let taken = app.image("taken", iso("TAKEN")).await;
        let draft = begin(&app, "refused").await;
        let url = format!("/images/new/{draft}/preflight");
        let before = (app.rows(), app.files());
        let cases: [(&str, Vec<u8>, &str); 6] = [
            ("a.img", iso("A"), "file.extension"),
            ("a.iso.gz", iso("A"), "file.packed"),
            ("a.iso", vec![], "iso.empty"),
            ("a.iso", vec![1; 40_000], "iso.not_iso"),
            ("a.iso", fixtures::polyglot(), "iso.polyglot"),
            ("a.iso", fixtures::truncated(), "iso.truncated"),
        ];
        for (name, bytes, code) in cases {
            let answer = look(&app.admin(), &url, name, &bytes, "").await.expect(200);
            assert_eq!((answer.json()["ok"].as_bool(), first_fault(&answer).0.as_str()), (Some(false), code), "{name}");
        }
        let large = app.admin().request(Method::POST, &format!("{url}?name=a.iso&size=99999999999")).json()
            .body("application/octet-stream", iso("LARGE")[..65_536].to_vec()).send().await;
        assert_eq!(first_fault(&large).0, "file.too_large");
        app.sql("UPDATE storages SET free_bytes = 1000");
        let full = look(&app.admin(), &url, "a.iso", &iso("A"), &format!("&storage={}", app.storage("local"))).await;
        assert_eq!(first_fault(&full).0, "storage.full");
        app.watch().await;
        app.sql("UPDATE storages SET free_bytes = 100000000000");
        app.admin().post(&format!("/images/new/{draft}/general"), &[("name", "TAKEN"), ("kind", "installation")]).await.expect(303);
        let answer = look(&app.admin(), &url, "a.iso", &iso("A"), &format!("&storage={}", app.storage("local"))).await;
        assert_eq!((first_fault(&answer).0.as_str(), answer.json()["errors"][0]["href"].as_str()), ("name.taken", Some(&*format!("/images/{taken}"))));
        assert_eq!((app.rows(), app.files()), before);
    }

    async fn a_look_tells_of_an_image_that_begins_alike_and_has_the_same_size(start: Start) {
        let app = start.ready().await;
        let (bytes, draft) = (iso_of("TWIN", 700), begin(&app, "twin").await);
        let url = format!("/images/new/{draft}/preflight");
        let told = async |bytes: &[u8]| {
            let answer = look(&app.admin(), &url, "twin.iso", bytes, "").await.expect(200).json();
            assert_eq!(answer["ok"], true);
            answer["warnings"].as_array().unwrap().clone()
        };
        assert!(told(&bytes).await.is_empty());
        let id = app.image("first", bytes.clone()).await;
        let warnings = told(&bytes).await;
        assert_eq!(warnings[0]["href"], format!("/images/{id}"));
        assert!(warnings[0]["message"].as_str().unwrap().contains("“first” on “local” has the same size"), "{warnings:?}");
        assert_eq!(warnings.len(), 1);
        // The page of an image that waits for its file says the same.
        let pending = app.pending("second").await;
        let answer = look(&app.admin(), &format!("/images/{pending}/preflight"), "twin.iso", &bytes, "").await.expect(200).json();
        assert_eq!(answer["warnings"][0]["href"], format!("/images/{id}"));
        // Not of one that is as long and begins otherwise, nor of one that is longer.
        assert!(told(&iso_of("OTHER", 700)).await.is_empty());
        assert!(told(&iso_of("TWIN", 701)).await.is_empty());
        // What is not there cannot be compared; nor is it a reason to refuse.
        let (file, away) = (app.file_of(&id), app.path_of("local").join("away"));
        std::fs::rename(&file, &away).unwrap();
        assert!(told(&bytes).await.is_empty());
        std::fs::rename(&away, &file).unwrap();
    }

    async fn a_look_wants_the_size_and_the_whole_head(start: Start) {
        let app = start.ready().await;
        let draft = begin(&app, "odd").await;
        let url = format!("/images/new/{draft}/preflight");
        let post = |query: &str, body: Vec<u8>| app.admin().request(Method::POST, &format!("{url}?{query}")).json().body("application/octet-stream", body).send();
        post("name=a.iso", iso("A")).await.expect(400);
        post("name=a.iso&size=-1", iso("A")).await.expect(400);
        post("name=a.iso&size=9999999", vec![0; 10]).await.expect(400);
        post("name=a.iso&size=200000", vec![0; 200_000]).await.expect(413);
    }

    async fn faults_of_earlier_steps_lead_to_them(start: Start) {
        let app = start.ready().await;
        let draft = begin(&app, "early").await;
        let answer = look(&app.admin(), &format!("/images/new/{draft}/image"), "a.iso", &iso("A"), "").await.expect(422);
        let json = answer.json();
        let found: Vec<(&str, &str)> = json["errors"].as_array().unwrap().iter().map(|fault| (fault["field"].as_str().unwrap(), fault["href"].as_str().unwrap())).collect();
        assert_eq!(found, [
            ("os", &*format!("/images/new/{draft}/configuration?back=summary#os")),
            ("storage", &*format!("/images/new/{draft}/configuration?back=summary#storage")),
        ]);
        assert_eq!(app.count("images"), 0);
    }

    async fn a_script_that_asks_twice_gets_the_same_image(start: Start) {
        start.leaves(Left::Transfers);
        let app = start.ready().await;
        let page = app.summary(&app.admin(), "twice", "local").await;
        let url = page.attributes("form", "data-create-url").remove(0);
        let bytes = iso("TWICE");
        let admin = app.admin();
        let ask = || look(&admin, &url, "twice.iso", &bytes, "");
        let (one, two) = (ask().await.expect(201), ask().await.expect(201));
        assert_eq!(one.json(), two.json());
        assert_eq!(app.count("images"), 1);
    }

    async fn an_image_on_its_page_takes_the_file_again(start: Start) {
        let app = start.ready().await;
        let id = app.pending("again").await;
        let url = format!("/images/{id}/preflight");
        let refused = look(&app.admin(), &url, "again.txt", &iso("AGAIN"), "").await.expect(200);
        assert_eq!(first_fault(&refused).0, "file.extension");
        assert_eq!(look(&app.admin(), &url, "again.iso", &iso("AGAIN"), "").await.expect(200).json()["ok"], true);
        let bad = send(&app.admin(), &id, "again.iso", &[7; 50_000]).await.expect(422);
        assert_eq!(first_fault(&bad).0, "iso.not_iso");
        send(&app.admin(), &id, "again.iso", &iso("AGAIN")).await.expect(200);
        let late = send(&app.admin(), &id, "again.iso", &iso("OTHER")).await.expect(409);
        assert!(!first_fault(&late).1.is_empty());
        let looked = look(&app.admin(), &url, "again.iso", &iso("AGAIN"), "").await.expect(200);
        assert_eq!(looked.json()["ok"], false);
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), iso("AGAIN"));
    }

    async fn who_is_signed_out_is_told_in_json(start: Start) {
        let app = start.ready().await;
        let id = app.pending("signed out").await;
        let answer = send(&app.browser(), &id, "a.iso", &iso("A")).await.expect(401);
        assert_eq!(answer.json()["errors"][0]["code"], "not_signed_in");
        assert_eq!(answer.json()["request_id"], answer.header("x-request-id"));
        send(&app.user("bob@example.org", "no_access").await, &id, "a.iso", &iso("A")).await.expect(404);
        send(&app.admin(), "0190a000-0000-7000-8000-000000000000", "a.iso", &iso("A")).await.expect(404);
    }

    async fn cancelling_ends_the_transfer(start: Start) {
        let app = start.ready().await;
        let id = app.announced(&app.admin(), "cancelled", &iso("CANCELLED")).await;
        app.sql("UPDATE images SET status = 'uploading'");
        let page = app.admin().open(&format!("/images/{id}")).await;
        page.expect("Uploading 0 %");
        let (page, lines) = app.events_of(page.form("Cancel upload").submit()).await;
        page.expect("is cancelled. Nothing of it was kept.").expect("Pending").expect("The upload was cancelled.");
        assert_eq!(lines, ["Ada stop_upload failed cancelled – The upload was cancelled. 0 bytes had arrived."]);
        let elsewhere = app.second_admin().await.open(&format!("/images/{id}")).await;
        assert!(!elsewhere.says("Cancel upload"));
    }

    async fn a_transfer_that_was_announced_and_never_begun_ends_as_never_sent(start: Start) {
        let app = start.ready().await;
        let id = app.announced(&app.admin(), "silent", &iso("SILENT")).await;
        vmimg::jobs::end_leases(&app.service).await.unwrap();
        assert_eq!(app.count("uploads WHERE lease_until IS NOT NULL"), 1, "not before its lease has run out");
        app.run_out(&id);
        let ((), lines) = app.events_of(async { vmimg::jobs::end_leases(&app.service).await.unwrap() }).await;
        assert_eq!(lines, ["vmimg stop_upload failed silent – The file was never sent."]);
        app.admin().open(&format!("/images/{id}")).await.expect("Pending").expect("The file was never sent. ").expect("Choose the file and send it.");
    }
}
