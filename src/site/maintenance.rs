//! Planned maintenance: when nothing is asked of a site.

use std::ops::Range;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::limits::{MAX_MAINTENANCE_S, MAX_TEXT};
use crate::record::MaintenanceWindow;
use crate::schedule::{Schedule, ScheduleError};
use crate::text::truncated;

/// The most windows that [`Maintenance::now_or_next`] joins.
const MAX_JOINED: usize = 100;

/// Windows of maintenance. Each begins at an instant of `schedule` and lasts for `duration`. Instants of a site within one
/// of its windows (`[begin, begin + duration)`) are `missed`, `maintenance`, and no request is made.
///
/// ```
/// use std::time::Duration;
/// use webmon::schedule::Schedule;
/// use webmon::site::Maintenance;
///
/// let sundays = Schedule::new("0 2 * * SUN", "Europe/Berlin")?;
/// let maintenance = Maintenance::new(sundays, Duration::from_secs(7_200));
/// assert!(maintenance.contains("2026-03-08T02:59:59Z".parse()?)); // 3:59:59 in Berlin
/// assert!(!maintenance.contains("2026-03-08T03:00:00Z".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Maintenance {
    /// When a window begins.
    pub schedule: Schedule,
    /// How long it lasts. 1 s to 30 days.
    pub duration: Duration,
}

impl Maintenance {
    /// Windows that begin at the instants of `schedule`.
    pub fn new(schedule: Schedule, duration: Duration) -> Maintenance {
        Maintenance { schedule, duration }
    }

    /// Whether `instant` is in a window.
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.stretch_at(instant).2
    }

    /// The time of maintenance that is now, or that comes next. None if no window has yet to end.
    ///
    /// It begins with the earliest window that has not ended at `now`. Windows that overlap or adjoin are one, but at most
    /// 100 are joined, because there may be no end to them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use webmon::schedule::Schedule;
    /// use webmon::site::Maintenance;
    ///
    /// let hours = |n: u64| Duration::from_secs(n * 3_600);
    /// let windows = [
    ///     Maintenance::new(Schedule::new("0 2 * * SUN", "UTC")?, hours(2)),
    ///     Maintenance::new(Schedule::new("0 3 8 * *", "UTC")?, hours(3)),
    /// ];
    /// let next = Maintenance::now_or_next(&windows, "2026-03-05T12:00:00Z".parse()?);
    /// assert_eq!(next, Some("2026-03-08T02:00:00Z".parse()?.."2026-03-08T06:00:00Z".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn now_or_next(windows: &[Maintenance], now: Timestamp) -> Option<Range<Timestamp>> {
        let begin = windows.iter().filter_map(|window| window.begin_of_next_to_end(now)).min()?;
        let mut end = begin;
        for _ in 0..MAX_JOINED {
            // Those that have begun by `end`, and go on after it.
            let going_on = windows.iter().filter_map(|window| {
                let begin = window.begin_of_next_to_end(end).filter(|begin| *begin <= end)?;
                Some(window.end_of(begin))
            });
            match going_on.max() {
                Some(later) if later > end => end = later,
                _ => break,
            }
        }
        Some(begin..end)
    }

    /// Whether no window has yet to end at `now`.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.begin_of_next_to_end(now).is_none()
    }

    pub(super) fn to_record(&self) -> MaintenanceWindow {
        let seconds = u32::try_from(self.duration.as_secs()).unwrap_or(u32::MAX);
        MaintenanceWindow {
            schedule: truncated(self.schedule.expression(), MAX_TEXT),
            timezone: truncated(self.schedule.timezone(), MAX_TEXT),
            duration_s: seconds.clamp(1, MAX_MAINTENANCE_S),
        }
    }

    /// A stretch around `instant` in which [`Maintenance::contains`] has the same answer: from, to, answer.
    pub(crate) fn stretch_at(&self, instant: Timestamp) -> (Timestamp, Timestamp, bool) {
        match self.begin_of_next_to_end(instant) {
            Some(begin) if begin <= instant => (begin, self.end_of(begin), true),
            begin => (instant, begin.unwrap_or(Timestamp::MAX), false),
        }
    }

    /// When the first window begins that has not ended at `instant`.
    fn begin_of_next_to_end(&self, instant: Timestamp) -> Option<Timestamp> {
        self.schedule.next_after(instant.saturating_sub(self.signed_duration()).unwrap_or(Timestamp::MIN))
    }

    fn end_of(&self, begin: Timestamp) -> Timestamp {
        begin.saturating_add(self.signed_duration()).unwrap_or(Timestamp::MAX)
    }

    fn signed_duration(&self) -> SignedDuration {
        SignedDuration::try_from(self.duration).unwrap_or(SignedDuration::MAX)
    }
}

