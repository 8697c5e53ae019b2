//! Durations on the command line.

use std::time::Duration;

use webmon::text::parse_duration;

/// Reads `90s` or `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("{text:?} is not a duration: expected one such as \"90s\" or \"7d\""))
}
