//! F-01 and F-02 for uploads that are sent in chunks: SIGKILL at random offsets, and before each of the first writes, flushes, renames and
//! commits. After each the service is started again, tells how far the upload has come, and the sender goes on from there: at most one
//! chunk is sent again, and everything else that must hold is looked at ([`check`]). Some uploads end otherwise than complete: given up,
//! or deleted, also while their sender still sends (I-08, I-10).

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Mutex, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    check::{self, Looked},
    client::{Answer, Client},
    kills::at,
    ledger::{Done, Image, Ledger, Words},
    load::{self, Person},
    media,
    random::Random,
    records::Records,
    service::{Database, Place, Running},
    tracer::{self, Fault, Plan, Tracer},
};

/// Bytes of a chunk where every call is counted.
const CHUNK: usize = 8 * 1024;
/// Calls of a chunk: the commit that begins it, the write, the flush, and the commit of the offset.
const CALLS_OF_A_CHUNK: u64 = 4;
/// Calls of an upload beside those of its chunks: its announcement, the room that the file claims, and publishing.
const CALLS_BESIDE: u64 = 13;
/// Images that are there at once, at most.
const IMAGES: usize = 4;

/// What the command line asks for.
#[derive(Debug, Clone, Args)]
pub struct Wanted {
    /// Kills at random offsets, half of them with SQLite and half with PostgreSQL
    #[arg(long, default_value_t = 300)]
    count: u64,
    /// Kills before each call of an upload that has so many or a few more, with SQLite
    #[arg(long, default_value_t = 200)]
    first: u64,
    /// Services side by side
    #[arg(long, default_value_t = 2)]
    lanes: usize,
    /// The same seed gives the same moments and files
    #[arg(long)]
    seed: Option<u64>,
}

/// What one service is for.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// So many kills at random offsets.
    Offsets(Database, u64),
    /// Kills before every other call of an upload that has so many or a few more.
    Calls { from: u64, first: u64 },
}

/// Kills as often as wanted, and says what was seen.
pub fn run(wanted: &Wanted) -> Result<(), String> {
    let seed = wanted.seed.unwrap_or_else(super::random::seed);
    println!("chunks: seed {seed}, {} kills at random offsets, one before each of {} calls and a few more", wanted.count, wanted.first);
    let began = Instant::now();
    let mut parts = Vec::new();
    if wanted.first > 0 {
        parts.extend([1, 2].map(|from| Part::Calls { from, first: wanted.first }));
    }
    for (database, count) in [(Database::Postgres, wanted.count / 2), (Database::Sqlite, wanted.count - wanted.count / 2)] {
        if count > 0 {
            parts.push(Part::Offsets(database, count));
        }
    }
    let queue = Mutex::new(parts.into_iter().enumerate());
    let failed: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut failed = Vec::new();
            loop {
                let Some((number, part)) = queue.lock().unwrap().next() else { return failed };
                match course(part, seed, number as u64) {
                    Ok(words) => println!("{words}"),
                    Err(why) => failed.push(format!("{part:?} with seed {seed}: {why}")),
                }
            }
        };
        let lanes: Vec<_> = (0..wanted.lanes.max(1)).map(|_| scope.spawn(work)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap_or_else(|panic| vec![super::broke_off(&*panic)])).collect()
    });
    println!("chunks: {} violations; {} s", failed.len(), began.elapsed().as_secs());
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("{}\nAgain: chunks --count {} --first {} --seed {seed}", failed.join("\n"), wanted.count, wanted.first))
    }
}

