//! Looks at every storage, all of them at once, so that one that hangs delays no other.

use tokio::task::JoinSet;

use crate::{
    db::{storages, storages::Storage},
    domain::storage::Health,
    operations::{Failure, Service, check_storage},
};

/// Looks at each storage once. One that came back is to be compared with the records at once.
pub async fn watch_storages(service: &Service) -> Result<(), Failure> {
    for_each(
        service,
        |_| true,
        |service, storage| async move {
            if check_storage::look(&service, &storage).await? && storage.health == Health::Degraded {
                service.compare.notify_one();
            }
            Ok(())
        },
    )
    .await
}

/// Compares the files on each healthy storage with the records.
pub async fn compare_storages(service: &Service) -> Result<(), Failure> {
    for_each(
        service,
        |storage| storage.health == Health::Healthy,
        |service, storage| async move { check_storage::reconcile(&service, &storage).await },
    )
    .await
}

async fn for_each<F: Future<Output = Result<(), Failure>> + Send + 'static>(
    service: &Service,
    choose: impl Fn(&Storage) -> bool,
    act: impl Fn(Service, Storage) -> F,
) -> Result<(), Failure> {
    let all = service.db.read(|conn| Ok::<_, Failure>(storages::all(conn, None)?)).await?;
    let mut looks = JoinSet::new();
    for storage in all.into_iter().filter(|storage| storage.health != Health::Removed && choose(storage)) {
        let (id, looking) = (storage.id, act(service.clone(), storage));
        looks.spawn(async move { looking.await.map_err(|failed| (id, failed)) });
    }
    while let Some(looked) = looks.join_next().await {
        match looked {
            Ok(Ok(())) => {}
            Ok(Err((storage, failed))) => tracing::warn!(%storage, error = %failed, "a storage could not be looked at"),
            Err(failed) => tracing::warn!(error = %failed, "a look at a storage broke off"),
        }
    }
    Ok(())
}
