//! The file of an image: sent as it is, and got back, whole or in part.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use actix_web::http::Method;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use sha2::{Digest, Sha256};
use vmimg::{
    authorize::{Actor, Credential},
    domain::{access::Scopes, version::Expected},
    operations::{create_image::File, upload_image},
};

use super::super::support::{fixtures, iso, iso_of, journeys::eventually, program::Program};

fn digest(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(bytes)))
}

two_databases! {
    async fn a_file_comes_back_as_it_went_whole_and_in_ranges(start: Start) {
        let app = start.ready().await;
        let program = app.program("images download");
        let bytes = iso_of("DOWN", 600);
        let id = program.image("Down / up", &bytes).await;
        let path = format!("/images/{id}/content");
        let (whole, lines) = app.events_of(program.get(&path)).await;
        let whole = whole.expect(200);
        assert_eq!((&whole.body[..], whole.header("content-type")), (&bytes[..], "application/octet-stream"));
        assert_eq!((whole.header("repr-digest"), whole.header("content-length")), (&*digest(&bytes), ""));
        assert!(whole.header("content-disposition").starts_with("attachment; filename*=UTF-8''Down%20_%20up.iso"), "{}", whole.header("content-disposition"));
        assert_eq!(lines.len(), 1);
        let part = program.request(Method::GET, &path).header("range", "bytes=100000-100009").send().await.expect(206);
        assert_eq!((&part.body[..], part.header("content-range")), (&bytes[100_000..100_010], &*format!("bytes 100000-100009/{}", bytes.len())));
        assert_eq!(part.header("repr-digest"), digest(&bytes));
        let beyond = program.request(Method::GET, &path).header("range", "bytes=99999999-").send().await.refused(416, "range.unsatisfiable");
        assert_eq!(beyond.header("content-range"), format!("bytes */{}", bytes.len()));
        let head = program.request(Method::HEAD, &path).send().await.expect(200);
        assert_eq!(head.header("repr-digest"), digest(&bytes));
        let same = program.request(Method::GET, &path).header("if-none-match", whole.header("etag")).send().await;
        assert_eq!(same.status, 304);
        program.request(Method::GET, &path).header("if-match", "\"other\"").send().await.refused(412, "changed_meanwhile");
    }

    async fn what_is_not_available_is_not_handed_out(start: Start) {
        let app = start.ready().await;
        let program = app.program("all");
        let id = program.image("x", &iso("X")).await;
        let path = format!("/images/{id}/content");
        std::fs::remove_file(app.file_of(&id)).unwrap();
        program.get(&path).await.refused(409, "image.file_unavailable");
        program.get(&path).await.refused(409, "image.not_available");
        let pending = program.announce("pending", &iso("P")).await;
        program.get(&format!("/images/{pending}/content")).await.refused(409, "image.not_available");
        program.delete(&format!("/images/{pending}")).await.expect(204);
    }

    async fn a_file_is_refused_before_or_after_and_the_image_stays_pending(start: Start) {
        let app = start.ready().await;
        let program = app.program("images");
        let good = iso_of("GOOD", 200);
        let id = program.announce("x", &good).await;
        for (bytes, code) in [
            (vec![7; 100_000], "iso.not_iso"),
            (fixtures::truncated(), "iso.truncated"),
            (fixtures::polyglot(), "iso.polyglot"),
            (fixtures::vhd(), "iso.polyglot"),
            (Vec::new(), "iso.empty"),
            (b"short".to_vec(), "iso.not_iso"),
        ] {
            program.put(&id, &bytes).await.refused(422, code);
            let image = program.get(&format!("/images/{id}")).await.json();
            assert_eq!(image["status"]["code"], "pending", "{code}: {image}");
        }
        // Another file than the announced one is fine when it is good.
        program.put(&id, &iso("OTHER")).await.expect(200);
        program.put(&id, &good).await.refused(409, "image.complete");
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), iso("OTHER"));
    }

    async fn a_digest_that_does_not_agree_keeps_nothing(start: Start) {
        let app = start.ready().await;
        let program = app.program("images");
        let bytes = iso_of("DIGEST", 300);
        let id = program.announce("x", &bytes).await;
        let send = |headers: &[(&str, String)]| {
            let mut request = program.request(Method::PUT, &format!("/images/{id}/content")).header("if-match", "*");
            for (name, value) in headers {
                request = request.header(name, value);
            }
            request.body("application/x-iso9660-image", bytes.clone()).send()
        };
        let wrong = digest(b"something else");
        for name in ["repr-digest", "content-digest"] {
            let (refused, lines) = app.events_of(send(&[(name, wrong.clone())])).await;
            refused.refused(422, "upload.hash_mismatch");
            assert!(lines.iter().any(|line| line.contains("refuse_file refused x") && line.contains("not the announced")), "{lines:?}");
            let image = program.get(&format!("/images/{id}")).await.json();
            assert!(image["status"]["code"] == "pending" && image["status"]["sentence"].as_str().unwrap().contains("SHA-256"), "{image}");
            assert!(!app.file_of(&id).exists());
        }
        for broken in ["sha-256=abc", "sha-256=:AAAA:", "x y", "sha-256"] {
            send(&[("repr-digest", broken.to_owned())]).await.refused(400, "digest.syntax");
        }
        send(&[("repr-digest", digest(&bytes)), ("content-digest", wrong)]).await.refused(400, "digest.syntax");
        let fine = send(&[("repr-digest", format!("sha-512=:AAAA:, {}", digest(&bytes))), ("content-digest", digest(&bytes))]).await;
        assert_eq!(fine.expect(200).json()["status"]["code"], "available");
    }

    async fn what_is_no_plain_file_is_refused_unread(start: Start) {
        let app = start.ready().await;
        let program = app.program("images");
        let bytes = iso("PLAIN");
        let id = program.announce("x", &bytes).await;
        let put = || program.request(Method::PUT, &format!("/images/{id}/content"));
        put().body("application/octet-stream", bytes.clone()).send().await.refused(428, "precondition.missing");
        put().header("if-match", "\"9\"").body("application/octet-stream", bytes.clone()).send().await.refused(412, "changed_meanwhile");
        let any = || put().header("if-match", "*");
        for kind in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "application/json"] {
            any().body(kind, bytes.clone()).send().await.refused(415, "body.type");
        }
        any().header("content-encoding", "gzip").body("application/octet-stream", bytes.clone()).send().await.refused(415, "body.encoding");
        any().header("content-range", "bytes 0-9/20").body("application/octet-stream", bytes.clone()).send().await.refused(400, "content.range");
        app.program("read").put(&id, &bytes).await.refused(403, "token.scope");
        app.user("eve@example.org", "no_access").await;
        app.program_of("eve@example.org", "all").put(&id, &bytes).await.refused(404, "not_found");
        program.put("0190a000-0000-7000-8000-000000000000", &bytes).await.refused(404, "not_found");
        assert_eq!(app.count("images WHERE status = 'pending'"), 1);
        program.put(&id, &bytes).await.expect(200);
    }

    async fn a_lost_storage_takes_no_file(start: Start) {
        let app = start.ready().await;
        let program = app.program("images");
        app.datastore("nas").await;
        let storage = app.storage("nas");
        let bytes = iso("LOST");
        let new = json!({ "name": "x", "type": "installation", "storage": storage, "file": { "name": "x.iso", "size": bytes.len() } });
        let id = program.post("/images", new.clone()).await.expect(201).json()["id"].as_str().unwrap().to_owned();
        std::fs::rename(app.folder("nas"), app.dir().join("media/away")).unwrap();
        app.watch().await;
        program.put(&id, &bytes).await.refused(409, "storage.degraded");
        program.post("/images", new).await.refused(422, "storage.degraded");
        assert_eq!(program.get(&format!("/images/{id}")).await.json()["status"]["code"], "degraded");
        std::fs::rename(app.dir().join("media/away"), app.dir().join("media/nas")).unwrap();
        app.watch().await;
        program.put(&id, &bytes).await.expect(200);
    }
}

