//! Takes a flush out of the service's way, from outside: strace answers for the kernel that all is flushed, and nothing is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Result, fail};

/// What is not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// The file of an image, before it gets its name.
    File,
    /// The folders between which it is renamed. On ext4 both names are in one transaction of the journal, so that one flush does for both.
    Folders,
    /// The log of SQLite, after a commit.
    Records,
}

const STRACE_LOG: &str = "strace.log";

impl Without {
    /// How many calls were answered without being made; an error if none was.
    pub fn taken_out(self, folder: &Path) -> Result<String> {
        let log = fs::read_to_string(folder.join(STRACE_LOG))?;
        match log.lines().filter(|line| line.contains("(INJECTED)")).count() {
            0 => fail("no flush was taken out, so nothing was proved"),
            n => Ok(format!("{n} flushes were taken out")),
        }
    }
}

/// A strace on the running service. It lets go when dropped.
pub struct Tamper(Child);

impl Tamper {
    /// From now on, the process answers flushes of these paths without doing them.
    pub fn with(folder: &Path, pid: u32, paths: &[PathBuf]) -> Result<Self> {
        let log = fs::File::options().create(true).append(true).open(folder.join(STRACE_LOG))?;
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-y", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:retval=0"]);
        for path in paths {
            strace.arg("-P").arg(path);
        }
        let process = strace.args(["-p", &pid.to_string()]).stdin(Stdio::null()).stderr(log).spawn()?;
        let mut tamper = Self(process);
        let until = Instant::now() + Duration::from_secs(20);
        while !all_traced(pid)? {
            if tamper.0.try_wait()?.is_some() || Instant::now() > until {
                return fail(format!("strace cannot trace the service: {}", crate::disk::last_lines(&folder.join(STRACE_LOG))));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(tamper)
    }
}

impl Drop for Tamper {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        let _ = self.0.wait();
    }
}

fn all_traced(pid: u32) -> Result<bool> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended meanwhile.
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
        if status.lines().any(|line| line.split_whitespace().eq(["TracerPid:", "0"])) {
            return Ok(false);
        }
    }
    Ok(true)
}
