//! Counts the instants in a stretch by the calendar, without walking them. If a checker of 20,000 sites was suspended
//! for hours, walking would take hundreds of millions of steps.

use croner::{Cron, Weekday};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// Counts the instants of a rhythm in `[from, to)`.
///
/// Between two changes of the zone's offset its wall clock runs evenly, and every time on it that matches is an
/// instant. So each day that matches has as many instants as the fields of its times allow.
pub(super) fn rhythm(cron: &Cron, zone: &TimeZone, from: Timestamp, to: Timestamp) -> u64 {
    let times = Times::new(cron);
    let mut total = 0;
    let mut start = from;
    while start < to {
        let change = zone.following(start).next().map(|change| change.timestamp());
        let end = change.map_or(to, |change| change.min(to));
        let offset = zone.to_offset(start);
        total += times.between(cron, offset.to_datetime(start), offset.to_datetime(end));
        start = end;
    }
    total
}

/// Whether the expression's day, month and year allow `date`.
pub(super) fn matches(cron: &Cron, date: Date) -> bool {
    let (year, month, day) = (i32::from(date.year()), date.month() as u32, date.day() as u32);
    let weekday = Weekday::from_days_from_sunday(date.weekday().to_sunday_zero_offset() as u32);
    let pattern = &cron.pattern;
    pattern.year_match(year).unwrap_or(false)
        && pattern.month_match(month).unwrap_or(false)
        && pattern.day_match(year, month, day, weekday).unwrap_or(false)
}

/// The times of a day that match.
struct Times {
    hours: Vec<u16>,
    minutes: Vec<u16>,
    seconds: Vec<u16>,
}

impl Times {
    fn new(cron: &Cron) -> Times {
        let pattern = &cron.pattern;
        Times {
            hours: pattern.hours.values(),
            minutes: pattern.minutes.values(),
            seconds: pattern.seconds.values(),
        }
    }

    fn a_day(&self) -> u64 {
        (self.hours.len() * self.minutes.len() * self.seconds.len()) as u64
    }

    /// How many are before `time`.
    fn before(&self, time: Time) -> u64 {
        /// How many of `values` are less than `bound`, and whether `bound` is one of them.
        fn rank(values: &[u16], bound: i8) -> (usize, bool) {
            let bound = u16::try_from(bound).unwrap_or_default();
            match values.binary_search(&bound) {
                Ok(rank) => (rank, true),
                Err(rank) => (rank, false),
            }
        }
        let (hours, in_hour) = rank(&self.hours, time.hour());
        let (minutes, in_minute) = rank(&self.minutes, time.minute());
        let (seconds, _) = rank(&self.seconds, time.second());
        let mut total = hours * self.minutes.len() * self.seconds.len();
        if in_hour {
            total += minutes * self.seconds.len();
            if in_minute {
                total += seconds;
            }
        }
        total as u64
    }

    /// How many a clock shows while it runs evenly from `from` up to but not including `to`.
    fn between(&self, cron: &Cron, from: DateTime, to: DateTime) -> u64 {
        let mut total = 0;
        for date in from.date().series(jiff::Span::new().days(1)).take_while(|date| *date <= to.date()) {
            if !matches(cron, date) {
                continue;
            }
            let start = if date == from.date() { self.before(from.time()) } else { 0 };
            let end = if date == to.date() { self.before(to.time()) } else { self.a_day() };
            total += end - start;
        }
        total
    }
}
