//! Group R: uploads that are continued (tus 1.0.0), and what clients should not send to them.

use std::{io::Write, net::Shutdown, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use super::{
    Batch,
    answer::{self, Answer},
    fixtures::{iso_of, sha256},
    table::{Act, Left, Row, so},
    usual,
    world::{Ask, World, ask},
};

const KIND: &str = "application/offset+octet-stream";
/// Sectors of the files here, and how many bytes of them are sent before a row begins.
const SECTORS: u32 = 100;
const SENT: usize = 100_000;

fn file() -> Vec<u8> {
    iso_of("CHUNKS", SECTORS)
}

fn tus(method: &str, path: impl Into<String>) -> Ask {
    ask(method, path).header("Tus-Resumable", "1.0.0")
}

fn metadata(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value))).collect::<Vec<_>>().join(",")
}

fn create(world: &mut World, length: &str, more: &[(&str, &str)]) -> Ask {
    let (name, storage) = (world.fresh("chunks"), world.storage.clone());
    let mut pairs = vec![("filename", "x.iso"), ("storage", &*storage), ("name", &*name)];
    pairs.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
    pairs.extend(more.iter().copied());
    tus("POST", "/uploads").header("Upload-Length", length).header("Upload-Metadata", metadata(&pairs))
}

fn chunk(id: &str, offset: impl ToString, bytes: &[u8]) -> Ask {
    tus("PATCH", format!("/uploads/{id}")).header("Upload-Offset", offset.to_string()).body(KIND, bytes)
}

/// Ends what rows before left, so that no lease runs out while another one is looked at.
fn clear(world: &mut World) {
    for id in world.texts("SELECT image_id AS t FROM uploads WHERE lease_until IS NOT NULL OR expires_at IS NOT NULL") {
        tus("DELETE", format!("/uploads/{id}")).send(world);
    }
}

/// An upload of [`file`], of which the first [`SENT`] bytes are there.
fn begun(world: &mut World) -> String {
    clear(world);
    let made = create(world, &file().len().to_string(), &[]).send(world);
    assert_eq!(made.status, 201, "{}", made.words());
    let id = made.location().rsplit_once('/').unwrap().1.to_owned();
    let sent = chunk(&id, 0, &file()[..SENT]).send(world);
    assert_eq!((sent.status, sent.header("upload-offset")), (204, "100000"), "{}", sent.words());
    id
}

/// A request about an upload that has begun.
fn about(make: impl FnOnce(&str) -> Ask + 'static) -> Act {
    Box::new(move |world| {
        let id = begun(world);
        Box::new(move |world| make(&id).send(world))
    })
}

/// A request that announces an upload.
fn announces(make: impl FnOnce(&mut World) -> Ask + 'static) -> Act {
    Box::new(move |world| {
        clear(world);
        let asked = make(world);
        Box::new(move |world| asked.send(world))
    })
}

/// The newest upload has come as far as before, and goes on to its end.
fn as_before(world: &mut World, _: &Answer) -> Result<(), String> {
    let id = world.newest();
    let head = tus("HEAD", format!("/uploads/{id}")).send(world);
    so((head.status, head.header("upload-offset")) == (200, "100000"), || {
        format!("it is at {} {}", head.status, head.header("upload-offset"))
    })?;
    let part = std::fs::read(world.media().join(format!("local/staging/{id}.part"))).unwrap_or_default();
    so(part == file()[..SENT], || format!("its part has {} bytes", part.len()))
}

/// The newest upload is Pending with what became durable, goes on from there, and ends as the file.
fn goes_on(least: usize, most: usize) -> impl FnOnce(&mut World, &Answer) -> Result<(), String> {
    move |world, _| {
        let id = world.newest();
        let mut at = 0;
        let there = world.until(Duration::from_secs(10), |world| {
            let head = tus("HEAD", format!("/uploads/{id}")).send(world);
            at = head.header("upload-offset").parse().unwrap_or(0);
            (least..=most).contains(&at)
        });
        so(there, || format!("it is at {at}, not from {least} to {most}"))?;
        let rest = chunk(&id, at, &file()[at..]).send(world);
        so(rest.status == 204, || format!("the rest is answered {}: {}", rest.status, rest.words()))?;
        let stored = std::fs::read(world.file_of(&id)).map_err(|failed| failed.to_string())?;
        so(sha256(&stored) == sha256(&file()), || "the file is another one".to_owned())
    }
}

