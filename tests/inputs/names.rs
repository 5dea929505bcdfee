//! Group N: names, notes, and every other text that people type and others read.

use unicode_normalization::UnicodeNormalization;
use vmimg::domain::text::{self, Name};

use super::{
    Batch,
    answer::Answer,
    fixtures::{iso, iso_of},
    strings,
    table::{Act, Left, Row, so},
    usual,
    world::{World, ask, part},
};

/// Most problems that one row tells; the rest is more of the same.
const TOLD: usize = 8;

/// A step that does something with one image of this name.
fn with_image(name: &'static str, step: impl FnOnce(&mut World, &str) -> Answer + 'static) -> Act {
    Box::new(move |world| {
        let name = world.fresh(name);
        let id = world.image(&name, &iso_of("NAMES", 50));
        world.free_names(&id);
        Box::new(move |world| step(world, &id))
    })
}

/// Sends the edit form of an image.
fn edit(world: &mut World, id: &str, name: &str, note: &str) -> Answer {
    let version = world.number(&format!("SELECT version AS n FROM images WHERE id = '{id}'")).to_string();
    ask("POST", format!("/images/{id}/edit")).form(&[("name", name), ("note", note), ("os", "other"), ("version", &version)]).send(world)
}

/// Changes what a form at this path names, whose table has a version.
fn rename(world: &mut World, path: &str, table: &str, name: &str, more: &[(&str, &str)]) -> Answer {
    let id = path.rsplit('/').next().unwrap().to_owned();
    let version = world.number(&format!("SELECT version AS n FROM {table} WHERE id = '{id}'")).to_string();
    let fields = [&[("name", name), ("version", &version)], more].concat();
    ask("POST", format!("{path}/edit")).form(&fields).send(world)
}

fn tell(world: &mut World, wrong: Result<(), String>) {
    if let Err(words) = wrong
        && world.problems.len() < TOLD
    {
        world.problems.push(words);
    }
}

/// Whether a page shows this text as a text: somewhere its element has just that, and its source never has it as it is.
fn shows(page: &Answer, text: &str) -> Result<(), String> {
    so(page.status == 200, || format!("{text:?}: {}", page.status))?;
    is_escaped(page, text)?;
    so(page.texts("bdi").iter().any(|shown| shown == text), || format!("{text:?} is not shown: {:?}", page.texts("bdi")))
}

/// Whether the source of a page does not have the text as markup.
fn is_escaped(page: &Answer, text: &str) -> Result<(), String> {
    let risky = text.contains('<') && text.len() > 1;
    so(!risky || !page.text().contains(text), || format!("{text:?} stands in the source as it is"))
}

/// The name as it must be kept, or that it must be refused.
fn rule(typed: &str) -> Option<String> {
    Name::parse("name", typed).ok().map(|name| name.as_str().to_owned())
}

/// One answer for a row of many steps.
fn done() -> Answer {
    Answer::of(200)
}

