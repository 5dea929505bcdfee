//! Uploads in chunks to a disk that fills up (F-07, F-08), that reports a write error once and then none (F-06), that vanishes (F-13), or
//! that hangs (F-14). The rest of the service goes on, and so does the upload when the disk is well again. As root: it mounts.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    check,
    chunks::{Bench, End, Sending, Sent},
    client::Client,
    disk::{self, FileSystem, Loop, Mounted, Recorder},
    kills::at,
    load,
    random::{self, Random},
    records::{ImageRow, Records},
    service::{Database, Place, Running},
    tracer::{self, Fault, Plan, Tracer},
};

/// Bytes of a page of memory, which a file system in memory gives out.
const PAGE: u64 = 4_096;
/// A storage that is not what it was is Degraded within this.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// Whoever sends to a storage that hangs is answered within this.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// A service that is asked to end does within this, whatever its storages do.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// Threads that a storage may hold: those that work on it, and the one that looks whether it answers.
const THREADS: usize = 5;
/// 99 of 100 pages come within this, whatever a storage does.
const PAGES_WITHIN: Duration = Duration::from_millis(200);

/// What the command line asks for.
#[derive(Debug, Clone, Args)]
pub struct Wanted {
    /// Only cases whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// How often the disk fills up at another byte
    #[arg(long, default_value_t = 40)]
    cuts: u64,
    /// The same seed gives the same files
    #[arg(long)]
    seed: Option<u64>,
}

type Case = fn(&mut Bench<'_>, &Path, u64) -> Result<String, String>;

const CASES: [(&str, Case); 6] = [
    ("F-06 a write error once", fails_once),
    ("F-07 full at any byte", fills_up),
    ("F-07 full at its beginning", is_full_before),
    ("F-08 no inodes", has_no_inodes),
    ("F-13 vanishes", vanishes),
    ("F-14 hangs", hangs),
];

/// Runs every case, side by side.
pub fn run(wanted: &Wanted) -> Result<(), String> {
    disk::look_for_what_is_needed(true).map_err(|failed| failed.to_string())?;
    if let Some(ended) = super::alone("--mount") {
        return ended;
    }
    let seed = wanted.seed.unwrap_or_else(random::seed);
    println!("disks: seed {seed}");
    let began = Instant::now();
    let wants = |name: &str| wanted.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let failed: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = CASES
            .iter()
            .filter(|(name, _)| wants(name))
            .map(|(name, case)| (name, scope.spawn(|| on_a_disk(*case, seed, wanted.cuts))))
            .collect();
        let ended = running.into_iter().map(|(name, case)| (name, case.join().unwrap_or_else(|panic| Err(super::broke_off(&*panic)))));
        ended
            .filter_map(|(name, done)| match done {
                Ok(words) => {
                    println!("  {name}: {words}");
                    None
                }
                Err(why) => Some(format!("{name}, seed {seed}: {why}")),
            })
            .collect()
    });
    println!("disks: {} violations; {} s", failed.len(), began.elapsed().as_secs());
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

/// A service of its own for a case, and what the case says.
fn on_a_disk(case: Case, seed: u64, cuts: u64) -> Result<String, String> {
    let mut place = Place::new(Database::Sqlite);
    let done = Bench::new(&place, Random::new(seed)).and_then(|mut bench| case(&mut bench, &place.folder("disk"), cuts));
    done.map_err(|why| {
        let log = place.last_of_log();
        format!("{why}\n\nfiles and log stay in {}\n{log}\n", place.keep().display())
    })
}

/// The storage of the case.
fn add(bench: &mut Bench<'_>, folder: &Path) -> Result<(), String> {
    bench.storage = load::add_datastore(&bench.client()?, "disk", folder)?;
    bench.folder = folder.to_owned();
    Ok(())
}

/// A file system in memory, for as long as what is answered lives.
fn memory(folder: &Path) -> Result<Mounted, String> {
    fs::create_dir_all(folder).map_err(|failed| failed.to_string())?;
    Mounted::memory(folder, 1 << 30).map_err(|failed| failed.to_string())
}

