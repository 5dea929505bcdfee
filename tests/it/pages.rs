//! Every page in its main states, in short: what a person can read and do there. The two databases show the same.

use std::fs;

use super::support::{App, Left, Page, iso, outline};

/// Compares the outline of a page with the one that is kept under this name.
fn keep(app: &App, name: &str, page: &Page) {
    let kept = insta::Settings::clone_current();
    let mut settings = kept;
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("snapshots");
    let text = outline::redacted(&outline::of(page), app);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

async fn open(app: &App, name: &str, path: &str) -> Page {
    let page = app.admin().open(path).await;
    keep(app, name, &page);
    page
}

two_databases! {
    async fn the_pages_before_anybody_is_signed_in(start: Start) {
        let app = start.open().await;
        let browser = app.browser();
        let page = browser.open(&format!("/setup?code={}", app.code.as_deref().unwrap())).await;
        keep(&app, "set_up", &page);
        keep(&app, "set_up_faults", &page.form("Set up").submit().await);
        app.set_up().await;
        let page = browser.open("/sign-in").await;
        keep(&app, "sign_in", &page);
        keep(&app, "sign_in_wrong", &page.form("Sign in").fill("email", "a@b").submit().await);
        keep(&app, "sign_in_signed_out", &browser.open("/sign-in?signed_out=1").await);
        let form = app.admin().open("/clusters/new").await.form("Add cluster").fill("name", "North");
        app.admin().set_cookie("vmimg-session", None);
        keep(&app, "sign_in_expired", &form.submit().await);
    }

    async fn the_pages_of_an_empty_service(start: Start) {
        let app = start.ready().await;
        app.admin().open("/images").await;
        open(&app, "images_empty", "/images").await;
        open(&app, "images_nothing_matches", "/images?q=nothing&status=available").await;
        open(&app, "datastores_empty", "/datastores").await;
        open(&app, "local_storages", "/local-storages").await;
        open(&app, "datastore_new", "/datastores/new").await;
        open(&app, "local_storage_new", "/local-storages/new").await;
        open(&app, "clusters", "/clusters").await;
        open(&app, "cluster_new", "/clusters/new").await;
        open(&app, "cluster", &format!("/clusters/{}", app.text("SELECT id AS t FROM clusters"))).await;
        open(&app, "cluster_removal_refused", &format!("/clusters/{}/removal", app.text("SELECT id AS t FROM clusters"))).await;
        open(&app, "hosts", "/hosts").await;
        open(&app, "host", &format!("/hosts/{}", app.text("SELECT id AS t FROM hosts"))).await;
        open(&app, "events", "/events").await;
        open(&app, "settings", "/settings").await;
        open(&app, "account", "/account").await;
        open(&app, "tokens_none", "/account/tokens").await;
        let key = app.admin().open("/account/tokens").await.attributes("input[name=key]", "value").remove(0);
        let made = app.admin().post("/account/tokens", &[("key", &key), ("name", "nightly backup"), ("days", "30"), ("scope", "read"), ("scope", "download")]).await;
        let made = app.admin().follow(made).await;
        keep(&app, "tokens_made", &made);
        open(&app, "token_revocation", &format!("/account/tokens/{}/revocation", app.text("SELECT id AS t FROM tokens"))).await;
        open(&app, "not_found", "/images/nonsense").await;
        let bob = app.user("bob@example.org", "no_access").await;
        for (name, path) in [("images_without_rights", "/images"), ("not_allowed", "/settings"), ("not_allowed_to_add", "/datastores/new"), ("storages_without_rights", "/local-storages")] {
            keep(&app, name, &bob.open(path).await);
        }
    }

    async fn the_wizard(start: Start) {
        let app = start.ready().await;
        let page = app.admin().open("/images/new").await;
        keep(&app, "wizard_general", &page);
        keep(&app, "wizard_general_faults", &page.form("Continue").fill("note", &"x".repeat(5_000)).submit().await);
        let page = page.form("Continue").fill("name", "memtest86+").submit().await;
        keep(&app, "wizard_configuration", &page);
        keep(&app, "wizard_configuration_faults", &page.form("Continue to summary").submit().await);
        let page = page.form("Continue to summary").fill("os", "debian-13").submit().await;
        keep(&app, "wizard_summary", &page);
        keep(&app, "wizard_summary_faults", &page.form("Create image").attach("file", "x.img", iso("X")).submit().await);
        keep(&app, "wizard_cancel", &page.click("Cancel").await);
        let page = page.form("Create image").attach("file", "memtest.iso", iso("MEMTEST")).submit().await;
        keep(&app, "wizard_done", &page);
    }

    async fn an_image_in_each_status(start: Start) {
        start.leaves(Left::Records).leaves(Left::Files);
        let app = start.ready().await;
        app.datastore("nas").await;
        let id = app.image_on("nas", "memtest86+", iso("MEMTEST")).await;
        let here = format!("/images/{id}");
        app.admin().open(&here).await;
        open(&app, "image_available", &here).await;
        open(&app, "image_access", &format!("{here}/access")).await;
        open(&app, "image_vms_none", &format!("{here}/vms")).await;
        open(&app, "image_events", &format!("{here}/events")).await;
        open(&app, "image_edit", &format!("{here}/edit")).await;
        open(&app, "image_deletion", &format!("{here}/deletion")).await;
        open(&app, "image_forgetting_refused", &format!("{here}/forgetting")).await;
        open(&app, "images_one", "/images").await;
        app.attach(&id, "web-07");
        open(&app, "image_in_use", &here).await;
        open(&app, "image_vms", &format!("{here}/vms")).await;
        open(&app, "image_deletion_refused", &format!("{here}/deletion")).await;
        app.detach_all();
        app.sql("UPDATE images SET file_state = 'missing'");
        open(&app, "image_file_missing", &here).await;
        open(&app, "image_forgetting", &format!("{here}/forgetting")).await;
        app.sql("UPDATE images SET file_state = 'changed'");
        open(&app, "image_file_changed", &here).await;
        app.sql("UPDATE images SET file_state = 'sound', status = 'creating', kind = 'base'");
        open(&app, "image_creating", &here).await;
        app.sql("UPDATE images SET status = 'available'");
        open(&app, "image_base_deletion", &format!("{here}/deletion")).await;
        app.sql("UPDATE images SET kind = 'virtual_disk'");
        open(&app, "image_virtual_disk", &here).await;
        app.sql("UPDATE images SET kind = 'installation'");

        let pending = app.pending("waiting").await;
        open(&app, "image_pending", &format!("/images/{pending}")).await;
        app.sql(&format!("UPDATE uploads SET stopped = 'interrupted', stopped_detail = 'The connection was lost.' WHERE image_id = '{pending}'"));
        open(&app, "image_interrupted", &format!("/images/{pending}")).await;
        app.sql(&format!("UPDATE uploads SET stopped = 'refused', stopped_detail = 'The file is empty (0 bytes).' WHERE image_id = '{pending}'"));
        open(&app, "image_refused", &format!("/images/{pending}")).await;
        let bytes = iso("SENDING");
        let sending = app.announced(&app.admin(), "sending", &bytes).await;
        app.sql(&format!("UPDATE images SET status = 'uploading' WHERE id = '{sending}'"));
        app.sql(&format!("UPDATE uploads SET offset_bytes = 49152 WHERE image_id = '{sending}'"));
        open(&app, "image_uploading", &format!("/images/{sending}")).await;
        let elsewhere = app.second_admin().await.open(&format!("/images/{sending}")).await;
        keep(&app, "image_uploading_elsewhere", &elsewhere);
        open(&app, "images_several", "/images?sort=name").await;
        let list = app.admin().open("/images").await;
        keep(&app, "selection", &list.form("/images/selection").choose("ids", &id).choose("ids", &pending).submit().await);
        app.admin().post(&format!("/images/{sending}/upload/cancel"), &[]).await;
        let mine = app.admin().open(&format!("{here}/edit")).await;
        app.admin().open(&format!("{here}/edit")).await.form("Save").fill("name", "theirs").submit().await;
        keep(&app, "image_edit_conflict", &mine.form("Save").fill("name", "mine").submit().await);
        keep(&app, "image_edit_faults", &app.admin().open(&format!("{here}/edit")).await.form("Save").fill("name", " ").submit().await);
    }

    async fn a_storage_in_each_status(start: Start) {
        let app = start.ready().await;
        let nas = app.datastore("nas").await;
        let id = app.image_on("nas", "memtest86+", iso("MEMTEST")).await;
        let here = format!("/datastores/{nas}");
        open(&app, "storage_healthy", &here).await;
        open(&app, "storage_edit", &format!("{here}/edit")).await;
        open(&app, "storage_removal", &format!("{here}/removal")).await;
        let (place, away) = (app.path_of("nas"), app.dir().join("media/away"));
        fs::rename(&place, &away).unwrap();
        app.watch().await;
        open(&app, "storage_degraded", &here).await;
        open(&app, "image_degraded", &format!("/images/{id}")).await;
        open(&app, "datastores_degraded", "/datastores").await;
        let page = app.admin().open("/images/new").await.form("Continue").fill("name", "x").submit().await;
        keep(&app, "wizard_storage_degraded", &page);
        fs::rename(&away, &place).unwrap();
        app.watch().await;
        app.admin().open(&format!("{here}/removal")).await.form("Remove storage").submit().await;
        open(&app, "storage_removed", &here).await;
        open(&app, "storage_removed_already", &format!("{here}/removal")).await;
        open(&app, "image_storage_removed", &format!("/images/{id}")).await;
        let back = app.admin().open("/datastores/new").await.form("Add datastore").fill("name", "x").fill("path", "/etc").submit().await;
        keep(&app, "storage_new_faults", &back);
    }
}
