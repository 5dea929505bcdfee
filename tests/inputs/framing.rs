//! Group H: requests that are not framed as HTTP has it, or ask for what nobody does.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use super::{
    Batch, answer,
    fixtures::iso_of,
    table::{Act, Left, Row, so},
    usual,
    world::{Ask, World, ask},
};

/// Bytes over a connection of their own. `{host}` and `{cookies}` are filled in; the connection's end is waited for.
fn raw(text: impl Into<Vec<u8>>) -> Act {
    let text = text.into();
    Box::new(move |_| {
        Box::new(move |world| {
            let cookies: Vec<String> = world.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let bytes = replaced(&text, b"{host}", format!("127.0.0.1:{}", world.port).as_bytes());
            let bytes = replaced(&bytes, b"{cookies}", cookies.join("; ").as_bytes());
            let mut stream = world.connect();
            let mut writer = stream.try_clone().unwrap();
            let sender = std::thread::spawn(move || {
                let _ = writer.write_all(&bytes);
            });
            let mut answer = answer::read(&mut stream, text.starts_with(b"HEAD"), super::world::PATIENCE);
            if answer.closed {
                answer::read_rest(&mut stream, &mut answer, Duration::from_secs(8));
            }
            let _ = stream.shutdown(std::net::Shutdown::Both);
            sender.join().unwrap();
            answer
        })
    })
}

fn replaced(bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    match memchr::memmem::find(bytes, what) {
        Some(at) => [&bytes[..at], with, &replaced(&bytes[at + what.len()..], what, with)].concat(),
        None => bytes.to_vec(),
    }
}

/// A request of one line, these headers and this body, which must be the connection's last.
fn request(line: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("{line}\r\nHost: {{host}}\r\n{headers}\r\n{body}").into_bytes()
}

/// A step that only asks.
fn asking(make: impl FnOnce(&World) -> Ask + 'static) -> Act {
    Box::new(move |_| Box::new(move |world| make(world).send(world)))
}

/// 400, closed, and what followed was not taken for a request.
fn malformed(id: &'static str, what: &str, bytes: Vec<u8>) -> Row {
    Row::new(id, what, raw(bytes), &[400]).also(|_, answer| {
        so(answer.closed, || "the connection stays open".to_owned())?;
        so(answer.behind.is_empty(), || format!("something follows the answer: {:.100}", String::from_utf8_lossy(&answer.behind)))
    })
}

const POST: &str = "POST /sign-in HTTP/1.1";
const GET: &str = "GET /livez HTTP/1.1";
const OURS: &str = "Origin: http://{host}\r\n";

