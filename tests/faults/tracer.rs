//! Stops a process before chosen system calls, counts them over all its threads, and lets the Nth one kill it, fail, or do less than asked.
//!
//! `strace` can inject faults as well, but it counts for each thread by itself; here threads share the work, and the loop over N must
//! not leave a call out. Short writes are real ones: the call is made with one byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use nix::{
    errno::Errno,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL before it is carried out.
    Kill,
    /// It is not carried out and answers this; a `close` is, as on Linux.
    Fails(Errno),
    /// It writes one byte.
    Short,
}

/// Which call.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is counted.
    pub watched: Vec<Watched>,
    pub fault: Fault,
    /// The first one is 1.
    pub nth: u64,
    /// What the file system cannot do: that call always answers this.
    pub lacks: Option<(u64, Errno)>,
}

/// Calls on files below a folder.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Their paths begin with this.
    pub below: String,
    /// Numbers of system calls.
    pub calls: Vec<u64>,
}

/// Claiming room beforehand, as some file systems cannot.
pub const NO_FALLOCATE: (u64, Errno) = (285, Errno::EOPNOTSUPP);
/// Renaming without replacing, as some file systems cannot: links are made instead.
pub const NO_RENAMEAT2: (u64, Errno) = (RENAMEAT2, Errno::EINVAL);

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Matching calls.
    pub matched: u64,
    /// The call at which the fault was injected.
    pub injected: Option<String>,
    /// Matching calls after it.
    pub after: Vec<String>,
    /// The process is gone, and the system has taken it back.
    pub died: bool,
}

/// A process that is being watched.
pub struct Tracer {
    pid: Pid,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Report>,
}

/// Calls by name, with the numbers that they have on x86-64.
pub const NUMBERS: [(&str, &[u64]); 13] = [
    ("write", &[1, 20]),
    ("pwrite64", &[18, 296, 328]),
    ("openat", &[257, 437, 2]),
    ("fsync", &[74]),
    ("fdatasync", &[75]),
    ("linkat", &[265, 86]),
    ("rename", &[264, 316, 82]),
    ("unlinkat", &[263, 87]),
    ("close", &[3]),
    ("ftruncate", &[77]),
    ("fallocate", &[285]),
    ("mkdirat", &[258, 83]),
    ("fchmod", &[91]),
];
const CLOSE: u64 = 3;
const RENAMEAT2: u64 = 316;
const OPENAT_AND_LIKE: [u64; 4] = [257, 437, 263, 258];
const TWO_FOLDERS: [u64; 3] = [264, 316, 265];
const PATH_FIRST: [u64; 5] = [2, 82, 86, 87, 83];

/// Calls by their names.
pub fn watched(below: String, calls: &[&str]) -> Watched {
    Watched { below, calls: calls.iter().flat_map(|call| numbers(call)).copied().collect() }
}

fn numbers(name: &str) -> &'static [u64] {
    NUMBERS.iter().find(|(call, _)| *call == name).unwrap_or_else(|| panic!("no call is known as {name}")).1
}

fn name(number: u64) -> &'static str {
    NUMBERS.iter().find(|(_, numbers)| numbers.contains(&number)).map_or("?", |(name, _)| name)
}

impl Tracer {
    /// Begins to watch a process; comes back when all its threads are watched.
    pub fn attach(pid: u32, plan: Plan) -> Self {
        if !cfg!(target_arch = "x86_64") {
            panic!("calls are told apart by their numbers on x86-64; this machine has others");
        }
        let pid = Pid::from_raw(i32::try_from(pid).unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let (send, ready) = mpsc::channel();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut watch = Watch {
                pid,
                plan,
                stop: stopped,
                threads: BTreeSet::new(),
                calls: BTreeMap::new(),
                probes: BTreeMap::new(),
                report: Report::default(),
            };
            watch.seize();
            let _ = send.send(());
            watch.run();
            watch.report
        });
        ready.recv().expect("the process could be watched: this needs root, or kernel.yama.ptrace_scope below 2");
        Self { pid, stop, thread }
    }

    /// Whether the process has ended, so that nothing is left to watch.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the watch; the process goes on, if it lives.
    pub fn finish(self) -> Report {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes whoever waits for the next stop; the process itself never sees this signal.
        if !self.thread.is_finished() {
            let _ = kill(self.pid, Signal::SIGURG);
        }
        self.thread.join().expect("the tracer ends by itself")
    }
}

/// A call under way.
enum Under {
    Way,
    /// Its answer is replaced.
    Answers(Errno),
}

struct Watch {
    pid: Pid,
    plan: Plan,
    stop: Arc<AtomicBool>,
    threads: BTreeSet<Pid>,
    calls: BTreeMap<Pid, Under>,
    probes: BTreeMap<Pid, bool>,
    report: Report,
}

impl Watch {
    fn seize(&mut self) {
        loop {
            let mut new = 0;
            for entry in fs::read_dir(format!("/proc/{}/task", self.pid)).expect("the process lives") {
                let Ok(thread) = entry.map(|entry| entry.file_name().to_string_lossy().parse::<i32>().unwrap()) else { continue };
                let thread = Pid::from_raw(thread);
                if self.threads.contains(&thread) {
                    continue;
                }
                match ptrace::seize(thread, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE) {
                    Ok(()) => {
                        let _ = ptrace::interrupt(thread);
                        self.threads.insert(thread);
                        new += 1;
                    }
                    // It ended meanwhile, or it came with its parent.
                    Err(Errno::ESRCH) => {}
                    Err(Errno::EPERM) if self.threads.len() > 1 => {
                        self.threads.insert(thread);
                    }
                    Err(failed) => panic!("thread {thread} cannot be watched: {failed}"),
                }
            }
            if new == 0 {
                return;
            }
        }
    }

