//! Compares a crashed disk, mounted again, with what was acknowledged.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, connection::SimpleConnection, sql_query, sql_types};

use crate::{
    ledger::{Ledger, Row},
    workload::{Recording, Records, rows, sha256},
};

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = sql_types::BigInt)]
    n: i64,
}

#[derive(QueryableByName)]
struct Word {
    #[diesel(sql_type = sql_types::Text)]
    t: String,
}

/// What is wrong on the disk at `mounted`, as it was after `entries`. Nothing in the answer means that all is well.
pub fn run(recording: &Recording, mounted: &Path, entries: u64) -> Vec<String> {
    let Recording { records, ledger, mounted_at, .. } = recording;
    let place = Place { mounted_at, mounted };
    let mut wrong = Vec::new();
    match records {
        Records::Outside => {
            for row in ledger.rows_at(entries) {
                wrong.extend(place.file(row));
            }
        }
        Records::Inside => {
            if let Err(failed) = inside(ledger, &place, entries, &mut wrong) {
                wrong.push(format!("the records cannot be read: {failed}"));
            }
        }
    }
    for storage in ["first", "second", "data/storage"] {
        wrong.extend(place.manifests(&mounted.join(storage)));
    }
    wrong
}

/// The records on the crashed disk, opened as the service does.
fn inside(ledger: &Ledger, place: &Place, entries: u64, wrong: &mut Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
    let database = place.mounted.join("data/vmimg.db");
    let mut facts = ledger.facts_at(entries).peekable();
    if !database.exists() {
        if facts.peek().is_some() {
            wrong.push("the records are gone".to_owned());
        }
        return Ok(());
    }
    let mut records = SqliteConnection::establish(&database.display().to_string())?;
    records.batch_execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
    let sound: Word = sql_query("SELECT quick_check AS t FROM pragma_quick_check LIMIT 1").get_result(&mut records)?;
    if sound.t != "ok" {
        wrong.push(format!("the database is damaged: {}", sound.t));
    }
    let tables: Number = sql_query("SELECT COUNT(*) AS n FROM sqlite_schema WHERE name = 'images'").get_result(&mut records)?;
    if tables.n == 0 {
        if facts.peek().is_some() {
            wrong.push("the records are empty".to_owned());
        }
        return Ok(());
    }
    for fact in facts {
        let holds: Number = sql_query(fact.sql.as_str()).get_result(&mut records)?;
        if holds.n < 1 {
            wrong.push(format!("acknowledged and lost: {}", fact.words));
        }
    }
    for row in rows(&mut records)? {
        wrong.extend(place.file(&row));
    }
    Ok(())
}

/// Where things lie that the records place below `mounted_at`.
struct Place<'disk> {
    mounted_at: &'disk Path,
    mounted: &'disk Path,
}

impl Place<'_> {
    fn of(&self, path: &str) -> PathBuf {
        Path::new(path).strip_prefix(self.mounted_at).map_or_else(|_| PathBuf::from(path), |below| self.mounted.join(below))
    }

    /// What is wrong with the file of an image; nothing, where it need not have one.
    fn file(&self, row: &Row) -> Option<String> {
        if row.status != "available" {
            return None;
        }
        let images = self.of(&row.storage).join("images");
        let bytes = match fs::read(images.join(format!("{}.iso", row.id))) {
            Ok(bytes) => bytes,
            Err(failed) => return Some(format!("{} is Available, its file is not: {failed}", row.id)),
        };
        if bytes.len() as i64 != row.size || sha256(&bytes) != row.sha256 {
            return Some(format!("{} is Available, its file has other bytes ({} of {})", row.id, bytes.len(), row.size));
        }
        let described = match manifest(&images.join(format!("{}.json", row.id))) {
            Ok(described) => described,
            Err(failed) => return Some(format!("{} is Available, its manifest cannot be read: {failed}", row.id)),
        };
        let agrees =
            described["image"] == row.id.as_str() && described["sha256"] == row.sha256.as_str() && described["size_bytes"] == row.size;
        (!agrees).then(|| format!("{} is Available, its manifest describes another file: {described}", row.id))
    }

    /// Manifests on a storage that are not whole.
    fn manifests(&self, storage: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(storage.join("images")) else { return Vec::new() };
        let paths =
            entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "json"));
        paths.filter_map(|path| Some(format!("the manifest {} is damaged: {}", path.display(), manifest(&path).err()?))).collect()
    }
}

fn manifest(path: &Path) -> io::Result<serde_json::Value> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}
