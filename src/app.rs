//! Wires everything: opens the records, starts the work in the background, binds, and runs until it is told to stop.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{HttpServer, dev::ServerHandle};
use tokio::sync::{Notify, watch};

use crate::{
    config::Config,
    db::{Db, migrate},
    domain::ids::InstanceId,
    jobs, meter,
    operations::{Failure, Service, set_up},
    storage::Registry,
    web::{
        self,
        connection::{self, Capacity},
    },
};

/// How long requests under way may go on after the service was told to stop, in seconds.
const GRACE: u64 = 20;
/// As many open files as are asked of a system that has no limit.
const MOST_OPEN_FILES: u64 = 1 << 20;
/// Connections at once, however many files may be open.
const MOST_CONNECTIONS: usize = 100_000;
/// The service counts as idle when nothing has been under way for so long: the last bytes of an answer need a moment to leave.
const IDLE: Duration = Duration::from_millis(250);
/// The signal for a file that grows beyond a limit, on Linux.
const SIGXFSZ: i32 = 25;

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder.
    #[error("the data folder {} cannot be used: {source}", path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process.
    #[error("another vmimg is using {}", .0.display())]
    InUse(PathBuf),
    /// The address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The records, or the first run.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// A lock that ends with the process: one service a data folder, for SQLite has one process.
#[derive(Debug)]
pub struct DataDirLock {
    file: std::fs::File,
}

/// How many processes the lock's file remembers: more than can have died while the records were out of reach.
const REMEMBERED: usize = 32;

impl DataDirLock {
    /// Writes a process into the file of the lock, and answers those that stood there. They are gone, or they would have the lock: what
    /// they held in the records need not wait until their leases run out.
    pub fn sign(&mut self, instance: InstanceId) -> std::io::Result<Vec<InstanceId>> {
        use std::io::{Read, Write};
        let mut text = String::new();
        // Whatever else stands there, as after a power cut, names no process.
        let _ = (&self.file).take(1 << 20).read_to_string(&mut text);
        let mut gone: Vec<InstanceId> = text.lines().filter_map(|line| line.parse().ok()).collect();
        gone.drain(..gone.len().saturating_sub(REMEMBERED));
        if text.len() > 4_096 {
            self.file.set_len(0)?;
            let kept: String = gone.iter().map(|id| format!("{id}\n")).collect();
            (&self.file).write_all(kept.as_bytes())?;
        }
        // On a line of its own, even if the last one was cut off.
        (&self.file).write_all(format!("\n{instance}\n").as_bytes())?;
        self.file.sync_data()?;
        Ok(gone)
    }
}

/// Makes the data folder, readable by its owner only, and takes its lock.
pub fn take_data_dir(path: &Path) -> Result<DataDirLock, StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let fault = |source| StartError::DataDir { path: path.to_owned(), source };
    if !path.is_dir() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fault)?;
    }
    let file = std::fs::OpenOptions::new().create(true).read(true).append(true).open(path.join("lock")).map_err(fault)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(DataDirLock { file }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::InUse(path.to_owned())),
        Err(failed) => Err(fault(failed.into())),
    }
}

/// Opens the records, bringing their schema up to date.
pub fn open(config: Arc<Config>) -> Result<Service, StartError> {
    let db = Db::open(&config.database).map_err(Failure::Db)?;
    for name in migrate::run(&db).map_err(Failure::Db)? {
        tracing::info!(migration = %name, "the schema was brought up to date");
    }
    Ok(Service {
        db,
        storages: Registry::default(),
        config,
        instance: InstanceId::new(),
        predecessors: Arc::default(),
        wake: Arc::new(Notify::new()),
        compare: Arc::new(Notify::new()),
        life: Arc::default(),
    })
}

