//! Marks: which hours a batch has changed. Written in the transaction of the rows, so that whoever sees a mark sees
//! them too, and only ever appended: a unique mark with `ON CONFLICT DO NOTHING` would be swallowed by one that a job
//! is just deleting.

use std::collections::BTreeSet;

use jiff::Timestamp;

/// Marks hours.
pub(crate) const MARK: &str = "INSERT INTO webmon.rollup_dirty (hour) SELECT unnest($1::timestamptz[])";

const HOUR: i64 = 3_600;

/// The hours of these instants.
pub(crate) fn hours(instants: impl Iterator<Item = Timestamp>) -> Vec<Timestamp> {
    let hours: BTreeSet<i64> = instants.map(|at| at.as_second().div_euclid(HOUR)).collect();
    hours.into_iter().filter_map(|hour| Timestamp::from_second(hour * HOUR).ok()).collect()
}
