//! Every way to be refused has a code, and every code that the sources name has a page that explains it.

use std::{collections::BTreeSet, fs, path::Path};

use vmimg::{domain::access::Privilege, web::problems};

use super::super::support::Start;

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("web/problems.rs") {
            let source = fs::read_to_string(&path).unwrap();
            let code = source.split("\n#[cfg(test)]").next().unwrap();
            found.push(
                code.lines().filter(|line| !line.trim_start().starts_with("//")).fold(String::new(), |code, line| code + line + "\n"),
            );
        }
    }
}

/// Texts between quotation marks that look like a code: `name.taken`.
fn dotted(code: &str) -> BTreeSet<&str> {
    // Versions of systems have a dot in them, too.
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    code.split('"')
        .skip(1)
        .filter(|text| {
            text.starts_with(|first: char| first.is_ascii_lowercase())
                && text.split_once('.').is_some_and(|(one, other)| word(one) && word(other))
        })
        .collect()
}

/// The second argument of every error that the web layer makes by itself.
fn of_errors(code: &str) -> BTreeSet<&str> {
    let made = ["Error::new(", "Self::new(", "refused("];
    let starts = made.iter().flat_map(|call| code.match_indices(call).map(|(at, call)| at + call.len()));
    let second = |at: usize| {
        let call = &code[at..code[at..].find(';').map_or(code.len(), |end| at + end)];
        let (first, rest) = call.split_once(',')?;
        let text = rest.trim_start().strip_prefix('"')?.split('"').next()?;
        let status = first.contains("Status") || first.trim() == "status";
        (status && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.')).then_some(text)
    };
    starts.filter_map(second).collect()
}

#[test]
fn every_code_that_the_sources_name_is_explained_and_no_other() {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    assert!(all.len() > 80);
    let schema = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/db/schema.rs")).unwrap();
    let is_column = |text: &str| {
        let (table, column) = text.split_once('.').unwrap();
        schema.contains(&format!(" {table} (")) && schema.contains(&format!("{column} ->"))
    };
    let is_file =
        |text: &str| [".html", ".csv", ".iso", ".db", ".xyz", ".toml", ".json", ".svg", ".jpg"].iter().any(|ending| text.ends_with(ending));
    let is_privilege = |text: &str| Privilege::ALL.iter().any(|privilege| privilege.as_str() == text);
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for code in &all {
        named.extend(dotted(code).into_iter().filter(|text| !is_file(text) && !is_privilege(text) && !is_column(text)));
        named.extend(of_errors(code));
    }
    // Not made by these calls: several faults at once, and what stands in a match.
    named.insert("invalid");
    let explained: BTreeSet<&str> = problems::ALL.iter().map(|problem| problem.code).collect();
    assert_eq!(named.difference(&explained).collect::<Vec<_>>(), [&""; 0], "these codes are not explained in src/web/problems.rs");
    assert_eq!(explained.difference(&named).collect::<Vec<_>>(), [&""; 0], "these codes are explained, but nothing names them");
}

#[test]
fn a_code_that_is_made_up_would_be_found() {
    assert_eq!(dotted(r#"Failure::refused("made.up", "It is not.")"#), BTreeSet::from(["made.up"]));
    assert_eq!(of_errors("Error::new(\n    StatusCode::IM_A_TEAPOT,\n    \"made_up\", \"x\");"), BTreeSet::from(["made_up"]));
    assert_eq!(of_errors(r#"FieldError::new("name", "x")"#), BTreeSet::new());
}

#[actix_web::test]
async fn every_code_has_a_page_that_is_open() {
    let start = Start::sqlite();
    let app = start.ready().await;
    let list = app.browser().open("/docs/problems").await;
    for problem in problems::ALL {
        assert_eq!(list.attributes(&format!("a[href=\"/docs/problems/{}\"]", problem.code), "href").len(), 1, "{}", problem.code);
        let page = app.browser().open(&format!("/docs/problems/{}", problem.code)).await;
        page.expect_status(200).expect(problem.title).expect(problem.explanation);
    }
    app.browser().get("/docs/problems/nothing").await.expect(404);
    start.finish().await;
}

two_databases! {
    async fn an_error_that_nobody_expected_is_a_problem_too(start: Start) {
        let app = start.ready().await;
        let program = app.program("read");
        app.sql("ALTER TABLE uploads RENAME TO elsewhere");
        let broken = program.get("/images").await.refused(500, "unexpected");
        assert_eq!(broken.json()["request_id"], broken.header("x-request-id"));
        for secret in ["uploads", "SELECT", "no such table", "relation", "diesel"] {
            assert!(!broken.text().contains(secret), "{secret}");
        }
        app.sql("ALTER TABLE elsewhere RENAME TO uploads");
        program.get("/images").await.expect(200);
    }
}
