//! Fills an empty service with images that nobody uploaded, so that it can be tried out and measured with a million of them.
//!
//! What is made looks like an installation that has grown for years: names as the makers of operating systems give them, a few storages
//! with most of the images, some that are degraded or removed, transfers that stopped, files that are gone. The same seed makes the same
//! records, byte by byte, save for the hashes of passwords.

use std::path::{Path, PathBuf};

use super::{Failure, Service};
use crate::{
    clock::Timestamp,
    db::{
        Tx,
        bulk::{self, AttachmentRow, EventRow, ImageRow, JobRow, MachineRow, Record, UploadRow},
        clusters, people, storages,
    },
    domain::{
        access::Role,
        audit::{Action, ObjectKind, Outcome},
        ids::{ClusterId, HostId, StorageId, UserId},
        image::{FileState, Kind, Stored},
        storage::{self, Health},
        text::{Email, Name, fold},
        upload::Stopped,
    },
    media::os_catalogue,
    secret,
    storage::Directory,
};

/// Rows that are handed to the database at once.
const BATCH: usize = 2_000;
/// When the last image was made, in microseconds: fixed, so that a seed decides everything.
const END: i64 = 1_795_000_000_000_000;
/// Over how long a time the images were made: three years.
const SPAN: i64 = 3 * 365 * 86_400 * 1_000_000;
/// A moment that nobody waits for: what holds until then stays as it is while the service runs.
const FAR: i64 = 4_102_444_800_000_000;
const MIB: u64 = 1 << 20;
/// Of what is rare there are at least so many, if there is room: so that each filter fills a page of a small installation too.
const LEAST: u64 = 60;
/// Fewer images than this are spread evenly over storages and systems.
const SMALL: u64 = 5_000;

/// What to make.
#[derive(Debug, Clone)]
pub struct Plan {
    pub images: u64,
    pub storages: u32,
    pub administrators: u32,
    pub seed: u64,
    /// The password of all the administrators.
    pub password: String,
    /// Whether each Available image gets a file of its size that takes no room. Without, the service finds the files missing.
    pub files: bool,
    /// Whether to go on where there are images already.
    pub add: bool,
}

/// What was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    pub images: u64,
    pub files: u64,
    pub attachments: u64,
    /// The e-mail addresses of the administrators.
    pub administrators: Vec<String>,
}

/// Makes everything, on the calling thread, in one transaction; the files follow.
pub fn run(service: &Service, plan: &Plan, mut say: impl FnMut(&str)) -> Result<Made, Failure> {
    let there = service.db.read_now(|conn| Ok::<_, Failure>(bulk::images(conn)?))?;
    if there > 0 && !plan.add {
        return Err(Failure::refused("seed.not_empty", format!("There are {there} images already. Say --add to make more beside them.")));
    }
    let hashes: Result<Vec<String>, String> = (0..plan.administrators).map(|_| secret::hash_password(&plan.password)).collect();
    let hashes = hashes.map_err(Failure::Broken)?;
    let root = service.config.data_dir.join("seeded").join(plan.seed.to_string());
    let root = std::path::absolute(&root).unwrap_or(root);
    let (made, places) = service.db.write_now(|tx| {
        bulk::without_indexes(tx, |tx| {
            let mut work = Work::begin(tx, plan, &hashes, &root)?;
            work.fill(tx, &mut say)?;
            say("making the indexes");
            Ok::<_, Failure>((work.made, work.places))
        })
    })?;
    say("settling the database");
    bulk::settle(&service.db)?;
    say("making the storages");
    let files = lay_out(&places, plan)?;
    Ok(Made { files, ..made })
}

/// Folders and files of the storages that are there.
fn lay_out(places: &[PlaceMade], plan: &Plan) -> Result<u64, Failure> {
    let broken = |path: &Path, failed: std::io::Error| Failure::Broken(format!("{}: {failed}", path.display()));
    let mut made = 0;
    for place in places.iter().filter(|place| place.health == Health::Healthy) {
        std::fs::create_dir_all(&place.path).map_err(|failed| broken(&place.path, failed))?;
        Directory::initialise(&place.path, place.id, &Timestamp::from_micros(END - SPAN).rfc3339())?;
        for (image, bytes) in place.files.iter().filter(|_| plan.files) {
            let path = place.path.join("images").join(format!("{image}.iso"));
            std::fs::File::create_new(&path).and_then(|file| file.set_len(*bytes)).map_err(|failed| broken(&path, failed))?;
            made += 1;
        }
    }
    Ok(made)
}