/// Sends the beginning of a file over a real socket; the head may promise more. Answers what comes back.
async fn over_socket(address: SocketAddr, head: String, body: Vec<u8>, hang_up: bool) -> String {
    let work = move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        // An early answer may come with the end of the connection.
        let _ = socket.write_all(&body);
        if hang_up {
            socket.shutdown(Shutdown::Both).unwrap();
            return String::new();
        }
        let mut buffer = [0; 16_384];
        let read = socket.read(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    };
    actix_web::rt::task::spawn_blocking(work).await.unwrap()
}

fn head(program: &Program, id: &str, framing: &str) -> String {
    format!(
        "PUT /api/v1/images/{id}/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nIf-Match: *\r\n{framing}\r\n\r\n",
        program.token
    )
}

two_databases! {
    async fn an_upload_that_breaks_in_the_middle_is_pending_and_is_kept(start: Start) {
        let app = start.ready().await;
        let running = vmimg::app::start(app.service.clone()).await.unwrap();
        let program = app.program("images");
        let bytes = iso_of("BROKEN", 2_000);
        let id = program.announce("broken", &bytes).await;
        over_socket(running.address, head(&program, &id, &format!("Content-Length: {}", bytes.len())), bytes[..1_500_000].to_vec(), true).await;
        eventually("the end of the transfer", async || app.count("uploads WHERE stopped = 'interrupted'") == 1).await;
        let image = program.get(&format!("/images/{id}")).await.json();
        assert_eq!(image["status"]["code"], "pending", "{image}");
        assert!(image["status"]["sentence"].as_str().unwrap().contains(" % received. The upload was interrupted."), "{image}");
        assert!(image["status"]["sentence"].as_str().unwrap().contains("are kept until"), "{image}");
        // It can be gone on with by tus, or the file be put whole.
        let offset = app.tus(&program).offset(&id).await;
        assert!((1..=1_500_000).contains(&offset), "{offset}");
        app.tus(&program).patch(&id, offset, &bytes[offset..]).await.expect(204);
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
        let id = program.announce("broken again", &bytes).await;
        over_socket(running.address, head(&program, &id, &format!("Content-Length: {}", bytes.len())), bytes[..1_500_000].to_vec(), true).await;
        eventually("the end of the transfer", async || app.count("uploads WHERE stopped = 'interrupted'") == 1).await;
        program.put(&id, &bytes).await.expect(200);
    }

    async fn a_wrong_file_is_answered_before_the_rest_of_it_is_sent(start: Start) {
        let app = start.ready().await;
        let running = vmimg::app::start(app.service.clone()).await.unwrap();
        let program = app.program("images");
        let bytes = iso_of("RIGHT", 2_000);
        let id = program.announce("x", &bytes).await;
        // 64 KiB of the promised 4 MB, and nothing more: the answer is there.
        let answer = over_socket(running.address, head(&program, &id, &format!("Content-Length: {}", bytes.len())), vec![7; 65_536], false).await;
        assert!(answer.starts_with("HTTP/1.1 422") && answer.contains("iso.not_iso"), "{answer}");
        // Who may not send is told before the first byte.
        let reader = app.program("read");
        let answer = over_socket(running.address, head(&reader, &id, &format!("Content-Length: {}", bytes.len())), Vec::new(), false).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("token.scope"), "{answer}");
        assert_eq!(program.get(&format!("/images/{id}")).await.json()["status"]["code"], "pending");
        program.delete(&format!("/images/{id}")).await.expect(204);
    }

    async fn a_stream_of_unknown_length_has_the_announced_size(start: Start) {
        let app = start.ready().await;
        let running = vmimg::app::start(app.service.clone()).await.unwrap();
        let program = app.program("images");
        let bytes = iso_of("CHUNKED", 200);
        let chunked = |bytes: &[u8]| {
            let mut body = Vec::new();
            for chunk in bytes.chunks(50_000) {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            body
        };
        let id = program.announce("x", &bytes).await;
        for (sent, code) in [(bytes[..300_000].to_vec(), "upload.incomplete"), ([&bytes[..], &[0; 10]].concat(), "upload.too_long"), (bytes[..10_000].to_vec(), "upload.incomplete")] {
            let answer = over_socket(running.address, head(&program, &id, "Transfer-Encoding: chunked"), chunked(&sent), false).await;
            let status = if code == "upload.incomplete" { "HTTP/1.1 400" } else { "HTTP/1.1 422" };
            assert!(answer.starts_with(status) && answer.contains(code), "{code}: {answer}");
            eventually("Pending", async || program.get(&format!("/images/{id}")).await.json()["status"]["code"] == "pending").await;
        }
        let answer = over_socket(running.address, head(&program, &id, "Transfer-Encoding: chunked"), chunked(&bytes), false).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
    }

    async fn a_token_that_ends_meanwhile_publishes_nothing(start: Start) {
        let app = start.ready().await;
        let program = app.program("images");
        let bytes = iso("REVOKED");
        let id = program.announce("x", &bytes).await;
        let file = File { name: "x.iso".to_owned(), bytes: bytes.len() as u64, exact: true, head: bytes[..65_536].to_vec().into(), sha256: None };
        let actor = Actor {
            user: app.text("SELECT id AS t FROM users").parse().unwrap(),
            name: "Ada".to_owned(),
            device: String::new(),
            credential: Credential::Token { id: program.id.parse().unwrap(), scopes: Scopes::parse("scope", ["images"]).unwrap() },
            address: String::new(),
            request_id: String::new(),
        };
        let mut transfer = upload_image::begin(&app.service, &Arc::new(actor), id.parse().unwrap(), Expected::Any, &file).await.unwrap();
        transfer.push(bytes.clone().into()).await.unwrap();
        program.request(Method::DELETE, "/token").send().await.expect(204);
        let failed = transfer.finish().await.unwrap_err();
        assert!(failed.to_string().contains("The right to upload was withdrawn"), "{failed}");
        assert_eq!(app.texts("SELECT status AS t FROM images"), ["pending"]);
        assert!(!app.file_of(&id).exists());
    }
}
