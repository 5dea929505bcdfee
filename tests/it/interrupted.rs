//! Uploads over a real socket that break, and a service that is started again.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use socket2::SockRef;

use super::support::{App, Browser, Tus, fixtures::iso_of, journeys::eventually, page::part, tus::head_of_chunk};

/// What a browser sends for a file, with its head.
fn request(path: &str, headers: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    part(&mut body, "b", "file", Some("image.iso"), bytes);
    body.extend_from_slice(b"--b--\r\n");
    let head = format!(
        "POST {path} HTTP/1.1\r\n{headers}Accept: application/json\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head, body)
}

/// Sends so many bytes of the body and then closes the connection, or waits for the answer when all are sent.
async fn send(address: SocketAddr, browser: &Browser, id: &str, bytes: Vec<u8>, until: Option<usize>) -> String {
    let (path, headers) = (format!("/images/{id}/content"), browser.headers_at(address));
    let work = move || {
        let (head, body) = request(&path, &headers, &bytes);
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        let end = until.unwrap_or(body.len());
        for chunk in body[..end].chunks(100_000) {
            socket.write_all(chunk).unwrap();
        }
        let mut answer = String::new();
        if until.is_some() {
            socket.shutdown(Shutdown::Both).unwrap();
        } else {
            socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
            let mut buffer = [0; 65_536];
            let read = socket.read(&mut buffer).unwrap();
            answer.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        answer
    };
    actix_web::rt::task::spawn_blocking(work).await.unwrap()
}

fn status(app: &App, id: &str) -> String {
    app.text(&format!("SELECT status AS t FROM images WHERE id = '{id}'"))
}

fn parts(app: &App) -> Vec<String> {
    app.files().into_keys().filter(|name| name.ends_with(".part")).collect()
}

/// How a sender goes away in the middle of a chunk.
#[derive(Debug, Clone, Copy)]
enum Goes {
    /// F-29: the connection is reset.
    Resets,
    /// F-30: it sends nothing more, and still listens.
    HalfCloses,
    Closes,
}

/// Sends so many bytes of a chunk and goes away.
async fn breaks_off(address: SocketAddr, browser: &Browser, id: &str, offset: usize, sent: Vec<u8>, of: usize, goes: Goes) {
    let head = head_of_chunk(browser, address, id, offset, of);
    let work = move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        for piece in sent.chunks(100_000) {
            socket.write_all(piece).unwrap();
        }
        // What the service has not read yet goes with the connection.
        std::thread::sleep(std::time::Duration::from_millis(300));
        match goes {
            Goes::Resets => SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO)).unwrap(),
            Goes::HalfCloses => {
                socket.shutdown(Shutdown::Write).unwrap();
                socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
                let _ = socket.read_to_end(&mut Vec::new());
            }
            Goes::Closes => socket.shutdown(Shutdown::Both).unwrap(),
        }
    };
    actix_web::rt::task::spawn_blocking(work).await.unwrap();
}