/// One service, from its set-up to the last kill; what was seen, in words.
fn course(part: Part, seed: u64, number: u64) -> Result<String, String> {
    let began = Instant::now();
    let mut place = Place::new(match part {
        Part::Offsets(database, _) => database,
        Part::Calls { .. } => Database::Sqlite,
    });
    let done = Bench::new(&place, Random::for_part(seed, number)).and_then(|mut bench| {
        match part {
            Part::Offsets(_, count) => bench.at_offsets(count),
            Part::Calls { from, first } => bench.before_calls(from, first),
        }
        .map(|()| bench.seen)
    });
    match done {
        Ok(seen) => Ok(format!("{part:?}: {}; {} s", seen.words(), began.elapsed().as_secs())),
        Err(why) => {
            let log = place.last_of_log();
            Err(format!("{why}\n\nfiles and log stay in {}\n{log}\n", place.keep().display()))
        }
    }
}

/// What one service went through.
#[derive(Debug, Default)]
struct Seen {
    kills: u64,
    while_starting: u64,
    uploads: u64,
    ended_otherwise: u64,
    sent_bytes: u64,
    again_bytes: u64,
    /// Parts of a chunk, in per cent, that were sent again after a kill.
    again: Vec<u64>,
    /// How often before which call.
    calls: BTreeMap<String, u64>,
    looked: Looked,
    recoveries: Vec<Duration>,
}

impl Seen {
    fn words(&self) -> String {
        let calls: Vec<String> = self.calls.iter().map(|(call, times)| format!("{times} before {call}, ")).collect();
        format!(
            "{} kills ({}{} more while starting) in {} uploads ({} given up or deleted), 0 violations; sent again after a kill: {} % of a chunk (median), \
             {} % (most), {:.1} % of all bytes; {} files hashed, {} pages of Pending images; at rest after the start in {} ms (median), {} ms (99 %)",
            self.kills,
            calls.concat(),
            self.while_starting,
            self.uploads,
            self.ended_otherwise,
            at(&self.again, 50).unwrap_or_default(),
            at(&self.again, 100).unwrap_or_default(),
            self.again_bytes as f64 * 100.0 / self.sent_bytes.max(1) as f64,
            self.looked.available,
            self.looked.pending_pages,
            at(&self.recoveries, 50).unwrap_or_default().as_millis(),
            at(&self.recoveries, 99).unwrap_or_default().as_millis(),
        )
    }
}

/// An upload, as its sender knows it.
pub struct Sending {
    name: String,
    /// None until its announcement is answered, or its record is found.
    pub id: Option<String>,
    pub bytes: Vec<u8>,
    chunk: usize,
    /// How far it has come for certain.
    pub acknowledged: usize,
    /// How far bytes went to the service.
    sent: usize,
    /// Its sender paused, and no chunk has been answered since.
    paused: bool,
}

/// What became of a chunk.
pub enum Sent {
    Whole,
    Refused(Answer),
    /// The process has ended.
    Died,
}

/// The moment of a kill: after so many bytes of the file went to the service, and so much later.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    after: usize,
    later: Duration,
}

/// Who ends the process.
#[derive(Debug, Clone, Copy)]
pub enum End {
    Nobody,
    Sender(Moment),
    Tracer,
}

/// A service, what it acknowledged, and whoever sends to it.
pub struct Bench<'place> {
    place: &'place Place,
    pub running: Option<Running>,
    pub client: Client,
    /// The identifier and the folder of the storage that uploads go to.
    pub storage: String,
    pub folder: PathBuf,
    pub ledger: Ledger,
    pub random: Random,
    made: u64,
    seen: Seen,
}

impl<'place> Bench<'place> {
    pub fn new(place: &'place Place, random: Random) -> Result<Self, String> {
        let (running, folder, ledger) = (place.start()?, place.folder("local"), Ledger::default());
        let (client, storage) = load::set_up(&running, &folder)?;
        Ok(Self { place, running: Some(running), client, storage, folder, ledger, random, made: 0, seen: Seen::default() })
    }