pub fn rows() -> Vec<Batch> {
    let mut rows = Vec::new();
    for (what, name) in [
        ("nothing", ""),
        ("spaces", "   "),
        ("U+200B", "\u{200b}"),
        ("U+3164", "\u{3164}"),
        ("U+2800", "\u{2800}"),
        ("tags", "\u{e0041}\u{e0042}"),
        ("a soft hyphen", "\u{ad}"),
    ] {
        rows.push(Row::new("B-N01", what, with_image("n01", move |world, id| edit(world, id, name, "")), &[422]).words(&["Give a name"]));
    }
    for name in [
        ".",
        "..",
        "../.",
        ".iso",
        "-rf",
        "--help",
        "a/b",
        "a\\b",
        "C:\\x.iso",
        "a\u{2044}b",
        "a\u{ff0f}b",
        "../../../etc/passwd",
        "CON",
        "nul.iso",
        "COM1",
        "LPT9.txt",
        "aux ",
        "name.",
        "name. .",
        "name ",
        "$(reboot)",
        "%2e%2e%2f",
    ] {
        let id = match name {
            "a/b" | "a\\b" | "C:\\x.iso" | "a\u{2044}b" | "a\u{ff0f}b" => "B-N03",
            "CON" | "nul.iso" | "COM1" | "LPT9.txt" | "aux " | "name." | "name. ." | "name " => "B-N15",
            _ => "B-N02",
        };
        rows.push(Row::new(id, name, with_image("n02", move |world, id| stored_as_text(world, id, name)), &[200]).left(Left::Changed));
    }
    rows.push(Row::new("B-N03", "NUL", with_image("n03", |world, id| edit(world, id, "a\0b", "")), &[422]).words(&["cannot be seen"]));
    rows.extend(lengths());
    rows.extend(taken());
    rows.extend(naughty());
    rows.push(Row::new("B-N07", "every character that decomposes: one key for all its forms", Box::new(|_| Box::new(normalised)), &[200]));
    rows.push(
        Row::new(
            "B-N07",
            "two hundred of them as names of clusters: the second form is taken",
            Box::new(|_| Box::new(normalised_clusters)),
            &[200],
        )
        .left(Left::Changed),
    );
    for mark in ["\u{202a}", "\u{202b}", "\u{202d}", "\u{202e}", "\u{2066}", "\u{2067}", "\u{2068}", "\u{2069}", "\u{202c}"] {
        rows.push(
            Row::new(
                "B-N08",
                format!("U+{:04X} in a name", mark.chars().next().unwrap() as u32),
                with_image("n08", move |world, id| edit(world, id, &format!("a{mark}b"), "")),
                &[422],
            )
            .words(&["cannot be seen"]),
        );
    }
    for name in ["Z̮̞̠͙͔ͅḀ̗̞͈̻̗Ḷ͙͎̯̹̞͓G̻O̭̗̮", "👨‍👩‍👧‍👦 🏳️‍🌈", "اَلْعَرَبِيَّةُ", "a\u{200f}b"]
    {
        rows.push(
            Row::new(
                "B-N08",
                format!("{name} stands alone in its element"),
                with_image("n08", move |world, id| stored_as_text(world, id, name)),
                &[200],
            )
            .left(Left::Changed),
        );
    }
    rows.extend(broken_text());
    rows.push(
        Row::new(
            "B-N10",
            "markup in list, page, title, trail, history, form, CSV",
            Box::new(|world| {
                let id = world.image("markup", &iso_of("MARKUP", 50));
                world.free_names(&id);
                Box::new(move |world| markup_everywhere(world, &id))
            }),
            &[200],
        )
        .left(Left::Changed),
    );
    rows.push(Row::new("B-N11", "attack lines in search, filter, order, page, path, cookie", Box::new(|_| Box::new(attacks)), &[200]));
    rows.push(Row::new("B-N12", "formulas in CSV", with_image("n12", formulas), &[200]).left(Left::Changed));
    rows.push(Row::new("B-N13", "odd names of downloads", with_image("n13", download_names), &[200]).left(Left::Changed));
    rows.push(
        Row::new(
            "B-N16",
            "10,000 names with the same 200 characters",
            Box::new(|world| {
                let id = world.image("many", &iso("MANY"));
                Box::new(move |world| same_prefix(world, &id))
            }),
            &[200],
        )
        .left(Left::Changed),
    );
    let logged = Batch {
        settings: &[("log_format", "json"), ("log", "debug")],
        rows: vec![Row::new("B-N14", "line breaks and escapes in log and audit", with_image("n14", logged), &[200]).left(Left::Changed)],
    };
    vec![usual(rows), logged]
}

/// A name is kept as a text, and no file, option or path comes of it.
fn stored_as_text(world: &mut World, id: &str, name: &str) -> Answer {
    let before = super::world::files_below(&world.media());
    let answer = edit(world, id, name, name);
    tell(world, so(answer.status == 303, || format!("{}: {}", answer.status, answer.words())));
    let stored = world.text(&format!("SELECT name AS t FROM images WHERE id = '{id}'"));
    tell(world, so(Some(&stored) == rule(name).as_ref(), || format!("stored {stored:?}")));
    let page = ask("GET", format!("/images/{id}")).send(world);
    tell(world, shows(&page, &stored));
    let download = ask("GET", format!("/images/{id}/download")).send(world);
    tell(world, so(download.status == 200 && download.body == iso_of("NAMES", 50), || format!("download {}", download.status)));
    tell(world, is_safe_download(download.header("content-disposition")));
    // A job writes the file's description anew, beside the old one and then over it.
    let settled =
        world.until(std::time::Duration::from_secs(5), |world| super::world::files_below(&world.media()).keys().eq(before.keys()));
    tell(world, so(settled, || "files came or went".to_owned()));
    download
}