    fn run(&mut self) {
        let mut told = false;
        while !self.threads.is_empty() {
            let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            };
            if self.stop.load(Ordering::SeqCst) && !told {
                told = true;
                for thread in &self.threads {
                    let _ = ptrace::interrupt(*thread);
                }
            }
            match status {
                WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..) => {
                    self.threads.remove(&thread);
                    if thread == self.pid {
                        self.report.died = true;
                    }
                }
                WaitStatus::PtraceSyscall(thread) => {
                    self.threads.insert(thread);
                    self.at_call(thread);
                    self.go_on(thread, None, told);
                }
                WaitStatus::PtraceEvent(thread, ..) => {
                    self.threads.insert(thread);
                    self.go_on(thread, None, told);
                }
                WaitStatus::Stopped(thread, signal) => {
                    self.threads.insert(thread);
                    self.go_on(thread, Some(signal).filter(|signal| *signal != Signal::SIGURG), told);
                }
                _ => {}
            }
        }
    }

    fn go_on(&mut self, thread: Pid, signal: Option<Signal>, told: bool) {
        // An answer that is still to be replaced is waited for.
        if told && !matches!(self.calls.get(&thread), Some(Under::Answers(_))) {
            let _ = ptrace::detach(thread, signal);
            self.threads.remove(&thread);
        } else {
            let _ = ptrace::syscall(thread, signal);
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn at_call(&mut self, thread: Pid) {
        if let Some(under) = self.calls.remove(&thread) {
            // Its end.
            if let (Under::Answers(errno), Ok(mut registers)) = (under, ptrace::getregs(thread)) {
                registers.rax = i64::from(-(errno as i32)).cast_unsigned();
                let _ = ptrace::setregs(thread, registers);
            }
            return;
        }
        self.calls.insert(thread, Under::Way);
        let Ok(mut registers) = ptrace::getregs(thread) else { return };
        let number = registers.orig_rax;
        let lacks = self.plan.lacks.filter(|(call, _)| *call == number).map(|(_, errno)| errno);
        let watched: Vec<&Watched> =
            self.plan.watched.iter().filter(|watched| lacks.is_some() || watched.calls.contains(&number)).collect();
        if watched.is_empty() {
            return;
        }
        let paths = self.paths(number, [registers.rdi, registers.rsi, registers.rdx, registers.r10]);
        let here = |path: &String| watched.iter().any(|one| path.starts_with(one.below.as_str())) && !path.contains("/.vmimg-probe-");
        if !paths.iter().any(here) || self.is_probe(thread) {
            return;
        }
        if let Some(errno) = lacks {
            registers.orig_rax = u64::MAX;
            self.calls.insert(thread, Under::Answers(errno));
            let _ = ptrace::setregs(thread, registers);
            return;
        }
        let words = format!("{} {}", name(number), paths.join(" → "));
        if self.report.injected.is_some() {
            self.report.after.push(words);
            return;
        }
        // A write of one byte cannot be shorter.
        if self.plan.fault == Fault::Short && registers.rdx < 2 {
            return;
        }
        self.report.matched += 1;
        if self.report.matched != self.plan.nth {
            return;
        }
        self.report.injected = Some(words);
        match self.plan.fault {
            Fault::Kill => {
                let _ = kill(self.pid, Signal::SIGKILL);
            }
            Fault::Fails(errno) => {
                if number != CLOSE {
                    registers.orig_rax = u64::MAX;
                    let _ = ptrace::setregs(thread, registers);
                }
                self.calls.insert(thread, Under::Answers(errno));
            }
            Fault::Short => {
                registers.rdx = 1;
                let _ = ptrace::setregs(thread, registers);
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn at_call(&mut self, _: Pid) {}

    /// The files that a call is about.
    fn paths(&self, number: u64, arguments: [u64; 4]) -> Vec<String> {
        let [first, second, third, fourth] = arguments;
        if TWO_FOLDERS.contains(&number) {
            vec![self.at(first, second), self.at(third, fourth)]
        } else if OPENAT_AND_LIKE.contains(&number) {
            vec![self.at(first, second)]
        } else if PATH_FIRST.contains(&number) {
            vec![self.text(first)]
        } else {
            vec![self.descriptor(first)]
        }
    }

    fn at(&self, folder: u64, name: u64) -> String {
        let name = self.text(name);
        if name.starts_with('/') { name } else { format!("{}/{name}", self.descriptor(folder)) }
    }

    fn descriptor(&self, number: u64) -> String {
        // Only its lower half counts: -100 is the present folder.
        let number = (number & 0xffff_ffff) as u32;
        let link = if number.cast_signed() < 0 { format!("/proc/{}/cwd", self.pid) } else { format!("/proc/{}/fd/{number}", self.pid) };
        fs::read_link(link).map(|path| path.to_string_lossy().trim_end_matches(" (deleted)").to_owned()).unwrap_or_default()
    }

    fn text(&self, address: u64) -> String {
        let Ok(memory) = File::open(format!("/proc/{}/mem", self.pid)) else { return String::new() };
        let mut bytes = vec![0; 4_096];
        // Near the end of a mapping less can be read.
        let read = memory.read_at(&mut bytes, address).or_else(|_| memory.read_at(&mut bytes[..256], address)).unwrap_or(0);
        let end = bytes[..read].iter().position(|byte| *byte == 0).unwrap_or(read);
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    /// The threads that only look whether a storage answers come and go by the clock; what they do is no part of the work.
    fn is_probe(&mut self, thread: Pid) -> bool {
        let pid = self.pid;
        *self
            .probes
            .entry(thread)
            .or_insert_with(|| fs::read_to_string(format!("/proc/{pid}/task/{thread}/comm")).is_ok_and(|name| name.starts_with("probe ")))
    }
}
