//! Load on a service of its own: clients that stall, drip and do not read beside honest ones, and very many small uploads.
//!
//!     cargo bench --bench load -- stalled --clients 10000
//!
//! `stalled`: clients that begin an upload and fall silent, half of them within the first 512 bytes of the form, a quarter after 128 KiB of the
//! file in it, a quarter after 128 KiB of a chunk. `slow`: heads that do not end, bodies of a byte a second, downloads that nobody reads. `many`: small files, some at a time. `flood`:
//! connections that are opened and dropped at once. Each measures honest uploads and pages before and meanwhile, prints what the service
//! uses before, meanwhile and afterwards, and fails when a promise is broken (RELIABILITY: F-31, F-32, F-33, F-36, F-39).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot go on has failed")]

mod crowd;
#[path = "../../tests/it/support/fixtures.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod fixtures;
mod http;
mod service;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use crowd::{Crowd, Habit};
use service::{Server, Use};

#[derive(Parser)]
#[command(about = "Load on a service of its own")]
struct Options {
    /// stalled, slow, many or flood
    scenario: String,
    /// The service's binary
    #[arg(long, default_value = "target/release/vmimg")]
    binary: PathBuf,
    /// Where its files lie meanwhile
    #[arg(long, default_value = "target")]
    folder: PathBuf,
    /// The URL of an empty PostgreSQL database; without it SQLite is used
    #[arg(long, default_value = "")]
    database: String,
    /// How many clients stall, or how many files are sent
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    /// How many of them come in a second
    #[arg(long, default_value_t = 400)]
    per_second: usize,
    /// Size of an honest upload in MiB
    #[arg(long, default_value_t = 256)]
    honest_mib: u32,
    /// The setting client_silence, in seconds
    #[arg(long, default_value_t = 60)]
    silence: u64,
    /// Fail when an honest upload keeps less than this part of its speed
    #[arg(long, default_value_t = 0.9)]
    keeps: f64,
    /// Fail when fewer files a second are received (only `many`)
    #[arg(long, default_value_t = 200.0)]
    least: f64,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    raise_open_files();
    let done = match options.scenario.as_str() {
        "stalled" => stalled(&options),
        "slow" => slow(&options),
        "many" => many(&options),
        "flood" => flood(&options),
        other => Err(format!("there is no scenario {other}")),
    };
    match done {
        Ok(broken) if broken.is_empty() => {
            println!("{}: all promises kept", options.scenario);
            ExitCode::SUCCESS
        }
        Ok(broken) => {
            broken.iter().for_each(|words| println!("BROKEN: {words}"));
            ExitCode::FAILURE
        }
        Err(failed) => {
            println!("FAILED: {failed}");
            ExitCode::FAILURE
        }
    }
}

fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

type Broken = Vec<String>;

fn keep(broken: &mut Broken, kept: bool, words: impl FnOnce() -> String) {
    if !kept {
        broken.push(words());
    }
}

pub fn median(values: &[f64]) -> f64 {
    at(values, 0.5)
}

/// The value below which this part of all lies.
fn at(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

/// What honest people get: an upload's speed in MiB/s, and how long pages take, in milliseconds.
struct Honest {
    speed: f64,
    pages: Vec<f64>,
}

impl Honest {
    /// Three uploads one after the other, with the list page asked for beside them and for some time more.
    fn measure(server: &Server, file: &[u8], name: &str) -> Result<Self, String> {
        // Pages first, by themselves: an upload on two cores takes one of them.
        let pages = pages(server, Duration::from_secs(4))?;
        let mut client = server.client();
        let mut took = Vec::new();
        for run in 0..5 {
            let (seconds, image) = server.upload(&mut client, &format!("{name} {run}"), file)?;
            server.delete(&mut client, &image)?;
            took.push(seconds);
            std::thread::sleep(Duration::from_millis(300));
        }
        Ok(Self { speed: file.len() as f64 / f64::from(1 << 20) / median(&took), pages })
    }
}

impl std::fmt::Display for Honest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pages = &self.pages;
        write!(
            f,
            "honest upload {:.0} MiB/s (median of 5), list page {:.1} ms (median), {:.1} ms (p99) of {}",
            self.speed,
            median(pages),
            at(pages, 0.99),
            pages.len()
        )
    }
}

