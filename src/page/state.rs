//! What a site is now.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Serialize;

/// What a site is now, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// There is an incident.
    Down,
    /// It is down at some locations, but at fewer than make an incident.
    Partial,
    /// Nobody checks it: results are overdue at every location, or all were missed for an hour and more.
    Unchecked,
    /// It is up, but slow: the newest result took longer than the site's `degraded`.
    Slow,
    /// It is in planned maintenance.
    Planned,
    /// It is up.
    Up,
}

impl State {
    /// All of them, the gravest first.
    pub(super) const ALL: [State; 6] =
        [State::Down, State::Partial, State::Unchecked, State::Slow, State::Planned, State::Up];

    /// The word in addresses and JSON.
    pub(super) fn word(self) -> &'static str {
        match self {
            State::Down => "down",
            State::Partial => "partial",
            State::Unchecked => "unchecked",
            State::Slow => "slow",
            State::Planned => "planned",
            State::Up => "up",
        }
    }

    /// The words that people read.
    pub(super) fn label(self) -> &'static str {
        match self {
            State::Down => "Down",
            State::Partial => "Partly down",
            State::Unchecked => "Not checked",
            State::Slow => "Slow",
            State::Planned => "Maintenance",
            State::Up => "Up",
        }
    }

    /// Whether somebody should look.
    pub(super) fn is_wrong(self) -> bool {
        matches!(self, State::Down | State::Partial | State::Unchecked | State::Slow)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for State {
    type Err = ();

    fn from_str(text: &str) -> Result<State, ()> {
        State::ALL.into_iter().find(|state| state.word() == text).ok_or(())
    }
}
