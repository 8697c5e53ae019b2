//! Outages of the database: connections are tried again ever more slowly, and the log neither fills up nor falls
//! silent.

use std::fmt::Display;
use std::time::{Duration, Instant};

use log::Level;

use super::stream::End;
use crate::backoff::Backoff;
use crate::text::show_duration;

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// An outage is over when a connection has lasted this long.
const STEADY: Duration = Duration::from_secs(20);
/// How many failures at the start of an outage are each logged as a warning.
const WARNINGS: u32 = 3;
/// After how long an outage is logged as an error, and how often again.
const LASTING: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(300);

/// Consecutive connections that failed.
pub(crate) struct Outage {
    backoff: Backoff,
    failures: u32,
    since: Option<Instant>,
    said_at: Option<Instant>,
}

impl Default for Outage {
    fn default() -> Outage {
        Outage { backoff: Backoff::new(PAUSE_MIN, PAUSE_MAX), failures: 0, since: None, said_at: None }
    }
}

impl Outage {
    /// Notes that the connection begun at `begun` failed with `error`, by itself or by this `end`. `doing` says what is
    /// done about it. Returns how long to wait before the next connection: 100 ms, doubled with each failure, up to 5
    /// s.
    pub(crate) fn note(
        &mut self,
        begun: Instant,
        error: &impl Display,
        end: Option<End>,
        doing: &str,
    ) -> Duration {
        let silent = match end {
            Some(End::Silence(limit)) => limit,
            _ => Duration::ZERO,
        };
        let now = Instant::now();
        let level = self.level(now, begun, silent);
        let pause = self.backoff.pause();
        let gave_up = format!(
            "gave up on the database after {} without an answer: connecting again",
            show_duration(silent)
        );
        let doing = if silent.is_zero() { doing } else { &gave_up };
        let (error, again_in_ms) = (error.to_string(), pause.as_millis() as u64);
        match level {
            Level::Error => {
                let lasting_s = self.since.map_or(0, |since| now.duration_since(since).as_secs());
                log::error!(error, lasting_s, again_in_ms; "{doing}");
            }
            level => log::log!(level, error, again_in_ms; "{doing}"),
        }
        pause
    }

    fn level(&mut self, now: Instant, begun: Instant, silent: Duration) -> Level {
        // The connection worked for as long as it lasted, except for the silence at its end.
        if now.duration_since(begun).saturating_sub(silent) > STEADY {
            *self = Outage::default();
        }
        let since = *self.since.get_or_insert(now.checked_sub(silent).unwrap_or(now));
        self.failures += 1;
        if now.duration_since(since) >= LASTING
            && self.said_at.is_none_or(|at| now.duration_since(at) >= AGAIN)
        {
            self.said_at = Some(now);
            return Level::Error;
        }
        if self.failures <= WARNINGS { Level::Warn } else { Level::Debug }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_at_once_again_after_a_minute_and_every_five_minutes() {
        let mut outage = Outage::default();
        let begun = Instant::now();
        let at = |s: u64| begun + Duration::from_secs(s);
        let mut told = Vec::new();
        for s in 0..700 {
            let level = outage.level(at(s), at(s), Duration::ZERO);
            if level < Level::Debug {
                told.push((s, level));
            }
        }
        let warned = [0, 1, 2].map(|s| (s, Level::Warn));
        assert_eq!(told[..3], warned);
        assert_eq!(told[3..], [60, 360, 660].map(|s| (s, Level::Error)));
    }

    #[test]
    fn an_outage_is_over_when_a_connection_held_and_silence_does_not_count() {
        let mut outage = Outage::default();
        let begun = Instant::now();
        let at = |s: u64| begun + Duration::from_secs(s);
        let silent = Duration::from_secs(30);
        assert_eq!(outage.level(at(3_600), at(0), Duration::ZERO), Level::Warn);
        assert_eq!(outage.level(at(3_631), at(3_600), silent), Level::Warn);
        assert_eq!(outage.level(at(3_662), at(3_631), silent), Level::Error, "silent for a minute");
        assert_eq!(outage.level(at(3_690), at(3_663), Duration::ZERO), Level::Warn, "it was of use for 27 s");
    }
}
