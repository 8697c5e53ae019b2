//! What became of one try.

use std::time::Duration;

/// What became of one try to tell a receiver. The texts have at most 200 characters, and no secret of the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it: what it answered.
    Delivered(String),
    /// It may work later, by itself or when somebody has mended the configuration.
    Retry {
        /// What happened.
        why: String,
        /// How long the receiver asks to be left alone. At most 1 h.
        after: Option<Duration>,
    },
    /// The receiver refuses the content. To try the same again is of no use.
    Refused(String),
    /// The receiver wants no more messages at all (410 of a webhook).
    Gone(String),
}

impl Outcome {
    /// It may work later.
    pub(super) fn retry(why: impl Into<String>) -> Outcome {
        Outcome::Retry { why: why.into(), after: None }
    }

    /// The same with another text.
    pub(super) fn map(self, change: impl FnOnce(String) -> String) -> Outcome {
        match self {
            Outcome::Delivered(text) => Outcome::Delivered(change(text)),
            Outcome::Retry { why, after } => Outcome::Retry { why: change(why), after },
            Outcome::Refused(text) => Outcome::Refused(change(text)),
            Outcome::Gone(text) => Outcome::Gone(change(text)),
        }
    }
}
