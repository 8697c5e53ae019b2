//! Sentinels: what else should answer. When nothing of it does, a check that found no answer says nothing about
//! its site.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use url::Host;

use super::error::MonitorError;
use crate::check::{Checker, Resolve, Settings, Stalls, spoils};
use crate::mutex::lock;
use crate::panicked::Panicked;
use crate::record::{CheckResult, ErrorType, Outcome};
use crate::schedule::Schedule;
use crate::shutdown::Shutdown;
use crate::site::{Method, Origin, Sentinel, Site, StatusRange};
use crate::watched::Watched;

/// The longest that asking the sentinels takes.
const ROUND: Duration = Duration::from_secs(4);
/// The shortest time from one round to the next: the sentinels are somebody else's.
const PAUSE: Duration = Duration::from_secs(1);
/// How often at most the sentinels are asked again because the checker stood still meanwhile.
const MAX_AGAIN: usize = 3;
/// The most results that wait for a verdict, beyond which the checks' threads wait.
const MAX_WAITING: usize = 20_000;

/// Whether a result is one that a dead network of the checker's own would bring about too.
pub(super) fn is_doubtful(result: &CheckResult) -> bool {
    result.outcome == Outcome::Failure && result.error_type.is_some_and(found_no_answer)
}

fn found_no_answer(error_type: ErrorType) -> bool {
    matches!(error_type, ErrorType::Dns | ErrorType::Connect | ErrorType::Timeout)
}

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
        let asker = Asker {
            checker: Checker::new(settings)?,
            resolve: Arc::clone(&settings.resolver),
            origin,
            sentinels,
            stalls: Stalls::of_this_process().map_err(MonitorError::Thread)?,
        };
        let own = Arc::clone(&doubtful);
        let thread = Watched::spawn("sentinels", move || own.run(asker)).map_err(MonitorError::Thread)?;
        Ok(Jury { doubtful, thread })
    }

    /// Takes a doubtful result; it is delivered by and by. Waits where too many do, unless nobody judges any more.
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

/// What a round has shown.
#[derive(Clone, Copy, Debug, Default)]
struct Verdict {
    /// A sentinel answered: there is a network.
    network: bool,
    /// A sentinel's name was resolved: there is a name server.
    names: bool,
}

impl Verdict {
    /// Whether what `result` says is the site's doing, and not the checker's own trouble.
    fn blames(self, result: &CheckResult) -> bool {
        self.network && (self.names || !heard_no_name_server(result))
    }
}

/// Whether no name server gave an answer: what a dead one brings about for every site, while addresses answer.
fn heard_no_name_server(result: &CheckResult) -> bool {
    let detail = result.error_detail.as_deref().unwrap_or_default();
    match result.error_type {
        Some(ErrorType::Dns) => !matches!(detail, "nxdomain" | "no_address" | "bad_name"),
        Some(ErrorType::Timeout) => detail == "dns",
        _ => false,
    }
}

struct Asker {
    checker: Checker,
    resolve: Arc<dyn Resolve>,
    origin: Origin,
    sentinels: Vec<Sentinel>,
    stalls: Arc<Stalls>,
}

impl Asker {
    /// As [`Asker::ask`], and again where this process stood still meanwhile: that nobody answered then shows nothing.
    fn ask_awake(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for _ in 0..=MAX_AGAIN {
            let lost_before = self.stalls.lost();
            verdict = self.ask();
            let lost = self.stalls.lost().saturating_sub(lost_before);
            if (verdict.network && verdict.names) || !spoils(lost, ROUND) {
                break;
            }
        }
        verdict
    }

    /// Asks all sentinels at once, until one has answered and one was resolved by name, or all are through.
    fn ask(&self) -> Verdict {
        let (sender, answers) = mpsc::channel();
        let mut asked = 0;
        for sentinel in &self.sentinels {
            let (sender, sentinel, origin) = (sender.clone(), sentinel.clone(), self.origin.clone());
            let (checker, resolve) = (self.checker.clone(), Arc::clone(&self.resolve));
            let ask = move || {
                // Nobody listens any more when the others had said enough.
                let _ = sender.send(answer(checker, &*resolve, &origin, &sentinel));
            };
            match std::thread::Builder::new().name("sentinel".to_owned()).spawn(ask) {
                Ok(_) => asked += 1,
                Err(error) => {
                    log::warn!(error = error.to_string(); "cannot start a thread to ask a sentinel");
                }
            }
        }
        drop(sender);
        let mut verdict = Verdict::default();
        let deadline = Instant::now() + ROUND;
        while asked > 0 && !(verdict.network && verdict.names) {
            // One that panicked never answers; its sender is gone.
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(answer) = answers.recv_timeout(left) else { break };
            asked -= 1;
            verdict.network |= answer.network;
            verdict.names |= answer.names;
        }
        verdict
    }
}

