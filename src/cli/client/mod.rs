//! `vmimg image …` and `vmimg storage …`: the API of a service, here or elsewhere, from the command line.
//!
//! These commands know nothing of this machine's settings, database or storages: an address and a token are all that they need. What they
//! print goes to standard output, as a table for people or as the JSON that the service answered; progress and faults go to standard error.

mod download;
mod image;
mod output;
mod service;
mod storage;
mod upload;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use unicode_normalization::UnicodeNormalization;

pub use image::Image;
pub use storage::Storage;

/// Environment variables that are the client's, and no settings of the service.
pub const ENVIRONMENT: [&str; 4] = ["VMIMG_URL", "VMIMG_TOKEN", "VMIMG_TOKEN_FILE", "VMIMG_CA_FILE"];

/// What stands at the end of the help of each of these commands.
pub const AFTER_HELP: &str = "\
The token is read from --token-file, or else from $VMIMG_TOKEN, or else from the file that $VMIMG_TOKEN_FILE names. It is made in the \
console (Account, API tokens) or by `vmimg admin create-token`.

Exit codes: 0 done; 1 not done because of something here (a file, the token, a question that was not answered); 2 the command cannot be \
understood; 3 the service refused (no such thing, no right, a rule); 4 the service could not be reached or did not answer as it should.";

/// Where the service is, who asks, and how answers are printed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Address of the service
    #[arg(long, env = "VMIMG_URL", hide_env_values = true, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// File that holds the API token; the token itself never stands on the command line, where others could see it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) of authorities to trust beside the system's
    #[arg(long, env = "VMIMG_CA_FILE", hide_env_values = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Send the token to another machine although http:// does not encrypt it
    #[arg(long)]
    plain_http: bool,
    /// How long the service may be silent
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// How answers are printed
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// What the service answered
    Json,
}

/// Why a command did not do what it was asked, as its exit code says it.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Something on this side: a file, a token, what was typed.
    #[error("{0}")]
    Here(String),
    /// The service refused: by a right, a rule, or because there is no such thing.
    #[error("{0}")]
    Refused(String),
    /// The service could not be reached, or did not answer as it should.
    #[error("{0}")]
    Away(String),
}

impl Failed {
    /// Something is wrong with a file.
    fn file(path: &std::path::Path, why: impl std::fmt::Display) -> Self {
        Self::Here(format!("{}: {why}", path.display()))
    }

    /// The same with a further line.
    fn and(self, more: &str) -> Self {
        match self {
            Self::Here(words) => Self::Here(format!("{words}\n{more}")),
            Self::Refused(words) => Self::Refused(format!("{words}\n{more}")),
            Self::Away(words) => Self::Away(format!("{words}\n{more}")),
        }
    }

    /// 1, 3 or 4; 2 is a call that cannot be understood.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Here(_) => 1,
            Self::Refused(_) => 3,
            Self::Away(_) => 4,
        }
    }
}

impl From<std::io::Error> for Failed {
    fn from(failed: std::io::Error) -> Self {
        Self::Here(failed.to_string())
    }
}

/// Runs one of the client's commands on a runtime of its own.
pub fn run<T>(work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)
}

/// Asks for a thing's name before something is done that cannot be undone; where nobody can answer, it must have been said on the command
/// line.
fn confirm(question: &str, name: &str) -> Result<(), Failed> {
    use std::io::{BufRead, IsTerminal, Write};
    if !std::io::stdin().is_terminal() {
        return Err(Failed::Here(format!("{question} Nobody can be asked here: give --yes if you mean it.")));
    }
    eprint!("{question} Type its name to go on: ");
    std::io::stderr().flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if composed(&typed) == composed(name) { Ok(()) } else { Err(Failed::Here("This is not its name; nothing was done.".to_owned())) }
}

/// A name as the service keeps it.
fn composed(name: &str) -> String {
    name.trim().nfc().collect()
}

/// Does something to each of several things, whatever becomes of the others, and fails as the first one did.
async fn each<T>(things: Vec<T>, mut work: impl AsyncFnMut(T) -> Result<(), Failed>) -> Result<(), Failed> {
    let of = things.len();
    let mut failures = Vec::new();
    for thing in things {
        failures.extend(work(thing).await.err());
    }
    let failed = failures.len();
    if of > 1 && failed > 0 {
        failures.iter().for_each(|failure| eprintln!("vmimg: {failure}"));
        let words = format!("{failed} of {of} were not done.");
        return Err(match failures.swap_remove(0) {
            Failed::Here(_) => Failed::Here(words),
            Failed::Refused(_) => Failed::Refused(words),
            Failed::Away(_) => Failed::Away(words),
        });
    }
    failures.pop().map_or(Ok(()), Err)
}
