//! What people type is text, wherever it is shown, and says nothing but what its field is for.

use actix_web::http::Method;

use super::support::{App, Browser, Page, iso, page::part};

/// Types a name into the first step and says what comes back.
async fn typed(app: &App, name: &str) -> Page {
    app.admin().open("/images/new").await.form("Continue").fill("name", name).submit().await
}

/// The answer to a request that is not a page of the console.
async fn status(browser: &Browser, path: &str) -> u16 {
    browser.request(Method::GET, path).send().await.status.as_u16()
}

two_databases! {
    async fn a_name_has_something_to_see_and_an_end(start: Start) {
        let app = start.ready().await;
        let before = app.count("images");
        let faulty = [
            ("", "Give a name."), ("   ", "Give a name."), ("\u{200b}", "Give a name."), ("\u{3164}", "Give a name."), ("\u{feff}\u{2060}", "Give a name."),
            ("a\0b", "characters that cannot be seen"), ("a\nb", "characters that cannot be seen"), ("a\u{7f}b", "characters that cannot be seen"),
            ("\u{202e}gpj.exe", "characters that cannot be seen"), ("a\u{2066}b\u{2069}", "characters that cannot be seen"),
        ];
        for (name, words) in faulty {
            let page = typed(&app, name).await;
            page.expect_status(422).expect(words);
        }
        let long = "é".repeat(256);
        typed(&app, &long).await.expect_status(422).expect("The name has 256 characters. Use at most 255.");
        typed(&app, &"x".repeat(4_096)).await.expect_status(422).expect("at most 255");
        typed(&app, &"é".repeat(255)).await.expect_status(200).expect("Step 2 of 3");
        for (length, fits) in [(4_096, true), (4_097, false)] {
            let page = app.admin().open("/images/new").await;
            let page = page.form("Continue").fill("name", "noted").fill("note", &"ß".repeat(length)).submit().await;
            if fits { page.expect("Step 2 of 3") } else { page.expect_status(422).expect("The note has 4097 characters. Use at most 4096.") };
        }
        let page = app.admin().open("/images/new").await;
        let answer = page.form("Continue").fill("name", "noted").fill("note", &"n".repeat(1 << 20)).send().await;
        assert_eq!(answer.status, 413);
        assert_eq!(app.count("images"), before);
    }

    async fn a_name_is_shown_as_text_wherever_it_stands(start: Start) {
        let app = start.ready().await;
        let hostile = [
            "\"><svg onload=alert(1)>", "<script>alert(1)</script>", "{{1009*1013}}${1009*1013}<%=1009*1013%>", "javascript:alert(1)", "' onmouseover='alert(1)", "</title><h1>x",
            "</textarea><b>", "<!--", "&lt;&amp;&#x41;", "]]>", ".", "..", "../.", ".iso", "-rf", "--help", "a/b", "a\\b", "C:\\x.iso", "a\u{2044}b\u{ff0f}c",
            "\u{5d0}\u{5d1} (\u{5d2})", "Z\u{351}\u{36b}\u{343}a\u{36a}l\u{348}go", "👩\u{200d}👩\u{200d}👧\u{200d}👦 🏳\u{fe0f}\u{200d}🌈", "%s%n%00", "a\tb".trim_end_matches("\tb"),
        ];
        for (n, name) in hostile.iter().enumerate() {
            let id = app.image(name, iso(&format!("H{n}"))).await;
            app.sql(&format!("UPDATE images SET note = name WHERE id = '{id}'"));
            let file = app.file_of(&id);
            assert!(file.exists() && file.file_name().unwrap().to_str().unwrap() == format!("{id}.iso"), "no name is part of a path");
            let normal: String = app.text(&format!("SELECT name AS t FROM images WHERE id = '{id}'"));
            let admin = app.admin();
            let list = admin.open("/images?sort=-created").await;
            assert!(list.texts("tbody th .name a bdi").iter().any(|shown| *shown == fold_space(&normal)), "{name} in {:?}", list.texts("tbody th .name a bdi"));
            for path in ["", "/access", "/vms", "/events", "/edit", "/deletion"] {
                let page = admin.open(&format!("/images/{id}{path}")).await;
                page.expect_status(200);
                assert!(page.texts("title").join("").contains(&fold_space(&normal)), "{path}: {:?}", page.texts("title"));
                assert!(page.texts("bdi").iter().any(|shown| shown.contains(&fold_space(&normal))), "{path}: {name}");
                is_sober(&page, name);
            }
            is_sober(&list, name);
            is_sober(&admin.open("/events").await, name);
            let edit = admin.open(&format!("/images/{id}/edit")).await;
            let form = edit.form("Save");
            assert_eq!((form.value("name"), form.value("note").trim_start_matches('\n')), (normal.as_str(), normal.as_str()));
            form.submit().await.expect("is saved");
            assert_eq!(app.text(&format!("SELECT name AS t FROM images WHERE id = '{id}'")), normal, "saving again changes nothing");
            let csv = admin.get("/images.csv").await;
            let quoted = normal.replace('"', "\"\"");
            assert!(csv.text().contains(&format!("\"{quoted}\"")) || csv.text().contains(&format!("\"'{quoted}\"")), "{name}");
            let search = serde_html_form::to_string([("q", *name)]).unwrap();
            let page = admin.open(&format!("/images?{search}")).await;
            is_sober(&page, name);
            let gone = admin.open(&format!("/images/{id}/deletion")).await.form("Delete image").submit().await;
            gone.expect("is deleted");
            is_sober(&gone, name);
            app.work().await;
        }
    }

    async fn two_spellings_of_a_name_are_the_same(start: Start) {
        let app = start.ready().await;
        for (n, (one, other)) in [("é", "e\u{301}"), ("straße", "STRASSE"), ("K", "\u{212a}"), ("ﬁle", "FILE"), ("Σίσυφος", "ΣΊΣΥΦΟΣ")].into_iter().enumerate() {
            let id = app.image(&format!("{n} {one}"), iso(&format!("S{n}"))).await;
            let page = typed(&app, &format!("{n} {other}")).await;
            let back = page.form("Continue to summary").choose("storage", "local").fill("os", "other").submit().await;
            back.expect_status(409).expect("on this storage already");
            assert_eq!(back.attributes(".error a", "href"), [format!("/images/{id}")]);
            let found = app.admin().open(&format!("/images?{}", serde_html_form::to_string([("q", format!("{n} {other}"))]).unwrap())).await;
            assert_eq!(found.texts("tbody th .name a").len(), 1, "{other}");
        }
        // Turkish is not folded: these are two names.
        app.image("İstanbul", iso("T1")).await;
        app.image("istanbul", iso("T2")).await;
    }

    async fn fields_that_the_form_does_not_have_change_nothing(start: Start) {
        let app = start.ready().await;
        let id = app.pending("mass").await;
        let about = |app: &App| {
            app.text(&format!(
                "SELECT status || ' ' || COALESCE(sha256, '-') || ' ' || kind || ' ' || storage_id || ' ' || size_bytes || ' ' || created_by_name || ' ' || file_state AS t \
                 FROM images WHERE id = '{id}'"
            ))
        };
        let before = about(&app);
        let smuggled = [
            ("status", "available"), ("sha256", "00"), ("kind", "virtual_disk"), ("storage", "x"), ("storage_id", "x"), ("size_bytes", "1"), ("created_by", "x"),
            ("created_by_name", "Mallory"), ("file_state", "sound"), ("id", "x"), ("role", "administrator"), ("reserved_bytes", "0"),
        ];
        let mut form = app.admin().open(&format!("/images/{id}/edit")).await.form("Save").fill("note", "edited");
        for (name, value) in smuggled {
            form = form.smuggle(name, value);
        }
        form.submit().await.expect("is saved").expect("edited");
        assert_eq!(about(&app), before);
        let mut form = app.admin().open("/clusters/new").await.form("Add cluster").fill("name", "Smuggled");
        for (name, value) in smuggled {
            form = form.smuggle(name, value);
        }
        let cluster = form.submit().await.expect("is added").id();
        assert_eq!(cluster.len(), 36);
        let page = app.admin().open("/images/new").await;
        let mut form = page.form("Continue").fill("name", "smuggled");
        for (name, value) in smuggled.into_iter().filter(|(name, _)| *name != "kind") {
            form = form.smuggle(name, value);
        }
        form.submit().await.expect("Step 2 of 3");
        // A field that is to be single and comes twice is refused, not chosen from.
        let answer = app.admin().open("/clusters/new").await.form("Add cluster").fill("name", "Once").smuggle("name", "Twice").send().await;
        assert_eq!(answer.status, 400);
        assert_eq!(app.count("clusters WHERE name IN ('Once', 'Twice')"), 0);
    }

    async fn an_identifier_has_one_spelling_and_no_path_leads_elsewhere(start: Start) {
        let app = start.ready().await;
        let id = app.image("spelt", iso("SPELT")).await;
        let admin = app.admin();
        assert_eq!(status(&admin, &format!("/images/{id}")).await, 200);
        let simple = id.replace('-', "");
        for spelling in [
            id.to_uppercase(), simple.clone(), format!("{{{id}}}"), format!("urn:uuid:{id}"), format!("{id}%20"), format!("%20{id}"), format!("{id}/"), format!("{id}%00"),
            format!("{id}.iso"), format!("..%2f{id}"), "..%2F..%2Fetc%2Fpasswd".to_owned(), format!("%2e%2e%2f{id}"), format!("x%2f..%2f{id}"), format!("%252e%252e%252f{id}"),
            format!("..;/{id}"), format!("..%5c{id}"), "1".to_owned(), "-1".to_owned(), "null".to_owned(), "00000000-0000-0000-0000-000000000000".to_owned(), "'%20OR%201=1".to_owned(),
            "%F0%9F%92%A9".to_owned(), "%FF".to_owned(), "a".repeat(3_000),
        ] {
            for section in ["/images/", "/clusters/", "/hosts/", "/datastores/", "/local-storages/", "/storages/"] {
                let path = format!("{section}{spelling}");
                assert_eq!(status(&admin, &path).await, 404, "{path}");
            }
            for rest in ["/download", "/events", "/edit"] {
                let path = format!("/images/{spelling}{rest}");
                assert_eq!(status(&admin, &path).await, 404, "{path}");
            }
        }
        for path in ["/assets/..%2f..%2fCargo.toml", "/assets/x/..%2f..%2fCargo.toml", "/assets/x/../../Cargo.toml", "/assets/x/%2e%2e/%2e%2e/etc/passwd", "/assets//etc/passwd", "/images/../events", "//images", "/images//x"] {
            let answer = admin.request(Method::GET, path).send().await;
            assert!(answer.status == 404 || answer.status.is_redirection(), "{path}: {}", answer.status);
            assert!(!answer.text().contains("[package]") && !answer.text().contains("root:"), "{path}");
        }
    }

    async fn a_file_name_is_shown_and_never_used(start: Start) {
        let app = start.ready().await;
        for (n, (sent, kept)) in [
            ("../../etc/cron.d/x.iso", "x.iso"), ("C:\\\\Users\\\\me\\\\x.iso", "x.iso"), ("<svg onload=alert(1)>.iso", "<svg onload=alert(1)>.iso"), ("..iso", "..iso"), ("a;b&c.iso", "a;b&c.iso"),
        ].into_iter().enumerate() {
            let page = app.summary(&app.admin(), &format!("file {n}"), "local").await;
            let action = page.attributes("form[enctype]", "action").remove(0);
            let mut body = Vec::new();
            part(&mut body, "b", "file", Some(sent), &iso(&format!("F{n}")));
            body.extend_from_slice(b"--b--\r\n");
            let answer = app.admin().request(Method::POST, &action).body("multipart/form-data; boundary=b", body).send().await.expect(303);
            let page = app.admin().follow(answer).await;
            page.expect("Available").expect(kept);
            is_sober(&page, sent);
            assert_eq!(app.text(&format!("SELECT file_name AS t FROM images WHERE name = 'file {n}'")), kept);
        }
        let names: Vec<String> = app.files().into_keys().filter(|path| path.contains("x.iso") || path.contains("svg")).collect();
        assert_eq!(names, [""; 0]);
    }
}

/// White space as a reader sees it.
fn fold_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// No element of the page comes from a name.
fn is_sober(page: &Page, name: &str) {
    assert_eq!(page.attributes("[onload]", "onload"), [""; 0], "{name}: {page}");
    assert_eq!(page.attributes("[onmouseover]", "onmouseover"), [""; 0], "{name}: {page}");
    assert_eq!(page.texts("script:not([src])"), [""; 0], "{name}: {page}");
    assert_eq!(page.texts("main h1").len(), 1, "{name}: {page}");
    for href in page.attributes("[href]", "href") {
        assert!(href.starts_with(['/', '#']), "{name}: {href}");
    }
    assert!(!page.says("1022117"), "{name}: nothing is evaluated");
}
