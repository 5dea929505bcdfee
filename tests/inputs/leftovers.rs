//! What a service holds: rows, files, promised space, open descriptors, threads, memory. Compared before and after every row.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    table::Left,
    world::{World, files_below},
};

/// How long the service may take to put down what a request left: a connection that is cut, a file that is removed by a job.
const SETTLE: Duration = Duration::from_secs(10);
/// Pools may grow by so many descriptors and threads while rows run: connections to the records, threads of a storage, threads that wait.
const POOLS: usize = 48;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub rows: BTreeMap<String, i64>,
    pub files: BTreeMap<String, u64>,
    pub reserved: i64,
    /// Connections from clients.
    pub clients: usize,
    /// Files that are open below the storages.
    pub open_files: BTreeSet<String>,
    pub descriptors: usize,
    pub threads: usize,
}

impl Held {
    /// Looks.
    pub fn by(world: &World) -> Self {
        let tables = world.tables();
        // Counters of failed attempts run out by themselves, and become lines of the audit log by the minute.
        let counted: Vec<String> = tables
            .iter()
            .filter(|table| *table != "sign_in_failures")
            .map(|table| {
                let only = if table == "events" { " WHERE NOT (action = 'sign_in' AND outcome = 'failed')" } else { "" };
                format!("SELECT '{table}=' || CAST(COUNT(*) AS TEXT) AS t FROM {table}{only}")
            })
            .collect();
        let rows = world.texts(&counted.join(" UNION ALL "));
        let rows =
            rows.iter().filter_map(|row| row.split_once('=')).map(|(table, count)| (table.to_owned(), count.parse().unwrap())).collect();
        let files = files_below(&world.media()).into_iter().filter(|(path, _)| !path.contains("/.vmimg-probe-")).collect();
        let mut held = Self {
            rows,
            files,
            reserved: world.number("SELECT CAST(COALESCE(SUM(reserved_bytes), 0) AS BIGINT) AS n FROM images"),
            clients: 0,
            open_files: BTreeSet::new(),
            descriptors: 0,
            threads: std::fs::read_dir(format!("/proc/{}/task", world.pid)).map_or(0, Iterator::count),
        };
        let ours = sockets_at(world.pid, world.port);
        let media = world.media().display().to_string();
        for entry in std::fs::read_dir(format!("/proc/{}/fd", world.pid)).into_iter().flatten().flatten() {
            let Ok(target) = std::fs::read_link(entry.path()) else { continue };
            let target = target.display().to_string();
            held.descriptors += 1;
            if ours.contains(&target) {
                held.clients += 1;
            } else if target.starts_with(&media) && !target.contains("/.vmimg-probe-") && !std::path::Path::new(&target).is_dir() {
                held.open_files.insert(target);
            }
        }
        held
    }
}

/// The sockets of connections that clients have with this port.
fn sockets_at(pid: u32, port: u16) -> BTreeSet<String> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let local = format!(":{port:04X}");
    let connections = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening = "0A";
    connections
        .filter(|columns| columns.len() > 9 && columns[1].ends_with(&local) && columns[3] != listening)
        .map(|columns| format!("socket:[{}]", columns[9]))
        .collect()
}

/// Fails with a sentence unless what is held is `before` and what `left` allows, within a while.
pub fn compare(world: &mut World, before: &Held, left: &Left) -> Result<(), String> {
    let mut last = String::new();
    let settled = world.until(SETTLE, |world| match difference(world, before, left) {
        None => true,
        Some(words) => {
            last = words;
            false
        }
    });
    if settled { Ok(()) } else { Err(last) }
}