fn remount(folder: &Path, options: &str) -> Result<(), String> {
    disk::call("mount", &["-o", &format!("remount,{options}"), &folder.display().to_string()])
        .map(drop)
        .map_err(|failed| failed.to_string())
}

/// A disk that can be taken away.
fn recorder(place: &Path) -> Result<(tempfile::TempDir, Recorder), String> {
    let folder = tempfile::tempdir().map_err(|failed| failed.to_string())?;
    let recorder = Recorder::start(folder.path(), place, FileSystem::Ext4).map_err(|failed| failed.to_string())?;
    Ok((folder, recorder))
}

/// The pages and the inodes that are in use.
fn used(folder: &Path) -> Result<(u64, u64), String> {
    let now = rustix::fs::statvfs(folder).map_err(|failed| failed.to_string())?;
    Ok((now.f_blocks - now.f_bfree, now.f_files - now.f_ffree))
}

fn row(bench: &Bench<'_>, sending: &Sending) -> Result<ImageRow, String> {
    let id = sending.id.as_deref().unwrap_or_default();
    Records::open(&bench.database_url()).images().into_iter().find(|row| row.id == id).ok_or_else(|| format!("image {id} is gone"))
}

/// An upload that has been announced.
fn announced(bench: &mut Bench<'_>, sectors: u32, chunk: usize) -> Result<Sending, String> {
    let mut sending = bench.sending(sectors, chunk);
    bench.announced(&mut sending, false)?;
    Ok(sending)
}

/// Sends so many chunks, which must be taken.
fn send(bench: &mut Bench<'_>, sending: &mut Sending, chunks: u64) -> Result<(), String> {
    for _ in 0..chunks {
        if let Sent::Refused(answer) = bench.send_one(sending, End::Nobody)? {
            return Err(format!("the chunk from {} is answered {}", sending.acknowledged, answer.words()));
        }
    }
    Ok(())
}

/// The image is Pending and says that its storage failed; the upload goes on from where it was, or from the beginning where `keeps` says
/// that nothing can be kept. Answers from where.
fn stands(bench: &mut Bench<'_>, sending: &mut Sending, keeps: bool) -> Result<usize, String> {
    let row = row(bench, sending)?;
    if (row.status.as_str(), row.stopped.as_deref()) != ("pending", Some("storage_failed")) {
        return Err(format!("the image is {} and says {:?}; it should be pending and say storage_failed", row.status, row.stopped));
    }
    let told = bench.head(sending.id.as_deref().unwrap_or_default())?;
    let should = if keeps { sending.acknowledged } else { 0 };
    if told != should || row.kept.unwrap_or_default() != told as i64 {
        return Err(format!(
            "{} bytes were acknowledged, it goes on from {told} and not from {should}, and {:?} are recorded",
            sending.acknowledged, row.kept
        ));
    }
    Ok(told)
}

/// The storage is asked after, and the upload goes on from there to its end; everything is looked at.
fn goes_on(bench: &mut Bench<'_>, sending: &mut Sending, from: usize) -> Result<(), String> {
    bench.client()?.post(&format!("/datastores/{}/check", bench.storage), &[]).map_err(|lost| lost.0)?;
    becomes(bench, "healthy", check::RECOVERS_WITHIN)?;
    let told = bench.head(sending.id.as_deref().unwrap_or_default())?;
    if told != from {
        return Err(format!("it went on from {from}, and now from {told}"));
    }
    sending.acknowledged = from;
    bench.send(sending, End::Nobody)?;
    bench.look()
}