/// A storage that was made.
struct PlaceMade {
    id: StorageId,
    path: PathBuf,
    health: Health,
    /// What should lie on it.
    files: Vec<(String, u64)>,
}

struct Work<'plan> {
    plan: &'plan Plan,
    dice: Dice,
    people: Vec<(UserId, String)>,
    places: Vec<PlaceMade>,
    machines: Vec<String>,
    made: Made,
}

impl<'plan> Work<'plan> {
    /// People, clusters, storages and machines.
    fn begin(tx: &mut Tx<'_>, plan: &'plan Plan, hashes: &[String], root: &Path) -> Result<Self, Failure> {
        let mut dice = Dice(plan.seed);
        let start = Timestamp::from_micros(END - SPAN);
        let mut made = Made::default();
        let mut people = Vec::new();
        for (n, hash) in (1_u32..).zip(hashes) {
            let (name, email) = (format!("Administrator {n:02}"), format!("admin{n:02}@example.org"));
            let parsed = Email::parse("email", &email)?;
            let id = match people::by_email(tx.conn(), &parsed.key())? {
                Some(there) => there.id,
                None => {
                    let id = dice.id(start)?;
                    people::insert(tx, id, &parsed, &name, hash, Role::Administrator, start)?;
                    id
                }
            };
            people.push((id, name));
            made.administrators.push(email);
        }
        let mut all_clusters: Vec<(ClusterId, HostId)> = Vec::new();
        for word in ["Berlin", "Oslo", "Lab"] {
            let (cluster, host): (ClusterId, HostId) = (dice.id(start)?, dice.id(start)?);
            clusters::insert(tx, cluster, &Name::parse("name", &format!("{word} {}", plan.seed))?, "", start)?;
            clusters::insert_host(tx, host, cluster, "this machine", start)?;
            all_clusters.push((cluster, host));
        }
        let mut places = Vec::new();
        for n in 1..=plan.storages.max(1) {
            // Of twelve one is removed and two are degraded; the first one never.
            let health = match n % 12 {
                0 => Health::Removed,
                5 | 9 => Health::Degraded,
                _ => Health::Healthy,
            };
            let (cluster, host) = all_clusters[n as usize % all_clusters.len()];
            let kind = if n % 2 == 1 { storage::Kind::Datastore } else { storage::Kind::Local };
            let word = if kind == storage::Kind::Datastore { "nas" } else { "disk" };
            let name = format!("{word}-{n:02} {}", plan.seed);
            let path = root.join(format!("{word}-{n:02}"));
            let new = storages::New {
                id: dice.id(start)?,
                kind,
                host: (kind == storage::Kind::Local).then_some(host),
                name: Name::parse("name", &name)?,
                path: path.display().to_string(),
                capacity_bytes: 16 << 40,
                free_bytes: 2 << 40,
                unknown_files: 0,
            };
            storages::insert(tx, &new, start)?;
            if kind == storage::Kind::Datastore {
                storages::connect(tx, new.id, cluster, start)?;
            }
            if health == Health::Degraded {
                let seen = storages::by_id(tx.conn(), new.id)?.ok_or(Failure::NotFound)?;
                storages::record_look(tx, &seen, health, Some("There is nothing there."), None, Timestamp::from_micros(END))?;
            }
            if health == Health::Removed {
                storages::remove(tx, new.id, Timestamp::from_micros(END))?;
            }
            places.push(PlaceMade { id: new.id, path, health, files: Vec::new() });
        }
        let mut machines = Vec::new();
        let mut rows = Vec::new();
        for n in 0..(plan.images / 100).clamp(1, 5_000) {
            let id = dice.uuid(start);
            let word = dice.pick(&["web", "db", "build", "mail", "cache", "ldap", "git", "metrics"]);
            let cluster = dice.pick(&all_clusters).0.to_string();
            machines.push(id.clone());
            rows.push(MachineRow { id, cluster_id: cluster, name: format!("{word}-{n:04}"), created_at: start.micros() });
        }
        insert_all(tx, &rows)?;
        Ok(Self { plan, dice, people, places, machines, made })
    }

