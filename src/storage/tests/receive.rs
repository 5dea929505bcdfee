//! Streams of bytes.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

pub(super) fn on_tokio<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

fn source(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

async fn begin(storage: &Fixture, image: ImageId, expected: Option<u64>, limit: u64) -> Receiver {
    Receiver::begin(Arc::clone(&storage.dir), Workers::new("receive", 2), image, expected, limit).await.unwrap()
}

/// What happens between two pushes.
#[derive(Debug, Clone, Copy)]
enum Between {
    Nothing,
    Checkpoint,
    Rest,
    /// Bytes after the last checkpoint are lost, and the sender repeats them.
    Crash,
    /// A resumption by the checkpoint of just now.
    Move,
}

fn schedule() -> impl Strategy<Value = Vec<(usize, Between)>> {
    let between = prop_oneof![
        6 => Just(Between::Nothing),
        1 => Just(Between::Checkpoint),
        1 => Just(Between::Rest),
        1 => Just(Between::Crash),
        1 => Just(Between::Move),
    ];
    prop::collection::vec((prop_oneof![0usize..2_000, 0usize..600_000], between), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_gives_the_sources_hash(steps in schedule()) {
        let storage = Fixture::new();
        let image = ImageId::new();
        let bytes = source(1_200_000);
        on_tokio(async {
            let total = Some(bytes.len() as u64);
            let workers = Workers::new("schedule", 2);
            let mut receiver = Receiver::begin(Arc::clone(&storage.dir), workers.clone(), image, total, u64::MAX).await.unwrap();
            let mut last = receiver.checkpoint().await.unwrap();
            for (count, between) in steps {
                let from = receiver.received() as usize;
                let to = (from + count).min(bytes.len());
                receiver.push(Bytes::copy_from_slice(&bytes[from..to])).await.unwrap();
                match between {
                    Between::Nothing => continue,
                    Between::Checkpoint => last = receiver.checkpoint().await.unwrap(),
                    Between::Rest => last = receiver.rest().await.unwrap(),
                    Between::Crash | Between::Move => {
                        if matches!(between, Between::Move) {
                            last = receiver.checkpoint().await.unwrap();
                        }
                        drop(receiver);
                        let dir = Arc::clone(&storage.dir);
                        receiver = Receiver::resume(dir, workers.clone(), image, total, u64::MAX, last.clone()).await.unwrap();
                    }
                }
                assert_eq!(receiver.received(), last.offset);
                assert!(fs::metadata(storage.part_path(image)).unwrap().len() >= last.offset);
            }
            let from = receiver.received() as usize;
            for piece in bytes[from..].chunks(70_000) {
                receiver.push(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            let received = receiver.finish().await.unwrap();
            assert_eq!(received.bytes, bytes.len() as u64);
            assert_eq!(received.sha256[..], Sha256::digest(&bytes)[..]);
            storage.dir.publish(image, received.part, received.bytes, &manifest(&storage.dir, image, &bytes)).unwrap();
        });
        assert!(fs::read(storage.image_path(image)).unwrap() == bytes);
    }
}

#[test]
fn nothing_that_is_too_long_is_taken() {
    let storage = Fixture::new();
    on_tokio(async {
        for (expected, limit) in [(Some(10), 1_000), (None, 10), (Some(1_000), 10)] {
            let image = ImageId::new();
            let mut receiver = begin(&storage, image, expected, limit).await;
            receiver.push(Bytes::from_static(b"12345678")).await.unwrap();
            assert!(matches!(receiver.push(Bytes::from_static(b"abc")).await, Err(ReceiveError::TooLong { allowed: 10 })));
            assert_eq!(receiver.received(), 8);
            receiver.checkpoint().await.unwrap();
            assert_eq!(fs::read(storage.part_path(image)).unwrap(), b"12345678");
        }
    });
}

#[test]
fn an_early_end_is_no_success() {
    let storage = Fixture::new();
    on_tokio(async {
        let mut receiver = begin(&storage, ImageId::new(), Some(10), 10).await;
        receiver.push(Bytes::from_static(b"123")).await.unwrap();
        assert!(matches!(receiver.finish().await, Err(ReceiveError::Incomplete { has: 3, should: 10 })));
    });
}

#[test]
fn a_resting_transfer_holds_neither_file_nor_buffer() {
    let storage = Fixture::new();
    on_tokio(async {
        let image = ImageId::new();
        let mut receiver = begin(&storage, image, None, 1 << 30).await;
        receiver.push(Bytes::from(source(300_000))).await.unwrap();
        let checkpoint = receiver.rest().await.unwrap();
        assert_eq!(checkpoint.offset, 300_000);
        assert_eq!(receiver.buffered(), 0);
        // The lock is gone with the handle.
        drop(storage.dir.open_part(image).unwrap());
        assert_eq!(receiver.rest().await.unwrap(), checkpoint);
        assert_eq!(receiver.checkpoint().await.unwrap(), checkpoint);
        let received = receiver.finish().await.unwrap();
        assert_eq!(received.sha256[..], Sha256::digest(source(300_000))[..]);
    });
}

#[test]
fn a_part_that_changed_during_a_rest_is_not_gone_on_with() {
    let storage = Fixture::new();
    on_tokio(async {
        let image = ImageId::new();
        let mut receiver = begin(&storage, image, None, 1 << 30).await;
        receiver.push(Bytes::from_static(b"123")).await.unwrap();
        receiver.rest().await.unwrap();
        fs::write(storage.part_path(image), b"12345").unwrap();
        let error = receiver.push(Bytes::from(source(300_000))).await.unwrap_err();
        assert!(matches!(error, ReceiveError::Storage(StorageError::WrongSize { has: 5, should: 3 })), "{error}");
    });
}

#[test]
fn memory_ends_at_two_buffers() {
    let storage = Fixture::new();
    on_tokio(async {
        let mut receiver = begin(&storage, ImageId::new(), None, 1 << 30).await;
        receiver.push(Bytes::from(vec![0; 512])).await.unwrap();
        assert_eq!(receiver.buffered(), 512);
        receiver.push(Bytes::from(vec![0; 1_536])).await.unwrap();
        // Of which the system gives only what is filled.
        assert_eq!(receiver.buffered(), BUFFER_BYTES);
        let piece = Bytes::from(source(70_001));
        for piece_number in 0..100 {
            receiver.push(piece.clone()).await.unwrap();
            let most = if 2_048 + 70_001 * (piece_number + 1) >= 4 << 20 { WIDE_BUFFER_BYTES } else { BUFFER_BYTES };
            assert!(receiver.buffered() <= 2 * most, "{}", receiver.buffered());
        }
    });
}

#[test]
fn an_abandoned_transfer_leaves_nothing_and_a_dropped_one_its_part() {
    let storage = Fixture::new();
    let (abandoned, dropped) = (ImageId::new(), ImageId::new());
    on_tokio(async {
        for image in [abandoned, dropped] {
            let mut receiver = begin(&storage, image, Some(1 << 20), 1 << 20).await;
            receiver.push(Bytes::from(source(600_000))).await.unwrap();
            if image == abandoned {
                receiver.abandon().await.unwrap();
            }
        }
    });
    assert_eq!(storage.dir.contents().unwrap(), Contents { parts: vec![dropped], ..Contents::default() });
}

#[test]
fn an_unusable_checkpoint_is_refused() {
    let storage = Fixture::new();
    on_tokio(async {
        let image = ImageId::new();
        let mut receiver = begin(&storage, image, None, 1 << 30).await;
        receiver.push(Bytes::from_static(b"12345")).await.unwrap();
        let good = receiver.checkpoint().await.unwrap();
        drop(receiver);
        let resume = |checkpoint| Receiver::resume(Arc::clone(&storage.dir), Workers::new("resume", 1), image, None, 1 << 30, checkpoint);
        let cut = Checkpoint { hash_state: good.hash_state[1..].to_vec(), ..good.clone() };
        assert!(matches!(resume(cut).await, Err(StorageError::BadCheckpoint)));
        let beyond = Checkpoint { offset: 6, ..good.clone() };
        assert!(matches!(resume(beyond).await, Err(StorageError::WrongSize { has: 5, should: 6 })));
        assert!(resume(good).await.is_ok());
    });
}

/// A transfer that was interrupted by an update of the service must be able to go on. When this fails, sha2 writes its state in
/// another way: raise the version in `checkpoint.rs`, so that old states are refused instead of giving a wrong hash.
#[test]
fn the_stored_hash_state_has_not_changed() {
    let storage = Fixture::new();
    on_tokio(async {
        let mut receiver = begin(&storage, ImageId::new(), None, 1 << 30).await;
        receiver.push(Bytes::from_static(b"abc")).await.unwrap();
        let state = receiver.checkpoint().await.unwrap().hash_state;
        assert_eq!(hex(&Sha256::digest(&state)), "d1dd56820b14d5c6aee10d4f25bb5cf8daf59f1c628b4d674c3d330a249d9843");
    });
}
