//! Files that other hands remove, change or put back.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::support::{App, Left, Page, iso, iso_of};

async fn check_again(app: &App, id: &str) -> Page {
    app.admin().open(&format!("/images/{id}")).await.form("Check again").submit().await
}

fn overwrite(file: &Path, bytes: &[u8]) {
    fs::remove_file(file).ok();
    fs::write(file, bytes).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o440)).unwrap();
}

async fn compare(app: &App) {
    vmimg::jobs::compare_storages(&app.service).await.unwrap();
    app.work().await;
}

two_databases! {
    async fn a_file_that_is_removed_makes_its_image_unavailable_until_it_is_back(start: Start) {
        let app = start.ready().await;
        let bytes = iso("GONE");
        let id = app.image("gone", bytes.clone()).await;
        let file = app.file_of(&id);
        fs::remove_file(&file).unwrap();
        let ((), lines) = app.events_of(compare(&app)).await;
        assert_eq!(lines, ["vmimg file_lost failed gone – The file is not on the storage."]);
        let page = app.admin().open(&format!("/images/{id}")).await;
        page.expect("File unavailable").expect("The file was removed from the storage by other hands").expect("Put the right file back and check again.");
        let ((), again) = app.events_of(compare(&app)).await;
        assert_eq!(again, [""; 0], "what is known is no news");
        check_again(&app, &id).await.expect("is still missing.");
        overwrite(&file, &bytes);
        check_again(&app, &id).await.expect("has the recorded size.");
        app.work().await;
        app.admin().open(&format!("/images/{id}")).await.expect("gone Available");
    }

    async fn a_file_of_another_size_is_not_the_recorded_one(start: Start) {
        let app = start.ready().await;
        let id = app.image("changed", iso("CHANGED")).await;
        let file = app.file_of(&id);
        overwrite(&file, &iso_of("LONGER", 100));
        let ((), lines) = app.events_of(compare(&app)).await;
        assert_eq!(lines, ["vmimg file_lost failed changed – The file does not have the recorded bytes."]);
        app.admin().open(&format!("/images/{id}")).await.expect("File unavailable").expect("The file was changed by other hands");
        check_again(&app, &id).await.expect("still does not have the recorded bytes.");
        overwrite(&file, &iso("CHANGED"));
        compare(&app).await;
        app.admin().open(&format!("/images/{id}")).await.expect("changed Available");
        assert!(app.events().last().unwrap().starts_with("vmimg file_found done changed"), "{:?}", app.events().last());
    }

    async fn a_file_of_the_same_size_and_other_bytes_is_found_by_its_digest(start: Start) {
        let app = start.ready().await;
        let id = app.image("bits", iso("BITS")).await;
        let file = app.file_of(&id);
        overwrite(&file, &iso("BITZ"));
        app.admin().post(&format!("/images/{id}/check"), &[]).await.expect(303);
        app.work().await;
        let page = app.admin().open(&format!("/images/{id}")).await;
        page.expect("File unavailable").expect("changed by other hands");
        compare(&app).await;
        app.admin().open(&format!("/images/{id}")).await.expect("File unavailable");
        overwrite(&file, &iso("BITS"));
        compare(&app).await;
        app.admin().open(&format!("/images/{id}")).await.expect("bits Available");
    }

    async fn what_nobody_knows_is_counted_and_left_alone(start: Start) {
        start.leaves(Left::Files);
        let app = start.ready().await;
        let root = app.path_of("local");
        let stranger = root.join(format!("images/{}.iso", vmimg::domain::ids::ImageId::new()));
        for file in [&stranger, &root.join("images/readme.txt")] {
            fs::write(file, b"not ours").unwrap();
        }
        compare(&app).await;
        let storage = app.storage("local");
        app.admin().open(&format!("/local-storages/{storage}")).await.expect("2, left alone");
        assert!(stranger.exists() && root.join("images/readme.txt").exists());
    }

    async fn a_link_or_a_folder_in_its_place_is_not_the_file(start: Start) {
        let app = start.ready().await;
        let bytes = iso("LINKED");
        let id = app.image("linked", bytes.clone()).await;
        let file = app.file_of(&id);
        let elsewhere = app.dir().join("elsewhere");
        fs::rename(&file, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
        compare(&app).await;
        app.admin().open(&format!("/images/{id}")).await.expect("File unavailable");
        app.admin().get(&format!("/images/{id}/download")).await.expect(409);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        compare(&app).await;
        app.admin().open(&format!("/images/{id}")).await.expect("File unavailable");
        fs::remove_dir(&file).unwrap();
        fs::rename(&elsewhere, &file).unwrap();
        compare(&app).await;
        app.admin().open(&format!("/images/{id}")).await.expect("linked Available");
    }

    async fn checking_an_image_that_has_no_file_is_refused(start: Start) {
        let app = start.ready().await;
        let id = app.pending("none").await;
        app.admin().post(&format!("/images/{id}/check"), &[]).await.expect(409);
    }
}
