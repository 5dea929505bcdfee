//! Group F: forms whose fields are missing, double, absurd, stale or invented, and filters that nobody would type.

use super::{
    Batch,
    answer::Answer,
    fixtures::{iso, iso_of},
    table::{Act, Left, Row, so},
    usual,
    world::{World, ask, form, part},
};

type Fields = Vec<(&'static str, String)>;

/// Sends a form with these fields.
fn sent(path: impl FnOnce(&mut World) -> String + 'static, fields: impl FnOnce(&mut World) -> Fields + 'static) -> Act {
    Box::new(move |world| {
        let (path, fields) = (path(world), fields(world));
        Box::new(move |world| {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            ask("POST", path).form(&fields).send(world)
        })
    })
}

fn key() -> String {
    vmimg::domain::ids::SubmissionId::new().to_string()
}

/// An image for a row, with its version.
fn image(world: &mut World) -> (String, String) {
    let name = world.fresh("forms");
    let id = world.image(&name, &iso_of("FORMS", 50));
    let version = world.number(&format!("SELECT version AS n FROM images WHERE id = '{id}'"));
    (id, version.to_string())
}

/// The edit form of an image with other values in some fields; an empty list of values leaves the field out, two send it twice.
fn edited(changes: &[(&'static str, &[&'static str])]) -> Act {
    let changes: Vec<(&'static str, Vec<&'static str>)> = changes.iter().map(|(name, values)| (*name, values.to_vec())).collect();
    Box::new(move |world| {
        let (id, version) = image(world);
        let usual = [
            ("name", "forms edited"),
            ("note", ""),
            ("os", "other"),
            ("min_vcpu", "1"),
            ("min_memory_mib", "1"),
            ("min_disk_gib", "1"),
            ("version", &*version),
        ];
        let mut fields: Fields = Vec::new();
        for (name, value) in usual {
            match changes.iter().find(|(changed, _)| *changed == name) {
                Some((_, values)) => fields.extend(values.iter().map(|value| (name, (*value).to_owned()))),
                None => fields.push((name, value.to_owned())),
            }
        }
        let more = changes.iter().filter(|(name, _)| !usual.iter().any(|(known, _)| known == name));
        fields.extend(more.flat_map(|(name, values)| values.iter().map(move |value| (*name, (*value).to_owned()))));
        Box::new(move |world| {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            ask("POST", format!("/images/{id}/edit")).form(&fields).send(world)
        })
    })
}

fn get(path: impl Into<String>) -> Act {
    let path = path.into();
    Box::new(move |_| Box::new(move |world| ask("GET", path).send(world)))
}

/// A wizard after its first step.
fn begun(world: &mut World) -> String {
    let name = world.fresh("begun");
    let base = ask("GET", "/images/new").send(world).location().strip_suffix("/general").unwrap().to_owned();
    let general = ask("POST", format!("{base}/general")).form(&[("name", &*name), ("kind", "installation")]).send(world);
    assert_eq!(general.status, 303);
    base
}

pub fn rows() -> Vec<Batch> {
    let mut rows = Vec::new();
    rows.extend(fields());
    rows.extend(numbers());
    rows.extend(storages());
    rows.extend(steps());
    rows.extend(filters());
    rows.extend(injection());
    rows.extend(invented());
    let few = Batch {
        settings: &[("max_unfinished", "2")],
        rows: vec![
            Row::new("B-F12", "one image more than the limit, announced", limit(true), &[429])
                .words(&["images.too_many_unfinished", "You have 2 unfinished images", "max_unfinished"])
                .left(Left::Nothing(&[("events", 1)])),
            Row::new("B-F12", "the same, without scripts", limit(false), &[429])
                .words(&["You have 2 unfinished images"])
                .left(Left::Nothing(&[("events", 1)])),
        ],
    };
    vec![usual(rows), few]
}