    /// Images, oldest first, with what belongs to them.
    fn fill(&mut self, tx: &mut Tx<'_>, say: &mut impl FnMut(&str)) -> Result<(), Failure> {
        let total = self.plan.images;
        let mut batch = Batch::default();
        for n in 0..total {
            self.image(n, &mut batch);
            if batch.images.len() == BATCH {
                batch.insert(tx)?;
            }
            if (n + 1) % 100_000 == 0 {
                say(&format!("{} of {total} images", n + 1));
            }
        }
        batch.insert(tx)?;
        self.made.images = total;
        Ok(())
    }

    fn image(&mut self, n: u64, batch: &mut Batch) {
        let dice = &mut self.dice;
        let step = SPAN / i64::try_from(self.plan.images.max(1)).unwrap_or(i64::MAX);
        let created = END - SPAN + step * i64::try_from(n).unwrap_or(0) + dice.below(step.unsigned_abs().max(1)).cast_signed();
        let at = Timestamp::from_micros(created);
        let id = dice.uuid(at);
        let small = self.plan.images < SMALL;
        let rare = Rare::of(n, self.plan.images);
        // The first storages hold most of the images; the very first is healthy.
        let count = self.places.len() as u64;
        let place = match rare {
            Some(_) => 0,
            None if small => dice.below(count) as usize,
            None => dice.below(count).min(dice.below(count)) as usize,
        };
        let (health, storage) = (self.places[place].health, self.places[place].id.to_string());
        let (user, user_name) = match self.people.as_slice() {
            [] => (None, "command line".to_owned()),
            people => {
                let (id, name) = dice.pick(people);
                (Some(id.to_string()), name.clone())
            }
        };
        let line = Line::choose(dice, small);
        let kind = match (rare, dice.below(100)) {
            (Some(Rare::Creating), _) | (None, 75..94) => Kind::Base,
            (None, 94..) => Kind::VirtualDisk,
            _ => Kind::Installation,
        };
        let status = match rare {
            Some(Rare::Uploading) => Stored::Uploading,
            Some(Rare::Creating) => Stored::Creating,
            Some(Rare::Pending) => Stored::Pending,
            // What is being deleted waits for a storage that is away.
            None if health != Health::Healthy && !is_needle(n, self.plan.images) && dice.below(50) == 0 => Stored::Deleting,
            _ => Stored::Available,
        };
        let name = name_of(n, self.plan.images, kind, line, at, dice);
        let size = match (status, kind) {
            // So small that what is promised to them does not fill a disk.
            (Stored::Uploading, _) => dice.below(32) * MIB + 2_048 * 300,
            (Stored::Pending | Stored::Creating, _) => 0,
            (_, Kind::Installation) => line.bytes(dice),
            _ => (1 + dice.below(64 * 1_024)) * MIB,
        };
        let is_complete = status == Stored::Available || status == Stored::Deleting;
        let file_state = match rare {
            Some(Rare::Spoilt) if dice.below(3) == 0 => FileState::Changed,
            Some(Rare::Spoilt) => FileState::Missing,
            _ => FileState::Sound,
        };
        let needs = os_catalogue::find(line.os);
        let since = created + i64::from(is_complete) * 90_000_000;
        let uploaded = kind == Kind::Installation;
        let figure = |least: u32| i32::try_from(least).unwrap_or(i32::MAX);
        let key = fold(&name);
        batch.images.push(ImageRow {
            id: id.clone(),
            kind: kind.as_str(),
            status: status.as_str(),
            storage_id: storage.clone(),
            search_key: key.clone(),
            name_key: (status != Stored::Deleting).then_some(key),
            note: if dice.below(10) == 0 {
                format!("Kept for the {} team.", dice.pick(&["network", "build", "support"]))
            } else {
                String::new()
            },
            os: line.os,
            min_vcpu: needs.map_or(1, |system| i32::from(system.min_vcpu)),
            min_memory_mib: needs.map_or(1, |system| figure(system.min_memory_mib)),
            min_disk_gib: needs.map_or(0, |system| figure(system.min_disk_gib)),
            size_bytes: size.cast_signed(),
            sha256: is_complete.then(|| dice.digest()),
            format: (uploaded && is_complete).then_some("iso9660"),
            label: (uploaded && is_complete).then(|| name.chars().take(32).collect::<String>().to_uppercase()),
            publisher: None,
            boot: (uploaded && is_complete).then(|| *dice.pick(&["bios,uefi", "bios,uefi", "uefi", "bios"])),
            file_name: if uploaded { format!("{name}.iso") } else { String::new() },
            file_state: file_state.as_str(),
            file_checked_at: is_complete.then_some(since),
            reserved_bytes: if status == Stored::Uploading { size.cast_signed() } else { 0 },
            status_since: since,
            created_at: created,
            created_by: user.clone(),
            created_by_name: user_name.clone(),
            version: 1,
            name: name.clone(),
        });
        if is_complete && status == Stored::Available && file_state != FileState::Missing {
            let bytes = if file_state == FileState::Changed { size + 512 } else { size };
            self.places[place].files.push((id.clone(), bytes));
        }
        if status == Stored::Deleting {
            batch.jobs.push(JobRow {
                id: dice.uuid(at),
                kind: "remove_files",
                storage_id: storage,
                image_id: id.clone(),
                attempts: 3,
                run_after: FAR,
                created_at: since,
            });
        }
        let begun = status == Stored::Pending && uploaded && dice.below(3) > 0;
        if status == Stored::Uploading || begun {
            let stopped = begun.then(|| *dice.pick(&[Stopped::NeverSent, Stopped::Interrupted, Stopped::ServiceStopped, Stopped::Refused]));
            let declared = if begun { line.bytes(dice) } else { size };
            let sent = if stopped == Some(Stopped::NeverSent) { 0 } else { dice.below(declared.max(1)) };
            batch.uploads.push(UploadRow {
                image_id: id.clone(),
                device: dice.digest(),
                user_id: user.clone(),
                user_name: user_name.clone(),
                instance: dice.uuid(at),
                fence: 1,
                declared_bytes: declared.cast_signed(),
                offset_bytes: sent.cast_signed(),
                lease_until: stopped.is_none().then_some(FAR),
                begun_at: created,
                stopped_at: stopped.map(|_| created + 60_000_000),
                stopped: stopped.map(Stopped::as_str),
                stopped_detail: String::new(),
            });
        }
        if status == Stored::Available && dice.below(33) == 0 {
            let first = dice.below(self.machines.len() as u64);
            for more in 0..=dice.below(3).min(self.machines.len() as u64 - 1) {
                let machine = &self.machines[((first + more) % self.machines.len() as u64) as usize];
                batch.attachments.push(AttachmentRow { image_id: id.clone(), vm_id: machine.clone(), attached_at: since });
                self.made.attachments += 1;
            }
        }
        batch.events.push(EventRow {
            id: dice.uuid(at),
            at: created,
            actor_id: user,
            actor_name: user_name,
            action: Action::CreateImage.as_str(),
            object_kind: ObjectKind::Image.as_str(),
            object_id: Some(id),
            object_name: name,
            outcome: Outcome::Done.as_str(),
            detail: String::new(),
            address: format!("192.0.2.{}", dice.below(254) + 1),
            request_id: dice.digest()[..16].to_owned(),
        });
    }
}

