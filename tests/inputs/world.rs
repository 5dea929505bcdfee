//! The real program as a process of its own, with a folder and a database of its own, and a client that speaks over plain sockets.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, connection::SimpleConnection, sql_query, sql_types};
use tempfile::TempDir;
use vmimg::{
    db::{Address, Db},
    operations::Failure,
};

use super::answer::{self, Answer};

/// E-mail address and password of the administrator.
pub const ADMIN: (&str, &str) = ("ada@example.org", "correct horse battery");
/// How long an answer may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The cookies of one browser.
pub type Jar = BTreeMap<String, String>;

/// A service that runs.
pub struct World {
    child: Child,
    pub pid: u32,
    pub port: u16,
    dir: TempDir,
    pub postgres: Option<(String, String)>,
    db: Db,
    /// The administrator's browser.
    pub jar: Jar,
    /// The storage “local”.
    pub storage: String,
    /// The cluster “Default”.
    pub cluster: String,
    /// What was wrong with any answer so far.
    pub problems: Vec<String>,
    counter: u32,
    log_seen: usize,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = sql_types::BigInt)]
    n: i64,
}

#[derive(QueryableByName)]
struct Text {
    #[diesel(sql_type = sql_types::Text)]
    t: String,
}

/// A request before it is sent.
pub struct Ask {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cookies: bool,
    origin: bool,
}

/// Begins a request.
pub fn ask(method: &str, path: impl Into<String>) -> Ask {
    Ask { method: method.to_owned(), path: path.into(), headers: Vec::new(), body: Vec::new(), cookies: true, origin: true }
}

impl Ask {
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends no cookies.
    pub fn anonymous(mut self) -> Self {
        self.cookies = false;
        self
    }

    /// Sends no `Origin`.
    pub fn without_origin(mut self) -> Self {
        self.origin = false;
        self
    }

    pub fn json(self) -> Self {
        self.header("Accept", "application/json")
    }

    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let text = serde_html_form::to_string(fields).unwrap();
        self.body("application/x-www-form-urlencoded", text)
    }

    pub fn body(self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        Self { body, ..self.header("Content-Type", kind).header("Content-Length", length) }
    }

    /// Sends it from the administrator's browser.
    pub fn send(self, world: &mut World) -> Answer {
        let mut jar = std::mem::take(&mut world.jar);
        let answer = self.send_as(world, &mut jar);
        world.jar = jar;
        answer
    }

    /// The same, and goes where the answer leads.
    pub fn follow(self, world: &mut World) -> Answer {
        let answer = self.send(world);
        world.lead(answer)
    }

    /// Sends it from another browser.
    pub fn send_as(self, world: &mut World, jar: &mut Jar) -> Answer {
        let head_only = self.method == "HEAD";
        let what = format!("{} {:.120}", self.method, self.path);
        let mut head = format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n", self.method, self.path, world.port);
        if self.origin && self.method != "GET" {
            head += &format!("Origin: http://127.0.0.1:{}\r\n", world.port);
        }
        if self.cookies && !jar.is_empty() {
            let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            head += &format!("Cookie: {}\r\n", cookies.join("; "));
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        let answer = world.exchange(&bytes, head_only);
        for (_, value) in answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let pair = value.split(';').next().unwrap_or_default();
            let Some((name, content)) = pair.split_once('=') else { continue };
            if value.to_ascii_lowercase().contains("max-age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), content.to_owned());
            }
        }
        world.look_at(&what, &answer);
        answer
    }
}