fn fields() -> Vec<Row> {
    let mut rows = Vec::new();
    // The edit form: a blank figure means what the system sets, a blank note is a note.
    for (what, changes, status, word) in [
        ("no name", &[("name", &[] as &[&str])] as &'static [(&'static str, &'static [&'static str])], 422, "Give a name"),
        ("an empty name", &[("name", &[""])], 422, "Give a name"),
        ("a name as an array", &[("name", &[]), ("name[]", &["x"])], 422, "Give a name"),
        ("no operating system", &[("os", &[])], 422, "operating system"),
        ("an empty operating system", &[("os", &[""])], 422, "operating system"),
        ("an operating system as an array", &[("os", &[]), ("os[]", &["other"])], 422, "operating system"),
        ("no version", &[("version", &[])], 400, "load its page again"),
        ("a version that is no number", &[("version", &["x"])], 400, "load its page again"),
        ("the name twice", &[("name", &["a", "b"])], 400, "came twice"),
        ("the note twice", &[("note", &["a", "b"])], 400, "came twice"),
        ("the system twice", &[("os", &["other", "other"])], 400, "came twice"),
        ("a figure twice", &[("min_vcpu", &["1", "2"])], 400, "came twice"),
        ("the version twice", &[("version", &["1", "2"])], 400, "came twice"),
    ] {
        rows.push(Row::new("B-F01", format!("image: {what}"), edited(changes), &[status]).words(&[word]));
    }
    for (what, path, fields, status, word) in [
        ("cluster: no name", "/clusters/new", &[("note", "x")][..], 422, "Give a name"),
        ("cluster: no key", "/clusters/new", &[("name", "x"), ("key", "")], 400, "load its page again"),
        ("cluster: a key that is none", "/clusters/new", &[("name", "x"), ("key", "1")], 400, "load its page again"),
        ("cluster: the name twice", "/clusters/new", &[("name", "x"), ("name", "y")], 400, "came twice"),
        ("datastore: nothing", "/datastores/new", &[], 422, "Give a name"),
        ("datastore: no path", "/datastores/new", &[("name", "x")], 422, "Give the folder"),
        ("datastore: the path twice", "/datastores/new", &[("name", "x"), ("path", "a"), ("path", "b")], 400, "came twice"),
        ("local storage: no host", "/local-storages/new", &[("name", "x"), ("path", "/x")], 422, "Choose the host"),
        ("password: nothing", "/account/password", &[], 422, "password"),
        ("password: twice", "/account/password", &[("password", "a"), ("password", "b"), ("new_password", "c")], 400, "came twice"),
        ("theme: nothing", "/account/theme", &[], 400, "theme"),
        ("theme: another", "/account/theme", &[("theme", "pink")], 400, "theme"),
        ("sign-in: nothing", "/sign-in", &[], 422, "do not belong together"),
        ("sign-in: the e-mail twice", "/sign-in", &[("email", "a"), ("email", "b"), ("password", "c")], 400, "came twice"),
        ("set-up, when it is over", "/setup", &[("code", "x"), ("name", "Eve")], 404, "nothing at this address"),
    ] {
        let act = sent(
            move |_| path.to_owned(),
            move |_| {
                let mut all: Fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
                if !fields.iter().any(|(name, _)| *name == "key") {
                    all.push(("key", key()));
                }
                all
            },
        );
        rows.push(Row::new("B-F01", what, act, &[status]).words(&[word]));
    }
    for (what, fields, status, word) in [
        ("wizard: nothing", &[][..], 422, "Give a name"),
        ("wizard: no kind", &[("name", "x")], 422, "Choose what to create"),
        ("wizard: another kind", &[("name", "x"), ("kind", "virtual_disk")], 422, "Choose what to create"),
        ("wizard: a base image", &[("name", "x"), ("kind", "base")], 422, "virtual machine"),
        ("wizard: the name twice", &[("name", "x"), ("name", "y"), ("kind", "installation")], 400, "came twice"),
    ] {
        let act = sent(
            |world| format!("{}/general", begun(world)),
            move |_| fields.iter().map(|(name, value): &(&'static str, &str)| (*name, (*value).to_owned())).collect(),
        );
        rows.push(Row::new("B-F01", what, act, &[status]).words(&[word]));
    }
    for (what, kind, body) in [
        ("a form with a file where none is taken", "multipart/form-data; boundary=b", form("x.iso", b"x")),
        ("JSON", "application/json", b"{\"name\":\"x\"}".to_vec()),
        ("XML", "application/xml", b"<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>".to_vec()),
        ("text/plain, as a form of another site can send", "text/plain", b"name=x".to_vec()),
    ] {
        let act: Act = Box::new(move |_| Box::new(move |world| ask("POST", "/clusters/new").body(kind, body).send(world)));
        rows.push(Row::new("B-F01", what, act, &[415]));
    }
    rows.push(
        Row::new(
            "B-F01",
            "300 KiB",
            Box::new(|_| {
                Box::new(|world| ask("POST", "/clusters/new").body("application/x-www-form-urlencoded", vec![b'a'; 300 * 1024]).send(world))
            }),
            &[413],
        )
        .words(&["256 KiB"]),
    );
    rows
}

fn numbers() -> Vec<Row> {
    let mut rows = Vec::new();
    let absurd: &[&str] = &[
        "-1",
        "1.5",
        "1e3",
        "NaN",
        "٣",
        "2147483648",
        "9223372036854775808",
        "10000000000000000000000000000000000000000",
        "0x10",
        "+1",
        "1,000",
        "Infinity",
        "１",
        "1 2",
    ];
    for field in ["min_vcpu", "min_memory_mib", "min_disk_gib"] {
        for value in absurd {
            let (path, fields): (fn(&mut World) -> String, _) = (
                |world| {
                    let (id, _) = image(world);
                    format!("/images/{id}/edit")
                },
                move |world: &mut World| {
                    let version = world.text("SELECT CAST(version AS TEXT) AS t FROM images WHERE seq = (SELECT MAX(seq) FROM images)");
                    vec![
                        ("name", world.fresh("numbers")),
                        ("note", String::new()),
                        ("os", "other".to_owned()),
                        (field, (*value).to_owned()),
                        ("version", version),
                    ]
                },
            );
            let id = if value.len() > 10 { "B-F11" } else { "B-F02" };
            rows.push(Row::new(id, format!("{field}={value}"), sent(path, fields), &[422]).words(&[if *value == "2147483648" {
                "at most"
            } else {
                "whole number"
            }]));
        }
    }
    for (field, value, word) in [
        ("min_vcpu", "0", "at least"),
        ("min_vcpu", "4097", "at most"),
        ("min_memory_mib", "0", "at least"),
        ("min_memory_mib", "67108865", "at most"),
        ("min_disk_gib", "1048577", "at most"),
    ] {
        rows.push(Row::new("B-F11", format!("{field}={value}"), edited(&[(field, &[value])]), &[422]).words(&[word]));
    }
    for os in ["windows-95", "OTHER", "other ", "debian-13\0", "../other", "%", "0", "null"] {
        rows.push(
            Row::new("B-F11", format!("operating system {os:?}"), edited(&[("os", &[os])]), &[422]).words(&["Choose the operating system"]),
        );
    }
    for version in ["-1", "0", "9223372036854775807"] {
        rows.push(
            Row::new("B-F02", format!("version={version}"), edited(&[("version", &[version])]), &[409]).words(&["Somebody else saved"]),
        );
    }
    for version in ["9223372036854775808", "1.0", "٣"] {
        rows.push(Row::new("B-F02", format!("version={version}"), edited(&[("version", &[version])]), &[400]));
    }
    for size in ["-1", "1.5", "NaN", "٣", "18446744073709551616", "", "1e9"] {
        let act: Act = Box::new(move |world| {
            let name = world.fresh("size");
            let base = world.draft(&name);
            Box::new(move |world| {
                ask("POST", format!("{base}/image?{}", serde_html_form::to_string([("name", "x.iso"), ("size", size)]).unwrap()))
                    .json()
                    .body("application/octet-stream", iso("SIZE")[..65_536].to_vec())
                    .send(world)
            })
        });
        rows.push(Row::new("B-F02", format!("a file of size={size}"), act, &[400]).words(&["size is missing"]));
    }
    rows
}

fn storages() -> Vec<Row> {
    let chosen = |what: &str, storage: fn(&mut World) -> String, status: u16, word: &str| {
        let act: Act = Box::new(move |world| {
            let (base, storage) = (begun(world), storage(world));
            Box::new(move |world| ask("POST", format!("{base}/configuration")).form(&[("storage", &*storage), ("os", "other")]).send(world))
        });
        Row::new("B-F03", what, act, &[status]).words(&[word])
    };
    let why = "a storage that cannot be chosen is a fault of its field: the form comes back with 422 (PRODUCT.md section 2)";
    let mut rows = vec![
        chosen("no storage", |_| String::new(), 422, "Choose the storage"),
        chosen("a storage that is unknown", |_| vmimg::domain::ids::StorageId::new().to_string(), 422, "does not exist").differs(why),
        chosen("a storage that is no identifier", |_| "../../etc".to_owned(), 422, "Choose the storage").differs(why),
        chosen("a cluster instead of a storage", |world| world.cluster.clone(), 422, "does not exist").differs(why),
        chosen("a storage in capitals", |world| world.storage.to_uppercase(), 422, "Choose the storage").differs(why),
    ];
    for (what, health, word) in
        [("a storage that is removed", "removed", "removed"), ("a storage that is degraded", "degraded", "degraded")]
    {
        let act: Act = Box::new(move |world| {
            let id = vmimg::domain::ids::StorageId::new().to_string();
            world.sql(&format!(
                "INSERT INTO storages (id, kind, host_id, name, name_key, path, path_key, health, cause, health_since, checked_at, capacity_bytes, free_bytes, unknown_files, created_at, version) \
                 VALUES ('{id}', 'datastore', NULL, '{health}', NULL, '/nowhere/{health}', NULL, '{health}', 'as a test has it', 0, 0, 1000000000, 1000000000, 0, 0, 1)"
            ));
            let base = begun(world);
            Box::new(move |world| {
                let answer = ask("POST", format!("{base}/configuration")).form(&[("storage", &*id), ("os", "other")]).send(world);
                world.sql(&format!("DELETE FROM storages WHERE id = '{id}'"));
                answer
            })
        });
        rows.push(Row::new("B-F03", what, act, &[422]).words(&[word]).left(Left::Nothing(&[("storages", -1)])).differs(why));
    }
    for (what, path) in [
        ("a storage's page under the other kind", "/datastores/{storage}"),
        ("a storage's form under the other kind", "/datastores/{storage}/edit"),
        ("an unknown storage", "/datastores/01900000-0000-7000-8000-000000000000"),
        ("a cluster as a host", "/hosts/{cluster}"),
    ] {
        let act: Act = Box::new(move |_| {
            Box::new(move |world| ask("GET", path.replace("{storage}", &world.storage).replace("{cluster}", &world.cluster)).send(world))
        });
        rows.push(Row::new("B-F03", what, act, &[404]));
    }
    rows
}

fn steps() -> Vec<Row> {
    let leads = |what: &str, step: &'static str, reached: u8, to: &'static str| {
        let act: Act = Box::new(move |world| {
            let base = match reached {
                0 => ask("GET", "/images/new").send(world).location().strip_suffix("/general").unwrap().to_owned(),
                1 => begun(world),
                _ => {
                    let name = world.fresh("steps");
                    world.draft(&name)
                }
            };
            Box::new(move |world| ask("GET", format!("{base}/{step}")).send(world))
        });
        Row::new("B-F05", what, act, &[303])
            .also(move |_, answer| so(answer.location().ends_with(to), || format!("it leads to {}", answer.location())))
    };
    let refused = |what: &str, path: &'static str, reached: u8, status: &[u16]| {
        let act: Act = Box::new(move |world| {
            let base = if reached == 0 {
                ask("GET", "/images/new").send(world).location().strip_suffix("/general").unwrap().to_owned()
            } else {
                begun(world)
            };
            Box::new(move |world| match path {
                "create" => {
                    ask("POST", format!("{base}/create")).body("multipart/form-data; boundary=b", form("x.iso", &iso("STEPS"))).send(world)
                }
                "image" => world.announce(&base, "x.iso", &iso("STEPS")),
                path => ask("POST", format!("{base}/{path}")).form(&[("storage", &*world.storage.clone()), ("os", "other")]).send(world),
            })
        });
        Row::new("B-F05", what, act, status)
    };
    vec![
        leads("the second step without the first", "configuration", 0, "/general"),
        leads("the third step without the first", "summary", 0, "/general"),
        leads("the third step without the second", "summary", 1, "/configuration"),
        refused("the second form without the first", "configuration", 0, &[404]),
        refused("the last form without any", "create", 0, &[404]),
        refused("the last form without the second", "create", 1, &[422]).words(&["Choose the storage"]),
        refused("the script's form without any", "image", 0, &[404]),
        refused("the script's form without the second", "image", 1, &[422]).words(&["storage.none"]),
        Row::new(
            "B-F05",
            "back, and another name",
            Box::new(|world| {
                let base = world.draft("before going back");
                Box::new(move |world| {
                    let back = ask("POST", format!("{base}/general"))
                        .form(&[("name", "after going back"), ("kind", "installation"), ("back", "summary")])
                        .follow(world);
                    let page = back.page.as_ref().unwrap();
                    if !page.words().contains("after going back") || page.words().contains("before going back") {
                        world.problems.push(page.words());
                    }
                    back
                })
            }),
            &[303],
        ),
        Row::new(
            "B-F05",
            "two wizards at once",
            Box::new(|world| {
                let (one, other) = (world.draft("left tab"), world.draft("right tab"));
                Box::new(move |world| {
                    ask("POST", format!("{one}/general")).form(&[("name", "left tab again"), ("kind", "installation")]).send(world);
                    let (left, right) =
                        (ask("GET", format!("{one}/summary")).send(world), ask("GET", format!("{other}/summary")).send(world));
                    if !left.words().contains("left tab again")
                        || !right.words().contains("right tab")
                        || right.words().contains("left tab")
                    {
                        world.problems.push(format!("{} / {}", left.words(), right.words()));
                    }
                    right
                })
            }),
            &[200],
        ),
        Row::new(
            "B-F05",
            "somebody else's wizard",
            Box::new(|world| {
                let base = world.draft("mine alone");
                let (jar, _) = world.user("second@example.org", "administrator");
                Box::new(move |world| {
                    let mut jar = jar;
                    let general = ask("GET", format!("{base}/summary")).send_as(world, &mut jar);
                    let sent = ask("POST", format!("{base}/general"))
                        .form(&[("name", "stolen"), ("kind", "installation")])
                        .send_as(world, &mut jar);
                    if general.words().contains("mine alone") || sent.status != 404 {
                        world.problems.push(format!("{} {}: {}", general.status, sent.status, general.words()));
                    }
                    sent
                })
            }),
            &[404],
        ),
        Row::new(
            "B-F06",
            "an edit of what was changed meanwhile",
            Box::new(|world| {
                let (id, version) = image(world);
                world.sql(&format!("UPDATE images SET note = 'their note', version = version + 1 WHERE id = '{id}'"));
                Box::new(move |world| {
                    ask("POST", format!("/images/{id}/edit"))
                        .form(&[("name", "stale"), ("note", "my note"), ("os", "other"), ("version", &version)])
                        .send(world)
                })
            }),
            &[409],
        )
        .words(&["their note", "my note", "Somebody else saved this image"]),
        Row::new(
            "B-F06",
            "a deletion of what was changed meanwhile",
            Box::new(|world| {
                let (id, version) = image(world);
                world.sql(&format!("UPDATE images SET version = version + 1 WHERE id = '{id}'"));
                Box::new(move |world| ask("POST", format!("/images/{id}/deletion")).form(&[("version", &*version)]).send(world))
            }),
            &[409],
        )
        .words(&["changed this"]),
        Row::new(
            "B-F06",
            "a cluster that was changed meanwhile",
            Box::new(|_| {
                Box::new(|world| {
                    ask("POST", format!("/clusters/{}/edit", world.cluster))
                        .form(&[("name", "stale"), ("note", ""), ("version", "1000")])
                        .send(world)
                })
            }),
            &[409],
        ),
    ]
}

