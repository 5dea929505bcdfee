//! Group A: who may, whose session, and which site a request comes from.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    time::Duration,
};

use super::{
    Batch,
    answer::Answer,
    fixtures::{iso, iso_of},
    leftovers,
    table::{Act, Left, Row, so},
    usual,
    world::{ADMIN, Ask, Jar, World, ask, form},
};

/// Time of a processor that the process has used.
pub fn worked(world: &World) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", world.pid)).unwrap();
    let columns: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // Columns 14 and 15 of the line, in hundredths of a second on Linux.
    let ticks: u64 = columns[11].parse::<u64>().unwrap() + columns[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn asking(make: impl FnOnce(&World) -> Ask + 'static) -> Act {
    Box::new(move |_| Box::new(move |world| make(world).send(world)))
}

/// The routes and what they answer, as the grid of the other tests has them.
const GRID: &str = include_str!("../it/access_grid.txt");

fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    GRID.lines().skip(1).filter_map(|line| line.split(" | ").next()?.split_once(' '))
}

/// A pattern with identifiers of nothing.
fn filled(pattern: &str, id: &str) -> String {
    let mut path = pattern.replace("{path:.*}", "css/nothing.css").replace("{digest}", "0");
    while let Some((before, rest)) = path.split_once('{') {
        let after = rest.split_once('}').map_or("", |(_, after)| after);
        path = format!("{before}{id}{after}");
    }
    path
}

pub fn rows() -> Vec<Batch> {
    let mut rows = Vec::new();
    rows.extend(without_session());
    rows.extend(other_sites());
    rows.extend(sessions());
    rows.extend(devices());
    rows.push(Row::new(
        "B-A09",
        "all pages, twice",
        Box::new(|world| {
            world.image("crawled", &iso("CRAWLED"));
            Box::new(crawl)
        }),
        &[200],
    ));
    rows.push(Row::new("B-A11", "100,000 requests without a session", Box::new(|_| Box::new(flood)), &[200]).memory(8 * 1024));
    let guessing = Batch {
        settings: &[("trusted_proxies", "127.0.0.1")],
        rows: vec![
            Row::new("B-A13", "wrong passwords for one account", guess_one(), &[429]).words(&["Too many attempts"]),
            Row::new("B-A13", "one password for many accounts", guess_many(), &[429]).words(&["Too many attempts"]),
            Row::new("B-A13", "the right person comes in again", come_in(), &[303]).left(Left::Nothing(&[("sessions", 1), ("events", 1)])),
            Row::new("B-A13", "an unknown account costs as much as a known one", equal_work(), &[200]),
        ],
    };
    vec![usual(rows), guessing]
}

