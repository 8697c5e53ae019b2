//! Results that reached Kafka long after they were there: the outbox of their checker works through a backlog. The time of
//! the record tells, so a writer that is behind itself is not mistaken for that.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::batch::Batch;
use crate::record::ErrorType;

/// Notes late results.
pub(super) const NOTE_LATE: &str = include_str!("../../../sql/queries/ingest/note_late.sql");
/// From so many seconds on a result is noted: the least that `alerts.max_backlog` may be.
const LATE_S: i64 = 60;

/// The columns of [`NOTE_LATE`].
#[derive(Default)]
pub(super) struct Late {
    pub checkers: Vec<i32>,
    pub sent: Vec<Timestamp>,
    /// How late, in seconds: the time that a check may take is not counted.
    pub late_s: Vec<i32>,
}

impl Late {
    /// The last late result of each checker in `batch`. Nearly always there is none.
    pub(super) fn of(batch: &Batch) -> Late {
        let mut last: BTreeMap<i32, (Timestamp, i64)> = BTreeMap::new();
        for row in &batch.results {
            let Some(sent) = row.source.sent_at() else { continue };
            // What a checker says about the time when it did not run is late by its nature.
            if row.result.error_type == Some(ErrorType::CheckerDown) {
                continue;
            }
            let budget = SignedDuration::from_millis(row.result.time_budget_ms.unwrap_or_default().into());
            let late = (sent.duration_since(row.result.scheduled_at) - budget).as_secs();
            if late >= LATE_S {
                last.insert(row.ids.checker, (sent, late));
            }
        }
        let mut columns = Late::default();
        for (checker, (sent, late)) in last {
            columns.checkers.push(checker);
            columns.sent.push(sent);
            columns.late_s.push(i32::try_from(late).unwrap_or(i32::MAX));
        }
        columns
    }
}
