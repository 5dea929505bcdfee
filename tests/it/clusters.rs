//! Clusters and their hosts.

use super::support::{App, Page};

async fn add(app: &App, name: &str) -> Page {
    app.admin().open("/clusters/new").await.form("Add cluster").fill("name", name).submit().await
}

two_databases! {
    async fn a_cluster_is_added_changed_and_removed_with_one_event_each(start: Start) {
        let app = start.ready().await;
        let (page, lines) = app.events_of(add(&app, "North")).await;
        page.expect("Cluster North is added.").expect("Healthy");
        assert_eq!(lines, ["Ada add_cluster done North – "]);
        let id = page.id();
        let edit = app.admin().open(&format!("/clusters/{id}/edit")).await;
        let (page, lines) = app.events_of(edit.form("Save").fill("name", "South").fill("note", "by the sea").submit()).await;
        page.expect("Cluster South is saved.").expect("by the sea");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("Ada edit_cluster done South – "), "{lines:?}");
        let (page, lines) = app.events_of(app.admin().open(&format!("/clusters/{id}/removal")).await.form("Remove cluster").submit()).await;
        page.expect_path("/clusters").expect("Cluster South is removed.");
        assert_eq!(lines, ["Ada remove_cluster done South – "]);
        app.admin().get(&format!("/clusters/{id}")).await.expect(404);
        app.admin().post(&format!("/clusters/{id}/removal"), &[]).await.expect(404);
    }

    async fn what_hangs_on_a_cluster_keeps_it(start: Start) {
        let app = start.ready().await;
        let default = app.text("SELECT id AS t FROM clusters");
        let page = app.admin().open(&format!("/clusters/{default}")).await;
        page.expect("Cannot be removed: ");
        let asked = app.admin().open(&format!("/clusters/{default}/removal")).await;
        asked.expect_status(409).expect("cannot be removed now");
        let (answer, lines) = app.events_of(app.admin().post(&format!("/clusters/{default}/removal"), &[])).await;
        answer.expect(409);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("Ada remove_cluster refused Default – "), "{lines:?}");
        let north = add(&app, "North").await.id();
        let nas = app.datastore("nas").await;
        app.admin().post(&format!("/datastores/{nas}/connections"), &[("cluster", &north)]).await.expect(303);
        app.admin().open(&format!("/clusters/{north}/removal")).await.expect_status(409);
        app.admin().post(&format!("/datastores/{nas}/connections/{north}/removal"), &[]).await.expect(303);
        app.admin().open(&format!("/clusters/{north}/removal")).await.form("Remove cluster").submit().await.expect("is removed");
    }

    async fn names_are_taken_once_and_forms_sent_once(start: Start) {
        let app = start.ready().await;
        add(&app, " DEFAULT ").await.expect_status(409).expect("already");
        add(&app, "\u{3164}").await.expect_status(422);
        let page = app.admin().open("/clusters/new").await;
        let form = || page.form("Add cluster").fill("name", "Once");
        let (one, two) = (form().submit().await, form().submit().await);
        assert_eq!((one.path(), app.count("clusters")), (two.path(), 2));
        app.admin().post("/clusters/new", &[("name", "x")]).await.expect(400);
    }

    async fn who_saves_later_is_told(start: Start) {
        let app = start.ready().await;
        let id = add(&app, "North").await.id();
        let (mine, theirs) = (app.admin().open(&format!("/clusters/{id}/edit")).await, app.admin().open(&format!("/clusters/{id}/edit")).await);
        theirs.form("Save").fill("name", "Theirs").submit().await.expect("is saved");
        let back = mine.form("Save").fill("name", "Mine").submit().await;
        back.expect_status(409).expect("Somebody else saved this while you were typing");
        assert_eq!(back.form("Save").value("name"), "Mine");
        back.form("Save").submit().await.expect("Cluster Mine is saved.");
        let taken = app.admin().open(&format!("/clusters/{id}/edit")).await.form("Save").fill("name", "default").submit().await;
        taken.expect_status(409).expect("already");
    }

    async fn this_machine_is_the_one_host(start: Start) {
        let app = start.ready().await;
        let page = app.admin().open("/hosts").await;
        page.expect("this machine").expect("Connected").expect("Default");
        page.click("this machine").await.expect("The machine that the service runs on".to_lowercase().trim_start_matches("the machine")).expect("local");
    }
}
