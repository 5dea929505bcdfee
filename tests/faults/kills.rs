//! F-02: SIGKILL at random moments under load, also while the service starts and recovers; then everything is looked at.

use std::{
    fmt::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    check::{self, Looked},
    client::Client,
    ledger::{Image, Ledger, Roaming},
    load::{self, Mover, Person},
    random::{self, Random},
    service::{Database, Place},
};

/// People who work at once on one service.
const PEOPLE: usize = 3;

/// What the command line asks for.
#[derive(Debug, Clone, Args)]
pub struct Wanted {
    /// Kills in all
    #[arg(long, default_value_t = 200)]
    count: u64,
    /// How many of them with PostgreSQL; a quarter unless said otherwise
    #[arg(long)]
    postgres: Option<u64>,
    /// Services side by side with SQLite; one more works with PostgreSQL
    #[arg(long, default_value_t = 2)]
    lanes: u64,
    /// The same seed gives the same moments and actions
    #[arg(long)]
    seed: Option<u64>,
}

/// What one service went through.
#[derive(Debug, Default, Clone)]
struct Course {
    kills: u64,
    while_starting: u64,
    acknowledged: u64,
    unknown: u64,
    looked: Looked,
    recoveries: Vec<Duration>,
    starts: Vec<Duration>,
}

/// Kills as often as wanted, and says what was seen.
pub fn run(wanted: &Wanted) -> Result<(), String> {
    let seed = wanted.seed.unwrap_or_else(random::seed);
    let postgres = wanted.postgres.unwrap_or(wanted.count / 4).min(wanted.count);
    let sqlite = wanted.count - postgres;
    let mut lanes: Vec<(Database, u64)> = Vec::new();
    let each = sqlite.div_ceil(wanted.lanes.max(1));
    let mut left = sqlite;
    while left > 0 {
        lanes.push((Database::Sqlite, each.min(left)));
        left -= each.min(left);
    }
    if postgres > 0 {
        lanes.push((Database::Postgres, postgres));
    }
    println!("kills: seed {seed}, {sqlite} with SQLite, {postgres} with PostgreSQL");
    let began = Instant::now();
    let results: Vec<(Database, Result<Course, String>)> = thread::scope(|scope| {
        let running: Vec<_> = lanes
            .iter()
            .enumerate()
            .map(|(number, (database, count))| {
                let work = move || lane(*database, *count, seed, number as u64);
                (*database, scope.spawn(work))
            })
            .collect();
        running.into_iter().map(|(database, lane)| (database, lane.join().unwrap_or_else(|panic| Err(super::broke_off(&*panic))))).collect()
    });
    let mut failed = String::new();
    for (database, result) in results {
        match result {
            Ok(done) => println!("{}", done.words(database)),
            Err(why) => writeln!(failed, "{database:?}: {why}").unwrap(),
        }
    }
    println!("kills: {} s", began.elapsed().as_secs());
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("{failed}Again: kills --count {} --lanes {} --postgres {postgres} --seed {seed}", wanted.count, wanted.lanes))
    }
}

/// What so many in a hundred do not exceed.
pub fn at<T: Ord + Copy>(all: &[T], percent: usize) -> Option<T> {
    let mut sorted = all.to_vec();
    sorted.sort();
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
}

impl Course {
    fn words(&self, database: Database) -> String {
        let at = |spans: &[Duration], percent| at(spans, percent).unwrap_or_default().as_millis();
        format!(
            "{database:?}: {} kills ({} while starting), {} changes acknowledged, {} unanswered, 0 violations; looked at {} rows, {} Available files \
             ({} MiB hashed), {} pages of Pending images, {} leftovers of a moment swept; at rest after the start in {} ms (median), {} ms (99 %); start {} ms (median)",
            self.kills,
            self.while_starting,
            self.acknowledged,
            self.unknown,
            self.looked.images,
            self.looked.available,
            self.looked.bytes_hashed >> 20,
            self.looked.pending_pages,
            self.looked.temporary,
            at(&self.recoveries, 50),
            at(&self.recoveries, 99),
            at(&self.starts, 50),
        )
    }
}

