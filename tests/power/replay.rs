//! Goes through a record, write by write, and looks at every disk that a power cut could have left there.

use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    Result, check,
    disk::{self, Mounted, Scratch},
    fail,
    log::{self, Entry, Image, Player, Random},
    restart,
    workload::{Recording, Records},
};

/// How thorough a replay is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    /// Random subsets of the unflushed writes, for each state that has some.
    pub subsets: u64,
    /// Disks on which the service is started.
    pub restarts: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Outcome {
    pub writes: usize,
    pub flushes: usize,
    pub states: usize,
    pub violations: usize,
    pub restarts: usize,
    pub restarts_wrong: usize,
    /// The first violations, in words.
    pub first: Vec<String>,
}

/// States that one worker takes at once.
const STRETCH: usize = 24;

/// Looks at every state.
pub fn run(recording: &Recording, binary: &Path, folder: &Path, plan: &Plan) -> Result<Outcome> {
    let entries = log::read(&folder.join("log.raw"))?;
    if entries.is_empty() {
        return fail("the record is empty");
    }
    // Mounting is mostly waiting.
    let workers = thread::available_parallelism().map_or(2, |cores| 2 * cores.get()).clamp(2, 12);
    let memory = folder.join("memory");
    std::fs::create_dir_all(&memory)?;
    // Given up last, after the loop devices on what lies in it.
    let _in_memory = Mounted::memory(&memory, (workers as u64 + 1) * disk::DISK_BYTES)?;
    let scratches = (0..=workers).map(|number| Scratch::new(&memory, &format!("scratch-{number}"))).collect::<Result<Vec<_>>>()?;
    let chosen = choose(recording, entries.len(), plan);

    let work = Work {
        recording,
        binary,
        folder,
        plan,
        entries: &entries,
        chosen,
        next: AtomicUsize::new(0),
        // Each stretch begins where the one before ended.
        at: Mutex::new((0, Player::new(Image::load(&folder.join("base.raw"))?))),
        found: Mutex::default(),
        restarting: Mutex::new(()),
    };
    let (last, scratches) = scratches.split_last().ok_or("there is no worker")?;
    thread::scope(|scope| {
        let threads: Vec<_> = scratches.iter().map(|scratch| scope.spawn(|| work.run(scratch, last))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| fail("a worker panicked")))
    })?;
    let found = work.found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let writes = entries.iter().filter(|entry| entry.writes()).count();
    let flushes = entries.iter().filter(|entry| entry.flush).count();
    Ok(Outcome { writes, flushes, ..found })
}

/// The states on whose disks the service is started, and by which of their variants.
fn choose(recording: &Recording, entries: usize, plan: &Plan) -> Vec<(usize, u64)> {
    let mut random = Random::new(plan.seed, u64::MAX);
    let mut chosen = Vec::new();
    // Where the records lie elsewhere, a copy of them is needed that belongs to the state.
    let fits = |state: usize| recording.records == Records::Inside || recording.ledger.copy_at(state as u64).is_some();
    let possible: Vec<usize> = (0..=entries).filter(|state| fits(*state)).collect();
    for part in 0..plan.restarts {
        // One from each part of the record, so that none is left out by chance.
        let (from, to) = (possible.len() * part / plan.restarts, possible.len() * (part + 1) / plan.restarts);
        if from < to {
            let state = possible[from + random.below((to - from) as u64) as usize];
            chosen.push((state, random.below(plan.subsets + 1)));
        }
    }
    chosen
}

struct Work<'run> {
    recording: &'run Recording,
    binary: &'run Path,
    folder: &'run Path,
    plan: &'run Plan,
    entries: &'run [Entry],
    chosen: Vec<(usize, u64)>,
    next: AtomicUsize,
    at: Mutex<(usize, Player)>,
    found: Mutex<Outcome>,
    restarting: Mutex<()>,
}

impl Work<'_> {
    /// Takes one stretch after another.
    fn run(&self, scratch: &Scratch, for_restarts: &Scratch) -> Result<()> {
        loop {
            let from = {
                let mut at = self.at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let from = self.next.fetch_add(STRETCH, Ordering::Relaxed);
                let (reached, player) = &mut *at;
                for entry in self.entries.get(*reached..from.min(self.entries.len())).unwrap_or_default() {
                    player.take(entry);
                }
                *reached = from.min(self.entries.len());
                (from, player.clone())
            };
            let (from, mut player) = from;
            if from > self.entries.len() {
                return Ok(());
            }
            for state in from..(from + STRETCH).min(self.entries.len() + 1) {
                if state > from {
                    player.take(&self.entries[state - 1]);
                }
                self.state(state, &player, scratch, for_restarts)?;
            }
        }
    }

    /// The disk after `state` entries: all of them, and subsets.
    fn state(&self, state: usize, player: &Player, scratch: &Scratch, for_restarts: &Scratch) -> Result<()> {
        let subsets = if player.unflushed() == 0 { 0 } else { self.plan.subsets };
        for variant in 0..=subsets {
            let subset;
            let image = if variant == 0 {
                player.all()
            } else {
                subset = player.subset(&mut Random::new(self.plan.seed, state as u64 * 1_000 + variant));
                &subset
            };
            let wrong = self.look(image, scratch, state)?;
            self.note(state, variant, &wrong, |outcome| {
                outcome.states += 1;
                outcome.violations += usize::from(!wrong.is_empty());
            });
            if self.chosen.contains(&(state, variant))
                || (variant == subsets && self.chosen.iter().any(|(at, asked)| *at == state && *asked > subsets))
            {
                let _one = self.restarting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                for_restarts.lay(image.blocks())?;
                let wrong = restart::run(self.recording, self.binary, self.folder, for_restarts, state as u64)?;
                self.note(state, variant, &wrong, |outcome| {
                    outcome.restarts += 1;
                    outcome.restarts_wrong += usize::from(!wrong.is_empty());
                });
            }
        }
        Ok(())
    }

    fn look(&self, image: &Image, scratch: &Scratch, state: usize) -> Result<Vec<String>> {
        scratch.lay(image.blocks())?;
        match self.recording.file_system.mount(&scratch.device.device, &scratch.mount_point) {
            Err(failed) => Ok(vec![format!("the disk cannot be mounted: {failed}")]),
            Ok(mounted) => {
                let wrong = check::run(self.recording, &scratch.mount_point, state as u64);
                mounted.unmount()?;
                Ok(wrong)
            }
        }
    }

    fn note(&self, state: usize, variant: u64, wrong: &[String], count: impl FnOnce(&mut Outcome)) {
        let mut found = self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        count(&mut found);
        if let Some(words) = wrong.first() {
            let how = if variant == 0 { String::new() } else { format!(", subset {variant}") };
            let more = if wrong.len() > 1 { format!(" (and {} more)", wrong.len() - 1) } else { String::new() };
            if found.first.len() < 200 {
                found.first.push(format!("after {state} of {} entries{how}: {words}{more}", self.entries.len()));
            }
        }
    }
}
