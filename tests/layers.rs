//! The arrows between the layers, read from the sources: who names whom. `src/lib.rs` has them in words.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each layer, and the beginnings of the paths that it may name. Its own is always among them.
const ARROWS: [(&str, &[&str]); 13] = [
    ("clock", &[]),
    ("domain", &["clock"]),
    ("meter", &["clock", "domain"]),
    ("media", &[]),
    ("storage", &["domain::ids"]),
    ("secret", &[]),
    ("db", &["clock", "domain", "meter"]),
    ("config", &["db::Address", "domain"]),
    ("authorize", &["clock", "domain", "media", "storage", "secret", "db", "config", "operations"]),
    ("operations", &["clock", "domain", "meter", "media", "storage", "secret", "db", "config", "authorize"]),
    ("jobs", &["clock", "domain", "meter", "media", "storage", "secret", "db", "config", "authorize", "operations"]),
    ("web", &["clock", "domain", "meter", "media", "storage", "secret", "db", "config", "authorize", "operations"]),
    ("app", &["clock", "domain", "meter", "media", "storage", "secret", "db", "config", "authorize", "operations", "jobs", "web"]),
];

/// What puts everything together may name everything.
const ABOVE_ALL: [&str; 4] = ["cli", "main", "lib", "fuzzing"];

/// Libraries, and where alone they may be named.
const LIBRARIES: [(&str, &[&str]); 3] = [("diesel", &["db/"]), ("actix", &["web/", "app.rs", "cli/serve.rs"]), ("metrics", &["meter/"])];

/// What is wrong with one file, whose path is relative to `src`.
fn faults(path: &str, source: &str) -> Vec<String> {
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).fold(String::new(), |code, line| code + line + "\n");
    let layer = path.split(['/', '.']).next().unwrap();
    let mut faults = Vec::new();
    match ARROWS.iter().find(|(name, _)| *name == layer) {
        Some((_, below)) => {
            for named in named_paths(&code) {
                let may = |allowed: &&str| named == **allowed || named.starts_with(&format!("{allowed}::"));
                // What tries a layer's readers lies beside them, and is no part of the program.
                let tries = path.ends_with("/fuzzing.rs") && named.starts_with("fuzzing::");
                if !tries && !may(&layer) && !below.iter().any(may) {
                    faults.push(format!("{path}: {layer} names {named}"));
                }
            }
        }
        None if ABOVE_ALL.contains(&layer) => {}
        None => faults.push(format!("{path}: no layer is called {layer}; give it its place in tests/layers.rs")),
    }
    for (library, places) in LIBRARIES {
        if !places.iter().any(|place| path.starts_with(place)) && names_word(&code, library) {
            faults.push(format!("{path}: names {library}, which stays in {places:?}"));
        }
    }
    faults
}

/// Every path that follows `crate::`, with groups in braces written out.
fn named_paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        tree(&code[at + "crate::".len()..], "", &mut found);
    }
    found
}

/// Reads one tree of a `use`, or a path in an expression, and answers what follows it.
fn tree<'code>(mut rest: &'code str, before: &str, found: &mut Vec<String>) -> &'code str {
    let mut path = before.to_owned();
    loop {
        rest = rest.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            rest = group;
            loop {
                rest = rest.trim_start();
                if let Some(end) = rest.strip_prefix('}') {
                    return end;
                }
                if rest.is_empty() {
                    return rest;
                }
                let after = tree(rest, &path, found);
                rest = after.trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest);
                if let Some(named) = rest.strip_prefix("as ") {
                    rest = &named[named.find([',', '}']).unwrap_or(named.len())..];
                }
                if rest.len() == after.len() && !rest.starts_with('}') {
                    return rest;
                }
            }
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word = &rest[..end];
        if word != "self" && !word.is_empty() {
            path = if path.is_empty() { word.to_owned() } else { format!("{path}::{word}") };
        }
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(more) if !more.starts_with('<') => rest = more,
            _ => {
                if !path.is_empty() {
                    found.push(path);
                }
                return rest;
            }
        }
    }
}

