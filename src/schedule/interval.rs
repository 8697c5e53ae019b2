//! Finds the shortest interval of a cron expression from its fields and from the zone's changes of the clock, without
//! walking all its instants.

use std::time::Duration;

use croner::Cron;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::count;

/// After 28 years every date has met every weekday (the calendar's cycle, until 2100).
const DAYS: usize = 28 * 1461 / 4;

/// The shortest interval of a schedule in the 28 years after `since`; `Duration::MAX` if there are no two instants.
///
/// Two successive instants are either on one evenly running stretch of the wall clock, on the same day or on different
/// ones, or have a change of the clock between them.
pub(super) fn shortest(
    next_after: &dyn Fn(Timestamp) -> Option<Timestamp>,
    cron: &Cron,
    zone: &TimeZone,
    since: Timestamp,
) -> Duration {
    let (within_a_day, span) = times_of_day(cron);
    let mut shortest = within_a_day;
    if let Some(days) = days_apart(cron, zone.to_datetime(since).date()) {
        shortest = shortest.min(86_400 * days - span);
    }
    let until = since.saturating_add(SignedDuration::from_hours(24 * DAYS as i64)).unwrap_or(Timestamp::MAX);
    // The first instant from the last change on. No change before it has new instants around it.
    let mut first = next_after(since);
    for change in zone.following(since).map(|change| change.timestamp()).take_while(|change| *change < until)
    {
        if shortest == 1 || first.is_none() {
            break;
        }
        if first > Some(change) {
            continue;
        }
        // The instants around the change: the last one before it and the next two, because the first of these may be
        // that of a time of day in the gap.
        let before = last_before(next_after, change, since);
        first = next_after(change - SignedDuration::from_secs(1));
        let second = first.and_then(next_after);
        for (earlier, later) in before.zip(first).into_iter().chain(first.zip(second)) {
            shortest = shortest.min(later.as_second() - earlier.as_second());
        }
    }
    if shortest == i64::MAX { Duration::MAX } else { Duration::from_secs(shortest.unsigned_abs()) }
}

/// The shortest distance between two of a day's times, and the distance from its first to its last, in seconds.
fn times_of_day(cron: &Cron) -> (i64, i64) {
    let mut shortest = i64::MAX;
    // From the first to the last moment within the unit just handled: a second, a minute, an hour.
    let mut span = 0;
    for (unit, field) in
        [(1, &cron.pattern.seconds), (60, &cron.pattern.minutes), (3_600, &cron.pattern.hours)]
    {
        let values = field.values();
        for pair in values.windows(2) {
            shortest = shortest.min(unit * i64::from(pair[1] - pair[0]) - span);
        }
        if let (Some(first), Some(last)) = (values.first(), values.last()) {
            span += unit * i64::from(last - first);
        }
    }
    (shortest, span)
}

/// The fewest days between two days that match, from `first` on. None if fewer than two match.
fn days_apart(cron: &Cron, first: Date) -> Option<i64> {
    let mut fewest: Option<i64> = None;
    let mut previous = None;
    for (i, date) in (0_i64..).zip(first.series(jiff::Span::new().days(1)).take(DAYS)) {
        if count::matches(cron, date) {
            if let Some(previous) = previous.replace(i) {
                fewest = Some(fewest.map_or(i - previous, |fewest| fewest.min(i - previous)));
            }
            if fewest == Some(1) {
                break;
            }
        }
    }
    fewest
}

/// The last instant before `change` and after `since`. Bisection finds it, because a later start never finds an earlier
/// instant.
fn last_before(
    next_after: &dyn Fn(Timestamp) -> Option<Timestamp>,
    change: Timestamp,
    since: Timestamp,
) -> Option<Timestamp> {
    let found = |from: i64| {
        let from = Timestamp::from_second(from).ok()?;
        next_after(from).filter(|instant| *instant < change)
    };
    let (change_second, since) = (change.as_second(), since.as_second());
    // Starts further and further back until it finds an instant before the change.
    let mut step = 1;
    let mut last = loop {
        let from = (change_second - step).max(since);
        match found(from) {
            Some(instant) => break instant,
            None if from == since => return None,
            None => step *= 4,
        }
    };
    // There is no instant between `none_from` and the change, so the search goes on between `last` and `none_from`.
    let mut none_from = change_second;
    while none_from > last.as_second() {
        let middle = last.as_second() + (none_from - last.as_second()) / 2;
        match found(middle) {
            Some(instant) => last = instant,
            None => none_from = middle,
        }
    }
    Some(last)
}
