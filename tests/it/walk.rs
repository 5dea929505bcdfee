//! The whole way of a storage that is lost, found, removed, replaced and brought back elsewhere, with what each page says and the rule
//! about deleting at each step; and files that are not what they should be, met on the way.

use std::{fs, path::Path};

use vmimg::{
    authorize::{Actor, Credential},
    domain::version::Expected,
    jobs,
    operations::{create_image::File, upload_image},
};

use super::support::{Answer, App, Left, Page, iso, iso_of};

/// The status of an image on the list and on its page, which are the same.
async fn shown(app: &App, id: &str) -> String {
    let list = app.admin().open("/images").await.texts(&format!("[id=\"row-{id}\"] .status"));
    let page = app.admin().open(&format!("/images/{id}")).await.texts("#status");
    assert_eq!(list, page, "the list and the page agree");
    list.into_iter().next().unwrap_or_default()
}

/// That the image may not be deleted, as its page, the page behind the button and a POST say alike.
async fn undeletable(app: &App, id: &str, words: &str) {
    let page = app.admin().open(&format!("/images/{id}")).await;
    let why = page.texts("#why-delete").join(" ");
    assert!(why.contains(words), "“{words}” is not in “{why}”");
    assert_eq!(page.attributes(&format!("a[href=\"/images/{id}/deletion\"]"), "href"), [""; 0]);
    app.admin().open(&format!("/images/{id}/deletion")).await.expect_status(409).expect(words);
    let (answer, events) = app.events_of(delete(app, id)).await;
    assert_eq!(answer.status, 409);
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].contains(" delete_image refused ") && events[0].contains(words), "{events:?}");
    assert_eq!(app.count(&format!("images WHERE id = '{id}' AND status <> 'deleting'")), 1);
}

/// That the page offers to delete.
async fn deletable(app: &App, id: &str) {
    let page = app.admin().open(&format!("/images/{id}")).await;
    assert_eq!(page.texts("#why-delete"), [""; 0]);
    page.click("Delete").await.expect_status(200).form("Delete image");
}

async fn delete(app: &App, id: &str) -> Answer {
    let version = app.number(&format!("SELECT version AS n FROM images WHERE id = '{id}'"));
    app.admin().post(&format!("/images/{id}/deletion"), &[("version", &version.to_string())]).await
}

async fn storage_page(app: &App, storage: &str) -> Page {
    app.admin().open(&format!("/datastores/{storage}")).await
}

async fn add(app: &App, name: &str, path: &Path) -> Page {
    let page = app.admin().open("/datastores/new").await;
    page.form("Add datastore").fill("name", name).fill("path", path.to_str().unwrap()).submit().await
}

async fn download(app: &App, id: &str) -> Answer {
    app.admin().get(&format!("/images/{id}/download")).await
}

/// The administrator, on the device whose cookie their browser has.
fn administrator(app: &App) -> std::sync::Arc<Actor> {
    let device = app.admin().cookie("vmimg-device").expect("a first upload gives the browser its device");
    std::sync::Arc::new(Actor {
        user: app.text("SELECT id AS t FROM users WHERE name = 'Ada'").parse().unwrap(),
        name: "Ada".to_owned(),
        device: vmimg::secret::digest(&device),
        credential: Credential::Session(app.text("SELECT MIN(token_hash) AS t FROM sessions")),
        address: "192.0.2.7".to_owned(),
        request_id: "0123456789abcdef".to_owned(),
    })
}