/// The head of a chunk that begins where the upload has come to, for a connection that is written to by hand.
fn head(world: &World, id: &str, more: &str) -> String {
    let cookies: Vec<String> = world.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!(
        "PATCH /uploads/{id} HTTP/1.1\r\nHost: 127.0.0.1:{0}\r\nOrigin: http://127.0.0.1:{0}\r\nCookie: {1}\r\nTus-Resumable: 1.0.0\r\n\
         Upload-Offset: {SENT}\r\nContent-Type: {KIND}\r\n{more}\r\n\r\n",
        world.port,
        cookies.join("; ")
    )
}

/// Many chunks at one offset, each over a connection of its own, at the same time.
fn at_once(many: usize) -> Act {
    Box::new(move |world| {
        let id = begun(world);
        Box::new(move |world| {
            let piece = &file()[SENT..SENT + 70_000];
            let head = head(world, &id, &format!("Connection: close\r\nContent-Length: {}", piece.len()));
            let bytes = [head.as_bytes(), piece].concat();
            let statuses: Vec<u16> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..many).map(|_| scope.spawn(|| world.exchange(&bytes, false).status)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let done = statuses.iter().filter(|status| **status == 204).count();
            // Whoever is refused before its body is read may see its connection closed before it reads why.
            if done != 1 || statuses.iter().any(|status| !matches!(status, 204 | 409 | 423 | 0)) {
                world.problems.push(format!("{statuses:?}"));
            }
            Answer::of(204)
        })
    })
}

/// A chunk whose body stops, with a length or in pieces of HTTP.
fn stops(after: usize, of: usize) -> Act {
    Box::new(move |world| {
        let id = begun(world);
        Box::new(move |world| {
            let mut stream = world.connect();
            stream.write_all(head(world, &id, &format!("Content-Length: {of}")).as_bytes()).unwrap();
            stream.write_all(&file()[SENT..SENT + after]).unwrap();
            // What the service has not read by then goes with the connection.
            std::thread::sleep(Duration::from_millis(300));
            let _ = stream.shutdown(Shutdown::Both);
            Answer::of(0)
        })
    })
}

/// A chunk in pieces of HTTP, without a length, that runs past the end.
fn in_pieces_past_the_end() -> Act {
    Box::new(move |world| {
        let id = begun(world);
        Box::new(move |world| {
            let mut stream = world.connect();
            stream.write_all(head(world, &id, "Connection: close\r\nTransfer-Encoding: chunked").as_bytes()).unwrap();
            let body = [&file()[SENT..], &[0; 5_000]].concat();
            for piece in body.chunks(40_000) {
                let _ = stream
                    .write_all(format!("{:x}\r\n", piece.len()).as_bytes())
                    .and_then(|()| stream.write_all(piece))
                    .and_then(|()| stream.write_all(b"\r\n"));
            }
            let _ = stream.write_all(b"0\r\n\r\n");
            answer::read(&mut stream, false, super::world::PATIENCE)
        })
    })
}

/// The digests of the part that was sent, of this file.
fn proof(file: &[u8]) -> String {
    let digests: Vec<String> = file[..SENT].chunks(65_536).map(sha256).collect();
    serde_json::json!({ "block": 65_536, "length": file.len(), "name": "x.iso", "digests": digests }).to_string()
}

