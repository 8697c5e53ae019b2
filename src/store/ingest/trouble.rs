//! Trouble with Kafka that is waited out.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// How long until Kafka is asked again meanwhile: the first time, and at most.
pub(super) const AGAIN_MIN: Duration = Duration::from_millis(100);
pub(super) const AGAIN_MAX: Duration = Duration::from_secs(2);
/// How long a partition that was given back is left to others: the first time, and at most.
const BARRED_MIN: Duration = Duration::from_secs(5);
const BARRED_MAX: Duration = Duration::from_secs(300);

/// Trouble with Kafka that is being waited out.
#[derive(Debug)]
pub(super) struct Trouble {
    since: Instant,
    pub last_at: Instant,
    /// When to ask again.
    again_at: Instant,
    backoff: Backoff,
    /// When it was last logged.
    pub told_at: Instant,
}

impl Trouble {
    pub(super) fn new() -> Trouble {
        let now = Instant::now();
        let backoff = Backoff::new(AGAIN_MIN, AGAIN_MAX);
        Trouble { since: now, last_at: now, again_at: now, backoff, told_at: now }
    }

    /// Notes that the trouble is still there. The next pause is a little longer than the one before.
    pub(super) fn again(&mut self) {
        self.last_at = Instant::now();
        self.again_at = self.last_at + self.backoff.pause();
    }

    pub(super) fn lasts(&self) -> Duration {
        self.since.elapsed()
    }

    pub(super) fn wait(&self) -> Duration {
        self.again_at.saturating_duration_since(Instant::now())
    }
}

/// A partition that was given back and is left to others for a while.
pub(super) struct Barred {
    pub until: Instant,
    backoff: Backoff,
}

impl Barred {
    pub(super) fn new() -> Barred {
        Barred { until: Instant::now(), backoff: Backoff::new(BARRED_MIN, BARRED_MAX) }
    }

    /// Bars the partition again, for longer than the time before. Returns for how long.
    pub(super) fn again(&mut self) -> Duration {
        let pause = self.backoff.pause();
        self.until = Instant::now() + pause;
        pause
    }
}
