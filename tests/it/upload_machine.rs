//! Whatever happens to an upload, in whatever order: it ends as the file that was sent, or is refused cleanly, and what is there is always
//! the beginning of that file.
//!
//! `VMIMG_UPLOAD_CASES` says how many schedules are tried (200 unless it does).

use std::{
    cell::RefCell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use sha2::{Digest, Sha256};
use vmimg::{
    authorize::{Actor, Credential},
    domain::ids::ImageId,
    operations::{
        Failure, Service,
        create_image::Answers,
        delete_image,
        resume_upload::{self, Checksum, Chunk, For},
        stop_upload,
        take_over_upload::{self, Proof},
    },
};

use super::support::{App, Start, iso_of};

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// A chunk of so many bytes arrives whole, with a checksum or without.
    Send(usize, bool),
    /// A chunk breaks off after so many of its bytes.
    Cut(usize, usize),
    /// The request is given up by whoever serves it, after so many bytes.
    Dropped(usize, usize),
    /// The last chunk arrives once more.
    Again,
    /// A chunk begins so many bytes before or behind the true offset.
    Elsewhere(i64, usize),
    /// A chunk arrives with bytes that were mangled on the way.
    Mangled(usize),
    /// Two chunks arrive at once.
    Twice(usize, usize),
    /// The service is killed and started again.
    Restart,
    /// Nobody sends for a minute.
    Lapse,
    /// Another device goes on: it shows the right file, or another one.
    TakeOver(bool),
    /// The sender pauses.
    Pause,
    /// The storage is compared with the records.
    Compare,
    /// Nobody goes on for as long as the bytes are kept.
    Expire,
    /// Somebody gives the upload up.
    Cancel,
    /// The image is deleted.
    Delete,
}

fn step() -> impl Strategy<Value = Step> {
    let length = || 1_usize..120_000;
    prop_oneof![
        6 => (length(), any::<bool>()).prop_map(|(length, sum)| Step::Send(length, sum)),
        3 => (length(), length()).prop_map(|(length, cut)| Step::Cut(length, cut)),
        2 => (length(), length()).prop_map(|(length, cut)| Step::Dropped(length, cut)),
        2 => Just(Step::Again),
        2 => (-50_000_i64..50_000, length()).prop_map(|(by, length)| Step::Elsewhere(by, length)),
        2 => length().prop_map(Step::Mangled),
        2 => (length(), length()).prop_map(|(one, other)| Step::Twice(one, other)),
        2 => Just(Step::Restart),
        2 => Just(Step::Lapse),
        2 => any::<bool>().prop_map(Step::TakeOver),
        1 => Just(Step::Pause),
        1 => Just(Step::Compare),
        1 => prop_oneof![Just(Step::Expire), Just(Step::Cancel), Just(Step::Delete)],
    ]
}

/// A body in pieces that breaks off, or never goes on.
pub(super) struct Body {
    pieces: Vec<Bytes>,
    then: Then,
}

#[derive(Clone, Copy)]
pub(super) enum Then {
    Ends,
    Breaks,
    Hangs,
}

impl Body {
    pub(super) fn new(bytes: &[u8], then: Then) -> Self {
        Self { pieces: bytes.chunks(30_000).rev().map(Bytes::copy_from_slice).collect(), then }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, &'static str>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match (self.pieces.pop(), self.then) {
            (Some(piece), _) => Poll::Ready(Some(Ok(piece))),
            (None, Then::Ends) => Poll::Ready(None),
            (None, Then::Breaks) => Poll::Ready(Some(Err("the connection broke"))),
            (None, Then::Hangs) => Poll::Pending,
        }
    }
}

/// One upload and everybody who has to do with it.
struct World<'test> {
    start: &'test Start,
    app: &'test App,
    service: Service,
    id: ImageId,
    file: Vec<u8>,
    /// Who sends now, and the other device.
    sender: Arc<Actor>,
    other: Arc<Actor>,
    last: Option<(u64, usize)>,
    /// The upload is over: given up, expired, or its image deleted.
    over: bool,
}

