//! What is counted, for Prometheus: one table of all metrics, short ways to count, and the page that is scraped.
//!
//! Two kinds of figures stand on the page. Some are *counted* where something happens, in memory, whatever layer that is in. Others are
//! *read*: from the records by a job that takes its time, from the system when the page is asked for. What was read from the records is
//! kept with the moment of reading, so that no scrape ever waits for a database, and the page says how old it is.
//!
//! Labels are bounded: a route is a pattern and never a path, methods and results are words of a closed set, storages are the few that
//! there are. Nothing here is about persons.

mod process;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, formatting};

use crate::{
    clock::{self, Timestamp},
    domain::{audit::Action, codes::codes},
};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many took how long.
    Histogram,
}

impl Sort {
    /// The word on the page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, with its base unit.
    pub name: &'static str,
    /// What it is.
    pub sort: Sort,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence.
    pub help: &'static str,
}

const fn metric(name: &'static str, sort: Sort, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, sort, labels, help }
}

const REQUESTS: &str = "http_server_request_duration_seconds";
const ACTIVE: &str = "http_server_active_requests";
const UPLOAD_BYTES: &str = "vmimg_upload_bytes_total";
const UPLOADS_ACTIVE: &str = "vmimg_uploads_active";
const UPLOADS: &str = "vmimg_uploads_total";
const IMAGES: &str = "vmimg_images";
const CAPACITY: &str = "vmimg_storage_capacity_bytes";
const FREE: &str = "vmimg_storage_free_bytes";
const UP: &str = "vmimg_storage_up";
const JOBS: &str = "vmimg_jobs";
const JOB_DURATION: &str = "vmimg_job_duration_seconds";
const CONNECTIONS: &str = "vmimg_db_pool_connections";
const BUSY: &str = "vmimg_db_busy_total";
const LOGINS: &str = "vmimg_logins_total";
const SESSIONS: &str = "vmimg_sessions_active";
const EVENTS: &str = "vmimg_audit_events_total";
const READY: &str = "vmimg_ready";
const READ_AT: &str = "vmimg_records_read_timestamp_seconds";
const BUILD: &str = "vmimg_build_info";

/// Every metric there is. `docs/metrics.md` explains the same ones; a test compares.
pub const METRICS: &[Metric] = &[
    metric(
        REQUESTS,
        Sort::Histogram,
        &["method", "route", "status_class"],
        "Time from the head of a request to the last byte of its answer.",
    ),
    metric(ACTIVE, Sort::Gauge, &[], "Requests that are being answered now."),
    metric(UPLOAD_BYTES, Sort::Counter, &["storage"], "Bytes of images' files received."),
    metric(UPLOADS_ACTIVE, Sort::Gauge, &[], "Files that are being received now by this process."),
    metric(UPLOADS, Sort::Counter, &["result"], "Uploads that ended."),
    metric(IMAGES, Sort::Gauge, &["type", "status"], "Images by type and shown status."),
    metric(CAPACITY, Sort::Gauge, &["storage"], "Size of a storage."),
    metric(FREE, Sort::Gauge, &["storage"], "Bytes free on a storage at the last look."),
    metric(UP, Sort::Gauge, &["storage"], "1 while a storage is healthy, 0 while it is degraded."),
    metric(JOBS, Sort::Gauge, &["kind", "state"], "Jobs in the queue."),
    metric(JOB_DURATION, Sort::Histogram, &["kind"], "Time that jobs took which were done."),
    metric(CONNECTIONS, Sort::Gauge, &["state"], "Connections to the database."),
    metric(BUSY, Sort::Counter, &[], "Times that no connection or lock of the database was to be had in time."),
    metric(LOGINS, Sort::Counter, &["result"], "Attempts to sign in."),
    metric(SESSIONS, Sort::Gauge, &[], "Sessions that have not ended."),
    metric(EVENTS, Sort::Counter, &["action"], "Lines written into the audit log by this process."),
    metric(READY, Sort::Gauge, &[], "1 while this process is ready to serve, as /readyz says."),
    metric(READ_AT, Sort::Gauge, &["records"], "When the figures that come from these records were read, in seconds since 1970."),
    metric(BUILD, Sort::Gauge, &["version", "commit"], "Always 1; the labels say what runs."),
    metric("process_cpu_seconds_total", Sort::Counter, &[], "Processor time that the process has used."),
    metric("process_open_fds", Sort::Gauge, &[], "Open file descriptors."),
    metric("process_max_fds", Sort::Gauge, &[], "The most file descriptors that the process may open."),
    metric("process_virtual_memory_bytes", Sort::Gauge, &[], "Virtual memory of the process."),
    metric("process_resident_memory_bytes", Sort::Gauge, &[], "Resident memory of the process."),
    metric("process_threads", Sort::Gauge, &[], "Threads of the process."),
    metric("process_start_time_seconds", Sort::Gauge, &[], "When the process began, in seconds since 1970."),
];

