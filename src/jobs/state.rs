//! The states of a job.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for its time and for a worker.
    Available,
    /// A worker runs it.
    Running,
    /// It failed, and waits to be tried again.
    Retryable,
    /// It is done.
    Completed,
    /// It failed for good: its error is kept.
    Discarded,
    /// It was cancelled, or another job of its kind and key stands for it.
    Cancelled,
}

impl State {
    /// All states.
    pub const ALL: [State; 6] = [
        State::Available,
        State::Running,
        State::Retryable,
        State::Completed,
        State::Discarded,
        State::Cancelled,
    ];

    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Available => "available",
            State::Running => "running",
            State::Retryable => "retryable",
            State::Completed => "completed",
            State::Discarded => "discarded",
            State::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen to it by itself.
    pub fn is_final(self) -> bool {
        matches!(self, State::Completed | State::Discarded | State::Cancelled)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<State, String> {
        State::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            let names = State::ALL.map(State::as_str).join(", ");
            format!("{text:?} is not a state: expected one of {names}")
        })
    }
}