/// Whether the file name of a download is one that every system takes.
fn is_safe_download(disposition: &str) -> Result<(), String> {
    let name = disposition.strip_prefix("attachment; filename*=UTF-8''").ok_or_else(|| disposition.to_owned())?;
    so(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%._".contains(&byte)), || format!("{name} is not encoded"))?;
    let decoded: String =
        serde_html_form::from_str::<Vec<(String, String)>>(&format!("a={}", name.replace('+', "%2B"))).unwrap().remove(0).1;
    let stem = decoded.split('.').next().unwrap_or_default().trim().to_uppercase();
    let device = ["CON", "PRN", "AUX", "NUL", "COM1", "LPT9"].contains(&stem.as_str());
    let odd = decoded.contains(['/', '\\', ':', '*', '?', '"', '<', '>', '|']) || decoded.chars().any(char::is_control);
    so(!device && !odd && decoded.to_lowercase().ends_with(".iso") && !decoded.starts_with(' '), || format!("saved as {decoded:?}"))
}

fn lengths() -> Vec<Row> {
    let row = |what: &str, name: String, note: String, status: u16| {
        Row::new("B-N04", what, with_image("n04", move |world, id| edit(world, id, &name, &note)), &[status])
    };
    let fits = |row: Row| row.left(Left::Changed);
    vec![
        fits(row("255 letters", "x".repeat(255), String::new(), 303)),
        fits(row("255 letters of four bytes", "\u{1f4bf}".repeat(255), String::new(), 303)),
        row("256 letters", "x".repeat(256), String::new(), 422).words(&["256 characters", "at most 255"]),
        row("4,096 letters", "x".repeat(4_096), String::new(), 422).words(&["at most 255"]),
        fits(row("a note of 4,096 letters", "note 1".to_owned(), "y".repeat(4_096), 303)),
        row("a note of 4,097 letters", "note 2".to_owned(), "y".repeat(4_097), 422).words(&["4097 characters", "at most 4096"]),
        row("a note of 1 MiB", "note 3".to_owned(), "y".repeat(1 << 20), 413)
            .words(&["256 KiB"])
            .differs("a form of more than 256 KiB is refused as too large before its fields are looked at; the answer names that limit"),
    ]
}

fn taken() -> Vec<Row> {
    let mut rows = Vec::new();
    for (n, (one, other)) in [
        ("é", "e\u{301}"),
        ("straße", "STRASSE"),
        ("İ", "i\u{307}"),
        ("K", "\u{212a}"),
        ("ﬁle", "FILE"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("Å", "\u{212b}"),
        ("각", "\u{1100}\u{1161}\u{11a8}"),
        ("same", "  SAME "),
    ]
    .into_iter()
    .enumerate()
    {
        let act: Act = Box::new(move |world| {
            world.image(&format!("t{n} {one}"), &iso(&format!("T{n}")));
            let begun = ask("GET", "/images/new").send(world).location().strip_suffix("/general").unwrap().to_owned();
            let general = ask("POST", format!("{begun}/general"))
                .form(&[("name", &*format!("t{n} {}", other.trim())), ("kind", "installation")])
                .send(world);
            assert_eq!(general.status, 303);
            Box::new(move |world| {
                let storage = world.storage.clone();
                ask("POST", format!("{begun}/configuration")).form(&[("storage", &*storage), ("os", "other")]).send(world)
            })
        });
        rows.push(Row::new("B-N05", format!("{one}, then {other:?}"), act, &[409]).words(&["on this storage already"]));
    }
    // The dotted capital I and the small i are two letters in full case folding, as Unicode has it without a language.
    let act: Act = Box::new(|world| {
        world.image("ti İ", &iso("TI"));
        Box::new(|world| {
            let base = world.draft("ti i");
            ask("GET", format!("{base}/summary")).send(world)
        })
    });
    rows.push(
        Row::new("B-N05", "İ, then i", act, &[200]).left(Left::Nothing(&[("drafts", 1)])).differs(
            "İ folds to i with a dot above (Unicode, full folding, no language): it is the same as that, and another than a plain i",
        ),
    );
    rows
}

/// All texts at each place where a text can be typed.
fn naughty() -> Vec<Row> {
    assert!(strings::all().len() >= 515, "only {} texts", strings::all().len());
    let row =
        |place: &str, act: Act| Row::new("B-N06", format!("{} texts as {place}", strings::all().len()), act, &[200]).left(Left::Changed);
    vec![
        row(
            "name of an image",
            with_image("n06", |world, id| {
                for text in strings::all() {
                    let answer = edit(world, id, &text, "");
                    let page = ask("GET", format!("/images/{id}")).send(world);
                    one_name(world, &text, &answer, &page, &format!("SELECT name AS t FROM images WHERE id = '{id}'"));
                }
                done()
            }),
        ),
        row(
            "note",
            with_image("n06", |world, id| {
                for text in strings::all() {
                    let expected = text::parse_note("note", &text).ok();
                    let answer = edit(world, id, "noted", &text);
                    tell(world, so(answer.status == if expected.is_some() { 303 } else { 422 }, || format!("{text:?}: {}", answer.status)));
                    let Some(expected) = expected else { continue };
                    let kept = world.text(&format!("SELECT note AS t FROM images WHERE id = '{id}'"));
                    tell(world, so(kept == expected, || format!("{text:?} is kept as {kept:?}")));
                    let page = ask("GET", format!("/images/{id}")).send(world);
                    tell(world, is_escaped(&page, &text));
                }
                done()
            }),
        ),
        row(
            "search",
            Box::new(|_| {
                Box::new(|world| {
                    for text in strings::all() {
                        let query = serde_html_form::to_string([("q", &text)]).unwrap();
                        let page = ask("GET", format!("/images?{query}")).send(world);
                        let expected: String = text
                            .trim()
                            .chars()
                            .filter(|c| !c.is_control())
                            .take(255)
                            .map(|c| if text::is_noncharacter(c) { '\u{fffd}' } else { c })
                            .collect();
                        let field = page.attributes("input[name=q]", "value").into_iter().next().unwrap_or_default();
                        tell(world, so(page.status == 200 && field == expected, || format!("{text:?}: {} and {field:?}", page.status)));
                        tell(world, is_escaped(&page, &text));
                        let csv = ask("GET", format!("/images.csv?{query}")).send(world);
                        tell(world, so(csv.status == 200, || format!("{text:?}: {} as CSV", csv.status)));
                    }
                    done()
                })
            }),
        )
        .left(Left::Nothing(&[])),
        row(
            "filter, order and page",
            Box::new(|_| {
                Box::new(|world| {
                    for text in strings::all() {
                        let pairs: Vec<(&str, &str)> = ["type", "status", "os", "storage", "cluster", "sort", "after", "before", "size"]
                            .iter()
                            .map(|name| (*name, &*text))
                            .collect();
                        let page = ask("GET", format!("/images?{}", serde_html_form::to_string(&pairs).unwrap())).send(world);
                        let long = serde_html_form::to_string(&pairs).unwrap().len() > 16_000;
                        tell(world, so(page.status == if long { 414 } else { 200 }, || format!("{text:?}: {}", page.status)));
                        tell(world, is_escaped(&page, &text));
                        let events = ask(
                            "GET",
                            format!(
                                "/events?{}",
                                serde_html_form::to_string([
                                    ("who", &text),
                                    ("action", &text),
                                    ("object", &text),
                                    ("q", &text),
                                    ("from", &text),
                                    ("after", &text)
                                ])
                                .unwrap()
                            ),
                        )
                        .send(world);
                        tell(world, so(matches!(events.status, 200 | 303) || long, || format!("{text:?}: {} of events", events.status)));
                        tell(world, is_escaped(&events, &text));
                    }
                    done()
                })
            }),
        )
        .left(Left::Nothing(&[])),
        row(
            "operating system and requirements",
            with_image("n06", |world, id| {
                for text in strings::all() {
                    let version = world.number(&format!("SELECT version AS n FROM images WHERE id = '{id}'")).to_string();
                    let fields = [
                        ("name", "n06 os"),
                        ("note", ""),
                        ("os", &*text),
                        ("min_vcpu", &*text),
                        ("min_memory_mib", &*text),
                        ("min_disk_gib", &*text),
                        ("version", &version),
                    ];
                    let answer = ask("POST", format!("/images/{id}/edit")).form(&fields).send(world);
                    tell(world, so(answer.status == 422, || format!("{text:?}: {}", answer.status)));
                    tell(world, is_escaped(&answer, &text));
                }
                done()
            }),
        )
        .left(Left::Nothing(&[])),
        row(
            "name of a storage",
            Box::new(|_| {
                Box::new(|world| {
                    let (path, folder) = (format!("/local-storages/{}", world.storage), world.media().join("local").display().to_string());
                    for text in strings::all() {
                        let answer = rename(world, &path, "storages", &text, &[("path", &folder)]);
                        let page = ask("GET", path.clone()).send(world);
                        one_name(world, &text, &answer, &page, "SELECT name AS t FROM storages");
                    }
                    rename(world, &path, "storages", "local", &[("path", &folder)])
                })
            }),
        ),
        row(
            "name of a cluster",
            Box::new(|_| {
                Box::new(|world| {
                    let path = format!("/clusters/{}", world.cluster);
                    for text in strings::all() {
                        let answer = rename(world, &path, "clusters", &text, &[("note", &text)]);
                        let page = ask("GET", path.clone()).send(world);
                        if text::parse_note("note", &text).is_ok() {
                            one_name(world, &text, &answer, &page, "SELECT name AS t FROM clusters");
                        }
                    }
                    rename(world, &path, "clusters", "Default", &[("note", "")])
                })
            }),
        ),
        row(
            "name of a user",
            Box::new(|_| {
                Box::new(|world| {
                    for text in strings::all() {
                        let Some(name) = rule(&text) else { continue };
                        world.sql(&format!("UPDATE users SET name = '{}'", name.replace('\'', "''")));
                        let page = ask("GET", "/account").send(world);
                        tell(
                            world,
                            so(page.status == 200 && page.texts("bdi").iter().any(|shown| shown.contains(&name)), || {
                                format!("{name:?} is not shown")
                            }),
                        );
                        tell(world, is_escaped(&page, &name));
                    }
                    world.sql("UPDATE users SET name = 'Ada'");
                    done()
                })
            }),
        ),
        row(
            "e-mail address and password of a sign-in",
            Box::new(|_| {
                Box::new(|world| {
                    // Each attempt hashes a password and counts; a few dozen of each kind are enough here, and the rest were tried as names.
                    for text in strings::all().iter().step_by(24) {
                        let (_, answer) = world.sign_in(text, text);
                        tell(world, so(matches!(answer.status, 422 | 429), || format!("{text:?}: {}", answer.status)));
                        tell(world, is_escaped(&answer, text));
                    }
                    done()
                })
            }),
        )
        .left(Left::Nothing(&[])),
    ]
    .into_iter()
    .map(|mut row| {
        if row.what.ends_with("of a storage") || row.what.ends_with("of a cluster") {
            row.status = vec![303];
        }
        row
    })
    .collect()
}

/// A name was typed: it is refused and comes back as typed, or kept and shown.
fn one_name(world: &mut World, text: &str, answer: &Answer, page: &Answer, kept: &str) {
    match rule(text) {
        None => {
            tell(world, so(answer.status == 422, || format!("{text:?}: {} instead of 422", answer.status)));
            let field = answer.attributes("input[name=name]", "value").into_iter().next().unwrap_or_default();
            let plain = !text.chars().any(|c| c.is_control() || text::is_noncharacter(c));
            tell(world, so(!plain || field == text, || format!("{text:?} comes back as {field:?}")));
        }
        Some(expected) => {
            tell(world, so(answer.status == 303, || format!("{text:?}: {} instead of 303", answer.status)));
            let name = world.text(kept);
            tell(world, so(name == expected, || format!("{text:?} is kept as {name:?}")));
            tell(world, shows(page, &expected));
        }
    }
}

/// Lines as the normalisation test of Unicode has them: a text, its composed and its decomposed form, and the same among other marks.
fn forms_of(c: char) -> [[String; 3]; 2] {
    [c.to_string(), format!("a\u{315}\u{300}\u{5ae}{c}b")].map(|text| [text.nfc().collect(), text.nfd().collect(), text])
}

fn decomposing() -> impl Iterator<Item = char> {
    (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| {
        let one = std::iter::once(*c);
        !one.clone().nfd().eq(one.clone()) || !one.clone().nfc().eq(one)
    })
}

fn normalised(world: &mut World) -> Answer {
    let mut lines = 0;
    for c in decomposing() {
        for forms in forms_of(c) {
            lines += 1;
            let keys = forms.each_ref().map(|form| text::fold(form));
            let folded_twice = text::fold(&keys[0]);
            tell(
                world,
                so(keys[0] == keys[1] && keys[1] == keys[2] && folded_twice == keys[0], || {
                    format!("U+{:04X}: {keys:?} {folded_twice:?}", c as u32)
                }),
            );
        }
    }
    tell(world, so(lines > 19_074, || format!("only {lines} lines")));
    done()
}

fn normalised_clusters(world: &mut World) -> Answer {
    let all: Vec<char> = decomposing().collect();
    let path = format!("/clusters/{}", world.cluster);
    for c in all.iter().step_by(all.len() / 100) {
        let [_, [composed, decomposed, _]] = forms_of(*c);
        let named = rename(world, &path, "clusters", &composed, &[("note", "")]);
        let key = vmimg::domain::ids::SubmissionId::new().to_string();
        let second = ask("POST", "/clusters/new").form(&[("name", &decomposed), ("note", ""), ("key", &key)]).send(world);
        tell(
            world,
            so(named.status == 303 && second.status == 409, || format!("U+{:04X}: {} then {}", *c as u32, named.status, second.status)),
        );
    }
    rename(world, &path, "clusters", "Default", &[("note", "")]);
    done()
}

fn broken_text() -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, escaped) in [
        ("%FF", "%ff"),
        ("an overlong slash", "%c0%af"),
        ("a lone surrogate", "%ed%a0%80"),
        ("half a letter", "%c3"),
        ("beyond Unicode", "%f4%90%80%80"),
    ] {
        let body = move |world: &World, id: &str| {
            format!(
                "name=a{escaped}&note=&os=other&version={}",
                world.number(&format!("SELECT version AS n FROM images WHERE id = '{id}'"))
            )
        };
        rows.push(Row::new(
            "B-N09",
            format!("{what} in a field"),
            with_image("n09", move |world, id| {
                let body = body(world, id);
                ask("POST", format!("/images/{id}/edit")).body("application/x-www-form-urlencoded", body).send(world)
            }),
            &[400],
        ));
        rows.push(Row::new(
            "B-N09",
            format!("{what} in a query"),
            Box::new(move |_| Box::new(move |world| ask("GET", format!("/images?q={escaped}")).send(world))),
            &[400],
        ));
        rows.push(Row::new(
            "B-N09",
            format!("{what} in a path"),
            Box::new(move |_| Box::new(move |world| ask("GET", format!("/images/{escaped}")).send(world))),
            &[400, 404],
        ));
    }
    rows.push(Row::new(
        "B-N09",
        "bytes in a field",
        with_image("n09", |world, id| {
            ask("POST", format!("/images/{id}/edit"))
                .body("application/x-www-form-urlencoded", b"name=\xff\xfe&version=1".to_vec())
                .send(world)
        }),
        &[400],
    ));
    for (what, bytes) in [
        ("bytes in a header", &b"X-A: \xff\xc0\xaf\xed\xa0\x80\r\n"[..]),
        ("bytes in Accept", b"Accept: \xff\r\n"),
        ("bytes in a cookie", b"Cookie: vmimg-session=\xff\xfe\r\n"),
        ("bytes in Content-Type", b"Content-Type: \xff\r\n"),
        ("bytes in Referer", b"Referer: \xff\r\n"),
    ] {
        rows.push(
            Row::new(
                "B-N09",
                what,
                Box::new(move |_| {
                    Box::new(move |world| {
                        let head = [b"GET /images HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", bytes, b"\r\n"].concat();
                        world.exchange(&head, false)
                    })
                }),
                &[400, 303],
            )
            .differs("a header that the service does not read may hold any bytes (RFC 9110, 5.5); one that it reads counts as not given"),
        );
    }
    rows.push(Row::new(
        "B-N09",
        "bytes in the Host header",
        Box::new(|_| Box::new(|world| world.exchange(b"GET /sign-in HTTP/1.1\r\nHost: \xff\xfe\r\nConnection: close\r\n\r\n", false))),
        &[400],
    ));
    rows.push(Row::new(
        "B-N09",
        "bytes in the name of a file",
        Box::new(|world| {
            let base = world.draft("bytes");
            Box::new(move |world| {
                let mut body = Vec::new();
                part(&mut body, "b", "file", Some("QQ.iso"), &iso("BYTES"));
                let at = body.windows(2).position(|pair| pair == b"QQ").unwrap();
                body[at..at + 2].copy_from_slice(b"\xed\xa0");
                body.extend_from_slice(b"--b--\r\n");
                ask("POST", format!("{base}/create")).body("multipart/form-data; boundary=b", body).send(world)
            })
        }),
        &[400],
    ));
    rows
}

