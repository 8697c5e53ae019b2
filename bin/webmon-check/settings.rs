//! From the configuration to what the library takes.

use webmon::check::{Settings, read_roots};
use webmon::config::Check;
use webmon::site::Origin;

pub fn settings(check: &Check) -> anyhow::Result<Settings> {
    let mut settings = Settings::new()?;
    settings.user_agent.clone_from(&check.user_agent);
    settings.deny_addresses.clone_from(&check.deny_addresses);
    if let Some(path) = &check.ca {
        settings.extra_roots = read_roots(path)?;
    }
    Ok(settings)
}

pub fn origin(check: &Check) -> Origin {
    Origin { location: check.location.clone(), checker: check.checker.clone() }
}
