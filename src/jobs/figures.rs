//! Reads the figures that stand in the records, for whoever scrapes the metrics.
//!
//! Small tables are read every few seconds. Images and jobs can be a million: they are read in slices, with a rest after each that is many
//! times as long as the slice took, so that counting takes a few hundredths of one connection's time at most, however many there are.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    clock,
    db::{
        figures::{self, JobState},
        jobs, storages,
    },
    domain::{
        image::{Kind, Shown},
        storage::Health,
    },
    meter,
    operations::{Failure, Service, readiness},
};

/// Rows of one slice.
const SLICE: i64 = 10_000;
/// How many times as long as a slice took the rest after it lasts.
const REST: u32 = 50;

/// Whether the service is ready. Apart from the others, because it answers also when the records do not.
pub async fn watch_readiness(service: &Service) -> Result<(), Failure> {
    meter::tidy();
    meter::read("readiness", vec![meter::ready(readiness::look(service).await.is_ready())]);
    Ok(())
}

/// The small tables.
pub async fn read_small(service: &Service) -> Result<(), Failure> {
    let (idle, longest) = (service.config.session_idle, service.config.session_longest);
    let (storages, sessions) = service
        .db
        .read(move |conn| {
            let now = clock::now();
            Ok::<_, Failure>((storages::all(conn, None)?, figures::sessions(conn, now.minus(idle), now.minus(longest))?))
        })
        .await?;
    let present = storages.iter().filter(|storage| storage.health != Health::Removed);
    let figures =
        present.flat_map(|storage| meter::storage(&storage.name, storage.health == Health::Healthy, storage.capacity(), storage.free()));
    meter::read("storages", figures.collect());
    meter::read("sessions", vec![meter::sessions(sessions)]);
    Ok(())
}

/// The tables that can be large.
pub async fn read_large(service: &Service) -> Result<(), Failure> {
    read_images(service).await?;
    read_jobs(service).await
}

async fn read_images(service: &Service) -> Result<(), Failure> {
    let mut counted = Vec::new();
    let mut place = 0;
    loop {
        let (begun, from) = (Instant::now(), place);
        let (slice, end) = service.db.read(move |conn| Ok::<_, Failure>(figures::images(conn, from, SLICE)?)).await?;
        counted.extend(slice);
        let Some(end) = end else { break };
        place = end;
        rest(begun).await;
    }
    // The health of the storages as it is when the count is whole: it decides what all images of a storage are shown as.
    let storages = service.db.read(|conn| Ok::<_, Failure>(storages::all(conn, None)?)).await?;
    let health: BTreeMap<_, _> = storages.iter().map(|storage| (storage.id, storage.health)).collect();
    let mut totals: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for kind in Kind::ALL {
        totals.extend(Shown::ALL.iter().map(|shown| ((kind.as_str(), shown.as_str()), 0)));
    }
    for group in counted {
        let shown = health.get(&group.storage).and_then(|health| Shown::of(group.status, *health, group.file));
        if let Some(shown) = shown {
            *totals.entry((group.kind.as_str(), shown.as_str())).or_default() += group.count;
        }
    }
    meter::read("images", totals.into_iter().map(|((kind, shown), count)| meter::images(kind, shown, count)).collect());
    Ok(())
}

async fn read_jobs(service: &Service) -> Result<(), Failure> {
    let mut totals: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for kind in jobs::Kind::ALL {
        totals.extend(JobState::ALL.iter().map(|state| ((kind.as_str(), state.as_str()), 0)));
    }
    let mut place = String::new();
    loop {
        let (begun, from) = (Instant::now(), place);
        let (slice, end) = service.db.read(move |conn| Ok::<_, Failure>(figures::jobs(conn, &from, SLICE, clock::now())?)).await?;
        for group in slice {
            *totals.entry((group.kind.as_str(), group.state.as_str())).or_default() += group.count;
        }
        let Some(end) = end else { break };
        place = end;
        rest(begun).await;
    }
    meter::read("jobs", totals.into_iter().map(|((kind, state), count)| meter::jobs(kind, state, count)).collect());
    Ok(())
}

async fn rest(begun: Instant) {
    tokio::time::sleep((begun.elapsed() * REST).min(Duration::from_secs(60))).await;
}