fn without_session() -> Vec<Row> {
    let open = [
        "/assets/{digest}/{path:.*}",
        "/livez",
        "/readyz",
        "/setup",
        "/sign-in",
        "/.well-known/change-password",
        "/.well-known/security.txt",
    ];
    let mut rows = Vec::new();
    for (method, pattern) in routes() {
        let path = filled(pattern, "01900000-0000-7000-8000-000000000000");
        if open.contains(&pattern)
            || pattern.starts_with("/api")
            || pattern.starts_with("/docs")
            || pattern.starts_with("/healthz")
            || pattern.starts_with("/version")
            // What the protocol of uploads can do is no secret.
            || method == "OPTIONS"
        {
            continue;
        }
        let asked = path.clone();
        rows.push(
            Row::new(
                "B-A01",
                format!("{method} {pattern}, signed out"),
                asking(move |_| ask(method, asked).anonymous()),
                if method == "GET" { &[303, 401] } else { &[401] },
            )
            .also(move |_, answer| {
                so(answer.status == 401 || answer.location().starts_with("/sign-in"), || format!("it leads to {}", answer.location()))
            }),
        );
        if pattern.contains('{') {
            let uploads = pattern.ends_with("/content") || pattern.ends_with("/create");
            let head = pattern.ends_with("/preflight") || pattern.ends_with("/image");
            let act: Act = Box::new(move |_| {
                Box::new(move |world| {
                    let asked = match (method, uploads, head) {
                        ("GET", ..) => ask(method, path),
                        _ if pattern == "/uploads/{id}/proof" => {
                            ask(method, path).body("application/json", r#"{"block":4194304,"length":40960,"name":"x.iso","digests":[]}"#)
                        }
                        _ if pattern.starts_with("/uploads") => {
                            let asked = ask(method, path).header("Tus-Resumable", "1.0.0").header("Upload-Offset", "0");
                            asked.body("application/offset+octet-stream", b"x")
                        }
                        (_, true, _) => ask(method, path).body("multipart/form-data; boundary=b", form("x.iso", &iso_of("NOBODY", 20))),
                        (_, _, true) => {
                            ask(method, format!("{path}?name=x.iso&size=40960")).body("application/octet-stream", iso_of("NOBODY", 20))
                        }
                        _ => ask(method, path).form(&[
                            ("version", "1"),
                            ("name", "x"),
                            ("note", ""),
                            ("path", "/x"),
                            ("cluster", "01900000-0000-7000-8000-000000000000"),
                        ]),
                    };
                    asked.send(world)
                })
            });
            // A wizard that was not begun leads to its first step, and one that is not there can be given up.
            let wizard = pattern.starts_with("/images/new/");
            rows.push(
                Row::new(
                    "B-A01",
                    format!("{method} {pattern}, of nothing"),
                    act,
                    if wizard {
                        &[200, 303, 404, 422]
                    } else if pattern.contains("/content") && method == "GET" {
                        &[303, 404]
                    } else {
                        &[404]
                    },
                )
                .left(if wizard { Left::Changed } else { Left::Nothing(&[]) }),
            );
        }
    }
    rows.push(
        Row::new(
            "B-A01",
            "pages by who has no right at all",
            Box::new(|world| {
                let id = world.image("hidden from eve", &iso("HIDDEN"));
                let (mut jar, _) = world.user("eve@example.org", "no_access");
                Box::new(move |world| {
                    for path in [
                        format!("/images/{id}"),
                        format!("/images/{id}/download"),
                        format!("/clusters/{}", world.cluster),
                        format!("/local-storages/{}", world.storage),
                    ] {
                        let (there, not) = (
                            ask("GET", path.clone()).send_as(world, &mut jar),
                            ask("GET", "/images/01900000-0000-7000-8000-000000000000").send_as(world, &mut jar),
                        );
                        let same = |answer: &Answer| answer.words().replace(answer.header("x-request-id"), "");
                        if there.status != 404 || same(&there) != same(&not) {
                            world.problems.push(format!("{path}: {} {}", there.status, there.words()));
                        }
                    }
                    let list = ask("GET", "/images?q=hidden").send_as(world, &mut jar);
                    if list.words().contains("hidden from eve") {
                        world.problems.push("the list shows what may not be seen".to_owned());
                    }
                    Answer::of(404)
                })
            }),
            &[404],
        )
        .left(Left::Changed),
    );
    rows
}

fn other_sites() -> Vec<Row> {
    let mut rows = Vec::new();
    let refused = |row: Row| row.words(&["did not come from a page of this console"]);
    let ours = |world: &World| format!("http://127.0.0.1:{}", world.port);
    type Headers = fn(&World) -> Vec<(&'static str, String)>;
    let foreign: [(&str, &str, Headers); 12] = [
        ("B-A05", "neither Origin nor Sec-Fetch-Site", |_| vec![]),
        ("B-A05", "Sec-Fetch-Site: cross-site", |_| vec![("Sec-Fetch-Site", "cross-site".to_owned())]),
        ("B-A05", "Sec-Fetch-Site: cross-site and our Origin", |world| {
            vec![("Sec-Fetch-Site", "cross-site".to_owned()), ("Origin", format!("http://127.0.0.1:{}", world.port))]
        }),
        ("B-A05", "Sec-Fetch-Site: same-site", |_| vec![("Sec-Fetch-Site", "same-site".to_owned())]),
        ("B-A05", "another Origin", |_| vec![("Origin", "http://evil.example".to_owned())]),
        ("B-A05", "our address as Referer alone", |world| vec![("Referer", format!("http://127.0.0.1:{}/images", world.port))]),
        ("B-A07", "Origin: null", |_| vec![("Origin", "null".to_owned())]),
        ("B-A07", "a subdomain", |world| vec![("Origin", format!("http://x.127.0.0.1:{}", world.port))]),
        ("B-A07", "another port", |_| vec![("Origin", "http://127.0.0.1:1".to_owned())]),
        ("B-A07", "no port", |_| vec![("Origin", "http://127.0.0.1".to_owned())]),
        ("B-A07", "a name that begins like ours", |world| vec![("Origin", format!("http://127.0.0.1:{}.evil.example", world.port))]),
        ("B-A07", "user and password before our name", |world| vec![("Origin", format!("http://evil@127.0.0.1:{}", world.port))]),
    ];
    for (id, what, headers) in foreign {
        for (path, body) in [("/clusters/new", "form"), ("/images/new/01900000-0000-7000-8000-000000000000/create", "file")] {
            let act = asking(move |world| {
                let asked =
                    headers(world).into_iter().fold(ask("POST", path).without_origin(), |asked, (name, value)| asked.header(name, value));
                if body == "form" {
                    asked.form(&[("name", "x")])
                } else {
                    asked.body("multipart/form-data; boundary=b", form("x.iso", &iso_of("FOREIGN", 60)))
                }
            });
            rows.push(refused(Row::new(id, format!("{what}, a {body}"), act, &[403])));
        }
    }
    rows.push(Row::new("B-A05", "1 GiB announced: refused before a byte", Box::new(|_| Box::new(|world| {
        let head = format!("POST /clusters/new HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nOrigin: http://evil.example\r\nContent-Length: 1073741824\r\n\r\n", world.port);
        world.exchange(head.as_bytes(), false)
    })), &[403]).also(|_, answer| so(answer.took < Duration::from_secs(3), || format!("it took {:?}", answer.took))));
    rows.push(
        Row::new(
            "B-A07",
            "our name in capitals",
            asking(move |world| {
                ask("POST", "/account/preferences")
                    .without_origin()
                    .header("Origin", ours(world).to_uppercase().replace("HTTP", "http"))
                    .form(&[("shortcuts", "on")])
            }),
            &[303],
        )
        .differs("names of hosts have no case: it is our own origin"),
    );
    for method in ["PUT", "PATCH", "DELETE"] {
        let act = asking(move |_| {
            ask("OPTIONS", "/images")
                .header("Origin", "http://evil.example")
                .header("Access-Control-Request-Method", method)
                .header("Access-Control-Request-Headers", "content-type")
        });
        rows.push(Row::new("B-A08", format!("OPTIONS before {method}"), act, &[200, 204, 401, 403, 404, 405]).also(|_, answer| {
            so(!answer.headers.iter().any(|(name, _)| name.to_lowercase().starts_with("access-control-")), || {
                format!("{:?}", answer.headers)
            })
        }));
        rows.push(Row::new(
            "B-A08",
            format!("{method} from elsewhere"),
            asking(move |_| ask(method, "/images").without_origin().header("Origin", "http://evil.example")),
            &[403],
        ));
    }
    rows.push(refused(Row::new(
        "B-A09",
        "a sign-in from elsewhere",
        asking(|_| {
            ask("POST", "/sign-in")
                .anonymous()
                .without_origin()
                .header("Origin", "http://evil.example")
                .form(&[("email", ADMIN.0), ("password", ADMIN.1)])
        }),
        &[403],
    )));
    for path in ["/sign-out", "/images/selection/deletion", "/images/columns", "/account/theme", "/session/extension"] {
        rows.push(Row::new("B-A09", format!("GET {path}, which changes something"), asking(move |_| ask("GET", path)), &[404, 405]));
    }
    for next in [
        "//evil.example",
        "https:evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/%0d%0aSet-Cookie: x=y",
        "/a\r\nSet-Cookie: x=y",
        "javascript:alert(1)",
        "data:text/html,x",
        "/images\u{0}",
        "///evil.example",
        "http:///evil.example",
        "/\t/evil.example",
        " //evil.example",
        "/images/../../evil",
        "?x",
        "#x",
        "evil.example",
    ] {
        let act: Act = Box::new(move |_| {
            Box::new(move |world| {
                let mut jar = Jar::new();
                let page =
                    ask("GET", format!("/sign-in?{}", serde_html_form::to_string([("next", next)]).unwrap())).send_as(world, &mut jar);
                let kept = page.attributes("input[name=next]", "value");
                let answer =
                    ask("POST", "/sign-in").form(&[("email", ADMIN.0), ("password", ADMIN.1), ("next", next)]).send_as(world, &mut jar);
                let leads_here =
                    |path: &str| path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n', '\t', '\0']);
                if !leads_here(answer.location()) || kept.iter().any(|path| !leads_here(path)) || jar.contains_key("x") {
                    world.problems.push(format!("it leads to {} and {kept:?}", answer.location()));
                }
                let signed_in = ask("GET", page_of("/sign-in", next)).send_as(world, &mut jar);
                if signed_in.status != 303 || !leads_here(signed_in.location()) {
                    world.problems.push(format!("signed in, it leads to {}", signed_in.location()));
                }
                answer
            })
        });
        rows.push(Row::new("B-A10", format!("next={next:?}"), act, &[303]).left(Left::Nothing(&[("sessions", 1), ("events", 1)])));
    }
    rows
}

fn page_of(path: &str, next: &str) -> String {
    format!("{path}?{}", serde_html_form::to_string([("next", next)]).unwrap())
}

fn sessions() -> Vec<Row> {
    let mut rows = Vec::new();
    let why = "a form that comes back is 422, one of another kind 415, one that is too large 413: the same as everywhere in the console";
    let sign_in = |what: &str, fields: Vec<(&'static str, String)>, status: u16| {
        let act: Act = Box::new(move |_| {
            Box::new(move |world| {
                let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                ask("POST", "/sign-in").anonymous().form(&fields).send_as(world, &mut Jar::new())
            })
        });
        Row::new("B-A12", what, act, &[status]).differs(why)
    };
    let wrong = |more: &[(&'static str, &str)]| {
        [&[("email", "mallory@example.org"), ("password", "wrong password")], more]
            .concat()
            .into_iter()
            .map(|(name, value)| (name, value.to_owned()))
            .collect::<Vec<_>>()
    };
    rows.push(sign_in(
        "a wrong password with role, tfa, otp and token",
        wrong(&[("role", "administrator"), ("tfa", "1"), ("otp", "000000"), ("token", "x"), ("user_id", "1"), ("admin", "true")]),
        422,
    ));
    rows.push(sign_in("a password as an array", vec![("email", ADMIN.0.to_owned()), ("password[]", ADMIN.1.to_owned())], 422));
    rows.push(sign_in("an e-mail as an object", vec![("email[$ne]", "x".to_owned()), ("password[$ne]", "x".to_owned())], 422));
    rows.push(sign_in("a password of 1 MiB", vec![("email", ADMIN.0.to_owned()), ("password", "x".repeat(1 << 20))], 413));
    rows.push(sign_in(
        "a password of 200 KiB",
        vec![("email", "mallory@example.org".to_owned()), ("password", "x".repeat(200 * 1024))],
        422,
    ));
    rows.push(sign_in(
        "a NUL behind the password",
        vec![("email", "mallory@example.org".to_owned()), ("password", format!("{}\0", ADMIN.1))],
        422,
    ));
    rows.push(sign_in(
        "a NUL within the e-mail",
        vec![("email", "mallory\0@example.org".to_owned()), ("password", "wrong password".to_owned())],
        422,
    ));
    let json = format!("{{\"email\":\"{}\",\"password\":\"{}\"}}", ADMIN.0, ADMIN.1);
    rows.push(
        Row::new(
            "B-A12",
            "JSON",
            Box::new(move |_| {
                Box::new(move |world| ask("POST", "/sign-in").body("application/json", json).send_as(world, &mut Jar::new()))
            }),
            &[415],
        )
        .differs(why),
    );
    let act: Act = Box::new(|_| {
        Box::new(|world| {
            let mut jar = Jar::new();
            ask("POST", "/sign-in")
                .form(&[("email", ADMIN.0), ("password", ADMIN.1), ("role", "no_access"), ("tfa", "0"), ("otp", "")])
                .send_as(world, &mut jar)
        })
    });
    rows.push(
        Row::new("B-A12", "the right password with role, tfa and otp", act, &[303])
            .left(Left::Nothing(&[("sessions", 1), ("events", 1)]))
            .also(|world, _| {
                let role = world.text("SELECT role AS t FROM users WHERE email = 'ada@example.org'");
                so(role == "administrator", || role)
            }),
    );

    for (what, value) in [
        ("forged", "0".repeat(64)),
        ("of another length", "abc".to_owned()),
        ("empty", String::new()),
        ("of 4 KiB", "f".repeat(4_096)),
        ("with a quotation mark", "\"\"".to_owned()),
        ("an SQL text", "' OR '1'='1".to_owned()),
        ("in capitals", "F".repeat(64)),
    ] {
        let act: Act = Box::new(move |_| {
            Box::new(move |world| ask("GET", "/images").anonymous().header("Cookie", format!("vmimg-session={value}")).send(world))
        });
        rows.push(
            Row::new("B-A14", format!("a session's cookie that is {what}"), act, &[303])
                .also(|_, answer| so(answer.location().starts_with("/sign-in"), || answer.location().to_owned())),
        );
    }
    let with = |what: &str, status: &'static [u16], make: fn(&str) -> String| {
        let act: Act = Box::new(move |world| {
            let token = world.jar["vmimg-session"].clone();
            Box::new(move |world| ask("GET", "/account").anonymous().header("Cookie", make(&token)).send(world))
        });
        Row::new("B-A14", what, act, status)
    };
    rows.push(with("a session's cookie that is cut", &[303], |token| format!("vmimg-session={}", &token[..63])));
    rows.push(with("a session's cookie with more behind", &[303], |token| format!("vmimg-session={token}0")));
    rows.push(with("a session's cookie in capitals", &[303], |token| format!("vmimg-session={}", token.to_uppercase())));
    rows.push(with("the digest that the records keep", &[303], |token| format!("vmimg-session={}", vmimg::secret::digest(token))));
    rows.push(with("ten cookies of one name, the first of them right", &[200], |token| format!("vmimg-session={token}{}", "; vmimg-session=x".repeat(9))).differs("one of them is the session: which of several a browser sends first is its own rule, and no one else can set one that is known here"));
    rows.push(with("ten cookies of one name, all wrong", &[303], |_| ["vmimg-session=0"; 10].join("; ")));
    rows.push(with("the session under the secure prefix", &[303], |token| format!("__Host-vmimg-session={token}")));

    rows.push(
        Row::new(
            "B-A14",
            "a cookie that was planted before the sign-in",
            Box::new(|_| {
                Box::new(|world| {
                    let mut jar = Jar::from([("vmimg-session".to_owned(), "a".repeat(64))]);
                    let answer = ask("POST", "/sign-in").form(&[("email", ADMIN.0), ("password", ADMIN.1)]).send_as(world, &mut jar);
                    if jar["vmimg-session"] == "a".repeat(64) {
                        world.problems.push("the planted token became the session".to_owned());
                    }
                    let planted =
                        ask("GET", "/account").anonymous().header("Cookie", format!("vmimg-session={}", "a".repeat(64))).send(world);
                    if planted.status != 303 {
                        world.problems.push(format!("the planted token is answered {}", planted.status));
                    }
                    answer
                })
            }),
            &[303],
        )
        .left(Left::Nothing(&[("sessions", 1), ("events", 1)])),
    );
    rows.push(
        Row::new(
            "B-A14",
            "after signing out",
            Box::new(|world| {
                let (jar, _) = world.sign_in(ADMIN.0, ADMIN.1);
                Box::new(move |world| {
                    let mut used = jar.clone();
                    ask("POST", "/sign-out").form(&[]).send_as(world, &mut used);
                    ask("GET", "/account").send_as(world, &mut jar.clone())
                })
            }),
            &[303],
        )
        .left(Left::Nothing(&[("sessions", -1), ("events", 1)]))
        .also(|_, answer| so(answer.location().starts_with("/sign-in"), || answer.location().to_owned())),
    );
    rows.push(
        Row::new(
            "B-A14",
            "after the password was changed elsewhere",
            Box::new(|world| {
                let (_, made) = world.user("changer@example.org", "administrator");
                assert_eq!(made.status, 303);
                let ((mut one, _), (other, _)) =
                    (world.sign_in("changer@example.org", ADMIN.1), world.sign_in("changer@example.org", ADMIN.1));
                Box::new(move |world| {
                    let changed = ask("POST", "/account/password")
                        .form(&[("password", ADMIN.1), ("new_password", "another horse battery")])
                        .send_as(world, &mut one);
                    if changed.status != 303 || ask("GET", "/account").send_as(world, &mut one).status != 200 {
                        world.problems.push(format!("who changed it is {}", changed.status));
                    }
                    ask("GET", "/account").send_as(world, &mut other.clone())
                })
            }),
            &[303],
        )
        .left(Left::Changed),
    );
    rows.push(Row::new(
        "B-A14",
        "after the user was disabled",
        Box::new(|world| {
            let (jar, _) = world.user("disabled@example.org", "administrator");
            world.sql("UPDATE users SET disabled = TRUE WHERE email = 'disabled@example.org'");
            Box::new(move |world| ask("GET", "/account").send_as(world, &mut jar.clone()))
        }),
        &[303],
    ));
    rows
}

/// Another browser of the same person.
fn other_browser(world: &mut World) -> Jar {
    world.sign_in(ADMIN.0, ADMIN.1).0
}

fn version(world: &World, id: &str) -> String {
    world.text(&format!("SELECT CAST(version AS TEXT) AS t FROM images WHERE id = '{id}'"))
}

/// An upload of which the second half has not been sent.
struct UnderWay {
    stream: std::net::TcpStream,
    rest: Vec<u8>,
}

impl UnderWay {
    fn finish(mut self) -> Answer {
        let _ = self.stream.write_all(&self.rest);
        super::answer::read(&mut self.stream, false, super::world::PATIENCE)
    }
}

/// Begins one from the administrator's browser.
fn under_way(world: &mut World, name: &str) -> (UnderWay, String) {
    let (base, bytes) = (world.draft(name), iso_of("UNDERWAY", 100));
    let made = world.announce(&base, "x.iso", &bytes);
    let id = made.json()["image"].as_str().unwrap().strip_prefix("/images/").unwrap().to_owned();
    let cookies: Vec<String> = world.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let body = form("x.iso", &bytes);
    let head = format!(
        "POST /images/{id}/content HTTP/1.1\r\nHost: 127.0.0.1:{0}\r\nOrigin: http://127.0.0.1:{0}\r\nCookie: {1}\r\nAccept: application/json\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {2}\r\n\r\n",
        world.port,
        cookies.join("; "),
        body.len()
    );
    let mut stream = world.connect();
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..120_000])).unwrap();
    let begun = world
        .until(Duration::from_secs(10), |world| world.text(&format!("SELECT status AS t FROM images WHERE id = '{id}'")) == "uploading");
    assert!(begun, "the upload begins");
    (UnderWay { stream, rest: body[120_000..].to_vec() }, id)
}