/// Asks for the list of images for so long, with a pause after each; milliseconds.
fn pages(server: &Server, for_so_long: Duration) -> Result<Vec<f64>, String> {
    let (mut client, begun, mut took) = (server.client(), Instant::now(), Vec::new());
    while begun.elapsed() < for_so_long {
        let asked = Instant::now();
        let answer = client.get("/images")?;
        took.push(asked.elapsed().as_secs_f64() * 1_000.0);
        if answer.status != 200 {
            return Err(answer.wrong("the list of images"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(took)
}

/// Goes through so many wizards; answers the addresses of their forms.
fn wizards(server: &Server, count: usize) -> Result<Vec<String>, String> {
    several(server, count, |client, number| server.wizard(client, &format!("crowd {number}")))
}

/// Does something so many times, several at once.
fn several<T: Send>(
    server: &Server,
    count: usize,
    work: impl Fn(&mut http::Client, usize) -> Result<T, String> + Sync,
) -> Result<Vec<T>, String> {
    let (next, made, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = server.client();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || failed.lock().unwrap().is_some() {
                        return;
                    }
                    match work(&mut client, number) {
                        Ok(done) => made.lock().unwrap().push(done),
                        Err(words) => *failed.lock().unwrap() = Some(words),
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap().map_or_else(|| Ok(made.into_inner().unwrap()), Err)
}

/// Bytes that those send who fall silent later.
const SENT: usize = 128 * 1024;
/// The ISO of 8 MiB that the crowd begins to send.
static CROWD: LazyLock<Vec<u8>> = LazyLock::new(|| fixtures::iso_of("CROWD", 4_096));

/// The head of a chunk with all of it, and so many of its bytes.
fn beginning_of_chunk(server: &Server, upload: &str, sent: usize) -> Arc<Vec<u8>> {
    let headers = format!("{}Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n", http::TUS);
    let head = http::head(server.address, &server.cookies, "PATCH", upload, &headers, CROWD.len());
    Arc::new([head.as_bytes(), &CROWD[..sent]].concat())
}

/// A form whose file is not sent whole: the head, and so many bytes of the body.
fn beginning(server: &Server, path: &str, sent: usize) -> Arc<Vec<u8>> {
    static FORM: LazyLock<Vec<u8>> = LazyLock::new(|| service::form_of(&CROWD));
    let form = &*FORM;
    let head = http::head(server.address, &server.cookies, "POST", path, "Content-Type: multipart/form-data; boundary=b\r\n", form.len());
    Arc::new([head.as_bytes(), &form[..sent.min(form.len())]].concat())
}

fn settings(options: &Options) -> Vec<(&'static str, String)> {
    vec![
        ("client_silence", options.silence.to_string()),
        ("max_unfinished", "100000".to_owned()),
        // A long preparation must not end the session.
        ("session_idle", "60".to_owned()),
    ]
}

/// Nothing is left of what the crowd began: no part of a file, no lease, no promise of room.
fn nothing_left(server: &Server, broken: &mut Broken) -> Result<(), String> {
    let begun = Instant::now();
    let left = || -> Result<[i64; 4], String> {
        let parts = std::fs::read_dir(server.staging()).map_or(0, Iterator::count) as i64;
        Ok([
            parts,
            server.count("uploads WHERE lease_until IS NOT NULL")?,
            server.count("images WHERE reserved_bytes > 0")?,
            server.count("images WHERE status NOT IN ('pending', 'available')")?,
        ])
    };
    // A transfer that could not say that it ended is ended by the watcher, when its lease has run out.
    while left()? != [0; 4] && begun.elapsed() < Duration::from_secs(90) {
        std::thread::sleep(Duration::from_millis(500));
    }
    let [parts, leases, promises, others] = left()?;
    println!(
        "left after {:.0} s: {parts} parts, {leases} leases, {promises} promises of room, {others} images neither Pending nor Available",
        begun.elapsed().as_secs_f64()
    );
    keep(broken, [parts, leases, promises, others] == [0; 4], || "something is left of uploads that ended".to_owned());
    Ok(())
}

/// Threads and descriptors are what they were.
fn back_to(server: &Server, before: Use, broken: &mut Broken) -> Result<(), String> {
    // Threads of the pool for blocking work end after ten idle seconds, those of a storage after thirty.
    let (after, took) = server.settled(before.threads + 8, before.descriptors + 16, Duration::from_secs(60))?;
    println!("after: {after} ({:.0} s later)", took.as_secs_f64());
    keep(broken, after.threads <= before.threads + 8, || format!("{} threads, {} before", after.threads, before.threads));
    keep(broken, after.descriptors <= before.descriptors + 16, || {
        format!("{} descriptors, {} before", after.descriptors, before.descriptors)
    });
    Ok(())
}

fn note_log(server: &Server, broken: &mut Broken) {
    let log = server.log();
    let panics = log.matches("panicked").count();
    keep(broken, panics == 0, || format!("{panics} panics in the log"));
    let lines: Vec<&str> = log.lines().collect();
    println!("log: {} lines of warnings{}", lines.len(), lines.last().map_or(String::new(), |last| format!(", the last: {last}")));
}

/// F-31, F-36: silent uploads by the thousand.
fn stalled(options: &Options) -> Result<Broken, String> {
    let server = Server::start(&options.binary, &options.folder, &options.database, &settings(options))?;
    let file = fixtures::iso_of("HONEST", options.honest_mib * 512);
    let mut broken = Broken::new();
    println!("{} stalled uploads, {} a second; an honest one has {} MiB", options.clients, options.per_second, options.honest_mib);
    server.upload(&mut server.client(), "warm", &file)?;
    let before = server.uses()?;
    let alone = Honest::measure(&server, &file, "before")?;
    println!("before: {alone}; {before}");

    let prepared = Instant::now();
    let creates = wizards(&server, options.clients / 4)?;
    println!("{} wizards in {:.1} s", creates.len(), prepared.elapsed().as_secs_f64());
    let uploads = several(&server, options.clients / 4, |client, number| server.announce(client, &format!("chunk {number}"), CROWD.len()))?;
    let nobody = beginning(&server, &format!("/images/{}/content", vmimg::domain::ids::ImageId::new()), 512);
    let clients = creates.iter().zip(&uploads).flat_map(|(create, upload)| {
        [
            ("silent after 128 KiB", Habit::Silent(beginning(&server, create, SENT))),
            ("silent after 512 bytes", Habit::Silent(nobody.clone())),
            ("silent after 128 KiB of a chunk", Habit::Silent(beginning_of_chunk(&server, upload, SENT))),
            ("silent after 512 bytes", Habit::Silent(nobody.clone())),
        ]
    });
    let crowd = Crowd::gather(server.address, options.per_second, clients.collect());
    let (wanted, begun) = (creates.len() * 2 + uploads.len() * 2, (creates.len() + uploads.len()) as i64);
    let ramp = Instant::now();
    while server.count("images WHERE status = 'uploading'")? < begun || crowd.outcome.open.load(Ordering::Relaxed) < wanted {
        if ramp.elapsed() > Duration::from_secs(90) {
            break;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    let (open, uploading) = (crowd.outcome.open.load(Ordering::Relaxed), server.count("images WHERE status = 'uploading'")?);
    println!("{open} connections open, {uploading} images Uploading after {:.1} s", ramp.elapsed().as_secs_f64());
    // Whoever is silent for three seconds rests.
    std::thread::sleep(Duration::from_secs(4));
    let open = open.min(crowd.outcome.open.load(Ordering::Relaxed));
    keep(&mut broken, open * 100 >= wanted * 99, || format!("only {open} of {wanted} were open at once"));
    let during = server.uses()?;
    let meanwhile = Honest::measure(&server, &file, "meanwhile")?;
    let still = crowd.outcome.open.load(Ordering::Relaxed);
    println!("meanwhile ({open} to {still} open): {meanwhile}; {during}");
    keep(&mut broken, meanwhile.speed >= alone.speed * options.keeps, || {
        format!("an honest upload kept {:.0} % of its speed", meanwhile.speed / alone.speed * 100.0)
    });
    println!("an honest upload kept {:.0} % of its speed", meanwhile.speed / alone.speed * 100.0);
    keep(&mut broken, at(&meanwhile.pages, 0.99) < 200.0, || format!("p99 of the list page {:.0} ms", at(&meanwhile.pages, 0.99)));

    // The end of so many at once is the next burst.
    let ending = Arc::new(AtomicBool::new(false));
    let (outcome, left, pages) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let mut all = Vec::new();
            while !ending.load(Ordering::Relaxed) {
                all.extend(pages(&server, Duration::from_millis(500))?);
            }
            Ok::<_, String>(all)
        });
        let (outcome, left) = crowd.wait(Duration::from_secs(options.silence + 60));
        ending.store(true, Ordering::Relaxed);
        (outcome, left, asked.join().unwrap())
    });
    let pages = pages?;
    println!("while they end: list page {:.1} ms (median), {:.1} ms (p99) of {}", median(&pages), at(&pages, 0.99), pages.len());
    outcome.report();
    keep(&mut broken, at(&pages, 0.99) < 200.0, || format!("p99 of the list page while they end {:.0} ms", at(&pages, 0.99)));
    keep(&mut broken, left == 0, || format!("{left} were not given up within a minute after their time"));
    let kept = server.count(&format!("uploads WHERE offset_bytes = {SENT} AND hash_state IS NOT NULL"))?;
    println!("{kept} of {} uploads in chunks can go on after what they sent", uploads.len());
    keep(&mut broken, kept == uploads.len() as i64, || format!("{kept} uploads in chunks kept what they sent"));
    several(&server, uploads.len(), |client, number| server.give_up(client, &uploads[number]))?;
    nothing_left(&server, &mut broken)?;
    back_to(&server, before, &mut broken)?;
    let peak = server.uses()?.peak_mib;
    keep(&mut broken, peak <= 400.0, || format!("{peak:.0} MiB"));
    note_log(&server, &mut broken);
    Ok(broken)
}

/// F-32, F-33: heads and bodies that drip, downloads that nobody reads.
fn slow(options: &Options) -> Result<Broken, String> {
    let server = Server::start(&options.binary, &options.folder, &options.database, &settings(options))?;
    let mut broken = Broken::new();
    let file = fixtures::iso_of("HONEST", options.honest_mib * 512);
    let (_, image) = server.upload(&mut server.client(), "download", &file)?;
    let before = server.uses()?;
    let alone = pages(&server, Duration::from_secs(4))?;
    println!("before: list page {:.1} ms (median), {:.1} ms (p99); {before}", median(&alone), at(&alone, 0.99));
    let creates = wizards(&server, options.clients / 4)?;
    let head = Arc::new(format!("GET / HTTP/1.1\r\nHost: {}\r\nX-Slow: ", server.address).into_bytes());
    let ask = Arc::new(http::head(server.address, &server.cookies, "GET", &format!("{image}/download"), "", 0).into_bytes());
    let second = Duration::from_secs(1);
    let clients = creates.iter().flat_map(|create| {
        [
            ("head at a byte a second", Habit::Drips(head.clone(), second)),
            ("body at a byte a second", Habit::Drips(beginning(&server, create, 128 * 1024), second)),
            ("download not read", Habit::DoesNotRead(ask.clone(), None)),
            ("download at 16 bytes a second", Habit::DoesNotRead(ask.clone(), Some(second))),
        ]
    });
    println!("{} slow clients, {} a second", creates.len() * 4, options.per_second);
    let begun = Instant::now();
    let crowd = Crowd::gather(server.address, options.per_second, clients.collect());
    let all = Duration::from_secs_f64(creates.len() as f64 * 4.0 / options.per_second as f64);
    let mut most: Option<Use> = None;
    let mut took = Vec::new();
    while begun.elapsed() < all + Duration::from_secs(options.silence + 5) {
        took.extend(pages(&server, Duration::from_millis(500))?);
        let uses = server.uses()?;
        if most.is_none_or(|most| most.descriptors < uses.descriptors) {
            most = Some(uses);
        }
    }
    let slow = took.iter().filter(|took| **took > 200.0).count();
    println!(
        "meanwhile: list page {:.1} ms (median), {:.1} ms (p99) of {}, {slow} slower than 200 ms; at most {}",
        median(&took),
        at(&took, 0.99),
        took.len(),
        most.unwrap_or(before)
    );
    keep(&mut broken, slow * 100 <= took.len(), || format!("{slow} of {} honest requests took more than 200 ms", took.len()));
    // Who does not read does not see that it is over: the service's own count says so.
    let (held, later) = server.settled(usize::MAX, before.descriptors + 16, Duration::from_secs(15))?;
    println!(
        "{} descriptors {:.0} s after the last was to be given up ({} before)",
        held.descriptors,
        later.as_secs_f64(),
        before.descriptors
    );
    keep(&mut broken, held.descriptors <= before.descriptors + 16, || "clients are held longer than their time".to_owned());
    let (outcome, _) = crowd.wait(Duration::from_secs(90));
    outcome.report();
    nothing_left(&server, &mut broken)?;
    back_to(&server, before, &mut broken)?;
    note_log(&server, &mut broken);
    Ok(broken)
}

/// Small files, 64 at a time.
fn many(options: &Options) -> Result<Broken, String> {
    let server = Server::start(&options.binary, &options.folder, &options.database, &settings(options))?;
    let mut broken = Broken::new();
    let file = fixtures::iso_of("MANY", 512);
    let before = server.uses()?;
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let begun = Instant::now();
    let took = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let mut client = server.client();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.clients {
                        return;
                    }
                    let sent = server.wizard(&mut client, &format!("many {number}")).and_then(|create| {
                        let begun = Instant::now();
                        let answer = client.send_file(&create, &file)?;
                        took.lock().unwrap().push(begun.elapsed().as_secs_f64() * 1_000.0);
                        answer.leads_to().map(drop)
                    });
                    if let Err(words) = sent {
                        failures.lock().unwrap().push(words);
                    }
                }
            });
        }
    });
    let (seconds, failures, took) = (begun.elapsed().as_secs_f64(), failures.into_inner().unwrap(), took.into_inner().unwrap());
    let rate = options.clients as f64 / seconds;
    let during = server.uses()?;
    println!(
        "{} files of 1 MiB, wizard and all, 64 at a time: {seconds:.1} s, {rate:.0} a second, {} failed; upload {:.0} ms (median), {:.0} ms (p99)",
        options.clients,
        failures.len(),
        median(&took),
        at(&took, 0.99)
    );
    println!("meanwhile: {during}");
    keep(&mut broken, failures.is_empty(), || format!("{} failed, the first: {}", failures.len(), failures[0]));
    keep(&mut broken, rate >= options.least, || format!("{rate:.0} a second"));
    let available = server.count("images WHERE status = 'available'")?;
    let files = std::fs::read_dir(server.images()).map_or(0, Iterator::count);
    println!("{available} images Available, {files} files for them");
    keep(&mut broken, available as usize + failures.len() == options.clients && files == available as usize * 2, || {
        "images and files differ".to_owned()
    });
    nothing_left(&server, &mut broken)?;
    back_to(&server, before, &mut broken)?;
    note_log(&server, &mut broken);
    Ok(broken)
}

