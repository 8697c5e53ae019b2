//! A gap: instants that have no rows.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::version::RecordVersion;
use super::words::GapReason;
use crate::limits::MAX_TEXT;

/// The longest time between an instant and the next one, in seconds: 68 years, as much as the database's columns hold.
pub(super) const MAX_DISTANCE: i64 = i32::MAX as i64;

/// A stretch of instants that have no rows: it closes the chain of `next_at` where rows cannot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GapRecord {
    /// The record's version, 1.
    pub v: RecordVersion,
    /// The site's key.
    #[schemars(length(min = 1, max = MAX_TEXT))]
    pub site: String,
    /// The location whose instants are missing.
    #[schemars(length(min = 1, max = MAX_TEXT))]
    pub location: String,
    /// The checker that reports it.
    #[schemars(length(min = 1, max = MAX_TEXT))]
    pub checker: String,
    /// What is missing.
    pub gap: Gap,
}

/// The half-open stretch `[from, to)` of a [`GapRecord`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// The first instant without a row, in whole seconds.
    pub from: Timestamp,
    /// The next instant planned after the gap, in whole seconds, at most 68 years after `from`; null when the site was
    /// retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// How many instants are missing: at least 1, and no more than the stretch has seconds. Where it has no end, at most
    /// 2,147,483,647.
    #[schemars(range(min = 1, max = MAX_DISTANCE))]
    pub instants: u64,
    /// Why.
    pub reason: GapReason,
}

impl Gap {
    /// The most instants that can be missing, as an instant is a whole second.
    pub fn max_instants(&self) -> u64 {
        let seconds = self.to.map_or(MAX_DISTANCE, |to| to.as_second() - self.from.as_second());
        seconds.clamp(0, MAX_DISTANCE) as u64
    }

    /// Where its instants end: at `to`, or, if the site was retired, after the one at `from`.
    pub fn end(&self) -> Timestamp {
        self.to.unwrap_or_else(|| self.from.checked_add(SignedDuration::from_secs(1)).unwrap_or(self.from))
    }
}