/// What most images are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rare {
    Uploading,
    Creating,
    Pending,
    /// Its file is missing or was changed.
    Spoilt,
}

impl Rare {
    /// Spread evenly over all images; of what moves there is never more than one machine would bear.
    fn of(n: u64, total: u64) -> Option<Self> {
        let kinds = [
            (Self::Uploading, (total / 2_000).min(500)),
            (Self::Creating, (total / 2_000).min(400)),
            (Self::Pending, total / 90),
            (Self::Spoilt, total / 200),
        ];
        (1..).zip(kinds).find(|(at, (_, wanted))| n % (total / (*wanted).max(LEAST)).max(1) == *at).map(|(_, (kind, _))| kind)
    }
}

fn insert_all<R: Record>(tx: &mut Tx<'_>, rows: &[R]) -> Result<(), Failure> {
    for part in rows.chunks(BATCH) {
        R::insert(tx, part)?;
    }
    Ok(())
}

#[derive(Default)]
struct Batch {
    images: Vec<ImageRow>,
    uploads: Vec<UploadRow>,
    jobs: Vec<JobRow>,
    attachments: Vec<AttachmentRow>,
    events: Vec<EventRow>,
}

impl Batch {
    fn insert(&mut self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        insert_all(tx, &self.images)?;
        insert_all(tx, &self.uploads)?;
        insert_all(tx, &self.jobs)?;
        insert_all(tx, &self.attachments)?;
        insert_all(tx, &self.events)?;
        *self = Self::default();
        Ok(())
    }
}

