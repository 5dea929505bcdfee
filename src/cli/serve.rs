//! `vmimg serve`

use std::{io::IsTerminal, sync::Arc};

use tracing_subscriber::EnvFilter;

use super::Outcome;
use crate::{app, config::Config};

/// Serves until it is told to stop.
pub fn run(config: Arc<Config>) -> Outcome {
    start_log(&config)?;
    let mut lock = app::take_data_dir(&config.data_dir)?;
    let mut service = app::open(config.clone())?;
    service.predecessors = lock.sign(service.instance)?.into();
    actix_web::rt::System::new().block_on(async move {
        let running = app::start(service).await?;
        let origin = config.public_url.clone().unwrap_or_else(|| format!("http://{}", running.address));
        match &running.setup_code {
            Some(code) => println!("\n  vmimg is running. To set it up, open\n\n    {origin}/setup?code={code}\n"),
            None => println!("\n  vmimg is running at {origin}\n"),
        }
        running.until_signal().await?;
        Ok(())
    })
}

/// Logs go to stderr; what the program has to say to a person goes to stdout.
fn start_log(config: &Config) -> Outcome {
    let filter = EnvFilter::try_new(&config.log).map_err(|failed| format!("setting log: {failed}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if config.log_json {
        log.json().init();
    } else {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        log.with_ansi(colour).with_target(false).init();
    }
    Ok(())
}
