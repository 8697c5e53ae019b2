//! Results by UTC day, as their table is partitioned.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::batch::Row;

/// The places of the results of each UTC day.
pub(super) fn by_day(rows: &[&Row]) -> BTreeMap<Date, Vec<usize>> {
    let mut days: BTreeMap<Date, Vec<usize>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        days.entry(utc_day(row.result.scheduled_at)).or_default().push(place);
    }
    days
}

/// The first instant of a UTC day, and that of the next one.
pub(super) fn bounds(day: Date) -> (Timestamp, Timestamp) {
    let start = |day: Date| day.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |start| start.timestamp());
    (start(day), day.tomorrow().map_or(Timestamp::MAX, start))
}

pub(super) fn utc_day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}