fn filters() -> Vec<Row> {
    let page = |id: &'static str, query: &str| {
        Row::new(id, format!("/images?{query:.60}"), get(format!("/images?{query}")), &[200, 303, 400])
            .also(|_, answer| so(answer.took < std::time::Duration::from_secs(5), || format!("it took {:?}", answer.took)))
    };
    let mut rows = Vec::new();
    for query in [
        "page=0",
        "page=-1",
        "page=1000000000000000000",
        "size=1000000",
        "size=-1",
        "size=0",
        "sort=password_hash",
        "sort=--name",
        "sort=name;DROP",
        "after=",
        "after=x",
        "before=x",
        "after=name.t:x.nonsense",
        "after=created.99999999999999999999.01900000-0000-7000-8000-000000000000",
        "after=created.1.00000000-0000-0000-0000-000000000000&sort=name",
        "after=created.1.01900000-0000-7000-8000-000000000000&before=created.2.01900000-0000-7000-8000-000000000000",
        "after=created.-9223372036854775808.01900000-0000-7000-8000-000000000000",
        "sort=name&after=name.t%3A%00.01900000-0000-7000-8000-000000000000",
        "q=a&q=b",
        "type=installation&type=x&type=",
        "status[]=available",
        "storage=x",
        "cluster=x",
    ] {
        rows.push(page("B-F07", query));
    }
    rows.push(
        Row::new("B-F07", "no more than a hundred rows", get("/images?size=1000000"), &[200])
            .also(|_, answer| so(answer.texts("tbody tr").len() <= 100, || "more".to_owned())),
    );
    let many: String = (0..600).map(|_| format!("storage={}&", vmimg::domain::ids::StorageId::new())).collect();
    rows.push(page("B-F08", &many[..15_000]));
    rows.push(page("B-F08", &"os=other&".repeat(1_700)));
    rows.push(Row::new("B-F08", "a filter of 10,000 values", get(format!("/images?{}", "os=other&".repeat(10_000))), &[400, 414, 431]));
    rows.push(Row::new("B-F08", "a search of 1 MiB", get(format!("/images?q={}", "a".repeat(1 << 20))), &[400, 414, 431, 0]));
    rows.push(Row::new("B-F08", "a search of 10,000 letters", get(format!("/images?q={}", "a".repeat(10_000))), &[200]));
    // Literal: each finds the one image that has it in its name, and no other.
    for (text, matches) in [
        ("100%", true),
        ("100_", false),
        ("under_score", true),
        ("under%score", false),
        ("back\\slash", true),
        ("\"quoted\"", true),
        ("star*", true),
        ("NEAR(a", true),
        ("a AND", true),
        ("(paren", true),
        ("col:on", true),
        ("-minus", true),
        ("'apostrophe", true),
        ("%%", false),
        ("__", false),
        ("***", false),
        ("\"", true),
        ("\\", true),
        ("%", true),
        ("_", true),
    ] {
        let act: Act = Box::new(move |world| {
            if world.number("SELECT COUNT(*) AS n FROM images WHERE name LIKE 'literal %'") == 0 {
                world.image(
                    "literal 100% under_score back\\slash \"quoted\" star* NEAR(a b) a AND b (paren) col:on -minus 'apostrophe'",
                    &iso("LITERAL"),
                );
            }
            let query = serde_html_form::to_string([("q", text)]).unwrap();
            Box::new(move |world| ask("GET", format!("/images?{query}")).send(world))
        });
        rows.push(Row::new("B-F08", format!("a search for {text}"), act, &[200]).also(move |_, answer| {
            let found: Vec<String> = answer.texts("tbody tr").into_iter().filter(|row| row.contains("literal")).collect();
            // A search of less than three characters matches the beginning of the name where the issue has it so.
            so(found.is_empty() != matches || text.chars().count() < 3, || format!("{} rows", found.len()))?;
            so(answer.texts("tbody tr").len() <= 1 || text.chars().count() < 3, || "others as well".to_owned())
        }));
    }
    rows
}

