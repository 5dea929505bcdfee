//! What several people do at once: create and send images, edit, delete, download, and one who takes a storage away and brings it back.

use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use vmimg::domain::ids::{DraftId, SubmissionId};

use super::{
    client::{Answer, Answered, Client, Unknown},
    ledger::{Done, Image, Roaming, Words},
    media,
    random::Random,
    service::Running,
};

/// Bytes that are looked at before the rest of a file.
const HEAD: usize = 64 * 1024;

/// Who signs in.
pub const ADMIN: (&str, &str) = ("ada@example.org", "correct horse battery");

/// Fills the set-up page; answers a client that is signed in and the first storage's identifier.
pub fn set_up(running: &Running, folder: &std::path::Path) -> Result<(Client, String), String> {
    let client = running.client();
    std::fs::create_dir_all(folder).unwrap();
    let code = running.setup_code.clone().ok_or("the service is set up already")?;
    let fields = [
        ("code", code.as_str()),
        ("name", "Ada"),
        ("email", ADMIN.0),
        ("password", ADMIN.1),
        ("storage_name", "local"),
        ("storage_path", folder.to_str().unwrap()),
    ];
    expect(client.post("/setup", &fields), 303)?;
    let list = client.get("/local-storages").map_err(|lost| lost.0)?;
    let id = list.between("/local-storages/0", "\"").ok_or_else(|| format!("no storage is listed: {}", list.words()))?;
    // The first upload gives a browser its long-lived cookie; here it is made beforehand, so that all clients are one device.
    client.get(&format!("/images/new/{}/summary", DraftId::new())).map_err(|lost| lost.0)?;
    Ok((client, format!("0{id}")))
}

/// Adds the storage that comes and goes.
pub fn add_datastore(client: &Client, name: &str, folder: &std::path::Path) -> Result<String, String> {
    std::fs::create_dir_all(folder).unwrap();
    let key = SubmissionId::new().to_string();
    let fields = [("key", key.as_str()), ("name", name), ("path", folder.to_str().unwrap())];
    let added = expect(client.post("/datastores/new", &fields), 303)?;
    added.strip_prefix("/datastores/").map(str::to_owned).ok_or(added)
}

fn expect(answered: Answered, status: u16) -> Result<String, String> {
    match answered {
        Ok(answer) if answer.status == status => Ok(answer.location().to_owned()),
        Ok(answer) => Err(answer.words()),
        Err(Unknown(why)) => Err(why),
    }
}

/// What a client found that must not be.
pub type Faults = Mutex<Vec<String>>;

/// One person with images of their own.
pub struct Person<'run> {
    pub client: Client,
    pub random: Random,
    /// Identifiers of storages: the one that stays, and the one that comes and goes.
    pub storages: [String; 2],
    pub images: Vec<Image>,
    pub stop: &'run AtomicBool,
    pub faults: &'run Faults,
    /// Makes names that nobody used before.
    pub mark: String,
    pub made: u64,
    pub acknowledged: u64,
    pub unknown: u64,
    /// Where calls fail on purpose: refusals are kept here instead of being faults.
    pub refusals: Option<Vec<Refusal>>,
}

/// An answer that was no success.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub what: &'static str,
    pub status: u16,
    pub words: String,
    pub image: Option<String>,
    /// From where a chunk was sent.
    pub offset: usize,
}

impl<'run> Person<'run> {
    /// Somebody who has no images yet, and whom nothing may be refused.
    pub fn new(client: Client, random: Random, storages: [String; 2], mark: String, stop: &'run AtomicBool, faults: &'run Faults) -> Self {
        Self { client, random, storages, images: Vec::new(), stop, faults, mark, made: 0, acknowledged: 0, unknown: 0, refusals: None }
    }

