//! What one call of [`roll_up`](super::roll_up) does.

use std::time::Duration;

/// How much one call of [`roll_up`](super::roll_up) does at most, and how often.
///
/// ```
/// let limits = webmon::store::RollUpLimits { hours: 10, ..Default::default() };
/// assert_eq!(limits.pause.as_secs(), 60);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollUpLimits {
    /// Hours; about 100,000 results a second are read. Default 48.
    pub hours: u32,
    /// Sites whose incidents are derived. Default 20,000.
    pub sites: u32,
    /// Days. Default 48.
    pub days: u32,
    /// How long an hour is left alone after it was rolled up, whatever else arrives for it. Default 1 minute.
    pub pause: Duration,
}

impl Default for RollUpLimits {
    fn default() -> Self {
        RollUpLimits { hours: 48, sites: 20_000, days: 48, pause: Duration::from_secs(60) }
    }
}

/// What a call of [`roll_up`](super::roll_up) did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RolledUp {
    /// Hours derived.
    pub hours: u64,
    /// Sites whose incidents were derived.
    pub sites: u64,
    /// Days derived.
    pub days: u64,
    /// Hours, days and sites that could not be derived and are set aside: see [`set_aside`](super::set_aside).
    pub set_aside: u64,
    /// Whether a limit was reached: there may be more to do.
    pub more: bool,
}
