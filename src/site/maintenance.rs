//! Planned maintenance: when, and for which sites.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::site::Site;
use crate::schedule::Schedule;

/// Windows of maintenance. Each begins at an instant of `schedule` and lasts for `duration`. Instants of the selected
/// sites within a window (`[begin, begin + duration)`) are `missed`, `maintenance`, and no request is made.
///
/// ```
/// use std::time::Duration;
/// use webmon::schedule::Schedule;
/// use webmon::site::Maintenance;
///
/// let sundays = Schedule::new("0 2 * * SUN", "Europe/Berlin")?;
/// let maintenance = Maintenance::of_all_sites(sundays, Duration::from_secs(7_200));
/// assert!(maintenance.contains("2026-03-08T02:59:59Z".parse()?)); // 3:59:59 in Berlin
/// assert!(!maintenance.contains("2026-03-08T03:00:00Z".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Maintenance {
    /// When a window begins.
    pub schedule: Schedule,
    /// How long it lasts.
    pub duration: Duration,
    /// The keys of the selected sites.
    pub sites: BTreeSet<String>,
    /// Sites that have all these labels are selected too. Without sites and labels, all sites are selected.
    pub labels: BTreeMap<String, String>,
}

impl Maintenance {
    /// Windows for all sites.
    pub fn of_all_sites(schedule: Schedule, duration: Duration) -> Maintenance {
        Maintenance { schedule, duration, sites: BTreeSet::new(), labels: BTreeMap::new() }
    }

    /// Whether `site` is selected.
    pub fn applies_to(&self, site: &Site) -> bool {
        (self.sites.is_empty() && self.labels.is_empty())
            || self.sites.contains(&site.key)
            || (!self.labels.is_empty()
                && self.labels.iter().all(|(label, value)| site.labels.get(label) == Some(value)))
    }

    /// Whether `instant` is in a window.
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.stretch_at(instant).2
    }

    /// A stretch around `instant` in which [`Maintenance::contains`] has the same answer: from, to, answer.
    pub(crate) fn stretch_at(&self, instant: Timestamp) -> (Timestamp, Timestamp, bool) {
        let duration = SignedDuration::try_from(self.duration).unwrap_or(SignedDuration::MAX);
        // The start of the first window that has not ended.
        let begin = self.schedule.next_after(instant.saturating_sub(duration).unwrap_or(Timestamp::MIN));
        match begin {
            Some(begin) if begin <= instant => {
                (begin, begin.saturating_add(duration).unwrap_or(Timestamp::MAX), true)
            }
            begin => (instant, begin.unwrap_or(Timestamp::MAX), false),
        }
    }
}
