//! Takes the sites of a changed configuration.

use webmon::config::{Config, ConfigError, Role, Watch};
use webmon::monitor::Monitor;

use crate::load::warn_of_load;
use crate::trust::warn_of_unverified;

/// Takes the sites of the files as they are now, or leaves everything as it was.
pub fn reload(files: &mut Watch, started: &Config, monitor: &Monitor) {
    let config = match files.load(Role::Check) {
        Ok(config) => config,
        Err(ConfigError::Faults(faults)) => {
            for fault in &faults {
                log::error!(fault = fault.to_string(); "a fault in the new configuration");
            }
            log::error!(faults = faults.len(); "the new configuration is refused: the sites stay as they are");
            return;
        }
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            log::error!(error; "the new configuration is refused: the sites stay as they are");
            return;
        }
    };
    for (section, changed) in
        [("kafka", config.kafka != started.kafka), ("check", config.check != started.check)]
    {
        if changed {
            log::warn!(section; "what changed in this section takes effect after a restart");
        }
    }
    let changes = monitor.reload(config.sites.clone());
    log::info!(
        sites = config.sites.len(), disabled = config.disabled.len(), added = changes.added, retired = changes.retired,
        rescheduled = changes.rescheduled;
        "reloaded"
    );
    warn_of_unverified(&config.sites);
    // With the threads there are.
    warn_of_load(&Config { check: started.check.clone(), ..config });
}
