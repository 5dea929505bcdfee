//! Clients that are silent, that drip, and that do not read: what they hold while they wait, and that they are given up (F-31, F-32, F-33).

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use actix_web::rt::{task::spawn_blocking, time::sleep};
use vmimg::app::Running;

use super::support::{App, Start, Tus, fixtures::iso_of, journeys::eventually, page::part, tus::head_of_chunk};

/// A service on a socket, with short patience.
async fn running(start: &Start, silence: &str) -> (App, Running) {
    start.with("client_silence", silence);
    let app = start.ready().await;
    let running = vmimg::app::start(app.service.clone()).await.unwrap();
    (app, running)
}

/// A connection on which an upload's head and so many bytes of its body have been sent, and the rest of the body.
fn begin(app: &App, address: SocketAddr, id: &str, bytes: &[u8], sent: usize) -> (TcpStream, Vec<u8>) {
    let mut body = Vec::new();
    part(&mut body, "b", "file", Some("image.iso"), bytes);
    body.extend_from_slice(b"--b--\r\n");
    let head = format!(
        "POST /images/{id}/content HTTP/1.1\r\n{}Accept: application/json\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n",
        app.admin().headers_at(address),
        body.len()
    );
    (sends(address, &head, &body[..sent]), body.split_off(sent))
}

/// A connection on which a chunk's head and so many bytes of it have been sent.
fn begin_chunk(app: &App, address: SocketAddr, id: &str, offset: usize, chunk: &[u8], sent: usize) -> TcpStream {
    sends(address, &head_of_chunk(&app.admin(), address, id, offset, chunk.len()), &chunk[..sent])
}

fn sends(address: SocketAddr, head: &str, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(bytes).unwrap();
    socket
}

/// How many files with this in their path this process has open; the service runs in it.
fn open_files(with: &str) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    open.filter(|path| path.to_str().unwrap().contains(with)).count()
}

fn status(app: &App, id: &str) -> String {
    app.text(&format!("SELECT status AS t FROM images WHERE id = '{id}'"))
}

/// An upload with this in its file's path falls silent: it holds neither file nor thread, before it is given up.
async fn rests(app: &App, id: &str, with: &str) {
    eventually("the file is open", async || open_files(with) == 1).await;
    let begun = Instant::now();
    eventually("the file is closed", async || open_files(with) == 0).await;
    assert!(begun.elapsed() < Duration::from_secs(4) && status(app, id) == "uploading", "it rests before it ends");
    let storage = app.storage("local").parse().unwrap();
    assert_eq!(app.service.storages.at(storage, &app.path_of("local")).workers.busy(), 0);
}

