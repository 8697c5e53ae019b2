//! Connections for commands.

use std::time::Duration;

use webmon::config::Config;
use webmon::database::Connector;

/// How long what may have much to do waits for one statement: a migration, the proof.
pub const LONG_PATIENCE: Duration = Duration::from_secs(3_600);

pub fn connect(config: &Config) -> anyhow::Result<postgres::Client> {
    Ok(Connector::new(&config.postgres, "webmon-store")?.connect()?)
}

pub fn connect_for_long(config: &Config) -> anyhow::Result<postgres::Client> {
    Ok(Connector::new(&config.postgres, "webmon-store")?.patience(LONG_PATIENCE).connect()?)
}
