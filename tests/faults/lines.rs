//! Uploads over lines that lose every twentieth packet (F-34), or that are slow (F-35): as a whole and in chunks they come through, and a
//! slow one shows how far it is. As root: the loopback of a network of its own is made like that.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    chunks::{Bench, End},
    disk::call,
    load::Person,
    random::{self, Random},
    service::{Database, Place},
};

/// Every packet that is received is lost with a chance of one in twenty.
const LOSES: &str = "table ip line { chain received { type filter hook input priority 0; numgen random mod 20 == 0 drop; }; }";
/// Packets as on a line: by themselves the loopback's are very large.
const PACKETS: [&str; 10] = ["link", "set", "lo", "up", "mtu", "1500", "gso_max_segs", "1", "gso_max_size", "1500"];
/// Sectors of a file that is sent over a slow line, and bytes that this line lets through in a second.
const SECTORS: u32 = 1_500;
const SLOWLY: f64 = 1e6;

/// What the command line asks for.
#[derive(Debug, Clone, Args)]
pub struct Wanted {
    /// The same seed gives the same files
    #[arg(long)]
    seed: Option<u64>,
}

/// Sends over both lines.
pub fn run(wanted: &Wanted) -> Result<(), String> {
    if let Some(ended) = super::alone("--net") {
        return ended;
    }
    let seed = wanted.seed.unwrap_or_else(random::seed);
    println!("lines: seed {seed}");
    let said = |failed: super::Error| failed.to_string();
    call("ip", &PACKETS).map_err(said)?;
    let mut place = Place::new(Database::Sqlite);
    let done = Bench::new(&place, Random::new(seed)).and_then(|mut bench| {
        call("nft", &[LOSES]).map_err(said)?;
        let (whole, chunks) = (whole(&mut bench)?, in_chunks(&mut bench, 300_000)?);
        call("nft", &["delete table ip line"]).map_err(said)?;
        println!("  F-34 every twentieth packet is lost: {:.1} s as a whole, {:.1} s in chunks", whole.as_secs_f64(), chunks.as_secs_f64());
        call("tc", &["qdisc", "add", "dev", "lo", "root", "tbf", "rate", "8mbit", "burst", "32k", "latency", "400ms"]).map_err(said)?;
        let (whole, chunks) = (self::whole(&mut bench)?, in_chunks(&mut bench, 300_000)?);
        let (one, seen) = watched(&mut bench)?;
        call("tc", &["qdisc", "del", "dev", "lo", "root"]).map_err(said)?;
        let least = Duration::from_secs_f64(f64::from(SECTORS) * 2_048.0 * 0.9 / SLOWLY);
        println!(
            "  F-35 8 Mbit/s: {:.1} s as a whole, {:.1} s in chunks, {:.1} s in one chunk, seen at {seen:?}",
            whole.as_secs_f64(),
            chunks.as_secs_f64(),
            one.as_secs_f64()
        );
        if whole.min(chunks).min(one) < least {
            return Err("the line was not slow".to_owned());
        }
        if seen.is_empty() {
            return Err("nobody saw how far it was".to_owned());
        }
        bench.look()
    });
    done.map_err(|why| {
        let log = place.last_of_log();
        format!("seed {seed}: {why}\n\nfiles and log stay in {}\n{log}\n", place.keep().display())
    })
}

/// A file in a form.
fn whole(bench: &mut Bench<'_>) -> Result<Duration, String> {
    let (stop, faults) = (AtomicBool::new(false), Mutex::default());
    let storages = [bench.storage.clone(), String::new()];
    let mut person = Person::new(bench.client()?, bench.random.clone(), storages, "whole".to_owned(), &stop, &faults);
    person.made = bench.ledger.images.len() as u64;
    person.images = std::mem::take(&mut bench.ledger.images);
    let began = Instant::now();
    person.create_on(bench.storage.clone(), SECTORS, true);
    bench.ledger.images = person.images;
    bench.random.next();
    let found = faults.into_inner().unwrap();
    if found.is_empty() { Ok(began.elapsed()) } else { Err(found.join("\n")) }
}

fn in_chunks(bench: &mut Bench<'_>, chunk: usize) -> Result<Duration, String> {
    let began = Instant::now();
    let mut sending = bench.sending(SECTORS, chunk);
    bench.announced(&mut sending, false)?;
    bench.send(&mut sending, End::Nobody)?;
    Ok(began.elapsed())
}

/// A file in one chunk, and how far others saw that it was meanwhile.
fn watched(bench: &mut Bench<'_>) -> Result<(Duration, Vec<usize>), String> {
    let began = Instant::now();
    let mut sending = bench.sending(SECTORS, usize::MAX / 2);
    bench.announced(&mut sending, false)?;
    let (all, id, client) = (sending.bytes.len(), sending.id.clone().unwrap_or_default(), bench.client()?);
    let (done, seen) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let told = client.about_upload("HEAD", &id).ok().and_then(|answer| answer.offset());
                seen.lock().unwrap().extend(told.filter(|told| *told > 0 && *told < all));
                thread::sleep(Duration::from_millis(200));
            }
        });
        let sent = bench.send(&mut sending, End::Nobody);
        done.store(true, Ordering::Relaxed);
        sent
    })?;
    let mut seen = seen.into_inner().unwrap();
    seen.dedup();
    Ok((began.elapsed(), seen))
}