/// A few texts that would run, at every place where a name is shown.
fn markup_everywhere(world: &mut World, id: &str) -> Answer {
    for name in [
        "\"><svg onload=alert(1)>",
        "<script>alert(1)</script>",
        "{{7*7}}",
        "${7*7}",
        "javascript:alert(1)",
        "</title><script>alert(1)</script>",
        "</bdi><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "-->",
    ] {
        let saved = edit(world, id, name, name);
        tell(world, so(saved.status == 303, || format!("{name}: {}", saved.status)));
        let after = world.lead(saved);
        let flash = after.page.unwrap();
        tell(world, is_escaped(&flash, name));
        tell(world, so(flash.words().contains(name), || format!("{name}: the message after saving does not name it")));
        for path in [
            format!("/images/{id}"),
            format!("/images/{id}/events"),
            format!("/images/{id}/edit"),
            format!("/images/{id}/deletion"),
            "/images".to_owned(),
            "/events".to_owned(),
            format!("/images?{}", serde_html_form::to_string([("q", name)]).unwrap()),
        ] {
            let page = ask("GET", path.clone()).send(world);
            let has = page.status == 200 && page.words().contains(name)
                || path.ends_with("/edit") && page.attributes("input[name=name]", "value").contains(&name.to_owned());
            tell(world, so(has, || format!("{name}: {path} does not show it")));
            tell(world, is_escaped(&page, name));
            let own = page.attributes("script", "src").iter().all(|source| source.starts_with("/assets/"))
                && page.texts("script").iter().all(|text| text.trim().is_empty());
            let handlers = ["onload", "onerror", "onmouseover", "onclick", "onfocus"]
                .iter()
                .all(|event| page.attributes(&format!("[{event}]"), event).is_empty());
            tell(world, so(own && handlers, || format!("{name}: {path} has a script that is not ours")));
            tell(
                world,
                so(page.attributes("a", "href").iter().all(|href| href.starts_with(['/', '#', '?'])), || {
                    format!("{name}: {path} leads elsewhere")
                }),
            );
        }
        let shown = ask("GET", format!("/images/{id}")).send(world);
        tell(
            world,
            so(shown.texts("title").iter().any(|title| title.contains(name)), || {
                format!("{name}: not in the title {:?}", shown.texts("title"))
            }),
        );
        let csv = ask("GET", "/images.csv").send(world).text();
        tell(world, so(csv.contains(&name.replace('"', "\"\"")), || format!("{name}: not in the CSV")));
    }
    done()
}