    fn at_offsets(&mut self, count: u64) -> Result<(), String> {
        while self.seen.kills < count {
            let sectors = 60 + self.random.below(700);
            let chunk = 4_096 + self.random.below(120_000) as usize;
            let mut sending = self.sending(u32::try_from(sectors).unwrap(), chunk);
            let mut left = (1 + self.random.below(4)).min(count - self.seen.kills);
            if self.random.percent(10) {
                self.killed_while_announcing(&mut sending)?;
                left -= 1;
            } else {
                self.announced(&mut sending, false)?;
            }
            while left > 0 && sending.acknowledged < sending.bytes.len() {
                let all = sending.bytes.len();
                // At its end it is checked and published, which takes longest.
                let after =
                    if self.random.percent(25) { all } else { all - self.random.below((all - sending.acknowledged) as u64) as usize };
                let later = if self.random.percent(50) { Duration::ZERO } else { self.random.milliseconds(0, 8) };
                self.send(&mut sending, End::Sender(Moment { after, later }))?;
                self.goes_on(&mut sending)?;
                left -= 1;
            }
            self.end(sending)?;
        }
        Ok(())
    }

    /// A kill before every other call of uploads that have `first` calls or a few more, until one passes.
    fn before_calls(&mut self, from: u64, first: u64) -> Result<(), String> {
        let mut nth = from;
        while self.before_call(nth, first)? {
            nth += 2;
        }
        Ok(())
    }

    /// A kill before the Nth call; whether there was one.
    fn before_call(&mut self, nth: u64, first: u64) -> Result<bool, String> {
        let chunks = first.saturating_sub(CALLS_BESIDE).div_ceil(CALLS_OF_A_CHUNK).max(1);
        let sectors = (chunks * CHUNK as u64 / 2_048).max(48);
        let chunk = usize::try_from(sectors * 2_048 / chunks).unwrap();
        let mut sending = self.sending(u32::try_from(sectors).unwrap(), chunk);
        let plan = Plan {
            watched: vec![
                tracer::watched(self.place.media(), &["write", "pwrite64", "fsync", "fdatasync", "rename", "linkat"]),
                // A commit is the flush of the database's log.
                tracer::watched(self.place.database_file().display().to_string(), &["fsync", "fdatasync"]),
            ],
            fault: Fault::Kill,
            nth,
            lacks: None,
        };
        let tracer = Tracer::attach(self.running.as_ref().map_or(0, Running::pid), plan);
        let sent = match self.announced(&mut sending, true) {
            Ok(true) => self.send(&mut sending, End::Tracer),
            other => other.map(drop),
        };
        let report = tracer.finish();
        let context = |why: String| format!("before call {nth}, {:?}: {why}", report.injected);
        sent.map_err(context)?;
        if !report.died {
            self.end(sending).map_err(context)?;
            return if report.injected.is_none() && report.matched >= first {
                Ok(false)
            } else {
                Err(context(format!("the process lives, and the upload has {} calls", report.matched)))
            };
        }
        if let Some(running) = self.running.take() {
            running.has_died();
        }
        self.seen.kills += 1;
        let (call, path) = report.injected.as_deref().and_then(|words| words.split_once(' ')).unwrap_or_default();
        let of = if path.starts_with(&self.place.media()) { call.to_owned() } else { "commit".to_owned() };
        *self.seen.calls.entry(of).or_default() += 1;
        self.goes_on(&mut sending).map_err(context)?;
        self.end(sending).map_err(context)?;
        Ok(true)
    }

    pub fn sending(&mut self, sectors: u32, chunk: usize) -> Sending {
        self.made += 1;
        let (bytes, sha256) = media::iso(self.random.next(), sectors);
        let name = format!("chunks {}", self.made);
        let words = Words { name: name.clone(), note: String::new() };
        self.ledger.images.push(Image::new(words, self.storage.clone(), bytes.len(), sha256));
        Sending { name, id: None, bytes, chunk, acknowledged: 0, sent: 0, paused: false }
    }

    pub fn client(&self) -> Result<Client, String> {
        Ok(self.client.at(self.running.as_ref().ok_or("no service runs")?.address))
    }

    pub fn image(&mut self, sending: &Sending) -> &mut Image {
        self.ledger.images.iter_mut().find(|image| image.words.name == sending.name).unwrap()
    }

