//! F-01, F-05, F-07, F-09, F-11, F-18, F-23, F-25: the Nth call of a kind kills the process, fails or does less than asked, for
//! N = 1, 2, 3 … until a run passes without it; after each, everything is looked at, and the same thing is done once more without a fault.

use std::{
    collections::BTreeMap,
    sync::{Mutex, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use nix::errno::Errno;

use super::{
    check::{self, Looked},
    client::Client,
    ledger::{Done, Image, Ledger, Roaming},
    load::{self, Mover, Person, Refusal},
    random::Random,
    records::Records,
    service::{Database, Place, Running},
    tracer::{self, Fault, Plan, Tracer},
};

/// After an error, the service is at rest within this.
const RESTS_WITHIN: Duration = Duration::from_secs(20);
/// The queue is worked off within this after an answer.
const AFTERWARDS: Duration = Duration::from_millis(700);
/// Sectors of the files that are sent.
const SECTORS: u32 = 350;
/// Bytes of a chunk of one of them.
const CHUNK: usize = 300_000;
/// A loop that is longer than this does not end by itself.
const MOST: u64 = 400;

/// What the command line asks for.
#[derive(Debug, Clone, Args)]
pub struct Wanted {
    /// Only kills, EIO and ENOSPC at write, fsync, rename and commit
    #[arg(long)]
    quick: bool,
    /// Only loops whose name contains this, such as "upload" or "fsync EIO"
    #[arg(long)]
    only: Option<String>,
    /// Services side by side
    #[arg(long, default_value_t = 2)]
    lanes: usize,
}

/// Something that somebody does, in which calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Upload,
    /// On a file system that cannot rename without replacing.
    UploadByLink,
    /// As tus has it.
    UploadInChunks,
    Edit,
    Delete,
    TakeAway,
    BringBack,
    /// Delete what is in the way; no part of a loop.
    Tidy,
    /// Send the file of an image that still waits for it; no part of a loop.
    SendAgain,
    /// Ask how far an upload in chunks has come, and send what is missing; no part of a loop.
    GoOn,
}

/// Where the calls are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Storage,
    Database,
}

/// One loop over N.
#[derive(Debug, Clone, Copy)]
struct Loop {
    deed: Deed,
    on: On,
    /// Names of calls that count as one kind.
    calls: &'static [&'static str],
    fault: Fault,
}

impl Loop {
    fn name(&self) -> String {
        let fault = match self.fault {
            Fault::Kill => "KILL".to_owned(),
            Fault::Fails(errno) => format!("{errno:?}"),
            Fault::Short => "short".to_owned(),
        };
        format!("{:?} {:?} {} {fault}", self.deed, self.on, self.calls.join("/"))
    }
}

const DEEDS: [Deed; 5] = [Deed::Upload, Deed::Edit, Deed::Delete, Deed::TakeAway, Deed::BringBack];

fn loops(quick: bool) -> Vec<Loop> {
    let mut loops = Vec::new();
    if quick {
        let kinds: [(On, &[&str]); 4] = [
            (On::Storage, &["write", "pwrite64"]),
            (On::Storage, &["fsync", "fdatasync"]),
            (On::Storage, &["rename", "linkat"]),
            // A commit is the flush of the database's log.
            (On::Database, &["fsync", "fdatasync"]),
        ];
        for deed in DEEDS {
            for (on, calls) in kinds {
                for fault in [Fault::Kill, Fault::Fails(Errno::EIO), Fault::Fails(Errno::ENOSPC)] {
                    loops.push(Loop { deed, on, calls, fault });
                }
            }
        }
        loops.push(Loop { deed: Deed::UploadByLink, on: On::Storage, calls: &["linkat"], fault: Fault::Kill });
        // Kills of uploads in chunks have a loop of their own.
        for (on, calls) in kinds {
            for fault in [Fault::Fails(Errno::EIO), Fault::Fails(Errno::ENOSPC)] {
                loops.push(Loop { deed: Deed::UploadInChunks, on, calls, fault });
            }
        }
        return loops;
    }
    let calls: [&[&str]; 11] = [
        &["openat"],
        &["write"],
        &["pwrite64"],
        &["fsync"],
        &["fdatasync"],
        &["linkat"],
        &["rename"],
        &["unlinkat"],
        &["close"],
        &["ftruncate"],
        &["fallocate"],
    ];
    let errors = [Errno::EIO, Errno::ENOSPC, Errno::EDQUOT, Errno::EINTR, Errno::ESTALE, Errno::EROFS];
    for deed in [DEEDS[0], Deed::UploadByLink, Deed::UploadInChunks, DEEDS[1], DEEDS[2], DEEDS[3], DEEDS[4]] {
        for on in [On::Storage, On::Database] {
            for calls in calls {
                // Where links are made instead of renaming, only that differs.
                if deed == Deed::UploadByLink && (on == On::Database || !matches!(calls[0], "linkat" | "unlinkat" | "rename")) {
                    continue;
                }
                loops.push(Loop { deed, on, calls, fault: Fault::Kill });
                loops.extend(errors.iter().map(|errno| Loop { deed, on, calls, fault: Fault::Fails(*errno) }));
                if matches!(calls[0], "write" | "pwrite64") {
                    loops.push(Loop { deed, on, calls, fault: Fault::Short });
                }
            }
        }
    }
    loops
}