/// The first line of an answer, and perhaps more.
fn beginning_of_answer(mut socket: &TcpStream) -> String {
    let mut answer = [0; 100];
    let read = socket.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

/// What is to be read until the other side ends the connection, however it does; fails if it does not for 20 seconds.
fn read_to_end(mut socket: &TcpStream) -> String {
    let (mut all, mut buffer) = (Vec::new(), [0; 65_536]);
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => all.extend_from_slice(&buffer[..read]),
            Err(failed) if matches!(failed.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => break,
            Err(failed) => panic!("the connection goes on: {failed}"),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The image is Pending, and nothing is held for it.
async fn given_up(app: &App, id: &str, words: &str) {
    let held = "uploads WHERE lease_until IS NOT NULL";
    eventually("the image falls back", async || status(app, id) == "pending" && app.count(held) == 0 && open_files(".part") == 0).await;
    app.admin().open(&format!("/images/{id}")).await.expect("Pending").expect("The upload was interrupted.").expect(words);
    // What arrived is kept for when it goes on.
    app.admin().open(&format!("/images/{id}")).await.expect("are kept until");
    assert!(app.files().keys().any(|name| name.ends_with(&format!("{id}.part"))), "{:?}", app.files());
}

/// What came of a chunk that was given up is durable and recorded; its upload waits under its lease, is Pending when that has run out, and
/// goes on from there.
async fn goes_on(app: &App, id: &str, bytes: &[u8], at: usize) {
    let client = Tus::from(app.admin());
    eventually("what arrived is recorded", async || open_files(id) == 0 && client.offset(id).await == at).await;
    assert_eq!(status(app, id), "uploading");
    app.run_out(id);
    vmimg::jobs::end_leases(&app.service).await.unwrap();
    app.admin().open(&format!("/images/{id}")).await.expect("Pending").expect("The upload was interrupted.").expect("are kept until");
    client.patch(id, at, &bytes[at..]).await.expect(204);
    assert_eq!(std::fs::read(app.file_of(id)).unwrap(), bytes);
}

two_databases! {
    async fn a_silent_chunk_holds_no_file_and_is_given_up_and_its_upload_goes_on(start: Start) {
        let (app, running) = running(&start, "4").await;
        let bytes = iso_of("CHUNK", 4_000);
        let client = Tus::from(app.admin());
        let id = client.begin(&app, "silent chunk", &bytes).await;
        client.patch(&id, 0, &bytes[..500_000]).await.expect(204);
        let socket = begin_chunk(&app, running.address, &id, 500_000, &bytes[500_000..4_000_000], 1_000_000);
        rests(&app, &id, &id).await;
        let answer = spawn_blocking(move || read_to_end(&socket)).await.unwrap();
        assert!(answer.contains("Nothing arrived for 4 seconds."), "{answer}");
        goes_on(&app, &id, &bytes, 1_500_000).await;
    }

    async fn a_silent_chunk_goes_on_where_it_rested(start: Start) {
        let (app, running) = running(&start, "4").await;
        let bytes = iso_of("RESTED CHUNK", 4_000);
        let client = Tus::from(app.admin());
        let id = client.begin(&app, "rested chunk", &bytes).await;
        let mut socket = begin_chunk(&app, running.address, &id, 0, &bytes, 1_000_000);
        eventually("the chunk rests", async || app.count("uploads WHERE offset_bytes = 1000000") == 1 && open_files(&id) == 0).await;
        let rest = bytes[1_000_000..].to_vec();
        let answer = spawn_blocking(move || {
            socket.write_all(&rest).unwrap();
            beginning_of_answer(&socket)
        });
        let answer = answer.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
    }

    async fn a_chunk_that_drips_is_given_up_and_its_upload_goes_on(start: Start) {
        start.with("client_rate", "10 KiB");
        let (app, running) = running(&start, "2").await;
        let bytes = iso_of("DRIPPING CHUNK", 1_000);
        let client = Tus::from(app.admin());
        let id = client.begin(&app, "dripping chunk", &bytes).await;
        let mut socket = begin_chunk(&app, running.address, &id, 0, &bytes, 100_000);
        let rest = bytes[100_000..].to_vec();
        let dripped = spawn_blocking(move || {
            let (mut sent, begun) = (100_000, Instant::now());
            for drops in rest.chunks(102) {
                if socket.write_all(drops).is_err() {
                    break;
                }
                sent += drops.len();
                assert!(begun.elapsed() < Duration::from_secs(15), "it is given up");
                std::thread::sleep(Duration::from_millis(100));
            }
            (sent, read_to_end(&socket))
        });
        let (sent, answer) = dripped.await.unwrap();
        assert!(answer.is_empty() || answer.contains("Less than 10 KiB a second arrived."), "{answer}");
        eventually("it is given up", async || app.service.storages.doing(id.parse().unwrap()).is_none()).await;
        let at = client.offset(&id).await;
        assert!((100_000..=sent).contains(&at), "{at} of {sent}");
        goes_on(&app, &id, &bytes, at).await;
    }

    async fn a_silent_upload_holds_no_file_and_is_given_up(start: Start) {
        let (app, running) = running(&start, "4").await;
        let bytes = iso_of("SILENT", 4_000);
        let id = app.announced(&app.admin(), "silent", &bytes).await;
        let (socket, _rest) = begin(&app, running.address, &id, &bytes, 1_000_000);
        rests(&app, &id, ".part").await;
        given_up(&app, &id, "Nothing arrived for 4 seconds.").await;
        let answer = spawn_blocking(move || read_to_end(&socket)).await.unwrap();
        assert!(answer.contains("Nothing arrived for 4 seconds."), "{answer}");
    }

    async fn a_silent_upload_goes_on_where_it_rested(start: Start) {
        let (app, running) = running(&start, "4").await;
        let bytes = iso_of("RESTED", 4_000);
        let id = app.announced(&app.admin(), "rested", &bytes).await;
        let (mut socket, rest) = begin(&app, running.address, &id, &bytes, 1_000_000);
        eventually("the upload rests", async || app.count("uploads WHERE offset_bytes > 0") == 1 && open_files(".part") == 0).await;
        let answer = spawn_blocking(move || {
            socket.write_all(&rest).unwrap();
            beginning_of_answer(&socket)
        });
        let answer = answer.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(std::fs::read(app.file_of(&id)).unwrap(), bytes);
    }

    async fn an_upload_that_drips_is_given_up_and_one_that_is_merely_slow_is_not(start: Start) {
        start.with("client_rate", "10 KiB");
        let (app, running) = running(&start, "2").await;
        let bytes = iso_of("DRIPS", 1_000);
        let admin = app.admin();
        let (drip, slow) = (app.announced(&admin, "drip", &bytes).await, app.announced(&admin, "slow", &bytes).await);
        let (mut dripping, drops) = begin(&app, running.address, &drip, &bytes, 100_000);
        let (mut slowly, flow) = begin(&app, running.address, &slow, &bytes, 100_000);
        let work = spawn_blocking(move || {
            let begun = Instant::now();
            for step in 0..70_usize {
                // 1 KiB and 20 KiB a second.
                let _ = dripping.write_all(&drops[step * 102..][..102]);
                slowly.write_all(&flow[step * 2_048..][..2_048]).unwrap();
                std::thread::sleep((begun + Duration::from_millis(100) * (step as u32 + 1)).saturating_duration_since(Instant::now()));
            }
            slowly.write_all(&flow[70 * 2_048..]).unwrap();
            let answer = beginning_of_answer(&slowly);
            (read_to_end(&dripping), answer)
        });
        given_up(&app, &drip, "Less than 10 KiB a second arrived.").await;
        let (dripping, slowly) = work.await.unwrap();
        assert!(dripping.is_empty() || dripping.contains("Less than 10 KiB a second arrived."), "{dripping}");
        assert!(slowly.starts_with("HTTP/1.1 200"), "{slowly}");
        assert_eq!(std::fs::read(app.file_of(&slow)).unwrap(), bytes);
    }

    async fn a_download_that_nobody_reads_holds_no_file_and_is_given_up(start: Start) {
        let (app, running) = running(&start, "5").await;
        let bytes = iso_of("UNREAD", 8_000);
        let id = app.image("unread", bytes.clone()).await;
        let ask = format!("GET /images/{id}/download HTTP/1.1\r\n{}\r\n", app.admin().headers_at(running.address));
        let open = |receive_buffer: usize| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_recv_buffer_size(receive_buffer).unwrap();
            socket.connect(&running.address.into()).unwrap();
            let mut socket: TcpStream = socket.into();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket.write_all(ask.as_bytes()).unwrap();
            socket
        };
        // One reads nothing; one pauses and goes on; one takes a few bytes now and then.
        let (unread, pausing, dripping) = (open(65_536), open(65_536), open(4_096));
        let file = format!("{id}.iso");
        let begun = Instant::now();
        eventually("all are being sent", async || open_files(&file) >= 2).await;
        eventually("no file is open", async || open_files(&file) == 0).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "they rest before they end");
        let paused = spawn_blocking(move || {
            let mut all = Vec::new();
            let mut buffer = [0; 65_536];
            while all.len() < 8_000 * 2_048 {
                let read = (&pausing).read(&mut buffer).unwrap();
                assert!(read > 0, "it ended after {} bytes", all.len());
                all.extend_from_slice(&buffer[..read]);
            }
            all
        });
        let dripped = spawn_blocking(move || {
            let (begun, mut buffer) = (Instant::now(), [0; 64]);
            loop {
                match (&dripping).read(&mut buffer) {
                    Ok(0) | Err(_) => return begun.elapsed(),
                    Ok(_) => std::thread::sleep(Duration::from_millis(100)),
                }
                assert!(begun.elapsed() < Duration::from_secs(60), "who takes a few bytes now and then is never given up");
                // What is left in the client's own buffer would take long to read at this pace.
                if begun.elapsed() > Duration::from_secs(8) {
                    let _ = read_to_end(&dripping);
                }
            }
        });
        let all = paused.await.unwrap();
        assert!(all.ends_with(&bytes[bytes.len() - 10_000..]), "after a pause the rest of the same file is sent");
        sleep(Duration::from_secs(6).saturating_sub(begun.elapsed())).await;
        let unread = spawn_blocking(move || read_to_end(&unread)).await.unwrap();
        assert!(unread.len() < bytes.len(), "the connection was cut");
        assert!(dripped.await.unwrap() >= Duration::from_secs(5));
        eventually("no file is open", async || open_files(&file) == 0).await;
    }

    async fn heads_that_do_not_end_are_given_up(start: Start) {
        let (_app, running) = running(&start, "60").await;
        let address = running.address;
        let connect = move || {
            let socket = TcpStream::connect(address).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket
        };
        let first = spawn_blocking(move || {
            let (mut socket, begun) = (connect(), Instant::now());
            socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
            (read_to_end(&socket), begun.elapsed())
        });
        let dripping = spawn_blocking(move || {
            let (mut socket, begun) = (connect(), Instant::now());
            let head = [b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ".as_slice(), &[b'a'; 200]].concat();
            for byte in head {
                if socket.write_all(&[byte]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            (read_to_end(&socket), begun.elapsed())
        });
        // The second head of a connection is as any other, in a packet of its own or in that of the first.
        let second = spawn_blocking(move || {
            let (mut socket, begun) = (connect(), Instant::now());
            socket.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let read = socket.read(&mut [0; 4_096]).unwrap();
            assert!(read > 0);
            socket.write_all(b"GET /li").unwrap();
            (read_to_end(&socket), begun.elapsed())
        });
        let (first, took) = first.await.unwrap();
        assert!(first.starts_with("HTTP/1.1 408") && took < Duration::from_secs(7), "{took:?} {first}");
        let (_, took) = dripping.await.unwrap();
        assert!(took < Duration::from_secs(13), "{took:?}");
        let (_, took) = second.await.unwrap();
        assert!(took < Duration::from_secs(8), "{took:?}");
    }

    async fn six_hundred_silent_uploads_hinder_nobody(start: Start) {
        let (app, running) = running(&start, "60").await;
        let bytes = iso_of("HONEST", 2_000);
        let id = app.announced(&app.admin(), "honest", &bytes).await;
        // With a thread for each, the 512th was the last that anybody could begin.
        let nobody = vmimg::domain::ids::ImageId::new().to_string();
        let stalled: Vec<_> = (0..600).map(|_| begin(&app, running.address, &nobody, &bytes, 512).0).collect();
        sleep(Duration::from_millis(500)).await;
        let begun = Instant::now();
        let (mut socket, rest) = begin(&app, running.address, &id, &bytes, 512);
        let answer = spawn_blocking(move || {
            socket.write_all(&rest).unwrap();
            beginning_of_answer(&socket)
        });
        let answer = answer.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && begun.elapsed() < Duration::from_secs(5), "{:?} {answer}", begun.elapsed());
        drop(stalled);
        eventually("their connections are closed", async || open_files("socket:") < 100).await;
    }
}
