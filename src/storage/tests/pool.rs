//! A storage that hangs.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use super::{receive::on_tokio, *};

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_hung_storage_frees_its_callers_in_time_and_holds_nobody_elses() {
    let (hung, healthy) = (Workers::new("hung", 2), Workers::new("healthy", 1));
    let gates: Vec<_> = (0..2).map(|_| mpsc::channel::<()>()).collect();
    let (open, gates): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
    on_tokio(async {
        let began = Instant::now();
        for gate in gates {
            let answer = hung.run(SOON, move || Ok(gate.recv())).await;
            assert!(matches!(answer, Err(StorageError::NotAnswering { seconds: 1 })));
        }
        assert_eq!(hung.busy(), 2);
        // Nobody is free: neither runs later behind the caller's back nor waits for ever.
        let (ran, did_run) = mpsc::channel();
        assert!(matches!(hung.run(SOON, move || Ok(ran.send(()))).await, Err(StorageError::NotAnswering { .. })));
        assert_eq!(healthy.run(LONG, || Ok(7)).await.unwrap(), 7);
        assert!(began.elapsed() < Duration::from_secs(5));
        drop(open);
        assert_eq!(hung.run(LONG, || Ok(8)).await.unwrap(), 8);
        assert!(did_run.recv().is_err());
    });
}

#[test]
fn a_job_whose_caller_went_away_frees_its_thread() {
    let workers = Workers::new("left", 1);
    let (open, gate) = mpsc::channel::<()>();
    let (done, is_done) = mpsc::channel();
    on_tokio(async {
        let job = move || {
            let _ = gate.recv();
            Ok(done.send(()))
        };
        assert!(tokio::time::timeout(SOON, workers.run(LONG, job)).await.is_err());
        drop(open);
        assert_eq!(workers.run(LONG, || Ok(1)).await.unwrap(), 1);
        assert!(is_done.recv().is_ok());
    });
}

#[test]
fn a_panic_in_a_job_is_an_error_and_not_a_dead_thread() {
    let workers = Workers::new("panic", 1);
    on_tokio(async {
        for _ in 0..3 {
            let answer = workers.run::<()>(LONG, || panic!("on purpose")).await;
            assert!(matches!(answer, Err(StorageError::Io { .. })));
        }
        assert_eq!(workers.run(LONG, || Ok(1)).await.unwrap(), 1);
    });
}

#[test]
fn there_are_never_more_threads_than_allowed() {
    let workers = Workers::new("bounded", 3);
    on_tokio(async {
        let jobs: Vec<_> = (0..50)
            .map(|_| {
                let workers = workers.clone();
                tokio::spawn(async move {
                    let again = workers.clone();
                    workers.run(LONG, move || Ok((again.busy(), std::thread::sleep(Duration::from_millis(2))).0)).await
                })
            })
            .collect();
        for job in jobs {
            assert!(job.await.unwrap().unwrap() <= 3);
        }
    });
}