impl World<'_> {
    async fn offset(&self) -> Option<u64> {
        match resume_upload::state(&self.service, &self.sender, self.id).await {
            Ok(state) => Some(state.reached.offset),
            Err(Failure::Refused(refusal)) if refusal.code == "upload.gone" => None,
            Err(failed) => panic!("the state cannot be told: {failed:?}"),
        }
    }

    fn bytes(&self, from: u64, most: usize) -> &[u8] {
        let from = usize::try_from(from).unwrap().min(self.file.len());
        &self.file[from..(from + most).min(self.file.len())]
    }

    async fn send(&self, offset: u64, bytes: &[u8], sum: Option<&[u8]>, length: usize, then: Then) -> Result<u64, Failure> {
        let checksum = sum.map(|of| Checksum::Sha256(Sha256::digest(of).into()));
        let chunk = Chunk { offset, length: Some(length as u64), checksum, whole: None };
        let mut body = Body::new(bytes, then);
        resume_upload::send(&self.service, &self.sender, self.id, chunk, &mut body).await.map(|reached| reached.offset)
    }

    async fn act(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let Some(at) = self.offset().await else { return Ok(()) };
        if at == self.file.len() as u64 {
            return Ok(());
        }
        match step {
            Step::Send(length, sum) => {
                let bytes = self.bytes(at, *length).to_vec();
                let sent = self.send(at, &bytes, sum.then_some(&bytes), bytes.len(), Then::Ends).await;
                prop_assert_eq!(sent.map_err(|failed| failed.to_string()), Ok(at + bytes.len() as u64));
                self.last = Some((at, bytes.len()));
            }
            Step::Cut(length, cut) => {
                let bytes = self.bytes(at, *length).to_vec();
                let part = &bytes[..(*cut).min(bytes.len() - 1)];
                let sent = self.send(at, part, None, bytes.len(), Then::Breaks).await;
                prop_assert!(sent.is_err());
                let now = self.offset().await.unwrap();
                prop_assert!((at..=at + part.len() as u64).contains(&now), "{} after {} of {}", now, part.len(), at);
            }
            Step::Dropped(length, cut) => {
                let bytes = self.bytes(at, *length).to_vec();
                let part = bytes[..(*cut).min(bytes.len() - 1)].to_vec();
                let sent = self.send(at, &part, None, bytes.len(), Then::Hangs);
                prop_assert!(tokio::time::timeout(Duration::from_millis(15), sent).await.is_err());
                // What had arrived is still being made durable.
                while self.service.storages.doing(self.id).is_some() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                let now = self.offset().await.unwrap();
                prop_assert!((at..=at + part.len() as u64).contains(&now));
            }
            Step::Again => {
                if let Some((from, length)) = self.last.filter(|(from, _)| *from != at) {
                    let bytes = self.bytes(from, length).to_vec();
                    let sent = self.send(from, &bytes, None, bytes.len(), Then::Ends).await;
                    prop_assert!(is(&sent, "upload.offset"), "{sent:?}");
                }
            }
            Step::Elsewhere(by, length) => {
                let from = at.saturating_add_signed(*by);
                if from != at {
                    let bytes = self.bytes(from, *length).to_vec();
                    let sent = self.send(from, &bytes, None, bytes.len(), Then::Ends).await;
                    prop_assert!(is(&sent, "upload.offset"), "{sent:?}");
                }
            }
            Step::Mangled(length) => {
                let right = self.bytes(at, *length).to_vec();
                let mut wrong = right.clone();
                *wrong.last_mut().unwrap() ^= 1;
                let sent = self.send(at, &wrong, Some(&right), right.len(), Then::Ends).await;
                prop_assert!(is(&sent, "upload.checksum"), "{sent:?}");
                prop_assert_eq!(self.offset().await, Some(at), "nothing of it counts");
            }
            Step::Twice(one, other) => {
                let (one, other) = (self.bytes(at, *one).to_vec(), self.bytes(at, *other).to_vec());
                let both = futures_util::future::join(
                    self.send(at, &one, None, one.len(), Then::Ends),
                    self.send(at, &other, None, other.len(), Then::Ends),
                );
                let (first, second) = both.await;
                prop_assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
            }
            Step::Restart => {
                let mut again = self.start.service();
                again.predecessors = [self.service.instance].into();
                vmimg::jobs::end_leases_of_earlier_processes(&again).await.unwrap();
                self.service = again;
            }
            Step::Lapse => self.lapse().await,
            Step::TakeOver(right) => {
                self.lapse().await;
                let Some(at) = self.offset().await else { return Ok(()) };
                let mut shown = self.file.clone();
                if !right && at > 0 {
                    shown[usize::try_from(at).unwrap() - 1] ^= 1;
                }
                let blocks = shown[..usize::try_from(at).unwrap()].chunks(65_536);
                let digests = blocks.map(|block| Sha256::digest(block).into()).collect();
                let proof = Proof { block: 65_536, length: shown.len() as u64, offset: Some(at), digests };
                let proved = take_over_upload::prove(&self.service, &self.other, self.id, proof).await;
                if *right || at == 0 {
                    prop_assert_eq!(proved.map_err(|failed| failed.to_string()), Ok(at));
                    std::mem::swap(&mut self.sender, &mut self.other);
                } else {
                    prop_assert!(is(&proved, "upload.other_file"), "{proved:?}");
                }
            }
            Step::Pause => {
                let paused = take_over_upload::pause(&self.service, &self.sender, self.id).await;
                prop_assert_eq!(paused.map_err(|failed| failed.to_string()), Ok(at));
            }
            Step::Compare => vmimg::jobs::compare_storages(&self.service).await.unwrap(),
            Step::Expire => {
                self.lapse().await;
                self.app.sql(&format!("UPDATE uploads SET expires_at = 1 WHERE image_id = '{}' AND expires_at IS NOT NULL", self.id));
                vmimg::jobs::expire_uploads(&self.service).await.unwrap();
                self.over = at > 0;
            }
            Step::Cancel => {
                stop_upload::cancel(&self.service, &self.sender, self.id).await.unwrap();
                self.over = self.offset().await.is_none();
            }
            Step::Delete => {
                delete_image::run(&self.service, &self.sender, self.id, vmimg::domain::version::Expected::Any).await.unwrap();
                vmimg::jobs::work_off(&self.service).await.unwrap();
                self.over = true;
            }
        }
        Ok(())
    }

    async fn lapse(&self) {
        self.app.sql(&format!("UPDATE uploads SET lease_until = 1 WHERE image_id = '{}' AND lease_until IS NOT NULL", self.id));
        vmimg::jobs::end_leases(&self.service).await.unwrap();
    }

    /// What is there is the beginning of the file.
    async fn look(&self) -> Result<(), TestCaseError> {
        let part = self.app.path_of("local").join(format!("staging/{}.part", self.id));
        match self.offset().await {
            Some(at) if at > 0 && at < self.file.len() as u64 => {
                let has = std::fs::read(part).unwrap();
                let at = usize::try_from(at).unwrap();
                prop_assert!(has.len() >= at && has[..at] == self.file[..at], "what is recorded is not what is there");
            }
            None => {
                prop_assert!(self.over, "the upload is gone, and nobody ended it");
                prop_assert!(!part.exists(), "a part is left");
            }
            Some(_) => {}
        }
        Ok(())
    }
}