/// A service that runs.
pub struct Running {
    /// Where it listens; with port 0 in the settings the system chose one.
    pub address: SocketAddr,
    /// Where metrics are served, if they are.
    pub metrics: Option<SocketAddr>,
    /// The one-time code of the set-up page, while nobody has been created.
    pub setup_code: Option<String>,
    service: Service,
    handle: ServerHandle,
    stop: watch::Sender<bool>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// Starts serving; call it on an actix runtime.
pub async fn start(service: Service) -> Result<Running, StartError> {
    let setup_code = {
        let service = service.clone();
        tokio::task::spawn_blocking(move || set_up::prepare(&service)).await.map_err(|failed| Failure::Broken(failed.to_string()))??
    };
    jobs::end_leases_of_earlier_processes(&service).await?;
    // A write beyond the system's limit for one file must be an error of that write, not the end of the process.
    let _ = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(SIGXFSZ));
    let metrics = serve_metrics(&service)?;
    let wanted = service.config.listen;
    let fault = |source| StartError::Listen { address: wanted, source };
    let capacity = Capacity {
        workers: std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 16),
        connections: connections_within(raise_open_files()),
        grace: GRACE,
    };
    let listener = connection::listen(wanted).map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    let server = connection::server(service.clone(), listener, capacity).map_err(fault)?;
    let handle = server.handle();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(jobs::run(service.clone(), stopped));
    Ok(Running { address, metrics, setup_code, service, handle, stop, server: tokio::spawn(server) })
}

/// Serves metrics, if the settings want them. Where nobody chose the address and another process has it, the service goes without them:
/// two services on one machine are more useful than none.
fn serve_metrics(service: &Service) -> Result<Option<SocketAddr>, StartError> {
    let Some(wanted) = service.config.metrics_listen else { return Ok(None) };
    meter::start();
    let for_app = service.clone();
    let server = HttpServer::new(move || web::metrics_app(for_app.clone()))
        .workers(1)
        .max_connections(32)
        .client_request_timeout(Duration::from_secs(5))
        .keep_alive(Duration::from_secs(75))
        .disable_signals()
        .bind(wanted);
    match server {
        Ok(server) => {
            let address = server.addrs().first().copied().unwrap_or(wanted);
            tracing::info!("metrics are at http://{address}/metrics");
            tokio::spawn(server.run());
            Ok(Some(address))
        }
        Err(failed) if !service.config.metrics_were_asked_for() => {
            tracing::warn!(
                address = %wanted, error = %failed,
                "metrics are not served, because their address cannot be had; set metrics_listen to another one, or to off"
            );
            Ok(None)
        }
        Err(source) => Err(StartError::Listen { address: wanted, source }),
    }
}

/// Raises the number of files that this process may have open to the most that it is allowed; answers it. What shells and systemd give
/// by default, 1,024, is less than a thousand clients and their files need.
fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let given = getrlimit(Resource::Nofile);
    let most = given.maximum.unwrap_or(MOST_OPEN_FILES).min(MOST_OPEN_FILES);
    let current = given.current.unwrap_or(most);
    if current >= most {
        tracing::info!(limit = current, "open files");
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: given.maximum }) {
        Ok(()) => {
            tracing::info!(limit = most, before = current, "the limit of open files was raised");
            most
        }
        Err(failed) => {
            tracing::warn!(limit = current, error = %failed, "the limit of open files could not be raised");
            current
        }
    }
}

/// How many connections there may be with so many open files: the rest is for the files of those whose bytes flow, and for the records.
fn connections_within(open_files: u64) -> usize {
    usize::try_from(open_files / 8 * 5).unwrap_or(usize::MAX).clamp(32, MOST_CONNECTIONS)
}

impl Running {
    /// Serves until a signal says to stop; then lets requests under way end, for a while.
    pub async fn until_signal(self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let Self { service, handle, stop, mut server, .. } = self;
        tokio::select! {
            ended = &mut server => return ended.unwrap_or_else(|failed| Err(std::io::Error::other(failed))),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        service.life.stop();
        meter::read("readiness", vec![meter::ready(false)]);
        stop.send_replace(true);
        let orderly = async {
            tokio::time::sleep(service.config.stop_delay).await;
            // From here on nobody connects any more. What is under way goes on; connections that only wait do not hold up the end.
            tokio::spawn(handle.stop(true));
            if tokio::time::timeout(Duration::from_secs(GRACE), idle(&service)).await.is_err() {
                tracing::warn!(requests = service.life.active_requests(), "requests under way are cut off");
            }
            if let Err(failed) = tokio::time::timeout(Duration::from_secs(2), service.db.settle()).await {
                tracing::warn!(error = %failed, "the database was not settled");
            }
        };
        tokio::select! {
            () = orderly => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Comes back when no request is being answered and no image's files are being written.
async fn idle(service: &Service) {
    let mut since = None;
    loop {
        if service.life.active_requests() > 0 || service.storages.is_occupied() {
            since = None;
        } else if since.get_or_insert_with(Instant::now).elapsed() >= IDLE {
            return;
        }
        tokio::time::sleep(IDLE / 5).await;
    }
}
