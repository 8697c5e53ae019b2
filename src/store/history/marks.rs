//! Marks: which hours a batch has changed. A mark is written in the transaction of the rows, so a job that sees the
//! mark sees the rows too. Marks are only ever appended: with unique marks and `ON CONFLICT DO NOTHING`, a job that is
//! just deleting a mark would swallow the new one.

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
