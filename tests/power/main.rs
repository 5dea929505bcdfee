//! The crash laboratory: what is left of the service's work when the power goes, at every write that reached the disk.
//!
//! The real program works on a disk that records every write and every flush (`disk`), driven through its forms over HTTP (`console`,
//! `workload`). Every answer that the client saw is written down outside that disk, with the number of writes there were at that moment
//! (`ledger`). Afterwards the disk is built anew as it was after each single write, and with six random subsets of what had not been
//! flushed by then (`log`); each of these disks is mounted, which replays the file system's journal, and compared with what was
//! acknowledged (`check`). On some of them the real program is started again and has to clear up (`restart`).
//!
//! Three times the same is done with one flush taken out of the service's way, and then violations must be found: a laboratory that
//! finds nothing there would find nothing anywhere.
//!
//! ```text
//! power            everything, with the long workload on ext4, and the shorter one on xfs and btrfs
//! power --short    only the shorter workload, on ext4, as in `make checks`
//! power --only FS  only what is done on this file system
//! power --seed N   the same random subsets again, of another recording
//! ```
//!
//! Run it by `make power`. It needs root, /dev/fuse, loop devices, unshare, qemu-storage-daemon, strace and mkfs.ext4, and says what is
//! missing. `VMIMG_BINARY` names the program to try; otherwise it is the one that was built with this test.

mod check;
mod console;
mod disk;
mod ledger;
mod log;
mod replay;
mod restart;
mod tamper;
mod workload;

use std::{
    fmt::Display,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use crate::{
    disk::FileSystem,
    replay::{Outcome, Plan},
    tamper::Without,
    workload::{Length, Records},
};

/// What went wrong with the laboratory itself, in words.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;

/// An error of these words.
pub fn fail<T>(words: impl Display) -> Result<T> {
    Err(words.to_string().into())
}

/// Set in the process that has mounts and processes of its own.
const INSIDE: &str = "POWER_LABORATORY_INSIDE";

/// One recording and its replay.
pub struct Experiment {
    name: &'static str,
    file_system: FileSystem,
    records: Records,
    length: Length,
    without: Option<Without>,
    plan: Plan,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // A list of single tests is asked for by `cargo nextest`; there are none, since it is one experiment, run by `make power`.
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let outcome = if std::env::var_os(INSIDE).is_some() { run(&arguments) } else { enter(&arguments) };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("power: {failed}");
            ExitCode::FAILURE
        }
    }
}

/// Starts this program again where its mounts are seen by nobody else and vanish with it, as do the processes that it starts.
fn enter(arguments: &[String]) -> Result<()> {
    disk::look_for_what_is_needed(is_short(arguments))?;
    let failed = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(std::env::current_exe()?)
        .args(arguments)
        .env(INSIDE, "1")
        .exec();
    fail(format!("unshare could not be started: {failed}"))
}

fn is_short(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument == "--short")
}

fn run(arguments: &[String]) -> Result<()> {
    let short = is_short(arguments);
    let seed = match arguments.iter().position(|argument| argument == "--seed") {
        Some(at) => match arguments.get(at + 1).and_then(|text| text.parse().ok()) {
            Some(seed) => seed,
            None => return fail("--seed needs a number"),
        },
        None => getrandom::u64().map_err(|failed| failed.to_string())?,
    };
    let only = arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1));
    let binary = match std::env::var_os("VMIMG_BINARY") {
        Some(path) => std::path::absolute(path)?,
        None => PathBuf::from(env!("CARGO_BIN_EXE_vmimg")),
    };
    if !binary.is_file() {
        return fail(format!("{} is not there: build it, or let VMIMG_BINARY name it", binary.display()));
    }
    end_at_signals()?;
    println!("power: {}, seed {seed}", if short { "short" } else { "long" });
    let length = if short { Length::Short } else { Length::Long };
    let full = Plan { seed, subsets: 6, restarts: if short { 6 } else { 30 } };
    let proof = Plan { seed, subsets: 1, restarts: 0 };
    let (inside, outside) = ("records and images on the disk", "images on the disk, records elsewhere");
    let of = |file_system, length, plan, records, without, name| Experiment { name, file_system, records, length, without, plan };
    let whole = |file_system, length, records, name| of(file_system, length, full, records, None, name);
    let proof = |records, without, name| of(FileSystem::Ext4, Length::Proof, proof, records, Some(without), name);
    let mut experiments = vec![
        whole(FileSystem::Ext4, length, Records::Inside, inside),
        whole(FileSystem::Ext4, length, Records::Outside, outside),
        proof(Records::Outside, Without::File, "without the flush of an image's file"),
        proof(Records::Outside, Without::Folders, "without the flushes of an image's folders"),
        proof(Records::Inside, Without::Records, "without the flush of the records"),
    ];
    if !short {
        for file_system in [FileSystem::Xfs, FileSystem::Btrfs] {
            experiments.push(whole(file_system, Length::Short, Records::Inside, inside));
            experiments.push(whole(file_system, Length::Short, Records::Outside, outside));
        }
    }
    if let Some(only) = only {
        experiments.retain(|experiment| experiment.file_system.name() == only);
    }
    let mut wrong = Vec::new();
    for experiment in &experiments {
        let folder = tempfile::Builder::new().prefix("power-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?.keep();
        match conduct(experiment, &binary, &folder) {
            Ok(true) => std::fs::remove_dir_all(&folder)?,
            Ok(false) => wrong.push(format!("{} (kept in {})", experiment.name, folder.display())),
            Err(failed) => return fail(format!("{}: {failed}\n{}", experiment.name, disk::last_lines(&folder.join("service.log")))),
        }
    }
    if wrong.is_empty() { Ok(()) } else { fail(format!("not as it should be: {}", wrong.join("; "))) }
}

/// As the first process of its own, this one is not ended by a signal unless it says so itself. All others end with it.
fn end_at_signals() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let signals = runtime.block_on(async { (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) });
    let (mut interrupt, mut terminate) = (signals.0?, signals.1?);
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let signal = tokio::select! { _ = interrupt.recv() => "SIGINT", _ = terminate.recv() => "SIGTERM" };
            eprintln!("power: ended by {signal}");
        });
        disk::give_back();
        std::process::exit(130);
    });
    Ok(())
}

/// True if the experiment ended as it should: without a violation, or with some where a flush was taken out.
fn conduct(experiment: &Experiment, binary: &Path, folder: &Path) -> Result<bool> {
    let begun = Instant::now();
    let recording = workload::record(binary, folder, experiment)?;
    let recorded = begun.elapsed();
    let Outcome { writes, flushes, states, violations, restarts, restarts_wrong, first } =
        replay::run(&recording, binary, folder, &experiment.plan)?;
    println!(
        "{}, {}: {writes} writes and {flushes} flushes, {} acknowledgements; {states} states, {violations} violate; service started on {restarts}, \
         wrong on {restarts_wrong}; recorded in {:.1} s, replayed in {:.1} s",
        experiment.file_system.name(),
        experiment.name,
        recording.ledger.facts.len(),
        recorded.as_secs_f64(),
        (begun.elapsed() - recorded).as_secs_f64(),
    );
    if let Some(what) = experiment.without {
        println!("  {}", what.taken_out(folder)?);
    }
    for line in first.iter().take(if experiment.without.is_some() { 2 } else { 12 }) {
        println!("  {line}");
    }
    Ok(match experiment.without {
        None => violations == 0 && restarts_wrong == 0,
        Some(_) => violations > 0,
    })
}
