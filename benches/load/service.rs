//! The service that is measured: a process of its own, set up through its pages, and what the system says of it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types::BigInt};
use vmimg::{
    db::{Address, Db, DbError},
    operations::Failure,
};

use crate::http::{Client, END_OF_FORM, FILE_PART, TUS};

/// A running service; ended when dropped.
pub struct Server {
    process: Child,
    folder: tempfile::TempDir,
    db: Db,
    pub address: SocketAddr,
    pub cookies: String,
    storage: String,
}

/// What a process uses.
#[derive(Debug, Clone, Copy)]
pub struct Use {
    pub resident_mib: f64,
    pub peak_mib: f64,
    pub threads: usize,
    pub descriptors: usize,
}

impl std::fmt::Display for Use {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resident_mib, peak_mib, threads, descriptors } = self;
        write!(f, "{resident_mib:.0} MiB resident ({peak_mib:.0} at most), {threads} threads, {descriptors} descriptors")
    }
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

impl Server {
    /// Starts `binary` with its files below `folder`, on `database` (a URL; empty: SQLite), with more settings; and sets it up.
    pub fn start(binary: &Path, folder: &Path, database: &str, settings: &[(&str, String)]) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|failed| failed.to_string())?;
        let folder = tempfile::Builder::new().prefix("load.").tempdir_in(folder).map_err(|failed| failed.to_string())?;
        let data = fs::canonicalize(folder.path()).map_err(|failed| failed.to_string())?.join("data");
        let url = if database.is_empty() { format!("sqlite:{}", data.join("vmimg.db").display()) } else { database.to_owned() };
        let log = fs::File::create(folder.path().join("log")).map_err(|failed| failed.to_string())?;
        let binary = fs::canonicalize(binary).map_err(|failed| format!("{}: {failed}", binary.display()))?;
        let mut command = Command::new(&binary);
        command.arg("serve").env_clear().env("VMIMG_DATA_DIR", &data).env("VMIMG_DATABASE_URL", &url).env("VMIMG_LISTEN", "127.0.0.1:0");
        command.env("VMIMG_LOG", "warn").current_dir(folder.path()).stdout(Stdio::piped()).stderr(log);
        for (name, value) in settings {
            command.env(format!("VMIMG_{}", name.to_uppercase()), value);
        }
        let mut process = command.spawn().map_err(|failed| format!("{}: {failed}", binary.display()))?;
        let lines = process.stdout.take().map(|out| BufReader::new(out).lines().map_while(Result::ok));
        let link = lines.and_then(|mut lines| lines.find_map(|line| line.trim().strip_prefix("http://").map(str::to_owned)));
        let Some((address, code)) = link.as_deref().and_then(|link| link.split_once("/setup?code=")) else {
            let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            let _ = process.kill();
            return Err(format!("the service did not start: {log}"));
        };
        let address: SocketAddr = address.parse().map_err(|_| format!("no address: {address}"))?;
        let db = Address::parse(&url).and_then(|address| Db::open(&address).map_err(|failed| failed.to_string()))?;
        let mut server = Self { process, folder, db, address, cookies: String::new(), storage: String::new() };
        server.set_up(code, &data.join("storage"))?;
        Ok(server)
    }

    fn set_up(&mut self, code: &str, storage: &Path) -> Result<(), String> {
        let path = storage.display().to_string();
        let fields = [
            ("code", code),
            ("name", "Load"),
            ("email", "load@example.org"),
            ("password", "correct horse battery"),
            ("storage_name", "local"),
            ("storage_path", &path),
        ];
        let answer = Client::new(self.address, "").post("/setup", &fields)?;
        answer.leads_to()?;
        let session = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        let session = session.filter_map(|(_, cookie)| cookie.split(';').next()).find(|cookie| cookie.starts_with("vmimg-session="));
        let session = session.ok_or("nobody is signed in after the set-up")?;
        // A browser that has uploaded before: any token of this form.
        self.cookies = format!("{session}; vmimg-device={}", "5".repeat(64));
        let page = self.client().get("/local-storages")?;
        let page = String::from_utf8_lossy(&page.body).into_owned();
        let id = page
            .split("/local-storages/")
            .find_map(|rest| rest.get(..36).filter(|id| id.bytes().filter(|byte| *byte == b'-').count() == 4));
        self.storage = id.ok_or_else(|| format!("the storage is not on its page: {page}"))?.to_owned();
        Ok(())
    }

    /// A client that is signed in.
    pub fn client(&self) -> Client {
        Client::new(self.address, &self.cookies)
    }

    /// Where the storage keeps what is being received.
    pub fn staging(&self) -> PathBuf {
        self.folder.path().join("data/storage/staging")
    }

    /// Where it keeps what is complete.
    pub fn images(&self) -> PathBuf {
        self.folder.path().join("data/storage/images")
    }

    /// The log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Goes through the wizard up to the file; answers the address to which the form with the file is sent.
    pub fn wizard(&self, client: &mut Client, name: &str) -> Result<String, String> {
        let first = client.get("/images/new")?;
        let draft = first.leads_to()?.trim_end_matches("/general").to_owned();
        client.post(&format!("{draft}/general"), &[("name", name), ("note", ""), ("kind", "installation")])?.leads_to()?;
        client.post(&format!("{draft}/configuration"), &[("storage", &self.storage), ("os", "other")])?.leads_to()?;
        Ok(format!("{draft}/create"))
    }

    /// Announces an upload of so many bytes that is sent in chunks; answers its address.
    pub fn announce(&self, client: &mut Client, name: &str, bytes: usize) -> Result<String, String> {
        let pairs = [("filename", "image.iso"), ("storage", &self.storage), ("name", name)];
        let metadata: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value))).collect();
        let headers = format!("{TUS}Upload-Length: {bytes}\r\nUpload-Metadata: {}\r\n", metadata.join(","));
        let answer = client.ask("POST", "/uploads", &headers, &[])?;
        let id = answer.header("location").rsplit_once('/').filter(|_| answer.status == 201).map(|(_, id)| id);
        id.map(|id| format!("/uploads/{id}")).ok_or_else(|| answer.wrong("an upload"))
    }

    /// Gives such an upload up.
    pub fn give_up(&self, client: &mut Client, upload: &str) -> Result<(), String> {
        let answer = client.ask("DELETE", upload, TUS, &[])?;
        if answer.status == 204 { Ok(()) } else { Err(answer.wrong("the end of an upload")) }
    }

    /// Uploads a file through the form and says how long it took from the first byte of the request to the answer, in seconds.
    pub fn upload(&self, client: &mut Client, name: &str, file: &[u8]) -> Result<(f64, String), String> {
        let create = self.wizard(client, name)?;
        let begun = Instant::now();
        let answer = client.send_file(&create, file)?;
        let took = begun.elapsed().as_secs_f64();
        let image = answer.leads_to()?.to_owned();
        let page = client.get(&image)?;
        if !String::from_utf8_lossy(&page.body).contains(&crate::fixtures::sha256(file)) {
            return Err(page.wrong("the page of an Available image with its SHA-256"));
        }
        Ok((took, image))
    }

    /// Deletes an image, so that the next finds the same room.
    pub fn delete(&self, client: &mut Client, image: &str) -> Result<(), String> {
        let page = client.get(&format!("{image}/deletion"))?;
        let page = String::from_utf8_lossy(&page.body).into_owned();
        let version = page.split("name=\"version\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        client.post(&format!("{image}/deletion"), &[("version", version)])?.leads_to().map(drop)
    }

    /// How many rows a table has under a condition.
    pub fn count(&self, table_where: &str) -> Result<i64, String> {
        let statement = format!("SELECT COUNT(*) AS n FROM {table_where}");
        let found: Result<Number, Failure> = self.db.read_now(|conn| Ok(sql_query(statement).get_result(conn).map_err(DbError::from)?));
        found.map(|found| found.n).map_err(|failed| failed.to_string())
    }

    /// What the process uses now.
    pub fn uses(&self) -> Result<Use, String> {
        let folder = PathBuf::from(format!("/proc/{}", self.process.id()));
        let status = fs::read_to_string(folder.join("status")).map_err(|failed| failed.to_string())?;
        let lines: BTreeMap<&str, &str> = status.lines().filter_map(|line| line.split_once(':')).collect();
        let number = |name: &str| lines.get(name).and_then(|text| text.split_whitespace().next()?.parse::<u32>().ok()).unwrap_or(0);
        let count = |name: &str| fs::read_dir(folder.join(name)).map_or(0, Iterator::count);
        Ok(Use {
            resident_mib: f64::from(number("VmRSS")) / 1024.0,
            peak_mib: f64::from(number("VmHWM")) / 1024.0,
            threads: count("task"),
            descriptors: count("fd"),
        })
    }

    /// Waits until the process uses no more threads and descriptors than these, for so long at most; answers what it uses and how long that took.
    pub fn settled(&self, threads: usize, descriptors: usize, most: Duration) -> Result<(Use, Duration), String> {
        let begun = Instant::now();
        loop {
            let uses = self.uses()?;
            if (uses.threads <= threads && uses.descriptors <= descriptors) || begun.elapsed() > most {
                return Ok((uses, begun.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The body of a form with a file, whole.
pub fn form_of(file: &[u8]) -> Vec<u8> {
    [FILE_PART, file, END_OF_FORM].concat()
}