/// Waits until the storage is in this state; how long that took.
fn becomes(bench: &Bench<'_>, health: &str, within: Duration) -> Result<Duration, String> {
    let began = Instant::now();
    let mut records = Records::open(&bench.database_url());
    while !records.storages().iter().any(|storage| storage.id == bench.storage && storage.health == health) {
        if began.elapsed() > within {
            return Err(format!("the storage is not {health} after {} s", within.as_secs()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(began.elapsed())
}

/// A whole upload to the other storage, which must be taken.
fn elsewhere(bench: &mut Bench<'_>, local: &(String, PathBuf)) -> Result<(), String> {
    let disk = (bench.storage.clone(), bench.folder.clone());
    (bench.storage, bench.folder) = local.clone();
    let sent = announced(bench, 100, 100_000).and_then(|mut sending| bench.send(&mut sending, End::Nobody));
    (bench.storage, bench.folder) = disk;
    sent
}

fn refused(answer: &super::client::Answer, statuses: &[u16]) -> Result<(), String> {
    if statuses.contains(&answer.status) {
        return Ok(());
    }
    Err(format!("it was to be answered {statuses:?}, and is {}", answer.words()))
}

/// How long the list takes while something else is done.
fn pages_while<T>(client: &Client, work: impl FnOnce() -> T) -> (T, Vec<Duration>) {
    let (done, pages) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let out = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let began = Instant::now();
                let is_there = client.get("/images").is_ok_and(|page| page.status == 200);
                pages.lock().unwrap().push(if is_there { began.elapsed() } else { Duration::MAX });
                thread::sleep(Duration::from_millis(20));
            }
        });
        let out = work();
        done.store(true, Ordering::Relaxed);
        out
    });
    (out, pages.into_inner().unwrap())
}

/// The slowest of 99 of 100 pages, which is fast enough.
fn fast(pages: &[Duration]) -> Result<Duration, String> {
    let slow = at(pages, 99).ok_or("no page was asked for")?;
    if slow > PAGES_WITHIN { Err(format!("99 of 100 pages came within {slow:?} only")) } else { Ok(slow) }
}

/// On a storage that cannot promise room beforehand, the disk is full after so many pages of the rest of the file.
fn fills_up(bench: &mut Bench<'_>, folder: &Path, cuts: u64) -> Result<String, String> {
    let _mounted = memory(folder)?;
    let local = (bench.storage.clone(), bench.folder.clone());
    add(bench, folder)?;
    let plan = Plan {
        watched: vec![tracer::watched(folder.display().to_string(), &[])],
        fault: Fault::Short,
        nth: u64::MAX,
        lacks: Some(tracer::NO_FALLOCATE),
    };
    let tracer = Tracer::attach(bench.running.as_ref().map_or(0, Running::pid), plan);
    let mut kept = 0;
    let done = (0..cuts).try_for_each(|_| {
        let chunk = 20_000 + bench.random.below(150_000) as usize;
        let mut sending = announced(bench, 300, chunk)?;
        let before = bench.random.below(4);
        send(bench, &mut sending, before)?;
        let missing = (sending.bytes.len() - sending.acknowledged) as u64 / PAGE;
        let room = bench.random.below(missing);
        let context = |why: String| format!("after {before} chunks of {chunk} bytes and {room} pages: {why}");
        remount(folder, &format!("size={}", (used(folder)?.0 + room) * PAGE)).map_err(context)?;
        let answer = bench.until_refused(&mut sending).map_err(context)?;
        refused(&answer, &[507]).map_err(context)?;
        let from = stands(bench, &mut sending, true).map_err(context)?;
        kept += u64::from(from > 0);
        elsewhere(bench, &local).map_err(context)?;
        remount(folder, "size=1g").map_err(context)?;
        goes_on(bench, &mut sending, from).map_err(context)?;
        bench.tidy()
    });
    drop(tracer.finish());
    done?;
    Ok(format!("{cuts} times, 507 each time; {kept} went on in the middle, all ended whole; the other storage went on"))
}

/// What cannot be promised is refused before a byte is taken.
fn is_full_before(bench: &mut Bench<'_>, folder: &Path, _: u64) -> Result<String, String> {
    let _mounted = memory(folder)?;
    add(bench, folder)?;
    let mut sending = announced(bench, 400, 100_000)?;
    remount(folder, &format!("size={}", (used(folder)?.0 + 10) * PAGE))?;
    refused(&bench.until_refused(&mut sending)?, &[507])?;
    if sending.acknowledged > 0 || fs::read_dir(folder.join("staging")).is_ok_and(|mut left| left.any(|entry| is_part(&entry))) {
        return Err("something of it was taken".to_owned());
    }
    remount(folder, "size=1g")?;
    goes_on(bench, &mut sending, 0)?;
    Ok("507 before a byte was taken; it went on when there was room".to_owned())
}

