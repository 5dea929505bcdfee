//! Bad inputs: everything that a client can send and should not. Each named case of RELIABILITY.md section 4 is one row or several of a
//! table: what is sent, the answer, and what may be left behind. The real program (`VMIMG_BINARY`, or the one that cargo built beside
//! this) runs as a process of its own, once over SQLite and once over PostgreSQL (`VMIMG_TEST_POSTGRES` names a server). After every row
//! the service is looked at: rows of every table, files, promised space, open files and connections, threads, memory; it must still
//! answer, and its log must not tell of a panic.
//!
//! A row whose answer is another one than the listed says why, by `differs`; what cannot be tried yet stands in `ids.rs` with the reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod access;
mod answer;
mod chunks;
#[path = "../it/support/fixtures.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod fixtures;
mod forms;
mod framing;
mod ids;
mod leftovers;
mod media;
mod multipart;
mod names;
mod paths;
mod strings;
mod table;
mod world;

use std::collections::BTreeSet;

use leftovers::Held;
use table::Row;
use world::{World, ask};

/// Rows that share a process with these settings.
pub struct Batch {
    pub settings: &'static [(&'static str, &'static str)],
    pub rows: Vec<Row>,
}

/// Rows over the usual settings.
fn usual(rows: Vec<Row>) -> Batch {
    Batch { settings: &[], rows }
}

type Group = fn() -> Vec<Batch>;
const GROUPS: [Group; 8] = [framing::rows, multipart::rows, chunks::rows, names::rows, media::rows, forms::rows, paths::rows, access::rows];

/// Two tests of one group.
macro_rules! groups {
    ($($name:ident: $group:expr;)+) => { pastey::paste! {$(
        #[test]
        fn [<sqlite_ $name>]() {
            run(stringify!($name), $group, false);
        }

        #[test]
        fn [<postgres_ $name>]() {
            run(stringify!($name), $group, true);
        }
    )+}};
}

groups! {
    h_framing: framing::rows;
    m_multipart: multipart::rows;
    r_chunks: chunks::rows;
    n_names: names::rows;
    i_media: media::rows;
    f_forms: forms::rows;
    p_paths: paths::rows;
    a_access: access::rows;
}

/// Runs all rows of a group, and fails with all that went wrong.
fn run(name: &str, group: Group, postgres: bool) {
    let (mut failures, mut listing) = (Vec::new(), Vec::new());
    for batch in group() {
        let mut world = World::start(postgres, batch.settings);
        warm_up(&mut world);
        for row in batch.rows {
            let (id, what, differs) = (row.id, row.what.clone(), row.differs);
            let start = std::time::Instant::now();
            let done = run_row(&mut world, row);
            let took = start.elapsed().as_secs();
            let slow = if took > 0 { format!(" ({took} s)") } else { String::new() };
            let remark = slow + &differs.map(|why| format!(" – differs: {why}")).unwrap_or_default();
            match &done {
                Ok(answered) => listing.push(format!("{id} {what} … {answered} ok{remark}")),
                Err(wrong) => {
                    listing.push(format!("{id} {what} … FAILED"));
                    failures.push(format!("{id} {what}: {wrong}"));
                }
            }
        }
        if !world.is_alive() {
            failures.push(format!("the process ended:\n{}", world.log()));
        }
    }
    println!("{}\n{} rows", listing.join("\n"), listing.len());
    assert!(failures.is_empty(), "{} of {} rows of {name} failed:\n{}", failures.len(), listing.len(), failures.join("\n"));
}

/// Pools are filled, threads are started, and the allocator has seen what a request takes.
fn warm_up(world: &mut World) {
    world.image("warm", &fixtures::iso("WARM"));
    for _ in 0..3 {
        std::thread::scope(|scope| {
            for _ in 0..12 {
                let mut jar = world.jar.clone();
                let world = &*world;
                scope.spawn(move || {
                    let cookies: Vec<String> = jar.iter_mut().map(|(name, value)| format!("{name}={value}")).collect();
                    let head = format!("GET /images HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: {}\r\n\r\n", cookies.join("; "));
                    world.exchange(head.as_bytes(), false);
                });
            }
        });
    }
    world.new_log();
}

/// Runs one row; what was answered, or everything that was wrong.
fn run_row(world: &mut World, row: Row) -> Result<String, String> {
    let Row { act, status, words, left, memory, also, .. } = row;
    let send = act(world);
    world.problems.clear();
    let before = Held::by(world);
    let resident = leftovers::memory(world, "VmRSS");
    leftovers::forget_peak(world);
    let answer = send(world);
    let peak = leftovers::memory(world, "VmHWM");
    let mut wrong = std::mem::take(&mut world.problems);
    if !status.contains(&answer.status) {
        wrong.push(format!("answered {} instead of {status:?}: {:.300}", answer.status, answer.words()));
    }
    let said = answer.words();
    wrong.extend(words.iter().filter(|word| !said.contains(*word)).map(|word| format!("the answer does not say “{word}”: {said:.500}")));
    // Hashing a password takes 19 MiB by design, several at once more.
    let most = memory.unwrap_or(96 * 1024);
    if peak > resident + most {
        wrong.push(format!("the memory grew by {} KiB, more than {most}", peak - resident));
    }
    for look in also {
        wrong.extend(look(world, &answer).err());
    }
    wrong.append(&mut world.problems);
    wrong.extend(leftovers::compare(world, &before, &left).err());
    let mut nobody = world::Jar::new();
    let alive = ask("GET", "/livez").send_as(world, &mut nobody);
    if alive.status != 200 {
        wrong.push(format!("the service answers {} afterwards", alive.status));
    }
    let log = world.new_log();
    wrong.extend(log.lines().filter(|line| line.contains("panicked") || line.contains("unexpected error")).map(str::to_owned));
    if wrong.is_empty() { Ok(answer.status.to_string()) } else { Err(wrong.join("\n    ")) }
}

#[test]
fn every_case_of_the_eight_groups_is_a_row_or_says_why_not() {
    let mut rows: BTreeSet<&str> = BTreeSet::new();
    let mut differs = BTreeSet::new();
    let mut count = 0;
    for row in GROUPS.iter().flat_map(|group| group()).flat_map(|batch| batch.rows) {
        assert!(ids::ALL.contains(&row.id), "{} is no case", row.id);
        assert!(!row.status.contains(&500), "{}: 500 is never right", row.id);
        count += 1;
        rows.insert(row.id);
        differs.extend(row.differs.map(|why| format!("{} {}: {why}", row.id, row.what)));
    }
    for (id, file) in ids::IN_THE_BROWSER {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|failed| panic!("{}: {failed}", path.display()));
        let is_titled = text.lines().any(|line| line.contains("test(") && line.contains(id));
        assert!(is_titled, "no title of a test in {file} has {id}");
        rows.insert(id);
    }
    let not_yet: BTreeSet<&str> = ids::NOT_YET.iter().map(|(id, _)| *id).collect();
    for id in ids::ALL {
        assert!(rows.contains(id) != not_yet.contains(id), "{id} must be a row, or be listed with the reason why it is none");
    }
    println!("{count} rows for {} cases", rows.len());
    println!("differs:\n  {}", differs.into_iter().collect::<Vec<_>>().join("\n  "));
    println!("cannot apply yet:");
    for (id, why) in ids::NOT_YET {
        println!("  {id}: {why}");
    }
}