fn ended(how: &'static str) -> Act {
    Box::new(move |world| {
        let id = begun(world);
        match how {
            "completed" => assert_eq!(chunk(&id, SENT, &file()[SENT..]).send(world).status, 204),
            "deleted" => {
                let page = ask("GET", format!("/images/{id}/deletion")).send(world);
                let version = page.attributes("input[name=version]", "value").remove(0);
                let gone = ask("POST", format!("/images/{id}/deletion")).form(&[("version", &version)]).send(world);
                assert_eq!(gone.status, 303, "{}", gone.words());
                let done = world.until(Duration::from_secs(10), |world| {
                    world.number(&format!("SELECT COUNT(*) AS n FROM images WHERE id = '{id}'")) == 0
                });
                assert!(done, "its files are removed");
            }
            "cancelled" => assert_eq!(tus("DELETE", format!("/uploads/{id}")).send(world).status, 204),
            _ => {
                // As the watcher leaves it, which comes by once a minute.
                assert_eq!(ask("POST", format!("/uploads/{id}/pause")).send(world).status, 204);
                world.sql(&format!("UPDATE uploads SET stopped = 'expired', hash_state = NULL, expires_at = NULL WHERE image_id = '{id}'"));
                world.sql(&format!("UPDATE images SET reserved_bytes = 0 WHERE id = '{id}'"));
                std::fs::remove_file(world.media().join(format!("local/staging/{id}.part"))).unwrap();
            }
        }
        Box::new(move |world| chunk(&id, SENT, &file()[SENT..]).send(world))
    })
}

