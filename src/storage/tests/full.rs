//! A storage without room.

use std::process::Command;

use bytes::Bytes;

use super::{receive::on_tokio, *};

#[test]
fn a_part_that_cannot_fit_is_refused_at_the_start_and_leaves_nothing() {
    let storage = Fixture::new();
    let free = storage.dir.probe().unwrap().free_bytes;
    let image = ImageId::new();
    // Four times as much, so that nothing another process deletes meanwhile could make it fit.
    let needed = free.saturating_mul(4).min(1 << 43);
    let error = storage.dir.create_part(image, Some(needed)).unwrap_err();
    assert!(error.is_full() && error.to_string().contains("GiB are needed"), "{error}");
    assert_eq!(storage.dir.contents().unwrap(), Contents::default());
}

/// A file system of 4 MiB, unmounted in the end. Only root can make one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|done| done.status.success()).then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_storage_that_fills_up_says_so_and_keeps_what_was_durable() {
    // Without the right to mount, the test above still covers a full storage.
    let Some(small) = Small::mount() else { return };
    let dir = Arc::new(Directory::initialise(small.0.path(), StorageId::new(), NOW).unwrap());
    let image = ImageId::new();
    on_tokio(async {
        let workers = Workers::new("full", 2);
        let mut receiver = Receiver::begin(Arc::clone(&dir), workers, image, None, u64::MAX).await.unwrap();
        receiver.push(Bytes::from(vec![1; 1 << 20])).await.unwrap();
        let checkpoint = receiver.checkpoint().await.unwrap();
        let error = loop {
            if let Err(error) = receiver.push(Bytes::from(vec![2; 1 << 20])).await {
                break error;
            }
        };
        let ReceiveError::Storage(error) = error else { panic!("{error}") };
        assert!(error.is_full() && error.part_survives(), "{error}");
        assert!(matches!(receiver.push(Bytes::from(vec![2; 1 << 20])).await, Err(ReceiveError::Storage(StorageError::PartIsDead))));
        assert_eq!(checkpoint.offset, 1 << 20);
        let error = dir.probe().unwrap_err();
        assert!(error.is_full(), "{error}");
        receiver.abandon().await.unwrap();
    });
    assert_eq!(dir.contents().unwrap(), Contents::default());
    assert!(dir.probe().is_ok());
    assert_eq!(fs::read_dir(small.0.path()).unwrap().count(), 3, "no probe file is left");
}
