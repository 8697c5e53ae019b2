//! Judges single results, for those who check without a monitor.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::asker::Asker;
use super::error::MonitorError;
use super::verdict::{Verdict, is_doubtful, network_down};
use crate::check::Settings;
use crate::mutex::lock;
use crate::record::CheckResult;
use crate::site::{Origin, Sentinel};

/// The shortest time from one round to the next: the sentinels are somebody else's.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks the sentinels about results that found no answer, as a [`Monitor`](super::Monitor) does. Threads share it.
pub struct Arbiter {
    asker: Asker,
    /// When the last round began, and what it has shown.
    last: Mutex<Option<(Instant, Verdict)>>,
}

impl Arbiter {
    /// # Errors
    /// [`MonitorError`] if the settings cannot be used.
    pub fn new(
        sentinels: Vec<Sentinel>,
        settings: &Settings,
        origin: Origin,
    ) -> Result<Arbiter, MonitorError> {
        Ok(Arbiter { asker: Asker::new(sentinels, settings, origin)?, last: Mutex::default() })
    }

    /// Returns `result`, or `missed` with `network_down` if it found no answer and no sentinel answers either. Takes up
    /// to 5 s, and more if this process stands still. Results that wait at the same time share a round.
    pub fn judge(&self, result: CheckResult) -> CheckResult {
        if !is_doubtful(&result) {
            return result;
        }
        let came = Instant::now();
        let mut last = lock(&self.last);
        let verdict = match *last {
            // An earlier round could be from before the network went down.
            Some((begun, verdict)) if begun >= came => verdict,
            before => {
                if let Some(left) = before.and_then(|(begun, _)| PAUSE.checked_sub(begun.elapsed())) {
                    thread::sleep(left);
                }
                let begun = Instant::now();
                let verdict = self.asker.ask_awake();
                *last = Some((begun, verdict));
                verdict
            }
        };
        drop(last);
        if verdict.blames(&result) { result } else { network_down(result) }
    }
}
