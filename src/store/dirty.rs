//! Marks: which hours a batch has changed. Written in the transaction of the rows, so that whoever sees a mark sees
//! them too, and only ever appended: a unique mark with `ON CONFLICT DO NOTHING` would be swallowed by one that a job
//! is just deleting.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::batch::Batch;
use super::ingest::Counts;

/// Marks hours.
pub(super) const MARK: &str = "INSERT INTO webmon.rollup_dirty (hour) SELECT unnest($1::timestamptz[])";

const HOUR: i64 = 3_600;

/// The hours of the batch's results; none where all of these were there already.
pub(super) fn hours(batch: &Batch, counts: &Counts) -> Vec<Timestamp> {
    if counts.inserted + counts.superseded == 0 {
        return Vec::new();
    }
    let hours: BTreeSet<i64> =
        batch.results.iter().map(|row| row.result.scheduled_at.as_second().div_euclid(HOUR)).collect();
    hours.into_iter().filter_map(|hour| Timestamp::from_second(hour * HOUR).ok()).collect()
}