/// One product, as its makers name its files.
struct Line {
    /// In how many of all images.
    weight: u64,
    os: &'static str,
    name: &'static str,
    versions: &'static [&'static str],
    editions: &'static [&'static str],
    machines: &'static [&'static str],
    /// The smallest and the largest file, in MiB.
    mib: (u64, u64),
}

const PC: &[&str] = &["amd64", "amd64", "arm64"];
const PC64: &[&str] = &["x86_64", "x86_64", "aarch64"];

/// A line of the table.
const fn line(
    weight: u64,
    os: &'static str,
    name: &'static str,
    versions: &'static [&'static str],
    editions: &'static [&'static str],
    machines: &'static [&'static str],
    mib: (u64, u64),
) -> Line {
    Line { weight, os, name, versions, editions, machines, mib }
}

const LINES: &[Line] = &[
    line(14, "debian-12", "debian", &["12.5.0", "12.8.0", "12.11.0"], &["netinst", "DVD-1", "live-gnome"], PC, (500, 4_000)),
    line(8, "debian-13", "debian", &["13.0.0", "13.1.0", "13.2.0"], &["netinst", "DVD-1", "live-kde"], PC, (600, 4_200)),
    line(16, "ubuntu-24.04-server", "ubuntu", &["24.04", "24.04.1", "24.04.3"], &["live-server"], PC, (2_500, 3_200)),
    line(6, "ubuntu-24.04-desktop", "ubuntu", &["24.04", "24.04.2"], &["desktop"], PC, (5_000, 6_000)),
    line(7, "ubuntu-22.04-server", "ubuntu", &["22.04.3", "22.04.5"], &["live-server"], PC, (1_900, 2_200)),
    line(6, "fedora-43-server", "Fedora-Server", &["43-1.6"], &["dvd", "netinst"], PC64, (900, 2_800)),
    line(4, "fedora-43-workstation", "Fedora-Workstation-Live", &["43-1.6"], &["Live"], PC64, (2_200, 2_600)),
    line(7, "rocky-9", "Rocky", &["9.4", "9.5", "9.6"], &["minimal", "dvd", "boot"], PC64, (1_000, 10_500)),
    line(5, "almalinux-9", "AlmaLinux", &["9.4", "9.6"], &["minimal", "dvd"], PC64, (1_000, 10_300)),
    line(3, "rhel-9", "rhel", &["9.4", "9.6"], &["dvd", "boot"], PC64, (900, 10_800)),
    line(3, "opensuse-leap-15.6", "openSUSE-Leap", &["15.6"], &["DVD-Media", "NET-Media"], PC64, (200, 4_300)),
    line(4, "alpine-3.22", "alpine", &["3.22.0", "3.22.1"], &["standard", "virt", "extended"], PC64, (60, 1_000)),
    line(3, "freebsd-14", "FreeBSD", &["14.2-RELEASE", "14.3-RELEASE"], &["disc1", "bootonly", "dvd1"], PC, (500, 4_600)),
    line(1, "openbsd-7.8", "OpenBSD", &["7.8"], &["install78"], PC, (600, 700)),
    line(4, "windows-server-2022", "SERVER_EVAL", &["2022"], &["FRE_en-us", "FRE_de-de"], &["x64"], (4_700, 5_300)),
    line(3, "windows-11", "Win11", &["23H2", "24H2"], &["English", "German"], &["x64"], (5_500, 6_500)),
    line(2, "proxmox-ve-9", "proxmox-ve", &["9.0-1", "9.1-1"], &["installer"], PC, (1_200, 1_700)),
    line(1, "talos", "talos", &["v1.10.0", "v1.11.2"], &["metal"], PC, (90, 300)),
    line(1, "gparted", "gparted-live", &["1.7.0-8"], &["live"], PC, (550, 650)),
    line(1, "memtest86plus", "memtest86plus", &["7.20"], &["mt86plus"], &["x64"], (6, 8)),
    line(1, os_catalogue::OTHER, "appliance", &["1.0", "1.1", "2.0"], &["firewall", "backup", "router"], PC, (300, 2_000)),
];

