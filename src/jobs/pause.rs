//! How long a job that failed waits before it is tried again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::backoff::Backoff;

/// The longest pause after the first attempt. It doubles with each attempt.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// The pause after `attempt` (from 1 on): between half of what doubling comes to and all of it, so that jobs that
/// failed together do not come back together. `random` is in [0, 1).
fn pause(attempt: i16, random: f64) -> Duration {
    let pauses = u32::from(attempt.max(1).unsigned_abs()) - 1;
    Backoff::new(FIRST_PAUSE, LONGEST_PAUSE).after(pauses).mul_f64(0.5 + random / 2.0)
}

/// The pause after `attempt`, drawn again with each call.
pub(super) fn random_pause(attempt: i16) -> Duration {
    // Seeded by the system, and differently with each call.
    let bits = RandomState::new().build_hasher().finish();
    pause(attempt, (bits >> 11) as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_bound() {
        let whole: Vec<u64> =
            (1..=15).map(|attempt| pause(attempt, 0.999_999).as_secs_f64().round() as u64).collect();
        assert_eq!(whole, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 3_600, 3_600, 3_600]);
        for attempt in [i16::MIN, -1, 0, 1] {
            assert_eq!(pause(attempt, 0.0), FIRST_PAUSE / 2);
        }
        assert_eq!(pause(i16::MAX, 0.0), LONGEST_PAUSE / 2);
    }

    #[test]
    fn pauses_spread_over_half_of_their_length() {
        let mut drawn: Vec<Duration> = (0..1_000).map(|_| random_pause(8)).collect();
        drawn.sort();
        let (first, last) = (drawn[0].as_secs_f64(), drawn[999].as_secs_f64());
        assert!((64.0..68.0).contains(&first) && (124.0..128.0).contains(&last), "{first} {last}");
        drawn.dedup();
        assert!(drawn.len() > 990, "only {} differ", drawn.len());
    }
}
