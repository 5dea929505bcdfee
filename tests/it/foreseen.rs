//! Whatever is announced, in whatever circumstances: it is refused before anything of it is kept, or each of its chunks is taken to the end.
//! What could have been known beforehand is never said afterwards.
//!
//! `VMIMG_FORESEEN_CASES` says how many announcements are tried (150 unless it does).

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use vmimg::{
    domain::version::Expected,
    media::HEAD_BYTES,
    operations::{
        Failure,
        create_image::Answers,
        delete_image,
        resume_upload::{self, Chunk, For},
    },
};

use super::{
    support::{App, Start, fixtures, iso_of},
    upload_machine::{Body, Then, actor},
};

/// What is sent.
#[derive(Debug, Clone, Copy)]
enum Content {
    Good(u32),
    /// More than the service takes.
    Large,
    Nothing,
    NoDisc(usize),
    Polyglot,
    /// It says itself that it is longer.
    Truncated,
    /// The end tells that it is something else; that cannot be known before.
    EndsOtherwise,
}

impl Content {
    fn bytes(self, number: u32) -> Vec<u8> {
        match self {
            Self::Good(sectors) => iso_of(&format!("FORESEEN {number}"), sectors),
            Self::Large => iso_of("LARGE", 600),
            Self::Nothing => Vec::new(),
            Self::NoDisc(length) => (0..length).map(|at| (at % 249) as u8).collect(),
            Self::Polyglot => fixtures::polyglot(),
            Self::Truncated => fixtures::truncated(),
            Self::EndsOtherwise => fixtures::vhd(),
        }
    }
}

#[derive(Debug, Clone)]
struct Case {
    content: Content,
    name: &'static str,
    file_name: &'static str,
    os: &'static str,
    digest: &'static str,
    /// Bytes that are free on the storage, more or less than the file has.
    room: i64,
    /// Bytes of that which are promised to others.
    promised: u32,
    /// The storage was not there when it was looked at last.
    away: bool,
    /// Uploads that this user has not finished, of at most three.
    unfinished: u32,
    chunks: Vec<usize>,
}

fn case() -> impl Strategy<Value = Case> {
    let content = prop_oneof![
        24 => (48_u32..400).prop_map(Content::Good),
        1 => Just(Content::Large),
        1 => Just(Content::Nothing),
        1 => (1_usize..100_000).prop_map(Content::NoDisc),
        1 => Just(Content::Polyglot),
        1 => Just(Content::Truncated),
        1 => Just(Content::EndsOtherwise),
    ];
    let name = prop_oneof![24 => Just("foreseen"), 1 => Just("TAKEN"), 1 => Just(""), 1 => Just("a\u{202e}b")];
    let file_name = prop_oneof![24 => Just("a.iso"), 1 => Just("a.img"), 1 => Just("a.iso.xz"), 1 => Just("")];
    let os = prop_oneof![24 => Just("other"), 1 => Just("beos")];
    let digest = prop_oneof![24 => Just(""), 1 => Just("abc"), 1 => Just("SHA256 (b.iso) = 00")];
    let room = prop_oneof![5 => Just(1_i64 << 40), 2 => -300_000_i64..300_000];
    let more = (
        room,
        prop_oneof![2 => Just(0_u32), 1 => 0_u32..300_000],
        prop::bool::weighted(0.05),
        prop_oneof![12 => 0_u32..3, 1 => Just(3_u32)],
    );
    let chunks = prop::collection::vec(1_usize..150_000, 1..6);
    (content, name, file_name, os, digest, more, chunks).prop_map(|(content, name, file_name, os, digest, more, chunks)| {
        let (room, promised, away, unfinished) = more;
        Case { content, name, file_name, os, digest, room, promised, away, unfinished, chunks }
    })
}

