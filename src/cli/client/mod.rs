//! `vmimg image …` and `vmimg storage …`: the API of a service, here or elsewhere, from the command line.
//!
//! These commands know nothing of this machine's settings, database or storages: an address and a token are all that they need. What they
//! print goes to standard output, as a table for people or as the JSON that the service answered; progress and faults go to standard error.

mod image;
mod output;
mod service;
mod storage;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};

pub use image::Image;
pub use storage::Storage;

/// Environment variables that are the client's, and no settings of the service.
pub const ENVIRONMENT: [&str; 3] = ["VMIMG_URL", "VMIMG_TOKEN", "VMIMG_TOKEN_FILE"];

/// Where the service is, who asks, and how answers are printed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Address of the service
    #[arg(long, env = "VMIMG_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// File that holds the API token; $VMIMG_TOKEN holds the token itself, which never stands on the command line
    #[arg(long, env = "VMIMG_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How answers are printed
    #[arg(long, value_enum, default_value_t = Output::Table)]
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
    /// 1, 3 or 4; 2 is a call that cannot be understood.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Here(_) => 1,
            Self::Refused(_) => 3,
            Self::Away(_) => 4,
        })
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

/// Asks before something cannot be undone; where nobody can answer, it must have been said on the command line.
fn confirm(question: &str, yes: bool) -> Result<(), Failed> {
    use std::io::{BufRead, IsTerminal, Write};
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failed::Here(format!("{question} Say --yes if you mean it.")));
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if matches!(typed.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failed::Here("nothing was done".to_owned())) }
}
