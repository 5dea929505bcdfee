//! What is done on the recorded disk: a day of an administrator in a few seconds.
//!
//! Set-up, uploads of several sizes, two of them at once, one that breaks off and is sent again, changes of name and note, deletions, a
//! storage that is added, removed and brought back, and a service that is killed and started again.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, connection::SimpleConnection, sql_query, sql_types};
use sha2::{Digest, Sha256};

use crate::{
    Experiment, Result,
    console::{ADMIN, Browser, Console, Place},
    disk::{FileSystem, Recorder},
    fail,
    ledger::{Ledger, Row, Writer},
    tamper::{Tamper, Without},
};

/// Where the records lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// On the recorded disk, with the images.
    Inside,
    /// On another disk, which keeps everything.
    Outside,
}

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// What a flush is missed by.
    Proof,
    /// Everything once.
    Short,
    /// More of it, and pauses in which the file system writes out by itself.
    Long,
}

/// A record and what belongs to it.
pub struct Recording {
    pub file_system: FileSystem,
    pub records: Records,
    pub ledger: Ledger,
    /// Where the disk was mounted, and where the records say that the storages lie.
    pub mounted_at: PathBuf,
    /// Somebody who is signed in.
    pub browser: Browser,
}

/// A file of images' format, of this many KiB, with this label; another label is another SHA-256.
fn iso(label: &str, kib: usize) -> Vec<u8> {
    const SECTOR: usize = 2_048;
    let sectors = u32::try_from(kib / 2).unwrap_or(u32::MAX);
    // Neither a block of zeros nor two blocks alike: what was not written must not look as if it were.
    let mut random = crate::log::Random::new(kib as u64, label.bytes().fold(0, |sum, byte| sum * 31 + u64::from(byte)));
    let mut image: Vec<u8> = (0..kib * 1024).map(|at| if at < 20 * SECTOR { 0 } else { random.below(256) as u8 }).collect();
    for (sector, kind) in [(16, 1), (17, 255)] {
        image[sector * SECTOR] = kind;
        image[sector * SECTOR + 1..sector * SECTOR + 7].copy_from_slice(b"CD001\x01");
    }
    let primary = &mut image[16 * SECTOR..17 * SECTOR];
    primary[40..72].fill(b' ');
    primary[40..40 + label.len()].copy_from_slice(label.as_bytes());
    primary[80..84].copy_from_slice(&sectors.to_le_bytes());
    primary[84..88].copy_from_slice(&sectors.to_be_bytes());
    primary[128..130].copy_from_slice(&2_048_u16.to_le_bytes());
    primary[130..132].copy_from_slice(&2_048_u16.to_be_bytes());
    primary[318..446].fill(b' ');
    image
}

/// As `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(QueryableByName)]
struct ImageRow {
    #[diesel(sql_type = sql_types::Text)]
    id: String,
    #[diesel(sql_type = sql_types::Text)]
    status: String,
    #[diesel(sql_type = sql_types::Text)]
    sha256: String,
    #[diesel(sql_type = sql_types::BigInt)]
    size: i64,
    #[diesel(sql_type = sql_types::Text)]
    storage: String,
}

/// All images in the records.
pub fn rows(records: &mut SqliteConnection) -> diesel::QueryResult<Vec<Row>> {
    let statement = "SELECT images.id, images.status, COALESCE(images.sha256, '') AS sha256, images.size_bytes AS size, storages.path AS storage \
                     FROM images JOIN storages ON storages.id = images.storage_id ORDER BY images.id";
    let found: Vec<ImageRow> = sql_query(statement).load(records)?;
    let row = |ImageRow { id, status, sha256, size, storage }| Row { id, status, sha256, size, storage };
    Ok(found.into_iter().map(row).collect())
}

/// Opens a database beside the service that uses it.
pub fn look_into(database: &Path) -> Result<SqliteConnection> {
    let mut records = SqliteConnection::establish(&database.display().to_string())?;
    records.batch_execute("PRAGMA busy_timeout = 5000")?;
    Ok(records)
}

/// The administrator at work.
struct Desk<'work> {
    ledger: &'work Writer,
    folder: &'work Path,
    place: Place,
    mounted_at: &'work Path,
    records: Records,
    without: Option<Without>,
    /// None between the end of one process and the beginning of the next.
    console: Option<Console>,
    browser: Browser,
    copies: usize,
}

