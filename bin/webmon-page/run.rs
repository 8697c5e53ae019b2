//! `webmon-page run`.

use std::time::Duration;

use webmon::config::Config;
use webmon::page::Pages;
use webmon::shutdown::Shutdown;

use crate::support::signals;

/// How long after a stop was asked for the process ends by itself.
const LAST_RESORT: Duration = Duration::from_secs(10);

pub fn run(config: &Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    signals::stop_on_signals(&shutdown)?;
    signals::end_after(&shutdown, LAST_RESORT)?;
    let pages = Pages::listen(&config.postgres, &config.web, &config.pages)?;
    if let Some(address) = pages.address() {
        log::info!(address = address.to_string(), pages = config.pages.len(); "serving");
    }
    pages.run(&shutdown);
    log::info!("stopped");
    Ok(())
}
