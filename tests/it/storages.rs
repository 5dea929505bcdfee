//! Adding, changing, connecting and removing storages.

use std::{fs, os::unix::fs::symlink};

use super::support::{App, Page};

async fn add(app: &App, name: &str, path: &str) -> Page {
    app.admin().open("/datastores/new").await.form("Add datastore").fill("name", name).fill("path", path).submit().await
}

two_databases! {
    async fn a_storage_is_added_of_either_kind(start: Start) {
        let app = start.ready().await;
        let uuid = app.datastore("nas").await;
        let page = app.admin().open("/datastores").await;
        page.expect("nas").expect("Healthy").expect("Default").expect("0 images");
        let path = app.folder("disk two");
        let page = app.admin().open("/local-storages/new").await.form("Add local storage").fill("name", "second disk").fill("path", path.to_str().unwrap()).submit().await;
        page.expect("Local storage second disk is added.").expect("Healthy").expect_status(200);
        let id = page.id();
        app.admin().open(&format!("/storages/{id}")).await.expect_path(&format!("/local-storages/{id}"));
        app.admin().open(&format!("/storages/{uuid}")).await.expect_path(&format!("/datastores/{uuid}"));
        app.admin().get(&format!("/datastores/{id}")).await.expect(404);
        app.admin().get(&format!("/local-storages/{uuid}")).await.expect(404);
        let host = app.text("SELECT id AS t FROM hosts");
        app.admin().open(&format!("/hosts/{host}")).await.expect("second disk").expect("local");
        assert_eq!(app.count("events WHERE action = 'add_storage' AND outcome = 'done'"), 3);
    }

    async fn a_path_that_cannot_be_a_storage_is_refused_with_its_reason(start: Start) {
        let app = start.ready().await;
        app.datastore("nas").await;
        let media = app.dir().join("media");
        let file = media.join("file");
        fs::write(&file, b"x").unwrap();
        fs::create_dir(media.join("real")).unwrap();
        symlink(media.join("real"), media.join("link")).unwrap();
        let at = |rest: &str| format!("{}{rest}", media.display());
        let before = (app.rows(), app.files());
        for (path, words) in [
            ("", "Give the folder's path."), ("media/x", "Give an absolute path"), (&at("/../media/x"), "Give an absolute path"), ("/", "may lie below"),
            ("/etc", "may lie below"), ("/proc/self", "may lie below"), (&at(""), "may lie below"), (&at("x"), "may lie below"),
            (&at("/none"), "There is no folder"), (&at("/file"), "is not a folder"), (&at("/link"), "symbolic link"), (&at("/link/below"), "symbolic link"),
            (&at("/nas"), "The storage “nas” lies here already."), (&at("/nas/images"), "lie in one another"), (&format!("/{}", "x".repeat(4_097)), "4,096 bytes"),
            (app.dir().join("data").to_str().unwrap(), "may lie below"), (app.path_of("local").to_str().unwrap(), "“local” lies here already"),
        ] {
            let back = add(&app, "new", path).await;
            back.expect_status(422).expect(words);
            assert_eq!(back.attributes("[name=path]", "aria-invalid"), ["true"], "{path}");
            assert_eq!(back.form("Add datastore").value("path"), path);
        }
        assert_eq!((app.rows(), app.files()), before);
    }

    async fn a_damaged_marker_is_never_overwritten(start: Start) {
        let app = start.ready().await;
        for (n, text) in ["", "{", "{\"vmimg_storage\": 2, \"id\": \"0190a000-0000-7000-8000-000000000000\", \"created_at\": \"\"}", &"x".repeat(100_000)].iter().enumerate() {
            let folder = app.folder(&format!("bad{n}"));
            fs::write(folder.join(".vmimg-storage.json"), text).unwrap();
            add(&app, "bad", folder.to_str().unwrap()).await.expect_status(422);
            assert_eq!(fs::read_to_string(folder.join(".vmimg-storage.json")).unwrap(), *text);
        }
        assert_eq!(app.count("storages"), 1);
    }

    async fn a_name_is_taken_once_among_the_present(start: Start) {
        let app = start.ready().await;
        let nas = app.datastore("nas").await;
        let path = app.folder("other");
        for name in ["nas", " NAS ", "Local"] {
            add(&app, name, path.to_str().unwrap()).await.expect_status(409).expect("already. Choose another name.");
        }
        app.admin().open(&format!("/datastores/{nas}/removal")).await.form("Remove storage").submit().await.expect("Nothing on it was touched.");
        add(&app, "NAS", path.to_str().unwrap()).await.expect("Datastore NAS is added.");
        app.admin().open("/datastores").await.expect("Removed");
    }

    async fn a_form_sent_twice_adds_one(start: Start) {
        let app = start.ready().await;
        let path = app.folder("once");
        let page = app.admin().open("/datastores/new").await;
        let form = || page.form("Add datastore").fill("name", "once").fill("path", path.to_str().unwrap());
        let (one, two) = (form().submit().await, form().submit().await);
        assert_eq!(one.path(), two.path());
        assert_eq!(app.count("storages"), 2);
    }

    async fn two_who_add_the_same_folder_at_once_add_it_once(start: Start) {
        let app = start.ready().await;
        let path = app.folder("raced");
        let (one, two) = (app.admin().open("/datastores/new").await, app.admin().open("/datastores/new").await);
        let form = |page: &Page, name: &str| page.form("Add datastore").fill("name", name).fill("path", path.to_str().unwrap());
        let (a, b) = futures_util::future::join(form(&one, "a").send(), form(&two, "b").send()).await;
        let mut statuses = [a.status.as_u16(), b.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(app.count("storages"), 2);
        assert_eq!(statuses[0], 303, "{} {}", a.text(), b.text());
        assert!([409, 422].contains(&statuses[1]), "{statuses:?}: {} {}", a.text(), b.text());
    }

    async fn its_name_and_path_can_be_changed_to_where_the_same_medium_lies(start: Start) {
        let app = start.ready().await;
        let nas = app.datastore("nas").await;
        app.datastore("other").await;
        let edit = format!("/datastores/{nas}/edit");
        let empty = app.folder("empty");
        let page = app.admin().open(&edit).await;
        let at = |path: &str| page.form("Save").fill("path", path);
        at(empty.to_str().unwrap()).submit().await.expect_status(422).expect("does not carry the storage's marker");
        at("/etc").submit().await.expect_status(422).expect("may lie below");
        at(app.path_of("other").to_str().unwrap()).submit().await.expect_status(422).expect("“other” lies here already");
        page.form("Save").fill("name", "OTHER").submit().await.expect_status(409).expect("already");
        page.form("Save").fill("name", " ").submit().await.expect_status(422);
        let moved = app.dir().join("media/moved");
        fs::rename(app.path_of("nas"), &moved).unwrap();
        let (saved, lines) = app.events_of(page.form("Save").fill("name", "vault").fill("path", &format!("{}/", moved.display())).submit()).await;
        saved.expect("Datastore vault is saved.").expect("vault Healthy");
        assert_eq!(lines, [format!("Ada edit_storage done vault – Name: nas → vault. Path: {} → {}.", app.dir().join("media/nas").display(), moved.display())]);
        page.form("Save").fill("name", "late").submit().await.expect_status(409).expect("Somebody else saved this while you were typing");
        assert_eq!(app.count("storages WHERE name = 'vault'"), 1);
    }

    async fn a_datastore_is_connected_to_clusters_and_taken_off(start: Start) {
        let app = start.ready().await;
        let nas = app.datastore("nas").await;
        app.admin().open("/clusters/new").await.form("Add cluster").fill("name", "North").submit().await.expect("Cluster North is added.");
        let page = app.admin().open(&format!("/datastores/{nas}")).await;
        let north = app.text("SELECT id AS t FROM clusters WHERE name = 'North'");
        let (page, lines) = app.events_of(page.form("Connect").submit()).await;
        page.expect("Connected to North.");
        assert_eq!(lines, ["Ada connect_datastore done nas – Cluster “North”."]);
        app.admin().open(&format!("/clusters/{north}")).await.expect("nas");
        let image = app.image_on("nas", "used", super::support::iso("USED")).await;
        app.attach(&image, "web-07");
        app.sql(&format!("UPDATE virtual_machines SET cluster_id = '{north}'"));
        let removal = format!("/datastores/{nas}/connections/{north}/removal");
        let refused = app.admin().post(&removal, &[]).await.expect(409);
        assert!(refused.text().contains("Machines of “North” use images on it: “web-07”. Detach them first."));
        app.detach_all();
        let page = app.admin().open(&format!("/datastores/{nas}")).await;
        page.form(&removal).submit().await.expect("Disconnected from North.");
        app.admin().post(&removal, &[]).await.expect(303);
        assert_eq!(app.count("events WHERE action = 'disconnect_datastore' AND outcome = 'done'"), 1);
        app.admin().post(&format!("/datastores/{nas}/connections"), &[("cluster", "nonsense")]).await.expect(400);
        app.admin().post(&format!("/datastores/{nas}/connections"), &[("cluster", "0190a000-0000-7000-8000-000000000000")]).await.expect(404);
        let local = app.storage("local");
        app.admin().post(&format!("/datastores/{local}/connections"), &[("cluster", &north)]).await.expect(404);
    }

    async fn a_removed_storage_takes_no_more_changes(start: Start) {
        let app = start.ready().await;
        let nas = app.datastore("nas").await;
        let removal = format!("/datastores/{nas}/removal");
        app.admin().open(&removal).await.form("Remove storage").submit().await;
        app.admin().post(&removal, &[]).await.expect(409);
        app.admin().post(&format!("/datastores/{nas}/check"), &[]).await.expect(409);
        app.admin().post(&format!("/datastores/{nas}/edit"), &[("version", "9"), ("name", "x"), ("path", "/x")]).await.expect(409);
        let page = app.admin().open(&format!("/datastores/{nas}")).await;
        page.expect("nas Removed").expect("Add it again");
        assert!(!page.says("Check again") && page.attributes("main form", "action").is_empty());
        assert_eq!(app.count("events WHERE outcome = 'refused'"), 3);
    }

    async fn the_path_of_a_removed_storage_is_free(start: Start) {
        let app = start.ready().await;
        let nas = app.datastore("nas").await;
        app.admin().open(&format!("/datastores/{nas}/removal")).await.form("Remove storage").submit().await;
        add(&app, "nas", app.dir().join("media/nas").to_str().unwrap()).await.expect("is back, with 0 images.").expect_path(&format!("/datastores/{nas}"));
    }
}
