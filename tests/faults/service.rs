//! The program under test: its folder and its database, starting it, killing it, starting it again.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use diesel::{Connection, PgConnection, connection::SimpleConnection};

use super::client::Client;

/// How long a start may take at most, on a machine that is busy.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Which database the records are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// A folder with everything that one service has, and its database.
pub struct Place {
    pub dir: PathBuf,
    pub database: Database,
    server: Option<(String, String)>,
    kept: Option<tempfile::TempDir>,
}

/// A process that serves.
pub struct Running {
    child: Child,
    /// The system has taken the process back already, and may give its number to another one.
    gone: bool,
    pub address: SocketAddr,
    pub setup_code: Option<String>,
    /// How long it took from the beginning of the process until it said where it listens.
    pub started_in: Duration,
}

impl Place {
    /// An empty place.
    pub fn new(database: Database) -> Self {
        let kept = tempfile::Builder::new().prefix("vmimg-faults-").tempdir().unwrap();
        let dir = kept.path().canonicalize().unwrap();
        fs::create_dir(dir.join("media")).unwrap();
        let server = (database == Database::Postgres).then(|| {
            let server = std::env::var("VMIMG_TEST_POSTGRES")
                .expect("VMIMG_TEST_POSTGRES names a server, as in postgres://app@127.0.0.1:5432/ – see tests/tools/postgres");
            let name = format!("faults_{}", vmimg::domain::ids::JobId::new().as_uuid().simple());
            run_on(&server, &format!("CREATE DATABASE {name}"));
            (server, name)
        });
        Self { dir, database, server, kept: Some(kept) }
    }

    /// The database, as diesel connects to it.
    pub fn database_url(&self) -> String {
        match &self.server {
            Some((server, name)) => format!("{server}{name}"),
            None => self.database_file().display().to_string(),
        }
    }

    /// The file of a SQLite database.
    pub fn database_file(&self) -> PathBuf {
        self.dir.join("data/vmimg.db")
    }

    /// What the paths of everything on storages begin with.
    pub fn media(&self) -> String {
        self.dir.join("media").display().to_string() + "/"
    }

    /// The folder of the storage with this name.
    pub fn folder(&self, storage: &str) -> PathBuf {
        self.dir.join("media").join(storage)
    }

    /// What the service logged.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn command(&self) -> Command {
        let binary = std::env::var_os("VMIMG_BINARY").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_vmimg")), PathBuf::from);
        // A file of settings that lies about must not change a test.
        let none = self.dir.join("vmimg.toml");
        fs::write(&none, "").unwrap();
        let mut command = Command::new(binary);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VMIMG_")) {
            command.env_remove(name);
        }
        command
            .current_dir(&self.dir)
            .env("VMIMG_CONFIG", none)
            .env("VMIMG_DATA_DIR", self.dir.join("data"))
            .env("VMIMG_STORAGE_ROOTS", self.dir.join("media"))
            .env("VMIMG_LISTEN", "127.0.0.1:0")
            .env("VMIMG_MAX_UNFINISHED", "100000");
        if self.database == Database::Postgres {
            command.env("VMIMG_DATABASE_URL", self.database_url());
        }
        command
    }

    /// Begins a process, without waiting for it.
    pub fn spawn(&self) -> Child {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        self.command().arg("serve").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap()
    }

    /// Starts the service and waits until it listens.
    pub fn start(&self) -> Result<Running, String> {
        let began = Instant::now();
        let mut child = self.spawn();
        let stdout = child.stdout.take().unwrap();
        let (send, receive) = std::sync::mpsc::channel();
        // Reads on for as long as the process lives, so that it never waits for its own words to be read.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        loop {
            let line = match receive.recv_timeout(STARTS_WITHIN.saturating_sub(began.elapsed())) {
                Ok(line) => line,
                Err(_) => {
                    let _ = child.kill();
                    let ended = child.wait();
                    return Err(format!("the service did not start: {ended:?}\n{}", self.last_of_log()));
                }
            };
            let Some(at) = line.find("http://") else { continue };
            let url = line[at + "http://".len()..].trim();
            let (address, rest) = url.split_once('/').unwrap_or((url, ""));
            let setup_code = rest.strip_prefix("setup?code=").map(str::to_owned);
            let address = address.parse().map_err(|failed| format!("{line}: {failed}"))?;
            return Ok(Running { child, gone: false, address, setup_code, started_in: began.elapsed() });
        }
    }

    /// The end of what the service logged.
    pub fn last_of_log(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// Leaves the folder where it is, for somebody to look at.
    pub fn keep(&mut self) -> &Path {
        if let Some(kept) = self.kept.take() {
            let _ = kept.keep();
        }
        &self.dir
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.kept.is_some()
            && let Some((server, name)) = &self.server
        {
            run_on(server, &format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

fn run_on(server: &str, statement: &str) {
    let mut connection = PgConnection::establish(&format!("{server}postgres")).expect("VMIMG_TEST_POSTGRES names a server that answers");
    connection.batch_execute(statement).unwrap();
}

impl Running {
    /// Ends the process as the system would: at once, without asking it.
    pub fn kill(mut self) {
        self.end();
    }

    /// The process died while it was traced, and the tracer has seen it end.
    pub fn has_died(mut self) {
        self.gone = true;
    }

    fn end(&mut self) {
        if self.gone {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether the process still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client that nobody has signed in with.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
