//! `partitions`: creates the partitions of today and of the next days.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use postgres::Transaction;

use super::every::every;
use crate::jobs::{JobError, Kind, QueueError};

pub(super) const NAME: &str = "partitions";

pub(super) fn kind(days_ahead: u32) -> Result<Kind, QueueError> {
    let run = move |_: &_, transaction: &mut Transaction<'_>| make_partitions(transaction, days_ahead);
    every("@every 1h", Kind::new(NAME, run))
}

/// Creates the partitions of today and of the next days, so that no writer has to.
fn make_partitions(transaction: &mut Transaction<'_>, days_ahead: u32) -> Result<(), JobError> {
    let now: Timestamp = transaction.query_one("SELECT clock_timestamp()", &[])?.get(0);
    let today = TimeZone::UTC.to_datetime(now).date();
    let days: Vec<Date> = today.series(jiff::Span::new().days(1)).take(days_ahead as usize + 1).collect();
    let sql = "SELECT count(*) FROM unnest($1::date[]) AS day WHERE webmon.ensure_result_partition(day)";
    let made: i64 = transaction.query_one(sql, &[&days])?.get(0);
    if made > 0 {
        log::info!(made; "created the partitions of the next days");
    }
    Ok(())
}
