//! `webmon-check validate`: what is wrong with the configuration.

use std::path::Path;

use webmon::check::Checker;
use webmon::config::Config;

use crate::load::warn_of_load;
use crate::settings::settings;

pub fn run(path: &Path, config: &Config) -> anyhow::Result<()> {
    // What only setting up shows, such as a CA file without certificates.
    Checker::new(&settings(&config.check)?)?;
    warn_of_load(config);
    if config.check.spool.is_none() {
        eprintln!(
            "webmon-check: check.spool is off: results that wait for Kafka are lost when the program ends, and nothing tells of the \
             time that it was down"
        );
    }
    println!("{}: {} sites", path.display(), config.sites.len());
    Ok(())
}
