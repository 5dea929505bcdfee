//! The command line. `vmimg` alone serves; the other commands work on the same data folder.

mod admin;
mod client;
mod dev;
mod doctor;
mod log;
mod serve;

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};

use crate::{
    app,
    config::{Config, Given},
    db::{Db, migrate},
};

/// What ends the help of the whole program.
const AFTER_HELP: &str = "\
`image` and `storage` ask a running service, with a token; the other commands work on this machine's data folder.

Exit codes: 0 done, 1 not done, 2 the command or a setting cannot be understood; of `image` and `storage` also 3, the service refused, and \
4, it could not be reached.";

/// The heading of what only the service's own commands take.
const SETTINGS: &str = "Settings of the service";

/// An image service for virtual machines.
#[derive(Debug, Parser)]
#[command(name = "vmimg", version, about, long_about = None, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = SETTINGS)]
struct Settings {
    /// File with settings [default: $VMIMG_CONFIG, ./vmimg.toml, /etc/vmimg/vmimg.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for everything that the service keeps for itself
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Database: sqlite:PATH or postgres://…
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Address and port to listen on
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the console (the default)
    Serve,
    /// Bring the database's schema up to date
    Migrate {
        /// Only say what would run
        #[arg(long)]
        dry_run: bool,
    },
    /// Manage users
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Check settings, permissions, database, storages
    Doctor,
    /// Look at the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// For whoever works on the service
    #[command(subcommand, hide = true)]
    Dev(dev::Dev),
    /// Work with the images of a service, here or elsewhere, with an API token
    #[command(subcommand)]
    Image(client::Image),
    /// Work with the storages of a service, here or elsewhere, with an API token
    #[command(subcommand)]
    Storage(client::Storage),
    /// Print the completion script of a shell
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man {
        /// Write this page and one for each command into this folder instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Every setting, its value and where it came from
    Show,
}

/// Runs a command; 0 when it did what it was asked, 1 when not, 2 for a call that cannot be understood. What asks a service ends with 3 when
/// that refused, and with 4 when it could not be reached.
pub fn run() -> ExitCode {
    let cli = match Cli::from_arg_matches(&command().get_matches()) {
        Ok(cli) => cli,
        Err(failed) => failed.exit(),
    };
    let command = cli.command.unwrap_or(Command::Serve);
    if matches!(command, Command::Image(_) | Command::Storage(_)) && cli.settings.given_as_flags() {
        let words = "`image` and `storage` ask a running service: give its address by --url. Its settings are not theirs.\n";
        Cli::command().error(ErrorKind::ArgumentConflict, words).exit();
    }
    // What needs no settings works with wrong ones.
    let command = match command {
        Command::Image(image) => return client(image.run()),
        Command::Storage(storage) => return client(storage.run()),
        Command::Completions { shell } => return ended(completions(shell)),
        Command::Man { dir } => return ended(manual(dir)),
        command => command,
    };
    let config = match Config::load(&cli.settings.given()) {
        Ok(config) => Arc::new(config),
        Err(failed) => return fail(&failed, 2),
    };
    ended(match command {
        Command::Migrate { dry_run } => run_migrate(&config, dry_run),
        Command::Admin(command) => admin::run(config, command),
        Command::Doctor => doctor::run(&config),
        Command::Dev(command) => dev::run(config, command),
        Command::Config(ConfigCommand::Show) => {
            show(&config);
            Ok(())
        }
        _ => serve::run(config),
    })
}

/// The command line as it is read. What the service is set by is not shown where only a running one is asked.
fn command() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    for asks in ["image", "storage"] {
        command = command.mut_subcommand(asks, without_settings);
    }
    command
}

fn without_settings(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| if arg.get_help_heading() == Some(SETTINGS) { arg.hide(true) } else { arg });
    command.mut_subcommands(without_settings)
}

/// The command line as it is described: what is hidden does not exist there.
fn described() -> clap::Command {
    let command = Cli::command();
    let shown: Vec<clap::Command> = command.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    let whole = clap::Command::new("vmimg").version(env!("CARGO_PKG_VERSION")).after_help(AFTER_HELP);
    whole.about(command.get_about().cloned().unwrap_or_default()).args(command.get_arguments().cloned()).subcommands(shown)
}

fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut described(), "vmimg", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

fn manual(folder: Option<PathBuf>) -> Outcome {
    match folder {
        Some(folder) => clap_mangen::generate_to(described(), &folder).map_err(|failed| format!("{}: {failed}", folder.display()).into()),
        None => Ok(clap_mangen::Man::new(described()).render(&mut std::io::stdout())?),
    }
}

fn ended(done: Outcome) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => fail(&*failed, 1),
    }
}

fn client(work: impl Future<Output = Result<(), client::Failed>>) -> ExitCode {
    match client::run(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => fail(&failed, failed.exit_code()),
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn fail(failed: &(impl std::fmt::Display + ?Sized), code: u8) -> ExitCode {
    // Nobody may be reading; the code says it as well.
    let _ = writeln!(std::io::stderr(), "vmimg: {failed}");
    ExitCode::from(code)
}

impl Settings {
    fn given_as_flags(&self) -> bool {
        let Self { config, data_dir, database_url, listen } = self;
        config.is_some() || data_dir.is_some() || database_url.is_some() || listen.is_some()
    }

    fn given(&self) -> Given {
        let flag =
            |key: &'static str, value: &Option<String>| value.clone().map(|value| (key, format!("--{}", key.replace('_', "-")), value));
        Given {
            file: self.config.clone(),
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .filter(|(name, _)| !name.starts_with("VMIMG_TEST_") && !client::ENVIRONMENT.contains(&name.as_str()))
                .collect(),
            flags: [flag("data_dir", &self.data_dir), flag("database_url", &self.database_url), flag("listen", &self.listen)]
                .into_iter()
                .flatten()
                .collect(),
        }
    }
}

fn show(config: &Config) {
    for (key, setting) in config.settings() {
        let value = if key.secret && !setting.value.is_empty() { "(hidden)" } else { setting.value.as_str() };
        println!("{:<16} = {:<28} # {}", key.name, format!("\"{value}\""), setting.source);
    }
}

fn run_migrate(config: &Config, dry_run: bool) -> Outcome {
    let _lock = app::take_data_dir(&config.data_dir)?;
    let db = Db::open(&config.database)?;
    if dry_run {
        let status = migrate::status(&db)?;
        status.applied.iter().for_each(|name| println!("has run    {name}"));
        status.pending.iter().for_each(|name| println!("would run  {name}"));
        status.unknown.iter().for_each(|name| println!("unknown    {name}"));
        return Ok(());
    }
    let ran = migrate::run(&db)?;
    ran.iter().for_each(|name| println!("ran        {name}"));
    if ran.is_empty() {
        println!("the schema is up to date");
    }
    Ok(())
}
