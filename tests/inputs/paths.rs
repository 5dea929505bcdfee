//! Group P: identifiers and paths that lead, or should lead, elsewhere.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::{
    Batch,
    fixtures::iso_of,
    table::{Act, Left, Row, so},
    usual,
    world::{World, ask},
};

fn get(path: impl Into<String>) -> Act {
    let path = path.into();
    Box::new(move |_| Box::new(move |world| ask("GET", path).send(world)))
}

/// Nothing is there, and the answer has nothing of a file of the system.
fn nothing(id: &'static str, path: impl Into<String>) -> Row {
    let path = path.into();
    Row::new(id, format!("GET {path:.70}"), get(path), &[404]).also(|_, answer| {
        let text = answer.text();
        so(!text.contains("root:") && !text.contains("[package]") && !text.contains("SQLite format"), || "it shows a file".to_owned())
    })
}

pub fn rows() -> Vec<Batch> {
    let mut rows = Vec::new();
    for path in [
        "/images/../../etc/passwd",
        "/../etc/passwd",
        "//etc/passwd",
        "//images",
        "/images//x",
        "/./images",
        "/images/./x",
        "/images/.",
        "/images/..",
        "/images;x=y",
        "/images/;/x",
        "/images/x;y/edit",
        "/events/../images",
        "/etc/passwd",
        "/images/",
        "/IMAGES",
        "/images%20",
        "/images%00",
        "/.env",
        "/.git/config",
        "/vmimg.db",
        "/data/vmimg.db",
        "/server-status",
        "/index.php",
    ] {
        rows.push(nothing("B-P01", path));
    }
    for path in [
        "/%2e%2e%2f%2e%2e%2fetc/passwd",
        "/images/%2e%2e/%2e%2e/etc/passwd",
        "/images/..%2f..%2fetc%2fpasswd",
        "/images/%252e%252e%252fetc",
        "/images/%c0%ae%c0%ae/etc",
        "/images/%u002e%u002e/etc",
        "/images/..%5c..%5cetc",
        "/images/%2e",
        "/%2fetc%2fpasswd",
        "/images/%2fetc%2fpasswd",
        "/images/%e0%80%ae",
        "/images/.%00./x",
        "/images/%",
        "/images/%2",
        "/images/%zz",
    ] {
        rows.push(Row { status: vec![404, 400], ..nothing("B-P02", path) });
    }
    let odd = [
        "..%2F..%2Fx",
        "a%2Fb",
        "%00",
        "x%00",
        "00000000-0000-0000-0000-000000000000",
        "01900000-0000-7000-8000-000000000000",
        "1",
        "-1",
        "null",
        "new%2F",
        "%20",
        "*",
    ];
    for pattern in [
        "/images/{}",
        "/images/{}/download",
        "/images/{}/edit",
        "/images/{}/deletion",
        "/images/new/{}/summary",
        "/clusters/{}",
        "/hosts/{}",
        "/datastores/{}",
        "/local-storages/{}/removal",
        "/storages/{}",
    ] {
        for id in odd {
            // A wizard that was not begun leads to its first step.
            let unbegun = pattern.contains("/new/") && id.len() == 36;
            let row = nothing("B-P03", pattern.replace("{}", id));
            rows.push(if unbegun { Row { status: vec![404, 303], ..row } } else { row });
        }
    }
    rows.push(Row { status: vec![404, 414, 400, 431, 0], ..nothing("B-P03", format!("/images/{}", "x".repeat(1 << 20))) });
    rows.push(nothing("B-P03", format!("/images/{}", "x".repeat(10_000))));
    for (what, spell) in [
        ("capitals", (|id: &str| id.to_uppercase()) as fn(&str) -> String),
        ("braces", |id| format!("%7B{id}%7D")),
        ("urn", |id| format!("urn:uuid:{id}")),
        ("no hyphens", |id| id.replace('-', "")),
        ("a space behind", |id| format!("{id}%20")),
        ("a NUL behind", |id| format!("{id}%00")),
        ("a slash behind", |id| format!("{id}/")),
    ] {
        for rest in ["", "/edit", "/download"] {
            let act: Act = Box::new(move |world| {
                let name = world.fresh("spelling");
                let id = world.image(&name, &iso_of("SPELLING", 50));
                Box::new(move |world| ask("GET", format!("/images/{}{rest}", spell(&id))).send(world))
            });
            rows.push(Row::new("B-P03", format!("an identifier with {what}{rest}"), act, &[404]));
        }
    }
    for id in ["..%2F..%2Fx", "01900000-0000-7000-8000-000000000000", "%00"] {
        for path in ["/images/{}/deletion", "/images/{}/content", "/images/{}/upload/cancel", "/datastores/{}/removal", "/clusters/{}/edit"]
        {
            let path = path.replace("{}", id);
            let act: Act = Box::new(move |_| {
                Box::new(move |world| {
                    if path.ends_with("/content") {
                        ask("POST", path)
                            .body("multipart/form-data; boundary=b", super::world::form("x.iso", &iso_of("NOBODY", 20)))
                            .send(world)
                    } else {
                        ask("POST", path).form(&[("version", "1"), ("name", "x"), ("note", "")]).send(world)
                    }
                })
            });
            rows.push(Row::new("B-P03", format!("POST to {id}"), act, &[404]));
        }
    }
    for path in [
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets/x/%2e%2e/%2e%2e/Cargo.toml",
        "/assets/x/..%2f..%2fCargo.toml",
        "/assets/x/",
        "/assets/x",
        "/assets/",
        "/assets",
        "/assets/x/css",
        "/assets/x/css/",
        "/assets/x/.hidden",
        "/assets/x//css/app.css",
        "/assets/x/css/app.css%00",
        "/assets/x/css/APP.CSS",
        "/assets/x/C:%5Cx",
        "/static/%2e%2e/",
        "/static/css/app.css",
    ] {
        rows.push(nothing("B-P04", path));
    }
    for range in ["bytes=", "bytes=,", "bytes=-0", "bytes=9-1", "bytes=0-0,0-0"] {
        rows.push(Row::new(
            "B-P04",
            format!("an asset with Range: {range}"),
            Box::new(move |_| Box::new(move |world| ask("GET", "/assets/x/css/app.css").header("Range", range).send(world))),
            &[200, 416],
        ));
    }
    rows.extend(folders());
    vec![
        usual(rows),
        Batch {
            settings: &[("storage_roots", "{media},/proc,/sys")],
            rows: vec![
                folder("B-P08", "a folder of the kernel that nobody can write", |_| "/proc/sys".to_owned(), &["write", "place", "storage"]),
                folder("B-P08", "a folder of the kernel's devices", |_| "/sys/kernel".to_owned(), &[]),
                folder("B-P06", "its own process", |_| "/proc/self".to_owned(), &[]),
                folder("B-P06", "its own process's root", |_| "/proc/self/root/etc".to_owned(), &[]),
            ],
        },
    ]
}