pub fn rows() -> Vec<Batch> {
    let mut rows = Vec::new();
    for (what, method, on_one) in
        [("announcing", "POST", false), ("asking", "HEAD", true), ("a chunk", "PATCH", true), ("an end", "DELETE", true)]
    {
        for version in ["", "0.2.2", "1.0.0, 1.0.0", "1"] {
            let act = about(move |id| {
                let path = if on_one { format!("/uploads/{id}") } else { "/uploads".to_owned() };
                if version.is_empty() { ask(method, path) } else { ask(method, path).header("Tus-Resumable", version) }
            });
            let row = Row::new("B-R01", format!("{what} with version “{version}”"), act, &[412]);
            rows.push(
                row.also(as_before)
                    .also(|_, answer| so(answer.header("tus-version") == "1.0.0", || "it does not say which one".to_owned())),
            );
        }
    }
    for (what, headers) in [
        ("no length", vec![]),
        ("a length that follows later", vec![("Upload-Defer-Length", "1")]),
        ("both", vec![("Upload-Length", "204800"), ("Upload-Defer-Length", "1")]),
        ("a deferral that is none", vec![("Upload-Defer-Length", "2")]),
    ] {
        let act = announces(move |_| headers.iter().fold(tus("POST", "/uploads"), |asked, (name, value)| asked.header(name, *value)));
        rows.push(Row::new("B-R02", what, act, &[400]).words(&["upload.header"]));
    }
    for length in ["-1", "1e9", "9223372036854775808", "18446744073709551616", "", "\u{ff11}", "+1", "0x10", "1 000", "1,1"] {
        rows.push(Row::new("B-R03", format!("Upload-Length: {length}"), announces(move |world| create(world, length, &[])), &[400]));
    }
    rows.push(Row::new("B-R04", "an empty file", announces(|world| create(world, "0", &[])), &[422]).words(&["iso.empty"]));
    rows.push(
        Row::new("B-R05", "a byte more than the limit", announces(|world| create(world, &((1_u64 << 50) + 1).to_string(), &[])), &[413])
            .words(&["file.too_large"])
            .also(|_, answer| so(answer.header("tus-max-size") == (1_u64 << 50).to_string(), || "it does not say the limit".to_owned())),
    );
    rows.push(Row::new("B-R05", "more than the storage has", announces(|world| create(world, &(100_u64 << 40).to_string(), &[])), &[507]));
    for kind in ["application/octet-stream", "multipart/form-data; boundary=b", "text/plain", ""] {
        let act = about(move |id| tus("PATCH", format!("/uploads/{id}")).header("Upload-Offset", "100000").body(kind, &file()[SENT..]));
        rows.push(Row::new("B-R06", format!("a chunk as “{kind}”"), act, &[415]).also(as_before));
    }
    for many in [2, 10, 50] {
        rows.push(
            Row::new("B-R07", format!("{many} chunks at one offset at once"), at_once(many), &[204])
                .left(Left::Changed)
                .also(goes_on(SENT + 70_000, SENT + 70_000)),
        );
    }
    for offset in ["0", "99999", "100001", "204800", "9223372036854775807"] {
        let row = Row::new("B-R08", format!("a chunk at {offset}"), about(move |id| chunk(id, offset, &file()[..1_000])), &[409]);
        let tells =
            |_: &mut World, answer: &Answer| so(answer.header("upload-offset") == "100000", || "it does not say the true one".to_owned());
        rows.push(row.words(&["upload.offset"]).also(tells).also(as_before));
    }
    for offset in ["-1", "18446744073709551616", "", "1e5", "100000, 100000"] {
        rows.push(Row::new("B-R08", format!("a chunk at “{offset}”"), about(move |id| chunk(id, offset, b"x")), &[400]).also(as_before));
    }
    let no_offset = about(|id| tus("PATCH", format!("/uploads/{id}")).body(KIND, &b"x"[..]));
    rows.push(
        Row::new("B-R08", "a chunk without an offset", no_offset, &[400])
            .also(as_before)
            .differs("an offset that is missing is a request that cannot be read, like one that is no number; HEAD tells the true one"),
    );
    let past = about(|id| chunk(id, SENT, &[&file()[SENT..], b"x"].concat()));
    rows.push(Row::new("B-R09", "a chunk with a byte too many", past, &[413]).words(&["upload.beyond_length"]).also(as_before));
    rows.push(
        Row::new("B-R09", "the same in pieces, without a length", in_pieces_past_the_end(), &[413])
            .left(Left::Changed)
            .also(goes_on(SENT, SENT)),
    );
    rows.push(Row::new("B-R10", "a chunk after the end", ended("completed"), &[409]).words(&["image.complete"]));
    rows.push(Row::new("B-R10", "a chunk for an image that was deleted", ended("deleted"), &[410]).words(&["upload.gone"]));
    rows.push(Row::new("B-R10", "a chunk for an upload that was given up", ended("cancelled"), &[410]).words(&["upload.gone"]));
    rows.push(Row::new("B-R10", "a chunk for an upload that has expired", ended("expired"), &[410]).words(&["upload.gone"]));
    let nobody = vmimg::domain::ids::ImageId::new().to_string();
    for id in [nobody, "1".to_owned(), "..%2F..%2Fx".to_owned()] {
        let act: Act = Box::new(move |_| Box::new(move |world| chunk(&id, 0, b"x").send(world)));
        rows.push(Row::new("B-R10", "a chunk for nothing", act, &[404]));
    }
    let right = format!("sha256 {}", BASE64_STANDARD.encode(Sha256::digest(b"something else")));
    for (checksum, status) in [
        (&*right, 460),
        ("sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=", 460),
        ("md5 1B2M2Y8AsgTpgAmY7PhCfg==", 400),
        ("sha256", 400),
        ("sha256 !!!", 400),
        ("sha256 AAAA", 400),
        ("", 400),
    ] {
        let checksum = checksum.to_owned();
        let what = format!("a chunk with checksum “{checksum:.20}”");
        let act = about(move |id| chunk(id, SENT, &file()[SENT..]).header("Upload-Checksum", checksum));
        rows.push(Row::new("B-R11", what, act, &[status]).left(Left::Changed).also(goes_on(SENT, SENT)));
    }
    rows.push(
        Row::new("B-R12", "a chunk that stops", stops(60_000, 104_800), &[0]).left(Left::Changed).also(goes_on(SENT + 1, SENT + 60_000)),
    );
    rows.push(Row::new("B-R12", "a chunk that stops before a byte", stops(0, 104_800), &[0]).left(Left::Changed).also(goes_on(SENT, SENT)));
    let longer = about(|id| chunk(id, SENT, &file()[SENT..]).header("Upload-Length", "204801"));
    rows.push(Row::new("B-R13", "a length that changes", longer, &[400]).words(&["upload.length"]).also(as_before));
    rows.extend(metadata_rows());
    let overridden = about(|id| tus("POST", format!("/uploads/{id}")).header("X-HTTP-Method-Override", "DELETE"));
    rows.push(Row::new("B-R15", "an end that calls itself POST", overridden, &[405]).also(as_before));
    let from_elsewhere = about(|id| {
        tus("HEAD", format!("/uploads/{id}"))
            .without_origin()
            .header("Origin", "http://evil.example")
            .header("X-HTTP-Method-Override", "DELETE")
    });
    rows.push(Row::new("B-R15", "an end that calls itself HEAD", from_elsewhere, &[200]).also(as_before));
    for method in ["PATCH", "DELETE"] {
        let act = about(move |id| tus(method, format!("/uploads/{id}")).without_origin().header("Origin", "http://evil.example"));
        rows.push(Row::new("B-R15", format!("{method} from elsewhere"), act, &[403]).also(as_before));
    }
    for method in ["HEAD", "PATCH", "DELETE"] {
        let act: Act = Box::new(move |world| {
            let id = begun(world);
            let email = format!("{}@example.org", world.fresh("bob").replace(' ', ""));
            let (mut jar, _) = world.user(&email, "no_access");
            Box::new(move |world| {
                let of = |id: &str| {
                    let asked = tus(method, format!("/uploads/{id}")).header("Upload-Offset", "100000");
                    if method == "PATCH" { asked.body(KIND, &file()[SENT..]) } else { asked }
                };
                let there = of(&id).send_as(world, &mut jar);
                let nothing = of(&vmimg::domain::ids::ImageId::new().to_string()).send_as(world, &mut jar);
                if there.status != nothing.status {
                    world.problems.push(format!("{} for one that is there, {} for none", there.status, nothing.status));
                }
                there
            })
        });
        rows.push(
            Row::new("B-R16", format!("{method} for an upload that one may not see"), act, &[404]).left(Left::Changed).also(as_before),
        );
    }
    let mut other = file();
    other[70_000] ^= 1;
    let shown = other.clone();
    let act = about(move |id| ask("POST", format!("/uploads/{id}/proof")).body("application/json", proof(&shown)));
    rows.push(
        Row::new("B-R17", "another file of the same size is shown", act, &[409])
            .words(&["upload.other_file", "\"differs_at\":65536"])
            .also(as_before),
    );
    let act = about(move |id| ask("POST", format!("/uploads/{id}/proof")).body("application/json", proof(&other[..200_000])));
    rows.push(
        Row::new("B-R17", "a shorter file is shown", act, &[409]).words(&["upload.other_file", "\"differs_at\":200000"]).also(as_before),
    );
    let act: Act = Box::new(|world| {
        let id = begun(world);
        assert_eq!(ask("POST", format!("/uploads/{id}/pause")).send(world).status, 204);
        Box::new(move |world| {
            let (mut jar, _) = world.sign_in(super::world::ADMIN.0, super::world::ADMIN.1);
            chunk(&id, SENT, &file()[SENT..]).send_as(world, &mut jar)
        })
    });
    rows.push(
        Row::new("B-R17", "another device goes on without showing its file", act, &[409])
            .words(&["upload.proof_needed"])
            .left(Left::Changed)
            .also(as_before),
    );
    for body in
        ["", "{}", "[]", "{\"block\":65536,\"length\":204800,\"digests\":[\"x\"]}", "{\"block\":1,\"length\":204800,\"digests\":[]}"]
    {
        let act = about(move |id| ask("POST", format!("/uploads/{id}/proof")).body("application/json", body));
        rows.push(Row::new("B-R17", format!("a proof that is “{body:.20}”"), act, &[400, 422]).also(as_before));
    }
    for (what, key, wrong) in [("SHA-256", "sha256", "0".repeat(64)), ("SHA-512", "sha512", "0".repeat(128))] {
        let act: Act = Box::new(move |world| {
            clear(world);
            let asked = create(world, &file().len().to_string(), &[(key, &wrong)]);
            Box::new(move |world| {
                let made = asked.send(world);
                let id = made.location().rsplit_once('/').unwrap().1.to_owned();
                chunk(&id, 0, &file()).send(world)
            })
        });
        rows.push(
            Row::new("B-R18", format!("a file that has another {what}"), act, &[422])
                .words(&["upload.hash_mismatch"])
                .left(Left::Pending("refused")),
        );
    }
    let digest = sha256(&file());
    for (what, text, status) in [
        ("with a digit too few", digest[1..].to_owned(), 422),
        ("with a letter that is none", format!("g{}", &digest[1..]), 422),
        ("that is a list without the file", format!("{digest}  y.iso"), 422),
        ("of another algorithm", "d41d8cd98f00b204e9800998ecf8427e".to_owned(), 422),
        ("in capitals, with spaces around", format!("  {} ", digest.to_uppercase()), 201),
    ] {
        let row = Row::new(
            "B-R19",
            format!("a digest {what}"),
            announces(move |world| create(world, &file().len().to_string(), &[("sha256", &text)])),
            &[status],
        );
        rows.push(if status == 201 { row.left(Left::Changed).also(ended_again) } else { row.words(&["digest."]) });
    }
    let few = Batch {
        settings: &[("max_unfinished", "3")],
        rows: vec![
            Row::new(
                "B-R20",
                "one upload more than a person may have",
                announces(|world| {
                    for _ in 0..3 {
                        assert_eq!(create(world, "204800", &[]).send(world).status, 201);
                    }
                    create(world, "204800", &[])
                }),
                &[429],
            )
            .words(&["images.too_many_unfinished"])
            .audited(),
        ],
    };
    vec![usual(rows), few]
}

