//! Group M: forms with a file that are not as browsers make them.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use super::{
    Batch, answer,
    fixtures::{iso, iso_of, sha256},
    table::{Act, Left, Row, so},
    usual,
    world::{World, ask, form, part},
};

const KIND: &str = "multipart/form-data; boundary=b";
const END: &[u8] = b"--b--\r\n";

/// A form for a wizard that waits at its summary.
fn sent(kind: &str, body: Vec<u8>) -> Act {
    with_header(kind, body, None)
}

fn with_header(kind: &str, body: Vec<u8>, header: Option<(&'static str, &'static str)>) -> Act {
    let kind = kind.to_owned();
    Box::new(move |world| {
        let name = world.fresh("form");
        let base = world.draft(&name);
        Box::new(move |world| {
            let mut asked = ask("POST", format!("{base}/create"));
            if let Some((name, value)) = header {
                asked = asked.header(name, value);
            }
            asked.body(&kind, body).follow(world)
        })
    })
}

/// A form for an image that was announced, as the console's script sends it.
fn script(kind: &'static str, body: Vec<u8>, announced: Vec<u8>) -> Act {
    Box::new(move |world| {
        let name = world.fresh("script");
        let base = world.draft(&name);
        Box::new(move |world| {
            let made = world.announce(&base, "x.iso", &announced);
            assert_eq!(made.status, 201, "{}", made.words());
            let content = made.json()["content"].as_str().unwrap().to_owned();
            ask("POST", content).json().body(kind, body).send(world)
        })
    })
}

/// The bytes of a form whose one part has this head.
fn headed(head: &str, bytes: &[u8]) -> Vec<u8> {
    [format!("--b\r\n{head}\r\n\r\n").as_bytes(), bytes, b"\r\n", END].concat()
}

/// A file part after something else.
fn after(first: &[u8]) -> Vec<u8> {
    [first, &form("x.iso", &iso("AFTER"))].concat()
}

fn small(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    part(&mut body, "b", name, None, bytes);
    body
}

fn file(file_name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    part(&mut body, "b", "file", Some(file_name), bytes);
    body
}

/// A volume of 40 KiB: its whole form is known before anything is written.
fn little() -> Vec<u8> {
    iso_of("LITTLE", 20)
}

/// The code of a refusal, asked for by a script.
fn code(row: Row, code: &'static str) -> Row {
    row.words(&[code])
}

pub fn rows() -> Vec<Batch> {
    let mut rows = Vec::new();
    let whole = || form("x.iso", &iso("WHOLE"));
    let boundary = "boundary";
    for (what, kind) in [
        ("no boundary", "multipart/form-data"),
        ("an empty boundary", "multipart/form-data; boundary="),
        ("a boundary with a tab", "multipart/form-data; boundary=\"b\tc\""),
        ("a text", "text/plain"),
        ("no kind at all", ""),
    ] {
        rows.push(Row::new("B-M01", what, sent(kind, whole()), &[400]).words(&[boundary]));
    }
    let long = "b".repeat(71);
    let body = String::from_utf8_lossy(&form("x.iso", b"x")).replace("--b", &format!("--{long}")).into_bytes();
    rows.push(
        Row::new("B-M01", "a boundary of 71 characters", sent(&format!("multipart/form-data; boundary={long}"), body), &[400])
            .words(&["70 characters"]),
    );
    rows.push(Row::new("B-M01", "a boundary with CR LF", folded_boundary(), &[400]));
    rows.push(
        code(
            Row::new("B-M01", "no boundary, for a script", script("multipart/form-data", whole(), iso("WHOLE")), &[400]),
            "form.bad_boundary",
        )
        .left(Left::Changed)
        .also(pending_without_bytes),
    );

    rows.push(Row::new("B-M02", "the connection ends in the file", cut_off(70_000), &[0]).left(Left::Pending("interrupted")));
    rows.push(Row::new("B-M02", "the connection ends in the first 64 KiB", cut_off(30_000), &[0]));
    rows.push(Row::new("B-M02", "the connection ends before a byte of the form", cut_off(0), &[0]));
    let unclosed = |size: u32| {
        let mut body = form("x.iso", &iso_of("UNCLOSED", size));
        body.truncate(body.len() - END.len() - 2);
        body
    };
    rows.push(
        Row::new("B-M02", "the form ends without its boundary", sent(KIND, unclosed(60)), &[303])
            .words(&["Pending", "The upload was interrupted."])
            .left(Left::Pending("interrupted")),
    );
    rows.push(
        code(Row::new("B-M02", "the same, for a script", script(KIND, unclosed(60), iso_of("UNCLOSED", 60)), &[400]), "upload.incomplete")
            .left(Left::Pending("interrupted")),
    );
    rows.push(
        Row::new("B-M02", "a little form ends without its boundary", sent(KIND, unclosed(20)), &[400]).words(&["did not arrive whole"]),
    );

    rows.push(Row::new("B-M03", "1 GiB without a line", garbage(b"x", 1 << 30), &[400]).memory(1024));
    rows.push(Row::new("B-M03", "1 GiB of lines", garbage(b"garbage\r\n", 1 << 30), &[400]).memory(1024));
    rows.push(Row::new("B-M03", "1 GiB of zeros", garbage(&[0], 1 << 30), &[400]).memory(1024));

    rows.push(Row::new("B-M04", "almost-boundaries in the file, cut at every byte", almost_boundaries(), &[200]).left(Left::Changed));

    rows.extend(odd_forms());
    rows.extend(bounds());
    rows.extend(order());
    rows.extend(sizes());
    rows.extend(encodings());
    rows.extend(file_names());
    rows.push(
        Row::new("B-M23", "the session ends while the file comes", session_ends(Duration::ZERO), &[401])
            .words(&["upload.session_ended", "Sign in again"])
            .left(Left::Changed)
            .also(stopped_by_right),
    );
    rows.push(
        Row::new("B-M23", "the session ends, and a checkpoint follows", session_ends(Duration::from_millis(2_500)), &[401])
            .words(&["upload.session_ended"])
            .left(Left::Kept)
            .also(stopped_by_right),
    );
    rows.push(
        Row::new("B-M24", "the same form, sent twice", twice(), &[303]).words(&["This image has its file already"]).left(Left::Available),
    );
    rows.push(Row::new("B-M24", "the same form, sent twice at once", twice_at_once(), &[303]).left(Left::Available));
    let bounded = Batch {
        settings: &[("max_upload", "1 MiB")],
        rows: vec![
            Row::new("B-M14", "a length over the limit", sent(KIND, form("x.iso", &iso_of("LARGE", 700))), &[413]).words(&["1.4 MiB", "1 MiB"]),
            code(Row::new("B-M14", "a size over the limit, announced", announced_only(iso_of("LARGE", 700)), &[413]), "file.too_large"),
            Row::new("B-M14", "no length at all, in chunks", chunked(), &[411])
                .words(&["Content-Length"])
                .differs("the length is needed before the first byte, to reserve its space (PRODUCT.md section 2); a form without one is refused whole"),
            Row::new("B-M14", "a length that is too small", lying(-20_000), &[422]).words(&["was cut off"]),
            Row::new("B-M14", "a length that is too large", lying(20_000), &[0]).left(Left::Pending("interrupted")),
        ],
    };
    vec![usual(rows), bounded]
}

