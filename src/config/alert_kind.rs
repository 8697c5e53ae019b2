//! What an alert may be about, and how grave it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an alert is about. The first five are about a site, the others about webmon itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// The site is down, by its thresholds.
    Down,
    /// The site is down at some locations, but not at as many as its thresholds ask for.
    Advisory,
    /// Nobody watches the site: a result is overdue, or no check of it came to a verdict for an hour.
    Stale,
    /// A certificate of the site expires soon.
    Certificate,
    /// The site answers, but slowly.
    Degraded,
    /// A partition of the topic is stored too late.
    Lag,
    /// There are dead letters.
    DeadLetters,
    /// A partition is paused.
    Paused,
    /// A job was discarded.
    Discarded,
    /// The outbox of a checker was full, so results were lost.
    Spool,
}

impl AlertKind {
    /// All kinds.
    pub const ALL: [AlertKind; 10] = [
        AlertKind::Down,
        AlertKind::Advisory,
        AlertKind::Stale,
        AlertKind::Certificate,
        AlertKind::Degraded,
        AlertKind::Lag,
        AlertKind::DeadLetters,
        AlertKind::Paused,
        AlertKind::Discarded,
        AlertKind::Spool,
    ];

    /// The word in the configuration, in tables and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertKind::Down => "down",
            AlertKind::Advisory => "advisory",
            AlertKind::Stale => "stale",
            AlertKind::Certificate => "certificate",
            AlertKind::Degraded => "degraded",
            AlertKind::Lag => "lag",
            AlertKind::DeadLetters => "dead_letters",
            AlertKind::Paused => "paused",
            AlertKind::Discarded => "discarded",
            AlertKind::Spool => "spool",
        }
    }

    /// Whether it is about a site, and not about webmon itself.
    pub fn is_of_a_site(self) -> bool {
        matches!(
            self,
            AlertKind::Down
                | AlertKind::Advisory
                | AlertKind::Stale
                | AlertKind::Certificate
                | AlertKind::Degraded
        )
    }

    /// How grave it is.
    pub fn severity(self) -> Severity {
        match self {
            AlertKind::Down | AlertKind::Paused | AlertKind::Spool => Severity::Critical,
            AlertKind::Advisory => Severity::Info,
            _ => Severity::Warning,
        }
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for AlertKind {
    type Err = String;

    fn from_str(text: &str) -> Result<AlertKind, String> {
        AlertKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let names = AlertKind::ALL.map(AlertKind::as_str).join(", ");
            format!("{text:?} is not a kind of alert: expected one of {names}")
        })
    }
}

/// How grave an alert is. The order is that of gravity: `Info < Warning < Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look today.
    Warning,
    /// Somebody should look now.
    Critical,
}

impl Severity {
    /// All severities.
    pub const ALL: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

    /// The word in the configuration, in tables and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Severity, String> {
        Severity::ALL.into_iter().find(|severity| severity.as_str() == text).ok_or_else(|| {
            let names = Severity::ALL.map(Severity::as_str).join(", ");
            format!("{text:?} is not a severity: expected one of {names}")
        })
    }
}
