//! Work in the background: the queue's worker and the watchers.
//!
//! A watcher takes no hints: it compares what is with what should be, and may run twice. Each is one function that does one round, so that
//! tests call it when they want; [`run`] calls them all, again and again, until the service stops.

mod end_leases;
mod sweep;
mod watch_storages;
mod worker;

use std::{future::Future, time::Duration};

use tokio::{sync::watch, time};

pub use end_leases::{end_leases, end_leases_of_earlier_processes};
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

/// Runs everything in the background until `stop` says so.
pub async fn run(service: Service, stop: watch::Receiver<bool>) {
    tokio::join!(
        every(WATCH_EVERY, stop.clone(), "watch storages", || watch_storages(&service)),
        compare(&service, stop.clone()),
        every(LEASES_EVERY, stop.clone(), "end leases", || end_leases(&service)),
        every(SWEEP_EVERY, stop.clone(), "sweep", || sweep(&service)),
        // Several at once, so that reading a large image does not hold up a small deletion.
        work(&service, stop.clone()),
        work(&service, stop.clone()),
        work(&service, stop.clone()),
    );
}

async fn compare(service: &Service, mut stop: watch::Receiver<bool>) {
    loop {
        report("compare storages", compare_storages(service).await);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = service.compare.notified() => {}
            () = time::sleep(COMPARE_EVERY) => {}
        }
    }
}

async fn work(service: &Service, mut stop: watch::Receiver<bool>) {
    loop {
        report("work off the queue", work_off(service).await);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = service.wake.notified() => {}
            () = time::sleep(WORK_EVERY) => {}
        }
    }
}

async fn every<F: Future<Output = Result<(), Failure>>>(
    pause: Duration,
    mut stop: watch::Receiver<bool>,
    name: &'static str,
    round: impl Fn() -> F,
) {
    loop {
        report(name, round().await);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = time::sleep(pause) => {}
        }
    }
}

fn report(name: &str, outcome: Result<(), Failure>) {
    if let Err(failed) = outcome {
        tracing::warn!(watcher = name, error = %failed, "a round in the background did not succeed; it is tried again");
    }
}
