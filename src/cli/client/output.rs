//! How answers are printed: a table for people, or the service's JSON as it is.

use std::io::Write;

use comfy_table::{Table, presets};
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

/// Prints one thing: a line for each fact; or the thing.
pub fn thing(output: Output, thing: &Value, facts: &[(&str, String)]) -> Result<(), Failed> {
    match output {
        Output::Json => json(thing),
        Output::Table => {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
                table.add_row([format!("{name}:"), clean(fact)]);
            }
            print(&table.trim_fmt())
        }
    }
}

fn json(value: &Value) -> Result<(), Failed> {
    print(&serde_json::to_string_pretty(value).map_err(|failed| Failed::Here(failed.to_string()))?)
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
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
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
