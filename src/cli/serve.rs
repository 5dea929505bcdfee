//! `vmimg serve`

use std::{io::Write, sync::Arc};

use super::{Outcome, log};
use crate::{app, config::Config};

/// Serves until it is told to stop.
pub fn run(config: Arc<Config>) -> Outcome {
    log::start(&config)?;
    let mut lock = app::take_data_dir(&config.data_dir)?;
    let mut service = app::open(config.clone())?;
    service.predecessors = lock.sign(service.instance)?.into();
    actix_web::rt::System::new().block_on(async move {
        let running = app::start(service).await?;
        let origin = config.public_url.clone().unwrap_or_else(|| format!("http://{}", running.address));
        let words = match &running.setup_code {
            Some(code) => format!("\n  vmimg is running. To set it up, open\n\n    {origin}/setup?code={code}\n\n"),
            None => format!("\n  vmimg is running at {origin}\n\n"),
        };
        // Nobody may be reading: that is no reason not to serve.
        let _ = std::io::stdout().lock().write_all(words.as_bytes());
        running.until_signal().await?;
        // Not by way of the runtime's end, which would wait for a database or a storage that hangs.
        std::process::exit(0)
    })
}
