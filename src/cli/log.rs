//! The log on stderr: one event is one line, whatever is in it, and a log that cannot be written stops nothing.
//!
//! What people typed stands in the log: names of images, of files, of storages. A line feed in one would begin a line of its own, which
//! looks like an event; an escape would move the cursor of whoever reads it. So the last thing before the bytes leave is to write every
//! character that is not plainly visible as an escape, in both formats.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::config::Config;

/// Begins to log.
pub fn start(config: &Config) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.log).map_err(|failed| format!("setting log: {failed}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, cause = panic.payload_as_str().unwrap_or("unknown"), "a part of the program gave up");
    }));
    if config.log_json {
        log.json().flatten_event(true).with_span_list(false).with_writer(OneLine { format: Format::Json }).init();
    } else {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let format = if colour { Format::Colours } else { Format::Text };
        log.with_ansi(colour).with_target(false).with_writer(OneLine { format }).init();
    }
    Ok(())
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    /// With the escapes that colour it: those in values are escaped before they come here.
    Colours,
    Json,
}

#[derive(Debug, Clone, Copy)]
struct OneLine {
    format: Format,
}

impl MakeWriter<'_> for OneLine {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl Write for OneLine {
    /// Called once an event, with the whole of it. Whether it could be written is of no consequence: there is no better place to say so.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = one_line(&String::from_utf8_lossy(event), self.format);
        let _ = io::stderr().lock().write_all(line.as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The event as one line that ends in a line feed.
fn one_line(event: &str, format: Format) -> String {
    let mut line = String::with_capacity(event.len() + 1);
    for c in event.strip_suffix('\n').unwrap_or(event).chars() {
        match c {
            '\u{1b}' if format == Format::Colours => line.push(c),
            c if !must_be_escaped(c) => line.push(c),
            // Within JSON's quotes, where alone such characters can stand.
            c if format == Format::Json => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.extend(c.escape_default()),
        }
    }
    line.push('\n');
    line
}

/// Control characters, what ends a line for some readers, and what turns the direction of writing.
fn must_be_escaped(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "a\r\nb\u{85}c\u{2028}d\u{1b}[2Je\0f\u{202e}g\u{9b}h\ti";

    #[test]
    fn b_n14_an_event_is_one_line_in_every_format() {
        for format in [Format::Text, Format::Json, Format::Colours] {
            let line = one_line(&format!("{EVIL}\n"), format);
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            let shown = line.trim_end_matches('\n');
            let allowed = |c: char| format == Format::Colours && c == '\u{1b}';
            assert!(shown.chars().all(|c| !must_be_escaped(c) || allowed(c)), "{format:?}: {shown:?}");
        }
        assert_eq!(one_line("é — ☃ 日本 \\n", Format::Text), "é — ☃ 日本 \\n\n");
    }

    #[test]
    fn a_json_line_keeps_its_meaning() {
        let event = format!("{{\"name\":{}}}\n", serde_json::to_string(EVIL).unwrap());
        let line = one_line(&event, Format::Json);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["name"], EVIL);
    }
}