impl World {
    /// Starts the program on SQLite or PostgreSQL, with these settings more, and sets it up through its page.
    pub fn start(on_postgres: bool, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("vmimg-inputs-").tempdir().unwrap();
        for folder in ["media", "media/local"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let data = dir.path().join("data");
        let postgres = on_postgres.then(|| {
            let server = std::env::var("VMIMG_TEST_POSTGRES").expect("VMIMG_TEST_POSTGRES names no server – see tests/tools/postgres");
            let name = format!("inputs_{}", vmimg::domain::ids::JobId::new().as_uuid().simple());
            on_server(&server, &format!("CREATE DATABASE {name}"));
            (server, name)
        });
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new(std::env::var_os("VMIMG_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_vmimg").into()));
        command.arg("serve").current_dir(dir.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", dir.path()).env("VMIMG_DATA_DIR", &data).env("VMIMG_LISTEN", "127.0.0.1:0").env("NO_COLOR", "1");
        command.env("VMIMG_STORAGE_ROOTS", dir.path().join("media")).env("VMIMG_LOG", "info").env("VMIMG_MAX_UPLOAD", "1 PiB");
        let address = match &postgres {
            Some((server, name)) => {
                command.env("VMIMG_DATABASE_URL", format!("{server}{name}"));
                Address::parse(&format!("{server}{name}")).unwrap()
            }
            None => Address::Sqlite(data.join("vmimg.db")),
        };
        for (name, value) in settings {
            let value = value.replace("{media}", &dir.path().join("media").display().to_string());
            command.env(format!("VMIMG_{}", name.to_uppercase()), value);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.by_ref().map_while(Result::ok).find(|line| line.contains("/setup?code=")).unwrap_or_else(|| {
            panic!("the program did not start:\n{}", std::fs::read_to_string(dir.path().join("log")).unwrap_or_default())
        });
        std::thread::spawn(move || lines.for_each(drop));
        let url = line.trim().to_owned();
        let port = url.split(':').nth(2).and_then(|rest| rest.split('/').next()?.parse().ok()).unwrap();
        let code = url.split("code=").nth(1).unwrap().to_owned();
        let (pid, db) = (child.id(), Db::open(&address).unwrap());
        let (jar, storage, cluster) = (Jar::new(), String::new(), String::new());
        let mut world = Self { child, pid, port, dir, postgres, db, jar, storage, cluster, problems: Vec::new(), counter: 0, log_seen: 0 };
        let path = world.media().join("local").display().to_string();
        let fields = [
            ("code", &*code),
            ("name", "Ada"),
            ("email", ADMIN.0),
            ("password", ADMIN.1),
            ("storage_name", "local"),
            ("storage_path", &path),
        ];
        let answer = ask("POST", "/setup").form(&fields).send(&mut world);
        assert_eq!((answer.status, answer.location()), (303, "/images"), "{}", answer.words());
        world.storage = world.text("SELECT id AS t FROM storages");
        world.cluster = world.text("SELECT id AS t FROM clusters");
        world
    }

    /// Sends bytes over a connection of their own and reads the answer. What is long is sent beside the reading.
    pub fn exchange(&self, bytes: &[u8], head_only: bool) -> Answer {
        let mut stream = self.connect();
        if bytes.len() <= 64 * 1024 {
            let _ = stream.write_all(bytes);
            return answer::read(&mut stream, head_only, PATIENCE);
        }
        let mut writer = stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _ = writer.write_all(bytes);
            });
            let answer = answer::read(&mut stream, head_only, PATIENCE);
            let _ = stream.shutdown(std::net::Shutdown::Both);
            answer
        })
    }

    /// A connection.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the service accepts connections");
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Goes where a redirect leads; the page is kept beside the answer.
    pub fn lead(&mut self, mut answer: Answer) -> Answer {
        if (300..400).contains(&answer.status) {
            let location = answer.location().to_owned();
            if !location.starts_with('/') || location.starts_with("//") {
                self.problems.push(format!("a redirect leads to {location}"));
                return answer;
            }
            answer.page = Some(Box::new(ask("GET", location).send(self)));
        }
        answer
    }

    /// What must hold of every answer.
    fn look_at(&mut self, what: &str, answer: &Answer) {
        let mut wrong = |why: String| self.problems.push(format!("{what}: {why}"));
        if answer.status == 500 {
            wrong(format!("500: {:.300}", answer.words()));
        }
        if answer.status >= 400 && !answer.is_bare() {
            if !answer.header("cache-control").contains("no-store") {
                wrong(format!("{} may be kept: {:?}", answer.status, answer.header("cache-control")));
            }
            if answer.header("x-request-id").is_empty() {
                wrong(format!("{} has no number", answer.status));
            }
        }
        if answer.is_html() {
            if answer.header("x-content-type-options") != "nosniff"
                || !answer.header("content-security-policy").contains("default-src 'none'")
            {
                wrong("it lacks a header of safety".to_owned());
            }
            let html = answer.html();
            if let Some(error) = html.errors.first().filter(|_| !answer.body.is_empty()) {
                wrong(format!("its HTML is not well-formed: {error}"));
            }
        }
    }

    /// Where storages may lie.
    pub fn media(&self) -> PathBuf {
        self.dir.path().join("media")
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A folder of this name in which a storage may lie.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.media().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// A word that was not used before.
    pub fn fresh(&mut self, word: &str) -> String {
        self.counter += 1;
        format!("{word} {}", self.counter)
    }

    /// What the program wrote into its log since the last look.
    pub fn new_log(&mut self) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let new = log.get(self.log_seen..).unwrap_or_default().to_owned();
        self.log_seen = log.len();
        new
    }

    /// All of the log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    #[track_caller]
    pub fn sql(&self, statement: &str) -> usize {
        let done: Result<usize, Failure> =
            self.db.write_now(|tx| Ok(sql_query(statement).execute(tx.conn()).map_err(vmimg::db::DbError::from)?));
        done.unwrap_or_else(|failed| panic!("{statement}: {failed}"))
    }

    #[track_caller]
    pub fn number(&self, statement: &str) -> i64 {
        let found: Result<Number, Failure> =
            self.db.read_now(|conn| Ok(sql_query(statement).get_result(conn).map_err(vmimg::db::DbError::from)?));
        found.unwrap_or_else(|failed| panic!("{statement}: {failed}")).n
    }

    #[track_caller]
    pub fn texts(&self, statement: &str) -> Vec<String> {
        let found: Result<Vec<Text>, Failure> =
            self.db.read_now(|conn| Ok(sql_query(statement).load(conn).map_err(vmimg::db::DbError::from)?));
        found.unwrap_or_else(|failed| panic!("{statement}: {failed}")).into_iter().map(|row| row.t).collect()
    }

    #[track_caller]
    pub fn text(&self, statement: &str) -> String {
        let mut found = self.texts(statement);
        assert_eq!(found.len(), 1, "{statement}: {found:?}");
        found.remove(0)
    }

    /// The names of all tables.
    pub fn tables(&self) -> Vec<String> {
        self.texts(if self.postgres.is_some() {
            "SELECT table_name::text AS t FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        } else {
            "SELECT name AS t FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'image_search%'"
        })
    }

    /// Waits until something is so.
    pub fn until(&mut self, within: Duration, mut is_so: impl FnMut(&mut Self) -> bool) -> bool {
        let start = Instant::now();
        loop {
            if is_so(self) {
                return true;
            }
            if start.elapsed() > within {
                return false;
            }
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    /// Signs somebody in, in a browser of their own.
    pub fn sign_in(&mut self, email: &str, password: &str) -> (Jar, Answer) {
        let mut jar = Jar::new();
        let answer = ask("POST", "/sign-in").form(&[("email", email), ("password", password)]).send_as(self, &mut jar);
        (jar, answer)
    }

    /// Makes a user by the command line.
    pub fn user(&mut self, email: &str, role: &str) -> (Jar, Answer) {
        let service = self.service();
        let name = email.split('@').next().unwrap();
        vmimg::operations::manage_people::create_user(&service, name, email, ADMIN.1, role.parse().unwrap()).unwrap();
        self.sign_in(email, ADMIN.1)
    }

    fn service(&self) -> vmimg::operations::Service {
        use std::sync::Arc;
        let none = self.dir.path().join("none.toml");
        std::fs::write(&none, "").unwrap();
        let environment = vec![("VMIMG_DATA_DIR".to_owned(), self.data().display().to_string())];
        let config = vmimg::config::Config::load(&vmimg::config::Given { file: Some(none), environment, flags: Vec::new() }).unwrap();
        vmimg::operations::Service {
            predecessors: [].into(),
            db: self.db.clone(),
            storages: Default::default(),
            config: Arc::new(config),
            instance: vmimg::domain::ids::InstanceId::new(),
            wake: Default::default(),
            compare: Default::default(),
            life: Default::default(),
        }
    }

    /// Goes through the wizard up to its summary; answers its address without the last part.
    pub fn draft(&mut self, name: &str) -> String {
        self.draft_on(name, &self.storage.clone())
    }

    pub fn draft_on(&mut self, name: &str, storage: &str) -> String {
        let begun = ask("GET", "/images/new").send(self);
        let base = begun.location().strip_suffix("/general").unwrap_or_else(|| panic!("a wizard begins: {}", begun.words())).to_owned();
        let general = ask("POST", format!("{base}/general")).form(&[("name", name), ("kind", "installation")]).send(self);
        assert_eq!(general.status, 303, "{}", general.words());
        let configuration = ask("POST", format!("{base}/configuration")).form(&[("storage", storage), ("os", "other")]).send(self);
        assert_eq!(configuration.location(), format!("{base}/summary"), "{}", configuration.words());
        // The first look at the summary gives the browser its long-lived cookie.
        ask("GET", format!("{base}/summary")).send(self);
        base
    }

    /// Sends a file as the console's script does: its head, which makes the image, then all of it.
    pub fn deliver(&mut self, base: &str, file_name: &str, bytes: &[u8]) -> Answer {
        let made = self.announce(base, file_name, bytes);
        if made.status != 201 {
            return made;
        }
        let content = made.json()["content"].as_str().unwrap().to_owned();
        self.content(&content, file_name, bytes)
    }

    /// The first half of it.
    pub fn announce(&mut self, base: &str, file_name: &str, bytes: &[u8]) -> Answer {
        let query = serde_html_form::to_string([("name", file_name), ("size", &bytes.len().to_string())]).unwrap();
        let head = &bytes[..bytes.len().min(65_536)];
        ask("POST", format!("{base}/image?{query}")).json().body("application/octet-stream", head).send(self)
    }

    /// The second half of it.
    pub fn content(&mut self, path: &str, file_name: &str, bytes: &[u8]) -> Answer {
        ask("POST", path).json().body("multipart/form-data; boundary=b", form(file_name, bytes)).send(self)
    }

    /// Makes an image with its file; answers its identifier.
    pub fn image(&mut self, name: &str, bytes: &[u8]) -> String {
        let base = self.draft(name);
        let answer = self.deliver(&base, "image.iso", bytes);
        assert_eq!(answer.status, 200, "{name}: {}", answer.words());
        answer.json()["image"].as_str().unwrap().strip_prefix("/images/").unwrap().to_owned()
    }

    /// Takes the names of all images but one out of the way of what comes.
    pub fn free_names(&self, but: &str) {
        self.sql(&format!("UPDATE images SET name_key = id WHERE id <> '{but}' AND name_key IS NOT NULL"));
    }

    /// The identifier of the newest image.
    pub fn newest(&self) -> String {
        self.text("SELECT id AS t FROM images WHERE seq = (SELECT MAX(seq) FROM images)")
    }

    /// The file of an image on “local”.
    pub fn file_of(&self, image: &str) -> PathBuf {
        self.media().join("local/images").join(format!("{image}.iso"))
    }

    /// Whether the process is there.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }
}

/// A form with this file.
pub fn form(file_name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(bytes.len() + 300);
    part(&mut body, "b", "file", Some(file_name), bytes);
    body.extend_from_slice(b"--b--\r\n");
    body
}

/// Appends one part of a form.
pub fn part(body: &mut Vec<u8>, boundary: &str, name: &str, file_name: Option<&str>, bytes: &[u8]) {
    let file = file_name.map(|name| format!("; filename=\"{name}\"\r\nContent-Type: application/octet-stream")).unwrap_or_default();
    body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes());
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n");
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some((server, name)) = &self.postgres {
            on_server(server, &format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

fn on_server(server: &str, statement: &str) {
    let mut connection = PgConnection::establish(&format!("{server}postgres")).expect("VMIMG_TEST_POSTGRES names a server that answers");
    connection.batch_execute(statement).unwrap();
}

/// All files below a folder, with their sizes.
pub fn files_below(root: &Path) -> BTreeMap<String, u64> {
    fn walk(folder: &Path, found: &mut BTreeMap<String, u64>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let Ok(about) = entry.path().symlink_metadata() else { continue };
            if about.is_dir() {
                walk(&entry.path(), found);
            } else {
                found.insert(entry.path().display().to_string(), about.len());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, &mut found);
    found
}
