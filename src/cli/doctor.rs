//! `vmimg doctor`: what an administrator would look at first.

use std::path::Path;

use super::Outcome;
use crate::{
    config::Config,
    db::{Db, migrate, storages},
    domain::{size, storage::Health},
    storage::Directory,
};

pub fn run(config: &Config) -> Outcome {
    let mut faults = 0_u32;
    let mut line = |name: &str, found: Result<String, String>| {
        let (mark, words) = match found {
            Ok(words) => ("ok    ", words),
            Err(words) => {
                faults += 1;
                ("FAULT ", words)
            }
        };
        println!("{mark} {name:<14} {words}");
    };
    line("data folder", data_dir(&config.data_dir));
    let db = Db::open(&config.database);
    match &db {
        Err(failed) => line("database", Err(failed.to_string())),
        Ok(db) => {
            line("database", Ok(config.database.words().to_owned()));
            line("schema", schema(db));
            let all = db.read_now(|conn| storages::all(conn, None)).unwrap_or_default();
            for storage in all.into_iter().filter(|storage| storage.health != Health::Removed) {
                let looked = Directory::at(&storage.path, storage.id).probe();
                let words = looked.map(|space| format!("{}, {} free", storage.path, size::words(space.free_bytes)));
                line(&format!("storage {}", storage.name), words.map_err(|failed| failed.to_string()));
            }
        }
    }
    line("log", Ok(config.log.clone()));
    if faults == 0 { Ok(()) } else { Err(format!("{}, see above", size::counted(u64::from(faults), "fault", "faults")).into()) }
}

fn data_dir(path: &Path) -> Result<String, String> {
    if !path.is_dir() {
        return Err(format!("{} does not exist yet; `vmimg serve` creates it", path.display()));
    }
    let probe = path.join(".doctor");
    std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe)).map_err(|failed| format!("{}: {failed}", path.display()))?;
    Ok(path.display().to_string())
}

fn schema(db: &Db) -> Result<String, String> {
    let status = migrate::status(db).map_err(|failed| failed.to_string())?;
    match (status.pending.len(), status.unknown.len()) {
        (0, 0) => Ok("up to date".to_owned()),
        (_, 0) => Err("not up to date; run `vmimg migrate`".to_owned()),
        _ => Err("newer than this program".to_owned()),
    }
}