/// Injection at every parameter of every form and query, told by what comes back: an error of the database, another answer for another
/// truth, or a statement that takes its time.
fn injection() -> Vec<Row> {
    let act: Act = Box::new(|world| {
        let (id, _) = image(world);
        Box::new(move |world| {
            let parameters = ["q", "type", "status", "os", "storage", "cluster", "sort", "after", "before", "size", "next", "code", "back"];
            let pages = ["/images", "/images.csv", "/events", "/events.csv", "/sign-in", "/setup", "/datastores", "/clusters"];
            let slow = if world.postgres.is_some() { "(SELECT 1 FROM pg_sleep(4))" } else { "(SELECT randomblob(300000000))" };
            for path in pages {
                for parameter in parameters {
                    let plain = ask("GET", format!("{path}?{parameter}=zzzz")).send(world);
                    for payload in [
                        "zzzz' AND '1'='1",
                        "zzzz' OR '1'='1",
                        "zzzz\" OR \"1\"=\"1",
                        "zzzz') OR ('1'='1",
                        "zzzz'; --",
                        "1 OR 1=1",
                        &format!("zzzz'||{slow}||'"),
                        &format!("1 AND 1={slow}"),
                        &format!("zzzz'; SELECT {slow}; --"),
                    ] {
                        let answer =
                            ask("GET", format!("{path}?{}", serde_html_form::to_string([(parameter, payload)]).unwrap())).send(world);
                        let words = answer.words().to_lowercase();
                        let error = ["syntax error", "sqlite", "sqlstate", "diesel", "unterminated", "no such column"]
                            .iter()
                            .find(|word| words.contains(**word));
                        if answer.status != plain.status
                            || error.is_some()
                            || answer.took > std::time::Duration::from_secs(3)
                            || (path == "/images" && answer.texts("tbody tr").len() > plain.texts("tbody tr").len())
                        {
                            world
                                .problems
                                .push(format!("{path}?{parameter}={payload}: {} after {:?} {error:?}", answer.status, answer.took));
                        }
                    }
                }
            }
            for field in ["name", "note", "os", "min_vcpu", "version"] {
                for payload in ["x' OR '1'='1", "x'; DELETE FROM events; --", "x\\'; --"] {
                    let fields = [("name", "injected"), ("note", ""), ("os", "other"), ("min_vcpu", ""), ("version", "0")]
                        .map(|(name, value)| (name, if name == field { payload } else { value }));
                    let answer = ask("POST", format!("/images/{id}/edit")).form(&fields).send(world);
                    if !matches!(answer.status, 400 | 409 | 422) {
                        world.problems.push(format!("{field}={payload}: {}", answer.status));
                    }
                }
            }
            Answer::of(200)
        })
    });
    vec![
        Row::new("B-F09", "injection at each of 13 parameters of 8 pages and 5 fields", act, &[200])
            .differs("sqlmap itself runs in `make audit`; here are its kinds of probe (error, truth, union, time) at every parameter"),
    ]
}