/// The image is Pending, and nothing of it lies on the storage.
fn pending_without_bytes(world: &mut World, _: &answer::Answer) -> Result<(), String> {
    let id = world.newest();
    // A transfer that was announced holds its promise until its lease runs out; here it is ended.
    world.sql(&format!("UPDATE uploads SET lease_until = 1 WHERE image_id = '{id}' AND lease_until IS NOT NULL"));
    let ended = world.until(Duration::from_secs(20), |world| {
        world.text(&format!("SELECT status AS t FROM images WHERE id = '{id}'")) == "pending"
            && world.number(&format!("SELECT reserved_bytes AS n FROM images WHERE id = '{id}'")) == 0
    });
    so(ended, || world.text(&format!("SELECT status || ' ' || CAST(reserved_bytes AS TEXT) AS t FROM images WHERE id = '{id}'")))?;
    so(!world.file_of(&id).exists(), || "it has a file".to_owned())
}

fn stopped_by_right(world: &mut World, _: &answer::Answer) -> Result<(), String> {
    let id = world.newest();
    let state = world.text(&format!("SELECT status || ' ' || COALESCE(stopped, '') || ' ' || CAST(reserved_bytes AS TEXT) AS t FROM images JOIN uploads ON image_id = id WHERE id = '{id}'"));
    so(state == "pending right_lost 0", || state)?;
    so(!world.file_of(&id).exists(), || "it has a file".to_owned())
}

/// A header that goes on in the next line.
fn folded_boundary() -> Act {
    Box::new(|world| {
        let base = world.draft("folded boundary");
        Box::new(move |world| {
            let head = format!(
                "POST {base}/create HTTP/1.1\r\nHost: 127.0.0.1:{0}\r\nOrigin: http://127.0.0.1:{0}\r\nContent-Length: 1\r\nContent-Type: multipart/form-data; boundary=b\r\n c\r\n\r\nx",
                world.port
            );
            world.exchange(head.as_bytes(), false)
        })
    })
}

/// The head of a request with a form for this wizard.
fn head_of(world: &World, base: &str, length: usize) -> String {
    let cookies: Vec<String> = world.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!(
        "POST {base}/create HTTP/1.1\r\nHost: 127.0.0.1:{0}\r\nOrigin: http://127.0.0.1:{0}\r\nCookie: {1}\r\nConnection: close\r\nContent-Type: {KIND}\r\nContent-Length: {length}\r\n\r\n",
        world.port,
        cookies.join("; ")
    )
}

