//! What the databases do for a list: rows are met in the order of the page, and few of them, however many there are. No clock is asked.

use super::support::{App, Left, statements};

/// Enough that walking all of them is told from walking a page.
const IMAGES: u64 = 8_000;
/// Rows that one page may visit where an index knows the way.
const VISITED: u64 = 1_500;

/// A statement as it was asked, and what was bound.
struct Asked {
    sql: String,
    bound: Vec<String>,
}

impl Asked {
    /// From diesel's words: the statement, ` -- binds: `, a list as Rust writes it.
    fn parse(words: &str) -> Self {
        let (sql, list) = words.split_once(" -- binds: ").unwrap_or((words, "[]"));
        let list = list.replace("\\u{10ffff}", &char::MAX.to_string());
        let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap_or_else(|failed| panic!("{list}: {failed}"));
        let literal = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => format!("'{}'", text.replace('\'', "''")),
            other => other.to_string(),
        };
        Self { sql: sql.to_owned(), bound: list.iter().map(literal).collect() }
    }

    /// The statement with what was bound written out.
    fn written_out(&self) -> String {
        let mut sql = self.sql.clone();
        for (n, literal) in self.bound.iter().enumerate().rev() {
            sql = sql.replace(&format!("${}", n + 1), literal);
        }
        for literal in &self.bound {
            sql = sql.replacen('?', literal, 1);
        }
        sql
    }
}

/// The statements that ask for images to answer a page, the second time that it is asked for: what is counted is known by then.
async fn of_images(app: &App, path: &str) -> Vec<Asked> {
    app.admin().get(path).await.expect(200);
    let asked = statements::of(&app.database_url, async {
        app.admin().get(path).await.expect(200);
    })
    .await;
    asked.iter().filter(|words| words.contains("FROM (SELECT") && words.contains("images")).map(|words| Asked::parse(words)).collect()
}

/// Rows that PostgreSQL met in tables and indexes, those that it passed over included.
fn visited(plan: &[String]) -> u64 {
    let number = |text: &str| -> f64 { text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect::<String>().parse().unwrap() };
    let mut total = 0.0;
    let mut loops = 1.0;
    for line in plan {
        if let Some((_, rest)) = line.split_once("actual rows=") {
            loops = number(rest.split_once("loops=").unwrap().1);
            if line.contains("Scan") && !line.contains("Subquery Scan") {
                total += number(rest) * loops;
            }
        }
        if let Some((_, rest)) = line.split_once("Rows Removed by") {
            total += number(rest.split_once(": ").unwrap().1) * loops;
        }
    }
    total as u64
}

two_databases! {
    async fn every_view_of_the_list_meets_few_rows_in_their_order(start: Start) {
        start.leaves(Left::Records).leaves(Left::Jobs).leaves(Left::Transfers);
        let app = start.ready().await;
        app.seed(IMAGES);
        let id = |name: &str| app.text(&format!("SELECT id AS t FROM storages WHERE name LIKE '{name} %'"));
        let (large, small, degraded, removed) = (id("nas-01"), id("disk-10"), id("nas-05"), id("disk-12"));
        let cluster = app.text("SELECT id AS t FROM clusters WHERE name LIKE 'Oslo %'");
        let place = "0193a5c0-0000-7000-8000-000000000000";
        let mut views: Vec<String> = [
            "", "size=100", "type=base", "type=installation&type=virtual_disk", "status=available", "status=uploading", "status=creating", "status=pending",
            "status=degraded", "status=file_unavailable", "status=pending&status=file_unavailable", "os=talos", "os=ubuntu-24.04-server",
            "os=talos&os=debian-12", "q=de", "q=u&sort=name", "status=pending&sort=name", "status=creating&sort=-size", "q=qqxyz",
        ]
        .map(str::to_owned)
        .to_vec();
        for sort in ["name", "type", "os", "size", "created"] {
            views.extend([format!("sort={sort}"), format!("sort=-{sort}")]);
        }
        for (value, sort) in [("1747696000000000", "created"), ("2500000000", "size"), ("t:r", "name"), ("t:fedora", "os"), ("t:base", "type")] {
            views.extend([format!("sort={sort}&after={sort}.{value}.{place}"), format!("sort={sort}&before={sort}.{value}.{place}")]);
        }
        views.extend([&large, &small, &degraded, &removed].map(|storage| format!("storage={storage}")));
        views.push(format!("cluster={cluster}"));
        for view in &views {
            for asked in of_images(&app, &format!("/images?{view}")).await {
                let plan = app.plan_of(&asked.written_out());
                let words = format!("{view}\n{}\n{}", asked.sql, plan.join("\n"));
                if app.database_url.ends_with(".db") {
                    // Rows of images are found by an index; what is passed over in a walk is not even fetched.
                    let stretches = asked.sql.matches(") AS images WHERE").count();
                    let bare = plan.iter().filter(|line| line.contains("SCAN images") && !line.contains("USING")).count();
                    assert_eq!(bare, stretches, "{words}");
                    assert!(!plan.iter().any(|line| line.contains("USING INDEX images_walk_") && line.contains("SCAN")), "{words}");
                    // What is sorted is a page of each leg, where there are several, and nothing else.
                    let sorts = plan.iter().filter(|line| line.contains("TEMP B-TREE")).count();
                    assert_eq!(sorts, usize::from(asked.sql.contains(" UNION ALL ")), "{words}");
                } else {
                    let visited = visited(&plan);
                    assert!(visited > 0 && visited <= VISITED, "{visited} rows: {words}");
                }
            }
        }
        assert!(views.len() >= 40);
    }

    async fn a_rare_word_is_looked_up_and_a_frequent_one_met_in_passing(start: Start) {
        start.leaves(Left::Records).leaves(Left::Jobs).leaves(Left::Transfers);
        let app = start.ready().await;
        app.seed(IMAGES);
        for (word, rare) in [("zephyr", true), ("amd64", false)] {
            let asked = of_images(&app, &format!("/images?q={word}")).await;
            let [asked] = asked.as_slice() else { panic!("{} statements ask for images", asked.len()) };
            let plan = app.plan_of(&asked.written_out());
            let words = format!("{word}\n{}\n{}", asked.sql, plan.join("\n"));
            if app.database_url.ends_with(".db") {
                assert_eq!(plan.iter().any(|line| line.contains("image_search VIRTUAL TABLE")), rare, "{words}");
                assert_eq!(plan.iter().any(|line| line.contains("images_walk_created")), !rare, "{words}");
            } else {
                assert_eq!(asked.sql.contains(" LIKE "), rare, "{words}");
                assert!(visited(&plan) <= VISITED, "{words}");
            }
        }
        // However many match, no more than ten thousand and one are counted.
        app.sql("UPDATE users SET version = version");
        let asked = statements::of(&app.database_url, async {
            app.admin().get("/images?type=base&os=debian-12").await.expect(200);
        })
        .await;
        let counts: Vec<&String> = asked.iter().filter(|words| words.contains("count(*)")).collect();
        assert!(!counts.is_empty());
        for words in counts {
            assert!(words.contains(" LIMIT ") && !words.contains("OFFSET"), "{words}");
        }
    }
}