fn invented() -> Vec<Row> {
    let mut rows = Vec::new();
    let extra = [
        ("status", "available"),
        ("owner", "eve"),
        ("sha256", "00"),
        ("id", "x"),
        ("created_at", "0"),
        ("created", "0"),
        ("size_bytes", "1"),
        ("kind", "base"),
        ("storage", "x"),
        ("storage_id", "x"),
        ("reserved_bytes", "9"),
        ("role", "administrator"),
        ("file_state", "missing"),
        ("format", "x"),
    ];
    let act: Act = Box::new(move |world| {
        let (id, version) = image(world);
        Box::new(move |world| {
            let state = "status || ' ' || COALESCE(sha256, '') || ' ' || id || ' ' || CAST(created_at AS TEXT) || ' ' || CAST(size_bytes AS TEXT) || ' ' || kind || ' ' || storage_id || ' ' || CAST(reserved_bytes AS TEXT) || ' ' || COALESCE(created_by, '') || ' ' || file_state || ' ' || COALESCE(format, '')";
            let look = format!("SELECT {state} AS t FROM images WHERE id = '{id}'");
            let before = world.text(&look);
            let fields: Vec<(&str, &str)> =
                [("name", "extra fields"), ("note", ""), ("os", "other"), ("version", &*version)].into_iter().chain(extra).collect();
            let answer = ask("POST", format!("/images/{id}/edit")).form(&fields).send(world);
            let after = world.text(&look);
            if before != after {
                world.problems.push(format!("{before} became {after}"));
            }
            answer
        })
    });
    rows.push(
        Row::new("B-F10", "fields that the edit form does not have", act, &[303])
            .left(Left::Nothing(&[("events", 1), ("jobs", 0)]))
            .left(Left::Changed),
    );
    let act: Act = Box::new(move |world| {
        let base = world.draft("extra parts");
        Box::new(move |world| {
            let mut body = Vec::new();
            for (name, value) in extra {
                part(&mut body, "b", name, None, value.as_bytes());
            }
            body.extend_from_slice(&form("x.iso", &iso("EXTRA")));
            ask("POST", format!("{base}/create")).body("multipart/form-data; boundary=b", body).send(world)
        })
    });
    rows.push(Row::new("B-F10", "parts that the form with the file does not have", act, &[303]).left(Left::Available));
    let act: Act = Box::new(|_| {
        Box::new(|world| {
            let user = "SELECT role || ' ' || email || ' ' || CAST(disabled AS TEXT) || ' ' || password_hash AS t FROM users WHERE email = 'ada@example.org'";
            let before = world.text(user);
            let answer = ask("POST", "/account/preferences")
                .form(&[
                    ("shortcuts", "on"),
                    ("role", "no_access"),
                    ("email", "eve@example.org"),
                    ("disabled", "1"),
                    ("password_hash", "x"),
                    ("user_id", "x"),
                ])
                .send(world);
            if world.text(user) != before {
                world.problems.push("the user changed".to_owned());
            }
            answer
        })
    });
    rows.push(Row::new("B-F10", "fields that the preferences do not have", act, &[303]));
    rows
}

/// A third unfinished image where two are the most.
fn limit(script: bool) -> Act {
    Box::new(move |world| {
        let unfinished = world.number("SELECT COUNT(*) AS n FROM images WHERE status IN ('pending', 'uploading')");
        for n in unfinished..2 {
            let base = world.draft(&format!("unfinished {n}"));
            let made = world.announce(&base, "x.iso", &iso_of("UNFINISHED", 60));
            assert_eq!(made.status, 201, "{}", made.words());
        }
        let name = world.fresh("one more");
        let base = world.draft(&name);
        Box::new(move |world| {
            if script {
                world.announce(&base, "x.iso", &iso("MORE"))
            } else {
                ask("POST", format!("{base}/create")).body("multipart/form-data; boundary=b", form("x.iso", &iso("MORE"))).send(world)
            }
        })
    })
}
