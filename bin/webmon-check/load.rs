//! Whether the sites are too many.

use webmon::config::Config;
use webmon::monitor::threads_at_worst;

pub fn warn_of_load(config: &Config) {
    let needed = threads_at_worst(config.sites.iter().map(AsRef::as_ref));
    let threads = config.check.threads;
    if needed > threads as f64 {
        let needed = needed.ceil() as u64;
        log::warn!(
            needed, threads;
            "check.threads are too few for all sites to hang at once: instants will be missed as \"saturated\""
        );
    }
}
