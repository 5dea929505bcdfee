//! Uploads that can be continued: the protocol, whose turn it is, and what is kept.

use actix_web::http::Method;

use super::support::{App, Left, Tus, iso, iso_of, sha256, tus};

fn status(app: &App, id: &str) -> String {
    app.text(&format!("SELECT status AS t FROM images WHERE id = '{id}'"))
}

fn stopped(app: &App, id: &str) -> String {
    app.text(&format!("SELECT COALESCE(stopped, '') AS t FROM uploads WHERE image_id = '{id}'"))
}

fn reserved(app: &App) -> i64 {
    app.number("SELECT CAST(COALESCE(SUM(reserved_bytes), 0) AS BIGINT) AS n FROM images")
}

/// The lease of an upload runs out, and the watcher sees it.
async fn lapse(app: &App, id: &str) {
    app.run_out(id);
    vmimg::jobs::end_leases(&app.service).await.unwrap();
}

two_databases! {
    async fn an_upload_in_chunks_becomes_the_file(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let bytes = iso_of("CHUNKS", 400);
        let (id, lines) = app.events_of(async {
            let id = client.begin(&app, "chunks", &bytes).await;
            let made = client.head(&id).await.expect(200);
            assert_eq!((made.offset(), made.header("upload-length")), (0, &*bytes.len().to_string()));
            assert_eq!(made.header("cache-control"), "no-store");
            assert!(made.header("upload-expires").ends_with(" GMT"));
            assert_eq!(status(&app, &id), "pending");
            let mut at = 0;
            for length in [100_000, 1, 50_000, 300_000] {
                let answer = client.patch(&id, at, &bytes[at..at + length]).await.expect(204);
                at += length;
                assert_eq!((answer.offset(), client.offset(&id).await), (at, at));
                assert!(answer.header("upload-expires").ends_with(" GMT"));
                assert_eq!(answer.header("tus-resumable"), "1.0.0");
                assert_eq!(status(&app, &id), "uploading");
            }
            let last = client.patch(&id, at, &bytes[at..]).await.expect(204);
            assert_eq!((last.offset(), last.header("upload-expires")), (bytes.len(), ""));
            id
        }).await;
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
        app.admin().open(&format!("/images/{id}")).await.expect("Available").expect(&sha256(&bytes));
        assert_eq!(lines.iter().map(|line| line.split(' ').nth(1).unwrap()).collect::<Vec<_>>(), ["create_image", "begin_upload", "complete_upload"]);
        // A client that did not hear the last answer is told that nothing is missing.
        let done = client.head(&id).await.expect(200);
        assert_eq!(done.offset(), bytes.len());
        assert_eq!(client.patch(&id, 100_000, &bytes[100_000..]).await.refused(409, "image.complete").offset(), bytes.len());
        client.terminate(&id).await.refused(409, "image.complete");
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
    }

    async fn the_first_bytes_may_come_with_the_announcement(start: Start) {
        let app = start.ready().await;
        let client = app.tus(&app.program("images"));
        let bytes = iso_of("TOGETHER", 100);
        let storage = app.storage("local");
        let post = |bytes: &[u8], name: &str| {
            client.request(Method::POST, "/uploads").header("upload-length", "204800")
                .header("upload-metadata", &tus::encoded(&[("filename", "a.iso"), ("storage", &storage), ("name", name)]))
                .body("application/offset+octet-stream", bytes.to_vec())
        };
        let answer = post(&bytes[..150_000], "part").send().await.expect(201);
        assert_eq!(answer.offset(), 150_000);
        let id = answer.header("location").rsplit_once("/uploads/").unwrap().1.to_owned();
        assert_eq!(client.patch(&id, 150_000, &bytes[150_000..]).await.expect(204).offset(), 204_800);
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
        let whole = post(&bytes, "whole").send().await.expect(201);
        assert_eq!(whole.offset(), 204_800);
        // What the beginning tells is refused before there is an image.
        let before = (app.count("images"), app.files());
        post(&vec![7; 150_000], "junk").send().await.refused(422, "iso.not_iso");
        post(&[&bytes[..], b"x"].concat(), "longer").send().await.refused(413, "upload.beyond_length");
        assert_eq!((app.count("images"), app.files()), before);
    }

    async fn an_offset_that_is_not_the_true_one_is_refused_with_the_true_one(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let bytes = iso_of("OFFSETS", 100);
        let id = client.begin(&app, "offsets", &bytes).await;
        client.patch(&id, 0, &bytes[..100_000]).await.expect(204);
        let before = (app.rows(), app.files());
        for offset in [0, 99_999, 100_001, 204_800] {
            let answer = client.patch(&id, offset, &bytes[..1_000]).await.refused(409, "upload.offset");
            assert_eq!(answer.offset(), 100_000);
        }
        for offset in ["", "-1", "1e5", "18446744073709551616"] {
            let request = client.request(Method::PATCH, &format!("/uploads/{id}")).header("upload-offset", offset);
            request.body("application/offset+octet-stream", "x").send().await.refused(400, "upload.header");
        }
        client.patch(&id, 100_000, &[&bytes[100_000..], b"x"].concat()).await.refused(413, "upload.beyond_length");
        client.chunk(&id, 100_000, b"x").header("upload-length", "204801").send().await.refused(400, "upload.length");
        let typed = client.request(Method::PATCH, &format!("/uploads/{id}")).header("upload-offset", "100000");
        typed.body("application/octet-stream", "x").send().await.refused(415, "body.type");
        assert_eq!((app.rows(), app.files()), before);
        assert_eq!(client.chunk(&id, 100_000, &bytes[100_000..]).header("upload-length", "204800").send().await.expect(204).offset(), 204_800);
    }

    async fn a_checksum_is_compared_before_a_byte_counts(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let bytes = iso_of("SUMS", 200);
        let id = client.begin(&app, "sums", &bytes).await;
        let wrong = |offset: usize, bytes: &[u8]| client.chunk(&id, offset, bytes).header("upload-checksum", &tus::checksum(b"other"));
        let right = |offset: usize, bytes: &[u8]| client.chunk(&id, offset, bytes).header("upload-checksum", &tus::checksum(bytes));
        for (offset, end) in [(0, 100_000), (100_000, 250_000), (250_000, bytes.len())] {
            let refused = wrong(offset, &bytes[offset..end]).send().await.refused(460, "upload.checksum");
            assert_eq!((refused.offset(), client.offset(&id).await), (offset, offset));
            right(offset, &bytes[offset..end]).send().await.expect(204);
        }
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
        let other = client.begin(&app, "other", &bytes).await;
        for value in ["md5 1B2M2Y8AsgTpgAmY7PhCfg==", "sha256", "sha256 !", "sha256 AAAA", "sha1 AAAA", "SHA256 AAAA"] {
            client.chunk(&other, 0, &bytes).header("upload-checksum", value).send().await.refused(400, "upload.header");
        }
        client.terminate(&other).await.expect(204);
    }

    async fn an_interrupted_upload_is_pending_by_itself_and_goes_on(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let bytes = iso_of("RESUME", 1_000);
        let id = client.begin(&app, "resume", &bytes).await;
        client.patch(&id, 0, &bytes[..1_000_000]).await.expect(204);
        lapse(&app, &id).await;
        assert_eq!((status(&app, &id), stopped(&app, &id)), ("pending".to_owned(), "interrupted".to_owned()));
        vmimg::jobs::compare_storages(&app.service).await.unwrap();
        let page = app.admin().open(&format!("/images/{id}")).await;
        page.expect("Pending").expect("The upload was interrupted.").expect("(48 %) are kept until").expect("Choose the same file to go on.");
        assert_eq!(client.offset(&id).await, 1_000_000);
        // After a restart it goes on from there, also in another process.
        let again = start.open().await;
        let browser = again.browser();
        for name in ["vmimg-session", "vmimg-device"] {
            browser.set_cookie(name, app.admin().cookie(name).as_deref());
        }
        let client = Tus::from(browser);
        client.patch(&id, 1_000_000, &bytes[1_000_000..]).await.expect(204);
        assert_eq!(std::fs::read(again.file_of(&id)).unwrap(), bytes);
        let lines = again.events();
        assert!(lines.iter().any(|line| line.starts_with("vmimg stop_upload failed resume") && line.contains("are kept until")), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("Ada continue_upload done resume")), "{lines:?}");
    }

    async fn an_upload_that_its_storage_takes_nothing_of_says_so_and_goes_on_when_it_can(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let bytes = iso_of("STOP", 500);
        let full = |app: &App| app.sql("UPDATE storages SET free_bytes = 0");
        let words = "The storage could not take the file. “local”:";
        for (name, from) in [("first", 0), ("middle", 500_000)] {
            let id = client.begin(&app, name, &bytes).await;
            if from > 0 {
                client.patch(&id, 0, &bytes[..from]).await.expect(204);
            }
            full(&app);
            client.patch(&id, from, &bytes[from..]).await.refused(507, "storage.full");
            assert_eq!((status(&app, &id), stopped(&app, &id)), ("pending".to_owned(), "storage_failed".to_owned()));
            app.admin().open(&format!("/images/{id}")).await.expect("Pending").expect(words);
            // Told once, however often it is tried.
            client.patch(&id, from, &bytes[from..]).await.refused(507, "storage.full");
            let told = format!("stop_upload failed {name}");
            assert_eq!(app.events().iter().filter(|line| line.contains(&told)).count(), 1);
            vmimg::jobs::watch_storages(&app.service).await.unwrap();
            assert_eq!(client.offset(&id).await, from);
            client.patch(&id, from, &bytes[from..]).await.expect(204);
            assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
            assert_eq!(reserved(&app), 0);
        }
    }

    async fn what_nobody_goes_on_with_is_dropped_in_time(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let bytes = iso_of("EXPIRE", 500);
        let id = client.begin(&app, "expire", &bytes).await;
        client.patch(&id, 0, &bytes[..500_000]).await.expect(204);
        lapse(&app, &id).await;
        vmimg::jobs::expire_uploads(&app.service).await.unwrap();
        assert_eq!(client.offset(&id).await, 500_000, "seven days have not passed");
        app.sql("UPDATE uploads SET expires_at = 1");
        vmimg::jobs::expire_uploads(&app.service).await.unwrap();
        assert_eq!((status(&app, &id), stopped(&app, &id), reserved(&app)), ("pending".to_owned(), "expired".to_owned(), 0));
        assert!(app.files().keys().all(|name| !name.ends_with(".part")), "{:?}", app.files());
        client.head(&id).await.expect(410);
        client.patch(&id, 500_000, &bytes[500_000..]).await.refused(410, "upload.gone");
        client.patch(&id, 0, &bytes).await.refused(410, "upload.gone");
        app.admin().open(&format!("/images/{id}")).await.expect("The upload was not continued in time.").expect("Choose the file and send it.");
        // Announced again it begins from the start.
        client.create(bytes.len(), &[("image", &id), ("filename", "again.iso")]).await.expect(201);
        client.patch(&id, 0, &bytes).await.expect(204);
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
    }

    async fn an_upload_can_be_given_up(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let bytes = iso_of("END", 500);
        for (name, lapsed) in [("under way", false), ("kept", true)] {
            let id = client.begin(&app, name, &bytes).await;
            client.patch(&id, 0, &bytes[..500_000]).await.expect(204);
            if lapsed {
                lapse(&app, &id).await;
            }
            client.terminate(&id).await.expect(204);
            assert_eq!((status(&app, &id), stopped(&app, &id), reserved(&app)), ("pending".to_owned(), "cancelled".to_owned(), 0));
            assert!(app.files().keys().all(|name| !name.ends_with(".part")), "{:?}", app.files());
            client.head(&id).await.expect(410);
            client.terminate(&id).await.refused(410, "upload.gone");
            client.patch(&id, 500_000, &bytes[500_000..]).await.refused(410, "upload.gone");
            app.admin().open(&format!("/images/{id}")).await.expect("The upload was cancelled.");
        }
        let id = client.begin(&app, "deleted", &bytes).await;
        client.patch(&id, 0, &bytes[..500_000]).await.expect(204);
        app.admin().open(&format!("/images/{id}/deletion")).await.form("Delete image").submit().await.expect("is deleted");
        client.head(&id).await.expect(410);
        app.work().await;
        client.patch(&id, 500_000, &bytes[500_000..]).await.refused(410, "upload.gone");
        client.patch(&vmimg::domain::ids::ImageId::new().to_string(), 0, b"x").await.refused(404, "not_found");
    }

    async fn a_file_that_is_refused_keeps_nothing(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        // The beginning comes in small pieces: it is looked at as soon as it is there.
        let id = client.begin(&app, "junk", &[7; 200_000]).await;
        client.patch(&id, 0, &[7; 40_000]).await.expect(204);
        client.patch(&id, 40_000, &[7; 40_000]).await.refused(422, "iso.not_iso");
        assert_eq!((status(&app, &id), stopped(&app, &id), reserved(&app)), ("pending".to_owned(), "refused".to_owned(), 0));
        let vhd = super::support::fixtures::vhd();
        let late = client.begin(&app, "vhd", &vhd).await;
        client.patch(&late, 0, &vhd[..100_000]).await.expect(204);
        client.patch(&late, 100_000, &vhd[100_000..]).await.expect(422);
        assert_eq!(stopped(&app, &late), "refused");
        client.head(&late).await.expect(410);
        assert!(app.files().keys().all(|name| !name.ends_with(".part") && !name.ends_with(".iso")), "{:?}", app.files());
    }

    async fn what_is_known_before_is_refused_before(start: Start) {
        start.with("max_upload", "1 MiB");
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let storage = app.storage("local");
        app.image("taken", iso("TAKEN")).await;
        let before = (app.count("images"), app.files());
        let with = |pairs: &[(&'static str, &str)]| {
            let mut all = vec![("filename", "a.iso"), ("storage", storage.as_str()), ("name", "new")];
            all.retain(|(key, _)| pairs.iter().all(|(other, _)| other != key));
            all.extend(pairs.iter().copied());
            tus::encoded(&all)
        };
        let unknown = vmimg::domain::ids::ImageId::new().to_string();
        let rows = [
            ("100000", with(&[("filename", "a.img")]), 422, "file.extension"),
            ("100000", with(&[("filename", "a.iso.xz")]), 422, "file.packed"),
            ("100000", with(&[("filename", "")]), 422, "file.none"),
            ("0", with(&[]), 422, "iso.empty"),
            ("1048577", with(&[]), 413, "file.too_large"),
            ("100000", with(&[("storage", "")]), 422, "storage.none"),
            ("100000", with(&[("storage", &unknown)]), 422, "storage.none"),
            ("100000", with(&[("name", "TAKEN")]), 409, "name.taken"),
            ("100000", with(&[("os", "beos")]), 422, "os.none"),
            ("100000", with(&[("image", &unknown)]), 404, "not_found"),
            ("100000", with(&[("image", "../../etc/passwd")]), 404, "not_found"),
            ("-1", with(&[]), 400, "upload.header"),
            ("", with(&[]), 400, "upload.header"),
            ("100000", "filename !".to_owned(), 400, "upload.header"),
            ("100000", "filename YQ==,filename YQ==".to_owned(), 400, "upload.header"),
        ];
        for (length, metadata, status, code) in rows {
            let request = client.request(Method::POST, "/uploads").header("upload-length", length).header("upload-metadata", &metadata);
            let answer = request.send().await.refused(status, code);
            assert_eq!(answer.header("tus-max-size"), if status == 413 { "1048576" } else { "" });
        }
        let post = |name: &'static str, value: &'static str| client.request(Method::POST, "/uploads").header(name, value);
        post("upload-defer-length", "1").send().await.refused(400, "upload.header");
        post("upload-concat", "partial").header("upload-length", "1").send().await.refused(400, "upload.header");
        post("x-nothing", "1").send().await.refused(400, "upload.header");
        assert_eq!((app.count("images"), app.files()), before);
        app.sql("UPDATE storages SET free_bytes = 0");
        client.create(100_000, &[("filename", "a.iso"), ("storage", &storage), ("name", "full")]).await.refused(507, "storage.full");
    }

    async fn the_protocols_version_stands_in_every_request_and_answer(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let options = app.browser().request(Method::OPTIONS, "/uploads").send().await.expect(204);
        assert_eq!(options.header("tus-version"), "1.0.0");
        assert_eq!(options.header("tus-extension"), "creation,creation-with-upload,expiration,checksum,termination");
        assert_eq!((options.header("tus-max-size"), options.header("tus-checksum-algorithm")), (&*(64_u64 << 30).to_string(), "sha256,sha1"));
        let id = client.begin(&app, "version", &iso("VERSION")).await;
        let here = format!("/uploads/{id}");
        for (method, path) in [(Method::POST, "/uploads"), (Method::HEAD, &here), (Method::PATCH, &here), (Method::DELETE, &here)] {
            for version in [None, Some("0.2.2"), Some("1.0.1")] {
                let request = client.bare(method.clone(), path);
                let request = if let Some(version) = version { request.header("tus-resumable", version) } else { request };
                let answer = request.send().await.expect(412);
                assert_eq!((answer.header("tus-version"), answer.header("tus-resumable")), ("1.0.0", "1.0.0"), "{method}");
            }
        }
        // What cannot be read, and who is not signed in, gets the version as well.
        let nobody = app.browser().request(Method::HEAD, &here).send().await.expect(401);
        assert_eq!(nobody.header("tus-resumable"), "1.0.0");
        client.terminate(&id).await.expect(204);
    }

    async fn another_device_waits_for_the_lease_and_shows_its_file(start: Start) {
        let app = start.ready().await;
        let (client, other) = (Tus::from(app.admin()), app.tus(&app.program("images")));
        let bytes = iso_of("DEVICE", 500);
        let id = client.begin(&app, "device", &bytes).await;
        other.patch(&id, 0, &bytes[..100_000]).await.refused(423, "upload.other_device");
        client.patch(&id, 0, &bytes[..500_000]).await.expect(204);
        other.patch(&id, 500_000, &bytes[500_000..]).await.refused(423, "upload.other_device");
        lapse(&app, &id).await;
        other.patch(&id, 500_000, &bytes[500_000..]).await.refused(409, "upload.proof_needed");
        assert_eq!(other.offset(&id).await, 500_000, "it may look");
        client.patch(&id, 500_000, &bytes[500_000..]).await.expect(204);
    }

    async fn every_chunk_needs_the_rights(start: Start) {
        start.leaves(Left::Transfers);
        let app = start.ready().await;
        let bob = app.user("bob@example.org", "administrator").await;
        let client = Tus::from(bob);
        let bytes = iso_of("RIGHTS", 300);
        let id = client.begin(&app, "rights", &bytes).await;
        client.patch(&id, 0, &bytes[..200_000]).await.expect(204);
        for scopes in ["read", "download"] {
            let program = app.tus(&app.program_of("bob@example.org", scopes));
            program.patch(&id, 200_000, &bytes[200_000..]).await.refused(403, "token.scope");
            program.terminate(&id).await.refused(403, "token.scope");
        }
        app.sql("UPDATE users SET role = 'no_access' WHERE email = 'bob@example.org'");
        for answer in [client.patch(&id, 200_000, &bytes[200_000..]).await, client.terminate(&id).await] {
            assert!(matches!(answer.status.as_u16(), 403 | 404), "{}", answer.text());
        }
        client.head(&id).await.expect(404);
        client.create(100, &[("filename", "a.iso"), ("storage", &app.storage("local"))]).await.expect(403);
        assert_eq!(Tus::from(app.admin()).offset(&id).await, 200_000, "what was sent is kept");
    }

    async fn changes_come_from_our_own_pages_or_with_a_token(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let bytes = iso("ORIGIN");
        let id = client.begin(&app, "origin", &bytes).await;
        let here = format!("/uploads/{id}");
        for (method, path) in [(Method::POST, "/uploads"), (Method::PATCH, &here), (Method::DELETE, &here)] {
            for origin in ["http://evil.example", "null"] {
                let request = app.admin().request(method.clone(), path).origin(origin).header("tus-resumable", "1.0.0");
                let answer = request.header("x-http-method-override", "HEAD").send().await.expect(403);
                assert_eq!(answer.header("content-type"), "application/problem+json");
            }
            // A token that is none opens nothing, whatever cookies come along.
            let request = app.admin().request(method, path).header("authorization", "Bearer x").header("tus-resumable", "1.0.0");
            request.send().await.expect(401);
        }
        let preflight = app.admin().request(Method::OPTIONS, &here).origin("http://evil.example").send().await;
        assert!(preflight.headers.iter().all(|(name, _)| !name.as_str().starts_with("access-control")));
        // What a request does stands in its method.
        let overridden = client.request(Method::POST, &here).header("x-http-method-override", "DELETE").send().await;
        overridden.expect(405);
        assert_eq!(client.offset(&id).await, 0);
        client.terminate(&id).await.expect(204);
    }

    async fn of_fifty_chunks_at_one_offset_exactly_one_counts(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        // A thousand rounds where somebody asks for them.
        let rounds = std::env::var("VMIMG_PATCH_ROUNDS").ok().map_or(4, |rounds| rounds.parse::<usize>().expect("VMIMG_PATCH_ROUNDS is a number"));
        let bytes = iso_of("FIFTY", 1_000);
        let (mut id, mut at) = (client.begin(&app, "fifty", &bytes).await, 0);
        for round in 0..rounds {
            let end = at + 40_000 + round % 1_000;
            let requests = (0..50).map(|n| {
                let piece = &bytes[at..end - n % 3];
                let chunk = client.chunk(&id, at, piece);
                if n % 2 == 0 { chunk.header("upload-checksum", &tus::checksum(piece)) } else { chunk }.send()
            });
            let answers = futures_util::future::join_all(requests).await;
            let done: Vec<usize> = answers.iter().filter(|answer| answer.status == 204).map(super::support::Answer::offset).collect();
            assert_eq!(done.len(), 1, "{:?}", answers.iter().map(|answer| answer.status.as_u16()).collect::<Vec<_>>());
            assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 204 | 409 | 423)));
            at = done[0];
            let part = std::fs::read(app.path_of("local").join(format!("staging/{id}.part"))).unwrap();
            assert!(part == bytes[..at], "the file is the beginning of the source");
            if at + 50_000 > bytes.len() {
                client.patch(&id, at, &bytes[at..]).await.expect(204);
                assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
                (id, at) = (client.begin(&app, &format!("fifty {round}"), &bytes).await, 0);
            }
        }
        client.terminate(&id).await.expect(204);
    }

    // F-38: a proxy that tries again where it heard no answer.
    async fn every_request_may_arrive_twice(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let bytes = iso_of("RETRIED", 300);
        let statuses = |answers: [&super::support::Answer; 2]| {
            let mut statuses = answers.map(|answer| answer.status.as_u16());
            statuses.sort_unstable();
            statuses
        };
        for at_once in [false, true] {
            let twice = async |send: &dyn Fn() -> super::support::browser::Asked| {
                if at_once {
                    futures_util::future::join(send().send(), send().send()).await
                } else {
                    (send().send().await, send().send().await)
                }
            };
            // What makes an image makes one.
            let storage = app.storage("local");
            let metadata = tus::encoded(&[("filename", "a.iso"), ("storage", &storage), ("name", &format!("made {at_once}"))]);
            let post = || client.request(Method::POST, "/uploads").header("upload-length", "614400");
            let (one, other) = twice(&|| post().header("upload-metadata", &metadata)).await;
            assert_eq!(statuses([&one, &other]), [201, 409]);
            let made = if one.status == 201 { one } else { other };
            let made = made.header("location").rsplit_once("/uploads/").unwrap().1.to_owned();
            let id = app.announced(&app.admin(), &format!("retried {at_once}"), &bytes).await;
            let metadata = tus::encoded(&[("image", &id), ("filename", "a.iso")]);
            let (one, other) = twice(&|| post().header("upload-metadata", &metadata)).await;
            assert_eq!((statuses([&one, &other]), one.offset(), other.offset()), ([201, 201], 0, 0));
            let mut at = 0;
            for length in [100_000, 1, 300_000, bytes.len() - 400_001] {
                let (one, other) = twice(&|| client.chunk(&id, at, &bytes[at..at + length])).await;
                at += length;
                assert_eq!(statuses([&one, &other]), [204, 409]);
                assert_eq!((one.offset(), other.offset()), (at, at), "the second one tells where it stands");
            }
            assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
            let (one, other) = twice(&|| client.request(Method::DELETE, &format!("/uploads/{made}"))).await;
            assert!([[204, 410], [204, 204]].contains(&statuses([&one, &other])), "{} {}", one.status, other.status);
            assert_eq!(stopped(&app, &made), "cancelled");
        }
        let lines = app.events();
        let times = |words: &str| lines.iter().filter(|line| line.starts_with(words)).count();
        assert_eq!((times("Ada complete_upload done retried"), times("Ada stop_upload failed made")), (2, 2), "{lines:?}");
    }

    async fn whoever_shows_the_same_file_goes_on_and_another_file_is_told(start: Start) {
        let app = start.ready().await;
        let (client, other) = (Tus::from(app.admin()), Tus::from(app.second_admin().await));
        let bytes = iso_of("PROOF", 500);
        let id = client.begin(&app, "proof", &bytes).await;
        client.patch(&id, 0, &bytes[..500_000]).await.expect(204);
        let proof = |file: &[u8], offset: usize| {
            let digests: Vec<String> = file[..offset].chunks(65_536).map(sha256).collect();
            serde_json::json!({ "block": 65_536, "length": file.len(), "name": "other name.iso", "offset": offset, "digests": digests })
        };
        let send = |client: &Tus, proof: &serde_json::Value| {
            client.bare(Method::POST, &format!("/uploads/{id}/proof")).body("application/json", proof.to_string()).send()
        };
        send(&other, &proof(&bytes, 500_000)).await.refused(423, "upload.other_device");
        lapse(&app, &id).await;
        let mut wrong = bytes.clone();
        wrong[200_000] ^= 1;
        for client in [&client, &other] {
            let refused = send(client, &proof(&wrong, 500_000)).await.refused(409, "upload.other_file");
            assert_eq!((refused.json()["differs_at"].as_u64(), refused.offset()), (Some(3 * 65_536), 500_000));
            let refused = send(client, &proof(&bytes[..900_000], 500_000)).await.refused(409, "upload.other_file");
            assert_eq!(refused.json()["differs_at"], 900_000);
        }
        assert_eq!(send(&other, &proof(&bytes, 400_000)).await.refused(409, "upload.offset").offset(), 500_000);
        let mut broken = proof(&bytes, 500_000);
        broken["block"] = 1.into();
        send(&other, &broken).await.refused(422, "upload.proof");
        broken = proof(&bytes, 500_000);
        broken["digests"][0] = "x".into();
        send(&other, &broken).await.refused(422, "upload.proof");
        send(&other, &serde_json::json!({ "block": 65_536 })).await.refused(400, "body.syntax");
        other.patch(&id, 500_000, &bytes[500_000..]).await.refused(409, "upload.proof_needed");
        assert_eq!(send(&other, &proof(&bytes, 500_000)).await.expect(204).offset(), 500_000);
        // It is theirs now: who began must show the file again.
        client.patch(&id, 500_000, &bytes[500_000..]).await.refused(409, "upload.proof_needed");
        other.patch(&id, 500_000, &bytes[500_000..]).await.expect(204);
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
        assert!(app.events().iter().any(|line| line.starts_with("Ada take_over_upload done proof")), "{:?}", app.events());
    }

    async fn an_upload_is_handed_over_by_a_token_for_it_alone(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let bytes = iso_of("HANDED", 500);
        let id = client.begin(&app, "handed", &bytes).await;
        client.patch(&id, 0, &bytes[..500_000]).await.expect(204);
        let give = |client: &Tus| client.bare(Method::POST, &format!("/uploads/{id}/handover")).send();
        give(&app.tus(&app.program("images"))).await.refused(409, "token.by_token");
        let given = give(&client).await.expect(200).json();
        assert_eq!(given["url"], format!("http://console.test/uploads/{id}"));
        let command = given["command"].as_str().unwrap();
        assert!(command.contains(&sha256(&bytes[..500_000])) && command.contains(" o=500000 "), "{command}");
        let bearer = app.tus_with(given["token"].as_str().unwrap());
        assert_eq!(bearer.offset(&id).await, 500_000);
        let elsewhere = client.begin(&app, "elsewhere", &bytes).await;
        bearer.head(&elsewhere).await.expect(403);
        bearer.patch(&elsewhere, 0, &bytes).await.refused(403, "token.scope");
        bearer.terminate(&id).await.refused(403, "token.scope");
        bearer.create(100, &[("filename", "a.iso")]).await.refused(403, "token.scope");
        give(&bearer).await.refused(403, "token.scope");
        let api = app.browser().request(Method::GET, "/api/v1/images").without_origin();
        api.header("authorization", &format!("Bearer {}", given["token"].as_str().unwrap())).send().await.expect(401);
        // The lease of who gave it does not stand in its way.
        bearer.patch(&id, 500_000, &bytes[500_000..700_000]).await.expect(204);
        client.patch(&id, 700_000, &bytes[700_000..]).await.refused(423, "upload.other_device");
        bearer.patch(&id, 700_000, &bytes[700_000..]).await.expect(204);
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
        bearer.head(&id).await.expect(401);
        let late = give(&client).await;
        late.refused(409, "image.complete");
        client.terminate(&elsewhere).await.expect(204);
        assert!(app.events().iter().any(|line| line.starts_with("Ada hand_over_upload done handed")), "{:?}", app.events());
    }

    async fn people_see_what_is_under_way_in_a_constant_number_of_statements(start: Start) {
        start.leaves(Left::Transfers);
        let app = start.ready().await;
        let (client, other) = (Tus::from(app.admin()), Tus::from(app.second_admin().await));
        let bytes = iso_of("LIST", 200);
        let list = |client: &Tus| client.bare(Method::GET, "/uploads").send();
        let (mut ids, mut statements) = (Vec::new(), Vec::new());
        for n in 0..4 {
            let sender = if n == 1 { &other } else { &client };
            let id = sender.begin(&app, &format!("list {n}"), &bytes).await;
            sender.patch(&id, 0, &bytes[..100_000]).await.expect(204);
            ids.push(id);
            let asked = super::support::statements::of(&app.database_url, async { drop(list(&client).await) });
            statements.push(asked.await.len());
        }
        assert!(statements.windows(2).all(|pair| pair[0] == pair[1]), "{statements:?}");
        let seen = list(&client).await.expect(200).json();
        let names: Vec<&str> = seen.as_array().unwrap().iter().map(|upload| upload["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["list 3", "list 2", "list 0", "list 1"], "those of this device first");
        assert_eq!((&seen[0]["mine"], &seen[3]["mine"], &seen[3]["may_take_over"]), (&true.into(), &false.into(), &false.into()));
        lapse(&app, &ids[1]).await;
        let one = client.bare(Method::GET, &format!("/uploads/{}", ids[1])).send().await.expect(200).json();
        assert_eq!((&one["status"], &one["offset"], &one["length"]), (&"pending".into(), &100_000.into(), &bytes.len().into()));
        assert_eq!((&one["may_take_over"], &one["stopped"]["code"], &one["sender"]), (&true.into(), &"interrupted".into(), &"Ada".into()));
        assert!(one["expires"].as_str().is_some() && one["lease_until"].is_null(), "{one}");
        client.terminate(&ids[0]).await.expect(204);
        let gone = client.bare(Method::GET, &format!("/uploads/{}", ids[0])).send().await.expect(200).json();
        assert_eq!((&gone["stopped"]["code"], &gone["offset"]), (&"cancelled".into(), &0.into()));
        let bob = app.user("bob@example.org", "no_access").await;
        Tus::from(bob).bare(Method::GET, &format!("/uploads/{}", ids[1])).send().await.expect(404);
    }

    async fn a_pause_is_seen_at_once(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let bytes = iso_of("PAUSE", 200);
        let id = client.begin(&app, "pause", &bytes).await;
        client.patch(&id, 0, &bytes[..100_000]).await.expect(204);
        let pause = |client: &Tus| client.bare(Method::POST, &format!("/uploads/{id}/pause")).send();
        pause(&app.tus(&app.program("images"))).await.refused(423, "upload.other_device");
        assert_eq!(pause(&client).await.expect(204).offset(), 100_000);
        assert_eq!(status(&app, &id), "pending");
        app.admin().open(&format!("/images/{id}")).await.expect("The upload was interrupted. It was paused.");
        client.patch(&id, 100_000, &bytes[100_000..]).await.expect(204);
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
    }

    async fn an_image_that_waits_takes_one_upload_at_a_time(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let bytes = iso_of("WAITS", 200);
        // As the wizard makes it, for this very browser.
        let id = app.announced(&app.admin(), "waits", &bytes).await;
        app.tus(&app.program("images")).create(bytes.len(), &[("image", &id), ("filename", "a.iso")]).await.refused(423, "upload.other_device");
        client.create(bytes.len(), &[("image", &id), ("filename", "a.iso")]).await.expect(201);
        client.patch(&id, 0, &bytes[..100_000]).await.expect(204);
        let again = client.create(bytes.len(), &[("image", &id), ("filename", "a.iso")]).await.expect(201);
        assert_eq!(again.offset(), 100_000, "what was sent stays");
        let other = client.create(bytes.len() + 1, &[("image", &id), ("filename", "b.iso")]).await;
        assert_eq!(other.refused(409, "upload.has_bytes").offset(), 100_000);
        client.patch(&id, 100_000, &bytes[100_000..]).await.expect(204);
        client.create(bytes.len(), &[("image", &id), ("filename", "a.iso")]).await.refused(409, "image.complete");
    }

    async fn a_file_with_another_digest_than_the_expected_is_refused(start: Start) {
        let app = start.ready().await;
        let client = Tus::from(app.admin());
        let bytes = iso_of("DIGEST", 100);
        let storage = app.storage("local");
        let sha512 = |bytes: &[u8]| vmimg::secret::hex(&<sha2::Sha512 as sha2::Digest>::digest(bytes));
        let begin = async |name: &str, key: &str, digest: &str| {
            let made = client.create(bytes.len(), &[("filename", "a.iso"), ("storage", &storage), ("name", name), (key, digest)]).await.expect(201);
            made.header("location").rsplit_once("/uploads/").unwrap().1.to_owned()
        };
        for (n, broken) in [&sha256(&bytes)[1..], &format!("{}  b.iso", sha256(&bytes)), "x"].into_iter().enumerate() {
            let answer = client.create(bytes.len(), &[("filename", "a.iso"), ("storage", &storage), ("name", "broken"), ("sha256", broken)]).await;
            answer.refused(422, if n == 1 { "digest.list" } else { "digest.syntax" });
        }
        let list = format!("{}  b.iso\n{} *a.iso\n", sha256(b"b"), sha256(&bytes).to_uppercase());
        for (n, (key, digest)) in [("sha256", sha256(&bytes)), ("digest", list), ("sha512", sha512(&bytes))].into_iter().enumerate() {
            let id = begin(&format!("right {n}"), key, &digest).await;
            client.patch(&id, 0, &bytes).await.expect(204);
            app.admin().open(&format!("/images/{id}")).await.expect("verified: the file has it");
        }
        // What no parser has seen is refused by its digest.
        let vhd = super::support::fixtures::vhd();
        for (n, (key, digest)) in [("sha256", sha256(b"other")), ("sha512", sha512(b"other"))].into_iter().enumerate() {
            let metadata = [("filename", "a.iso"), ("storage", &*storage), ("name", &*format!("wrong {n}")), (key, &*digest)];
            let made = client.create(vhd.len(), &metadata).await.expect(201);
            let id = made.header("location").rsplit_once("/uploads/").unwrap().1.to_owned();
            client.patch(&id, 0, &vhd).await.refused(422, "upload.hash_mismatch");
            assert_eq!((status(&app, &id), stopped(&app, &id), reserved(&app)), ("pending".to_owned(), "refused".to_owned(), 0));
        }
    }

    async fn an_expected_digest_given_afterwards_marks_the_image(start: Start) {
        let app = start.ready().await;
        let bytes = iso_of("AFTER", 60);
        let id = app.image("after", bytes.clone()).await;
        let give = async |digest: &str| {
            let answer = app.admin().post(&format!("/images/{id}/digest"), &[("digest", digest)]).await;
            app.admin().follow(answer).await
        };
        give(&sha256(&bytes)).await.expect("has the expected digest").expect("verified: the file has it");
        give(&sha256(b"other")).await.expect("has another digest than the expected one").expect("mismatch: the file has another one");
        give("nonsense").await.expect("Give a SHA-256");
        for (of, words) in [(&bytes[..], "verified: the file has it"), (b"other", "mismatch: the file has another one")] {
            give(&vmimg::secret::hex(&<sha2::Sha512 as sha2::Digest>::digest(of))).await.expect("not compared yet");
            app.work().await;
            app.admin().open(&format!("/images/{id}")).await.expect(words).expect("Available");
        }
        give("").await.expect("none given");
        let lines = app.events();
        assert!(lines.iter().any(|line| line.starts_with("Ada edit_image done after – Expected SHA-256") && line.ends_with("the file has it.")), "{lines:?}");
    }
}