fn is_part(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(".part"))
}

fn has_no_inodes(bench: &mut Bench<'_>, folder: &Path, _: u64) -> Result<String, String> {
    let _mounted = memory(folder)?;
    add(bench, folder)?;
    let mut words = Vec::new();
    for free in [0, 1] {
        let mut sending = announced(bench, 400, 200_000)?;
        let chunks = if free == 0 { 0 } else { 1 };
        send(bench, &mut sending, chunks)?;
        remount(folder, &format!("nr_inodes={}", used(folder)?.1))?;
        refused(&bench.until_refused(&mut sending)?, &[507])?;
        let from = stands(bench, &mut sending, true)?;
        words.push(format!("507 at byte {from}"));
        remount(folder, "nr_inodes=10000")?;
        goes_on(bench, &mut sending, from)?;
    }
    Ok(format!("{}; it went on from there", words.join(" and ")))
}

/// The disk refuses one write and takes all others: the flush after it fails, and the next one would not.
fn fails_once(bench: &mut Bench<'_>, folder: &Path, _: u64) -> Result<String, String> {
    let (kept, recorder) = recorder(folder)?;
    add(bench, folder)?;
    let mut sending = announced(bench, 2_000, 800_000)?;
    send(bench, &mut sending, 2)?;
    // Nothing else is on its way to the disk.
    fs::File::open(folder).and_then(|root| Ok(rustix::fs::syncfs(&root)?)).map_err(|failed| failed.to_string())?;
    let plan = Plan {
        watched: vec![tracer::watched(kept.path().join("disk.raw").display().to_string(), &["pwrite64"])],
        fault: Fault::Fails(Errno::EIO),
        nth: 1,
        lacks: None,
    };
    let of_the_disk = Tracer::attach(recorder.daemon(), plan);
    let answer = bench.until_refused(&mut sending);
    let report = of_the_disk.finish();
    refused(&answer?, &[500, 503])?;
    if report.injected.is_none() {
        return Err("no write reached the disk".to_owned());
    }
    let from = stands(bench, &mut sending, false)?;
    goes_on(bench, &mut sending, from)?;
    // What the system has in its cache may differ from what the disk has.
    let file = folder.join(format!("images/{}.iso", sending.id.as_deref().unwrap_or_default()));
    bench.running.take().into_iter().for_each(Running::kill);
    recorder.stop().map_err(|failed| failed.to_string())?;
    let device = Loop::on(&kept.path().join("disk.raw")).map_err(|failed| failed.to_string())?;
    let _mounted = FileSystem::Ext4.mount(&device.device, folder).map_err(|failed| failed.to_string())?;
    if fs::read(&file).map_err(|failed| failed.to_string())? != sending.bytes {
        return Err("the disk has other bytes than were sent".to_owned());
    }
    Ok("the chunk was refused and nothing kept; sent anew, and whole on the disk itself".to_owned())
}

fn vanishes(bench: &mut Bench<'_>, folder: &Path, _: u64) -> Result<String, String> {
    let (kept, recorder) = recorder(folder)?;
    let local = (bench.storage.clone(), bench.folder.clone());
    add(bench, folder)?;
    let mut sending = announced(bench, 2_000, 800_000)?;
    send(bench, &mut sending, 2)?;
    let gone = Instant::now();
    kill(Pid::from_raw(i32::try_from(recorder.daemon()).unwrap()), Signal::SIGKILL).map_err(|failed| failed.to_string())?;
    let client = bench.client()?;
    let (seen, pages) = pages_while(&client, || -> Result<_, String> {
        let answer = bench.until_refused(&mut sending)?;
        refused(&answer, &[500, 503])?;
        let answered = gone.elapsed();
        becomes(bench, "degraded", SEEN_WITHIN)?;
        let degraded = gone.elapsed();
        // As long as that lasts, nobody may go on.
        let again = bench.until_refused(&mut sending)?;
        refused(&again, &[409, 503])?;
        elsewhere(bench, &local)?;
        Ok((answered, degraded))
    });
    let (answered, degraded) = seen?;
    let slow = fast(&pages)?;
    if degraded > SEEN_WITHIN {
        return Err(format!("it was Degraded after {degraded:?} only"));
    }
    let id = sending.id.clone().unwrap_or_default();
    let told = bench.head(&id)?;
    if row(bench, &sending)?.status != "pending" || told != 0 && told != sending.acknowledged {
        return Err(format!("{} bytes were acknowledged, and it goes on from {told}", sending.acknowledged));
    }
    drop(recorder);
    let device = Loop::on(&kept.path().join("disk.raw")).map_err(|failed| failed.to_string())?;
    let _mounted = FileSystem::Ext4.mount(&device.device, folder).map_err(|failed| failed.to_string())?;
    goes_on(bench, &mut sending, told)?;
    bench.running.take().into_iter().for_each(Running::kill);
    Ok(format!(
        "the chunk was refused after {} ms, the storage Degraded after {} ms, pages within {} ms (99 %); went on from {told} when the disk was back",
        answered.as_millis(),
        degraded.as_millis(),
        slow.as_millis()
    ))
}

