//! The disk that records, and disks that are built from the record.
//!
//! A new file system lies in a file; QEMU's storage daemon offers that file through FUSE and writes every write and flush into a log, in the
//! format of the kernel's dm-log-writes. A loop device on it is what gets mounted. Making the file system is not recorded.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::mount::{MountFlags, UnmountFlags};

use crate::{Result, fail};

/// Bytes of a disk: what the service keeps free on every storage, room for the images, and the least that mkfs.xfs makes.
pub const DISK_BYTES: u64 = 320 << 20;

/// The programs that are started, and where Debian has them.
const PROGRAMS: [(&str, &str); 5] = [
    ("unshare", "util-linux"),
    ("losetup", "mount"),
    ("mkfs.ext4", "e2fsprogs"),
    ("qemu-storage-daemon", "qemu-system-common"),
    ("strace", "strace"),
];

/// Fails with words for all that this machine lacks.
pub fn look_for_what_is_needed(short: bool) -> Result<()> {
    let mut missing = Vec::new();
    let more: &[_] = if short { &[] } else { &[("mkfs.xfs", "xfsprogs"), ("mkfs.btrfs", "btrfs-progs")] };
    if !rustix::process::geteuid().is_root() {
        missing.push("the rights of root (for mounts and loop devices)".to_owned());
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        let is_device = fs::metadata(device).is_ok_and(|about| about.file_type().is_char_device());
        if !is_device {
            missing.push(format!("{device} (a container must be given it)"));
        } else if let Err(failed) = File::options().read(true).write(true).open(device) {
            missing.push(format!("{device} ({failed})"));
        }
    }
    for (program, package) in PROGRAMS.iter().chain(more) {
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        if !path.split(':').any(|folder| Path::new(folder).join(program).is_file()) {
            missing.push(format!("{program} (Debian's package {package})"));
        }
    }
    if missing.is_empty() { Ok(()) } else { fail(format!("power cuts cannot be tried here. Missing: {}.", missing.join("; "))) }
}

