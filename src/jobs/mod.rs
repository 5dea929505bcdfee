//! Work in the background: the queue's worker and the watchers.
//!
//! A watcher takes no hints: it compares what is with what should be, and may run twice. Each is one function that does one round, so that
//! tests call it when they want; [`run`] calls them all, again and again, until the service stops.

mod end_leases;
mod figures;
mod sweep;
mod watch_storages;
mod worker;

use std::{future::Future, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time,
};

pub use end_leases::{end_leases, end_leases_of_earlier_processes, expire_uploads};
pub use figures::{read_large, read_small, watch_readiness};
pub use sweep::sweep;
pub use watch_storages::{compare_storages, watch_storages};
pub use worker::work_off;

use crate::operations::{Failure, Service};

/// How often storages are looked at: lost is noticed within this and the time a storage may take to answer.
const WATCH_EVERY: Duration = Duration::from_secs(3);
/// How often files are compared with records.
const COMPARE_EVERY: Duration = Duration::from_secs(600);
/// How often leases are looked at.
const LEASES_EVERY: Duration = Duration::from_secs(5);
/// How often the queue is looked at when nobody says that there is work.
const WORK_EVERY: Duration = Duration::from_secs(2);
/// How often what has expired is thrown away.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How often the figures of the metrics are read from the records.
const FIGURES_EVERY: Duration = Duration::from_secs(5);

/// Runs everything in the background until `stop` says so.
pub async fn run(service: Service, stop: watch::Receiver<bool>) {
    // What nobody wakes.
    let never = Notify::new();
    let watch = || every(WATCH_EVERY, &never, stop.clone(), "watch storages", || watch_storages(&service));
    let compare = || every(COMPARE_EVERY, &service.compare, stop.clone(), "compare storages", || compare_storages(&service));
    let leases = || every(LEASES_EVERY, &never, stop.clone(), "end leases", || end_leases(&service));
    let expired = || every(SWEEP_EVERY, &never, stop.clone(), "sweep", || sweep(&service));
    let kept = || every(SWEEP_EVERY, &never, stop.clone(), "expire uploads", || expire_uploads(&service));
    let ready = || every(FIGURES_EVERY, &never, stop.clone(), "watch readiness", || watch_readiness(&service));
    let small = || every(FIGURES_EVERY, &never, stop.clone(), "read figures", || read_small(&service));
    let large = || every(FIGURES_EVERY, &never, stop.clone(), "count images and jobs", || read_large(&service));
    // Without a listener nobody asks for them.
    let figures = async {
        if service.config.metrics_listen.is_some() {
            tokio::join!(ready(), small(), large());
        }
    };
    let work = || every(WORK_EVERY, &service.wake, stop.clone(), "work off the queue", || work_off(&service));
    // Several workers, so that reading a large image does not hold up a small deletion.
    tokio::join!(watch(), compare(), leases(), expired(), kept(), figures, work(), work(), work());
}

/// One round after another, with a pause between them that `wake` cuts short.
async fn every<F: Future<Output = Result<(), Failure>>>(
    pause: Duration,
    wake: &Notify,
    mut stop: watch::Receiver<bool>,
    name: &'static str,
    round: impl Fn() -> F,
) {
    loop {
        if let Err(failed) = round().await {
            tracing::warn!(watcher = name, error = %failed, "a round in the background did not succeed; it is tried again");
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = wake.notified() => {}
            () = time::sleep(pause) => {}
        }
    }
}