/// A file system that takes nothing until this is dropped.
struct Frozen<'folder>(&'folder Path);

impl<'folder> Frozen<'folder> {
    fn new(folder: &'folder Path) -> Result<Self, String> {
        disk::call("fsfreeze", &["-f", &folder.display().to_string()]).map_err(|failed| failed.to_string())?;
        Ok(Self(folder))
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = disk::call("fsfreeze", &["-u", &self.0.display().to_string()]);
    }
}

fn hangs(bench: &mut Bench<'_>, folder: &Path, _: u64) -> Result<String, String> {
    let (_kept, recorder) = recorder(folder)?;
    let local = (bench.storage.clone(), bench.folder.clone());
    add(bench, folder)?;
    let mut sending = announced(bench, 2_000, 800_000)?;
    send(bench, &mut sending, 2)?;
    bench.client.patience = ANSWERED_WITHIN + ENDS_WITHIN;
    let frozen = Frozen::new(folder)?;
    let began = Instant::now();
    let client = bench.client()?;
    let (answered, pages) = pages_while(&client, || -> Result<_, String> {
        let answer = bench.until_refused(&mut sending)?;
        refused(&answer, &[500, 503, 504])?;
        let answered = began.elapsed();
        elsewhere(bench, &local)?;
        Ok((answered, answer.status))
    });
    let (answered, status) = answered?;
    let slow = fast(&pages)?;
    if answered > ANSWERED_WITHIN {
        return Err(format!("it was answered after {answered:?} only"));
    }
    let from = stands(bench, &mut sending, true)?;
    let threads = stuck(bench);
    if threads == 0 || threads > THREADS {
        return Err(format!("{threads} threads are stuck"));
    }
    // Asked to end, the process does, but for those threads that the system holds.
    let running = bench.running.take().ok_or("no service runs")?;
    let asked = Instant::now();
    kill(Pid::from_raw(i32::try_from(running.pid()).unwrap()), Signal::SIGTERM).map_err(|failed| failed.to_string())?;
    let stat = format!("/proc/{}/stat", running.pid());
    while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        if asked.elapsed() > ENDS_WITHIN {
            return Err("it did not end when it was asked to".to_owned());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let ended = asked.elapsed();
    drop(frozen);
    running.kill();
    bench.start_again()?;
    goes_on(bench, &mut sending, from)?;
    bench.running.take().into_iter().for_each(Running::kill);
    recorder.stop().map_err(|failed| failed.to_string())?;
    Ok(format!(
        "answered {status} after {} s, {threads} threads stuck, pages within {} ms (99 %); ended {} ms after it was asked to; went on from {from}",
        answered.as_secs(),
        slow.as_millis(),
        ended.as_millis()
    ))
}

/// Threads of the service that the system does not let go.
fn stuck(bench: &Bench<'_>) -> usize {
    let Some(running) = &bench.running else { return 0 };
    let threads = fs::read_dir(format!("/proc/{}/task", running.pid())).into_iter().flatten().flatten();
    threads.filter(|thread| fs::read_to_string(thread.path().join("stat")).is_ok_and(|stat| stat.contains(") D "))).count()
}