/// How often what was injected.
type Counts = BTreeMap<(String, String), u64>;

/// Runs every loop until it passes.
pub fn run(wanted: &Wanted) -> Result<(), String> {
    let began = Instant::now();
    let chosen: Vec<Loop> =
        loops(wanted.quick).into_iter().filter(|one| wanted.only.as_ref().is_none_or(|only| one.name().contains(only.as_str()))).collect();
    println!("calls: {} loops", chosen.len());
    let (queue, counts, looked) = (Mutex::new(chosen.into_iter()), Mutex::new(Counts::new()), Mutex::new(Looked::default()));
    let failed: Vec<String> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..wanted.lanes.max(1)).map(|_| scope.spawn(|| lane(&queue, &counts, &looked))).collect();
        lanes.into_iter().filter_map(|lane| lane.join().unwrap_or_else(|panic| Err(super::broke_off(&*panic))).err()).collect()
    });
    let counts = counts.into_inner().unwrap();
    for ((call, fault), count) in &counts {
        println!("  {call:<24} {fault:<8} {count:>5}");
    }
    let looked = looked.into_inner().unwrap();
    println!(
        "calls: {} faults injected, {} violations; looked at {} rows and {} Available files; {} s",
        counts.values().sum::<u64>(),
        failed.len(),
        looked.images,
        looked.available,
        began.elapsed().as_secs()
    );
    if counts.is_empty() {
        return Err("no fault was injected at all: nothing was proved".to_owned());
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

fn lane(queue: &Mutex<std::vec::IntoIter<Loop>>, counts: &Mutex<Counts>, looked: &Mutex<Looked>) -> Result<(), String> {
    let mut place = Place::new(Database::Sqlite);
    let mut bench = Bench::new(&place)?;
    let mut why = None;
    loop {
        let Some(one) = queue.lock().unwrap().next() else { break };
        let began = Instant::now();
        match bench.until_it_passes(&place, one, counts) {
            Ok(times) => println!("  {:<44} {times:>3} times, {} s", one.name(), began.elapsed().as_secs()),
            Err(failed) => {
                why = Some(failed);
                break;
            }
        }
    }
    *looked.lock().unwrap() += bench.looked;
    drop(bench);
    match why {
        None => Ok(()),
        Some(why) => {
            let log = place.last_of_log();
            Err(format!("{why}\n\nfiles and log stay in {}\n{log}\n", place.keep().display()))
        }
    }
}

/// A service, what it acknowledged, and whoever works on it.
struct Bench {
    running: Option<Running>,
    client: Client,
    ledger: Ledger,
    local: String,
    folder: String,
    made: u64,
    looked: Looked,
    /// Images whose sender was told to try again, and may for as long as their lease lasts.
    waiting: Vec<String>,
    /// The file of the last upload in chunks.
    file: Vec<u8>,
}

impl Bench {
    fn new(place: &Place) -> Result<Self, String> {
        let running = place.start()?;
        let (client, local) = load::set_up(&running, &place.folder("local"))?;
        let roaming = load::add_datastore(&client, "roaming", &place.folder("roaming"))?;
        let ledger = Ledger { roaming: Roaming { id: roaming, removed: Some(false), ..Roaming::default() }, ..Ledger::default() };
        let folder = place.folder("roaming").display().to_string();
        Ok(Self {
            running: Some(running),
            client,
            ledger,
            local,
            folder,
            made: 0,
            looked: Looked::default(),
            waiting: Vec::new(),
            file: Vec::new(),
        })
    }

    /// N = 1, 2, 3 … until no call is left for the fault.
    fn until_it_passes(&mut self, place: &Place, one: Loop, counts: &Mutex<Counts>) -> Result<u64, String> {
        for nth in 1..=MOST {
            let injected = self
                .once(place, one, nth)
                .map_err(|why| format!("{} N = {nth}: {why}\nAgain: calls --only \"{}\"", one.name(), one.name()))?;
            let Some(words) = injected else { return Ok(nth - 1) };
            let call = words.split(' ').next().unwrap_or_default();
            let name = one.name();
            let key = (format!("{:?} {call}", one.on), name.rsplit(' ').next().unwrap_or_default().to_owned());
            *counts.lock().unwrap().entry(key).or_default() += 1;
        }
        Err(format!("{} did not pass within {MOST} runs", one.name()))
    }

    /// One run; answers at which call the fault was injected.
    fn once(&mut self, place: &Place, one: Loop, nth: u64) -> Result<Option<String>, String> {
        self.prepare(place, one.deed)?;
        let below = match one.on {
            On::Storage => place.media(),
            On::Database => place.database_file().display().to_string(),
        };
        let plan = Plan {
            watched: vec![tracer::watched(below, one.calls)],
            fault: one.fault,
            nth,
            lacks: (one.deed == Deed::UploadByLink).then_some(tracer::NO_RENAMEAT2),
        };
        let tracer = Tracer::attach(self.running.as_ref().map_or(0, Running::pid), plan);
        let refusals = self.act(one.deed, true)?;
        // What follows in the background belongs to it.
        if one.fault == Fault::Kill {
            // The records are left alone: whoever closed them last would tidy up after a process that died.
            let until = Instant::now() + AFTERWARDS;
            while !tracer.has_ended() && Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
        } else if one.deed != Deed::UploadInChunks || refusals.is_empty() {
            // An upload in chunks may wait under its lease for whoever sends it.
            self.wait_for_work(place, Duration::from_secs(2));
        }
        let report = tracer.finish();
        let context = |why: String| format!("{why}\nat {:?}, answers {refusals:?}", report.injected);
        if report.died {
            if let Some(running) = self.running.take() {
                running.has_died();
            }
            if one.fault != Fault::Kill {
                return Err(context("the process died of an error".to_owned()));
            }
            self.running = Some(place.start()?);
        } else if one.fault == Fault::Kill && report.injected.is_some() {
            return Err(context("the process lives although it was killed".to_owned()));
        }
        if let Some(words) = &report.injected {
            judge(one, words, &report.after, &refusals).map_err(context)?;
        } else if !refusals.is_empty() && one.fault != Fault::Kill {
            return Err(context("something was refused without a fault".to_owned()));
        }
        if one.deed == Deed::UploadInChunks {
            self.comes_so_far(place, one, &refusals).map_err(context)?;
            let again = self.act(Deed::GoOn, false).map_err(context)?;
            if !again.is_empty() {
                return Err(context(format!("going on: {again:?}")));
            }
        }
        if one.fault != Fault::Kill {
            self.waiting = Records::open(&place.database_url()).waiting();
            if !self.waiting.is_empty() {
                let again = self.act(Deed::SendAgain, false).map_err(context)?;
                if !again.is_empty() {
                    return Err(context(format!("sending again: {again:?}")));
                }
            }
        }
        let within = if one.fault == Fault::Kill { check::RECOVERS_WITHIN } else { RESTS_WITHIN };
        self.look(place, within).map_err(context)?;
        if let (Some(_), On::Storage, Deed::Upload | Deed::UploadByLink) = (&report.injected, one.on, one.deed) {
            self.says_why(place, &refusals).map_err(context)?;
        }
        if report.injected.is_some() && one.deed != Deed::UploadInChunks {
            // The fault is past: the same thing works.
            self.prepare(place, one.deed).map_err(context)?;
            let refusals = self.act(one.deed, false)?;
            if !refusals.is_empty() {
                return Err(context(format!("once more without a fault: {refusals:?}")));
            }
            self.look(place, check::RECOVERS_WITHIN).map_err(context)?;
        }
        Ok(report.injected)
    }

    /// Makes what the deed needs, without a fault.
    fn prepare(&mut self, place: &Place, deed: Deed) -> Result<(), String> {
        let removed = self.ledger.roaming.removed == Some(true);
        match deed {
            Deed::TakeAway if removed => drop(self.act(Deed::BringBack, false)?),
            Deed::BringBack if !removed => drop(self.act(Deed::TakeAway, false)?),
            _ => {}
        }
        // A few images to work on, and never many.
        while self.ledger.images.iter().filter(|image| image.complete == Done::Yes).count() < 2 {
            drop(self.act(Deed::Upload, false)?);
        }
        while self.ledger.images.iter().filter(|image| image.deleted == Done::No).count() > 6 {
            drop(self.act(Deed::Tidy, false)?);
        }
        self.look(place, check::RECOVERS_WITHIN)
    }

    /// Does it; answers what was refused.
    fn act(&mut self, deed: Deed, faulty: bool) -> Result<Vec<Refusal>, String> {
        let Some(running) = &self.running else { return Err("no service runs".to_owned()) };
        self.made += 1;
        // Where the process may be killed, no answer is no surprise.
        let (stop, faults) = (AtomicBool::new(faulty), Mutex::default());
        let client = self.client.at(running.address);
        let waiting = if deed == Deed::SendAgain { self.waiting.clone() } else { Vec::new() };
        let mut refusals = Vec::new();
        if matches!(deed, Deed::TakeAway | Deed::BringBack) {
            let roaming = self.ledger.roaming.clone();
            let mut mover = Mover::new(client, Random::new(self.made), roaming, self.folder.clone(), &stop, &faults);
            mover.refusals = Some(Vec::new());
            if deed == Deed::TakeAway {
                mover.take_away()
            } else {
                mover.bring_back()
            }
            self.ledger.roaming = mover.roaming;
            refusals.extend(mover.refusals.take().unwrap_or_default());
        } else {
            let storages = [self.local.clone(), self.ledger.roaming.id.clone()];
            let mut person = Person::new(client, Random::new(self.made), storages, format!("call {}", self.made), &stop, &faults);
            person.images = std::mem::take(&mut self.ledger.images);
            person.refusals = Some(Vec::new());
            match deed {
                Deed::Edit => {
                    let at = person.images.iter().position(|image| image.complete == Done::Yes).ok_or("nothing to edit")?;
                    person.edit(at);
                }
                Deed::Delete => {
                    let at = person.images.iter().rposition(|image| image.complete == Done::Yes).ok_or("nothing to delete")?;
                    person.delete(at);
                }
                Deed::Tidy => {
                    // Those that are not complete first: they are not needed for anything else.
                    let there = |image: &Image| image.deleted == Done::No && image.id.is_some();
                    let at = person.images.iter().position(|image| there(image) && image.complete != Done::Yes);
                    let at = at.or_else(|| person.images.iter().position(there)).ok_or("nothing to delete")?;
                    person.delete(at);
                }
                Deed::SendAgain => {
                    for at in 0..person.images.len() {
                        if person.images[at].id.as_ref().is_some_and(|id| waiting.contains(id)) {
                            person.images[at].complete = Done::No;
                            person.send_again(at);
                        }
                    }
                }
                Deed::UploadInChunks => self.file = person.create_in_chunks(self.local.clone(), SECTORS, CHUNK),
                Deed::GoOn => {
                    // Nothing where the announcement was refused.
                    let at = person.images.len() - 1;
                    if let Some(id) = person.images[at].id.clone() {
                        let from = person.client.about_upload("HEAD", &id).ok().and_then(|answer| answer.offset());
                        person.send_chunks(at, &self.file, CHUNK, from.ok_or("nobody tells how far it has come")?);
                    }
                }
                _ => person.create_on(self.local.clone(), SECTORS, true),
            }
            self.ledger.images = std::mem::take(&mut person.images);
            refusals.extend(person.refusals.take().unwrap_or_default());
        }
        let found = faults.into_inner().unwrap();
        if found.is_empty() { Ok(refusals) } else { Err(found.join("\n")) }
    }

    /// Waits until the queue is empty, or for some time.
    fn wait_for_work(&mut self, place: &Place, within: Duration) {
        let _ = check::wait_for_rest(&place.database_url(), within);
    }

    fn look(&mut self, place: &Place, within: Duration) -> Result<(), String> {
        let url = place.database_url();
        check::wait_for_rest(&url, within).map_err(|left| left.join("\n"))?;
        let Some(running) = &mut self.running else { return Err("no service runs".to_owned()) };
        if !running.is_alive() {
            return Err("the process ended by itself".to_owned());
        }
        let client = self.client.at(running.address);
        // A deleted image leaves the ledger, one that was made without an answer joins it.
        self.looked += check::everything(&url, &mut self.ledger, &client).map_err(|faults| faults.join("\n"))?;
        Ok(())
    }

    /// After a chunk that was refused: what was acknowledged is there, unless the storage did not keep what it had been given. Where the storage
    /// failed the image is Pending and says that; where the records did, the upload waits under its lease.
    fn comes_so_far(&mut self, place: &Place, one: Loop, refusals: &[Refusal]) -> Result<(), String> {
        let Some(running) = &self.running else { return Err("no service runs".to_owned()) };
        let Some(refusal) = refusals.iter().find(|refusal| refusal.what == "sending a file") else { return Ok(()) };
        let id = refusal.image.as_deref().unwrap_or_default();
        let told = self.client.at(running.address).about_upload("HEAD", id).map_err(|lost| lost.0)?;
        let told = told.offset().ok_or_else(|| format!("how far it has come is answered {}", told.words()))?;
        let row = Records::open(&place.database_url()).images().into_iter().find(|row| row.id == id).ok_or("the image is gone")?;
        let part = std::fs::read(place.folder("local").join(format!("staging/{id}.part")));
        if one.on == On::Storage && (row.status.as_str(), row.stopped.as_deref()) != ("pending", Some("storage_failed")) {
            return Err(format!("image {id} is {} and says {:?}; it should be pending and say storage_failed", row.status, row.stopped));
        }
        let is_lost = one.on == On::Storage && matches!(one.fault, Fault::Fails(Errno::EIO | Errno::EINTR | Errno::ESTALE));
        let has = refusal.offset;
        match (told, part) {
            // The last chunk may have been published before its record failed.
            (told, _) if told == self.file.len() && one.on == On::Database => Ok(()),
            (0, Err(_)) if has == 0 || is_lost => Ok(()),
            (0, Ok(part)) if has == 0 && !is_lost && part.is_empty() => Ok(()),
            (told, Ok(part))
                if (told == has || told == has + CHUNK && one.on == On::Database) && part.get(..told) == self.file.get(..told) =>
            {
                Ok(())
            }
            (told, part) => {
                Err(format!("{has} bytes were acknowledged, it goes on from {told}, and the part has {:?}", part.map(|part| part.len())))
            }
        }
    }

    /// An image whose file its storage would not take is Pending and says that.
    fn says_why(&self, place: &Place, refusals: &[Refusal]) -> Result<(), String> {
        let failed: Vec<&str> =
            refusals.iter().filter(|refusal| refusal.what == "sending a file").filter_map(|refusal| refusal.image.as_deref()).collect();
        let failed: Vec<&str> = failed.into_iter().filter(|id| !self.waiting.iter().any(|waits| waits == id)).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let rows = Records::open(&place.database_url()).images();
        for id in failed {
            let row = rows.iter().find(|row| row.id == id).ok_or_else(|| format!("image {id} is gone"))?;
            if (row.status.as_str(), row.stopped.as_deref()) != ("pending", Some("storage_failed")) {
                return Err(format!(
                    "image {id} is {} and says {:?}; it should be pending and say storage_failed",
                    row.status, row.stopped
                ));
            }
        }
        Ok(())
    }
}

/// What may be answered when a call fails.
fn judge(one: Loop, at: &str, after: &[String], refusals: &[Refusal]) -> Result<(), String> {
    if one.fault == Fault::Short && !refusals.is_empty() {
        return Err("a short write is no reason to refuse anything".to_owned());
    }
    for refusal in refusals {
        let full = matches!(one.fault, Fault::Fails(Errno::ENOSPC | Errno::EDQUOT)) && one.on == On::Storage;
        let right = match one.deed {
            // A folder that cannot be used is the fault of a field of the form.
            Deed::BringBack => refusal.status >= 500 || refusal.status == 422,
            _ if full => refusal.status == 507,
            _ => refusal.status >= 500 && refusal.status != 507,
        };
        if !right {
            return Err(format!("{} was answered {}", refusal.what, refusal.words));
        }
    }
    // What could not be made durable once is never asked for again.
    let failed_flush = matches!(one.fault, Fault::Fails(_)) && at.starts_with('f') && at.contains("sync ");
    if let Some(path) = at.split(' ').nth(1).filter(|path| failed_flush && path.ends_with(".part"))
        && let Some(again) = after.iter().find(|call| call.contains("sync ") && call.ends_with(path))
    {
        return Err(format!("after a flush that failed there was another one: {again}"));
    }
    Ok(())
}
