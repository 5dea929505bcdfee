//! The two schemas are one: same migrations, same tables, columns, indices.

use std::{collections::BTreeMap, fs, path::Path};

use super::support::{App, Start};

fn names(folder: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn both_databases_have_migrations_of_the_same_names() {
    assert!(!names("sqlite").is_empty());
    assert_eq!(names("sqlite"), names("postgres"));
    // What stands before the underscore is a migration's version: of two with the same, only one would ever run.
    let versions: Vec<String> = names("sqlite").iter().map(|name| name.split('_').next().unwrap().to_owned()).collect();
    assert!(versions.windows(2).all(|pair| pair[0] < pair[1]), "{versions:?}");
}

/// `table.column kind nullable`, by kinds that both databases know.
fn columns(app: &App, sqlite: bool) -> Vec<String> {
    let found = if sqlite {
        app.texts("SELECT m.name || '.' || c.name || ' ' || lower(c.type) || CASE WHEN c.\"notnull\" = 1 OR c.pk > 0 THEN '' ELSE ' null' END AS t \
                   FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table' AND m.name NOT LIKE 'image_search%' AND m.name NOT LIKE 'sqlite_%'")
    } else {
        app.texts(
            "SELECT table_name || '.' || column_name || ' ' || data_type || CASE is_nullable WHEN 'NO' THEN '' ELSE ' null' END AS t \
                   FROM information_schema.columns WHERE table_schema = 'public'",
        )
    };
    let mut all: Vec<String> = found
        .into_iter()
        .filter(|line| !line.starts_with("__diesel"))
        .map(|line| {
            line.replace(" blob", " bytes")
                .replace(" bytea", " bytes")
                .replace("images.seq bigint", "images.seq integer")
                .replace("events.seq bigint", "events.seq integer")
        })
        .collect();
    all.sort();
    all
}

/// Index name to its columns, for the indices that have names of their own.
fn indices(app: &App, sqlite: bool) -> BTreeMap<String, String> {
    let definitions = if sqlite {
        app.texts("SELECT name || '|' || sql AS t FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    } else {
        app.texts("SELECT indexname || '|' || indexdef AS t FROM pg_indexes WHERE schemaname = 'public'")
    };
    let split = |line: String| {
        let (name, sql) = line.split_once('|').unwrap();
        let columns = sql[sql.find('(').unwrap() + 1..].split(')').next().unwrap().replace(' ', "");
        (name.to_owned(), columns)
    };
    definitions
        .into_iter()
        .map(split)
        .filter(|(name, _)| !name.ends_with("_pkey") && !name.ends_with("_unique") && name != "images_search" && !name.starts_with("__"))
        .collect()
}

#[actix_web::test]
async fn both_databases_end_with_the_same_tables_columns_and_indices() {
    let (sqlite, postgres) = (Start::sqlite(), Start::postgres());
    let (one, other) = (sqlite.open().await, postgres.open().await);
    assert_eq!(columns(&one, true), columns(&other, false));
    assert_eq!(indices(&one, true), indices(&other, false));
    drop((one, other));
    sqlite.finish().await;
    postgres.finish().await;
}

two_databases! {
    async fn a_database_is_opened_again_without_another_migration(start: Start) {
        let app = start.ready().await;
        let status = vmimg::db::migrate::status(&app.service.db).unwrap();
        assert_eq!((status.applied.len(), status.pending.len(), status.unknown.len()), (names("sqlite").len(), 0, 0));
        let again = start.open().await;
        assert_eq!(again.count("users"), 1);
    }

    async fn a_database_that_is_newer_than_the_program_is_refused(start: Start) {
        let app = start.ready().await;
        app.sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000000')");
        let failed = vmimg::app::open(std::sync::Arc::new(start.config())).err().map(|failed| failed.to_string());
        assert!(failed.is_some(), "an older program would write what a newer one does not expect");
        app.sql("DELETE FROM __diesel_schema_migrations WHERE version = '20991231000000'");
    }
}