fn attacks(world: &mut World) -> Answer {
    let lines = strings::attacks();
    tell(world, so(lines.len() >= 600, || format!("only {} lines", lines.len())));
    let place = ask("GET", "/images").send(world).words();
    for line in &lines {
        let query = serde_html_form::to_string([("q", line), ("sort", line), ("after", line), ("status", line)]).unwrap();
        let page = ask("GET", format!("/images?{query}"))
            .header("Cookie", format!("x={}", line.replace(|c: char| c.is_control() || c == ';', "")))
            .send(world);
        tell(world, so(page.status == 200, || format!("{line}: {}", page.status)));
        tell(world, is_escaped(&page, line));
        let encoded = serde_html_form::to_string([("", line)]).unwrap().trim_start_matches('=').replace('+', "%20");
        let path = ask("GET", format!("/images/{encoded}")).send(world);
        tell(world, so(path.status == 404, || format!("/images/{encoded}: {}", path.status)));
        tell(world, is_escaped(&path, line));
        let events =
            ask("GET", format!("/events?{}", serde_html_form::to_string([("q", line), ("after", line), ("action", line)]).unwrap()))
                .send(world);
        tell(world, so(events.status == 200 || events.status == 303, || format!("{line}: {} of events", events.status)));
    }
    let now = ask("GET", "/images").send(world).words();
    tell(world, so(now == place, || "the list is another one".to_owned()));
    done()
}