fn devices() -> Vec<Row> {
    let act: Act = Box::new(|world| {
        let (upload, id) = under_way(world, "from here");
        let mut jar = other_browser(world);
        Box::new(move |world| {
            let version = version(world, &id);
            let page = ask("GET", format!("/images/{id}/deletion")).send_as(world, &mut jar);
            if page.status != 409 || !page.words().contains("another device") {
                world.problems.push(format!("the page: {} {}", page.status, page.words()));
            }
            let answer = ask("POST", format!("/images/{id}/deletion")).form(&[("version", &*version)]).send_as(world, &mut jar);
            let ended = upload.finish();
            if ended.status != 200 {
                world.problems.push(format!("the upload ends with {}: {}", ended.status, ended.words()));
            }
            answer
        })
    });
    let own: Act = Box::new(|world| {
        let (upload, id) = under_way(world, "from here too");
        Box::new(move |world| {
            let version = version(world, &id);
            let answer = ask("POST", format!("/images/{id}/deletion")).form(&[("version", &*version)]).send(world);
            let ended = upload.finish();
            if ended.status == 200 || world.file_of(&id).exists() {
                world.problems.push(format!("the upload ends with {}", ended.status));
            }
            answer
        })
    });
    let attached: Act = Box::new(|world| {
        let id = world.image("attached", &iso("ATTACHED"));
        let (vm, version) = (vmimg::domain::ids::VmId::new(), version(world, &id));
        world.sql(&format!(
            "INSERT INTO virtual_machines (id, cluster_id, name, created_at) VALUES ('{vm}', '{}', 'web-07 <b>', 0)",
            world.cluster
        ));
        world.sql(&format!("INSERT INTO attachments (image_id, vm_id, attached_at) VALUES ('{id}', '{vm}', 0)"));
        Box::new(move |world| {
            let page = ask("GET", format!("/images/{id}/deletion")).send(world);
            if page.status != 409 || !page.words().contains("web-07 <b>") {
                world.problems.push(format!("the page: {} {}", page.status, page.words()));
            }
            let chosen = ask("POST", "/images/selection/deletion").form(&[("chosen", &*format!("{id}.{version}"))]).follow(world);
            if !chosen.words().contains("kept") || !world.file_of(&id).exists() {
                world.problems.push(format!("as one of several: {}", chosen.words()));
            }
            ask("POST", format!("/images/{id}/deletion")).form(&[("version", &*version)]).send(world)
        })
    });
    let race: Act = Box::new(|world| {
        let ids: Vec<String> = (0..8).map(|n| world.image(&format!("raced {n}"), &iso(&format!("RACED{n}")))).collect();
        let vm = vmimg::domain::ids::VmId::new();
        world.sql(&format!(
            "INSERT INTO virtual_machines (id, cluster_id, name, created_at) VALUES ('{vm}', '{}', 'racer', 0)",
            world.cluster
        ));
        Box::new(move |world| {
            for id in &ids {
                let cookies: Vec<String> = world.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let body = format!("version={}", version(world, id));
                let bytes = format!(
                    "POST /images/{id}/deletion HTTP/1.1\r\nHost: 127.0.0.1:{0}\r\nOrigin: http://127.0.0.1:{0}\r\nCookie: {1}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {2}\r\n\r\n{body}",
                    world.port,
                    cookies.join("; "),
                    body.len()
                );
                // Attached and detached over and over, as other hands would, while the deletion is asked for.
                let shared = &*world;
                let locked = if world.postgres.is_some() { " FOR UPDATE" } else { "" };
                let (answer, attached) = std::thread::scope(|scope| {
                    let asked = scope.spawn(|| shared.exchange(bytes.as_bytes(), false));
                    let mut attached = false;
                    for _ in 0..6 {
                        attached = shared.sql(&format!("INSERT INTO attachments (image_id, vm_id, attached_at) SELECT id, '{vm}', 0 FROM images WHERE id = '{id}' AND status = 'available' AND NOT EXISTS (SELECT 1 FROM attachments WHERE image_id = '{id}'){locked}")) == 1 || attached;
                        if asked.is_finished() {
                            break;
                        }
                        shared.sql(&format!("DELETE FROM attachments WHERE image_id = '{id}'"));
                        attached = false;
                    }
                    (asked.join().unwrap(), attached)
                });
                let status = world.texts(&format!("SELECT status AS t FROM images WHERE id = '{id}'"));
                let is_there = status == ["available"];
                if !matches!(answer.status, 303 | 409)
                    || (answer.status == 409) != is_there
                    || (attached
                        && !is_there
                        && world.number(&format!("SELECT COUNT(*) AS n FROM attachments WHERE image_id = '{id}'")) > 0)
                {
                    world.problems.push(format!("{} and {status:?}, attached: {attached}", answer.status));
                }
            }
            world.sql("DELETE FROM attachments");
            Answer::of(200)
        })
    });
    vec![
        Row::new("B-A15", "an upload, from another browser", act, &[409]).words(&["another device"]).left(Left::Changed),
        Row::new("B-A15", "an upload, from the browser that sends it", own, &[303]).left(Left::Changed),
        Row::new("B-A16", "an attached image", attached, &[409]).words(&["web-07 <b>"]).left(Left::Nothing(&[("events", 2)])),
        Row::new("B-A16", "an image that is attached and detached meanwhile", race, &[200]).left(Left::Changed),
    ]
}

