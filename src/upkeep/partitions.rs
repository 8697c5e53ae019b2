//! `partitions`: makes the partitions of today and of the days to come.

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

/// Makes the partitions of today and of the days to come, so that no writer must.
fn make_partitions(transaction: &mut Transaction<'_>, days_ahead: u32) -> Result<(), JobError> {
    let now: Timestamp = transaction.query_one("SELECT clock_timestamp()", &[])?.get(0);
    let today = TimeZone::UTC.to_datetime(now).date();
    let days: Vec<Date> = today.series(jiff::Span::new().days(1)).take(days_ahead as usize + 1).collect();
    let sql = "SELECT count(*) FROM unnest($1::date[]) AS day WHERE webmon.ensure_result_partition(day)";
    let made: i64 = transaction.query_one(sql, &[&days])?.get(0);
    if made > 0 {
        log::info!(made; "made the partitions of the days to come");
    }
    Ok(())
}