/// A form of a file of 120 KiB of which only so many bytes come.
fn cut_off(bytes: usize) -> Act {
    Box::new(move |world| {
        let name = world.fresh("cut");
        let base = world.draft(&name);
        Box::new(move |world| {
            let body = form("x.iso", &iso_of("CUT", 60));
            let mut stream = world.connect();
            stream.write_all(head_of(world, &base, body.len()).as_bytes()).unwrap();
            stream.write_all(&body[..bytes]).unwrap();
            if bytes > 65_536 {
                let before = world.number("SELECT COUNT(*) AS n FROM images WHERE status = 'uploading'");
                world.until(Duration::from_secs(10), |world| {
                    world.number("SELECT COUNT(*) AS n FROM images WHERE status = 'uploading'") > before.min(0)
                });
            }
            drop(stream);
            answer::Answer::of(0)
        })
    })
}

/// A form of so many bytes that says nothing.
fn garbage(piece: &'static [u8], length: usize) -> Act {
    Box::new(move |world| {
        let name = world.fresh("garbage");
        let base = world.draft(&name);
        Box::new(move |world| {
            let mut stream = world.connect();
            let mut writer = stream.try_clone().unwrap();
            let head = head_of(world, &base, length);
            let sender = std::thread::spawn(move || {
                let chunk = piece.repeat(65_536 / piece.len());
                let mut left = length;
                let _ = writer.write_all(head.as_bytes());
                while left > 0 && writer.write_all(&chunk[..chunk.len().min(left)]).is_ok() {
                    left -= chunk.len().min(left);
                }
            });
            let answer = answer::read(&mut stream, false, super::world::PATIENCE);
            let _ = stream.shutdown(std::net::Shutdown::Both);
            sender.join().unwrap();
            answer
        })
    })
}

/// A volume whose bytes are nearly the boundary, sent in two pieces that are cut at every place around one of them.
fn almost_boundaries() -> Act {
    Box::new(|world| {
        let bases: Vec<String> = (0..12).map(|n| world.draft(&format!("almost {n}"))).collect();
        Box::new(move |world| {
            let mut bytes = iso_of("ALMOST", 60);
            let tail = bytes.len() - 30_000;
            let almost = b"\r\n--boun\r\n--bounda\r\n--bound\r\r\n--\r\n-\r\n\r\n--boundar--\r\n--";
            for (at, byte) in almost.iter().cycle().take(29_000).enumerate() {
                bytes[tail + at] = *byte;
            }
            let mut last = answer::Answer::of(0);
            for (n, base) in bases.iter().enumerate() {
                let mut body = Vec::new();
                part(&mut body, "boundary", "file", Some("x.iso"), &bytes);
                body.extend_from_slice(b"--boundary--\r\n");
                let head = head_of(world, base, body.len()).replace("boundary=b\r", "boundary=boundary\r");
                let mut stream = world.connect();
                stream.write_all(head.as_bytes()).unwrap();
                // Cut at each byte of one almost-boundary and of the true one.
                let start = body.len() - 40 + n * 3;
                for piece in [&body[..start], &body[start..start + 1], &body[start + 1..start + 2], &body[start + 2..]] {
                    stream.write_all(piece).unwrap();
                    std::thread::sleep(Duration::from_millis(3));
                }
                let answer = answer::read(&mut stream, false, super::world::PATIENCE);
                let digest = world.texts(&format!("SELECT COALESCE(sha256, '') AS t FROM images WHERE name = 'almost {n}'"));
                if answer.status != 303 || digest != [sha256(&bytes)] {
                    world.problems.push(format!("cut {n}: {} {digest:?}", answer.status));
                }
                last = answer::Answer::of(200);
            }
            last
        })
    })
}

