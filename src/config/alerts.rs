//! `[alerts]`: when webmon speaks up, for all receivers.

use std::time::Duration;

use super::table::Table;
use super::units::{DAY, HOUR, SECOND};
use crate::text::parse_duration;

/// The most thresholds of certificates.
const MAX_LEFT: usize = 8;

/// `[alerts]`: when webmon speaks up, for all receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerts {
    /// Whether this process judges sites and tells receivers. Default true. It does neither with `jobs.threads = 0`.
    pub enabled: bool,
    /// How far behind a partition may be stored. When it is farther behind, that is an alert, and its sites are not
    /// judged until it has caught up: what is known of them is old. 10 s to 1 day, default 2 min.
    pub max_lag: Duration,
    /// How late the results of a checker may reach Kafka. If they are later, its outbox works through a backlog, and that is
    /// an alert. 1 min to 1 day, default 5 min.
    pub max_backlog: Duration,
    /// With so much time left a certificate makes an alert, one for each entry. 1 h to 365 days, 1 to 8 entries, the
    /// longest first, default 21, 7 and 1 days. The last one is critical.
    pub certificate: Vec<Duration>,
    /// How long a message is tried. 1 min to 30 days, default 3 days.
    pub give_up: Duration,
    /// How long alerts that have ended, their messages and silences are kept. 1 to 3,660 days, default 400 days.
    pub keep: Duration,
}

impl Default for Alerts {
    fn default() -> Alerts {
        Alerts {
            enabled: true,
            max_lag: SECOND * 120,
            max_backlog: SECOND * 300,
            certificate: vec![DAY * 21, DAY * 7, DAY],
            give_up: DAY * 3,
            keep: DAY * 400,
        }
    }
}

pub(super) fn alerts(table: &Table) -> Alerts {
    let default = Alerts::default();
    let certificate = table.list("certificate", 1, MAX_LEFT).map(|items| {
        let left = |text: &str| match parse_duration(text) {
            Some(left) if (HOUR..=DAY * 365).contains(&left) => Ok(left),
            _ => Err(format!("{text:?} is out of range: expected a duration of 1h to 365d")),
        };
        let mut left: Vec<Duration> = items.iter().filter_map(|item| item.parse(left)).collect();
        left.sort_unstable_by(|a, b| b.cmp(a));
        left.dedup();
        left
    });
    let alerts = Alerts {
        enabled: table.bool("enabled").unwrap_or(default.enabled),
        max_lag: table.duration("max_lag", SECOND * 10, DAY).unwrap_or(default.max_lag),
        max_backlog: table.duration("max_backlog", SECOND * 60, DAY).unwrap_or(default.max_backlog),
        certificate: certificate.unwrap_or(default.certificate),
        give_up: table.duration("give_up", SECOND * 60, DAY * 30).unwrap_or(default.give_up),
        keep: table.duration("keep", HOUR * 24, DAY * 3_660).unwrap_or(default.keep),
    };
    table.refuse_unknown();
    alerts
}