two_databases! {
    async fn an_image_is_what_its_storage_lets_it_be_and_again_what_it_was(start: Start) {
        let app = start.ready().await;
        let nas = app.datastore("nas").await;
        let id = app.image_on("nas", "walk", iso("WALK")).await;
        let here = app.path_of("nas");
        assert_eq!(shown(&app, &id).await, "Available");
        deletable(&app, &id).await;

        // The folder goes: Degraded, with cause and way out, everywhere.
        let away = app.dir().join("media/away");
        fs::rename(&here, &away).unwrap();
        app.watch().await;
        assert_eq!(shown(&app, &id).await, "Degraded");
        let page = app.admin().open(&format!("/images/{id}")).await;
        page.expect("The storage “nas” is degraded since").expect("There is nothing at").expect("by itself");
        assert!(!page.says("Forget"), "nothing is forgotten for a cable: {page}");
        storage_page(&app, &nas).await.expect("Degraded since").expect("There is nothing at").expect("Mount the right medium there");
        app.admin().open("/datastores").await.expect("Degraded").expect("There is nothing at");
        undeletable(&app, &id, "degraded").await;
        download(&app, &id).await.expect(409);
        assert!(!here.exists(), "nothing is made under a missing mount");
        app.admin().open(&format!("/images/{id}/forgetting")).await.expect_status(409);

        // It comes back: as before, by itself.
        fs::rename(&away, &here).unwrap();
        app.watch().await;
        assert_eq!(shown(&app, &id).await, "Available");
        assert!(!app.admin().open(&format!("/images/{id}")).await.says("degraded"));
        deletable(&app, &id).await;
        assert_eq!(download(&app, &id).await.expect(200).body, iso("WALK"));

        // It is removed: File unavailable, the record stays, the medium is untouched.
        let before = app.files();
        let page = app.admin().open(&format!("/datastores/{nas}")).await.click("Remove").await.form("Remove storage").submit().await;
        page.expect("1 image is unavailable until it is added again");
        assert_eq!(app.files(), before);
        app.work().await;
        assert_eq!(shown(&app, &id).await, "File unavailable");
        app.admin().open(&format!("/images/{id}")).await.expect("was removed on").expect(&nas).expect("forget the record");
        storage_page(&app, &nas).await.expect("Removed").expect(&nas);
        undeletable(&app, &id, "Its file is unavailable").await;
        download(&app, &id).await.expect(409);

        // Another storage at the same path, even of the same name, brings nothing back.
        fs::rename(&here, &away).unwrap();
        fs::create_dir(&here).unwrap();
        let other = add(&app, "nas", &here).await;
        other.expect("is added");
        assert_ne!(other.id(), nas);
        for _ in 0..2 {
            app.watch().await;
            jobs::compare_storages(&app.service).await.unwrap();
            app.work().await;
        }
        assert_eq!(shown(&app, &id).await, "File unavailable");
        undeletable(&app, &id, "Its file is unavailable").await;
        assert_eq!(fs::read_dir(here.join("images")).unwrap().count(), 0);

        // The right one, at another path and under another name.
        let elsewhere = app.dir().join("media/elsewhere");
        fs::rename(&away, &elsewhere).unwrap();
        let back = add(&app, "archive", &elsewhere).await;
        back.expect("is back, with 1 image").expect_path(&format!("/datastores/{nas}"));
        assert_eq!(shown(&app, &id).await, "Available");
        app.work().await;
        assert_eq!(shown(&app, &id).await, "Available");
        app.admin().open(&format!("/images/{id}")).await.expect("archive");
        assert_eq!(download(&app, &id).await.expect(200).body, iso("WALK"));
        deletable(&app, &id).await;
        let file = app.file_of(&id);
        assert!(file.starts_with(&elsewhere) && file.exists());
        assert_eq!(delete(&app, &id).await.status, 303);
        app.work().await;
        assert!(!file.exists());
    }

    async fn a_file_that_is_missing_is_noticed_by_the_download_that_misses_it(start: Start) {
        let app = start.ready().await;
        let id = app.image("missing", iso("MISSING")).await;
        let file = app.file_of(&id);
        fs::remove_file(&file).unwrap();
        download(&app, &id).await.expect(409);
        assert_eq!(shown(&app, &id).await, "File unavailable");
        fs::write(&file, iso("MISSING")).unwrap();
        app.admin().open(&format!("/images/{id}")).await.form("Check again").submit().await;
        app.work().await;
        assert_eq!(shown(&app, &id).await, "Available");
    }

    async fn something_that_is_no_file_is_never_handed_out(start: Start) {
        let app = start.ready().await;
        let secret = app.dir().join("secret");
        fs::write(&secret, iso("SECRET")).unwrap();
        let id = app.image("linked", iso("LINKED")).await;
        let file = app.file_of(&id);
        for trick in ["link", "second name", "folder", "pipe"] {
            let _ = fs::remove_file(&file);
            let _ = fs::remove_dir(&file);
            match trick {
                "link" => std::os::unix::fs::symlink(&secret, &file).unwrap(),
                "second name" => fs::hard_link(&secret, &file).unwrap(),
                "folder" => fs::create_dir(&file).unwrap(),
                _ => assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success()),
            }
            app.sql("UPDATE images SET file_state = 'sound'");
            let answer = download(&app, &id).await;
            assert!(answer.status.is_client_error() || answer.status == 503, "{trick}: {}", answer.status);
            assert!(!answer.body.windows(6).any(|bytes| bytes == b"SECRET"), "{trick}");
            app.admin().post(&format!("/images/{id}/check"), &[]).await;
            assert_eq!(shown(&app, &id).await, "File unavailable", "{trick}");
        }
        fs::remove_file(&file).unwrap();
        fs::write(&file, iso("LINKED")).unwrap();
        app.admin().post(&format!("/images/{id}/check"), &[]).await;
        app.work().await;
        assert_eq!(shown(&app, &id).await, "Available");
    }

    async fn an_image_deleted_while_its_device_sends_it_leaves_nothing(start: Start) {
        let app = start.ready().await;
        let bytes = iso_of("LIVE", 2_000);
        let id = app.pending("live").await;
        let file = File { name: "live.iso".to_owned(), bytes: bytes.len() as u64, exact: true, head: bytes[..65_536].to_vec().into(), sha256: None };
        let mut transfer = upload_image::begin(&app.service, &administrator(&app), id.parse().unwrap(), Expected::Any, &file).await.unwrap();
        transfer.push(bytes[..1_000_000].to_vec().into()).await.unwrap();
        assert!(shown(&app, &id).await.starts_with("Uploading"));
        // Nobody else may, not even the same person on another device.
        let other = app.second_admin().await;
        other.open(&format!("/images/{id}/deletion")).await.expect_status(409).expect("from another device");
        deletable(&app, &id).await;
        assert_eq!(delete(&app, &id).await.status, 303);
        // Gone for everybody at once, and its name is free.
        for browser in [app.admin(), other] {
            for path in ["", "/events", "/edit", "/deletion", "/download"] {
                browser.get(&format!("/images/{id}{path}")).await.expect(404);
            }
            assert!(!browser.get("/images.csv").await.text().contains(&id));
            assert_eq!(browser.open("/images").await.texts(&format!("[id=\"row-{id}\"]")), [""; 0]);
        }
        let again = app.image("live", iso("AGAIN")).await;
        // The bytes that still come are nobody's.
        let pushed = transfer.push(bytes[1_000_000..].to_vec().into()).await;
        assert!(pushed.is_err() || transfer.finish().await.is_err(), "a deleted image takes no file");
        super::support::journeys::eventually("the end of the transfer", async || {
            app.work().await;
            app.sql("UPDATE jobs SET run_after = 0");
            app.count(&format!("images WHERE id = '{id}'")) == 0 && app.files().keys().all(|name| !name.contains(&id))
        })
        .await;
        assert_eq!(shown(&app, &again).await, "Available");
        assert_eq!(app.count("uploads"), 0);
    }

    async fn a_virtual_disk_is_shown_and_left_alone(start: Start) {
        start.leaves(Left::Records);
        let app = start.ready().await;
        let id = app.image("disk", iso("DISK")).await;
        app.sql("UPDATE images SET kind = 'virtual_disk'");
        let page = app.admin().open("/images").await;
        assert_eq!(page.attributes("input[name=ids]", "value"), [""; 0], "it cannot be chosen");
        assert_eq!(delete(&app, &id).await.status, 409);
        let answer = app.admin().post("/images/selection/deletion", &[("chosen", &format!("{id}.1"))]).await;
        app.admin().follow(answer).await.expect("0 images are deleted");
        let form = [("version", "3"), ("name", "renamed"), ("os", "other"), ("note", ""), ("min_vcpu", ""), ("min_memory_mib", ""), ("min_disk_gib", "")];
        app.admin().post(&format!("/images/{id}/edit"), &form).await.expect(409);
        app.admin().post(&format!("/images/{id}/forgetting"), &[]).await.expect(409);
        assert_eq!(app.text("SELECT name || ' ' || status AS t FROM images"), "disk available");
    }
}