/// F-39: as many connections as can be opened and dropped in five seconds.
fn flood(options: &Options) -> Result<Broken, String> {
    let server = Server::start(&options.binary, &options.folder, &options.database, &settings(options))?;
    let mut broken = Broken::new();
    let before = server.uses()?;
    let (opened, begun) = (AtomicUsize::new(0), Instant::now());
    let for_so_long = Duration::from_secs(5);
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (opened, address) = (&opened, server.address);
            scope.spawn(move || {
                let mut turn = 0_u32;
                while begun.elapsed() < for_so_long {
                    turn += 1;
                    let source = [127, 0, 1 + thread, 1 + (turn / 4_000 % 250) as u8];
                    let Ok(socket) = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None) else { continue };
                    // Closed by a reset, so that neither side keeps anything of it.
                    let _ = socket.set_linger(Some(Duration::ZERO));
                    let _ = socket.bind(&std::net::SocketAddr::from((source, 0)).into());
                    if socket.connect_timeout(&address.into(), Duration::from_millis(200)).is_ok() {
                        opened.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let ended = Instant::now();
    let opened = opened.into_inner();
    let rate = opened as f64 / begun.elapsed().as_secs_f64();
    let answer = server.client().get("/images")?;
    let recovered = ended.elapsed().as_secs_f64();
    println!(
        "{opened} connections in {:.1} s, {rate:.0} a second; the next page was answered with {} after {recovered:.3} s",
        for_so_long.as_secs_f64(),
        answer.status
    );
    keep(&mut broken, recovered <= 5.0 && answer.status == 200, || format!("the next page took {recovered:.1} s"));
    back_to(&server, before, &mut broken)?;
    note_log(&server, &mut broken);
    Ok(broken)
}
