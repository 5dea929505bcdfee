//! A page in short, for snapshots: headings, where one is, texts, tables, fields, buttons with their reasons, links.

use scraper::{ElementRef, Node};

use super::page::{Page, selector, text_of};

/// The outline of a page, as it is.
pub fn of(page: &Page) -> String {
    let root = page.html.root_element();
    let mut lines = vec![format!("title: {}", page.texts("title").join(" "))];
    for here in page.html.select(&selector("nav [aria-current]")) {
        lines.push(format!("here: {}", text_of(here)));
    }
    match page.html.select(&selector("main")).next() {
        Some(main) => walk(main, &mut lines, 0),
        None => lines.push(text_of(root)),
    }
    lines.join("\n")
}

fn walk(element: ElementRef<'_>, lines: &mut Vec<String>, depth: usize) {
    for child in element.children() {
        match child.value() {
            Node::Text(text) if !text.trim().is_empty() => say(lines, depth, text.trim()),
            Node::Element(_) => visit(ElementRef::wrap(child).unwrap(), lines, depth),
            _ => {}
        }
    }
}

fn say(lines: &mut Vec<String>, depth: usize, text: &str) {
    // What only stands between two things says nothing.
    if text.chars().any(char::is_alphanumeric) || text.contains('–') {
        lines.push(format!("{}{text}", "  ".repeat(depth)));
    }
}

fn visit(element: ElementRef<'_>, lines: &mut Vec<String>, depth: usize) {
    let (text, attr) = (text_of(element), |name| element.attr(name).unwrap_or_default().to_owned());
    match element.value().name() {
        "svg" | "template" | "label" if !has_field(element) => {
            if element.value().name() == "label" && element.attr("for").is_none() {
                say(lines, depth, &text);
            }
        }
        level @ ("h1" | "h2" | "h3") => say(lines, depth, &format!("{} {text}", "#".repeat(level.as_bytes()[1].wrapping_sub(b'0').into()))),
        "form" => {
            let method = if attr("method") == "post" { "POST" } else { "GET" };
            say(lines, depth, &format!("form {method} {}", attr("action")));
            walk(element, lines, depth + 1);
        }
        "fieldset" if many_boxes(element) => say(lines, depth, &boxes(element)),
        "input" | "select" | "textarea" => say(lines, depth, &field(element)),
        "button" if element.attr("hidden").is_some() => {}
        "button" => say(lines, depth, &format!("[{text}]{}", reason(element))),
        "a" => {
            say(lines, depth, &format!("{} → {}{}", if text.is_empty() { attr("aria-label") } else { text }, attr("href"), reason(element)))
        }
        "p" | "small" | "li" | "dt" | "dd" | "caption" | "legend" | "summary" | "option" | "th" | "strong" | "span"
            if is_plain(element) =>
        {
            say(lines, depth, &text)
        }
        "tr" => {
            let cells: Vec<String> = element.child_elements().map(cell).collect();
            say(lines, depth, &format!("| {} |", cells.join(" | ")));
            for part in element.select(&selector("a[href], form, button")) {
                let inside_form = part.ancestors().filter_map(ElementRef::wrap).any(|above| above.value().name() == "form");
                if !inside_form {
                    visit(part, lines, depth + 1);
                }
            }
        }
        "meter" | "progress" => {}
        _ => walk(element, lines, depth),
    }
}

fn has_field(element: ElementRef<'_>) -> bool {
    element.value().name() == "label" && element.select(&selector("input, select, textarea")).next().is_some()
}

/// What stands in a cell, without the menu of actions.
fn cell(cell: ElementRef<'_>) -> String {
    let spaced = |element: ElementRef<'_>| {
        let words: Vec<&str> = element.text().flat_map(str::split_whitespace).collect();
        words.join(" ")
    };
    let menu = cell.select(&selector("details")).next().map(spaced).unwrap_or_default();
    let text = spaced(cell);
    text.strip_suffix(menu.as_str()).unwrap_or(&text).trim().to_owned()
}

fn is_plain(element: ElementRef<'_>) -> bool {
    element.select(&selector("a, button, form, input, select, textarea, table, ul, template")).next().is_none()
}

fn many_boxes(element: ElementRef<'_>) -> bool {
    element.select(&selector("input[type=checkbox]")).count() > 2
}

fn boxes(fieldset: ElementRef<'_>) -> String {
    let all: Vec<ElementRef<'_>> = fieldset.select(&selector("input[type=checkbox]")).collect();
    let ticked: Vec<&str> = all.iter().filter(|input| input.attr("checked").is_some()).filter_map(|input| input.attr("value")).collect();
    let name = all.first().and_then(|input| input.attr("name")).unwrap_or_default();
    format!("boxes {name}: {}, ticked: {}", all.len(), if ticked.is_empty() { "none".to_owned() } else { ticked.join(", ") })
}

