//! The statuses of an image as its storage comes and goes: lost, found, removed, replaced, brought back elsewhere.

use std::{fs, path::Path};

use super::support::{App, Left, Page, iso};

async fn image_page(app: &App, id: &str) -> Page {
    app.admin().open(&format!("/images/{id}")).await
}

async fn remove(app: &App, storage: &str) -> Page {
    let id = app.storage(storage);
    app.admin().open(&format!("/datastores/{id}/removal")).await.form("Remove storage").submit().await
}

async fn add(app: &App, name: &str, path: &Path) -> Page {
    let page = app.admin().open("/datastores/new").await;
    page.form("Add datastore").fill("name", name).fill("path", path.to_str().unwrap()).submit().await
}

/// Names of everything in a folder.
fn inside(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

two_databases! {
    async fn an_image_is_degraded_with_its_storage_and_comes_back_by_itself(start: Start) {
        let app = start.ready().await;
        app.datastore("nas").await;
        let id = app.image_on("nas", "walker", iso("WALKER")).await;
        let (here, away) = (app.path_of("nas"), app.dir().join("media/away"));
        fs::rename(&here, &away).unwrap();
        let ((), lines) = app.events_of(app.watch()).await;
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with(&format!("vmimg storage_degraded failed nas – There is nothing at {}.", here.display())), "{lines:?}");
        let page = image_page(&app, &id).await;
        page.expect("walker Degraded").expect("The storage “nas” is degraded since").expect("Mount the right medium there, or change the storage's path.");
        let nas = app.storage("nas");
        app.admin().open(&format!("/datastores/{nas}")).await.expect("nas Degraded").expect("Its 1 image cannot be used until it is healthy again.");
        app.admin().open("/images?status=degraded").await.expect("1 image");
        app.admin().get(&format!("/images/{id}/download")).await.expect(409);
        assert_eq!(app.texts("SELECT status AS t FROM images"), ["available"], "it is never written down");
        let ((), again) = app.events_of(app.watch()).await;
        assert_eq!(again, [""; 0]);
        fs::rename(&away, &here).unwrap();
        let ((), lines) = app.events_of(app.watch()).await;
        assert_eq!(lines, ["vmimg storage_healthy done nas – "]);
        image_page(&app, &id).await.expect("walker Available");
    }

    async fn a_pending_image_is_pending_again(start: Start) {
        let app = start.ready().await;
        let id = app.pending("waiting").await;
        let (here, away) = (app.path_of("local"), app.dir().join("data/away"));
        fs::rename(&here, &away).unwrap();
        app.watch().await;
        let page = image_page(&app, &id).await;
        page.expect("waiting Degraded");
        assert!(!page.says("Send the file"), "{page}");
        fs::rename(&away, &here).unwrap();
        app.watch().await;
        image_page(&app, &id).await.expect("waiting Pending").expect("Send the file");
    }

    async fn under_an_empty_mount_point_nothing_is_written(start: Start) {
        let app = start.ready().await;
        app.datastore("nas").await;
        let id = app.image_on("nas", "unmounted", iso("UNMOUNTED")).await;
        let (here, away) = (app.path_of("nas"), app.dir().join("media/away"));
        fs::rename(&here, &away).unwrap();
        fs::create_dir(&here).unwrap();
        app.watch().await;
        image_page(&app, &id).await.expect("unmounted Degraded");
        let page = app.admin().open("/images/new").await.form("Continue").fill("name", "other").submit().await;
        assert_eq!(page.attributes("[name=storage][disabled]", "value"), [app.storage("nas")]);
        let nas = app.storage("nas");
        app.admin().open(&format!("/datastores/{nas}")).await.form("Check again").submit().await.expect("is still degraded");
        app.work().await;
        assert_eq!(inside(&here), [""; 0]);
        fs::remove_dir(&here).unwrap();
        fs::rename(&away, &here).unwrap();
        app.watch().await;
        image_page(&app, &id).await.expect("unmounted Available");
    }

    async fn another_medium_at_the_same_path_is_not_the_storage(start: Start) {
        let app = start.ready().await;
        app.datastore("one").await;
        app.datastore("two").await;
        let id = app.image_on("one", "mine", iso("MINE")).await;
        let (one, two, aside) = (app.path_of("one"), app.path_of("two"), app.dir().join("media/aside"));
        fs::rename(&one, &aside).unwrap();
        fs::rename(&two, &one).unwrap();
        let before = app.files();
        app.watch().await;
        image_page(&app, &id).await.expect("mine Degraded");
        let page = app.admin().open(&format!("/datastores/{}", app.storage("one"))).await;
        page.expect("Degraded").expect("Mount the right medium there");
        assert_eq!(app.files(), before, "not a byte is written to it");
        fs::rename(&one, &two).unwrap();
        fs::rename(&aside, &one).unwrap();
        app.watch().await;
        image_page(&app, &id).await.expect("mine Available");
    }

    async fn a_removed_storage_takes_its_images_along_and_brings_them_back_under_any_path_and_name(start: Start) {
        let app = start.ready().await;
        let uuid = app.datastore("nas").await;
        let id = app.image_on("nas", "returns", iso("RETURNS")).await;
        let page = app.admin().open(&format!("/datastores/{uuid}/removal")).await;
        page.expect("1 image becomes File unavailable.").expect("Nothing on the medium is touched").expect(&uuid);
        let files = app.files();
        let (page, lines) = app.events_of(remove(&app, "nas")).await;
        page.expect_path("/datastores").expect("nas is removed; 1 image is unavailable until it is added again.");
        assert_eq!(lines, ["Ada remove_storage done nas – 1 image became File unavailable."]);
        assert_eq!(app.files(), files);
        let page = image_page(&app, &id).await;
        page.expect("returns File unavailable").expect("The storage “nas” that held the file was removed").expect(&uuid).expect("Forget…");
        app.watch().await;
        image_page(&app, &id).await.expect("File unavailable");

        // Another storage at the same path restores nothing.
        let (here, elsewhere) = (app.dir().join("media/nas"), app.dir().join("media/elsewhere"));
        fs::rename(&here, &elsewhere).unwrap();
        fs::create_dir(&here).unwrap();
        add(&app, "nas", &here).await.expect("Datastore nas is added.");
        app.watch().await;
        image_page(&app, &id).await.expect("File unavailable");

        // The right one, at another path and under another name, does.
        let (page, lines) = app.events_of(add(&app, "vault", &elsewhere)).await;
        page.expect("Datastore vault is back, with 1 image.").expect_path(&format!("/datastores/{uuid}"));
        assert_eq!(lines, [format!("Ada return_storage done vault – At {}, with 1 image.", elsewhere.display())]);
        image_page(&app, &id).await.expect("returns Available").expect("vault");
        app.work().await;
        assert!(app.admin().get(&format!("/images/{id}/download")).await.expect(200).body == iso("RETURNS"));
    }

    async fn a_file_that_changed_while_its_storage_was_away_is_seen_when_it_returns(start: Start) {
        let app = start.ready().await;
        app.datastore("nas").await;
        let (gone, bits) = (app.image_on("nas", "gone", iso("GONE")).await, app.image_on("nas", "bits", iso("BITS")).await);
        remove(&app, "nas").await;
        let images = app.dir().join("media/nas/images");
        fs::remove_file(images.join(format!("{gone}.iso"))).unwrap();
        fs::remove_file(images.join(format!("{bits}.iso"))).unwrap();
        fs::write(images.join(format!("{bits}.iso")), iso("BITZ")).unwrap();
        add(&app, "nas", &app.dir().join("media/nas")).await.expect("is back, with 2 images.");
        image_page(&app, &gone).await.expect("File unavailable").expect("removed from the storage by other hands");
        app.work().await;
        image_page(&app, &bits).await.expect("File unavailable").expect("changed by other hands");
    }

    async fn a_medium_that_nobody_knows_keeps_its_uuid_and_its_files(start: Start) {
        start.leaves(Left::Files);
        let app = start.ready().await;
        let folder = app.folder("foreign");
        let uuid = vmimg::domain::ids::StorageId::new();
        fs::write(folder.join(".vmimg-storage.json"), format!("{{\"vmimg_storage\": 1, \"id\": \"{uuid}\", \"created_at\": \"2026-01-01T00:00:00Z\"}}")).unwrap();
        fs::create_dir(folder.join("images")).unwrap();
        let stranger = folder.join(format!("images/{}.iso", vmimg::domain::ids::ImageId::new()));
        fs::write(&stranger, iso("STRANGER")).unwrap();
        fs::write(folder.join("holiday.jpg"), b"not ours").unwrap();
        let page = add(&app, "foreign", &folder).await;
        page.expect_path(&format!("/datastores/{uuid}")).expect("2 files on it are not known here and are left alone.").expect("2, left alone");
        assert_eq!((fs::read(&stranger).unwrap(), fs::read(folder.join("holiday.jpg")).unwrap()), (iso("STRANGER"), b"not ours".to_vec()));
        assert_eq!(app.count("images"), 0);
    }

    async fn a_storage_that_is_present_is_not_added_a_second_time(start: Start) {
        let app = start.ready().await;
        let uuid = app.datastore("nas").await;
        let (here, moved) = (app.path_of("nas"), app.dir().join("media/moved"));
        fs::rename(&here, &moved).unwrap();
        app.watch().await;
        let back = add(&app, "again", &moved).await;
        back.expect_status(422).expect("This is the storage “nas”. If it lies here now, change the path of “nas” instead.");
        assert_eq!(back.attributes(".error a", "href"), [format!("/datastores/{uuid}/edit")]);
        let edit = back.click("Look at it").await;
        edit.form("Save").fill("path", moved.to_str().unwrap()).submit().await.expect("nas is saved.").expect("nas Healthy");
        assert_eq!(app.count("storages"), 2);
    }

    async fn copies_of_a_medium_are_not_two_storages(start: Start) {
        let app = start.ready().await;
        app.datastore("nas").await;
        let copy = app.folder("copy");
        fs::copy(app.path_of("nas").join(".vmimg-storage.json"), copy.join(".vmimg-storage.json")).unwrap();
        add(&app, "copy", &copy).await.expect_status(422).expect("This is the storage “nas”.");
        assert_eq!(inside(&copy), [".vmimg-storage.json"]);
    }
}