/// Runs a program to its end; what it printed.
pub fn call(program: &str, arguments: &[&str]) -> Result<String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let done = Command::new(program).args(arguments).env("PATH", path).stdin(Stdio::null()).output();
    let done = done.map_err(|failed| format!("{program}: {failed}"))?;
    if !done.status.success() {
        return fail(format!("{program} {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// The end of a log, for messages.
pub fn last_lines(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// The loop devices that this process has.
static LOOPS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn loops() -> MutexGuard<'static, Vec<String>> {
    LOOPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Gives back what outlives this process, which is about to be ended by a signal.
pub fn give_back() {
    for device in loops().drain(..) {
        let _ = call("losetup", &["-d", &device]);
    }
}

/// A loop device on a file. Given back when dropped.
pub struct Loop {
    pub device: String,
}

impl Loop {
    /// Puts a free loop device on `file`.
    pub fn on(file: &Path) -> Result<Self> {
        let name = file.display().to_string();
        // Somebody else may take the free device between the question and the deed.
        let mut last = String::new();
        for _ in 0..20 {
            match call("losetup", &["--find", "--show", &name]) {
                Ok(device) => {
                    loops().push(device.clone());
                    return Ok(Self { device });
                }
                Err(failed) => last = failed.to_string(),
            }
            // In a container the kernel makes a device that has no name yet.
            let free = call("losetup", &["--find"])?;
            let number = free.trim_start_matches("/dev/loop").parse::<u32>();
            if let (Ok(number), false) = (number, Path::new(&free).exists()) {
                let _ = call("mknod", &["-m", "0600", &free, "b", "7", &number.to_string()]);
            }
            sleep(Duration::from_millis(50));
        }
        fail(format!("no loop device could be had: {last}"))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        loops().retain(|device| *device != self.device);
        let _ = call("losetup", &["-d", &self.device]);
    }
}

/// What is made on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    Xfs,
    Btrfs,
}

impl FileSystem {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The program that makes it, and its arguments.
    fn make(self, disk: &str) -> Result<()> {
        match self {
            Self::Ext4 => {
                let inodes = "lazy_itable_init=0,lazy_journal_init=0";
                call("mkfs.ext4", &["-q", "-F", "-b", "4096", "-N", "1024", "-J", "size=4", "-E", inodes, disk])
            }
            Self::Xfs => call("mkfs.xfs", &["-q", "-f", disk]),
            Self::Btrfs => call("mkfs.btrfs", &["-q", "-f", disk]),
        }
        .map(drop)
    }

    /// Mounts one, which replays its journal. Several copies of one disk can be mounted at once.
    pub fn mount(self, device: &str, at: &Path) -> std::io::Result<Mounted> {
        let options = if self == Self::Xfs { Some(c"nouuid") } else { None };
        rustix::mount::mount(device, at, self.name(), MountFlags::NOATIME, options)?;
        Ok(Mounted { at: at.to_owned() })
    }
}

/// A mounted disk. Unmounted when dropped.
pub struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// Mounts a file system in memory.
    pub fn memory(at: &Path, bytes: u64) -> std::io::Result<Self> {
        let data = std::ffi::CString::new(format!("size={bytes}"))?;
        rustix::mount::mount("power", at, "tmpfs", MountFlags::empty(), Some(data.as_c_str()))?;
        Ok(Self { at: at.to_owned() })
    }

    /// Unmounts it, waiting for those who are just leaving.
    pub fn unmount(self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            match rustix::mount::unmount(&self.at, UnmountFlags::NOFOLLOW) {
                Ok(()) => {
                    std::mem::forget(self);
                    return Ok(());
                }
                Err(rustix::io::Errno::BUSY) if Instant::now() < until => sleep(Duration::from_millis(5)),
                Err(failed) => return fail(format!("{} cannot be unmounted: {failed}", self.at.display())),
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.at, UnmountFlags::DETACH);
    }
}

/// A disk that records. Its parts are given up in the order in which they stand here.
pub struct Recorder {
    mounted: Option<Mounted>,
    device: Option<Loop>,
    daemon: Daemon,
    log: PathBuf,
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Recorder {
    /// Makes the disk in `folder` and mounts it at `at`. `base.raw` is the disk before, `log.raw` the record.
    pub fn start(folder: &Path, at: &Path, file_system: FileSystem) -> Result<Self> {
        let path = |name: &str| folder.join(name).display().to_string();
        let (disk, base, log, export) = (path("disk.raw"), path("base.raw"), path("log.raw"), path("export.img"));
        File::create(&disk)?.set_len(DISK_BYTES)?;
        File::create(&log)?.set_len(4 << 30)?;
        File::create(&export)?;
        file_system.make(&disk)?;
        call("cp", &["--sparse=always", &disk, &base])?;
        // What the recorded disk is asked to flush need not be flushed by the disk below it.
        let below = |node: &str, file: &str| format!("driver=file,node-name={node},filename={file},cache.no-flush=on");
        let daemon = Command::new("qemu-storage-daemon")
            .args(["--blockdev", &below("disk", &disk), "--blockdev", &below("log", &log)])
            .args([
                "--blockdev",
                "driver=blklogwrites,node-name=recorded,file=disk,log=log,log-sector-size=512,log-super-update-interval=1",
            ])
            .args(["--export", &format!("type=fuse,id=export,node-name=recorded,mountpoint={export},writable=on")])
            .stdin(Stdio::null())
            .stderr(File::create(folder.join("qemu.log"))?)
            .spawn()?;
        let mut daemon = Daemon(daemon);
        let until = Instant::now() + Duration::from_secs(20);
        // The export is there when the empty file has become one of the disk's length.
        while fs::metadata(&export)?.len() != DISK_BYTES {
            if let Some(ended) = daemon.0.try_wait()? {
                return fail(format!("qemu-storage-daemon ended with {ended}: {}", last_lines(&folder.join("qemu.log"))));
            }
            if Instant::now() > until {
                return fail(format!("qemu-storage-daemon offers no disk: {}", last_lines(&folder.join("qemu.log"))));
            }
            sleep(Duration::from_millis(20));
        }
        let device = Loop::on(Path::new(&export))?;
        fs::create_dir_all(at)?;
        let mounted = file_system.mount(&device.device, at).map_err(|failed| format!("the new disk cannot be mounted: {failed}"))?;
        Ok(Self { mounted: Some(mounted), device: Some(device), daemon, log: PathBuf::from(log) })
    }

    /// The program that offers the disk. When it ends, the disk is gone.
    #[allow(dead_code, reason = "for tests/faults, which takes disks away")]
    pub fn daemon(&self) -> u32 {
        self.daemon.0.id()
    }

    /// The log's counter, to be read at any moment.
    pub fn counter(&self) -> Result<Counter> {
        Ok(Counter(File::open(&self.log)?))
    }

    /// Ends the record. What is still in memory is not written out any more: `entries` of the log count.
    pub fn stop(mut self) -> Result<()> {
        if let Some(mounted) = self.mounted.take() {
            mounted.unmount()?;
        }
        self.device = None;
        // Asked to stop, it writes the rest of its log.
        let pid = rustix::process::Pid::from_child(&self.daemon.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.daemon.0.wait()?;
        Ok(())
    }
}

/// How many writes and flushes there have been.
#[derive(Debug)]
pub struct Counter(File);

impl Counter {
    /// The number now.
    pub fn now(&self) -> Result<u64> {
        let mut number = [0; 8];
        self.0.read_exact_at(&mut number, 16)?;
        Ok(u64::from_le_bytes(number))
    }
}

/// A disk in memory, on which one crashed state after another is laid.
pub struct Scratch {
    file: File,
    pub device: Loop,
    pub mount_point: PathBuf,
}

impl Scratch {
    /// In `folder`, which should lie in memory.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("{name}.raw"));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.set_len(DISK_BYTES)?;
        let mount_point = folder.join(name);
        fs::create_dir_all(&mount_point)?;
        Ok(Self { file, device: Loop::on(&path)?, mount_point })
    }

    /// Lays these blocks of `block_bytes` on the empty disk.
    pub fn lay<'blocks>(&self, blocks: impl Iterator<Item = (u64, &'blocks [u8])>) -> Result<()> {
        use rustix::fs::FallocateFlags;
        rustix::fs::fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, DISK_BYTES)?;
        for (offset, block) in blocks {
            self.file.write_all_at(block, offset)?;
        }
        Ok(())
    }
}

/// Reads a sparse file by 4 KiB, leaving out what is zero.
pub fn read_blocks(path: &Path, mut each: impl FnMut(u64, &[u8])) -> Result<()> {
    let mut file = File::open(path)?;
    let mut block = [0; 4096];
    let bytes = file.metadata()?.size();
    for number in 0..bytes / 4096 {
        file.read_exact(&mut block)?;
        if block.iter().any(|byte| *byte != 0) {
            each(number, &block);
        }
    }
    Ok(())
}