/// From a page out of memory to an upload of many gigabytes.
const REQUEST_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];
/// From the removal of a small file to the reading of a large one.
const JOB_SECONDS: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3_600.0];

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that this program was built from: `VMIMG_COMMIT` of the build's environment.
pub const fn commit() -> &'static str {
    match option_env!("VMIMG_COMMIT") {
        Some(commit) if !commit.is_empty() => commit,
        _ => "unknown",
    }
}

static COUNTED: OnceLock<PrometheusHandle> = OnceLock::new();
static READ: Mutex<BTreeMap<&'static str, (Timestamp, Vec<Figure>)>> = Mutex::new(BTreeMap::new());

/// One number of the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    name: &'static str,
    labels: Vec<String>,
    value: f64,
}

fn figure<const N: usize>(name: &'static str, labels: [&str; N], value: f64) -> Figure {
    Figure { name, labels: labels.map(str::to_owned).to_vec(), value }
}

/// Begins to count. What is counted before goes nowhere. Calling it again changes nothing.
pub fn start() {
    COUNTED.get_or_init(|| {
        let mut builder = PrometheusBuilder::new();
        for (name, bounds) in [(REQUESTS, REQUEST_SECONDS), (JOB_DURATION, JOB_SECONDS)] {
            builder = match builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds) {
                Ok(builder) => builder,
                Err(failed) => {
                    tracing::error!(error = %failed, "a histogram has no bounds");
                    PrometheusBuilder::new()
                }
            };
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::error!("something else counts already; the metrics stay empty");
        }
        describe();
        handle
    });
}

/// Gives the counted metrics their words, and those whose labels are known a zero to begin with: a counter that appears only with its
/// first event hides this event from whoever looks at its growth.
fn describe() {
    for metric in METRICS {
        match metric.sort {
            Sort::Counter => metrics::describe_counter!(metric.name, metric.help),
            Sort::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Sort::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    for result in Ended::ALL {
        counter!(UPLOADS, "result" => result.as_str()).absolute(0);
    }
    for result in Login::ALL {
        counter!(LOGINS, "result" => result.as_str()).absolute(0);
    }
    for action in Action::ALL {
        counter!(EVENTS, "action" => action.as_str()).absolute(0);
    }
    counter!(BUSY).absolute(0);
    gauge!(UPLOADS_ACTIVE).set(0.0);
}

/// Folds what was measured since the last time into the histograms; to be called every few seconds, whether anybody scrapes or not.
pub fn tidy() {
    if let Some(counted) = COUNTED.get() {
        counted.run_upkeep();
    }
}

/// A request was answered or given up.
pub fn request(method: &'static str, route: String, status_class: &'static str, took: Duration) {
    histogram!(REQUESTS, "method" => method, "route" => route, "status_class" => status_class).record(took.as_secs_f64());
}

/// How an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The image is Available.
    Completed,
    /// Somebody ended it, or deleted the image.
    Cancelled,
    /// Nothing came for too long.
    Expired,
    /// The connection, the file or the storage stood against it.
    Failed,
}

codes!(Ended { Completed = "completed", Cancelled = "cancelled", Expired = "expired", Failed = "failed" });

/// An upload ended.
pub fn upload_ended(how: Ended) {
    counter!(UPLOADS, "result" => how.as_str()).increment(1);
}

/// Counts a file that is being received, for as long as it lives.
pub struct Receiving {
    bytes: metrics::Counter,
}

impl Receiving {
    /// A file begins to arrive on the storage with this name.
    pub fn begin(storage: &str) -> Self {
        gauge!(UPLOADS_ACTIVE).increment(1.0);
        Self { bytes: counter!(UPLOAD_BYTES, "storage" => storage.to_owned()) }
    }

    /// So many bytes arrived.
    pub fn bytes(&self, bytes: usize) {
        self.bytes.increment(bytes as u64);
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        gauge!(UPLOADS_ACTIVE).decrement(1.0);
    }
}

/// How an attempt to sign in ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Signed in.
    Success,
    /// Name and password do not belong together.
    Failure,
    /// Too many attempts before.
    Throttled,
    /// The service could not tell.
    Error,
}

codes!(Login { Success = "success", Failure = "failure", Throttled = "throttled", Error = "error" });

/// Somebody tried to sign in.
pub fn login(result: Login) {
    counter!(LOGINS, "result" => result.as_str()).increment(1);
}

/// A line was written into the audit log, and its transaction committed.
pub fn event(action: Action) {
    counter!(EVENTS, "action" => action.as_str()).increment(1);
}

/// No connection or no lock was to be had in time.
pub fn database_busy() {
    counter!(BUSY).increment(1);
}