/// What asking one sentinel shows, within [`ROUND`].
fn answer(mut checker: Checker, resolve: &dyn Resolve, origin: &Origin, sentinel: &Sentinel) -> Verdict {
    match sentinel {
        Sentinel::Http(url) => {
            // When it would be due matters to nobody.
            let Ok(schedule) = Schedule::new("@hourly", "UTC") else { return Verdict::default() };
            let mut site = Site::new("sentinel", url.clone(), schedule);
            site.method = Method::Head;
            site.timeout = ROUND;
            site.max_redirects = 0;
            site.expect.status = vec![StatusRange { from: 100, to: 999 }];
            let result = checker.check(&site, origin, Timestamp::now(), None, &Shutdown::new());
            let named = url.host_str().is_some_and(is_looked_up) && url.domain().is_some();
            Verdict {
                // Whoever answers nonsense answers.
                network: match result.outcome {
                    Outcome::Success => true,
                    Outcome::Failure => !result.error_type.is_some_and(found_no_answer),
                    Outcome::Missed => false,
                },
                names: named && result.outcome != Outcome::Missed && !heard_no_name_server(&result),
            }
        }
        Sentinel::Tcp(host, port) => {
            let deadline = Instant::now() + ROUND;
            let (addresses, names) = match host {
                Host::Domain(name) => match resolve.resolve(name, ROUND) {
                    Ok(addresses) => (addresses, is_looked_up(name)),
                    Err(_) => (Vec::new(), false),
                },
                Host::Ipv4(address) => (vec![(*address).into()], false),
                Host::Ipv6(address) => (vec![(*address).into()], false),
            };
            let connects = |address| {
                let left = deadline.saturating_duration_since(Instant::now());
                !left.is_zero() && TcpStream::connect_timeout(&SocketAddr::new(address, *port), left).is_ok()
            };
            Verdict { network: addresses.into_iter().any(connects), names }
        }
    }
}

/// Whether a name server is asked for `name`: not for the names of this host itself.
fn is_looked_up(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name != "localhost" && !name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, TcpListener};
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use super::*;
    use crate::check::ResolveError;

    /// A name server in whose first look-up the machine is suspended for 30 s.
    #[derive(Default)]
    struct SuspendsOnce {
        clock: Arc<AtomicU64>,
        asked: AtomicUsize,
    }

    impl Resolve for SuspendsOnce {
        fn resolve(&self, _: &str, _: Duration) -> Result<Vec<IpAddr>, ResolveError> {
            if self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
                self.clock.fetch_add(30_000, Ordering::SeqCst);
                return Err(ResolveError::Timeout);
            }
            Ok(vec![Ipv4Addr::LOCALHOST.into()])
        }
    }

    #[test]
    fn sentinels_that_were_silent_while_the_machine_was_suspended_are_asked_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let resolver = Arc::new(SuspendsOnce::default());
        let (clock, resolve) = (Arc::clone(&resolver.clock), Arc::clone(&resolver) as Arc<dyn Resolve>);
        let asker = Asker {
            checker: Checker::new(&Settings::with_resolver(Arc::clone(&resolve))).unwrap(),
            resolve,
            origin: Origin::new("here", "checker"),
            sentinels: vec![Sentinel::Tcp(
                Host::Domain("sentinel.test".to_owned()),
                listener.local_addr().unwrap().port(),
            )],
            stalls: Arc::new(Stalls::by(move || Duration::from_millis(clock.load(Ordering::SeqCst)))),
        };
        let verdict = asker.ask_awake();
        assert!(verdict.network && verdict.names, "{verdict:?}");
        assert_eq!(resolver.asked.load(Ordering::SeqCst), 2);
    }
}
