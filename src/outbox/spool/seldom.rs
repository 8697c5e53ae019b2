//! A trouble that lasts is logged once in a while.

use std::time::{Duration, Instant};

/// How often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// When a trouble was logged last.
#[derive(Default)]
pub(super) struct Seldom(Option<Instant>);

impl Seldom {
    /// Whether it is to be logged now, which then is done.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.0.is_none_or(|logged_at| now >= logged_at + LOG_EVERY);
        if due {
            self.0 = Some(now);
        }
        due
    }

    /// The trouble is over: whether it was logged. The next one is logged at once.
    pub(super) fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }
}