fn field(input: ElementRef<'_>) -> String {
    let attr = |name| input.attr(name).unwrap_or_default();
    let kind = if input.value().name() == "input" { input.attr("type").unwrap_or("text") } else { input.value().name() };
    let value = match kind {
        "select" => input.select(&selector("option[selected]")).next().map(text_of).unwrap_or_else(|| "–".to_owned()),
        "textarea" => text_of(input),
        _ => attr("value").to_owned(),
    };
    let value = if value.chars().count() > 80 {
        format!("{}… ({} characters)", value.chars().take(20).collect::<String>(), value.chars().count())
    } else {
        value
    };
    let label = label_of(input).map(|label| format!("{label}: ")).unwrap_or_default();
    let mut line = format!("{label}field {} {kind} “{value}”", attr("name"));
    for (name, words) in [("checked", " ticked"), ("disabled", " disabled"), ("aria-invalid", " wrong")] {
        if input.attr(name).is_some() {
            line.push_str(words);
        }
    }
    line
}

/// The words of the label that belongs to a field.
fn label_of(input: ElementRef<'_>) -> Option<String> {
    let id = input.attr("id")?;
    let root = input.ancestors().filter_map(ElementRef::wrap).last()?;
    root.select(&selector(&format!("label[for={id}]"))).next().map(text_of)
}

/// Why a button or link cannot be used.
fn reason(element: ElementRef<'_>) -> String {
    if element.attr("aria-disabled").is_none() && element.attr("disabled").is_none() {
        return String::new();
    }
    let id = element.attr("aria-describedby").unwrap_or_default();
    let root = element.ancestors().last().and_then(|_| element.ancestors().filter_map(ElementRef::wrap).last());
    let words = root.filter(|_| !id.is_empty()).and_then(|root| root.select(&selector(&format!("#{id}"))).next()).map(text_of);
    format!(" disabled: {}", words.unwrap_or_default())
}

/// The outline without what differs from run to run: identifiers (numbered as they come), moments, free space, folders, numbers of requests.
pub fn redacted(outline: &str, app: &super::App) -> String {
    let mut text =
        outline.replace(&app.dir().display().to_string(), "<dir>").replace("PostgreSQL", "<database>").replace("SQLite", "<database>");
    if let Some(code) = &app.code {
        text = text.replace(code.as_str(), "<code>");
    }
    let mut known: Vec<String> = Vec::new();
    let mut lines = Vec::new();
    // Which database it is, and how it was named, is the one thing that may differ.
    for line in text.lines().filter(|line| !line.starts_with("| database_url")) {
        let line = without_ids(line, &mut known);
        let words: Vec<&str> = line.split(' ').collect();
        let mut out: Vec<String> = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let (length, instead) = variable(&words[at..]);
            if length == 0 {
                out.push(words[at].to_owned());
                at += 1;
            } else {
                out.push(instead);
                at += length;
            }
        }
        lines.push(out.join(" "));
    }
    lines.join("\n")
}

/// Identifiers, replaced by their numbers; the same one has the same number on a page.
fn without_ids(line: &str, known: &mut Vec<String>) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(character) = rest.chars().next() {
        if let Some(id) = rest.get(..36).filter(|id| id.parse::<vmimg::domain::ids::ImageId>().is_ok()) {
            let number = known.iter().position(|seen| seen == id).unwrap_or_else(|| {
                known.push(id.to_owned());
                known.len() - 1
            });
            out.push_str(&format!("<id {}>", number + 1));
            rest = &rest[36..];
        } else {
            out.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    out
}

/// How many words from here on are a moment, room on a disk or a request's number; and what stands for them.
fn variable(words: &[&str]) -> (usize, String) {
    let trailing = |word: &str, bare: &str| word.trim_start_matches(bare).to_owned();
    let is_number = |word: &str| word.trim_start_matches(['“', '(']).chars().next().is_some_and(|first| first.is_ascii_digit());
    let is_unit = |word: &str| matches!(word, "bytes" | "KiB" | "MiB" | "GiB" | "TiB");
    if words.len() > 4 && is_number(words[0]) && words[3].len() == 5 && words[3].contains(':') && words[4].starts_with("UTC") {
        return (5, format!("<time>{}", trailing(words[4], "UTC")));
    }
    if words.len() > 5 && is_number(words[0]) && is_unit(words[1]) && words[2] == "of" && is_unit(words[4]) && words[5].starts_with("free")
    {
        return (6, format!("<space> free{}", trailing(words[5], "free")));
    }
    if words.len() > 2 && is_number(words[0]) && is_unit(words[1]) && words[2].starts_with("free") {
        return (3, format!("<space> free{}", trailing(words[2], "free")));
    }
    if words[0].len() == 16 && words[0].bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return (1, "<request>".to_owned());
    }
    if words[0].starts_with("vmi_") && words[0].len() == 47 {
        return (1, "<token>".to_owned());
    }
    (0, String::new())
}
