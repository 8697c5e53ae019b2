//! What is known of a site when it is judged.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::judge::Firing;
use super::votes::Voice;
use crate::config::AlertKind;
use crate::site::Incident;

/// A site, its locations and the alerts about it that fire.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub site_id: i32,
    pub key: String,
    pub name: String,
    pub url: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub thresholds: Incident,
    /// When its first record was stored.
    pub created_at: Timestamp,
    pub places: Vec<Place>,
    pub firing: Firing,
    /// The alerts that fire, by kind, and when they began.
    pub alerts: BTreeMap<AlertKind, Fires>,
    /// The newest failure, if the newest verdict somewhere is one.
    pub failure: Option<Failure>,
}

/// An alert that fires.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fires {
    pub alert_id: i64,
    pub began_at: Timestamp,
}

/// A location of a site.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Its name.
    pub location: String,
    pub voice: Voice,
    /// When its next result is overdue. None if none is due.
    pub overdue_at: Option<Timestamp>,
    /// The time from its newest instant to the next one, in seconds. None if none was announced.
    pub next_after_s: Option<i32>,
    /// The version of the site that its newest result has.
    pub version: Option<i32>,
    /// Whether the newest instant was missed because of planned maintenance.
    pub planned: bool,
    /// Whether history knows it. Otherwise it is told, so that `webmon.current_status` shows it.
    pub is_listed: bool,
    /// When the site is judged again even without a note.
    pub look_at: Option<Timestamp>,
}

/// Why a check failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Failure {
    pub error_type: Option<String>,
    pub error_detail: Option<String>,
    pub error_message: Option<String>,
}

impl Known {
    pub(super) fn voices(&self) -> Vec<Voice> {
        self.places.iter().map(|place| place.voice.clone()).collect()
    }

    /// The locations that have results and that history does not know.
    pub(super) fn unlisted(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| !place.is_listed && place.version.is_some())
    }

    /// The names of the locations that are down.
    pub(super) fn down_locations(&self) -> Vec<String> {
        let down = |place: &&Place| place.voice.down_since.is_some();
        self.places.iter().filter(down).map(|place| place.location.clone()).collect()
    }
}
