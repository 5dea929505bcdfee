//! How answers are printed: a table for people, or the service's JSON as it is; and how far a transfer is.

use std::io::{IsTerminal, Write};

use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::{Failed, Output};
use crate::domain::size;

/// Prints a list: a row for each item, with the columns' headings; or the items.
pub fn list(output: Output, items: &[Value], headings: &[&str], row: impl Fn(&Value) -> Vec<String>) -> Result<(), Failed> {
    match output {
        Output::Json => json(&Value::Array(items.to_vec())),
        Output::Table => {
            let mut table = Table::new();
            table.load_style(presets::NOTHING).set_header(headings.iter().map(|heading| heading.to_uppercase()));
            for item in items {
                table.add_row(row(item).into_iter().map(|cell| clean(&cell)));
            }
            print(&table.trim_fmt())
        }
    }
}

/// Prints things: a line for each fact, and an empty one between two; or the thing, or several as a list.
pub fn things(output: Output, things: &[Value], facts: impl Fn(&Value) -> Vec<(&'static str, String)>) -> Result<(), Failed> {
    if output == Output::Json {
        return match things {
            [one] => json(one),
            several => json(&Value::Array(several.to_vec())),
        };
    }
    for (number, thing) in things.iter().enumerate() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        for (name, fact) in facts(thing).iter().filter(|(_, fact)| !fact.is_empty()) {
            table.add_row([format!("{name}:"), clean(fact)]);
        }
        print(&format!("{}{}", if number > 0 { "\n" } else { "" }, table.trim_fmt()))?;
    }
    Ok(())
}

/// Why a name does not say which thing is meant, with what does.
pub fn ambiguous(plural: &str, named: &str, several: &[&Value], told_apart_by: &str) -> Failed {
    let lines = several.iter().map(|thing| format!("\n  {}  {}", text(thing, "/id"), clean(&text(thing, told_apart_by))));
    Failed::Here(format!("Several {plural} are called “{}”. Give the identifier:{}", clean(named), lines.collect::<String>()))
}

/// Prints JSON.
pub fn json(value: &Value) -> Result<(), Failed> {
    let text = serde_json::to_string_pretty(value).map_err(|failed| Failed::Here(failed.to_string()))?;
    // JSON leaves some of what would steer a terminal as it is; between quotation marks it can be written otherwise.
    let steers = |c: char| c.is_control() && c != '\n';
    print(&text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        if steers(c) {
            plain.push_str(&format!("\\u{:04x}", u32::from(c)))
        } else {
            plain.push(c)
        }
        plain
    }))
}

/// A bar on a terminal, nothing elsewhere.
pub fn progress(bytes: u64) -> ProgressBar {
    let shown = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(bytes), shown);
    let style =
        ProgressStyle::with_template("{bar:30} {percent:>3} %  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left");
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// A word as a shell reads it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// A reader that went away, as in `… | head`, is no fault.
fn print(text: &str) -> Result<(), Failed> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(failed) if failed.kind() != std::io::ErrorKind::BrokenPipe => Err(failed.into()),
        _ => Ok(()),
    }
}

/// Text from elsewhere without what would steer a terminal.
pub fn clean(text: &str) -> String {
    let steers = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A text of an answer; empty where there is none.
pub fn text(value: &Value, path: &str) -> String {
    match value.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// A size of an answer, in words.
pub fn bytes(value: &Value, path: &str) -> String {
    value.pointer(path).and_then(Value::as_u64).map(size::words).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_not_printed() {
        assert_eq!(clean("a\u{1b}[2Jb\r\u{9b}c\nd"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\nd");
        assert_eq!(clean("cod\u{202e}exe"), "cod\u{fffd}exe");
    }

    #[test]
    fn a_shell_reads_a_quoted_word_as_it_was() {
        let rows =
            [("debian.iso", "debian.iso"), ("a b.iso", "'a b.iso'"), ("it's", r"'it'\''s'"), ("", "''"), ("$(x)", "'$(x)'"), ("é", "'é'")];
        for (word, shown) in rows {
            assert_eq!(quoted(word), shown);
        }
    }

    #[test]
    fn missing_facts_are_empty() {
        let image = serde_json::json!({ "name": "a", "size": 1536, "sha256": null, "status": { "code": "pending" } });
        assert_eq!(text(&image, "/name"), "a");
        assert_eq!(text(&image, "/status/code"), "pending");
        assert_eq!((text(&image, "/sha256"), text(&image, "/none/at/all")), (String::new(), String::new()));
        assert_eq!(bytes(&image, "/size"), "1.5 KiB");
    }
}