/// Answers whether it was taken.
async fn announce(app: &App, number: u32, case: &Case) -> Result<bool, TestCaseError> {
    let (service, ada) = (app.service.clone(), actor(app, "one"));
    let bytes = case.content.bytes(number);
    let answers = |name: &str| Answers {
        name: name.to_owned(),
        kind: "installation".to_owned(),
        storage: app.storage("local"),
        os: case.os.to_owned(),
        digest: case.digest.to_owned(),
        ..Answers::default()
    };
    let announced = async |answers: Answers, name: &str, bytes: &[u8]| {
        let head = Bytes::copy_from_slice(&bytes[..bytes.len().min(HEAD_BYTES)]);
        resume_upload::create(&service, &ada, For::New(Box::new(answers)), Some(name.to_owned()), bytes.len() as u64, Some(head)).await
    };
    let mut others = Vec::new();
    for other in 0..case.unfinished {
        let plain = Answers { os: "other".to_owned(), digest: String::new(), ..answers(&format!("other {number} {other}")) };
        others.push(announced(plain, "a.iso", &iso_of("WAITS", 48)).await.unwrap());
    }
    let promised_to_others =
        app.number("SELECT CAST(COALESCE(SUM(reserved_bytes), 0) AS BIGINT) AS n FROM images") + i64::from(case.promised);
    app.sql(&format!("UPDATE images SET reserved_bytes = reserved_bytes + {} WHERE name = 'taken'", case.promised));
    let free = (bytes.len() as i64 + promised_to_others + case.room).max(0);
    app.sql(&format!("UPDATE storages SET free_bytes = {free}, health = '{}'", if case.away { "degraded" } else { "healthy" }));
    // A refusal may be an event; nothing else may come of it.
    let kept = || (app.rows().into_iter().filter(|(table, _)| *table != "events").collect::<Vec<_>>(), app.files());
    let before = kept();
    let made = announced(answers(case.name), case.file_name, &bytes).await;
    let taken = made.is_ok();
    match made {
        Err(refused) => {
            prop_assert!(matches!(refused, Failure::Invalid(_) | Failure::Refused(_)), "{refused:?}");
            prop_assert_eq!(kept(), before, "something was kept");
        }
        Ok(id) => {
            let (mut at, mut sizes) = (0, case.chunks.iter().cycle());
            while at < bytes.len() {
                let to = (at + sizes.next().unwrap()).min(bytes.len());
                let chunk = Chunk { offset: at as u64, length: Some((to - at) as u64), checksum: None, whole: None };
                let sent = resume_upload::send(&service, &ada, id, chunk, &mut Body::new(&bytes[at..to], Then::Ends)).await;
                let may_be_refused = matches!(case.content, Content::EndsOtherwise) && to == bytes.len();
                prop_assert!(sent.is_ok() || may_be_refused, "bytes {at} to {to} of {}: {sent:?}", bytes.len());
                at = to;
            }
            others.push(id);
        }
    }
    app.sql("UPDATE images SET reserved_bytes = 0 WHERE name = 'taken'");
    app.sql("UPDATE storages SET free_bytes = 1000000000000, health = 'healthy'");
    for id in others {
        delete_image::run(&service, &ada, id, Expected::Any).await.unwrap();
    }
    vmimg::jobs::work_off(&service).await.unwrap();
    Ok(taken)
}

fn nothing_that_could_be_foreseen_is_refused_later(start: Start) {
    let cases = std::env::var("VMIMG_FORESEEN_CASES").ok().map_or(150, |cases| cases.parse().expect("VMIMG_FORESEEN_CASES is a number"));
    start.with("max_upload", "1 MiB");
    start.with("max_unfinished", "3");
    let system = actix_web::rt::System::new();
    let app = system.block_on(async {
        let app = start.ready().await;
        app.image("taken", fixtures::iso("TAKEN")).await;
        app
    });
    let (number, counts) = (Cell::new(0), RefCell::new((0, 0)));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() });
    let ran = runner.run(&case(), |case| {
        number.set(number.get() + 1);
        let taken = system.block_on(announce(&app, number.get(), &case))?;
        let mut counts = counts.borrow_mut();
        if taken {
            counts.0 += 1
        } else {
            counts.1 += 1
        }
        Ok(())
    });
    if let Err(failed) = ran {
        panic!("{failed}");
    }
    let (taken, refused) = counts.into_inner();
    assert!(taken > cases / 10 && refused > cases / 10, "{taken} were taken, {refused} refused");
    system.block_on(start.finish());
}

#[test]
fn sqlite_nothing_that_could_be_foreseen_is_refused_later() {
    nothing_that_could_be_foreseen_is_refused_later(Start::sqlite());
}

#[test]
fn postgres_nothing_that_could_be_foreseen_is_refused_later() {
    nothing_that_could_be_foreseen_is_refused_later(Start::postgres());
}
