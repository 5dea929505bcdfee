//! The command line. `vmimg` alone serves; the other commands work on the same data folder.

mod admin;
mod client;
mod dev;
mod doctor;
mod serve;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::{
    app,
    config::{Config, Given},
    db::{Db, migrate},
};

/// An image service for virtual machines.
#[derive(Debug, Parser)]
#[command(name = "vmimg", version, about, long_about = None)]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings of the service")]
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
    Man,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Every setting, its value and where it came from
    Show,
}

/// Runs a command; 0 when it did what it was asked, 1 when not, 2 for a call that cannot be understood. What asks a service ends with 3 when
/// that refused, and with 4 when it could not be reached.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let command = match cli.command.unwrap_or(Command::Serve) {
        Command::Image(image) => return client(image.run()),
        Command::Storage(storage) => return client(storage.run()),
        command => command,
    };
    let config = match Config::load(&cli.settings.given()) {
        Ok(config) => Arc::new(config),
        Err(failed) => return fail(&failed, 2),
    };
    let done = match command {
        Command::Serve => serve::run(config),
        Command::Migrate { dry_run } => run_migrate(&config, dry_run),
        Command::Admin(command) => admin::run(config, command),
        Command::Doctor => doctor::run(&config),
        Command::Dev(command) => dev::run(config, command),
        Command::Config(ConfigCommand::Show) => {
            show(&config);
            Ok(())
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "vmimg", &mut std::io::stdout());
            Ok(())
        }
        Command::Man => clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()).map_err(Into::into),
        Command::Image(_) | Command::Storage(_) => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => fail(&*failed, 1),
    }
}

fn client(work: impl Future<Output = Result<(), client::Failed>>) -> ExitCode {
    match client::run(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("vmimg: {failed}");
            failed.exit_code()
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn fail(failed: &(impl std::fmt::Display + ?Sized), code: u8) -> ExitCode {
    eprintln!("vmimg: {failed}");
    ExitCode::from(code)
}

impl Settings {
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
