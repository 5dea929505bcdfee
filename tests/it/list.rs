//! The list of images: filters, search, order and pages, all of them in the address.

use std::collections::BTreeSet;

use super::support::{App, Left, Page, iso};

/// Names on a page, in its order.
pub fn names(page: &Page) -> Vec<String> {
    page.texts("tbody th .name a")
}

pub async fn list(app: &App, query: &str) -> Page {
    app.admin().open(&format!("/images?{query}")).await
}

/// The same names sorted, to compare what a filter lets through.
async fn found(app: &App, query: &str) -> Vec<String> {
    let mut names = names(&list(app, query).await);
    names.sort();
    names
}

pub fn link(page: &Page, rel: &str) -> Option<String> {
    page.attributes(&format!("a[rel={rel}]"), "href").into_iter().next()
}

/// Copies the one image that there is: `n` more of equal size and name but for their number, in three ages, systems and types.
pub fn copies(app: &App, n: u32) {
    let sqlite = app.database_url.ends_with(".db");
    let numbers = match sqlite {
        true => format!("WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {n})"),
        false => format!("WITH numbers (n) AS (SELECT n FROM generate_series(1::bigint, {n}) AS series (n))"),
    };
    let padded = |digits: u8| match sqlite {
        true => format!("printf('%0{digits}d', n)"),
        false => format!("lpad(n::text, {digits}, '0')"),
    };
    let (id, name) = (padded(12), padded(4));
    app.sql(&format!(
        "{numbers} INSERT INTO images (id, kind, status, storage_id, name, search_key, name_key, note, os, min_vcpu, min_memory_mib, min_disk_gib, \
         size_bytes, sha256, file_name, file_state, reserved_bytes, status_since, created_at, created_by_name, version) \
         SELECT '01900000-0000-7000-8000-' || {id}, CASE WHEN n % 3 = 0 THEN 'base' ELSE 'installation' END, 'available', storage_id, \
         'Copy ' || {name}, 'same', 'copy ' || {name}, note, CASE WHEN n % 2 = 0 THEN 'debian-13' ELSE 'other' END, \
         min_vcpu, min_memory_mib, min_disk_gib, size_bytes + n % 2, sha256, file_name, file_state, 0, status_since, created_at + n % 3, \
         created_by_name, version FROM numbers, (SELECT * FROM images LIMIT 1) AS one"
    ));
}

async fn with_names(app: &App, all: &[&str]) {
    for (n, name) in all.iter().enumerate() {
        app.image(name, iso(&format!("N{n}"))).await;
    }
}