fn formulas(world: &mut World, id: &str) -> Answer {
    for (name, cell) in [
        ("=cmd()", "\"'=cmd()\""),
        ("+1", "\"'+1\""),
        ("-1", "\"'-1\""),
        ("@x", "\"'@x\""),
        ("=HYPERLINK(\"http://evil.example\")", "\"'=HYPERLINK(\"\"http://evil.example\"\")\""),
        ("a,b\"c", "\"a,b\"\"c\""),
    ] {
        edit(world, id, name, name);
        for path in ["/images.csv", "/events.csv"] {
            let text = ask("GET", path).send(world).text();
            tell(world, so(text.contains(&format!(",{cell},")), || format!("{name} in {path}")));
            tell(world, so(!text.contains(&format!(",{name},")), || format!("{name} stands in {path} as it is")));
        }
    }
    edit(world, id, "tab", "a\n\t=cmd()\n=cmd()");
    let text = ask("GET", "/images.csv").send(world).text();
    tell(world, so(text.contains("\"a\n\t=cmd()\n=cmd()\""), || "a note with lines is one cell".to_owned()));
    done()
}

fn download_names(world: &mut World, id: &str) -> Answer {
    for name in [
        "a\"b",
        "a; filename=evil.exe",
        "größe №1 日本",
        "a\u{2028}b",
        "%0d%0aSet-Cookie: x=y",
        "a'b''c",
        "UTF-8''x",
        "x".repeat(255).as_str(),
        "\u{1f4bf}".repeat(255).as_str(),
        "a%41b",
        "evil.exe",
        "a.iso.exe",
    ] {
        let saved = edit(world, id, name, "");
        tell(world, so(saved.status == 303, || format!("{name}: {}", saved.status)));
        let download = ask("HEAD", format!("/images/{id}/download")).send(world);
        tell(world, so(download.status == 200, || format!("{name}: {}", download.status)));
        tell(world, is_safe_download(download.header("content-disposition")));
        tell(
            world,
            so(download.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case("set-cookie")).count() == 0, || {
                format!("{name}: a cookie")
            }),
        );
    }
    done()
}

