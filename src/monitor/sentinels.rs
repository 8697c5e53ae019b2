//! Sentinels: what else should answer. When nothing of it does, a check that found no answer says nothing about
//! its site.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use url::Host;

use crate::check::{Checker, Resolve, Settings};
use crate::result::{CheckResult, ErrorType, Outcome};
use crate::schedule::Schedule;
use crate::shutdown::Shutdown;
use crate::site::{Method, Origin, Sentinel, Site, StatusRange};

/// The longest that asking all sentinels takes; each has its share.
const ROUND: Duration = Duration::from_secs(4);
/// The shortest time from one round to the next: the sentinels are somebody else's.
const PAUSE: Duration = Duration::from_secs(1);
/// The most results that wait for a verdict, beyond which the checks' threads wait.
const MAX_WAITING: usize = 20_000;

/// Whether a result is one that a dead network of the checker's own would bring about too.
pub(super) fn is_doubtful(result: &CheckResult) -> bool {
    result.outcome == Outcome::Failure && result.error_type.is_some_and(found_no_answer)
}

fn found_no_answer(error_type: ErrorType) -> bool {
    matches!(error_type, ErrorType::Dns | ErrorType::Connect | ErrorType::Timeout)
}

/// Where results go on to once they are judged.
type Deliver = Arc<dyn Fn(CheckResult) + Send + Sync>;

/// One thread that asks the sentinels, for all doubtful results that wait at once.
///
/// A result is judged by a round that begins after it: an earlier verdict could be from before the network went
/// down, and would blame each site checked since.
pub(super) struct Jury {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    waiting: Mutex<Vec<CheckResult>>,
    changed: Condvar,
    stop: Shutdown,
    deliver: Deliver,
}

impl Jury {
    pub(super) fn start(
        sentinels: Vec<Sentinel>,
        settings: &Settings,
        origin: Origin,
        deliver: Deliver,
    ) -> Result<Jury, super::MonitorError> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            stop: Shutdown::new(),
            deliver,
        });
        let share = ROUND / u32::try_from(sentinels.len().max(1)).unwrap_or(u32::MAX);
        let asker = Asker {
            checker: Checker::new(settings)?,
            resolve: Arc::clone(&settings.resolver),
            origin,
            share,
            sentinels,
        };
        let thread = std::thread::Builder::new()
            .name("sentinels".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.run(asker)
            })
            .map_err(super::MonitorError::Thread)?;
        Ok(Jury { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Takes a doubtful result; it is delivered by and by. Waits where too many do.
    pub(super) fn submit(&self, result: CheckResult) {
        let shared = &self.shared;
        let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.len() >= MAX_WAITING {
            waiting = shared.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.push(result);
        drop(waiting);
        shared.changed.notify_all();
    }

    /// Returns when everything submitted is delivered: a round at most, and the one that is under way. Nothing may
    /// be submitted any more.
    pub(super) fn stop(&self) {
        self.shared.stop.request();
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread that asks the sentinels panicked");
        }
    }
}

impl Drop for Jury {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self, mut asker: Asker) {
        let mut last_round: Option<Instant> = None;
        let mut was_up = true;
        loop {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
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
            let batch = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_all();
            last_round = Some(Instant::now());
            let up = asker.any_answers();
            if up != was_up {
                was_up = up;
                if up {
                    log::info!("a sentinel answers again");
                } else {
                    log::warn!(checks = batch.len(); "no sentinel answers: checks without an answer are missed, not failed");
                }
            }
            for result in batch {
                (self.deliver)(if up { result } else { network_down(result) });
            }
        }
    }
}

/// The failure as a missed instant that says what was seen.
fn network_down(mut result: CheckResult) -> CheckResult {
    let seen = match (result.error_type, &result.error_detail) {
        (Some(error_type), Some(detail)) => format!("{error_type} {detail}"),
        (Some(error_type), None) => error_type.to_string(),
        (None, _) => String::new(),
    };
    let message = result.error_message.take();
    result.set_error(ErrorType::NetworkDown, Some(&seen), message.as_deref());
    result.failed_expectations.clear();
    result.sample = None;
    result
}

struct Asker {
    checker: Checker,
    resolve: Arc<dyn Resolve>,
    origin: Origin,
    share: Duration,
    /// The one that answered last comes first.
    sentinels: Vec<Sentinel>,
}

impl Asker {
    fn any_answers(&mut self) -> bool {
        for i in 0..self.sentinels.len() {
            if self.answers(&self.sentinels[i].clone()) {
                self.sentinels.swap(0, i);
                return true;
            }
        }
        false
    }

    fn answers(&mut self, sentinel: &Sentinel) -> bool {
        match sentinel {
            Sentinel::Http(url) => {
                // When it would be due matters to nobody.
                let Ok(schedule) = Schedule::new("@hourly", "UTC") else { return false };
                let mut site = Site::new("sentinel", url.clone(), schedule);
                site.method = Method::Head;
                site.timeout = self.share;
                site.max_redirects = 0;
                site.expect.status = vec![StatusRange { from: 100, to: 999 }];
                let now = Timestamp::now();
                let result = self.checker.check(&site, &self.origin, now, None, &Shutdown::new());
                // Whoever answers nonsense answers.
                match result.outcome {
                    Outcome::Success => true,
                    Outcome::Failure => !result.error_type.is_some_and(found_no_answer),
                    Outcome::Missed => false,
                }
            }
            Sentinel::Tcp(host, port) => {
                let deadline = Instant::now() + self.share;
                let addresses = match host {
                    Host::Domain(name) => self.resolve.resolve(name, self.share).unwrap_or_default(),
                    Host::Ipv4(address) => vec![(*address).into()],
                    Host::Ipv6(address) => vec![(*address).into()],
                };
                addresses.into_iter().any(|address| {
                    let left = deadline.saturating_duration_since(Instant::now());
                    !left.is_zero()
                        && TcpStream::connect_timeout(&SocketAddr::new(address, *port), left).is_ok()
                })
            }
        }
    }
}