    /// Announces an upload; whether that was answered.
    pub fn announced(&mut self, sending: &mut Sending, may_die: bool) -> Result<bool, String> {
        let metadata = [("filename", "image.iso"), ("storage", self.storage.as_str()), ("name", sending.name.as_str())];
        match self.client()?.announce(sending.bytes.len(), &metadata) {
            Ok(answer) if answer.status == 201 => {
                sending.id = answer.location().rsplit_once("/uploads/").map(|(_, id)| id.to_owned());
                let id = sending.id.clone();
                let image = self.image(sending);
                (image.created, image.id) = (Done::Yes, id);
                Ok(true)
            }
            Ok(answer) => Err(format!("the announcement is answered {}", answer.words())),
            Err(_) if may_die => Ok(false),
            Err(lost) => Err(lost.0),
        }
    }

    fn killed_while_announcing(&mut self, sending: &mut Sending) -> Result<(), String> {
        let running = self.running.take().ok_or("no service runs")?;
        let (client, moment) = (self.client.at(running.address), self.random.milliseconds(0, 6));
        let metadata = [("filename", "image.iso"), ("storage", self.storage.as_str()), ("name", sending.name.as_str())];
        let answered = thread::scope(|scope| {
            let asked = scope.spawn(|| client.announce(sending.bytes.len(), &metadata));
            thread::sleep(moment);
            running.kill();
            asked.join().unwrap()
        });
        self.seen.kills += 1;
        if let Ok(answer) = answered {
            if answer.status != 201 {
                return Err(format!("the announcement is answered {}", answer.words()));
            }
            self.image(sending).created = Done::Yes;
        }
        self.goes_on(sending)
    }

    /// Sends chunk after chunk until nothing is missing, or the process has ended.
    pub fn send(&mut self, sending: &mut Sending, end: End) -> Result<(), String> {
        while sending.acknowledged < sending.bytes.len() {
            match self.send_one(sending, end)? {
                Sent::Whole => {}
                Sent::Died => return Ok(()),
                Sent::Refused(answer) => {
                    return Err(format!("the chunk from {} is answered {:?} {}", sending.acknowledged, answer.offset(), answer.words()));
                }
            }
        }
        Ok(())
    }

    /// Sends chunk after chunk until one is refused.
    pub fn until_refused(&mut self, sending: &mut Sending) -> Result<Answer, String> {
        while sending.acknowledged < sending.bytes.len() {
            match self.send_one(sending, End::Nobody)? {
                Sent::Refused(answer) => return Ok(answer),
                Sent::Whole | Sent::Died => {}
            }
        }
        Err("no chunk was refused".to_owned())
    }

    /// Sends the next chunk.
    pub fn send_one(&mut self, sending: &mut Sending, end: End) -> Result<Sent, String> {
        let id = sending.id.clone().ok_or("an upload that nobody knows cannot be sent")?;
        let (from, all, client) = (sending.acknowledged, sending.bytes.len(), self.client()?);
        let to = (from + sending.chunk).min(all);
        let moment = match end {
            End::Sender(moment) if moment.after <= to => Some(moment),
            _ => None,
        };
        let cut = moment.map_or(to, |moment| moment.after.max(from));
        let running = &mut self.running;
        let answered = client.patch(&id, from, &sending.bytes[from..to], cut - from, || {
            if let Some(moment) = moment {
                thread::sleep(moment.later);
                running.take().into_iter().for_each(Running::kill);
            }
            Ok(())
        });
        sending.sent = cut;
        self.seen.sent_bytes += (cut - from) as u64;
        if cut == all {
            self.image(sending).complete = Done::Perhaps;
        }
        self.seen.kills += u64::from(moment.is_some());
        match answered {
            Ok(answer) if answer.status == 204 && answer.offset() == Some(to) => {
                (sending.acknowledged, sending.paused) = (to, false);
                if to == all {
                    let image = self.image(sending);
                    (image.complete, image.interrupted) = (Done::Yes, false);
                }
                Ok(if moment.is_some() { Sent::Died } else { Sent::Whole })
            }
            Ok(answer) => {
                self.image(sending).interrupted = false;
                Ok(Sent::Refused(answer))
            }
            Err(_) if moment.is_some() || matches!(end, End::Tracer) => Ok(Sent::Died),
            Err(lost) => Err(format!("no answer although the process lives: {}", lost.0)),
        }
    }