/// Whether a word that begins so stands in the code as the beginning of a path or a crate's name.
fn names_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let inside = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"');
        let after = code[at + word.len()..].trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        !inside && (after.starts_with("::") || code[..at].trim_end().ends_with("use") || code[..at].ends_with("#["))
    })
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 80, "only {} files were read", files.len());
    let faults: Vec<String> = files
        .iter()
        .flat_map(|file| faults(file.strip_prefix(&src).unwrap().to_str().unwrap(), &fs::read_to_string(file).unwrap()))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_layer_of_the_library_has_its_arrows() {
    let lib = include_str!("../src/lib.rs");
    for module in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let module = module.trim_end_matches(';');
        assert!(ABOVE_ALL.contains(&module) || ARROWS.iter().any(|(name, _)| *name == module), "{module}");
    }
}

#[test]
fn a_wrong_arrow_is_found_however_it_is_written() {
    let cases = [
        ("domain/made_up.rs", "use crate::db::Conn;", "domain names db::Conn"),
        (
            "domain/made_up.rs",
            "use crate::{\n    clock,\n    domain::{ids::{ImageId, UserId}, text},\n    web::page,\n};",
            "domain names web::page",
        ),
        ("domain/made_up.rs", "fn f() { let x = crate::storage::Space::default(); }", "domain names storage::Space::default"),
        ("clock.rs", "use crate::domain;", "clock names domain"),
        ("media/made_up.rs", "use crate::{media::text, domain::ids::ImageId as Id};", "media names domain::ids::ImageId"),
        ("storage/made_up.rs", "use crate::domain::image::Kind;", "storage names domain::image::Kind"),
        ("config.rs", "use crate::db::{Address, Db};", "config names db::Db"),
        ("db/made_up.rs", "use crate::operations::Failure;", "db names operations::Failure"),
        ("operations/made_up.rs", "use crate::web::page::{self, Shell};", "operations names web::page"),
        ("web/made_up.rs", "crate::jobs::work_off(&service)", "web names jobs::work_off"),
        ("jobs/made_up.rs", "use crate::app;", "jobs names app"),
        ("app.rs", "use crate::cli::serve;", "app names cli::serve"),
        ("operations/made_up.rs", "use diesel::prelude::*;", "operations/made_up.rs: names diesel"),
        ("web/made_up.rs", "diesel::sql_query(\"SELECT 1\")", "web/made_up.rs: names diesel"),
        ("operations/made_up.rs", "use actix_web::HttpRequest;", "operations/made_up.rs: names actix"),
        ("cli/doctor.rs", "actix_web::rt::spawn(async {});", "cli/doctor.rs: names actix"),
        ("helpers/made_up.rs", "", "no layer is called helpers"),
    ];
    for (path, source, fault) in cases {
        let found = faults(path, source);
        assert!(found.iter().any(|found| found.contains(fault)), "{path}: {source}: {found:?}");
    }
    let fine = [
        ("domain/made_up.rs", "// use crate::web::page;\nuse crate::{clock::{self, Timestamp}, domain::{codes::codes, text::*}};"),
        ("storage/made_up.rs", "use crate::domain::ids::{ImageId, StorageId};\nuse super::{Space, StorageError};"),
        ("config.rs", "use crate::{db::Address, domain::size};"),
        ("web/made_up.rs", "use actix_web::HttpRequest;\nuse crate::{authorize::{self, right}, db::clusters};"),
        ("db/made_up.rs", "use diesel::prelude::*;"),
        ("cli/made_up.rs", "use crate::{app, jobs, web};"),
        ("operations/made_up.rs", "tracing::info!(\"the word diesel in a text\");"),
    ];
    for (path, source) in fine {
        assert_eq!(faults(path, source), Vec::<String>::new(), "{path}: {source}");
    }
}
