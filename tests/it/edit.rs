//! Changing what an administrator wrote about an image.

use super::support::{Page, iso};

async fn edit(app: &super::support::App, id: &str) -> Page {
    app.admin().open(&format!("/images/{id}/edit")).await
}

two_databases! {
    async fn what_is_saved_stands_on_the_page_in_the_manifest_and_in_the_log(start: Start) {
        let app = start.ready().await;
        let id = app.image("before", iso("EDITED")).await;
        let form = edit(&app, &id).await.form("Save").fill("name", " after ").fill("note", "two\r\nlines").fill("os", "debian-13").fill("min_vcpu", "3")
            .fill("min_memory_mib", "").fill("min_disk_gib", "");
        let (page, lines) = app.events_of(form.submit()).await;
        page.expect_path(&format!("/images/{id}")).expect("Image after is saved.").expect("Debian 13");
        assert_eq!(lines.len(), 1);
        for words in ["Ada edit_image done after – Name: before → after.", "Note changed.", "Operating system: Other → Debian 13", "Requirements: "] {
            assert!(lines[0].contains(words), "{lines:?}");
        }
        app.work().await;
        let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(app.file_of(&id).with_extension("json")).unwrap()).unwrap();
        assert_eq!((manifest["name"].as_str(), manifest["note"].as_str(), manifest["os"].as_str(), manifest["min_vcpu"].as_u64()),
            (Some("after"), Some("two\nlines"), Some("debian-13"), Some(3)));
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), iso("EDITED"));
        app.admin().open("/images?q=after").await.expect("1 image");
        app.admin().open("/images?q=before").await.expect("No image matches");
    }

    async fn who_saves_later_sees_both_versions(start: Start) {
        let app = start.ready().await;
        let id = app.image("shared", iso("SHARED")).await;
        let (mine, theirs) = (edit(&app, &id).await, edit(&app, &id).await);
        theirs.form("Save").fill("name", "theirs").fill("note", "their note").submit().await.expect("is saved");
        let page = mine.form("Save").fill("name", "mine").submit().await;
        page.expect_status(409).expect("Somebody else saved this image while you were typing");
        assert_eq!(page.texts(".error-summary tbody tr > *"), ["Name", "theirs", "mine", "Note", "their note", ""]);
        assert_eq!(app.texts("SELECT name AS t FROM images"), ["theirs"]);
        page.form("Save mine").submit().await.expect("Image mine is saved.");
        assert_eq!(app.texts("SELECT name || '|' || note AS t FROM images"), ["mine|"]);
        let stale = mine.form("Save").fill("name", "mine").submit().await;
        stale.expect_status(409).expect("Nothing is lost; save again or leave.");
    }

    async fn faults_come_back_with_what_was_typed(start: Start) {
        let app = start.ready().await;
        app.image("taken", iso("TAKEN")).await;
        let id = app.image("free", iso("FREE")).await;
        for (field, value, words) in [
            ("name", "  ", "name"), ("name", &*"x".repeat(256), "255"), ("name", "TAKEN", "There is an image “TAKEN” on “local” already."),
            ("note", &"y".repeat(4_097), "4,096"), ("min_vcpu", "1.5", "whole number"), ("min_disk_gib", "-1", "whole number"),
        ] {
            let back = edit(&app, &id).await.form("Save").fill(field, value).submit().await;
            back.expect_status(if value == "TAKEN" { 409 } else { 422 }).expect(words);
            assert_eq!(back.form("Save").value(field), value);
        }
        let low = edit(&app, &id).await.form("Save").fill("os", "debian-13").fill("min_memory_mib", "1").submit().await;
        low.expect_status(422).expect("can be raised, not lowered");
        assert_eq!(app.texts("SELECT name AS t FROM images ORDER BY name"), ["free", "taken"]);
        assert_eq!(app.count("jobs"), 0);
    }

    async fn its_own_name_in_another_spelling_is_free(start: Start) {
        let app = start.ready().await;
        let id = app.image("Name", iso("NAME")).await;
        edit(&app, &id).await.form("Save").fill("name", "NAME").submit().await.expect("Image NAME is saved.");
    }

    async fn unknown_fields_are_ignored_and_known_ones_are_needed(start: Start) {
        let app = start.ready().await;
        let id = app.image("plain", iso("PLAIN")).await;
        let form = edit(&app, &id).await.form("Save").smuggle("status", "pending").smuggle("sha256", "x").smuggle("size_bytes", "1").smuggle("storage_id", "x");
        form.submit().await.expect("is saved");
        assert_eq!(app.count(&format!("images WHERE status = 'available' AND size_bytes = {}", iso("PLAIN").len())), 1);
        app.admin().post(&format!("/images/{id}/edit"), &[("name", "x"), ("os", "other")]).await.expect(400);
        app.admin().post(&format!("/images/{id}/edit"), &[("name", "x"), ("name", "y"), ("version", "1")]).await.expect(400);
    }
}