/// Forms with the properties of those that fuzzing of other parsers found.
fn odd_forms() -> Vec<Row> {
    let mut rows = Vec::new();
    let taken = |what: &str, body: Vec<u8>| Row::new("B-M05", what, sent(KIND, body), &[303]).left(Left::Available);
    let refused = |what: &str, body: Vec<u8>| Row::new("B-M05", what, sent(KIND, body), &[400, 422]);
    let volume = iso("ODD");
    let normal = form("x.iso", &volume);
    rows.push(taken("text before the first boundary", [b"This is a message.\r\n", &normal[..]].concat()));
    rows.push(taken("text behind the last boundary", [&normal[..], b"epilogue\r\nmore"].concat()));
    rows.push(taken("no line's end behind the last boundary", normal[..normal.len() - 2].to_vec()));
    rows.push(taken("empty lines before the first boundary", [b"\r\n\r\n\r\n", &normal[..]].concat()));
    rows.push(taken("headers in capitals", headed("CONTENT-DISPOSITION: FORM-DATA; NAME=\"file\"; FILENAME=\"x.iso\"", &volume)));
    rows.push(taken(
        "headers without a space behind the colon",
        headed("Content-Disposition:form-data;name=\"file\";filename=\"x.iso\"", &volume),
    ));
    rows.push(taken("names without quotation marks", headed("Content-Disposition: form-data; name=file; filename=x.iso", &volume)));
    rows.push(taken(
        "the file's name before the field's",
        headed("Content-Disposition: form-data; filename=\"x.iso\"; name=\"file\"", &volume),
    ));
    rows.push(taken(
        "unknown headers of a part",
        headed("X-Unknown: y\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.iso\"\r\nX-More: z", &volume),
    ));
    rows.push(refused(
        "a part that says another length than it has",
        headed("Content-Disposition: form-data; name=\"file\"; filename=\"x.iso\"\r\nContent-Length: 7", &volume),
    ));
    rows.push(taken("an empty part before the file", after(&small("", b""))));
    rows.push(taken("a part with line breaks alone", after(&small("a", b"\r\n\r\n\r\n"))));
    rows.push(taken("a file that ends in CR LF and two hyphens", form("x.iso", &[&volume[..volume.len() - 4], b"\r\n--"].concat())));
    rows.push(taken(
        "a part that holds a form",
        after(&small("a", b"--c\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--c--")),
    ));
    rows.push(
        Row::new("B-M05", "a boundary in quotation marks", sent("multipart/form-data; boundary=\"b\"", normal.clone()), &[303])
            .left(Left::Available),
    );
    rows.push(
        Row::new(
            "B-M05",
            "a boundary with every character that may be",
            sent(
                "multipart/form-data; boundary=\"'()+_,-./:=?\"",
                String::from_utf8_lossy(&form("x.iso", b"")).replace("--b", "--'()+_,-./:=?").into_bytes(),
            ),
            &[422],
        )
        .words(&["is empty"]),
    );
    rows.push(
        Row::new("B-M05", "two boundaries", sent("multipart/form-data; boundary=b; boundary=c", normal.clone()), &[303, 400])
            .left(Left::Changed),
    );
    rows.push(
        Row::new("B-M05", "multipart/mixed", sent("multipart/mixed; boundary=b", normal.clone()), &[303, 400, 422]).left(Left::Changed),
    );
    rows.push(
        Row::new("B-M05", "a charset beside the boundary", sent("multipart/form-data; charset=utf-8; boundary=b", normal.clone()), &[303])
            .left(Left::Available),
    );
    rows.push(refused("the last boundary alone", END.to_vec()));
    rows.push(refused("nothing at all", Vec::new()));
    rows.push(refused("one byte", b"-".to_vec()));
    rows.push(refused("the first boundary alone", b"--b\r\n".to_vec()));
    rows.push(refused(
        "the first boundary without its hyphens",
        b"b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\nb--\r\n".to_vec(),
    ));
    rows.push(refused("a part without an empty line", b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n--b--\r\n".to_vec()));
    rows.push(refused("a part without a head", b"--b\r\n\r\nx\r\n--b--\r\n".to_vec()));
    rows.push(refused("a head that is none", headed("no colon here", b"x")));
    rows.push(refused("a head of bytes", [b"--b\r\n\x80\xff\x00: x\r\n\r\nx\r\n", END].concat()));
    rows.push(refused("a boundary that goes on", b"--bb\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--bb--\r\n".to_vec()));
    rows.push(refused(
        "a nested form",
        headed(
            "Content-Disposition: form-data; name=\"file\"; filename=\"x.iso\"\r\nContent-Type: multipart/mixed; boundary=c",
            b"--c\r\n\r\nx\r\n--c--",
        ),
    ));
    rows.push(refused("an open quotation mark", headed("Content-Disposition: form-data; name=\"file; filename=x.iso", b"x")));
    rows.push(refused(
        "a file name that is not UTF-8",
        [b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\xff\xfe.iso\"\r\n\r\nx\r\n", END].concat(),
    ));
    rows.push(refused("another disposition", headed("Content-Disposition: attachment; name=\"file\"; filename=\"x.iso\"", &volume)));
    rows.push(refused("10,000 semicolons", headed(&format!("Content-Disposition: form-data{}", ";".repeat(10_000)), b"x")));
    rows.push(refused("10,000 parameters", headed(&format!("Content-Disposition: form-data{}", "; a=b".repeat(10_000)), b"x")));
    rows.push(refused("10,000 CRs", [&b"\r".repeat(10_000)[..], END].concat()));

    let malformed = |what: &str, head: &str| {
        Row::new(
            "B-M06",
            what,
            sent(KIND, [&b"--b\r\n"[..], head.as_bytes(), b"\r\n\r\nx\r\n", &form("x.iso", &iso("M06"))].concat()),
            &[400],
        )
    };
    rows.push(malformed("a part without Content-Disposition", "Content-Type: text/plain").words(&["no name"]));
    rows.push(malformed("a part without a name", "Content-Disposition: form-data").words(&["no name"]));
    rows.push(malformed("a part with two names", "Content-Disposition: form-data; name=\"a\"; name=\"file\"").words(&["two names"]));
    rows.push(
        Row::new(
            "B-M06",
            "a file with two names",
            sent(KIND, headed("Content-Disposition: form-data; name=\"file\"; filename=\"a.iso\"; filename=\"b.iso\"", &iso("M06"))),
            &[400],
        )
        .words(&["two names"]),
    );
    let odd = |what: &str, head: &str| {
        Row::new(
            "B-M07",
            what,
            sent(KIND, [&b"--b\r\n"[..], head.as_bytes(), b"\r\n\r\nx\r\n", &form("x.iso", &iso("M07"))].concat()),
            &[400],
        )
    };
    rows.push(odd("a CR in a part's header", "Content-Disposition: form-data; name=\"a\rb\""));
    rows.push(odd("an LF in a part's header", "Content-Disposition: form-data; name=\"a\nb\""));
    rows.push(odd("a CR in a header's name", "Content\r-Disposition: form-data; name=\"a\""));
    rows.push(odd("a NUL in a part's header", "Content-Disposition: form-data; name=\"a\0b\""));
    rows
}

/// Forms without an end of one kind or another.
fn bounds() -> Vec<Row> {
    let many = small("a", b"x").repeat(100_000);
    let headers = |count: usize| headed(&format!("{}Content-Disposition: form-data; name=\"a\"", "X-A: a\r\n".repeat(count)), b"x");
    vec![
        Row::new("B-M08", "100,000 parts", sent(KIND, [many, form("x.iso", &iso("M08"))].concat()), &[400])
            .words(&["more than 32 parts"])
            .memory(2 * 1024),
        Row::new("B-M08", "33 parts", sent(KIND, [small("a", b"x").repeat(33), form("x.iso", &iso("M08"))].concat()), &[400])
            .words(&["more than 32 parts"]),
        Row::new("B-M08", "31 parts", sent(KIND, [small("a", b"x").repeat(31), form("x.iso", &iso("M08"))].concat()), &[303])
            .left(Left::Available),
        Row::new(
            "B-M09",
            "a part's header of 1 MiB",
            sent(KIND, headed(&format!("X-A: {}\r\nContent-Disposition: form-data; name=\"a\"", "a".repeat(1 << 20)), b"x")),
            &[400],
        )
        .memory(1024),
        Row::new("B-M09", "10,000 headers in a part", sent(KIND, headers(10_000)), &[400]).memory(1024),
        Row::new("B-M09", "33 headers in a part", sent(KIND, headers(33)), &[400]),
        Row::new("B-M10", "a field of 1 GiB, declared as 10 GiB", endless_field(), &[413]).words(&["beside the file"]).memory(1024),
        Row::new("B-M10", "thirty fields of 4 KiB", sent(KIND, after(&small("a", &[b'x'; 4_096]).repeat(30))), &[413])
            .words(&["64 KiB beside the file"]),
        Row::new("B-M10", "a field of 60 KiB", sent(KIND, after(&small("a", &[b'x'; 60 * 1024]))), &[303]).left(Left::Available),
    ]
}

fn endless_field() -> Act {
    Box::new(|world| {
        let base = world.draft("endless field");
        Box::new(move |world| {
            let mut stream = world.connect();
            let mut writer = stream.try_clone().unwrap();
            let head = head_of(world, &base, 10 << 30);
            let sender = std::thread::spawn(move || {
                let start = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n";
                let _ = writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(start));
                let piece = vec![b'x'; 65_536];
                for _ in 0..(1 << 30) / piece.len() {
                    if writer.write_all(&piece).is_err() {
                        break;
                    }
                }
            });
            let answer = answer::read(&mut stream, false, super::world::PATIENCE);
            let _ = stream.shutdown(std::net::Shutdown::Both);
            sender.join().unwrap();
            answer
        })
    })
}

fn order() -> Vec<Row> {
    let large = || iso_of("LARGER", 60);
    let late = "what follows a file of more than 64 KiB is known only when its bytes have been streamed to the storage; they are dropped, and the image says why";
    vec![
        Row::new(
            "B-M11",
            "a field behind a little file",
            sent(KIND, [file("x.iso", &little()), small("a", b"x"), END.to_vec()].concat()),
            &[400],
        )
        .words(&["as the last field"]),
        code(
            Row::new(
                "B-M11",
                "a field behind a larger file",
                script(KIND, [file("x.iso", &large()), small("a", b"x"), END.to_vec()].concat(), large()),
                &[400],
            ),
            "form.field_order",
        )
        .left(Left::Pending("refused"))
        .differs(late),
        Row::new(
            "B-M11",
            "the same, without scripts",
            sent(KIND, [file("x.iso", &large()), small("a", b"x"), END.to_vec()].concat()),
            &[303],
        )
        .words(&["Pending", "as the last field"])
        .left(Left::Pending("refused"))
        .differs(late),
        Row::new(
            "B-M12",
            "two little files",
            sent(KIND, [file("x.iso", &little()), file("y.iso", &little()), END.to_vec()].concat()),
            &[400],
        )
        .words(&["one file per image"]),
        code(
            Row::new(
                "B-M12",
                "two larger files",
                script(KIND, [file("x.iso", &large()), file("y.iso", &large()), END.to_vec()].concat(), large()),
                &[400],
            ),
            "form.two_files",
        )
        .left(Left::Pending("refused"))
        .differs(late),
        Row::new("B-M13", "a file part without name and bytes", sent(KIND, form("", b"")), &[422]).words(&["Choose a file."]),
        Row::new("B-M13", "no file part", sent(KIND, [small("a", b"x"), END.to_vec()].concat()), &[422]).words(&["Choose a file."]),
        Row::new("B-M13", "the file as a plain field", sent(KIND, [small("file", &little()), END.to_vec()].concat()), &[422])
            .words(&["Choose a file."]),
        Row::new("B-M16", "a file of 0 bytes", sent(KIND, form("x.iso", b"")), &[422]).words(&["is empty"]),
        code(Row::new("B-M16", "a file of 0 bytes, announced", announced_only(Vec::new()), &[422]), "iso.empty"),
    ]
}

/// The first half of a script's upload alone.
fn announced_only(bytes: Vec<u8>) -> Act {
    Box::new(move |world| {
        let name = world.fresh("announced");
        let base = world.draft(&name);
        Box::new(move |world| world.announce(&base, "x.iso", &bytes))
    })
}

fn sizes() -> Vec<Row> {
    let mut rows = vec![
        Row::new("B-M15", "more than the storage has free", announced_as("x.iso", 100 << 40), &[507]).words(&["storage.full", "100 TiB"]),
        Row::new("B-M15", "the same, without scripts", length_only(100 << 40), &[507]).words(&["100 TiB", "free"]),
    ];
    for bytes in [1, 32_767, 32_768, 34_815] {
        rows.push(code(
            Row::new("B-M17", format!("a file of {bytes} bytes"), announced_only(iso("SHORT")[..bytes].to_vec()), &[422]),
            if bytes == 34_815 { "iso." } else { "iso.not_iso" },
        ));
        rows.push(Row::new(
            "B-M17",
            format!("a file of {bytes} bytes, without scripts"),
            sent(KIND, form("x.iso", &iso("SHORT")[..bytes])),
            &[422],
        ));
    }
    rows
}

/// Announces a file of this size with the head of a volume that says it has as much.
fn announced_as(file_name: &'static str, bytes: u64) -> Act {
    Box::new(move |world| {
        let base = world.draft("huge");
        Box::new(move |world| {
            let query = format!("name={file_name}&size={bytes}");
            ask("POST", format!("{base}/image?{query}")).json().body("application/octet-stream", &iso("HUGE")[..65_536]).send(world)
        })
    })
}

/// A form that says it is so long; its first 100 KiB come.
fn length_only(length: usize) -> Act {
    Box::new(move |world| {
        let name = world.fresh("long");
        let base = world.draft(&name);
        Box::new(move |world| {
            let mut stream = world.connect();
            let _ = stream
                .write_all(head_of(world, &base, length).as_bytes())
                .and_then(|()| stream.write_all(&form("x.iso", &iso_of("LONG", 60))[..100_000]));
            answer::read(&mut stream, false, super::world::PATIENCE)
        })
    })
}

/// A form in chunks, without a length.
fn chunked() -> Act {
    Box::new(|world| {
        let base = world.draft("chunked");
        Box::new(move |world| {
            let body = form("x.iso", &little());
            let head = head_of(world, &base, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
            let bytes = [head.as_bytes(), format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
            world.exchange(&bytes, false)
        })
    })
}

/// A form whose length is told wrong by so much.
fn lying(by: isize) -> Act {
    Box::new(move |world| {
        let name = world.fresh("lying");
        let base = world.draft(&name);
        Box::new(move |world| {
            let body = form("x.iso", &iso_of("LYING", 60));
            let mut stream = world.connect();
            let _ =
                stream.write_all(head_of(world, &base, body.len().strict_add_signed(by)).as_bytes()).and_then(|()| stream.write_all(&body));
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = answer::read(&mut stream, false, super::world::PATIENCE);
            if by > 0 {
                // Whether an answer still comes over a connection that the client has ended is not the point.
                answer.status = 0;
                answer.headers.clear();
            }
            answer
        })
    })
}

fn encodings() -> Vec<Row> {
    let base64 = "AAAA".repeat(20_000);
    let with = |encoding: &str, bytes: &[u8]| {
        headed(
            &format!("Content-Disposition: form-data; name=\"file\"; filename=\"x.iso\"\r\nContent-Transfer-Encoding: {encoding}"),
            bytes,
        )
    };
    let compressed = |mark: &[u8]| {
        let mut bytes = vec![7; 100_000];
        bytes[..mark.len()].copy_from_slice(mark);
        bytes
    };
    let mut rows = vec![
        Row::new("B-M18", "Content-Transfer-Encoding: base64, and text", sent(KIND, with("base64", base64.as_bytes())), &[422])
            .words(&["not an installation image"]),
        Row::new("B-M18", "Content-Transfer-Encoding: base64, and bytes", sent(KIND, with("base64", &iso("B64"))), &[303, 400])
            .left(Left::Available)
            .also(|world, _| {
                let file = std::fs::read(world.file_of(&world.newest())).unwrap();
                so(file == iso("B64"), || "it was decoded".to_owned())
            }),
        Row::new("B-M18", "Content-Transfer-Encoding: quoted-printable", sent(KIND, with("quoted-printable", &iso("QP=41"))), &[303, 400])
            .left(Left::Available)
            .also(|world, _| {
                let file = std::fs::read(world.file_of(&world.newest())).unwrap();
                so(file == iso("QP=41"), || "it was decoded".to_owned())
            }),
    ];
    for encoding in ["gzip", "deflate", "br", "zstd", "identity, gzip", "x"] {
        rows.push(
            Row::new(
                "B-M19",
                format!("Content-Encoding: {encoding}"),
                with_header(KIND, form("x.iso", &iso("M19")), Some(("Content-Encoding", encoding))),
                &[415],
            )
            .words(&["Content-Encoding"]),
        );
    }
    rows.push(Row::new("B-M19", "a form of 600 KB that unpacks to 90 MiB", bomb(), &[415]).memory(1024));
    for (mark, ending) in [
        (&b"\x1f\x8b\x08"[..], "gz"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zst"),
        (b"PK\x03\x04", "zip"),
        (b"BZh9", "bz2"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
    ] {
        rows.push(
            Row::new("B-M20", format!("x.iso.{ending}"), sent(KIND, form(&format!("x.iso.{ending}"), &compressed(mark))), &[422])
                .words(&["Unpack it first"]),
        );
        rows.push(
            Row::new("B-M20", format!("{ending} that is named x.iso"), sent(KIND, form("x.iso", &compressed(mark))), &[422])
                .words(&["npack"]),
        );
    }
    rows
}

/// A gzip stream of 600 KB that holds 90 MiB of zeros: one literal, then copies of the byte before, 258 at a time.
fn bomb() -> Act {
    Box::new(|_| {
        Box::new(|world| {
            let (mut packed, mut bits, mut filled) = (b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(), 0_u32, 0);
            let mut push = |code: u32, length: u32| {
                for bit in (0..length).rev() {
                    bits |= (code >> bit & 1) << filled;
                    filled += 1;
                    if filled == 8 {
                        packed.push(bits as u8);
                        (bits, filled) = (0, 0);
                    }
                }
            };
            // The last block, with the fixed codes of RFC 1951; then the code of a zero.
            push(0b110, 3);
            push(0b0011_0000, 8);
            for _ in 0..370_000 {
                push(0b1100_0101, 8);
                push(0, 5);
            }
            push(0, 7);
            push(0, 8);
            ask("POST", "/account/preferences")
                .header("Content-Encoding", "gzip")
                .body("application/x-www-form-urlencoded", packed)
                .send(world)
        })
    })
}

/// The file name as it is kept.
fn kept(row: Row, name: &'static str) -> Row {
    row.left(Left::Available).also(move |world, answer| {
        let id = world.newest();
        let kept = world.text(&format!("SELECT file_name AS t FROM images WHERE id = '{id}'"));
        so(kept == name, || format!("kept as {kept:?}, not {name:?}"))?;
        let page = answer.page.as_ref().map(|page| page.text()).unwrap_or_default();
        so(!page.contains("<svg onload"), || "the page has the name as it is".to_owned())
    })
}

fn file_names() -> Vec<Row> {
    let named = |parameters: &str, label: &str| {
        headed(
            &format!("Content-Disposition: form-data; name=\"file\"; {parameters}\r\nContent-Type: application/octet-stream"),
            &iso(label),
        )
    };
    let mut rows = Vec::new();
    for (what, parameters, name) in [
        ("filename and filename* disagree", "filename=\"a.iso\"; filename*=UTF-8''%E2%82%AC.iso", "€.iso"),
        ("filename* before filename", "filename*=UTF-8''%E2%82%AC.iso; filename=\"a.iso\"", "€.iso"),
        ("a NUL in filename*", "filename=\"a.iso\"; filename*=UTF-8''a%00b.iso", "ab.iso"),
        ("an unknown charset", "filename=\"a.iso\"; filename*=KLINGON''x%41.iso", "a.iso"),
        ("Latin-1", "filename=\"a.iso\"; filename*=ISO-8859-1''%e9.iso", "é.iso"),
        ("filename* that is not UTF-8", "filename=\"a.iso\"; filename*=UTF-8''%ff.iso", "a.iso"),
        ("filename* with a path", "filename*=UTF-8''..%2F..%2Fetc%2Fcron.d%2Fx.iso", "x.iso"),
        ("filename* with CR LF", "filename*=UTF-8''a%0D%0ASet-Cookie:x.iso", "aSet-Cookie:x.iso"),
        ("markup", "filename=\"<svg onload=alert(1)>.iso\"", "<svg onload=alert(1)>.iso"),
    ] {
        rows.push(kept(Row::new("B-M21", what, sent(KIND, named(parameters, "M21")), &[303]), name));
    }
    rows.push(Row::new("B-M21", "filename* that is none", sent(KIND, named("filename=\"a.iso\"; filename*=x", "M21")), &[400]));

    // As old browsers sent their forms: own captures with the same properties.
    for (browser, boundary, parameters, name) in [
        (
            "IE 6",
            "---------------------------7d91b03a20128",
            r#"filename="C:\Documents and Settings\Ada\Desktop\new\disc.iso""#,
            "disc.iso",
        ),
        ("IE 7, from a share", "---------------------------7da36d1b4a0164", r#"filename="\\server\share\disc.iso""#, "disc.iso"),
        ("Opera 8", "----------zEO9jQKmLc2Cq88c23Dx19", "filename=\"disc.iso\"", "disc.iso"),
        ("Firefox 3", "---------------------------186454651713519341951581030105", "filename=\"disc \\\"1\\\".iso\"", "disc \"1\".iso"),
        ("WebKit", "----WebKitFormBoundaryjdSFhcARk8fyGNy6", "filename=\"disc %221%22.iso\"", "disc %221%22.iso"),
        ("Lynx", "xnyLAaB03X", "filename=disc.iso", "disc.iso"),
    ] {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; {parameters}\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        let body = [head.as_bytes(), &iso("OLD"), format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
        rows.push(kept(Row::new("B-M22", browser, sent(&format!("multipart/form-data; boundary={boundary}"), body), &[303]), name));
    }
    rows
}

/// A form of which the second half comes after its session has ended.
fn session_ends(then: Duration) -> Act {
    Box::new(move |world| {
        let name = world.fresh("session");
        let base = world.draft(&name);
        let bytes = iso_of("SESSION", 100);
        let made = world.announce(&base, "x.iso", &bytes);
        assert_eq!(made.status, 201, "{}", made.words());
        let (content, jar) = (made.json()["content"].as_str().unwrap().to_owned(), world.jar.clone());
        Box::new(move |world| {
            let body = form("x.iso", &bytes);
            let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let head = head_of(world, "", body.len())
                .replace("POST /create", &format!("POST {content}"))
                .replace("Connection: close", "Connection: close\r\nAccept: application/json");
            assert!(head.contains(&cookies.join("; ")));
            let mut stream = world.connect();
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..100_000])).unwrap();
            let uploading = world.until(Duration::from_secs(10), |world| {
                world.number("SELECT COUNT(*) AS n FROM events WHERE action = 'begin_upload' AND seq = (SELECT MAX(seq) FROM events)") == 1
            });
            assert!(uploading, "the transfer begins");
            world.sql("DELETE FROM sessions");
            std::thread::sleep(then);
            let begun = Instant::now();
            let _ = stream.write_all(&body[100_000..150_000]);
            std::thread::sleep(Duration::from_millis(50));
            let _ = stream.write_all(&body[150_000..]);
            let answer = answer::read(&mut stream, false, super::world::PATIENCE);
            if begun.elapsed() > Duration::from_secs(5) {
                world.problems.push("it took more than five seconds".to_owned());
            }
            (world.jar, _) = world.sign_in(super::world::ADMIN.0, super::world::ADMIN.1);
            answer
        })
    })
}

fn twice() -> Act {
    Box::new(|world| {
        let base = world.draft("twice");
        Box::new(move |world| {
            let send = |world: &mut World| ask("POST", format!("{base}/create")).body(KIND, form("x.iso", &iso("TWICE"))).follow(world);
            let first = send(world);
            let second = send(world);
            if first.location() != second.location() {
                world.problems.push(format!("they lead to {} and {}", first.location(), second.location()));
            }
            second
        })
    })
}

fn twice_at_once() -> Act {
    Box::new(|world| {
        let base = world.draft("twice at once");
        Box::new(move |world| {
            let body = form("x.iso", &iso("ATONCE"));
            let bytes = [head_of(world, &base, body.len()).as_bytes(), &body].concat();
            let both: Vec<answer::Answer> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| world.exchange(&bytes, false))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            if both[0].location() != both[1].location() {
                world.problems.push(format!(
                    "they lead to {} {} and {} {}",
                    both[0].status,
                    both[0].location(),
                    both[1].status,
                    both[1].location()
                ));
            }
            both[0].clone()
        })
    })
}
