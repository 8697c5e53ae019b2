//! The locations of a site, side by side over the same instants.

use std::collections::BTreeMap;

use jiff::Timestamp;
use postgres::Row;
use schemars::JsonSchema;
use serde::Serialize;

/// How many instants are shown one by one.
const SHOWN: usize = 60;

/// The locations of a site over the same instants.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Together {
    /// How many instants have a verdict from every location. The figures are of these alone, so they can be compared.
    pub instants: usize,
    /// The oldest of all instants that were looked at.
    pub from_at: Timestamp,
    /// The newest instants that any location has, at most 60, the oldest first.
    pub shown: Vec<Timestamp>,
    /// The locations.
    pub locations: Vec<AtLocation>,
}

/// What a location says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct AtLocation {
    /// Its name.
    pub location: String,
    /// Of the common instants those that succeeded.
    pub success: usize,
    /// Of the common instants those that failed.
    pub failure: usize,
    /// The median time at the common instants, in microseconds.
    pub p50_us: Option<i32>,
    /// The time that 95 % of the checks at the common instants did not exceed.
    pub p95_us: Option<i32>,
    /// What it says of each shown instant: `success`, `failure`, `missed`, or nothing.
    pub outcomes: Vec<Option<String>>,
}

impl Together {
    /// From the rows of `site_together.sql`. None with fewer than two locations.
    pub(super) fn of(rows: &[Row]) -> Option<Together> {
        let mut by_instant: BTreeMap<Timestamp, BTreeMap<&str, (char, Option<i32>)>> = BTreeMap::new();
        let mut names: BTreeMap<&str, ()> = BTreeMap::new();
        for row in rows {
            let (location, outcome): (&str, i8) = (row.get("location"), row.get("outcome"));
            let outcome = char::from(outcome.cast_unsigned());
            names.insert(location, ());
            by_instant
                .entry(row.get("scheduled_at"))
                .or_default()
                .insert(location, (outcome, row.get("total_us")));
        }
        if names.len() < 2 {
            return None;
        }
        let verdict = |at: &&BTreeMap<&str, (char, Option<i32>)>| {
            at.len() == names.len() && at.values().all(|(outcome, _)| *outcome != 'm')
        };
        let common: Vec<_> = by_instant.values().filter(verdict).collect();
        let shown: Vec<Timestamp> = by_instant.keys().rev().take(SHOWN).rev().copied().collect();
        let location = |name: &str| {
            let mut times: Vec<i32> = common.iter().filter_map(|at| at.get(name)?.1).collect();
            times.sort_unstable();
            let percentile = |fraction: f64| {
                let rank = (times.len() as f64 * fraction).ceil() as usize;
                times.get(rank.saturating_sub(1)).copied()
            };
            let success =
                common.iter().filter(|at| at.get(name).is_some_and(|(outcome, _)| *outcome == 's')).count();
            AtLocation {
                location: name.to_owned(),
                success,
                failure: common.len() - success,
                p50_us: percentile(0.5),
                p95_us: percentile(0.95),
                outcomes: shown
                    .iter()
                    .map(|at| by_instant.get(at)?.get(name).map(|(outcome, _)| word(*outcome).to_owned()))
                    .collect(),
            }
        };
        Some(Together {
            instants: common.len(),
            from_at: *by_instant.keys().next()?,
            locations: names.keys().map(|name| location(name)).collect(),
            shown,
        })
    }
}

fn word(outcome: char) -> &'static str {
    match outcome {
        's' => "success",
        'f' => "failure",
        _ => "missed",
    }
}