/// A job was done.
pub fn job_done(kind: &'static str, took: Duration) {
    histogram!(JOB_DURATION, "kind" => kind).record(took.as_secs_f64());
}

/// How many images there are of a type in a status.
pub fn images(kind: &str, status: &str, count: u64) -> Figure {
    figure(IMAGES, [kind, status], count as f64)
}

/// How a storage is.
pub fn storage(name: &str, healthy: bool, capacity: u64, free: u64) -> [Figure; 3] {
    [figure(CAPACITY, [name], capacity as f64), figure(FREE, [name], free as f64), figure(UP, [name], f64::from(u8::from(healthy)))]
}

/// How many jobs of a kind are in a state.
pub fn jobs(kind: &str, state: &str, count: u64) -> Figure {
    figure(JOBS, [kind, state], count as f64)
}

/// How many sessions there are.
pub fn sessions(count: u64) -> Figure {
    figure(SESSIONS, [], count as f64)
}

/// Whether the service is ready.
pub fn ready(ready: bool) -> Figure {
    figure(READY, [], f64::from(u8::from(ready)))
}

/// Replaces what was read from `records` before.
pub fn read(records: &'static str, figures: Vec<Figure>) {
    READ.lock().unwrap_or_else(PoisonError::into_inner).insert(records, (clock::now(), figures));
}

/// What is known at the moment of asking.
#[derive(Debug, Clone, Copy, Default)]
pub struct Present {
    /// Requests that are being answered.
    pub active_requests: usize,
    /// Connections to the database that are in use.
    pub used_connections: u32,
    /// Connections to the database that wait.
    pub idle_connections: u32,
}

/// The page that Prometheus reads, in its text format.
pub fn page(present: Present) -> String {
    let mut page = COUNTED.get().map(PrometheusHandle::render).unwrap_or_default();
    let mut figures = vec![
        figure(ACTIVE, [], present.active_requests as f64),
        figure(CONNECTIONS, ["used"], f64::from(present.used_connections)),
        figure(CONNECTIONS, ["idle"], f64::from(present.idle_connections)),
        figure(BUILD, [VERSION, commit()], 1.0),
    ];
    for (records, (at, read)) in READ.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        figures.extend(read.iter().cloned());
        figures.push(figure(READ_AT, [*records], at.micros() as f64 / 1e6));
    }
    figures.extend(process::figures().into_iter().map(|(name, value)| figure(name, [], value)));
    write_all(&mut page, &figures);
    page
}

/// Writes figures under the words of their metrics, in the order of the table.
fn write_all(page: &mut String, figures: &[Figure]) {
    for metric in METRICS {
        let mut of_this = figures.iter().filter(|figure| figure.name == metric.name).peekable();
        if of_this.peek().is_none() {
            continue;
        }
        formatting::write_help_line(page, metric.name, None, None, metric.help);
        formatting::write_type_line(page, metric.name, None, None, metric.sort.as_str());
        for figure in of_this {
            page.push_str(metric.name);
            for (at, (label, value)) in metric.labels.iter().zip(&figure.labels).enumerate() {
                let value = formatting::sanitize_label_value(value);
                let _ = write!(page, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' });
            }
            if !metric.labels.is_empty() {
                page.push('}');
            }
            let _ = writeln!(page, " {}", figure.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_have_words() {
        for (at, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..at].iter().all(|earlier| earlier.name != metric.name), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert_eq!(metric.sort == Sort::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(!metric.labels.iter().any(|label| ["path", "user", "email", "address"].contains(label)), "{}", metric.name);
        }
    }

    #[test]
    fn the_document_lists_every_metric_and_the_alerts_name_no_other() {
        let (document, alerts) = (include_str!("../../docs/metrics.md"), include_str!("../../docs/alerts.yml"));
        let listed: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
        let labels = |metric: &Metric| metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let should: Vec<String> = METRICS
            .iter()
            .map(|metric| format!("| `{}` | {} | {} | {} |", metric.name, metric.sort.as_str(), labels(metric), metric.help))
            .collect();
        assert_eq!(listed, should);
        let words = alerts.lines().filter(|line| line.trim_start().starts_with("expr:"));
        let names: Vec<&str> = words
            .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
            .filter(|word| word.starts_with("vmimg_"))
            .collect();
        assert!(names.len() >= 4, "{names:?}");
        for name in names {
            assert!(METRICS.iter().any(|metric| metric.name == name), "{name}");
        }
    }

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let mut page = String::new();
        write_all(&mut page, &storage("a\"b\\c\nd", true, 10, 4));
        assert!(page.contains("vmimg_storage_capacity_bytes{storage=\"a\\\"b\\\\c\\nd\"} 10\n"), "{page}");
        assert!(page.contains("# TYPE vmimg_storage_up gauge\nvmimg_storage_up{"), "{page}");
        assert_eq!(page.lines().count(), 9, "{page}");
    }
}