    /// The process has died: it is started again, tells how far the upload has come, and everything is looked at.
    fn goes_on(&mut self, sending: &mut Sending) -> Result<(), String> {
        self.image(sending).interrupted = !sending.paused;
        if self.random.percent(20) {
            let mut starting = self.place.spawn();
            thread::sleep(self.random.milliseconds(1, 200));
            let _ = starting.kill();
            let _ = starting.wait();
            self.seen.while_starting += 1;
        }
        self.start_again()?;
        if sending.id.is_none() {
            let rows = Records::open(&self.database_url()).images();
            sending.id = rows.into_iter().find(|row| row.name == sending.name).map(|row| row.id);
        }
        let Some(id) = sending.id.clone() else {
            // It was killed before it was made, unless its answer says otherwise.
            self.look()?;
            let sectors = u32::try_from(sending.bytes.len() / 2_048).unwrap();
            *sending = self.sending(sectors, sending.chunk);
            return self.announced(sending, false).map(drop);
        };
        self.tells(sending, &id)?;
        // Some senders do not wait until the service has seen to what the last process left.
        if sending.acknowledged < sending.bytes.len() && self.random.percent(30) {
            if let Sent::Refused(answer) = self.send_one(sending, End::Nobody)? {
                return Err(format!("the chunk from {} is answered {:?} {}", sending.acknowledged, answer.offset(), answer.words()));
            }
            if sending.acknowledged < sending.bytes.len() {
                let paused = self.client()?.post(&format!("/uploads/{id}/pause"), &[]).map_err(|lost| lost.0)?;
                if (paused.status, paused.offset()) != (204, Some(sending.acknowledged)) {
                    return Err(format!("a pause at {} is answered {:?} {}", sending.acknowledged, paused.offset(), paused.words()));
                }
                (self.image(sending).interrupted, sending.paused) = (false, true);
            }
        }
        self.look()?;
        let (told, kept) = (self.head(&id)?, self.recorded(&id));
        if told != sending.acknowledged || told != kept.unwrap_or(sending.bytes.len()) {
            return Err(format!("it has come to {}, then it tells {told}, and {kept:?} is recorded", sending.acknowledged));
        }
        Ok(())
    }

    /// The service is started again.
    pub fn start_again(&mut self) -> Result<(), String> {
        self.running = Some(self.place.start()?);
        Ok(())
    }

    /// The database, as diesel connects to it.
    pub fn database_url(&self) -> String {
        self.place.database_url()
    }

    /// Where the upload goes on: not before what was acknowledged, and not behind what was sent, which is one chunk at most.
    pub fn tells(&mut self, sending: &mut Sending, id: &str) -> Result<(), String> {
        let told = self.head(id)?;
        if told < sending.acknowledged || told > sending.sent {
            return Err(format!(
                "{} bytes were acknowledged, {} were sent, and it goes on from {told}",
                sending.acknowledged, sending.sent
            ));
        }
        let again = sending.sent - told;
        if again > sending.chunk {
            return Err(format!("{again} bytes are to be sent again, and a chunk has {}", sending.chunk));
        }
        self.seen.again_bytes += again as u64;
        self.seen.again.push((again * 100 / sending.chunk) as u64);
        if told > 0 && told < sending.bytes.len() {
            let path = self.folder.join(format!("staging/{id}.part"));
            // A file that was in place before its record was is still there until the upload goes on.
            let part = fs::read(&path).or_else(|_| fs::read(self.folder.join(format!("images/{id}.iso"))));
            let part = part.map_err(|failed| format!("{}: {failed}", path.display()))?;
            if part.get(..told) != sending.bytes.get(..told) {
                return Err(format!("the first {told} bytes of the part are not what was sent"));
            }
        }
        (sending.acknowledged, sending.sent) = (told, told);
        if told == sending.bytes.len() {
            let image = self.image(sending);
            (image.complete, image.interrupted) = (Done::Yes, false);
        }
        Ok(())
    }