/// Every page that any page leads to, twice; nothing changes but when the session was seen last.
fn crawl(world: &mut World) -> Answer {
    let content = |world: &World| -> Vec<String> {
        let columns = |table: &str| {
            if world.postgres.is_some() {
                format!("SELECT CAST(t AS TEXT) AS t FROM {table} AS t ORDER BY 1")
            } else {
                format!(
                    "SELECT group_concat(v, '|') AS t FROM (SELECT (SELECT group_concat(name) FROM pragma_table_info('{table}')) AS v, * FROM {table})"
                )
            }
        };
        if world.postgres.is_some() {
            ["users", "clusters", "hosts", "connections", "drafts", "submissions", "jobs", "uploads", "attachments", "images"]
                .iter()
                .flat_map(|table| world.texts(&columns(table)))
                .collect()
        } else {
            ["users", "clusters", "images"]
                .iter()
                .flat_map(|table| {
                    world.texts(&format!("SELECT id || ' ' || name || ' ' || CAST(version AS TEXT) AS t FROM {table} ORDER BY id"))
                })
                .chain(world.texts("SELECT id || answers || CAST(updated_at AS TEXT) AS t FROM drafts ORDER BY id"))
                .collect()
        }
    };
    let before = content(world);
    for round in 0..2 {
        let (mut seen, mut next) = (BTreeSet::new(), vec!["/images".to_owned()]);
        let mut patterns: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
        while let Some(path) = next.pop() {
            // Many links differ by their query alone: a few of each kind are enough.
            let pattern: String = path
                .split('?')
                .next()
                .unwrap()
                .split('/')
                .map(|part| if part.len() == 36 { "{}" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let count = patterns.entry(pattern).or_default();
            *count += 1;
            // Downloads are recorded, which is a change that a GET is meant to make; a wizard's address is new each time.
            if *count > 12 || !seen.insert(path.clone()) || path.contains("/download") || path.starts_with("/assets") {
                continue;
            }
            let page = ask("GET", path.clone()).send(world);
            // The history names what was deleted.
            if !(matches!(page.status, 200 | 303 | 409) || page.status == 404 && path.starts_with("/images/")) {
                world.problems.push(format!("round {round}: {path} is {}", page.status));
            }
            next.extend(
                page.attributes("a[href]", "href")
                    .into_iter()
                    .filter(|href| href.starts_with('/'))
                    .map(|href| href.split('#').next().unwrap().to_owned()),
            );
            next.extend(Some(page.location().to_owned()).filter(|location| location.starts_with('/')));
        }
        if seen.len() < 30 {
            world.problems.push(format!("only {} pages", seen.len()));
        }
    }
    let after = content(world);
    if after != before {
        world.problems.push("a page changed the records".to_owned());
    }
    Answer::of(200)
}

/// Requests without a session, a hundred at a time on each of four connections.
fn flood(world: &mut World) -> Answer {
    const TOTAL: usize = 100_000;
    const AT_ONCE: usize = 100;
    let (port, done) = (world.port, std::sync::atomic::AtomicUsize::new(0));
    let batch = format!("GET /images HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").repeat(AT_ONCE);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (batch, done, world) = (&batch, &done, &*world);
            scope.spawn(move || {
                let mut stream = world.connect();
                stream.set_read_timeout(Some(super::world::PATIENCE)).unwrap();
                let mut left = TOTAL / 4;
                let mut piece = vec![0; 262_144];
                while left > 0 {
                    stream.write_all(batch.as_bytes()).unwrap();
                    let mut answered = 0;
                    let mut carried: Vec<u8> = Vec::new();
                    while answered < AT_ONCE {
                        let count = stream.read(&mut piece).unwrap();
                        assert!(count > 0, "the connection stays");
                        carried.extend_from_slice(&piece[..count]);
                        let heads = memchr::memmem::find_iter(&carried, b"HTTP/1.1 303").count();
                        answered += heads;
                        let keep = carried.len().min(11);
                        carried = carried.split_off(carried.len() - keep);
                    }
                    done.fetch_add(answered, std::sync::atomic::Ordering::Relaxed);
                    left -= AT_ONCE;
                }
            });
        }
    });
    let done = done.into_inner();
    if done != TOTAL {
        world.problems.push(format!("{done} answers"));
    }
    let _ = leftovers::memory(world, "VmRSS");
    Answer::of(200)
}

