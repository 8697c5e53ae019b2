//! Asks the sentinels: what else should answer. If none of them does, a check that found no answer says nothing about
//! its site.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use url::Host;

use super::error::MonitorError;
use super::verdict::{Verdict, found_no_answer, heard_no_name_server};
use crate::check::{Checker, Resolve, Settings, Stalls, spoils};
use crate::record::Outcome;
use crate::schedule::Schedule;
use crate::shutdown::Shutdown;
use crate::site::{Method, Origin, Sentinel, Site, StatusRange};

/// The longest that asking the sentinels takes.
const ROUND: Duration = Duration::from_secs(4);
/// How often at most the sentinels are asked again because the checker stood still meanwhile.
const MAX_AGAIN: usize = 3;

/// Asks the sentinels of one checker, a round at a time.
pub(super) struct Asker {
    checker: Checker,
    resolve: Arc<dyn Resolve>,
    origin: Origin,
    sentinels: Vec<Sentinel>,
    stalls: Arc<Stalls>,
}

impl Asker {
    pub(super) fn new(
        sentinels: Vec<Sentinel>,
        settings: &Settings,
        origin: Origin,
    ) -> Result<Asker, MonitorError> {
        Ok(Asker {
            checker: Checker::new(settings)?,
            resolve: Arc::clone(&settings.resolver),
            origin,
            sentinels,
            stalls: Stalls::of_this_process().map_err(MonitorError::Thread)?,
        })
    }

    /// As [`Asker::ask`], and again where this process stood still meanwhile: that nobody answered then shows nothing.
    pub(super) fn ask_awake(&self) -> Verdict {
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
                // An answer is an answer, even if it makes no sense.
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