/// Records the workload.
pub fn record(binary: &Path, folder: &Path, experiment: &Experiment) -> Result<Recording> {
    let Experiment { file_system, records, length, without, .. } = *experiment;
    let mounted_at = folder.join("disk");
    let recorder = Recorder::start(folder, &mounted_at, file_system)?;
    let ledger = Writer::new(recorder.counter()?);
    let data = if records == Records::Inside { mounted_at.join("data") } else { folder.join("data") };
    let place = Place { data, media: mounted_at.clone(), log: folder.join("service.log") };
    // Folders that an administrator made long ago.
    for name in ["first", "second"] {
        fs::create_dir(mounted_at.join(name))?;
    }
    rustix::fs::syncfs(fs::File::open(&mounted_at)?)?;
    let console = Console::start(binary, &place)?;
    let database = place.data.join("vmimg.db");
    let browser = Browser::new(&console.address);
    let console = Some(console);
    let mut desk = Desk { ledger: &ledger, folder, place, mounted_at: &mounted_at, records, without, console, browser, copies: 0 };
    let done = AtomicBool::new(false);
    let watched = thread::scope(|scope| {
        // Where the records are not recorded themselves, every change of theirs is.
        let watcher = (records == Records::Outside).then(|| scope.spawn(|| watch(&database, &ledger, &done)));
        let worked = desk.work(binary, length);
        done.store(true, Ordering::Relaxed);
        let watched = watcher.map_or(Ok(()), |watcher| watcher.join().unwrap_or_else(|_| fail("the watcher panicked")));
        worked.and(watched)
    });
    watched?;
    let Desk { console, browser, .. } = desk;
    if let Some(console) = console {
        console.stop()?;
    }
    let ledger = ledger.close()?;
    recorder.stop()?;
    if ledger.facts.is_empty() {
        return fail("nothing was acknowledged, so a pass would mean nothing");
    }
    Ok(Recording { file_system, records, ledger, mounted_at, browser })
}