fn difference(world: &World, before: &Held, left: &Left) -> Option<String> {
    let now = Held::by(world);
    if now.clients > before.clients {
        return Some(format!("{} connections are open, {} before", now.clients, before.clients));
    }
    if !now.open_files.is_subset(&before.open_files) {
        return Some(format!("files are open: {:?}", now.open_files));
    }
    if now.descriptors > before.descriptors + POOLS {
        return Some(format!("{} descriptors are open, {} before", now.descriptors, before.descriptors));
    }
    if now.threads > before.threads + POOLS {
        return Some(format!("{} threads, {} before", now.threads, before.threads));
    }
    // What was changed on purpose may give back what was promised before.
    if now.reserved != before.reserved && !(matches!(left, Left::Changed | Left::Kept) && now.reserved < before.reserved) {
        return Some(format!("{} bytes are promised, {} before", now.reserved, before.reserved));
    }
    let more: BTreeMap<&str, i64> = now
        .rows
        .iter()
        .map(|(table, count)| (table.as_str(), count - before.rows.get(table).copied().unwrap_or(0)))
        .filter(|(_, more)| *more != 0)
        .collect();
    // What an upload that began before has sent is its own.
    let parts: Vec<&String> = now.files.keys().filter(|path| path.contains("/staging/") && !before.files.contains_key(*path)).collect();
    let own = match left {
        Left::Kept => format!("/{}.part", world.newest()),
        _ => String::new(),
    };
    if parts.len() != usize::from(*left == Left::Kept) || parts.iter().any(|path| own.is_empty() || !path.ends_with(&own)) {
        return Some(format!("parts of files lie about: {parts:?}"));
    }
    let new: Vec<&String> = now.files.keys().filter(|path| before.files.get(*path) != now.files.get(*path)).collect();
    let gone: Vec<&String> = before.files.keys().filter(|path| !now.files.contains_key(*path)).collect();
    let unlike = |expected: usize| (new.len() != expected || !gone.is_empty()).then(|| format!("files: new {new:?}, gone {gone:?}"));
    match left {
        Left::Nothing(allowed) => {
            let allowed: BTreeMap<&str, i64> = allowed.iter().copied().collect();
            if more != allowed {
                return Some(format!("rows: {more:?} instead of {allowed:?}"));
            }
            unlike(0)
        }
        Left::Pending(reason) => {
            let stray: Vec<_> = more.iter().filter(|(table, _)| !matches!(**table, "images" | "uploads" | "events" | "drafts")).collect();
            if more.get("images") != Some(&1) || more.get("uploads") != Some(&1) || !stray.is_empty() {
                return Some(format!("rows: {more:?} instead of one image and its transfer"));
            }
            let newest = "FROM images JOIN uploads ON image_id = id WHERE seq = (SELECT MAX(seq) FROM images)";
            let state = world.texts(&format!(
                "SELECT status || ' ' || COALESCE(stopped, 'running') || ' ' || CAST(reserved_bytes AS TEXT) AS t {newest}"
            ));
            if state != [format!("pending {reason} 0")] {
                return Some(format!("the image is {state:?}, not pending and {reason}"));
            }
            unlike(0)
        }
        Left::Available => {
            let stray: Vec<_> = more.iter().filter(|(table, _)| !matches!(**table, "images" | "events" | "drafts")).collect();
            if more.get("images") != Some(&1) || !stray.is_empty() {
                return Some(format!("rows: {more:?} instead of one image"));
            }
            let id = world.newest();
            let state = world.text(&format!(
                "SELECT status || ' ' || COALESCE(sha256, '') || ' ' || CAST(size_bytes AS TEXT) AS t FROM images WHERE id = '{id}'"
            ));
            let Ok(bytes) = std::fs::read(world.file_of(&id)) else { return Some(format!("the image is {state}, and has no file")) };
            let expected = format!("available {} {}", super::fixtures::sha256(&bytes), bytes.len());
            if state != expected {
                return Some(format!("the image is {state} instead of {expected}"));
            }
            unlike(2)
        }
        // Work that is still to be done would be seen in a later row.
        Left::Changed | Left::Kept => more.get("jobs").is_some_and(|jobs| *jobs > 0).then(|| format!("rows: {more:?}: work is left to do")),
    }
}

/// A figure of the process in KiB, as `VmRSS` and `VmHWM`.
pub fn memory(world: &World, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.pid)).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(figure)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// From now on the peak of the memory is that of what follows.
pub fn forget_peak(world: &World) {
    std::fs::write(format!("/proc/{}/clear_refs", world.pid), "5").expect("the peak of a process's memory can be reset");
}