    /// Does one thing after another until told to stop.
    pub fn work(&mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let mine: Vec<usize> =
                (0..self.images.len()).filter(|at| self.images[*at].deleted == Done::No && self.images[*at].id.is_some()).collect();
            let chosen = mine.get(self.random.below(mine.len() as u64) as usize).copied();
            match (chosen, self.random.below(100)) {
                (None, _) | (_, 0..40) if mine.len() < 7 => self.create(),
                (Some(at), 0..60) => self.edit(at),
                (Some(at), 60..75) => self.delete(at),
                (Some(at), 75..90) => self.send_again(at),
                (Some(at), _) => self.download(at),
                (None, _) => self.create(),
            }
        }
    }

    fn fault(&self, what: impl Into<String>) {
        self.faults.lock().unwrap().push(what.into());
    }

    /// An answer that was no success, where none was to be expected. True if what was asked for may have been done all the same.
    fn refused(&mut self, what: &'static str, answer: &Answer, image: Option<&str>) -> bool {
        match &mut self.refusals {
            Some(refusals) => {
                let image = image.map(str::to_owned);
                refusals.push(Refusal { what, status: answer.status, words: answer.words(), image, offset: 0 });
                answer.status >= 500
            }
            None => {
                self.fault(format!("{what}: {}", answer.words()));
                false
            }
        }
    }

    /// No answer: fine while the process is being killed, and never otherwise.
    fn lost(&mut self, lost: &Unknown) {
        self.unknown += 1;
        if !self.stop.load(Ordering::SeqCst) {
            // The flag is raised a moment before the kill; whoever was quicker looks again.
            thread::sleep(Duration::from_millis(300));
            if !self.stop.load(Ordering::SeqCst) {
                self.fault(format!("no answer although the process lives: {}", lost.0));
            }
        }
    }

    /// Whether refusals are to be expected: the storage may be away at any moment.
    fn may_be_away(&self, storage: &str) -> bool {
        storage == self.storages[1]
    }

    /// Makes an image and sends its file.
    fn create(&mut self) {
        let storage = self.storages[usize::from(self.random.percent(40))].clone();
        let sectors = if self.random.percent(25) { 1_024 + self.random.below(512) } else { 50 + self.random.below(450) };
        let sends = self.random.percent(90);
        self.create_on(storage, u32::try_from(sectors).unwrap(), sends);
    }

    /// An image that nobody has asked for yet, and the bytes of its file.
    fn new_image(&mut self, storage: String, sectors: u32, note: &str) -> (Image, Vec<u8>) {
        self.made += 1;
        let words = Words { name: format!("{} {}", self.mark, self.made), note: note.to_owned() };
        let (bytes, sha256) = media::iso(self.random.next(), sectors);
        (Image::new(words, storage, bytes.len(), sha256), bytes)
    }

    /// Announces an image of so many sectors, and sends its file in chunks. Answers the file.
    pub fn create_in_chunks(&mut self, storage: String, sectors: u32, chunk: usize) -> Vec<u8> {
        let (mut image, bytes) = self.new_image(storage, sectors, "");
        let metadata = [("filename", "image.iso"), ("storage", image.storage.as_str()), ("name", image.words.name.as_str())];
        let announced = self.client.announce(bytes.len(), &metadata);
        if let Ok(answer) = &announced
            && answer.status == 201
        {
            (image.created, image.id) = (Done::Yes, answer.location().rsplit_once("/uploads/").map(|(_, id)| id.to_owned()));
        }
        self.images.push(image);
        match announced {
            Ok(answer) if answer.status == 201 => self.send_chunks(self.images.len() - 1, &bytes, chunk, 0),
            Ok(answer) => drop(self.refused("announcing an upload", &answer, None)),
            Err(lost) => self.lost(&lost),
        }
        bytes
    }

    /// Sends what is missing of a file from here on, until a chunk is refused.
    pub fn send_chunks(&mut self, at: usize, bytes: &[u8], chunk: usize, from: usize) {
        let id = self.images[at].id.clone().unwrap();
        let mut from = from;
        while from < bytes.len() {
            let to = (from + chunk).min(bytes.len());
            let answered = self.client.patch(&id, from, &bytes[from..to], to - from, || Ok(()));
            let image = &mut self.images[at];
            // An error of the service may have come after the record was written.
            let perhaps = if to == bytes.len() { Done::Perhaps } else { Done::No };
            match answered {
                Ok(answer) if answer.status == 204 && answer.offset() == Some(to) => from = to,
                Ok(answer) => {
                    (image.complete, image.interrupted) = (perhaps, false);
                    self.refused("sending a file", &answer, Some(&id));
                    self.refusals.iter_mut().flatten().for_each(|refusal| refusal.offset = from);
                    return;
                }
                Err(lost) => {
                    image.complete = perhaps;
                    return self.lost(&lost);
                }
            }
        }
        self.acknowledged += 1;
        (self.images[at].complete, self.images[at].interrupted) = (Done::Yes, false);
    }

    /// Makes an image of so many sectors on a storage, and sends its file or not.
    pub fn create_on(&mut self, storage: String, sectors: u32, sends: bool) {
        let (mut image, bytes) = self.new_image(storage.clone(), sectors, "first");
        let words = image.words.clone();
        let draft = DraftId::new();
        let path = |step: &str| format!("/images/new/{draft}/{step}");
        let general = [("name", words.name.as_str()), ("note", words.note.as_str()), ("kind", "installation")];
        let configuration =
            [("storage", storage.as_str()), ("os", "other"), ("min_vcpu", "1"), ("min_memory_mib", "512"), ("min_disk_gib", "10")];
        for (step, fields) in [("general", &general[..]), ("configuration", &configuration[..])] {
            match self.client.post(&path(step), fields) {
                Ok(answer) if answer.status == 303 => {}
                Ok(answer) if answer.status == 422 && self.may_be_away(&storage) => return,
                Ok(answer) => {
                    self.refused("the wizard", &answer, None);
                    return;
                }
                Err(lost) => return self.lost(&lost),
            }
        }
        let query = serde_html_form::to_string([("name", "image.iso"), ("size", &bytes.len().to_string())]).unwrap();
        match self.client.post_bytes(&format!("{}?{query}", path("image")), &bytes[..bytes.len().min(HEAD)]) {
            Ok(answer) if answer.status == 201 => {
                self.acknowledged += 1;
                image.created = Done::Yes;
                image.id = answer.between("\"image\":\"/images/", "\"");
            }
            Ok(answer) if (400..500).contains(&answer.status) && self.may_be_away(&image.storage) => return,
            Ok(answer) => {
                if self.refused("making an image", &answer, None) {
                    self.images.push(image);
                }
                return;
            }
            Err(lost) => {
                self.images.push(image);
                return self.lost(&lost);
            }
        }
        self.images.push(image);
        if sends {
            self.send(self.images.len() - 1, &bytes);
        }
    }

    /// Sends another file for an image that waits for one.
    pub fn send_again(&mut self, at: usize) {
        if self.images[at].complete != Done::No {
            return;
        }
        let sectors = 50 + self.random.below(450);
        let (bytes, sha256) = media::iso(self.random.next(), u32::try_from(sectors).unwrap());
        let image = &mut self.images[at];
        (image.bytes, image.sha256) = (bytes.len() as u64, sha256);
        self.send(at, &bytes);
    }

    fn send(&mut self, at: usize, bytes: &[u8]) {
        let (id, storage) = (self.images[at].id.clone().unwrap(), self.images[at].storage.clone());
        let pieces = 1 + self.random.below(6) as usize;
        // Some connections break on the way.
        let breaks_at = (self.random.percent(8) && self.refusals.is_none()).then(|| self.random.below(pieces as u64) as usize);
        let pauses: Vec<Duration> = (0..pieces).map(|_| self.random.milliseconds(0, 40)).collect();
        let answered = self.client.post_file(&format!("/images/{id}/content"), "image.iso", bytes, pieces, |piece| {
            thread::sleep(pauses.get(piece).copied().unwrap_or_default());
            if breaks_at == Some(piece) { Err(io::Error::other("broken off on purpose")) } else { Ok(()) }
        });
        let image = &mut self.images[at];
        match answered {
            Ok(answer) if answer.status == 200 => {
                self.acknowledged += 1;
                (image.complete, image.interrupted) = (Done::Yes, false);
            }
            Ok(answer) => {
                image.interrupted = false;
                // An error of the service may have come after the record was written.
                image.complete = if answer.status >= 500 { Done::Perhaps } else { Done::No };
                let expected =
                    breaks_at.is_some() || storage == self.storages[1] || answer.status == 409 && answer.text().contains("upload.ending");
                if !expected {
                    self.refused("sending a file", &answer, Some(&id));
                }
            }
            Err(_) if breaks_at.is_some() => image.interrupted = false,
            Err(lost) => {
                image.complete = Done::Perhaps;
                self.lost(&lost);
            }
        }
    }

    /// Changes name and note together.
    pub fn edit(&mut self, at: usize) {
        self.made += 1;
        let (id, storage) = (self.images[at].id.clone().unwrap(), self.images[at].storage.clone());
        let words = Words { name: format!("{} {} edited", self.mark, self.made), note: format!("note {}", self.made) };
        let page = match self.client.get(&format!("/images/{id}/edit")) {
            Ok(page) => page,
            Err(lost) => return self.lost(&lost),
        };
        let Some(version) = page.field("version") else {
            self.refused("the page to edit", &page, Some(&id));
            return;
        };
        let fields = [
            ("version", version.as_str()),
            ("name", &words.name),
            ("note", &words.note),
            ("os", "other"),
            ("min_vcpu", "1"),
            ("min_memory_mib", "512"),
            ("min_disk_gib", "10"),
        ];
        let answered = self.client.post(&format!("/images/{id}/edit"), &fields);
        let image = &mut self.images[at];
        match answered {
            Ok(answer) if answer.status == 303 => {
                self.acknowledged += 1;
                image.words = words;
                image.edits += 1;
            }
            Ok(answer) if self.storages[1] == storage && answer.status < 500 => {}
            Ok(answer) => {
                if self.refused("editing", &answer, Some(&id)) {
                    self.images[at].perhaps = Some(words);
                }
            }
            Err(lost) => {
                image.perhaps = Some(words);
                self.lost(&lost);
            }
        }
    }

    /// Deletes an image, through the page that asks.
    pub fn delete(&mut self, at: usize) {
        let (id, storage) = (self.images[at].id.clone().unwrap(), self.images[at].storage.clone());
        let page = match self.client.get(&format!("/images/{id}/deletion")) {
            Ok(page) => page,
            Err(lost) => return self.lost(&lost),
        };
        let Some(version) = page.field("version") else {
            if !self.may_be_away(&storage) {
                self.refused("the page to delete", &page, Some(&id));
            }
            return;
        };
        match self.client.post(&format!("/images/{id}/deletion"), &[("version", &version)]) {
            Ok(answer) if answer.status == 303 => {
                self.acknowledged += 1;
                self.images[at].deleted = Done::Yes;
            }
            Ok(_) if self.may_be_away(&storage) => {}
            Ok(answer) => {
                if self.refused("deleting", &answer, Some(&id)) {
                    self.images[at].deleted = Done::Perhaps;
                }
            }
            Err(lost) => {
                self.images[at].deleted = Done::Perhaps;
                self.lost(&lost);
            }
        }
    }

    /// Downloads an image that is complete, and compares it.
    fn download(&mut self, at: usize) {
        let image = &self.images[at];
        if image.complete != Done::Yes {
            return;
        }
        let (id, sha256, storage) = (image.id.clone().unwrap(), image.sha256.clone(), image.storage.clone());
        match self.client.get(&format!("/images/{id}/download")) {
            Ok(answer) if answer.status == 200 => {
                if media::sha256(&answer.body) != sha256 {
                    self.fault(format!("the download of {id} has other bytes than were sent"));
                }
            }
            Ok(_) if self.may_be_away(&storage) => {}
            Ok(answer) => {
                self.refused("downloading", &answer, Some(&id));
            }
            Err(lost) => self.lost(&lost),
        }
    }
}