fn watch(database: &Path, ledger: &Writer, done: &AtomicBool) -> Result<()> {
    let mut records = look_into(database)?;
    while !done.load(Ordering::Relaxed) {
        ledger.saw(rows(&mut records)?)?;
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

impl Desk<'_> {
    fn work(&mut self, binary: &Path, length: Length) -> Result<()> {
        self.set_up()?;
        let without_records = self.without == Some(Without::Records);
        let records_log = self.place.data.join("vmimg.db-wal");
        let _records = if without_records { Some(self.tamper(&[records_log])?) } else { None };
        let storage = self.first_storage()?;
        let alpine = self.upload(&storage, "alpine", 128)?;
        if length == Length::Proof {
            self.upload(&storage, "debian", 700)?;
            self.edit(&alpine, "alpine linux", "for routers")?;
            self.upload(&storage, "fedora", 300)?;
            return Ok(());
        }
        let (debian, fedora) = self.upload_two(&storage, ("debian", 700), ("fedora", 1_800))?;
        self.edit(&alpine, "alpine linux", "for routers")?;
        let broken = self.begin_and_break_off(&storage, "gentoo", 2_200)?;
        self.delete(&debian)?;
        let second = self.add_storage("second")?;
        self.upload(&second, "haiku", 256)?;
        self.send_again(&broken, "gentoo", 2_200)?;
        self.remove_storage(&second)?;
        self.return_storage("second", &second)?;
        self.upload(&storage, "large", 6 * 1_024)?;
        if length == Length::Long {
            self.pause(6_000);
            self.restart(binary)?;
            for round in 0..6 {
                let one = self.upload(&storage, &format!("round {round}"), 90 + 170 * round)?;
                let (two, three) = self.upload_two(&second, (&format!("pair {round} a"), 300), (&format!("pair {round} b"), 1_100))?;
                self.edit(&two, &format!("renamed {round}"), "")?;
                self.delete(&one)?;
                self.edit(&three, &format!("renamed {round} b"), "and noted")?;
                if round == 3 {
                    self.restart(binary)?;
                }
            }
            self.pause(6_000);
        }
        self.edit(&fedora, "fedora linux", "the second edition")?;
        self.edit(&fedora, "fedora linux", "the third edition")?;
        self.pause(1_200);
        Ok(())
    }

    /// Before every request: what was certain of the records until now.
    fn begin(&self) -> Result<()> {
        self.ledger.busy()
    }

    /// After every group of requests: the records are copied while nothing is asked of the service.
    fn end(&mut self) -> Result<()> {
        self.pause(150);
        if self.records == Records::Inside {
            return Ok(());
        }
        self.copies += 1;
        let path = self.folder.join(format!("records-{}.db", self.copies));
        let from = self.ledger.now()?;
        look_into(&self.place.data.join("vmimg.db"))?.batch_execute(&format!("VACUUM INTO '{}'", path.display()))?;
        self.ledger.copied(from, path)
    }

    fn pause(&self, milliseconds: u64) {
        thread::sleep(Duration::from_millis(milliseconds));
    }

    fn tamper(&self, paths: &[PathBuf]) -> Result<Tamper> {
        let Some(console) = &self.console else { return fail("the service does not run") };
        Tamper::with(self.folder, console.pid(), paths)
    }

    fn restart(&mut self, binary: &Path) -> Result<()> {
        self.begin()?;
        if let Some(console) = self.console.take() {
            console.kill()?;
        }
        let next = Console::start(binary, &self.place)?;
        self.browser = self.browser.at(&next.address);
        self.console = Some(next);
        self.end()
    }

    fn set_up(&mut self) -> Result<()> {
        let Some(code) = self.console.as_ref().and_then(|console| console.code.clone()) else {
            return fail("the service shows no code for its set-up");
        };
        self.browser.page(&format!("/setup?code={code}"))?;
        // With its records, the service also makes the folder of the first storage.
        let path = match self.records {
            Records::Inside => self.place.data.join("storage"),
            Records::Outside => self.mounted_at.join("first"),
        };
        let path = path.display().to_string();
        let fields = [
            ("code", code.as_str()),
            ("name", "Ada"),
            ("email", ADMIN.0),
            ("password", ADMIN.1),
            ("storage_name", "first"),
            ("storage_path", &path),
        ];
        self.browser.post("/setup", &fields)?;
        let now = self.ledger.now()?;
        let set_up = format!("SELECT COUNT(*) AS n FROM users WHERE email = '{}' AND role = 'administrator'", ADMIN.0);
        self.ledger.acknowledged_at(now, "the administrator", "there is an administrator", set_up)?;
        let storage = format!("SELECT COUNT(*) AS n FROM storages WHERE name = 'first' AND path = '{path}' AND health = 'healthy'");
        self.ledger.acknowledged_at(now, "the first storage", "the first storage is there", storage)?;
        self.ledger.acknowledged_at(now, "the session", "somebody is signed in", "SELECT COUNT(*) AS n FROM sessions".to_owned())?;
        self.logged(now, "set_up", None)?;
        self.logged(now, "add_storage", None)?;
        self.end()
    }

    /// Something must stand in the audit log for good.
    fn logged(&self, from: u64, action: &str, object: Option<&str>) -> Result<()> {
        let which = object.map(|object| format!(" AND object_id = '{object}'")).unwrap_or_default();
        let sql = format!("SELECT COUNT(*) > 0 AS n FROM events WHERE action = '{action}' AND outcome = 'done'{which}");
        self.ledger.acknowledged_at(from, "the audit log", &format!("the audit log has {action} {}", object.unwrap_or_default()), sql)
    }

    fn first_storage(&mut self) -> Result<String> {
        let page = self.browser.page("/local-storages")?.text();
        let mut links = page.split("/local-storages/").skip(1).map(|rest| rest.chars().take(36).collect::<String>());
        let id = links.find(|link| link.len() == 36 && link.chars().all(|c| c == '-' || c.is_ascii_hexdigit()));
        id.ok_or_else(|| "the list shows no storage".into())
    }

    /// The wizard up to its last step; answers its address.
    fn wizard(&self, browser: &mut Browser, storage: &str, name: &str) -> Result<String> {
        let location = browser.follow("/images/new")?;
        let Some(draft) = location.strip_suffix("/general").map(str::to_owned) else {
            return fail(format!("the wizard begins at {location}"));
        };
        browser.post(&format!("{draft}/general"), &[("name", name), ("kind", "installation"), ("note", "")])?;
        browser.post(&format!("{draft}/configuration"), &[("storage", storage), ("os", "other")])?;
        let id = draft.trim_start_matches("/images/new/");
        let kept = format!("SELECT COUNT(*) AS n FROM drafts WHERE id = '{id}' AND answers LIKE '%{name}%' AND answers LIKE '%{storage}%'");
        self.ledger.acknowledged(&draft, &format!("the wizard keeps what was typed for {name}"), kept)?;
        Ok(draft)
    }

    fn upload(&mut self, storage: &str, name: &str, kib: usize) -> Result<String> {
        self.begin()?;
        let mut browser = self.browser.clone();
        let image = self.upload_in(&mut browser, storage, name, kib)?;
        self.browser = browser;
        self.end()?;
        Ok(image)
    }

    fn upload_two(&mut self, storage: &str, one: (&str, usize), other: (&str, usize)) -> Result<(String, String)> {
        self.begin()?;
        let (desk, mut first, mut second) = (&*self, self.browser.clone(), self.browser.clone());
        let both = thread::scope(|scope| {
            let one = scope.spawn(move || desk.upload_in(&mut first, storage, one.0, one.1));
            let other = scope.spawn(move || desk.upload_in(&mut second, storage, other.0, other.1));
            let panicked = |_| fail("an upload panicked");
            Ok::<_, crate::Error>((one.join().unwrap_or_else(panicked)?, other.join().unwrap_or_else(panicked)?))
        })?;
        self.end()?;
        Ok(both)
    }

    fn upload_in(&self, browser: &mut Browser, storage: &str, name: &str, kib: usize) -> Result<String> {
        let file = iso(name, kib);
        let draft = self.wizard(browser, storage, name)?;
        self.ledger.asked(&draft)?;
        let image = match self.without {
            // The name of its file must be known before the first byte is sent.
            Some(Without::File | Without::Folders) => {
                let image = browser.create_image(&draft, &file)?;
                let root = self.mounted_at.join("first");
                let paths = match self.without {
                    Some(Without::File) => vec![root.join(format!("staging/{image}.part"))],
                    _ => vec![root.join("staging"), root.join("images")],
                };
                let tamper = self.tamper(&paths)?;
                browser.upload(&format!("/images/{image}/content"), &file, None)?;
                let answered = self.ledger.now()?;
                drop(tamper);
                return self.uploaded(browser, image, name, &file, answered);
            }
            _ => browser.upload(&format!("{draft}/create"), &file, None)?.trim_start_matches("/images/").to_owned(),
        };
        let answered = self.ledger.now()?;
        self.uploaded(browser, image, name, &file, answered)
    }

    /// The file of an image was taken.
    fn uploaded(&self, browser: &mut Browser, image: String, name: &str, file: &[u8], answered: u64) -> Result<String> {
        let digest = sha256(file);
        let sound = format!(
            "SELECT COUNT(*) AS n FROM images WHERE id = '{image}' AND status = 'available' AND sha256 = '{digest}' AND size_bytes = {}",
            file.len()
        );
        self.ledger.acknowledged_at(answered, &image, &format!("{name} is Available"), sound)?;
        let named = format!("SELECT COUNT(*) AS n FROM images WHERE id = '{image}' AND name = '{name}'");
        self.ledger.acknowledged_at(answered, &format!("name of {image}"), &format!("{name} has its name"), named)?;
        self.logged(answered, "create_image", Some(&image))?;
        self.logged(answered, "complete_upload", Some(&image))?;
        let page = browser.page(&format!("/images/{image}"))?.text();
        if page.contains(&digest) { Ok(image) } else { fail(format!("the page of {name} does not show its SHA-256")) }
    }

    fn begin_and_break_off(&mut self, storage: &str, name: &str, kib: usize) -> Result<String> {
        self.begin()?;
        let file = iso(name, kib);
        let mut browser = self.browser.clone();
        let draft = self.wizard(&mut browser, storage, name)?;
        self.ledger.asked(&draft)?;
        let image = browser.create_image(&draft, &file)?;
        let there = format!("SELECT COUNT(*) AS n FROM images WHERE id = '{image}' AND name = '{name}'");
        self.ledger.acknowledged(&image, &format!("{name} has a record"), there)?;
        browser.upload(&format!("/images/{image}/content"), &file, Some(kib * 600))?;
        self.browser = browser;
        // It stops by itself, and its bytes are dropped.
        let path = format!("/images/{image}");
        for _ in 0..100 {
            if self.browser.page(&path)?.text().contains("Pending") {
                self.end()?;
                return Ok(image);
            }
            self.pause(50);
        }
        fail(format!("{name} is not Pending after its upload broke off"))
    }

    fn send_again(&mut self, image: &str, name: &str, kib: usize) -> Result<()> {
        self.begin()?;
        let file = iso(name, kib);
        let mut browser = self.browser.clone();
        browser.upload(&format!("/images/{image}/content"), &file, None)?;
        let answered = self.ledger.now()?;
        self.uploaded(&mut browser, image.to_owned(), name, &file, answered)?;
        self.browser = browser;
        self.end()
    }

    fn edit(&mut self, image: &str, name: &str, note: &str) -> Result<()> {
        self.begin()?;
        let version = self.browser.page(&format!("/images/{image}/edit"))?.hidden("version")?;
        let about = format!("name of {image}");
        self.ledger.asked(&about)?;
        let fields = [("version", version.as_str()), ("name", name), ("note", note), ("os", "other")];
        self.browser.post(&format!("/images/{image}/edit"), &fields)?;
        let now = self.ledger.now()?;
        let saved = format!("SELECT COUNT(*) AS n FROM images WHERE id = '{image}' AND name = '{name}' AND note = '{note}'");
        self.ledger.acknowledged_at(now, &about, &format!("{name} has its new name and note"), saved)?;
        self.logged(now, "edit_image", Some(image))?;
        self.end()
    }

    fn delete(&mut self, image: &str) -> Result<()> {
        self.begin()?;
        let version = self.browser.page(&format!("/images/{image}/deletion"))?.hidden("version")?;
        self.ledger.asked(image)?;
        self.ledger.asked(&format!("name of {image}"))?;
        self.browser.post(&format!("/images/{image}/deletion"), &[("version", &version)])?;
        let now = self.ledger.now()?;
        let gone = format!("SELECT COUNT(*) = 0 AS n FROM images WHERE id = '{image}' AND status <> 'deleting'");
        self.ledger.acknowledged_at(now, image, &format!("{image} is deleted"), gone)?;
        self.logged(now, "delete_image", Some(image))?;
        self.end()
    }

    fn add_storage(&mut self, name: &str) -> Result<String> {
        self.begin()?;
        let location = self.send_storage(name)?;
        let Some(id) = location.strip_prefix("/datastores/").map(str::to_owned) else {
            return fail(format!("adding {name} led to {location}"));
        };
        let now = self.ledger.now()?;
        self.ledger.acknowledged_at(now, &id, &format!("{name} is there"), health_of(&id, "healthy"))?;
        self.logged(now, "add_storage", Some(&id))?;
        self.end()?;
        Ok(id)
    }

    fn send_storage(&mut self, name: &str) -> Result<String> {
        let key = self.browser.page("/datastores/new")?.hidden("key")?;
        let path = self.mounted_at.join(name).display().to_string();
        self.browser.post("/datastores/new", &[("key", &key), ("name", name), ("path", &path)])
    }

    fn remove_storage(&mut self, id: &str) -> Result<()> {
        self.begin()?;
        self.ledger.asked(id)?;
        self.browser.post(&format!("/datastores/{id}/removal"), &[])?;
        let now = self.ledger.now()?;
        self.ledger.acknowledged_at(now, id, &format!("{id} is removed"), health_of(id, "removed"))?;
        self.logged(now, "remove_storage", Some(id))?;
        self.end()
    }

    fn return_storage(&mut self, name: &str, id: &str) -> Result<()> {
        self.begin()?;
        self.ledger.asked(id)?;
        let location = self.send_storage(name)?;
        if !location.ends_with(id) {
            return fail(format!("bringing {id} back led to {location}"));
        }
        let now = self.ledger.now()?;
        self.ledger.acknowledged_at(now, id, &format!("{id} is back"), health_of(id, "healthy"))?;
        self.logged(now, "return_storage", Some(id))?;
        self.end()
    }
}

fn health_of(storage: &str, health: &str) -> String {
    format!("SELECT COUNT(*) AS n FROM storages WHERE id = '{storage}' AND health = '{health}'")
}