/// One service, killed and started again so many times.
fn lane(database: Database, count: u64, seed: u64, number: u64) -> Result<Course, String> {
    let mut place = Place::new(database);
    let mut result = Course::default();
    let done = lane_in(&place, count, seed, number, &mut result);
    done.map(|()| result.clone()).map_err(|why| {
        let log = place.last_of_log();
        format!(
            "after {} kills of lane {number} with seed {seed}:\n{why}\n\nfiles and log stay in {}\n{log}\n",
            result.kills,
            place.keep().display()
        )
    })
}

fn lane_in(place: &Place, count: u64, seed: u64, number: u64, result: &mut Course) -> Result<(), String> {
    let mut random = Random::for_part(seed, number);
    let mut running = place.start()?;
    let (client, local) = load::set_up(&running, &place.folder("local"))?;
    let roaming = load::add_datastore(&client, "roaming", &place.folder("roaming"))?;
    let mut ledger = Ledger { roaming: Roaming { id: roaming.clone(), removed: Some(false), ..Roaming::default() }, ..Ledger::default() };
    let storages = [local, roaming];
    let folder = place.folder("roaming").display().to_string();
    while result.kills < count {
        let client = client.at(running.address);
        let faults = Mutex::default();
        let stop = AtomicBool::new(false);
        let moment = random.milliseconds(20, 900);
        let kill = result.kills;
        let mut people: Vec<Person> = (0..PEOPLE)
            .map(|person| {
                let random = Random::for_part(random.next(), person as u64);
                Person::new(client.clone(), random, storages.clone(), format!("k{kill} p{person}"), &stop, &faults)
            })
            .collect();
        for (at, image) in std::mem::take(&mut ledger.images).into_iter().enumerate() {
            people[at % PEOPLE].images.push(image);
        }
        let moves = Random::for_part(random.next(), 99);
        let mut mover = Mover::new(client.clone(), moves, ledger.roaming.clone(), folder.clone(), &stop, &faults);
        thread::scope(|scope| {
            for person in &mut people {
                scope.spawn(|| person.work());
            }
            scope.spawn(|| mover.work());
            thread::sleep(moment);
            let alive = running.is_alive();
            stop.store(true, Ordering::SeqCst);
            if !alive {
                faults.lock().unwrap().push("the process ended by itself".to_owned());
            }
            running.kill();
        });
        result.kills += 1;
        for person in people {
            ledger.acknowledged += person.acknowledged;
            ledger.unknown += person.unknown;
            ledger.images.extend::<Vec<Image>>(person.images);
        }
        ledger.acknowledged += mover.acknowledged;
        ledger.unknown += mover.unknown;
        ledger.roaming = mover.roaming;
        let found = std::mem::take(&mut *faults.lock().unwrap());
        if !found.is_empty() {
            return Err(found.join("\n"));
        }
        // Some processes die while they start and recover.
        if random.percent(20) && result.kills < count {
            let mut starting = place.spawn();
            thread::sleep(random.milliseconds(1, 300));
            let _ = starting.kill();
            let _ = starting.wait();
            result.kills += 1;
            result.while_starting += 1;
        }
        running = place.start()?;
        result.starts.push(running.started_in);
        look(place, &mut ledger, &client.at(running.address), result)?;
        if result.kills % 25 < 2 {
            println!("  {database:?} lane {number}: {} of {count}", result.kills, database = place.database);
        }
    }
    // At the end the storage is back, and nothing may be left on it either.
    if ledger.roaming.removed == Some(true) {
        let client = client.at(running.address);
        let (stop, faults) = (AtomicBool::new(false), Mutex::default());
        let mut mover = Mover::new(client.clone(), random, ledger.roaming.clone(), folder, &stop, &faults);
        mover.bring_back();
        ledger.roaming = mover.roaming;
        let client = client.at(running.address);
        look(place, &mut ledger, &client, result)?;
    }
    (result.acknowledged, result.unknown) = (ledger.acknowledged, ledger.unknown);
    Ok(())
}

fn look(place: &Place, ledger: &mut Ledger, client: &Client, result: &mut Course) -> Result<(), String> {
    let url = place.database_url();
    let rested = check::wait_for_rest(&url, check::RECOVERS_WITHIN).map_err(|left| left.join("\n"))?;
    result.recoveries.push(rested);
    result.looked += check::everything(&url, ledger, client).map_err(|faults| faults.join("\n"))?;
    Ok(())
}