/// Somebody who takes a storage away and brings it back.
pub struct Mover<'run> {
    pub client: Client,
    pub random: Random,
    pub roaming: Roaming,
    pub folder: String,
    pub stop: &'run AtomicBool,
    pub faults: &'run Faults,
    pub acknowledged: u64,
    pub unknown: u64,
    /// Where calls fail on purpose: refusals are kept here instead of being faults.
    pub refusals: Option<Vec<Refusal>>,
}

impl<'run> Mover<'run> {
    /// Somebody who has not done anything yet, and whom nothing may be refused.
    pub fn new(client: Client, random: Random, roaming: Roaming, folder: String, stop: &'run AtomicBool, faults: &'run Faults) -> Self {
        Self { client, random, roaming, folder, stop, faults, acknowledged: 0, unknown: 0, refusals: None }
    }

    /// Goes on until told to stop.
    pub fn work(&mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let away = self.roaming.removed == Some(true);
            thread::sleep(if away { self.random.milliseconds(10, 150) } else { self.random.milliseconds(100, 700) });
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if away { self.bring_back() } else { self.take_away() }
        }
    }

    /// Removes the storage.
    pub fn take_away(&mut self) {
        let answered = self.client.post(&format!("/datastores/{}/removal", self.roaming.id), &[]);
        self.note(answered, true);
    }

    /// Adds it again where it lies.
    pub fn bring_back(&mut self) {
        let key = SubmissionId::new().to_string();
        let answered = self.client.post("/datastores/new", &[("key", &key), ("name", "roaming"), ("path", &self.folder)]);
        self.note(answered, false);
    }

    fn note(&mut self, answered: Answered, removal: bool) {
        let what = if removal { "removing a storage" } else { "adding it again" };
        match answered {
            Ok(answer) if answer.status == 303 => {
                self.acknowledged += 1;
                self.roaming.removed = Some(removal);
                *(if removal { &mut self.roaming.removals } else { &mut self.roaming.returns }) += 1;
            }
            Ok(answer) if self.refusals.is_some() => {
                if answer.status >= 500 {
                    (self.roaming.removed, self.roaming.perhaps) = (None, Some(removal));
                }
                let refusal = Refusal { what, status: answer.status, words: answer.words(), image: None, offset: 0 };
                self.refusals.get_or_insert_default().push(refusal);
            }
            Ok(answer) => {
                self.faults.lock().unwrap().push(format!("{what}: {}", answer.words()));
                self.stop_a_while();
            }
            Err(lost) => {
                self.unknown += 1;
                (self.roaming.removed, self.roaming.perhaps) = (None, Some(removal));
                self.stop_a_while();
                if !self.stop.load(Ordering::SeqCst) {
                    self.faults.lock().unwrap().push(format!("no answer although the process lives: {}", lost.0));
                }
            }
        }
    }

    fn stop_a_while(&self) {
        for _ in 0..30 {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