impl TryFrom<&MaintenanceWindow> for Maintenance {
    type Error = ScheduleError;

    /// The windows that a record says. They may be over.
    fn try_from(window: &MaintenanceWindow) -> Result<Maintenance, ScheduleError> {
        let schedule = Schedule::new_at(&window.schedule, &window.timezone, Timestamp::UNIX_EPOCH)?;
        Ok(Maintenance::new(schedule, Duration::from_secs(window.duration_s.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(expression: &str, hours: u64) -> Maintenance {
        let schedule = Schedule::new_at(expression, "UTC", Timestamp::UNIX_EPOCH).unwrap();
        Maintenance::new(schedule, Duration::from_secs(hours * 3_600))
    }

    #[track_caller]
    fn assert_next(windows: &[Maintenance], now: &str, expected: Option<(&str, &str)>) {
        let expected = expected.map(|(from, to)| from.parse().unwrap()..to.parse().unwrap());
        assert_eq!(Maintenance::now_or_next(windows, now.parse().unwrap()), expected, "{now}");
    }

    #[test]
    fn the_maintenance_that_is_now_or_comes_next_is_told() {
        let daily = [windows("0 2 * * *", 2)];
        let (today, tomorrow) = (("2026-03-08T02:00:00Z", "2026-03-08T04:00:00Z"), "2026-03-09T02:00:00Z");
        for now in
            ["2026-03-07T04:00:00Z", "2026-03-08T02:00:00Z", "2026-03-08T03:59:59Z", "2026-03-08T03:59:59.9Z"]
        {
            assert_next(&daily, now, Some(today));
        }
        assert_next(&daily, "2026-03-08T04:00:00Z", Some((tomorrow, "2026-03-09T04:00:00Z")));
        assert_next(&[], "2026-03-08T04:00:00Z", None);
        // It was in 2025, for the last time.
        let over = windows("0 0 2 1 1 * 2025", 2);
        assert_next(std::slice::from_ref(&over), "2026-03-08T04:00:00Z", None);
        assert_next(&[over, windows("0 2 * * *", 2)], "2026-03-07T04:00:00Z", Some(today));
    }

    #[test]
    fn windows_that_overlap_or_adjoin_are_one_maintenance() {
        let now = "2026-03-08T00:00:00Z";
        for (second, end) in [
            // Within the first, beyond it, next to it, and apart from it.
            (windows("0 3 * * *", 1), "2026-03-08T05:00:00Z"),
            (windows("0 3 * * *", 4), "2026-03-08T07:00:00Z"),
            (windows("0 5 * * *", 1), "2026-03-08T06:00:00Z"),
            (windows("0 6 * * *", 1), "2026-03-08T05:00:00Z"),
        ] {
            let both = [second, windows("0 2 * * *", 3)];
            assert_next(&both, now, Some(("2026-03-08T02:00:00Z", end)));
        }
        // Over each other without an end: as far as it is looked.
        assert_next(&[windows("@hourly", 2)], now, Some(("2026-03-07T23:00:00Z", "2026-03-12T03:00:00Z")));
    }
}
