//! Whether the sites are too many.

use webmon::config::Config;
use webmon::monitor::threads_at_worst;

/// The threads that are needed when all sites hang at once, if there are fewer.
pub fn threads_missing(config: &Config) -> Option<u64> {
    let needed = threads_at_worst(config.sites.iter().map(AsRef::as_ref));
    (needed > config.check.threads as f64).then(|| needed.ceil() as u64)
}

pub fn warn_of_load(config: &Config) {
    let threads = config.check.threads;
    if let Some(needed) = threads_missing(config) {
        log::warn!(
            needed, threads;
            "check.threads is too small: if all sites hang at once, instants are missed as \"saturated\""
        );
    }
}