fn is<T>(done: &Result<T, Failure>, code: &str) -> bool {
    matches!(done, Err(failed) if failed.code() == Some(code))
}

/// The administrator at one of her devices.
pub(super) fn actor(app: &App, device: &str) -> Arc<Actor> {
    Arc::new(Actor {
        user: app.text("SELECT id AS t FROM users WHERE email = 'ada@example.org'").parse().unwrap(),
        name: "Ada".to_owned(),
        device: device.to_owned(),
        credential: Credential::Session(app.text("SELECT token_hash AS t FROM sessions ORDER BY created_at LIMIT 1")),
        address: String::new(),
        request_id: String::new(),
    })
}

async fn schedule(start: &Start, app: &App, number: u32, sectors: u32, steps: &[Step]) -> Result<(), TestCaseError> {
    let file = iso_of(&format!("MACHINE {number}"), sectors);
    let (sender, other) = (actor(app, "one"), actor(app, "other"));
    let answers = Answers {
        name: format!("machine {number}"),
        kind: "installation".to_owned(),
        storage: app.storage("local"),
        os: "other".to_owned(),
        ..Answers::default()
    };
    let service = app.service.clone();
    let made = resume_upload::create(&service, &sender, For::New(Box::new(answers)), Some("a.iso".to_owned()), file.len() as u64, None);
    let id = made.await.unwrap();
    let mut world = World { start, app, service, id, file, sender, other, last: None, over: false };
    for step in steps {
        world.act(step).await?;
        world.look().await?;
    }
    // Whoever is there at the end sends what is missing.
    while let Some(at) = world.offset().await.filter(|at| *at < world.file.len() as u64) {
        let rest = world.bytes(at, usize::MAX / 2).to_vec();
        let sent = world.send(at, &rest, None, rest.len(), Then::Ends).await;
        prop_assert_eq!(sent.map_err(|failed| failed.to_string()), Ok(world.file.len() as u64));
    }
    if !world.over {
        prop_assert!(std::fs::read(app.file_of(&id.to_string())).unwrap() == world.file, "the file is another one");
        delete_image::run(&world.service, &world.sender, id, vmimg::domain::version::Expected::Any).await.unwrap();
    } else if let Ok(found) = stop_upload::cancel(&world.service, &world.sender, id).await {
        prop_assert_eq!(found.image.status.as_str(), "pending");
        delete_image::run(&world.service, &world.sender, id, vmimg::domain::version::Expected::Any).await.unwrap();
    }
    vmimg::jobs::work_off(&world.service).await.unwrap();
    prop_assert_eq!(app.files().into_keys().filter(|name| name.contains(&id.to_string())).collect::<Vec<_>>(), Vec::<String>::new());
    Ok(())
}

fn any_schedule(start: Start) {
    let cases = std::env::var("VMIMG_UPLOAD_CASES").ok().map_or(200, |cases| cases.parse().expect("VMIMG_UPLOAD_CASES is a number"));
    let system = actix_web::rt::System::new();
    let app = system.block_on(start.ready());
    let number = RefCell::new(0);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let steps = (20_u32..150, prop::collection::vec(step(), 1..14));
    let ran = runner.run(&steps, |(sectors, steps)| {
        *number.borrow_mut() += 1;
        let number = *number.borrow();
        system.block_on(schedule(&start, &app, number, sectors, &steps))
    });
    if let Err(failed) = ran {
        panic!("{failed}");
    }
    system.block_on(start.finish());
}

#[test]
fn sqlite_any_schedule_ends_with_the_source_or_a_clean_refusal() {
    any_schedule(Start::sqlite());
}

#[test]
fn postgres_any_schedule_ends_with_the_source_or_a_clean_refusal() {
    any_schedule(Start::postgres());
}
