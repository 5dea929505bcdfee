//! The file in the form, without scripts: what is taken, and that a refused one leaves nothing behind.

use std::os::unix::fs::PermissionsExt;

use actix_web::http::Method;

use super::support::{App, Left, fixtures, fixtures::iso_of, iso, page::part, sha256};

/// Everything that a refusal could leave, but for its line in the log.
fn traces(app: &App) -> (i64, i64, i64, usize) {
    let files = app.files().keys().filter(|name| !name.ends_with(".vmimg-storage.json")).count();
    (app.count("images"), app.count("uploads"), app.count("jobs"), files)
}

two_databases! {
    async fn an_image_is_available_when_its_file_is_whole_and_in_place(start: Start) {
        let app = start.ready().await;
        let bytes = iso_of("MEMTEST", 1_000);
        let id = app.image("memtest86+ 6", bytes.clone()).await;
        let page = app.admin().open(&format!("/images/{id}")).await;
        page.expect("Available").expect(&sha256(&bytes)).expect("MEMTEST").expect("memtest86+ 6");
        let file = app.file_of(&id);
        assert_eq!(sha256(&std::fs::read(&file).unwrap()), sha256(&bytes));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o440);
        let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(file.with_extension("json")).unwrap()).unwrap();
        for (key, value) in [("name", "memtest86+ 6"), ("sha256", sha256(&bytes).as_str()), ("image", id.as_str()), ("os", "other"), ("created_by", "Ada")] {
            assert_eq!(manifest[key], value, "{key}");
        }
        assert_eq!(manifest["size_bytes"], bytes.len());
        let lines: Vec<String> = app.events().into_iter().skip(2).collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(lines[0], "Ada create_image done memtest86+ 6 – Installation image, 2 MiB.");
        assert!(lines[1].starts_with("Ada begin_upload done memtest86+ 6 – “image.iso”, "), "{lines:?}");
        assert_eq!(lines[2], format!("Ada complete_upload done memtest86+ 6 – 2,048,000 bytes, SHA-256 {}.", sha256(&bytes)));
    }

    async fn a_file_that_is_all_head_is_taken_too(start: Start) {
        let app = start.ready().await;
        // The first 64 KiB are 32 sectors.
        for sectors in [20, 31, 32, 33] {
            let bytes = iso_of("SMALL", sectors);
            let id = app.image(&format!("small {sectors}"), bytes.clone()).await;
            app.admin().open(&format!("/images/{id}")).await.expect("Available").expect(&sha256(&bytes));
            assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
        }
    }

    async fn a_file_that_is_refused_at_once_leaves_nothing_behind(start: Start) {
        let app = start.ready().await;
        let before = traces(&app);
        let cases: [(&str, Vec<u8>, &str); 12] = [
            ("", Vec::new(), "Choose a file."),
            ("image.img", iso("X"), "not named as an ISO image"),
            ("image.iso.xz", iso("X"), "Unpack it first"),
            ("image.iso", Vec::new(), "is empty"),
            ("image.iso", vec![7; 1], "no ISO 9660 or UDF descriptor"),
            ("image.iso", b"\x7fELF".repeat(9_000), "no ISO 9660 or UDF descriptor"),
            ("image.iso", vec![0; 34_815], "no ISO 9660 or UDF descriptor"),
            ("image.iso", fixtures::polyglot(), "also looks like a qcow2 disk image"),
            ("image.iso", [&[0x1f, 0x8b, 8, 0][..], &[1; 4_000]].concat(), "is compressed"),
            ("C:\\isos\\image.iso.zip", iso("X"), "Unpack it first"),
            ("image.iso", iso_of("SHORT", 60)[..30 * 2_048].to_vec(), "it was cut off"),
            ("image.iso", fixtures::truncated(), "it was cut off"),
        ];
        let page = app.summary(&app.admin(), "refused", "local").await;
        for (name, bytes, words) in cases {
            let back = page.form("Create image").attach("file", name, bytes).submit().await;
            back.expect("Step 3 of 3").expect(words);
            assert_eq!(back.answer.status, 422, "{name} {words}");
            assert_eq!(traces(&app), before, "{name} {words}");
        }
        page.form("Create image").attach("file", "C:\\isos\\Image.ISO", iso("X")).submit().await.expect("Available").expect("Image.ISO");
    }

    async fn what_only_the_whole_file_tells_leaves_a_pending_image_and_no_bytes(start: Start) {
        let app = start.ready().await;
        let page = app.summary(&app.admin(), "cut", "local").await;
        let page = page.form("Create image").attach("file", "vhd.iso", fixtures::vhd()).submit().await;
        page.expect("Pending").expect("The file was refused.").expect("also looks like a VHD disk image").expect("Choose another file, or delete the image.");
        let id = page.id();
        assert!(!app.file_of(&id).exists());
        assert_eq!(app.number("SELECT CAST(SUM(reserved_bytes) AS BIGINT) AS n FROM images"), 0);
        assert!(app.events().last().unwrap().starts_with("Ada refuse_file refused cut – "), "{:?}", app.events());
        // The image takes another file.
        let page = page.form(&format!("/images/{id}/content")).attach("file", "whole.iso", iso_of("WHOLE", 60)).submit().await;
        page.expect("is complete. The image is Available.");
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), iso_of("WHOLE", 60));
    }

    async fn a_file_over_the_limit_is_refused_with_the_limit(start: Start) {
        start.with("max_upload", "1 MiB");
        let app = start.ready().await;
        let before = traces(&app);
        let page = app.summary(&app.admin(), "large", "local").await;
        let back = page.form("Create image").attach("file", "large.iso", iso_of("LARGE", 600)).submit().await;
        back.expect_status(413).expect("at most 1 MiB").expect("max_upload");
        assert_eq!(traces(&app), before);
        page.form("Create image").attach("file", "fits.iso", iso_of("FITS", 512)).submit().await.expect("Available");
    }

    async fn a_file_that_does_not_fit_is_refused_before_its_bytes(start: Start) {
        let app = start.ready().await;
        let before = traces(&app);
        let page = app.summary(&app.admin(), "big", "local").await;
        app.sql("UPDATE storages SET free_bytes = 100000");
        let back = page.form("Create image").attach("file", "big.iso", iso_of("BIG", 600)).submit().await;
        assert!(matches!(back.answer.status.as_u16(), 422 | 507), "{back}");
        back.expect("Too small: ").expect("needed").expect("free");
        assert_eq!(traces(&app), before);
    }

    async fn promised_space_is_not_given_twice(start: Start) {
        start.leaves(Left::Transfers);
        let app = start.ready().await;
        let (one, two) = (iso_of("ONE", 600), iso_of("TWO", 600));
        let headroom = vmimg::domain::storage::HEADROOM_BYTES;
        app.sql(&format!("UPDATE storages SET free_bytes = {}", headroom + 2_000_000));
        let first = app.announced(&app.admin(), "one", &one).await;
        let page = app.admin().open("/images/new").await.form("Continue").fill("name", "two").submit().await;
        let page = page.form("Continue to summary").choose("storage", "local").fill("os", "other").submit().await;
        page.form("Create image").attach("file", "two.iso", two.clone()).submit().await.expect("Too small: ");
        app.run_out(&first);
        vmimg::jobs::end_leases(&app.service).await.unwrap();
        page.form("Create image").attach("file", "two.iso", two).submit().await.expect("Available");
    }

    async fn a_name_is_taken_on_its_storage_however_it_is_spelt(start: Start) {
        let app = start.ready().await;
        app.datastore("nas").await;
        let id = app.image("Straße É Kelvin", iso("FIRST")).await;
        for name in ["Straße É Kelvin", "STRASSE é kelvin", "  straße E\u{301} \u{212a}elvin "] {
            let page = app.admin().open("/images/new").await.form("Continue").fill("name", name).submit().await;
            let back = page.form("Continue to summary").choose("storage", "local").fill("os", "other").submit().await;
            back.expect_status(409).expect("on this storage already");
            assert_eq!(back.attributes(".error a", "href"), [format!("/images/{id}")], "{name}");
            back.form("Continue to summary").choose("storage", "nas").submit().await.expect("Step 3 of 3");
        }
        app.image_on("nas", "STRASSE É KELVIN", iso("SECOND")).await;
    }

    async fn a_name_taken_meanwhile_is_told_on_the_summary(start: Start) {
        let app = start.ready().await;
        let page = app.summary(&app.admin(), "same", "local").await;
        app.image("SAME", iso("FASTER")).await;
        let before = traces(&app);
        let back = page.form("Create image").attach("file", "same.iso", iso("SLOWER")).submit().await;
        back.expect_status(409).expect("on this storage already").expect("Step 3 of 3");
        assert_eq!(traces(&app), before);
    }

    async fn a_storage_degraded_meanwhile_refuses(start: Start) {
        let app = start.ready().await;
        let page = app.summary(&app.admin(), "late", "local").await;
        let before = traces(&app);
        let (here, away) = (app.path_of("local"), app.dir().join("data/away"));
        std::fs::rename(&here, &away).unwrap();
        // The watcher has not seen it yet: the record is made, and says what happened.
        let pending = page.form("Create image").attach("file", "late.iso", iso("LATE")).submit().await;
        pending.expect("Pending").expect("The storage could not take the file.").expect("There is nothing at");
        app.watch().await;
        let back = page.form("Create image").attach("file", "late.iso", iso("LATE")).submit().await;
        back.expect_path(pending.path()).expect("Degraded");
        let page = app.admin().open("/images/new").await.form("Continue").fill("name", "another").submit().await;
        page.expect("Degraded since");
        std::fs::rename(&away, &here).unwrap();
        app.watch().await;
        assert_eq!(traces(&app).3, before.3);
        app.admin().open(pending.path()).await.form(&format!("{}/content", pending.path())).attach("file", "late.iso", iso("LATE")).submit().await.expect("is complete");
    }

    async fn forms_that_are_not_as_the_page_has_them_leave_nothing_behind(start: Start) {
        let app = start.ready().await;
        let page = app.summary(&app.admin(), "odd", "local").await;
        let action = page.attributes("form[enctype]", "action").remove(0);
        let before = traces(&app);
        let kind = "multipart/form-data; boundary=b";
        let send = |kind: &str, body: Vec<u8>| app.admin().request(Method::POST, &action).body(kind, body).send();
        let mut no_file = Vec::new();
        part(&mut no_file, "b", "other", None, b"x");
        no_file.extend_from_slice(b"--b--\r\n");
        assert!(send(kind, no_file).await.expect(422).text().contains("Choose a file."));
        let mut padded = Vec::new();
        part(&mut padded, "b", "padding", None, &vec![b'x'; 70_000]);
        part(&mut padded, "b", "file", Some("odd.iso"), &iso("ODD"));
        assert!(send(kind, padded).await.expect(413).text().contains("more than 64 KiB beside the file"));
        for (kind, body) in [("multipart/form-data", b"--b--".to_vec()), ("text/plain", b"x".to_vec()), (kind, b"--c\r\n".to_vec()), (kind, Vec::new())] {
            let answer = send(kind, body).await;
            assert!(answer.status.is_client_error(), "{kind}: {}", answer.status);
        }
        let mut bytes = Vec::new();
        part(&mut bytes, "b", "file", Some("odd.iso"), &iso("ODD"));
        let cut = bytes[..bytes.len() / 2].to_vec();
        assert!(send(kind, cut).await.status.is_client_error());
        assert_eq!(traces(&app), before);
    }

    async fn a_form_that_goes_on_after_its_file_is_refused(start: Start) {
        let app = start.ready().await;
        let page = app.summary(&app.admin(), "two files", "local").await;
        let action = page.attributes("form[enctype]", "action").remove(0);
        let mut body = Vec::new();
        part(&mut body, "b", "file", Some("one.iso"), &iso_of("ONE", 100));
        part(&mut body, "b", "file", Some("two.iso"), &iso_of("TWO", 100));
        body.extend_from_slice(b"--b--\r\n");
        let answer = app.admin().request(Method::POST, &action).body("multipart/form-data; boundary=b", body).send().await;
        app.admin().follow(answer).await.expect("Pending").expect("The form holds two files. Send one file per image.");
        assert!(app.files().keys().all(|name| !name.ends_with(".iso") && !name.ends_with(".part")), "{:?}", app.files());
    }
}
