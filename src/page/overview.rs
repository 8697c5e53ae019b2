//! What is known of all sites at one time.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use super::day::{DAYS, Day, Shares};
use super::state::State;
use crate::site::{Maintenance, Slo};

/// What is known of all sites at one time.
#[derive(Debug)]
pub(super) struct Overview {
    /// When it was read.
    pub at: Timestamp,
    /// Why it is older than it should be. None where it is not.
    pub outdated: Option<String>,
    /// The UTC day of the last entry of each [`Bar`].
    pub today: Date,
    /// The sites that are checked, in the order of their names.
    pub sites: Vec<Arc<SiteNow>>,
}

/// What is known of a site.
#[derive(Debug)]
pub(super) struct SiteNow {
    /// Its number in the database.
    pub site_id: i32,
    /// How it is configured.
    pub facts: Arc<Facts>,
    /// What it is.
    pub state: State,
    /// Since when it is that, if that is known.
    pub since: Option<Timestamp>,
    /// Why it is that.
    pub reason: Option<Reason>,
    /// The incident that lasts.
    pub incident_id: Option<i64>,
    /// What each location says.
    pub places: Vec<Place>,
    /// When the next result is due.
    pub next_at: Option<Timestamp>,
    /// When the first certificate of its chain expires.
    pub expires_at: Option<Timestamp>,
    /// Its last days.
    pub bar: Arc<Bar>,
}

/// How a site is configured.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// The site's key.
    pub key: String,
    /// Its display name.
    pub name: String,
    /// Its URL, without credentials.
    pub url: String,
    /// The method of the request.
    pub method: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The cron expression and its time zone.
    pub schedule: Option<String>,
    /// Its windows of planned maintenance.
    pub maintenance: Vec<Maintenance>,
    /// How much uptime it is to have.
    pub target: Option<Slo>,
}

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    /// The class, such as `timeout`.
    pub error_type: String,
    /// The reason within the class.
    pub detail: Option<String>,
}

/// What a location says of a site.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The location's name.
    pub location: Arc<str>,
    /// What the site is there: down, not checked, slow, in maintenance or up.
    pub state: State,
    /// Since when it is down there.
    pub down_since_at: Option<Timestamp>,
    /// The instant of the newest result.
    pub scheduled_at: Timestamp,
    /// When the next result is due.
    pub next_at: Option<Timestamp>,
    /// Why the newest instant did not succeed.
    pub reason: Option<Reason>,
    /// The status code of the newest result.
    pub http_status: Option<i16>,
    /// How long the newest check took, in microseconds.
    pub total_us: Option<i32>,
    /// When the first certificate of the chain expires.
    pub expires_at: Option<Timestamp>,
}

/// The last [`DAYS`] UTC days of a site, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar(pub Box<[Shares; DAYS]>);

impl Default for Bar {
    fn default() -> Bar {
        Bar(Box::new([Shares::default(); DAYS]))
    }
}

impl Bar {
    /// The sum of the last `days` days.
    pub(super) fn sum(&self, days: usize) -> Shares {
        let mut sum = Shares::default();
        self.0[DAYS - days.min(DAYS)..].iter().for_each(|day| sum += *day);
        sum
    }

    /// The days with their dates. `today` is the last one.
    pub(super) fn days(&self, today: Date) -> Vec<Day> {
        let dated = |(i, shares): (usize, &Shares)| Day {
            day: today.saturating_sub(jiff::Span::new().days((DAYS - 1 - i) as i64)),
            shares: *shares,
        };
        self.0.iter().enumerate().map(dated).collect()
    }
}

impl SiteNow {
    /// What the site is, from what its locations say.
    pub(super) fn of(
        site_id: i32,
        facts: Arc<Facts>,
        places: Vec<Place>,
        incident: Option<(i64, Timestamp, Reason)>,
        bar: Arc<Bar>,
    ) -> SiteNow {
        let all = |state| !places.is_empty() && places.iter().all(|place| place.state == state);
        let down = || places.iter().filter(|place| place.state == State::Down);
        let next = places.iter().filter_map(|place| place.next_at).min();
        let reason_of =
            |state| places.iter().find(|place| place.state == state).and_then(|place| place.reason.clone());
        let first_down = down().filter_map(|place| place.down_since_at).min();
        let incident_id = incident.as_ref().map(|(id, ..)| *id);
        let (state, since, reason) = if all(State::Unchecked) {
            (State::Unchecked, next, None)
        } else if let Some((_, from_at, reason)) = incident {
            (State::Down, Some(from_at), Some(reason))
        } else if all(State::Down) {
            // The incident follows at once.
            (State::Down, first_down, reason_of(State::Down))
        } else if down().next().is_some() {
            (State::Partial, first_down, reason_of(State::Down))
        } else if all(State::Planned) {
            (State::Planned, None, None)
        } else if places.iter().any(|place| place.state == State::Slow) {
            (State::Slow, None, None)
        } else {
            (State::Up, None, None)
        };
        SiteNow {
            site_id,
            facts,
            state,
            since,
            reason,
            incident_id,
            next_at: next,
            expires_at: places.iter().filter_map(|place| place.expires_at).min(),
            places,
            bar,
        }
    }
}
