//! The program sees the tables of both databases as they are: `src/db/schema.rs` against the migrations.

use std::{collections::BTreeMap, fs, path::Path};

use super::support::App;

/// Tables, their columns, and which of these may be empty.
type Shape = BTreeMap<String, Vec<(String, bool)>>;

fn shape(app: &App) -> Shape {
    let lines = if app.database_url.ends_with(".db") {
        // A primary key of SQLite may be empty unless it is told otherwise; of PostgreSQL it never is.
        app.texts(
            "SELECT m.name || ' ' || c.name || ' ' || CASE WHEN c.\"notnull\" = 1 OR c.pk > 0 THEN 'NO' ELSE 'YES' END AS t \
             FROM sqlite_schema AS m, pragma_table_info(m.name) AS c \
             WHERE m.type = 'table' AND m.name NOT LIKE 'image_search%' AND m.name NOT LIKE 'sqlite_%'",
        )
    } else {
        app.texts("SELECT table_name || ' ' || column_name || ' ' || is_nullable AS t FROM information_schema.columns WHERE table_schema = 'public'")
    };
    let mut shape = Shape::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let [table, column, empty] = words[..] else { panic!("{line}") };
        shape.entry(table.to_owned()).or_default().push((column.to_owned(), empty == "YES"));
    }
    shape.retain(|table, _| !table.starts_with("__diesel"));
    shape.values_mut().for_each(|columns| columns.sort());
    shape
}

/// What stands in `src/db/schema.rs`.
fn as_diesel_sees_it() -> Shape {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/db/schema.rs")).unwrap();
    let mut shape = Shape::new();
    for table in source.split("table! {").skip(1) {
        let body = &table[..table.find("\n}").unwrap()];
        let (name, rest) = body.trim_start().split_once(' ').unwrap();
        let columns = &rest[rest.find('{').unwrap() + 1..rest.rfind('}').unwrap()];
        let columns = columns.split(',').filter_map(|column| column.trim().split_once(" -> "));
        let mut columns: Vec<_> = columns.map(|(column, kind)| (column.to_owned(), kind.starts_with("Nullable"))).collect();
        columns.sort();
        shape.insert(name.to_owned(), columns);
    }
    shape
}

two_databases! {
    async fn the_program_sees_the_tables_as_they_are(start: Start) {
        let there = shape(&start.open().await);
        let seen = as_diesel_sees_it();
        assert!(seen.len() >= 14, "{:?}", seen.keys());
        for (table, columns) in &seen {
            assert_eq!(Some(columns), there.get(table), "{table}");
        }
        for table in there.keys() {
            assert!(seen.contains_key(table), "the program does not know {table}");
        }
    }
}