/// The newest upload is ended.
fn ended_again(world: &mut World, _: &Answer) -> Result<(), String> {
    let id = world.newest();
    let status = tus("DELETE", format!("/uploads/{id}")).send(world).status;
    so(status == 204, || format!("it is ended by {status}"))
}

fn metadata_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let written =
        |text: String| announces(move |_| tus("POST", "/uploads").header("Upload-Length", "204800").header("Upload-Metadata", text));
    for (what, text) in [
        ("that is no base64", "filename !!!".to_owned()),
        ("with a key that comes twice", "filename eC5pc28=,filename eC5pc28=".to_owned()),
        ("with two spaces", "filename  eC5pc28=".to_owned()),
        ("with nothing between commas", "filename eC5pc28=,,".to_owned()),
        ("that is not UTF-8", "filename /w==".to_owned()),
        ("that is too long", format!("filename {}", "A".repeat(60_000))),
    ] {
        rows.push(Row::new("B-R14", format!("metadata {what}"), written(text), &[400]).words(&["upload.header"]));
    }
    let act = announces(|_| {
        tus("POST", "/uploads").header("Upload-Length", "204800").header("Upload-Metadata", format!("filename {}", "A".repeat(1 << 20)))
    });
    rows.push(Row::new("B-R14", "metadata of a mebibyte", act, &[400, 431, 0]));
    for (what, pairs, status) in [
        ("a path", vec![("filename", "../../etc/passwd")], 422),
        ("an address", vec![("filename", "https://example.org/")], 422),
        ("another's image", vec![("image", "01900000-0000-7000-8000-000000000000")], 404),
        ("an image that is a path", vec![("image", "../../etc")], 404),
        ("a storage that is a path", vec![("storage", "../../etc")], 422),
        ("no file", vec![("filename", "")], 422),
    ] {
        let act = announces(move |world| create(world, "204800", &pairs));
        rows.push(Row::new("B-R14", format!("metadata names {what}"), act, &[status]));
    }
    let joined = announces(|world| create(world, "204800", &[]).header("Upload-Concat", "partial"));
    rows.push(Row::new("B-R14", "a part to be joined", joined, &[400]).words(&["not offered"]));
    rows
}
