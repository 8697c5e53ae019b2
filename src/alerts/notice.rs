//! What a receiver is told: one transition of one alert, and the message that holds some of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{AlertKind, Severity};

/// Which way an alert went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It began.
    Firing,
    /// It ended.
    Resolved,
}

impl Action {
    /// The word in tables and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Firing => "firing",
            Action::Resolved => "resolved",
        }
    }
}

/// One transition of one alert, as it is told. Texts that come from a site are bounded, but not escaped: each receiver
/// escapes them for its own format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The transition's id. It never changes, and no two transitions share it.
    pub transition_id: i64,
    /// The transition with which the alert began: its own id when it fires. So both ends of an alert have it in common.
    pub alert_id: i64,
    /// 0 for the transition itself; n for the n-th reminder of an alert that still fires.
    pub reminder: i32,
    /// What it is about.
    pub kind: AlertKind,
    /// Whether it began or ended.
    pub action: Action,
    /// How grave it is.
    pub severity: Severity,
    /// The site's key, or what of webmon it is about, such as `webmon.results/3`.
    pub subject: String,
    /// The site's display name, or the subject again.
    pub name: String,
    /// The site's URL, without credentials.
    pub url: Option<String>,
    /// The site's labels.
    pub labels: BTreeMap<String, String>,
    /// When it began, by the instants of the checks.
    pub began_at: Timestamp,
    /// When it ended, by the instants of the checks. None while it lasts.
    pub ended_at: Option<Timestamp>,
    /// When webmon noticed the transition.
    pub noticed_at: Timestamp,
    /// One line for people, without markup, such as `Shop is down: timeout (connect) at 2 of 3 locations`.
    pub summary: String,
    /// The class of the failure.
    pub error_type: Option<String>,
    /// The reason within the class.
    pub error_detail: Option<String>,
    /// What went wrong, in words. At most 1 kB. A site may have a say in it.
    pub error_message: Option<String>,
    /// The locations at which the site is down.
    pub locations: Vec<String>,
}

impl Notice {
    /// The key by which receivers recognize an alert: the same when it begins, in reminders and when it ends.
    pub fn dedup_key(&self) -> String {
        // Two databases have alerts of the same number.
        format!("webmon-{}-{}", self.alert_id, self.began_at.as_second())
    }
}

/// Alerts that were not told, because what they depend on is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The site on which they depend.
    pub parent: String,
    /// How many alerts are held back.
    pub alerts: u64,
}

/// What is sent to a receiver at once. Sent again, it is the same in every byte that counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id, such as `msg_17_1764086400000000`: the key by which a receiver drops what it has already.
    pub id: String,
    /// When it was made. It is the same in every try.
    pub created_at: Timestamp,
    /// The transitions, in the order in which they were noticed. At least one.
    pub notices: Vec<Notice>,
    /// What is held back because something in `notices` is down.
    pub held: Vec<Held>,
}