impl Line {
    fn choose(dice: &mut Dice, evenly: bool) -> &'static Self {
        if evenly {
            return dice.pick(LINES);
        }
        let mut left = dice.below(LINES.iter().map(|line| line.weight).sum());
        for line in LINES {
            match left.checked_sub(line.weight) {
                Some(rest) => left = rest,
                None => return line,
            }
        }
        &LINES[0]
    }

    /// A size between the bounds; a maker has few of them, so that many images are equally large.
    fn bytes(&self, dice: &mut Dice) -> u64 {
        let (least, most) = self.mib;
        (least + (most - least) * dice.below(40) / 40) * MIB + dice.below(8) * 2_048
    }
}

/// Ten of all images are found by a word that no other has.
fn is_needle(n: u64, total: u64) -> bool {
    let tenth = (total / 10).max(1);
    n % tenth == tenth / 2
}

/// As `debian-12.5.0-amd64-netinst 2025-03-14 r412345`. The number makes it the only one.
fn name_of(n: u64, total: u64, kind: Kind, line: &Line, at: Timestamp, dice: &mut Dice) -> String {
    let (version, edition, machine) = (dice.pick(line.versions), dice.pick(line.editions), dice.pick(line.machines));
    let needle = if is_needle(n, total) { " zephyr" } else { "" };
    let day = &at.rfc3339()[..10];
    match kind {
        Kind::Installation => format!("{}-{version}-{machine}-{edition} {day} r{n}{needle}", line.name),
        Kind::Base => {
            let role = dice.pick(&["web server", "database", "build worker", "desktop", "golden"]);
            format!("{role} {} {version} {day} r{n}{needle}", line.name)
        }
        Kind::VirtualDisk => format!("{}-{:04} disk0 r{n}{needle}", dice.pick(&["web", "db", "build", "mail"]), dice.below(5_000)),
    }
}

/// Numbers that look as if by chance and follow from the seed (SplitMix64).
#[derive(Debug, Clone)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }

    /// One of at least one.
    fn pick<'all, T>(&mut self, all: &'all [T]) -> &'all T {
        &all[self.below(all.len() as u64) as usize]
    }

    fn digest(&mut self) -> String {
        (0..4).map(|_| format!("{:016x}", self.next())).collect()
    }

    /// A UUID of version 7 of that moment.
    fn uuid(&mut self, at: Timestamp) -> String {
        let (time, chance, more) = (at.millis().unsigned_abs(), self.next(), self.next());
        format!(
            "{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}",
            (time >> 16) & 0xffff_ffff,
            time & 0xffff,
            chance & 0xfff,
            0x8000 | ((chance >> 12) & 0x3fff),
            more & 0xffff_ffff_ffff
        )
    }

    fn id<T: std::str::FromStr>(&mut self, at: Timestamp) -> Result<T, Failure> {
        self.uuid(at).parse().map_err(|_| Failure::Broken("an identifier was made wrong".to_owned()))
    }
}