fn logged(world: &mut World, id: &str) -> Answer {
    let forged = "{\"level\":\"INFO\",\"message\":\"forged\"}";
    for (name, status) in [
        ("a\nb", 422),
        ("a\rb", 422),
        ("a\u{85}b", 422),
        ("a\u{1b}[2Jb", 422),
        ("a\0b", 422),
        ("a\u{2028}b\u{2029}c", 303),
        (forged, 303),
        ("a\\nb", 303),
    ] {
        let answer = edit(world, id, name, "");
        tell(world, so(answer.status == status, || format!("{name:?}: {}", answer.status)));
        let (_, sign_in) = world.sign_in(&format!("{name}@example.org"), "x");
        tell(world, so(matches!(sign_in.status, 422 | 429), || format!("{name:?}: {} at sign-in", sign_in.status)));
        ask("GET", format!("/images?{}", serde_html_form::to_string([("q", name)]).unwrap())).send(world);
        let encoded = serde_html_form::to_string([("", name)]).unwrap().trim_start_matches('=').replace('+', "%20");
        ask("GET", format!("/images/{encoded}"))
            .header("User-Agent", encoded.clone())
            .header("X-Request-Id", encoded.clone())
            .header("X-Forwarded-For", encoded.clone())
            .send(world);
    }
    let lines = ask("GET", "/events.csv").send(world).text();
    tell(world, so(!lines.contains('\u{1b}') && !lines.contains('\0'), || "the audit log's file holds escapes".to_owned()));
    let log = world.log();
    for line in log.lines() {
        let is_record = serde_json::from_str::<serde_json::Value>(line)
            .is_ok_and(|record| record["level"].is_string() && record["timestamp"].is_string());
        tell(world, so(is_record, || format!("a line of the log is none: {line}")));
        tell(world, so(!line.chars().any(char::is_control), || format!("a line of the log holds a control character: {line:?}")));
    }
    tell(world, so(log.lines().count() > 20, || "the log says little".to_owned()));
    done()
}

