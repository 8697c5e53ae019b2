//! Pauses between tries.

use std::time::Duration;

/// How long to wait before each further try: first `first`, then twice as long each time, up to `longest`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    pauses: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest, pauses: 0 }
    }

    /// The pause that comes after `pauses` others.
    pub(crate) fn after(self, pauses: u32) -> Duration {
        self.first.saturating_mul(1 << pauses.min(31)).min(self.longest)
    }

    /// The pause before the next try.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.after(self.pauses);
        self.pauses = self.pauses.saturating_add(1);
        pause
    }

    /// Starts over, after a try has worked.
    #[allow(dead_code, reason = "not every combination of features has something that begins again")]
    pub(crate) fn reset(&mut self) {
        self.pauses = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_the_longest_and_begins_again() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(5));
        let pauses: Vec<u64> = (0..5).map(|_| backoff.pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        backoff.reset();
        assert_eq!(backoff.pause(), seconds(1));
    }
}
