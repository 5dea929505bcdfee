//! `vmimg dev`: for whoever works on the service. Not in the help; nothing here is needed to run it.

use std::sync::Arc;

use clap::{Args, Subcommand};

use super::Outcome;
use crate::{app, config::Config, operations::seed};

#[derive(Debug, Subcommand)]
pub enum Dev {
    /// Fill an empty service with images that nobody uploaded
    Seed(Seed),
}

#[derive(Debug, Args)]
pub struct Seed {
    /// How many images
    #[arg(long, value_name = "N")]
    images: u64,
    /// On how many storages; of twelve, two are degraded and one is removed
    #[arg(long, value_name = "N", default_value_t = 12)]
    storages: u32,
    /// How many administrators, admin01@example.org and so on
    #[arg(long, value_name = "N", default_value_t = 10)]
    administrators: u32,
    /// The administrators' password. It can be seen by others on this machine: these are not real people
    #[arg(long, value_name = "TEXT", default_value = "correct horse battery")]
    password: String,
    /// The same seed makes the same images
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Records only: the service will find the images' files missing
    #[arg(long)]
    no_files: bool,
    /// Go on although there are images already
    #[arg(long)]
    add: bool,
}

pub fn run(config: Arc<Config>, Dev::Seed(asked): Dev) -> Outcome {
    let _lock = app::take_data_dir(&config.data_dir)?;
    let service = app::open(config)?;
    let plan = seed::Plan {
        images: asked.images,
        storages: asked.storages,
        administrators: asked.administrators,
        seed: asked.seed,
        password: asked.password,
        files: !asked.no_files,
        add: asked.add,
    };
    let made = seed::run(&service, &plan, |words| eprintln!("{words}"))?;
    println!("made {} images, {} files, {} attachments", made.images, made.files, made.attachments);
    made.administrators.iter().for_each(|email| println!("administrator {email}"));
    Ok(())
}
