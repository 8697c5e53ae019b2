//! One day of a site: how many instants ended how.

use std::ops::AddAssign;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::Serialize;

/// How many days a bar has, today included.
pub(super) const DAYS: usize = 90;

/// How many instants ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Shares {
    /// Instants that ended in success.
    pub success: u32,
    /// Instants that ended in failure.
    pub failure: u32,
    /// Instants without a verdict: missed ones, and those in gaps. Not those in planned maintenance.
    pub unchecked: u32,
    /// Instants in planned maintenance.
    pub planned: u32,
}

impl Shares {
    /// All instants.
    pub(super) fn total(&self) -> u32 {
        self.success + self.failure + self.unchecked + self.planned
    }

    /// success / (success + failure), in percent. None without verdicts.
    pub(super) fn uptime_percent(&self) -> Option<f64> {
        percent(self.success, self.success + self.failure)
    }

    /// (success + failure) / all instants that were not planned maintenance, in percent. None without such instants.
    pub(super) fn coverage_percent(&self) -> Option<f64> {
        let checked = self.success + self.failure;
        percent(checked, checked + self.unchecked)
    }
}

impl AddAssign for Shares {
    fn add_assign(&mut self, other: Shares) {
        self.success += other.success;
        self.failure += other.failure;
        self.unchecked += other.unchecked;
        self.planned += other.planned;
    }
}

fn percent(part: u32, whole: u32) -> Option<f64> {
    (whole > 0).then(|| 100.0 * f64::from(part) / f64::from(whole))
}

/// A UTC day of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Day {
    /// The UTC day.
    pub day: Date,
    /// What became of its instants, at all locations.
    #[serde(flatten)]
    pub shares: Shares,
}
