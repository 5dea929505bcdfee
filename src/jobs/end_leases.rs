//! Ends transfers whose lease ran out: nobody sent a byte for a minute, or the process that received them is gone.

use crate::{
    clock,
    db::{Db, jobs, uploads, uploads::Upload},
    domain::{ids::InstanceId, upload::Stopped},
    operations::{Failure, Service, check_storage, stop_upload},
};

/// Ends what has lapsed.
pub async fn end_leases(service: &Service) -> Result<(), Failure> {
    for upload in lapsed(&service.db, None).await? {
        let why = if upload.offset() == 0 { Stopped::NeverSent } else { Stopped::Interrupted };
        end(service, &upload, why).await?;
    }
    Ok(())
}

/// At the start, on a database that only this process uses: whatever another process was receiving is over, and so is its hold on jobs.
pub async fn end_leases_of_earlier_processes(service: &Service) -> Result<(), Failure> {
    for upload in lapsed(&service.db, Some(service.instance)).await? {
        end(service, &upload, Stopped::ServiceStopped).await?;
    }
    service.db.write(|tx| Ok(jobs::free_all(tx)?)).await
}

async fn lapsed(db: &Db, sole_instance: Option<InstanceId>) -> Result<Vec<Upload>, Failure> {
    db.read(move |conn| Ok(uploads::lapsed(conn, clock::now(), sole_instance)?)).await
}

async fn end(service: &Service, upload: &Upload, why: Stopped) -> Result<(), Failure> {
    stop_upload::run(service, upload.image_id, upload.fence, why, String::new(), check_storage::watcher()).await
}
