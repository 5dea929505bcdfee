//! Ends transfers that nobody carries on: nobody sent a byte for a minute, or the process that received them is gone. What they sent is kept
//! for some days, and then dropped.

use crate::{
    clock,
    db::{
        Address, jobs,
        uploads::{self, Lapsed, Upload},
    },
    domain::upload::Stopped,
    meter::Ended,
    operations::{
        Failure, Service, check_storage,
        stop_upload::{self, End},
    },
};

/// Ends what has lapsed, and what processes that are gone had left to do.
pub async fn end_leases(service: &Service) -> Result<(), Failure> {
    let mut lapsed = service.db.read(|conn| Ok::<_, Failure>(uploads::lapsed(conn, Lapsed::At(clock::now()))?)).await?;
    while !lapsed.is_empty() {
        for upload in &lapsed {
            let why = if upload.offset() == 0 { Stopped::NeverSent } else { Stopped::Interrupted };
            end(service, upload, why).await?;
        }
        // What such a transfer had renamed into place already is nobody's now.
        service.compare.notify_one();
        lapsed = service.db.read(|conn| Ok::<_, Failure>(uploads::lapsed(conn, Lapsed::At(clock::now()))?)).await?;
    }
    end_leases_of_earlier_processes(service).await
}

/// Whatever a process that is gone was receiving is over, and so is its hold on jobs. On SQLite that is every other process; elsewhere it
/// is those that used this data folder before, whose lock this process has. Others may be alive: their leases run out.
pub async fn end_leases_of_earlier_processes(service: &Service) -> Result<(), Failure> {
    let sole = matches!(service.config.database, Address::Sqlite(_)).then_some(service.instance);
    if sole.is_none() && service.predecessors.is_empty() {
        return Ok(());
    }
    loop {
        let gone = service.predecessors.clone();
        let (left, held) = service
            .db
            .read(move |conn| {
                let of_the_dead = sole.map_or(Lapsed::Of(&gone), Lapsed::NotOf);
                Ok::<_, Failure>((uploads::lapsed(conn, of_the_dead)?, jobs::held_by_others(conn, sole, &gone)?))
            })
            .await?;
        if held {
            let gone = service.predecessors.clone();
            service.db.write(move |tx| Ok::<_, Failure>(jobs::free(tx, sole, &gone)?)).await?;
            service.wake.notify_one();
        }
        if left.is_empty() {
            return Ok(());
        }
        for upload in &left {
            end(service, upload, Stopped::ServiceStopped).await?;
        }
        service.compare.notify_one();
    }
}

/// Drops what has been kept of interrupted uploads for long enough.
pub async fn expire_uploads(service: &Service) -> Result<(), Failure> {
    loop {
        let expired = service.db.read(|conn| Ok::<_, Failure>(uploads::expired(conn, clock::now())?)).await?;
        if expired.is_empty() {
            return Ok(());
        }
        for upload in &expired {
            stop_upload::forget(service, upload, Stopped::Expired, check_storage::watcher()).await?;
        }
    }
}

async fn end(service: &Service, upload: &Upload, why: Stopped) -> Result<(), Failure> {
    let end = End::of(why, Ended::Expired, "");
    stop_upload::run(service, upload.image_id, upload.fence, end, check_storage::watcher()).await.map(drop)
}
