//! The first run: a page behind a one-time code, which then is gone.

use super::support::{Page, app::ADMIN};

async fn set_up_page(app: &super::support::App) -> Page {
    app.browser().open(&format!("/setup?code={}", app.code.as_deref().unwrap())).await
}

two_databases! {
    async fn the_page_opens_with_its_code_only(start: Start) {
        let app = start.open().await;
        let browser = app.browser();
        for path in ["/setup", "/setup?code=", "/setup?code=0123456789abcdef0123456789abcdef"] {
            browser.get(path).await.expect(404);
        }
        let before = app.rows();
        let answer = browser.post("/setup", &[("code", "wrong"), ("name", "Eve"), ("email", "eve@example.org"), ("password", "12345678 eve"),
            ("storage_name", "x"), ("storage_path", app.folder("x").to_str().unwrap())]).await;
        answer.expect(404);
        assert_eq!((app.rows(), app.files().len()), (before, 0));
        set_up_page(&app).await.expect("Set up vmimg").expect_status(200);
    }

    async fn it_makes_the_administrator_a_storage_a_cluster_and_this_machine(start: Start) {
        let app = start.ready().await;
        assert_eq!(app.texts("SELECT name || ' ' || email || ' ' || role AS t FROM users"), ["Ada ada@example.org administrator"]);
        assert_eq!(app.texts("SELECT name || ' ' || kind || ' ' || health AS t FROM storages"), ["local local healthy"]);
        assert_eq!(app.texts("SELECT name AS t FROM clusters"), ["Default"]);
        assert_eq!(app.texts("SELECT name AS t FROM hosts"), ["this machine"]);
        assert!(app.path_of("local").join(".vmimg-storage.json").is_file());
        let page = app.admin().open("/images").await;
        page.expect("No images yet").expect("Ada");
        let storage = app.path_of("local");
        assert_eq!(app.events(), ["Ada set_up done Ada – ".to_owned(), app.events()[1].clone()]);
        assert!(app.events()[1].starts_with(&format!("Ada add_storage done local – Local storage at {}, ", storage.display())), "{:?}", app.events());
    }

    async fn the_page_is_gone_afterwards_also_after_a_restart(start: Start) {
        let app = start.ready().await;
        let code = app.code.clone().unwrap();
        app.browser().get(&format!("/setup?code={code}")).await.expect(404);
        let again = start.open().await;
        assert_eq!(again.code, None);
        again.browser().get(&format!("/setup?code={code}")).await.expect(404);
        again.browser().post("/setup", &[("code", &code), ("name", "Eve"), ("email", "eve@example.org"), ("password", ADMIN.1)]).await.expect(404);
        assert_eq!(again.count("users"), 1);
    }

    async fn a_code_is_used_once_and_a_restart_makes_another(start: Start) {
        let first = start.open().await;
        let old = first.code.clone().unwrap();
        let app = start.open().await;
        let new = app.code.clone().unwrap();
        assert_ne!(old, new);
        app.browser().get(&format!("/setup?code={old}")).await.expect(404);
        // Two who hold the code: one is the administrator, the other is told that there is nothing.
        let (one, other) = (set_up_page(&app).await, set_up_page(&app).await);
        let fill = |page: &Page, email: &str| page.form("Set up").fill("name", "A").fill("email", email).fill("password", ADMIN.1);
        fill(&one, "one@example.org").submit().await.expect_path("/images");
        fill(&other, "other@example.org").send().await.expect(404);
        assert_eq!(app.texts("SELECT email AS t FROM users"), ["one@example.org"]);
    }

    async fn faults_stand_beside_their_fields_and_nothing_is_left(start: Start) {
        let app = start.open().await;
        let before = app.rows();
        let page = set_up_page(&app).await;
        let back = page.form("Set up").fill("name", " ").fill("email", "nobody").fill("password", "short").fill("storage_name", "")
            .fill("storage_path", "relative").submit().await;
        back.expect_status(422);
        let fields: Vec<String> = back.faults().iter().map(|fault| fault.split(':').next().unwrap().to_owned()).collect();
        assert_eq!(fields, ["name", "email", "password", "storage_name", "storage_path"]);
        for field in fields {
            assert_eq!(back.attributes(&format!("[name={field}]"), "aria-invalid"), ["true"], "{field}");
        }
        assert_eq!(back.form("Set up").value("email"), "nobody");
        assert!(back.texts("title")[0].starts_with("Error: "));
        for (path, words) in [("/etc", "may lie below"), (app.dir().to_str().unwrap(), "may lie below"), (&format!("{}/media/none", app.dir().display()), "There is no folder")] {
            let back = page.form("Set up").fill("name", "Ada").fill("email", ADMIN.0).fill("password", ADMIN.1).fill("storage_path", path).submit().await;
            back.expect_status(422).expect(words);
        }
        assert_eq!((app.rows(), app.files().len()), (before, 0));
    }

    async fn before_it_every_page_leads_to_sign_in(start: Start) {
        let app = start.open().await;
        app.browser().open("/images").await.expect("Sign in").expect_path("/sign-in?next=%2Fimages");
        app.browser().sign_in("ada@example.org", "whatever it is").await.expect_status(422);
    }
}
