//! Creating an installation image, step by step, without scripts.

use super::support::{App, Left, Page, fixtures::iso_of, iso};

async fn begin(app: &App) -> (String, Page) {
    let page = app.admin().open("/images/new").await;
    let draft = page.path().split('/').nth(3).unwrap().to_owned();
    (draft, page)
}

two_databases! {
    async fn the_steps_come_one_after_the_other(start: Start) {
        let app = start.ready().await;
        let (draft, page) = begin(&app).await;
        page.expect_path(&format!("/images/new/{draft}/general")).expect("Step 1 of 3");
        for later in ["configuration", "summary"] {
            app.admin().open(&format!("/images/new/{draft}/{later}")).await.expect("Step 1 of 3");
        }
        let page = page.form("Continue").fill("name", "memtest").submit().await;
        page.expect("Step 2 of 3");
        app.admin().open(&format!("/images/new/{draft}/summary")).await.expect("Step 2 of 3");
        let page = page.form("Continue to summary").fill("os", "debian-13").submit().await;
        page.expect("Step 3 of 3").expect("memtest").expect("Debian 13").expect("local (Local storage)");
        assert_eq!(app.count("images"), 0);
    }

    async fn what_was_typed_is_kept_also_after_signing_out(start: Start) {
        let app = start.ready().await;
        let (draft, page) = begin(&app).await;
        let page = page.form("Continue").fill("name", "kept").fill("note", "a note").submit().await;
        page.form("Continue to summary").fill("os", "debian-13").fill("min_vcpu", "4").submit().await;
        app.admin().open("/images").await.form("Sign out").submit().await;
        let browser = app.second_admin().await;
        let page = browser.open(&format!("/images/new/{draft}/general")).await;
        let form = page.form("Continue");
        assert_eq!((form.value("name"), form.value("note"), form.value("kind")), ("kept", "a note", "installation"));
        let form = browser.open(&format!("/images/new/{draft}/configuration")).await.form("Continue to summary");
        assert_eq!((form.value("os"), form.value("min_vcpu")), ("debian-13", "4"));
        assert_eq!(form.value("storage"), app.storage("local"));
    }

    async fn change_on_the_summary_leads_back_to_it(start: Start) {
        let app = start.ready().await;
        let page = app.summary(&app.admin(), "first name", "local").await;
        let changed = page.click("Change Name").await;
        changed.expect("Step 1 of 3");
        let page = changed.form("Continue").fill("name", "second name").submit().await;
        page.expect("Step 3 of 3").expect("second name");
        let system = page.click("Change Operating system").await;
        system.form("Continue to summary").fill("os", "debian-13").submit().await.expect("Step 3 of 3").expect("Debian 13");
    }

    async fn faults_stand_beside_their_fields(start: Start) {
        let app = start.ready().await;
        let (_, page) = begin(&app).await;
        let back = page.form("Continue").fill("name", "\u{200b} ").fill("note", &"x".repeat(4_097)).submit().await;
        back.expect_status(422);
        assert_eq!(back.faults().iter().map(|fault| fault.split(':').next().unwrap()).collect::<Vec<_>>(), ["name", "note"]);
        assert!(back.texts("title")[0].starts_with("Error: "));
        let page = back.form("Continue").fill("name", "right").fill("note", "").submit().await;
        let back = page.form("Continue to summary").submit().await;
        back.expect_status(422);
        assert_eq!(back.faults(), ["os: Choose the operating system, or “Other” if it is not in the list."]);
        let low = back.form("Continue to summary").fill("os", "debian-13").fill("min_vcpu", "0").fill("min_memory_mib", "1e3").fill("min_disk_gib", "99999999999").submit().await;
        low.expect_status(422);
        assert_eq!(low.faults().iter().map(|fault| fault.split(':').next().unwrap()).collect::<Vec<_>>(), ["min_vcpu", "min_memory_mib", "min_disk_gib"]);
        assert_eq!(low.form("Continue to summary").value("min_memory_mib"), "1e3");
    }

    async fn a_storage_that_cannot_be_used_is_shown_with_its_reason(start: Start) {
        let app = start.ready().await;
        app.datastore("nas").await;
        std::fs::rename(app.folder("nas"), app.dir().join("media/away")).unwrap();
        app.watch().await;
        let (draft, page) = begin(&app).await;
        let page = page.form("Continue").fill("name", "x").submit().await;
        page.expect("Degraded since");
        assert_eq!(page.attributes("[name=storage][disabled]", "value"), [app.storage("nas")]);
        let forced = app.admin().post(&format!("/images/new/{draft}/configuration"), &[("storage", &app.storage("nas")), ("os", "other")]).await;
        assert!(forced.expect(422).text().contains("is degraded") || app.rows()["images"] == 0);
        for (storage, words) in [("", "Choose the storage"), ("nonsense", "Choose the storage"), ("0190a000-0000-7000-8000-000000000000", "does not exist")] {
            let answer = app.admin().post(&format!("/images/new/{draft}/configuration"), &[("storage", storage), ("os", "other")]).await;
            assert!(answer.expect(422).text().contains(words), "{storage}");
        }
        std::fs::rename(app.dir().join("media/away"), app.dir().join("media/nas")).ok();
    }

    async fn a_base_image_cannot_be_chosen_yet(start: Start) {
        let app = start.ready().await;
        let (draft, page) = begin(&app).await;
        assert_eq!(page.attributes("[name=kind][disabled]", "value"), ["base"]);
        page.expect("The service knows no virtual machines yet.");
        let forced = app.admin().post(&format!("/images/new/{draft}/general"), &[("name", "x"), ("kind", "base")]).await;
        assert!(forced.expect(422).text().contains("The service knows no virtual machines yet."));
        app.admin().post(&format!("/images/new/{draft}/general"), &[("name", "x"), ("kind", "virtual_disk")]).await.expect(422);
    }

    async fn a_form_sent_twice_makes_one_image(start: Start) {
        let app = start.ready().await;
        let page = app.summary(&app.admin(), "once", "local").await;
        let form = || page.form("Create image").attach("file", "once.iso", iso("ONCE"));
        let first = form().submit().await;
        let second = form().submit().await;
        assert_eq!(first.id(), second.id());
        assert_eq!((app.count("images"), app.count("images WHERE status = 'available'")), (1, 1));
    }

    async fn two_clicks_at_once_make_one_image(start: Start) {
        let app = start.ready().await;
        let page = app.summary(&app.admin(), "once", "local").await;
        let form = || page.form("Create image").attach("file", "once.iso", iso_of("ONCE", 600));
        let (first, second) = futures_util::future::join(form().submit(), form().submit()).await;
        assert_eq!(first.path(), second.path(), "{first}\n{second}");
        assert_eq!((app.count("images"), app.count("images WHERE status = 'available'")), (1, 1), "{first}\n{second}");
    }

    async fn a_wizard_that_made_its_image_leads_to_it(start: Start) {
        let app = start.ready().await;
        let page = app.summary(&app.admin(), "done", "local").await;
        let draft = page.path().split('/').nth(3).unwrap().to_owned();
        let image = page.form("Create image").attach("file", "done.iso", iso("DONE")).submit().await.id();
        for step in ["general", "configuration", "summary"] {
            app.admin().open(&format!("/images/new/{draft}/{step}")).await.expect_path(&format!("/images/{image}"));
        }
    }

    async fn two_wizards_do_not_mix(start: Start) {
        let app = start.ready().await;
        let (one, page_one) = begin(&app).await;
        let (two, page_two) = begin(&app).await;
        assert_ne!(one, two);
        page_one.form("Continue").fill("name", "one").submit().await;
        page_two.form("Continue").fill("name", "two").submit().await;
        for (draft, name) in [(&one, "one"), (&two, "two")] {
            let page = app.admin().open(&format!("/images/new/{draft}/general")).await;
            assert_eq!(page.form("Continue").value("name"), name);
        }
    }

    async fn a_wizard_is_its_owners_alone(start: Start) {
        let app = start.ready().await;
        let (draft, page) = begin(&app).await;
        page.form("Continue").fill("name", "mine").submit().await;
        let bob = app.user("bob@example.org", "administrator").await;
        // To others it is like one that was not begun: they are led to an empty first step, and cannot send it.
        for step in ["general", "configuration", "summary"] {
            let page = bob.open(&format!("/images/new/{draft}/{step}")).await;
            page.expect("Step 1 of 3");
            assert_eq!(page.form("Continue").value("name"), "", "{step}");
        }
        for step in ["general", "configuration", "create", "image", "preflight"] {
            let sent = bob.post(&format!("/images/new/{draft}/{step}"), &[("name", "theirs"), ("kind", "installation"), ("os", "other")]).await;
            assert!(sent.status.is_client_error(), "{step}: {}", sent.status);
        }
        bob.post(&format!("/images/new/{draft}/cancel"), &[]).await;
        assert_eq!(app.count("drafts WHERE answers LIKE '%\"name\":\"mine\"%'"), 1);
    }

    async fn giving_up_asks_only_when_something_would_be_lost(start: Start) {
        let app = start.ready().await;
        let (_, page) = begin(&app).await;
        page.click("Cancel").await.expect_path("/images");
        assert_eq!(app.count("drafts"), 0);
        let (_, page) = begin(&app).await;
        let page = page.form("Continue").fill("name", "nearly").submit().await;
        let asked = page.click("Cancel").await;
        asked.expect("Give up creating “nearly”?");
        asked.click("Go on creating").await.expect("Step 1 of 3");
        asked.form("Give up").submit().await.expect_path("/images").expect("Nothing was created.");
        assert_eq!(app.count("drafts"), 0);
    }

    async fn unknown_fields_change_nothing(start: Start) {
        let app = start.ready().await;
        let page = app.summary(&app.admin(), "plain", "local").await;
        let form = page.form("Create image").smuggle("status", "available").smuggle("sha256", "0").smuggle("id", "x").smuggle("created_by", "eve");
        let page = form.attach("file", "plain.iso", iso("PLAIN")).submit().await;
        page.expect("Available");
        assert_eq!(app.texts("SELECT created_by_name || ' ' || sha256 AS t FROM images"), [format!("Ada {}", super::support::sha256(&iso("PLAIN")))]);
    }

    async fn fields_that_come_twice_are_refused(start: Start) {
        let app = start.ready().await;
        let (draft, _) = begin(&app).await;
        let path = format!("/images/new/{draft}/general");
        app.admin().post(&path, &[("name", "a"), ("name", "b"), ("kind", "installation")]).await.expect(400);
        let answer = app.admin().request(actix_web::http::Method::POST, &path).body("application/x-www-form-urlencoded", "name=%ff&kind=installation").send().await;
        answer.expect(400);
    }

    async fn nobody_has_more_unfinished_images_than_the_setting_says(start: Start) {
        start.with("max_unfinished", "2").leaves(Left::Transfers);
        let app = start.ready().await;
        for name in ["one", "two"] {
            app.announced(&app.admin(), name, &iso(name)).await;
        }
        let page = app.summary(&app.admin(), "three", "local").await;
        let back = page.form("Create image").attach("file", "three.iso", iso("THREE")).submit().await;
        back.expect_status(429).expect("You have 2 unfinished images").expect("max_unfinished");
        assert_eq!(app.count("images"), 2);
        assert_eq!(app.count("events WHERE outcome = 'refused'"), 1);
    }
}
