//! What changes: from the votes about a site and the alerts that fire, to those that begin and end. An alert only goes
//! forward, from its beginning to its end. What a later look finds about an earlier time begins and ends nothing.

use jiff::Timestamp;

use super::votes::Tally;
use crate::config::AlertKind;

/// The alerts about a site that fire, by kind. Certificates are judged elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Firing {
    pub down: bool,
    pub advisory: bool,
    pub stale: bool,
    pub degraded: bool,
}

impl Firing {
    pub(super) fn set(&mut self, kind: AlertKind, fires: bool) {
        match kind {
            AlertKind::Down => self.down = fires,
            AlertKind::Advisory => self.advisory = fires,
            AlertKind::Stale => self.stale = fires,
            AlertKind::Degraded => self.degraded = fires,
            _ => {}
        }
    }

    pub(super) fn any(self) -> bool {
        self != Firing::default()
    }
}

/// That an alert begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub kind: AlertKind,
    /// Whether it begins.
    pub fires: bool,
    /// The instant with which it began or ended.
    pub at: Timestamp,
}

/// Decides what changes. Returns at most one change of each kind, the ends first. `now` dates the ends of what no
/// instant ends.
pub(super) fn judge(firing: Firing, tally: &Tally, now: Timestamp) -> Vec<Change> {
    let (mut ends, mut begins) = (Vec::new(), Vec::new());
    let mut note = |kind: AlertKind,
                    fired: bool,
                    begins_at: Option<Timestamp>,
                    ends_at: Option<Timestamp>| match (fired, begins_at, ends_at) {
        (false, Some(at), _) => begins.push(Change { kind, fires: true, at }),
        (true, None, Some(at)) => ends.push(Change { kind, fires: false, at }),
        _ => {}
    };
    let retired = tally.retired_at;
    let down = retired.is_none() && (tally.down_since.is_some() || (firing.down && tally.up_since.is_none()));
    note(AlertKind::Down, firing.down, tally.down_since, retired.or(tally.up_since));

    let below = tally.any_down && !down && !tally.may_be_down;
    let below_since = Some(now).filter(|_| below && retired.is_none());
    let above = Some(now).filter(|_| down || (!tally.any_down && !tally.any_late && tally.any_up));
    note(AlertKind::Advisory, firing.advisory, below_since, retired.or(above));

    let watched = Some(now).filter(|_| tally.watched);
    note(AlertKind::Stale, firing.stale, tally.stale_since, retired.or(watched));

    let slow_since = tally.slow_since.filter(|_| !down);
    let quick = Some(now).filter(|_| tally.quorum && tally.any_up && !tally.may_be_slow);
    note(AlertKind::Degraded, firing.degraded, slow_since, retired.or(quick));

    ends.append(&mut begins);
    ends
}