two_databases! {
    async fn a_chunk_that_breaks_off_keeps_what_arrived_however_it_does(start: Start) {
        let app = start.ready().await;
        let running = vmimg::app::start(app.service.clone()).await.unwrap();
        let client = Tus::from(app.admin());
        let bytes = iso_of("OFF", 4_000);
        for goes in [Goes::Resets, Goes::HalfCloses, Goes::Closes] {
            let id = client.begin(&app, &format!("{goes:?}"), &bytes).await;
            client.patch(&id, 0, &bytes[..1_000_000]).await.expect(204);
            for (from, to) in [(1_000_000, 3_000_000), (3_000_000, 3_000_100)] {
                breaks_off(running.address, &app.admin(), &id, from, bytes[from..to].to_vec(), 5_000_000, goes).await;
                eventually("what arrived is recorded", async || client.offset(&id).await == to).await;
                assert_eq!(status(&app, &id), "uploading", "{goes:?}: the sender has a minute to come back");
            }
            app.run_out(&id);
            vmimg::jobs::end_leases(&app.service).await.unwrap();
            let page = app.admin().open(&format!("/images/{id}")).await;
            page.expect("Pending").expect("The upload was interrupted.").expect("are kept until").expect("Choose the same file to go on.");
            client.patch(&id, 3_000_100, &bytes[3_000_100..]).await.expect(204);
            assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
            assert_eq!(parts(&app), [""; 0]);
        }
    }

    async fn an_upload_that_breaks_off_is_pending_and_the_file_can_be_sent_again(start: Start) {
        let app = start.ready().await;
        let running = vmimg::app::start(app.service.clone()).await.unwrap();
        let bytes = iso_of("BROKEN", 4_000);
        let id = app.announced(&app.admin(), "broken", &bytes).await;
        send(running.address, &app.admin(), &id, bytes.clone(), Some(3_000_000)).await;
        eventually("the image falls back", async || app.count("uploads WHERE stopped = 'interrupted'") == 1).await;
        assert_eq!(status(&app, &id), "pending");
        let page = app.admin().open(&format!("/images/{id}")).await;
        page.expect("Pending").expect("The upload was interrupted.").expect("are kept until").expect("Choose the same file to go on.");
        assert_eq!(parts(&app).len(), 1);
        assert_eq!(app.count("events WHERE action = 'stop_upload'"), 1);
        // The whole file in a form takes the place of what was kept.
        let answer = send(running.address, &app.admin(), &id, bytes.clone(), None).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(parts(&app), [""; 0]);
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
    }

    async fn an_upload_shows_its_progress_and_others_cannot_delete_it(start: Start) {
        let app = start.ready().await;
        let running = vmimg::app::start(app.service.clone()).await.unwrap();
        let (address, admin) = (running.address, app.admin());
        let bytes = iso_of("SLOW", 4_000);
        let id = app.announced(&admin, "slow", &bytes).await;
        let (head, body) = request(&format!("/images/{id}/content"), &admin.headers_at(address), &bytes);
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(&body[..4_000_000]).unwrap();
        // A silence of a few seconds makes what has arrived durable, and shows it.
        eventually("the offset is recorded", async || app.count("uploads WHERE offset_bytes > 0") == 1).await;
        let page = admin.open(&format!("/images/{id}")).await;
        page.expect("Uploading").expect("of 7.8 MiB").expect("Cancel upload");
        let elsewhere = app.second_admin().await;
        elsewhere.open(&format!("/images/{id}")).await.expect("It is being uploaded from another device. Here you can watch it.").expect("Cannot be deleted: It is being uploaded from another device.");
        // Its own device deletes it while it is sent; the sender is told, and nothing stays.
        admin.open(&format!("/images/{id}/deletion")).await.form("Delete image").submit().await.expect("Image slow is deleted.");
        socket.write_all(&body[4_000_000..]).ok();
        eventually("parts and record are gone", async || parts(&app).is_empty() && app.count("images") + app.count("jobs") == 0).await;
    }

    async fn the_right_can_be_lost_while_the_file_is_sent(start: Start) {
        let app = start.ready().await;
        let running = vmimg::app::start(app.service.clone()).await.unwrap();
        let bob = app.user("bob@example.org", "administrator").await;
        let bytes = iso_of("LOST", 2_000);
        let id = app.announced(&bob, "lost right", &bytes).await;
        let (head, body) = request(&format!("/images/{id}/content"), &bob.headers_at(running.address), &bytes);
        let mut socket = TcpStream::connect(running.address).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(&body[..1_000_000]).unwrap();
        eventually("the upload runs", async || status(&app, &id) == "uploading").await;
        app.sql("UPDATE users SET role = 'no_access' WHERE email = 'bob@example.org'");
        socket.write_all(&body[1_000_000..]).unwrap();
        eventually("the image falls back", async || status(&app, &id) == "pending").await;
        assert!(!app.file_of(&id).exists());
        app.admin().open(&format!("/images/{id}")).await.expect("The right to upload was withdrawn during the upload.");
    }

    async fn a_storage_that_is_removed_ends_the_uploads_to_it(start: Start) {
        let app = start.ready().await;
        app.datastore("nas").await;
        let bytes = iso_of("REMOVED", 300);
        let id = app.announced(&app.admin(), "removed", &bytes).await;
        let nas = app.storage("nas");
        app.sql(&format!("UPDATE images SET storage_id = '{nas}', status = 'uploading'"));
        app.admin().open(&format!("/datastores/{nas}/removal")).await.form("Remove storage").submit().await.expect("1 image is unavailable");
        assert_eq!((status(&app, &id), app.text("SELECT stopped AS t FROM uploads")), ("pending".to_owned(), "storage_removed".to_owned()));
        app.admin().open(&format!("/images/{id}")).await.expect("File unavailable");
    }

    async fn what_was_being_sent_when_the_service_stopped_says_so(start: Start) {
        let app = start.ready().await;
        let id = app.announced(&app.admin(), "restart", &iso_of("RESTART", 100)).await;
        app.sql("UPDATE images SET status = 'uploading'");
        std::fs::write(app.path_of("local").join(format!("staging/{id}.part")), b"the beginning").unwrap();
        let mut again = start.open().await;
        // As whoever has the lock of the data folder knows.
        again.service.predecessors = [app.service.instance].into();
        vmimg::jobs::end_leases_of_earlier_processes(&again.service).await.unwrap();
        assert_eq!((status(&again, &id), again.text("SELECT stopped AS t FROM uploads")), ("pending".to_owned(), "service_stopped".to_owned()));
        assert_eq!(parts(&again), [""; 0]);
        let browser = again.browser();
        browser.sign_in(super::support::app::ADMIN.0, super::support::app::ADMIN.1).await;
        browser.open(&format!("/images/{id}")).await.expect("The service was restarted during the upload.");
    }

    async fn what_lies_about_after_a_crash_is_swept(start: Start) {
        let app = start.ready().await;
        let whole = app.image("whole", iso_of("WHOLE", 50)).await;
        let pending = app.pending("pending").await;
        let root = app.path_of("local");
        // Renamed into place, but the record was not written; a part without any record; a part of a finished image.
        std::fs::write(root.join(format!("images/{pending}.iso")), b"x").unwrap();
        let nobody = vmimg::domain::ids::ImageId::new();
        std::fs::write(root.join(format!("staging/{nobody}.part")), b"x").unwrap();
        std::fs::write(root.join(format!("staging/{pending}.part")), b"x").unwrap();
        start.leaves(super::support::Left::Transfers);
        vmimg::jobs::compare_storages(&app.service).await.unwrap();
        let left: Vec<String> = app.files().into_keys().filter(|name| !name.contains(&whole) && !name.ends_with(".vmimg-storage.json")).collect();
        // Nothing says that the last one is ours: another installation may be receiving it.
        assert_eq!(left, [format!("data/storage/staging/{nobody}.part")]);
        assert!(app.file_of(&whole).exists());
    }
}