    /// Sends what is missing, or gives the upload up, or deletes its image.
    fn end(&mut self, mut sending: Sending) -> Result<(), String> {
        self.seen.uploads += 1;
        let (from, all) = (sending.acknowledged, sending.bytes.len());
        let end = if from == all { 100 } else { self.random.below(100) };
        self.seen.ended_otherwise += u64::from(end < 24);
        let id = sending.id.clone().unwrap_or_default();
        match end {
            0..8 => {
                let cancelled = self.client()?.about_upload("DELETE", &id).map_err(|lost| lost.0)?;
                if cancelled.status != 204 {
                    return Err(format!("giving it up is answered {}", cancelled.words()));
                }
                self.image(&sending).interrupted = false;
            }
            8..16 => self.delete(&sending.name)?,
            16..24 => {
                // Its sender does not know that the image is gone, and sends on.
                let to = (from + sending.chunk).min(all);
                let (client, mut deleted) = (self.client()?, Ok(()));
                let late = client.patch(&id, from, &sending.bytes[from..to], (to - from) / 2, || {
                    deleted = self.delete(&sending.name);
                    Ok(())
                });
                deleted?;
                if let Ok(late) = late.as_ref()
                    && !matches!(late.status, 404 | 409 | 410)
                {
                    return Err(format!("the chunk of a deleted image is answered {}", late.words()));
                }
            }
            _ => self.send(&mut sending, End::Nobody)?,
        }
        self.tidy()?;
        self.look()
    }

    /// A few images are enough.
    pub fn tidy(&mut self) -> Result<(), String> {
        while self.ledger.images.iter().filter(|image| image.deleted == Done::No).count() > IMAGES {
            let oldest = self.ledger.images.iter().find(|image| image.deleted == Done::No).unwrap().words.name.clone();
            self.delete(&oldest)?;
        }
        Ok(())
    }

    fn delete(&mut self, name: &str) -> Result<(), String> {
        let (stop, faults) = (AtomicBool::new(false), Mutex::default());
        let storages = [self.storage.clone(), String::new()];
        let mut person = Person::new(self.client()?, self.random.clone(), storages, String::new(), &stop, &faults);
        person.images = std::mem::take(&mut self.ledger.images);
        let at = person.images.iter().position(|image| image.words.name == name).unwrap();
        person.delete(at);
        self.ledger.images = person.images;
        let found = faults.into_inner().unwrap();
        if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
    }

    pub fn look(&mut self) -> Result<(), String> {
        let url = self.database_url();
        let rested = check::wait_for_rest(&url, check::RECOVERS_WITHIN).map_err(|left| left.join("\n"))?;
        self.seen.recoveries.push(rested);
        let client = self.client()?;
        self.seen.looked += check::everything(&url, &mut self.ledger, &client).map_err(|faults| faults.join("\n"))?;
        Ok(())
    }

    pub fn head(&self, id: &str) -> Result<usize, String> {
        let answer = self.client()?.about_upload("HEAD", id).map_err(|lost| lost.0)?;
        match answer.offset() {
            Some(offset) if answer.status == 200 => Ok(offset),
            _ => Err(format!("how far it has come is answered {}", answer.words())),
        }
    }

    /// Bytes of an interrupted upload that are recorded as kept; none once it is complete.
    fn recorded(&self, id: &str) -> Option<usize> {
        let row = Records::open(&self.database_url()).images().into_iter().find(|row| row.id == id)?;
        (row.status != "available").then(|| row.kept.map_or(0, |kept| usize::try_from(kept).unwrap()))
    }
}
