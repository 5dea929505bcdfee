//! What a test must not leave behind: work in the queue, parts of files, files without records or records without files, promises of
//! space, transfers that nobody ends, and records that point nowhere.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use super::App;

/// Something that a test leaves on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Jobs that cannot be done, as for a storage that is gone.
    Jobs,
    /// Rows that were written by hand, without files.
    Records,
    /// Promised space, live transfers and parts.
    Transfers,
    /// Files that nobody knows.
    Files,
}

/// Fails if something is left that is not in `allowed`.
pub async fn look(app: &App, allowed: &[Left]) {
    let left_alone = |what| allowed.contains(&what);
    vmimg::jobs::work_off(&app.service).await.unwrap();
    if !left_alone(Left::Jobs) {
        let queued = || app.texts("SELECT kind || ' ' || image_id || ' ' || COALESCE(error, '') AS t FROM jobs");
        // A service that the test started may have one in hand.
        let begun = Instant::now();
        while !queued().is_empty() && begun.elapsed() < Duration::from_secs(10) {
            actix_web::rt::time::sleep(Duration::from_millis(20)).await;
            vmimg::jobs::work_off(&app.service).await.unwrap();
        }
        assert_eq!(queued(), [""; 0], "jobs are queued");
    }
    if !left_alone(Left::Transfers) {
        let kept = "EXISTS (SELECT 1 FROM uploads WHERE image_id = images.id AND expires_at IS NOT NULL)";
        assert_eq!(app.count(&format!("images WHERE reserved_bytes > 0 AND NOT {kept}")), 0, "space is promised to nobody");
        assert_eq!(app.count("uploads WHERE lease_until IS NOT NULL"), 0, "a transfer has no end");
    }
    for place in app.texts("SELECT id || ' ' || path AS t FROM storages WHERE health = 'healthy'") {
        let (storage, root) = place.split_once(' ').unwrap();
        let root = Path::new(root);
        if !left_alone(Left::Transfers) {
            // What was sent of an interrupted upload is kept, and nothing else.
            let kept = app.texts(&format!(
                "SELECT image_id || '.part' AS t FROM uploads JOIN images ON images.id = image_id WHERE storage_id = '{storage}' AND expires_at IS NOT NULL ORDER BY 1"
            ));
            let mut parts = names(&root.join("staging"));
            parts.sort();
            assert_eq!(parts, kept, "parts lie in {}", root.display());
        }
        let names = names(&root.join("images"));
        if !left_alone(Left::Files) {
            for name in &names {
                let id = name.split('.').next().unwrap();
                assert_eq!(app.count(&format!("images WHERE id = '{id}' AND status = 'available'")), 1, "{name} is nobody's");
            }
        }
        if !left_alone(Left::Records) {
            let sound =
                format!("SELECT id AS t FROM images WHERE storage_id = '{storage}' AND status = 'available' AND file_state = 'sound'");
            for id in app.texts(&sound) {
                for ending in ["iso", "json"] {
                    assert!(names.contains(&format!("{id}.{ending}")), "{id}.{ending} is missing");
                }
            }
        }
    }
    if app.database_url.ends_with(".db") {
        assert_eq!(app.texts("SELECT \"table\" AS t FROM pragma_foreign_key_check"), [""; 0], "a foreign key points nowhere");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