/// Signs in from this address.
fn attempt(world: &mut World, address: &str, email: &str, password: &str) -> Answer {
    ask("POST", "/sign-in")
        .header("X-Forwarded-For", address)
        .form(&[("email", email), ("password", password)])
        .send_as(world, &mut Jar::new())
}

fn guess_one() -> Act {
    Box::new(|_| {
        Box::new(|world| {
            let (mut last, mut waits) = (Answer::of(0), Vec::new());
            // From many addresses, as a botnet would.
            for n in 0..16 {
                last = attempt(world, &format!("198.51.100.{n}"), ADMIN.0, "a wrong password");
                if last.status == 429 {
                    waits.push(last.header("retry-after").parse::<u64>().unwrap_or(0));
                    let wait = *waits.last().unwrap();
                    std::thread::sleep(Duration::from_secs(if waits.len() < 5 { wait } else { 0 }));
                }
            }
            if waits.is_empty() || waits.contains(&0) || waits.iter().any(|wait| *wait > 900) || waits.iter().max() < Some(&3) {
                world.problems.push(format!("the waits are {waits:?}"));
            }
            last = if last.status == 429 { last } else { attempt(world, "198.51.100.99", ADMIN.0, "a wrong password") };
            last
        })
    })
}

fn guess_many() -> Act {
    Box::new(|_| {
        Box::new(|world| {
            let mut refused = 0;
            let mut last = Answer::of(0);
            for n in 0..45 {
                last = attempt(world, "203.0.113.5", &format!("user{n}@example.org"), "Summer2026");
                refused += usize::from(last.status == 429);
            }
            if !(10..=15).contains(&refused) {
                world.problems.push(format!("{refused} of 45 were refused"));
            }
            last
        })
    })
}