pub fn rows() -> Vec<Batch> {
    let mut rows = Vec::new();
    let smuggled = "0\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    rows.push(malformed(
        "B-H01",
        "Content-Length and Transfer-Encoding",
        request(POST, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", smuggled),
    ));
    rows.push(malformed(
        "B-H01",
        "Transfer-Encoding and Content-Length",
        request(POST, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", smuggled),
    ));
    for (what, headers) in [
        ("two different Content-Lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("the same Content-Length twice", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("Content-Length +5", "Content-Length: +5\r\n"),
        ("Content-Length 5, 6", "Content-Length: 5, 6\r\n"),
        ("Content-Length 0x5", "Content-Length: 0x5\r\n"),
        ("Content-Length -5", "Content-Length: -5\r\n"),
        ("Content-Length of 2^64", "Content-Length: 18446744073709551616\r\n"),
        ("Content-Length without a number", "Content-Length: \r\n"),
        ("white space before the colon", "Content-Length : 5\r\n"),
    ] {
        rows.push(malformed("B-H02", what, request(POST, headers, "abcde")));
    }
    rows.push(
        Row::new(
            "B-H02",
            "Content-Length with white space around 5",
            raw(request(POST, "Connection: close\r\nContent-Length:   5 \r\n", "abcde")),
            &[403],
        )
        .differs("white space around a field's value is no part of it (RFC 9110, 5.5): five bytes are read, and nothing else"),
    );
    for (what, headers) in [
        ("xchunked", "Transfer-Encoding: xchunked\r\n"),
        ("chunked, identity", "Transfer-Encoding: chunked, identity\r\n"),
        ("identity", "Transfer-Encoding: identity\r\n"),
        ("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n"),
        ("two of them", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("vertical tab before chunked", "Transfer-Encoding: \u{b}chunked\r\n"),
        ("tab before the colon", "Transfer-Encoding\t: chunked\r\n"),
    ] {
        rows.push(malformed("B-H03", &format!("Transfer-Encoding: {what}"), request(POST, headers, smuggled)));
    }
    rows.push(
        Row::new(
            "B-H03",
            "Transfer-Encoding: tab before chunked",
            raw(request(POST, "Connection: close\r\nTransfer-Encoding: \tchunked\r\n", "0\r\n\r\n")),
            &[403],
        )
        .differs("a tab before a field's value is white space (RFC 9110, 5.5): it is chunked, and read as that"),
    );
    rows.push(malformed("B-H03", "in HTTP/1.0", request("POST /sign-in HTTP/1.0", "Transfer-Encoding: chunked\r\n", smuggled)));
    for (what, body) in [
        ("no number", "x\r\n\r\n"),
        ("a size of 2^64", "10000000000000000\r\n\r\n"),
        ("a bare LF behind the size", "5\nabcde\r\n0\r\n\r\n"),
    ] {
        let headers = format!("{OURS}Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n");
        rows.push(Row::new("B-H03", format!("a chunk with {what}"), raw(request(POST, &headers, body)), &[400]));
    }
    for (what, headers) in [
        ("a folded header", "X-A: a\r\n b\r\n"),
        ("NUL in a header's name", "X\0A: a\r\n"),
        ("space in a header's name", "X A: a\r\n"),
        ("space before the colon", "XA : a\r\n"),
        ("a header without a name", ": a\r\n"),
        ("NUL in a header's value", "X-A: a\0b\r\n"),
        ("bare CR in a header's value", "X-A: a\rb\r\n"),
    ] {
        rows.push(malformed("B-H04", what, request(GET, headers, "")));
    }
    rows.push(
        Row::new("B-H04", "bare LF as line end", raw("GET /livez HTTP/1.1\nHost: {host}\nConnection: close\n\n"), &[200])
            .differs("the framework's parser takes a bare LF as a line's end, as RFC 9112, 2.2 permits; it does so for every line alike, so that nothing is read in two ways")
            .also(|_, answer| so(answer.behind.is_empty(), || "something follows the answer".to_owned())),
    );
    let long = format!("X-A: {}\r\n", "a".repeat(140 * 1024));
    rows.push(Row::new("B-H05", "a head of 140 KiB", raw(request(GET, &long, "")), &[400, 431, 0]).memory(2 * 1024));
    let many: String = (0..97).map(|n| format!("X-{n}: a\r\n")).collect();
    rows.push(Row::new("B-H05", "97 headers", raw(request(GET, &many, "")), &[400, 431]));
    rows.push(Row::new("B-H05", "140 KiB without a line's end", raw(vec![b'A'; 140 * 1024]), &[400, 431, 0]));
    rows.push(Row::new("B-H06", "a head of a byte a second", dripped(), &[408]).also(|_, answer| {
        so((Duration::from_secs(4)..Duration::from_secs(12)).contains(&answer.took), || format!("after {:?}", answer.took))
    }));
    rows.extend(expectations());
    rows.extend(methods());
    rows.extend(ranges());
    rows.extend(hosts());
    rows.extend(other_protocols());
    rows.extend(long_addresses());
    rows.push(Row::new("B-H01", "all of these rows together", idle(), &[200]).also(|world, _| {
        // Threads without work end after half a minute at the latest.
        let so_many = |world: &World| std::fs::read_dir(format!("/proc/{}/task", world.pid)).map_or(0, Iterator::count);
        let start = so_many(world);
        let settled = world.until(Duration::from_secs(45), |world| so_many(world) <= 24);
        so(settled, || format!("{} threads stay, {start} at the end of the rows", so_many(world)))
    }));
    vec![usual(rows), trusted()]
}

fn idle() -> Act {
    asking(|_| ask("GET", "/livez"))
}

/// The beginning of a request, one byte a second.
fn dripped() -> Act {
    Box::new(|_| {
        Box::new(|world| {
            let mut stream = world.connect();
            let mut writer = stream.try_clone().unwrap();
            let sender = std::thread::spawn(move || {
                let start = Instant::now();
                for byte in GET.bytes().cycle() {
                    if writer.write_all(&[byte]).is_err() || start.elapsed() > Duration::from_secs(12) {
                        break;
                    }
                    std::thread::sleep(Duration::from_secs(1));
                }
            });
            let answer = answer::read(&mut stream, false, Duration::from_secs(20));
            let _ = stream.shutdown(std::net::Shutdown::Both);
            sender.join().unwrap();
            answer
        })
    })
}

fn expectations() -> Vec<Row> {
    let upload = |headers: &str| {
        request(
            "POST /images/new/01900000-0000-7000-8000-000000000000/create HTTP/1.1",
            &format!("Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 10000000\r\nExpect: 100-continue\r\n{headers}"),
            "",
        )
    };
    let before_100 = |row: Row| row.also(|_, answer| so(answer.continues == 0, || "100 came before the refusal".to_owned()));
    vec![
        before_100(Row::new("B-H07", "Expect: 100-continue, signed out", raw(upload(OURS)), &[401])),
        before_100(Row::new(
            "B-H07",
            "Expect: 100-continue, a forged session",
            raw(upload(&format!("{OURS}Cookie: vmimg-session={}\r\n", "0".repeat(64)))),
            &[401],
        )),
        before_100(Row::new(
            "B-H07",
            "Expect: 100-continue, from elsewhere",
            raw(upload("Origin: http://evil.example\r\nCookie: {cookies}\r\n")),
            &[403],
        )),
        before_100(
            Row::new("B-H07", "Expect: 100-continue, by who has no right", expecting_without_right(), &[403, 404]).left(Left::Changed),
        ),
        Row::new("B-H07", "Expect: 100-continue, by who may", expecting(), &[303])
            .left(Left::Available)
            .also(|_, answer| so(answer.continues == 1, || format!("{} times 100", answer.continues))),
        Row::new(
            "B-H08",
            "Expect: 200-maybe",
            raw(request(POST, &format!("{OURS}Connection: close\r\nExpect: 200-maybe\r\nContent-Length: 3\r\n"), "a=b")),
            &[417],
        ),
        Row::new(
            "B-H08",
            "Expect: two of them",
            raw(request(POST, &format!("{OURS}Connection: close\r\nExpect: 100-continue, x=y\r\nContent-Length: 3\r\n"), "a=b")),
            &[417],
        )
        .also(|_, answer| so(answer.continues == 0, || "100 came before the refusal".to_owned())),
    ]
}

/// Somebody without rights asks before sending a file.
fn expecting_without_right() -> Act {
    Box::new(|world| {
        let image = world.image("not for eve", &iso_of("NOTFOREVE", 60));
        let (jar, answer) = world.user("eve@example.org", "no_access");
        assert_eq!(answer.status, 303, "{}", answer.words());
        Box::new(move |world| {
            let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let head = format!(
                "POST /images/{image}/content HTTP/1.1\r\nHost: 127.0.0.1:{0}\r\nOrigin: http://127.0.0.1:{0}\r\nCookie: {1}\r\nAccept: application/json\r\n\
                 Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 10000000\r\nExpect: 100-continue\r\n\r\n",
                world.port,
                cookies.join("; ")
            );
            world.exchange(head.as_bytes(), false)
        })
    })
}

/// A form that waits for 100 before its body.
fn expecting() -> Act {
    Box::new(|world| {
        let base = world.draft("expected");
        Box::new(move |world| {
            let body = super::world::form("expected.iso", &iso_of("EXPECTED", 60));
            let cookies: Vec<String> = world.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let head = format!(
                "POST {base}/create HTTP/1.1\r\nHost: 127.0.0.1:{0}\r\nOrigin: http://127.0.0.1:{0}\r\nCookie: {1}\r\nConnection: close\r\n\
                 Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {2}\r\nExpect: 100-continue\r\n\r\n",
                world.port,
                cookies.join("; "),
                body.len()
            );
            let mut stream = world.connect();
            stream.write_all(head.as_bytes()).unwrap();
            let mut first = [0; 25];
            stream.set_read_timeout(Some(super::world::PATIENCE)).unwrap();
            let told = std::io::Read::read_exact(&mut stream, &mut first).is_ok() && first.starts_with(b"HTTP/1.1 100 Continue");
            let _ = stream.write_all(&body);
            let mut answer = answer::read(&mut stream, false, super::world::PATIENCE);
            answer.continues += usize::from(told);
            answer
        })
    })
}

fn methods() -> Vec<Row> {
    let allows = |row: Row, method: &'static str| {
        row.also(move |_, answer| so(answer.header("allow").contains(method), || format!("Allow: {:?}", answer.header("allow"))))
    };
    let mut rows = Vec::new();
    for method in ["TRACE", "FOO", "PROPFIND", "PUT", "DELETE"] {
        rows.push(allows(Row::new("B-H09", format!("{method} /images"), asking(move |_| ask(method, "/images")), &[405]), "GET"));
    }
    rows.push(allows(
        Row::new("B-H09", "CONNECT", raw("CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"), &[405]),
        "GET",
    ));
    for path in ["/sign-out", "/images/selection", "/account/password"] {
        rows.push(allows(
            Row::new("B-H09", format!("HEAD {path}, which takes POST only"), asking(move |_| ask("HEAD", path)), &[405]),
            "POST",
        ));
    }
    for path in ["/images", "/sign-in", "/livez", "/images.csv", "/events"] {
        let row = Row::new(
            "B-H09",
            format!("HEAD {path}, a page"),
            asking(move |_| ask("HEAD", path)),
            if path == "/sign-in" { &[303] } else { &[200] },
        );
        rows.push(row.also(|_, answer| so(answer.behind.is_empty(), || "a body follows".to_owned())));
    }
    rows.push(Row::new("B-H09", "FOO from elsewhere", asking(|_| ask("FOO", "/images").without_origin()), &[403]));
    rows
}

/// A range of an image of 120 KiB.
fn range(value: String) -> Act {
    Box::new(move |world| {
        let id = match world.texts("SELECT id AS t FROM images WHERE name = 'ranges'").pop() {
            Some(id) => id,
            None => world.image("ranges", &iso_of("RANGES", 60)),
        };
        Box::new(move |world| ask("GET", format!("/images/{id}/download")).header("Range", value).send(world))
    })
}

fn ranges() -> Vec<Row> {
    let mut rows = Vec::new();
    // A whole file is a download, and each download leaves a line.
    let audited = |row: Row| {
        row.left(Left::Changed)
            .also(|_, answer| so(answer.status != 200 || answer.body == iso_of("RANGES", 60), || "other bytes".to_owned()))
    };
    for value in [
        "bytes=",
        "bytes=,,,",
        "bytes=9-1",
        "bytes=-0",
        "bytes=a-b",
        "bytes=--1",
        "bytes=200000-",
        "bytes=1-99999999999999999999",
        "lines=1-2",
        "bytes",
    ] {
        rows.push(audited(Row::new("B-H10", format!("Range: {value}"), range(value.to_owned()), &[416, 200])));
    }
    let many = format!("bytes={}", (0..10_000).map(|n| format!("{}-{}", n * 2, n * 2)).collect::<Vec<_>>().join(","));
    const FIRST: &str = "of several stretches the first alone is sent (206): one stretch, whatever was asked for, which RFC 9110, 14.2 leaves to the server";
    rows.push(
        audited(Row::new("B-H10", "Range: bytes=0-0,-0", range("bytes=0-0,-0".to_owned()), &[206]))
            .differs(FIRST)
            .also(|_, answer| so(answer.body.len() == 1, || "more than a byte".to_owned())),
    );
    rows.push(audited(Row::new("B-H11", "10,000 ranges", timed(range(many)), &[416, 200, 206])).differs(FIRST));
    let overlapping = format!("bytes={}", ["0-"; 10_000].join(","));
    rows.push(audited(Row::new("B-H11", "10,000 ranges that overlap", timed(range(overlapping)), &[416, 200, 206])).differs(FIRST));
    rows
}

/// Adds a problem if the process worked for long. Ten milliseconds are listed; a build without optimisations takes a few times that.
fn timed(act: Act) -> Act {
    Box::new(move |world| {
        let send = act(world);
        Box::new(move |world| {
            let before = super::access::worked(world);
            let answer = send(world);
            let took = super::access::worked(world) - before;
            if took > Duration::from_millis(250) {
                world.problems.push(format!("it took {took:?} of a processor"));
            }
            answer
        })
    })
}

fn hosts() -> Vec<Row> {
    let mut rows = vec![
        malformed("B-H12", "no Host", b"GET /livez HTTP/1.1\r\n\r\n".to_vec()),
        malformed("B-H12", "two Hosts", request(GET, "Host: b\r\n", "")),
    ];
    for (what, head) in [
        ("an empty Host", "GET /livez HTTP/1.1\r\nHost: \r\n"),
        ("a Host that is none", "GET /livez HTTP/1.1\r\nHost: a/b@c\r\n"),
        ("another Host than the address", "GET http://evil.example/livez HTTP/1.1\r\nHost: {host}\r\n"),
    ] {
        rows.push(Row::new("B-H12", what, raw(format!("{head}Connection: close\r\n\r\n")), &[400]));
    }
    rows.push(
        Row::new("B-H12", "an unknown Host", raw("GET /sign-in HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"), &[200])
            .differs("without public_url the console is reached under whatever name people type; cookies and the same-origin check are bound to it, and no link is made of it")
            .also(|_, answer| so(!answer.text().contains("evil.example"), || "the page repeats the Host".to_owned())),
    );
    rows.push(Row::new(
        "B-H12",
        "a change with an unknown Host",
        raw("POST /sign-in HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://{host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        &[403],
    ));
    let forged = [
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Real-IP", "203.0.113.9"),
        ("Forwarded", "for=203.0.113.9"),
        ("X-Client-IP", "203.0.113.9"),
    ];
    for (name, value) in forged {
        rows.push(
            Row::new("B-H13", format!("{name} from an untrusted peer"), renaming(name, value), &[303])
                .left(Left::Nothing(&[("events", 1)]))
                .also(|world, _| {
                    let address = world.text("SELECT address AS t FROM events WHERE seq = (SELECT MAX(seq) FROM events)");
                    so(address == "127.0.0.1", || format!("the audit log shows {address}"))
                }),
        );
    }
    rows
}

/// Changes the cluster's note, with a header.
fn renaming(name: &'static str, value: &'static str) -> Act {
    Box::new(move |world| {
        let id = world.cluster.clone();
        let version = world.number(&format!("SELECT version AS n FROM clusters WHERE id = '{id}'")).to_string();
        let note = world.fresh("note");
        Box::new(move |world| {
            ask("POST", format!("/clusters/{id}/edit"))
                .header(name, value)
                .form(&[("name", "Default"), ("note", &note), ("version", &version)])
                .send(world)
        })
    })
}

/// The same from a proxy that the settings trust.
fn trusted() -> Batch {
    let row = Row::new("B-H13", "X-Forwarded-For from a trusted proxy", renaming("X-Forwarded-For", "198.51.100.7, 203.0.113.9"), &[303]);
    let row = row.left(Left::Nothing(&[("events", 1)])).also(|world, _| {
        let address = world.text("SELECT address AS t FROM events WHERE seq = (SELECT MAX(seq) FROM events)");
        so(address == "203.0.113.9", || format!("the audit log shows {address}"))
    });
    Batch { settings: &[("trusted_proxies", "127.0.0.1")], rows: vec![row] }
}

fn other_protocols() -> Vec<Row> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frame = |length: u32, kind: u8, flags: u8, stream: u32| {
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes
    };
    let settings = frame(0, 4, 0, 0);
    let refused = |what: &str, frames: Vec<u8>| {
        Row::new("B-H14", what, raw([&preface[..], &settings, &frames].concat()), &[400, 431, 0]).memory(2 * 1024)
    };
    vec![
        refused("HTTP/2 with prior knowledge", Vec::new()),
        refused("100,000 CONTINUATION frames", [frame(0, 1, 0, 1), frame(0, 9, 0, 1).repeat(100_000)].concat()),
        refused("100,000 empty DATA frames", [frame(0, 1, 4, 1), frame(0, 0, 0, 1).repeat(100_000)].concat()),
        Row::new(
            "B-H14",
            "an upgrade to h2c",
            raw(request(GET, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", "")),
            &[200],
        ),
        Row::new(
            "B-H14",
            "an upgrade to a web socket",
            raw(request(
                "GET /images HTTP/1.1",
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n",
                "",
            )),
            &[303, 400, 426],
        ),
    ]
}

fn long_addresses() -> Vec<Row> {
    let get = |path: String| asking(move |_| ask("GET", path));
    vec![
        Row::new("B-H15", "an address of 64 KiB", get(format!("/{}", "a".repeat(65_536))), &[414, 400]),
        Row::new("B-H15", "an address of 60 KiB", get(format!("/images?q={}", "a".repeat(60_000))), &[414]),
        Row::new("B-H15", "an address of 17 KiB", get(format!("/images?q={}", "a".repeat(17 * 1024))), &[414]).words(&["16 KiB"]),
        Row::new("B-H15", "an address of 12 KiB", get(format!("/images?q={}", "a".repeat(12 * 1024))), &[200]),
        Row::new("B-H15", "10,000 segments", get("/a".repeat(10_000)), &[414]),
        Row::new("B-H15", "10,000 pairs", get(format!("/images?{}", "a=b&".repeat(10_000))), &[414]),
        Row::new("B-H15", "4,000 pairs", get(format!("/images?{}", "a=b&".repeat(4_000))), &[200]),
    ]
}