fn same_prefix(world: &mut World, id: &str) -> Answer {
    let numbers = if world.postgres.is_some() {
        "WITH numbers (n) AS (SELECT n FROM generate_series(1, 10000) AS series (n))"
    } else {
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000)"
    };
    let (number, new_id) = if world.postgres.is_some() {
        ("lpad(n::text, 6, '0')", "'01900000-0000-7000-8000-' || lpad(n::text, 12, '0')")
    } else {
        ("printf('%06d', n)", "printf('01900000-0000-7000-8000-%012d', n)")
    };
    let prefix = "prefix ".repeat(29)[..200].to_owned();
    world.sql(&format!(
        "{numbers} INSERT INTO images (id, kind, status, storage_id, name, search_key, name_key, note, os, min_vcpu, min_memory_mib, min_disk_gib, size_bytes, sha256, format, label, publisher, boot, \
         file_name, file_state, file_checked_at, reserved_bytes, status_since, created_at, created_by, created_by_name, version) \
         SELECT {new_id}, kind, status, storage_id, '{prefix}' || {number}, '{prefix}' || {number}, '{prefix}' || {number}, note, os, min_vcpu, min_memory_mib, min_disk_gib, size_bytes, sha256, format, label, publisher, boot, \
         file_name, file_state, file_checked_at, reserved_bytes, status_since, created_at + n, created_by, created_by_name, version FROM numbers, (SELECT * FROM images WHERE id = '{id}') AS one"
    ));
    for query in [
        "sort=name",
        "sort=-name",
        &serde_html_form::to_string([("q", &prefix)]).unwrap(),
        &serde_html_form::to_string([("q", format!("{prefix}004"))]).unwrap(),
        "q=prefix&sort=size&size=100",
    ] {
        let page = ask("GET", format!("/images?{query}")).send(world);
        tell(
            world,
            so(page.status == 200 && page.texts("tbody tr").len() >= 50, || {
                format!("{query}: {} with {} rows", page.status, page.texts("tbody tr").len())
            }),
        );
        tell(world, so(page.took < std::time::Duration::from_secs(5), || format!("{query} took {:?}", page.took)));
        let next = page.attributes("a[rel=next]", "href").pop();
        let Some(next) = next else {
            tell(world, Err(format!("{query}: no next page")));
            continue;
        };
        let second = ask("GET", next).send(world);
        tell(
            world,
            so(second.status == 200 && second.texts("tbody tr").len() >= 50 && second.words() != page.words(), || {
                format!("{query}: the second page is {}", second.status)
            }),
        );
    }
    let exact = ask("GET", format!("/images?{}", serde_html_form::to_string([("q", format!("{prefix}009999"))]).unwrap())).send(world);
    tell(world, so(exact.texts("tbody tr").len() == 1, || format!("{} rows for one name", exact.texts("tbody tr").len())));
    done()
}