/// The right person, after the last wait.
fn come_in() -> Act {
    Box::new(|_| {
        Box::new(|world| {
            let mut last = Answer::of(0);
            let came = world.until(Duration::from_secs(40), |world| {
                last = attempt(world, "192.0.2.77", ADMIN.0, ADMIN.1);
                if last.status == 429 {
                    std::thread::sleep(Duration::from_millis(500));
                }
                last.status == 303
            });
            if !came {
                world.problems.push(format!("{}: {}", last.status, last.words()));
            }
            last
        })
    })
}

/// The work that the process does for each of twelve attempts, compared; not the time, which other work on the machine changes.
fn equal_work() -> Act {
    Box::new(|world| {
        for n in 0..12 {
            world.sql(&format!(
                "INSERT INTO users (id, email, email_key, name, password_hash, role, disabled, theme, shortcuts, list_columns, created_at, version) \
                 SELECT '{}', 'known{n}@example.org', 'known{n}@example.org', 'Known', password_hash, 'no_access', FALSE, 'system', TRUE, '', 0, 1 FROM users WHERE email = '{}'",
                vmimg::domain::ids::UserId::new(), ADMIN.0
            ));
        }
        Box::new(|world| {
            let mut work = |kind: &str, round: usize| {
                let before = worked(world);
                for n in 0..12 {
                    let answer =
                        attempt(world, &format!("192.0.2.{}", n + 1 + 20 * round), &format!("{kind}{n}@example.org"), "a wrong password");
                    assert_eq!(answer.status, 422, "{}", answer.words());
                }
                worked(world) - before
            };
            let (known, unknown) = (work("known", 1) + work("known", 2), work("unknown", 3) + work("unknown", 4));
            let ratio = known.as_secs_f64() / unknown.as_secs_f64().max(0.001);
            if !(0.7..1.43).contains(&ratio) {
                world.problems.push(format!("{known:?} for known accounts, {unknown:?} for unknown ones"));
            }
            Answer::of(200)
        })
    })
}