two_databases! {
    async fn each_filter_lets_through_what_it_names_and_stands_as_a_chip(start: Start) {
        start.leaves(Left::Records).leaves(Left::Jobs);
        let app = start.ready().await;
        let nas = app.datastore("nas").await;
        app.image("alpha", iso("A")).await;
        let beta = app.image_on("nas", "beta", iso("B")).await;
        let gamma = app.image("gamma", iso("C")).await;
        let lost = app.image("lost", iso("D")).await;
        app.pending("waiting").await;
        app.sql(&format!("UPDATE images SET kind = 'base' WHERE id = '{beta}'"));
        app.sql(&format!("UPDATE images SET os = 'debian-13' WHERE id = '{gamma}'"));
        app.sql(&format!("UPDATE images SET file_state = 'missing' WHERE id = '{lost}'"));
        let (local, default) = (app.storage("local"), app.text("SELECT id AS t FROM clusters WHERE name = 'Default'"));
        let page = app.admin().open("/clusters/new").await.form("Add cluster").fill("name", "Edge").submit().await;
        let edge = page.id();
        let all = ["alpha", "beta", "gamma", "lost", "waiting"];
        let cases: [(String, &[&str]); 17] = [
            (String::new(), &all),
            ("type=base".into(), &["beta"]),
            ("type=base&type=installation".into(), &all),
            ("type=virtual_disk".into(), &[]),
            ("status=available".into(), &["alpha", "beta", "gamma"]),
            ("status=pending".into(), &["waiting"]),
            ("status=file_unavailable".into(), &["lost"]),
            ("status=pending&status=file_unavailable".into(), &["lost", "waiting"]),
            ("os=debian-13".into(), &["gamma"]),
            ("os=other".into(), &["alpha", "beta", "lost", "waiting"]),
            (format!("storage={nas}"), &["beta"]),
            (format!("storage={local}&storage={nas}"), &all),
            (format!("cluster={default}"), &all),
            (format!("cluster={edge}"), &[]),
            (format!("cluster={default}&cluster={edge}&storage={nas}"), &["beta"]),
            ("q=et".into(), &[]),
            ("q=amm&os=debian-13&type=installation&status=available".into(), &["gamma"]),
        ];
        for (query, expected) in &cases {
            assert_eq!(found(&app, query).await, *expected, "{query}");
            // The export honours the same filter.
            let csv = app.admin().get(&format!("/images.csv?{query}")).await.expect(200);
            let mut exported: Vec<String> = csv.text().lines().skip(1).map(|line| line.split("\",\"").nth(1).unwrap().to_owned()).collect();
            exported.sort();
            assert_eq!(exported, *expected, "{query}");
        }
        let query = format!("q=bet&type=base&status=available&os=other&storage={nas}&cluster={default}&sort=name&size=25");
        let page = list(&app, &query).await;
        assert_eq!(names(&page), ["beta"]);
        let chips = ["Search: bet", "Type: Base image", "Status: Available", "Operating system: Other", "Storage: nas", "Cluster: Default"];
        assert_eq!(page.texts(".chip"), chips);
        for (n, href) in page.attributes(".chip a", "href").into_iter().enumerate() {
            let without = app.admin().open(&href).await;
            let mut left = chips.to_vec();
            left.remove(n);
            assert_eq!(without.texts(".chip"), left);
            assert!(href.contains("sort=name") && href.contains("size=25"), "the order stays: {href}");
        }
        assert_eq!(page.click("Clear all filters").await.texts(".chip"), [""; 0]);
        // A filter's boxes show what is chosen, and applying them leads to the same address.
        let form = page.form("/images");
        assert_eq!((form.value("q"), form.value("type"), form.value("storage")), ("bet", "base", nas.as_str()));
        assert_eq!(names(&form.submit().await), ["beta"]);
    }

    async fn a_search_finds_what_was_typed_and_nothing_in_it_is_a_pattern(start: Start) {
        let app = start.ready().await;
        let all = ["50% off", "50 percent", "a_b_c", "aXbXc", "say \"hello\"", "it's", "back\\slash", "NEAR OR AND NOT", "col:umn ^star*", "Straße Ä", "日本語版", "x"];
        with_names(&app, &all).await;
        let cases: [(&str, &[&str]); 30] = [
            ("50%", &["50% off"]), ("0% o", &["50% off"]), ("%%%", &[]), ("a_b", &["a_b_c"]), ("_b_", &["a_b_c"]), ("___", &[]),
            ("\"hello\"", &["say \"hello\""]), ("y \"h", &["say \"hello\""]), ("\"\"\"", &[]), ("it's", &["it's"]), ("t's", &["it's"]), ("'''", &[]),
            ("k\\s", &["back\\slash"]), ("\\\\\\", &[]), ("near or", &["NEAR OR AND NOT"]), ("AND NOT", &["NEAR OR AND NOT"]), ("col:", &["col:umn ^star*"]),
            ("^star*", &["col:umn ^star*"]), ("sta*", &[]), ("(off)", &[]), ("STRASSE", &["Straße Ä"]), ("e A\u{308}", &["Straße Ä"]), ("本語版", &["日本語版"]),
            ("日本", &["日本語版"]), ("語版", &[]), ("50", &["50 percent", "50% off"]), ("X", &["x"]), ("%", &[]), ("_", &[]), ("it", &["it's"]),
        ];
        for (typed, expected) in cases {
            let query = serde_html_form::to_string([("q", typed)]).unwrap();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(found(&app, &query).await, expected, "{typed}");
            assert_eq!(list(&app, &query).await.attributes("input[name=q]", "value"), [typed], "what was typed stays");
        }
        for odd in ["%00", "%FF", "q", "%E2%80%AE", "%0A%0D", &"a".repeat(3_000), &"%F0%9F%98%80".repeat(300)] {
            let answer = app.admin().get(&format!("/images?q={odd}")).await;
            assert!(matches!(answer.status.as_u16(), 200 | 400 | 414), "{odd}: {}", answer.status);
        }
    }

    async fn unknown_values_are_ignored_and_a_place_that_does_not_fit_is_the_first_page(start: Start) {
        start.leaves(Left::Records);
        let app = start.ready().await;
        app.image("Copy 000", iso("COPY")).await;
        copies(&app, 59);
        let first = names(&list(&app, "").await);
        assert_eq!(first.len(), 50);
        let unknown = "01900000-0000-7000-8000-00000000dead";
        for query in [
            "type=nonsense", "status=deleting", "status=', DROP", "os=windows-3.1", "storage=x", "cluster=x", "sort=sha256", "sort=-", "sort=-;", "size=7",
            "size=1000000", "size=-1", "nonsense=1", "after=", "after=created", "after=created.1", "after=created.x.y", "after=created.9e9.x",
            "after=name.t:same.01900000-0000-7000-8000-000000000030", "before=size.5.01900000-0000-7000-8000-000000000030",
            "after=created.t:5.01900000-0000-7000-8000-000000000030", "after=created.99999999999999999999.01900000-0000-7000-8000-000000000030",
            "after=created.1.01900000-0000-7000-8000-000000000030'--", "page=2", "offset=50", "q=&type=",
        ] {
            assert_eq!(names(&list(&app, &query.replace(' ', "+")).await), first, "{query}");
        }
        assert_eq!(found(&app, &format!("storage={unknown}")).await, [""; 0]);
        list(&app, &format!("storage={unknown}")).await.expect("Storage: unknown");
        // Beyond either end there is nothing: back to the first page.
        for query in [format!("after=created.0.{unknown}"), format!("before=created.{}.{unknown}", i64::MAX), format!("after=created.{}.{unknown}", i64::MIN)] {
            assert_eq!(names(&list(&app, &query).await), first, "{query}");
        }
        // A place forged between two rows is a place like any other.
        let forged = list(&app, &format!("after=created.{}.{unknown}", i64::MAX)).await;
        assert_eq!(names(&forged), first);
        let repeated = list(&app, &"type=installation&".repeat(300)).await;
        assert_eq!(repeated.texts(".chip"), ["Type: Installation image"]);
    }

    async fn rows_that_come_and_go_shift_no_page(start: Start) {
        start.leaves(Left::Records);
        let app = start.ready().await;
        app.image("Copy 000", iso("COPY")).await;
        copies(&app, 80);
        let first = list(&app, "sort=created&size=25").await;
        let next = link(&first, "next").unwrap();
        let second = names(&app.admin().open(&next).await);
        for gone in names(&first).iter().take(20) {
            app.sql(&format!("DELETE FROM images WHERE name = '{gone}'"));
        }
        assert_eq!(names(&app.admin().open(&next).await), second);
        // The row itself, after which the page begins, can go too.
        let border = names(&first).pop().unwrap();
        app.sql(&format!("DELETE FROM images WHERE name = '{border}'"));
        assert_eq!(names(&app.admin().open(&next).await), second);
    }

    async fn columns_are_kept_for_the_person_not_for_the_browser(start: Start) {
        let app = start.ready().await;
        app.image("columns", iso("COLUMNS")).await;
        let heads = |page: &Page| page.texts("thead th");
        let page = list(&app, "sort=name").await;
        assert_eq!(heads(&page), ["Name", "Type", "Status", "OS", "Size", "Storage", "Used by", "Created", "Actions"]);
        let page = page.form("Keep").untick("column").choose("column", "status").choose("column", "size").submit().await;
        page.expect("The columns are kept.").expect_path("/images?sort=name");
        assert_eq!(heads(&page), ["Name", "Status", "Size", "Actions"]);
        assert_eq!(heads(&app.second_admin().await.open("/images").await), ["Name", "Status", "Size", "Actions"]);
        let other = app.user("grace@example.org", "administrator").await;
        assert_eq!(heads(&other.open("/images").await).len(), 9);
        let away = app.admin().post("/images/columns", &[("back", "https://evil.example"), ("column", "nonsense")]).await;
        assert_eq!(away.location(), Some("/images"));
        let page = list(&app, "").await;
        assert_eq!(heads(&page), ["Name", "Actions"]);
        let mut form = page.form("Keep");
        for column in ["type", "status", "os", "size", "storage", "used", "created"] {
            form = form.choose("column", column);
        }
        assert_eq!(heads(&form.submit().await).len(), 9);
    }

    async fn nothing_to_show_is_said_in_the_words_of_its_reason(start: Start) {
        let app = start.ready().await;
        let page = list(&app, "").await;
        page.expect("No images yet").expect("First steps");
        list(&app, "q=nothing").await.expect("No image matches").click("Clear all filters").await.expect("No images yet");
        app.image("hidden", iso("HIDDEN")).await;
        list(&app, "status=pending").await.expect("No image matches");
        let nobody = app.user("eve@example.org", "no_access").await;
        for query in ["", "?q=hidden", "?status=available"] {
            let page = nobody.open(&format!("/images{query}")).await;
            page.expect("There is nothing that you may see");
            assert!(!page.texts("main bdi").contains(&"hidden".to_owned()) || query == "?q=hidden", "{page}");
            assert_eq!(names(&page), [""; 0]);
        }
        let csv = nobody.get("/images.csv").await;
        assert!(!csv.text().contains("hidden"), "{}", csv.text());
    }

    async fn who_may_see_nothing_is_told_no_name_by_the_filters(start: Start) {
        let app = start.ready().await;
        let nobody = app.user("eve@example.org", "no_access").await;
        let (storage, cluster) = (app.storage("local"), app.text("SELECT id AS t FROM clusters"));
        for query in [String::new(), format!("?storage={storage}&cluster={cluster}")] {
            let page = nobody.open(&format!("/images{query}")).await;
            for name in ["local", "Default"] {
                assert!(!page.texts("main bdi").iter().any(|shown| shown == name), "{name} is told: {page}");
            }
        }
    }

    async fn the_export_holds_every_match_in_order_and_no_formula(start: Start) {
        start.leaves(Left::Records).leaves(Left::Jobs);
        let app = start.ready().await;
        let id = app.image("=cmd()|' /C calc'!A0", iso("FORMULA")).await;
        app.sql("UPDATE images SET note = '@SUM(1+9)'");
        let answer = app.admin().get("/images.csv").await.expect(200);
        assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
        assert!(answer.header("content-disposition").starts_with("attachment;"));
        let lines: Vec<&str> = answer.text().split("\r\n").collect();
        assert_eq!(lines[0], "id,name,type,status,operating system,size in bytes,sha256,storage,used by,created,created by,note");
        assert!(lines[1].starts_with(&format!("\"{id}\",\"'=cmd()|' /C calc'!A0\",\"Installation image\",\"Available\",")), "{}", lines[1]);
        assert!(lines[1].ends_with(",\"'@SUM(1+9)\""), "{}", lines[1]);
        app.sql("UPDATE images SET name = 'Copy 000', search_key = 'copy 000', name_key = 'copy 000'");
        copies(&app, 2_400);
        let answer = app.admin().get("/images.csv?sort=-name").await.expect(200);
        let ids: Vec<&str> = answer.text().lines().skip(1).map(|line| &line[1..37]).collect();
        assert_eq!(ids.len(), 2_401);
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 2_401, "no row comes twice where one batch ends and another begins");
        let mut sorted = ids[..2_400].to_vec();
        sorted.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!(ids[..2_400], sorted, "in the order that was asked for");
    }
}
