//! Who may delete which image when, and what becomes of its file; forgetting what is gone for good.

use super::support::{App, Left, Page, iso};

async fn delete(app: &App, id: &str) -> Page {
    let page = app.admin().open(&format!("/images/{id}/deletion")).await;
    page.form("Delete image").submit().await
}

/// The page that would delete says why it cannot, the button on the image's page says the same, and sending the form anyway changes nothing.
async fn is_refused(app: &App, browser: &super::support::Browser, id: &str, reason: &str) {
    let page = browser.open(&format!("/images/{id}")).await;
    page.expect(&format!("Cannot be deleted: {reason}"));
    assert_eq!(page.texts("button[aria-describedby=why-delete]"), ["Delete"]);
    let list = browser.open("/images").await;
    list.expect(reason);
    let asked = browser.open(&format!("/images/{id}/deletion")).await;
    asked.expect_status(409).expect("cannot be deleted now").expect(reason);
    let version = app.number(&format!("SELECT version AS n FROM images WHERE id = '{id}'")).to_string();
    let (forced, lines) = app.events_of(browser.post(&format!("/images/{id}/deletion"), &[("version", &version)])).await;
    assert!(forced.expect(409).text().contains("cannot be deleted now"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(" delete_image refused ") && lines[0].contains(reason), "{lines:?}");
    assert_eq!(app.count(&format!("images WHERE id = '{id}' AND status <> 'deleting'")), 1);
}

two_databases! {
    async fn an_available_image_is_gone_at_once_and_its_file_by_a_job(start: Start) {
        let app = start.ready().await;
        let id = app.image("old", iso("OLD")).await;
        let (page, lines) = app.events_of(delete(&app, &id)).await;
        page.expect_path("/images").expect("Image old is deleted.").expect("No images yet");
        assert_eq!(lines, ["Ada delete_image done old – "]);
        for path in ["", "/edit", "/download", "/deletion", "/events"] {
            app.admin().get(&format!("/images/{id}{path}")).await.expect(404);
        }
        let file = app.path_of("local").join("images").join(format!("{id}.iso"));
        assert!(file.exists(), "the file goes by a job");
        let again = app.image("OLD", iso("NEW")).await;
        let ((), lines) = app.events_of(app.work()).await;
        assert_eq!(lines, ["vmimg remove_file done old – "]);
        assert!(!file.exists() && !file.with_extension("json").exists() && app.file_of(&again).exists());
        assert_eq!(app.count("images"), 1);
    }

    async fn a_pending_image_is_deleted(start: Start) {
        let app = start.ready().await;
        let id = app.pending("never sent").await;
        delete(&app, &id).await.expect("Image never sent is deleted.");
        app.work().await;
        assert_eq!((app.count("images"), app.count("uploads")), (0, 0));
    }

    async fn an_attached_image_cannot_be_deleted_and_the_machines_are_named(start: Start) {
        let app = start.ready().await;
        let id = app.image("used", iso("USED")).await;
        app.attach(&id, "web-07");
        is_refused(&app, &app.admin(), &id, "It is attached to “web-07”. Detach it there first.").await;
        app.attach(&id, "db-01");
        is_refused(&app, &app.admin(), &id, "It is attached to “db-01” and “web-07”. Detach it there first.").await;
        app.admin().open("/images").await.expect("db-01, +1");
        app.admin().open(&format!("/images/{id}/vms")).await.expect("web-07").expect("Read-only");
        app.detach_all();
        delete(&app, &id).await.expect("is deleted");
    }

    async fn a_machine_that_comes_meanwhile_keeps_its_image(start: Start) {
        let app = start.ready().await;
        let id = app.image("raced", iso("RACED")).await;
        let form = app.admin().open(&format!("/images/{id}/deletion")).await.form("Delete image");
        app.attach(&id, "late");
        form.submit().await.expect_status(409).expect("It is attached to “late”.");
        assert!(app.try_sql(&format!("DELETE FROM images WHERE id = '{id}'")).is_err(), "the database refuses as well");
    }

    async fn while_it_is_sent_only_its_device_deletes_an_image(start: Start) {
        let app = start.ready().await;
        let bytes = iso("SENT");
        let id = app.announced(&app.admin(), "sent", &bytes).await;
        // Announced only: Pending, so that anybody with the right may delete it. Uploading from here on.
        app.sql(&format!("UPDATE images SET status = 'uploading' WHERE id = '{id}'"));
        let elsewhere = app.second_admin().await;
        is_refused(&app, &elsewhere, &id, "It is being uploaded from another device.").await;
        delete(&app, &id).await.expect("Image sent is deleted.");
        assert_eq!(app.number("SELECT CAST(COALESCE(SUM(reserved_bytes), 0) AS BIGINT) AS n FROM images"), 0);
    }

    async fn when_the_lease_has_run_out_anybody_may_delete_it(start: Start) {
        let app = start.ready().await;
        let id = app.announced(&app.admin(), "left", &iso("LEFT")).await;
        app.sql(&format!("UPDATE images SET status = 'uploading' WHERE id = '{id}'"));
        app.run_out(&id);
        vmimg::jobs::end_leases(&app.service).await.unwrap();
        let elsewhere = app.second_admin().await;
        elsewhere.open(&format!("/images/{id}")).await.expect("Pending").expect("The file was never sent.");
        elsewhere.open(&format!("/images/{id}/deletion")).await.form("Delete image").submit().await.expect("is deleted");
    }

    async fn an_image_on_a_degraded_storage_waits(start: Start) {
        start.leaves(Left::Records);
        let app = start.ready().await;
        app.datastore("nas").await;
        let id = app.image_on("nas", "far", iso("FAR")).await;
        let (here, away) = (app.path_of("nas"), app.dir().join("media/away"));
        std::fs::rename(&here, &away).unwrap();
        app.watch().await;
        is_refused(&app, &app.admin(), &id, "Its storage “nas” is degraded.").await;
        std::fs::rename(&away, &here).unwrap();
        app.watch().await;
        delete(&app, &id).await.expect("is deleted");
    }

    async fn an_image_whose_file_is_unavailable_is_forgotten_instead(start: Start) {
        start.leaves(Left::Files);
        let app = start.ready().await;
        app.datastore("nas").await;
        let id = app.image_on("nas", "lost", iso("LOST")).await;
        app.admin().open(&format!("/images/{id}/forgetting")).await.expect_status(409).expect("Its file is not unavailable. Delete the image instead");
        app.admin().post(&format!("/images/{id}/forgetting"), &[]).await.expect(409);
        let nas = app.storage("nas");
        app.admin().open(&format!("/datastores/{nas}/removal")).await.form("Remove storage").submit().await.expect("1 image is unavailable");
        is_refused(&app, &app.admin(), &id, "Its file is unavailable, so nothing could be removed from the storage.").await;
        app.attach(&id, "web-07");
        app.admin().post(&format!("/images/{id}/forgetting"), &[]).await.expect(409);
        app.detach_all();
        let page = app.admin().open(&format!("/images/{id}")).await.click("Forget…").await;
        let (page, lines) = app.events_of(page.form("Forget image").submit()).await;
        page.expect("The record of lost is forgotten.");
        assert_eq!(lines, ["Ada forget_image done lost – It lay on “nas”."]);
        assert!(app.folder("nas").join(format!("images/{id}.iso")).exists(), "nothing on the medium is touched");
        assert_eq!(app.count("images"), 0);
    }

    async fn a_virtual_disk_has_no_actions_of_its_own(start: Start) {
        start.leaves(Left::Records).leaves(Left::Files);
        let app = start.ready().await;
        let id = app.image("disk", iso("DISK")).await;
        app.sql("UPDATE images SET kind = 'virtual_disk'");
        let page = app.admin().open(&format!("/images/{id}")).await;
        assert_eq!(page.texts("#actions"), [""; 0]);
        app.admin().get(&format!("/images/{id}/deletion")).await.expect(409);
        app.admin().post(&format!("/images/{id}/deletion"), &[("version", "4")]).await.expect(409);
        let version = app.number("SELECT version AS n FROM images").to_string();
        let edited = app.admin().post(&format!("/images/{id}/edit"), &[("version", &version), ("name", "x"), ("os", "other")]).await;
        edited.expect(409);
        assert_eq!(app.count("images WHERE status = 'available' AND name = 'disk'"), 1);
    }

    async fn a_base_image_wants_its_name_typed(start: Start) {
        let app = start.ready().await;
        let id = app.image("golden", iso("GOLDEN")).await;
        app.sql("UPDATE images SET kind = 'base'");
        let page = app.admin().open(&format!("/images/{id}/deletion")).await;
        let back = page.form("Delete image").fill("typed_name", "goldem").submit().await;
        back.expect_status(422).expect("Type the image's name as it stands above.");
        back.form("Delete image").fill("typed_name", "golden").submit().await.expect("is deleted");
    }

    async fn who_deletes_an_old_version_is_told(start: Start) {
        let app = start.ready().await;
        let id = app.image("edited", iso("EDITED")).await;
        let form = app.admin().open(&format!("/images/{id}/deletion")).await.form("Delete image");
        app.admin().open(&format!("/images/{id}/edit")).await.form("Save").fill("name", "renamed").submit().await.expect("is saved");
        form.submit().await.expect_status(409).expect("Somebody else changed this while you looked at it.");
        assert_eq!(app.count("images WHERE status = 'available'"), 1);
        app.work().await;
    }

    async fn a_file_that_cannot_be_removed_now_is_removed_later(start: Start) {
        let app = start.ready().await;
        app.datastore("nas").await;
        let id = app.image_on("nas", "late", iso("LATE")).await;
        delete(&app, &id).await;
        let (here, away) = (app.path_of("nas"), app.dir().join("media/away"));
        std::fs::rename(&here, &away).unwrap();
        app.watch().await;
        app.work().await;
        assert_eq!(app.count("jobs WHERE attempts > 0"), 1);
        std::fs::rename(&away, &here).unwrap();
        app.watch().await;
        app.work().await;
        assert_eq!((app.count("jobs"), app.count("images")), (0, 0));
        assert!(!here.join(format!("images/{id}.iso")).exists());
    }
}