/// The form of a datastore in this folder is refused at the path, and nothing is written into the folder.
fn folder(id: &'static str, what: &str, make: impl FnOnce(&mut World) -> String + 'static, words: &'static [&'static str]) -> Row {
    let act: Act = Box::new(move |world| {
        let (path, name) = (make(world), world.fresh("datastore"));
        let key = vmimg::domain::ids::SubmissionId::new().to_string();
        Box::new(move |world| {
            let answer = ask("POST", "/datastores/new").form(&[("name", &*name), ("path", &path), ("key", &key)]).send(world);
            let typed = answer.attributes("input[name=path]", "value");
            if answer.status == 422 && !path.contains(['\0', '\n']) && typed != [path.clone()] {
                world.problems.push(format!("the form comes back with {typed:.100?}"));
            }
            let said = answer.words();
            if !words.is_empty() && !words.iter().any(|word| said.contains(word)) {
                world.problems.push(format!("it says none of {words:?}: {said:.400}"));
            }
            answer
        })
    });
    Row::new(id, what, act, &[422])
}

fn folders() -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, path) in [
        ("nothing", ""),
        ("a relative path", "srv/x"),
        ("a dot", "./x"),
        ("the home", "~/x"),
        ("a path with ..", "{media}/../x"),
        ("a path with .. at the end", "{media}/local/.."),
        ("an address", "file:///srv/x"),
        ("a NUL", "{media}/a\0b"),
        ("backslashes", "C:\\x"),
    ] {
        rows.push(folder(
            "B-P05",
            what,
            move |world| path.replace("{media}", &world.media().display().to_string()),
            &["absolute path", "Give the folder", "4,096 bytes", "may lie below"],
        ));
    }
    rows.push(folder(
        "B-P05",
        "a path of 4,097 bytes",
        |world| {
            let start = world.media().display().to_string();
            format!("{start}/{}", "x".repeat(4_096 - start.len()))
        },
        &["4,096 bytes"],
    ));
    for path in ["/", "/etc", "/proc", "/proc/self", "/dev", "/tmp", "/root", "/var/lib", "/srvx", "//etc", "/etc/"] {
        rows.push(folder("B-P06", path, move |_| path.to_owned(), &["may lie below", "own data folder"]));
    }
    rows.push(folder(
        "B-P06",
        "the folder of all storages",
        |world| world.media().display().to_string(),
        &["may lie below", "lie in one another"],
    ));
    rows.push(folder(
        "B-P07",
        "the database's own folder",
        |world| world.data().display().to_string(),
        &["own data folder", "may lie below"],
    ));
    rows.push(folder(
        "B-P07",
        "a folder above the database",
        |world| world.data().parent().unwrap().display().to_string(),
        &["may lie below", "own data folder"],
    ));
    rows.push(
        folder(
            "B-P07",
            "inside another storage",
            |world| {
                let path = world.folder("local/inside");
                path.display().to_string()
            },
            &["lie in one another"],
        )
        .left(Left::Nothing(&[])),
    );
    rows.push(folder("B-P07", "another storage's folder", |world| world.folder("local").display().to_string(), &["lies here already"]));
    rows.push(folder(
        "B-P07",
        "another storage's folder, with a slash behind",
        |world| format!("{}/", world.folder("local").display()),
        &["lies here already"],
    ));
    rows.push(folder(
        "B-P07",
        "around another storage",
        |world| {
            let inner = world.folder("outer/inner").display().to_string();
            let key = vmimg::domain::ids::SubmissionId::new().to_string();
            let added = ask("POST", "/datastores/new").form(&[("name", "inner"), ("path", &inner), ("key", &key)]).send(world);
            assert_eq!(added.status, 303, "{}", added.words());
            world.folder("outer").display().to_string()
        },
        &["lie in one another"],
    ));
    rows.push(folder(
        "B-P08",
        "a folder that is not there",
        |world| world.media().join("nowhere").display().to_string(),
        &["There is no folder"],
    ));
    rows.push(folder(
        "B-P08",
        "a file",
        |world| {
            let path = world.media().join("file");
            std::fs::write(&path, "x").unwrap();
            path.display().to_string()
        },
        &["folder", "directory"],
    ));
    rows.push(folder(
        "B-P08",
        "a link to another folder",
        |world| {
            let (from, to) = (world.media().join("link"), world.folder("linked"));
            symlink(to, &from).unwrap();
            from.display().to_string()
        },
        &[],
    ));
    rows.push(folder(
        "B-P08",
        "a link on the way",
        |world| {
            let (from, to) = (world.media().join("way"), world.folder("wayto/end"));
            symlink(to.parent().unwrap(), &from).unwrap();
            from.join("end").display().to_string()
        },
        &[],
    ));
    rows.push(folder(
        "B-P08",
        "a link to another storage",
        |world| {
            let (from, to) = (world.media().join("twin"), world.folder("local"));
            symlink(to, &from).unwrap();
            from.display().to_string()
        },
        &[],
    ));
    rows.push(folder(
        "B-P08",
        "a link to the database's folder",
        |world| {
            let (from, to) = (world.media().join("database"), world.data());
            symlink(to, &from).unwrap();
            from.display().to_string()
        },
        &[],
    ));
    rows.push(folder(
        "B-P08",
        "a link that leads to itself",
        |world| {
            let path = world.media().join("round");
            symlink(&path, &path).unwrap();
            path.display().to_string()
        },
        &[],
    ));
    rows.push(folder(
        "B-P08",
        "a copy of another storage, with its marker",
        |world| {
            let path = world.folder("copied");
            std::fs::copy(world.media().join("local/.vmimg-storage.json"), path.join(".vmimg-storage.json")).unwrap();
            path.display().to_string()
        },
        &["This is the storage"],
    ));
    for (what, text) in [
        ("an empty marker", String::new()),
        ("a marker that is none", "not json".to_owned()),
        ("a marker of 2 MiB", format!("{{\"uuid\":\"{}\"}}", "x".repeat(2 << 20))),
        ("a marker with a path", "{\"uuid\":\"../../etc\",\"storage\":\"../../etc\"}".to_owned()),
    ] {
        rows.push(folder(
            "B-P08",
            what,
            move |world| {
                let name = world.fresh("marked").replace(' ', "-");
                let path = world.folder(&name);
                std::fs::write(path.join(".vmimg-storage.json"), text).unwrap();
                path.display().to_string()
            },
            &[],
        ));
    }
    rows.push(folder(
        "B-P08",
        "a marker that is a link",
        |world| {
            let path = world.folder("linkedmarker");
            symlink("/etc/passwd", path.join(".vmimg-storage.json")).unwrap();
            path.display().to_string()
        },
        &[],
    ));
    rows.push(folder(
        "B-P08",
        "a marker that is a folder",
        |world| {
            let path = world.folder("markerfolder/.vmimg-storage.json");
            path.parent().unwrap().display().to_string()
        },
        &[],
    ));
    rows.push(folder(
        "B-P08",
        "the folder for images is a link",
        |world| {
            let path = world.folder("linkedimages");
            symlink("/tmp", path.join("images")).unwrap();
            path.display().to_string()
        },
        &[],
    ));
    rows.push(Row::new("B-P08", "a folder that is no mount point", Box::new(|world| {
        let path = world.folder("plain").display().to_string();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let key = vmimg::domain::ids::SubmissionId::new().to_string();
        Box::new(move |world| ask("POST", "/datastores/new").form(&[("name", "plain"), ("path", &path), ("key", &key)]).send(world))
    }), &[303]).left(Left::Changed).differs("a folder needs not be a mount point: the first storage of a fresh machine is none; a medium that is not mounted is told by its marker, which is missing then"));
    rows
}
