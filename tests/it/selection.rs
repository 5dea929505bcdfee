//! Deleting several images at once.

use super::support::{App, Left};

async fn images(app: &App, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(app.pending(&format!("image {n}")).await);
    }
    ids
}

two_databases! {
    async fn what_can_be_deleted_is_and_the_rest_stays_with_its_reason(start: Start) {
        let app = start.ready().await;
        let ids = images(&app, 3).await;
        app.attach(&ids[1], "web-07");
        let list = app.admin().open("/images").await;
        let form = list.form("/images/selection").choose("ids", &ids[0]).choose("ids", &ids[1]).choose("ids", &ids[2]);
        let page = form.submit().await;
        page.expect("Delete 2 images?").expect("These stay").expect("It is attached to “web-07”.");
        let page = page.form("Delete 2 images").submit().await;
        page.expect_path("/images").expect("2 images are deleted.").expect("image 1");
        assert_eq!(app.count("images WHERE status <> 'deleting'"), 1);
        assert_eq!(app.count("events WHERE action = 'delete_image' AND outcome = 'done'"), 2);
        app.work().await;
    }

    async fn nothing_chosen_is_said(start: Start) {
        let app = start.ready().await;
        images(&app, 1).await;
        app.admin().open("/images").await.form("/images/selection").submit().await.expect("Choose images first");
    }

    async fn when_none_can_be_deleted_the_page_says_why(start: Start) {
        let app = start.ready().await;
        let ids = images(&app, 1).await;
        app.attach(&ids[0], "web-07");
        let page = app.admin().open("/images").await.form("/images/selection").choose("ids", &ids[0]).submit().await;
        page.expect_status(409).expect("None of these images can be deleted now").expect("web-07");
    }

    async fn from_five_on_the_number_is_typed(start: Start) {
        let app = start.ready().await;
        let ids = images(&app, 5).await;
        let list = app.admin().open("/images").await;
        let four = ids[..4].iter().fold(list.form("/images/selection"), |form, id| form.choose("ids", id)).submit().await;
        assert_eq!(four.attributes("[name=typed_number]", "name"), [""; 0]);
        let page = ids.iter().fold(list.form("/images/selection"), |form, id| form.choose("ids", id)).submit().await;
        let back = page.form("Delete 5 images").submit().await;
        back.expect_status(422).expect("Type 5, the number of images that would be deleted.");
        let back = back.form("Delete 5 images").fill("typed_number", "4").submit().await;
        back.expect_status(422);
        assert_eq!(app.count("images WHERE status = 'deleting'"), 0);
        back.form("Delete 5 images").fill("typed_number", "5").submit().await.expect("5 images are deleted.");
    }

    async fn all_that_match_are_more_than_the_page_shows(start: Start) {
        start.leaves(Left::Records).leaves(Left::Files);
        let app = start.ready().await;
        app.pending("Image 000001").await;
        app.many_images(60);
        let list = app.admin().open("/images?q=image+00005").await;
        let page = list.form("/images/selection").submit().await;
        page.expect("Choose images first");
        let list = app.admin().open("/images?size=25").await;
        list.expect("25 of 60 images");
        let page = list.form("/images/selection").choose("all_matching", "1").submit().await;
        page.expect("Delete 60 images?");
        let narrow = app.admin().post("/images/selection", &[("all_matching", "1"), ("filter", "q=image+00005")]).await;
        assert!(narrow.expect(200).text().contains("Delete 10 images?"));
        page.form("Delete 60 images").fill("typed_number", "60").submit().await.expect("60 images are deleted.");
        assert_eq!(app.count("images WHERE status <> 'deleting'"), 0);
        app.work().await;
    }

    async fn what_changed_meanwhile_stays(start: Start) {
        let app = start.ready().await;
        let ids = images(&app, 2).await;
        let list = app.admin().open("/images").await;
        let page = list.form("/images/selection").choose("ids", &ids[0]).choose("ids", &ids[1]).submit().await;
        app.sql(&format!("UPDATE images SET version = version + 1 WHERE id = '{}'", ids[0]));
        let page = page.form("Delete 2 images").submit().await;
        page.expect("1 image is deleted.").expect("1 image was kept");
        app.work().await;
        assert_eq!(app.texts("SELECT id AS t FROM images"), [ids[0].clone()]);
    }
}
