//! Kills and failing system calls: the real program, under load, killed at random moments and before every single call that matters; and
//! the same calls failing instead. After each, everything that was acknowledged must be there, and nothing may be left over.
//!
//! ```text
//! cargo test --test faults -- kills --count 200 --seed 7      random moments, on SQLite and PostgreSQL
//! cargo test --test faults -- chunks                          the same for uploads in chunks, with what is sent again after each kill
//! cargo test --test faults -- disks                           uploads in chunks to disks that fill up, fail, vanish and hang
//! cargo test --test faults -- lines                           uploads over lines that lose packets, or are slow
//! cargo test --test faults -- calls --quick                   before the Nth call, N = 1, 2, 3 … until a run passes
//! ```
//!
//! The program under test is `VMIMG_BINARY`, or the one that cargo built beside this. What was acknowledged is kept here, outside of it, in
//! [`ledger`]; [`check`] compares it with the records, the files and the pages. Every run prints its seed, and every failure what is
//! needed to see it again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod calls;
mod check;
mod chunks;
mod client;
#[path = "../power/disk.rs"]
#[allow(dead_code, reason = "shared with the crash laboratory, which needs more of it")]
mod disk;
mod disks;
mod kills;
mod ledger;
mod lines;
mod load;
mod media;
mod random;
mod records;
mod service;
mod tracer;

use std::{
    fmt::Display,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "faults", about = "Kills vmimg, and lets its system calls fail")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Kill at random moments under load
    Kills(kills::Wanted),
    /// Kill at random offsets of uploads in chunks, and before each of their first calls
    Chunks(chunks::Wanted),
    /// Let disks fill up, fail, vanish and hang in the middle of uploads in chunks, as root
    Disks(disks::Wanted),
    /// Send over lines that lose packets, or are slow, as root
    Lines(lines::Wanted),
    /// Kill before the Nth call, or let it fail, N = 1, 2, 3 … until a run passes
    Calls(calls::Wanted),
}

/// What went wrong with a disk, in words.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of these words.
fn fail<T>(words: impl Display) -> Result<T> {
    Err(words.to_string().into())
}

/// Set in the process that has what it changes for itself.
const INSIDE: &str = "VMIMG_FAULTS_INSIDE";

/// Starts this program again where its mounts (`--mount`) or its network (`--net`) are seen by nobody else and vanish with it. Nothing is
/// answered in there.
fn alone(what: &str) -> Option<Result<(), String>> {
    if std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let itself = std::env::current_exe().map_err(|failed| failed.to_string());
    let failed =
        itself.map(|itself| Command::new("unshare").arg(what).arg("--").arg(itself).args(std::env::args().skip(1)).env(INSIDE, "1").exec());
    Some(failed.and_then(|failed| Err(format!("unshare could not be started: {failed}"))))
}

/// What is said of a thread that panicked.
fn broke_off(panic: &(dyn std::any::Any + Send)) -> String {
    format!("a lane broke off: {:?}", panic.downcast_ref::<String>())
}

fn main() -> ExitCode {
    let done = match Cli::parse().what {
        What::Kills(wanted) => kills::run(&wanted),
        What::Chunks(wanted) => chunks::run(&wanted),
        What::Disks(wanted) => disks::run(&wanted),
        What::Lines(wanted) => lines::run(&wanted),
        What::Calls(wanted) => calls::run(&wanted),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("{failed}");
            ExitCode::FAILURE
        }
    }
}
