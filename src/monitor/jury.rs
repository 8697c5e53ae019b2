//! The jury: holds the doubtful results until the sentinels were asked, and delivers them judged.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::asker::Asker;
use super::error::MonitorError;
use super::verdict::{Verdict, heard_no_name_server, network_down};
use crate::check::Settings;
use crate::mutex::lock;
use crate::panicked::Panicked;
use crate::record::CheckResult;
use crate::shutdown::Shutdown;
use crate::site::{Origin, Sentinel};
use crate::watched::Watched;

/// The shortest time from one round to the next: the sentinels belong to others.
const PAUSE: Duration = Duration::from_secs(1);
/// The most results that wait for a verdict, beyond which the checks' threads wait.
const MAX_WAITING: usize = 20_000;

/// Where results go on to once they are judged, those of one round together.
type Judged = Arc<dyn Fn(Vec<CheckResult>) + Send + Sync>;

/// One thread that asks the sentinels, for all doubtful results that wait at once.
///
/// A result is judged by a round that begins after it: an earlier verdict could be from before the network went
/// down, and would blame each site checked since.
pub(super) struct Jury {
    doubtful: Arc<Doubtful>,
    thread: Watched,
}

struct Doubtful {
    waiting: Mutex<Vec<CheckResult>>,
    changed: Condvar,
    stop: Shutdown,
    deliver: Judged,
}

impl Jury {
    pub(super) fn start(
        sentinels: Vec<Sentinel>,
        settings: &Settings,
        origin: Origin,
        deliver: Judged,
    ) -> Result<Jury, MonitorError> {
        let doubtful = Arc::new(Doubtful {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            stop: Shutdown::new(),
            deliver,
        });
        let asker = Asker::new(sentinels, settings, origin)?;
        let own = Arc::clone(&doubtful);
        let thread = Watched::spawn("sentinels", move || own.run(asker)).map_err(MonitorError::Thread)?;
        Ok(Jury { doubtful, thread })
    }

    /// Takes a doubtful result; it is delivered later. Waits if too many results wait, unless the jury has ended.
    pub(super) fn submit(&self, result: CheckResult) {
        let doubtful = &self.doubtful;
        let mut waiting = lock(&doubtful.waiting);
        while waiting.len() >= MAX_WAITING && self.thread.is_running() {
            waiting = doubtful.changed.wait_timeout(waiting, PAUSE).unwrap_or_else(PoisonError::into_inner).0;
        }
        waiting.push(result);
        drop(waiting);
        doubtful.changed.notify_all();
    }

    /// Returns when everything submitted is delivered: a round at most, and the one that is under way. Nothing may
    /// be submitted any more.
    pub(super) fn stop(&self) {
        self.doubtful.stop.request();
        self.doubtful.changed.notify_all();
        // A panic is asked for with `fault`.
        let _ = self.thread.join();
    }

    /// The panic that ended it: what waits is then judged by nobody.
    pub(super) fn fault(&self) -> Option<Panicked> {
        self.thread.fault()
    }
}

impl Drop for Jury {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Doubtful {
    fn run(&self, asker: Asker) {
        let mut last_round: Option<Instant> = None;
        let mut before = Verdict { network: true, names: true };
        loop {
            let waiting = lock(&self.waiting);
            let waiting = self
                .changed
                .wait_while(waiting, |waiting| waiting.is_empty() && !self.stop.is_requested())
                .unwrap_or_else(PoisonError::into_inner);
            if waiting.is_empty() {
                return;
            }
            drop(waiting);
            if let Some(left) = last_round.and_then(|last| PAUSE.checked_sub(last.elapsed())) {
                self.stop.wait(left);
            }
            // Those who come from here on are judged by the next round.
            let batch = std::mem::take(&mut *lock(&self.waiting));
            self.changed.notify_all();
            last_round = Some(Instant::now());
            let verdict = asker.ask_awake();
            if verdict.network != before.network {
                if verdict.network {
                    log::info!("a sentinel answers again");
                } else {
                    log::warn!(checks = batch.len(); "no sentinel answers: checks without an answer are missed, not failed");
                }
            }
            if verdict.network && !verdict.names && batch.iter().any(heard_no_name_server) && before.names {
                log::warn!(checks = batch.len(); "no sentinel's name is resolved: checks without an answer of a name server are missed, not failed");
            }
            before = verdict;
            let judge = |result| if verdict.blames(&result) { result } else { network_down(result) };
            (self.deliver)(batch.into_iter().map(judge).collect());
        }
    }
}
