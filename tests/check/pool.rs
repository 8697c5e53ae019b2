//! The pool gives exactly one result for every instant, within its bounds, and stops in time.

use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use webmon::check::{Pool, PoolOptions, Resolve, ResolveError, Settings};
use webmon::record::{CheckResult, ErrorType, Expectation, Outcome};
use webmon::site::Site;

use crate::site::{after, assert_error, due, origin, regex, settings, site, valid};
use crate::sites::{Authority, Server, read_head, response};

/// A resolver that lets no check pass before it is told to.
#[derive(Default)]
struct Gate {
    state: Mutex<(usize, usize)>,
    changed: std::sync::Condvar,
}

impl Gate {
    /// Lets `checks` more pass.
    fn open(&self, checks: usize) {
        let mut state = self.state.lock().unwrap();
        state.1 = state.1.saturating_add(checks);
        self.changed.notify_all();
    }

    /// Waits until `checks` have come to the gate in all.
    fn await_arrivals(&self, checks: usize) {
        let state = self.state.lock().unwrap();
        let (state, waited) = self
            .changed
            .wait_timeout_while(state, Duration::from_secs(20), |state| state.0 < checks)
            .unwrap();
        assert!(!waited.timed_out(), "only {} of {checks} have come", state.0);
    }
}

impl Resolve for Gate {
    fn resolve(&self, _: &str, _: Duration) -> Result<Vec<IpAddr>, ResolveError> {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.1 == 0).unwrap();
        state.1 -= 1;
        Err(ResolveError::NxDomain)
    }
}

/// A gate that is open for good when the test ends, however it ends.
struct OpenAtTheEnd(Arc<Gate>);

impl Drop for OpenAtTheEnd {
    fn drop(&mut self) {
        self.0.open(usize::MAX);
    }
}

impl std::ops::Deref for OpenAtTheEnd {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.0
    }
}

struct Gated {
    pool: Pool,
    gate: OpenAtTheEnd,
    results: mpsc::Receiver<CheckResult>,
    due: Timestamp,
}

impl Gated {
    fn new(threads: usize, queue: usize) -> Gated {
        Gated::keeping(Duration::from_secs(60), threads, queue)
    }

    /// One that keeps threads without work for so long.
    fn keeping(keep_threads: Duration, threads: usize, queue: usize) -> Gated {
        let gate = Arc::new(Gate::default());
        let (sender, results) = mpsc::channel();
        let sink = Arc::new(move |result| sender.send(valid(result)).unwrap_or_default());
        let options = PoolOptions {
            threads,
            keep_threads,
            queue,
            max_lateness: Duration::from_secs(300),
            ..PoolOptions::new(origin())
        };
        let pool = Pool::start(&Settings::with_resolver(gate.clone()), options, sink).unwrap();
        Gated { pool, gate: OpenAtTheEnd(gate), results, due: due() }
    }

    /// Submits the site `key` for the `instant`th second from the start.
    fn submit(&self, key: &str, instant: i64) {
        let site = Arc::new(Site { key: key.to_owned(), ..site("http://shop.example/") });
        let due = after(self.due, instant);
        self.pool.submit(site, due, Some(after(due, 1)));
    }

    fn result(&self) -> CheckResult {
        self.results.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    /// Ends the pool and hands back what it has yielded and not been asked for yet: all there will ever be, as the
    /// iteration ends when the last of the pool's threads, and the sink with it, has gone.
    fn finish(self) -> mpsc::IntoIter<CheckResult> {
        let Gated { pool, gate, results, .. } = self;
        drop((pool, gate));
        results.into_iter()
    }
}

#[test]
fn a_site_is_checked_once_at_a_time() {
    let gated = Gated::new(4, 4);
    gated.submit("shop", 0);
    gated.gate.await_arrivals(1);
    gated.submit("shop", 1);
    let overlap = gated.result();
    assert_eq!((overlap.error_type, overlap.started_at), (Some(ErrorType::Overlap), None));
    assert_eq!(overlap.scheduled_at, after(gated.due, 1));
    gated.gate.open(1);
    assert_error(&gated.result(), ErrorType::Dns, "nxdomain");
    gated.gate.open(1);
    gated.submit("shop", 2);
    assert_error(&gated.result(), ErrorType::Dns, "nxdomain");
}

#[test]
fn a_full_pool_says_so_and_takes_what_it_has_room_for() {
    let gated = Gated::new(2, 3);
    for index in 0..5 {
        gated.submit(&format!("site-{index}"), 0);
    }
    gated.submit("one-too-many", 0);
    let saturated = gated.result();
    assert_error(&saturated, ErrorType::Saturated, "queue_full");
    assert_eq!((saturated.site.as_str(), saturated.started_at), ("one-too-many", None));
    gated.gate.await_arrivals(2);
    gated.gate.open(5);
    for _ in 0..5 {
        assert_error(&gated.result(), ErrorType::Dns, "nxdomain");
    }
}

#[test]
fn an_instant_that_is_past_is_late() {
    let gated = Gated::new(1, 8);
    gated.submit("shop", -301);
    let late = gated.result();
    assert_eq!((late.error_type, late.started_at, late.attempts), (Some(ErrorType::Late), None, 0));
}

#[test]
fn an_instant_that_waited_too_long_for_a_thread_is_late() {
    let gate = Arc::new(Gate::default());
    let (sender, results) = mpsc::channel();
    let sink = Arc::new(move |result| sender.send(valid(result)).unwrap_or_default());
    let due = due();
    let now = Timestamp::now().duration_since(due);
    let max_lateness = now.unsigned_abs() + Duration::from_millis(500);
    let options = PoolOptions { threads: 1, max_lateness, ..PoolOptions::new(origin()) };
    let pool = Pool::start(&Settings::with_resolver(gate.clone()), options, sink).unwrap();
    for key in ["first", "second"] {
        pool.submit(Arc::new(Site { key: key.to_owned(), ..site("http://shop.example/") }), due, None);
    }
    gate.await_arrivals(1);
    // The clock is what makes it late.
    while Timestamp::now().duration_since(due) <= SignedDuration::try_from(max_lateness).unwrap() {
        thread::sleep(Duration::from_millis(50));
    }
    gate.open(2);
    assert_error(&results.recv().unwrap(), ErrorType::Dns, "nxdomain");
    let late = results.recv().unwrap();
    assert_eq!((late.site.as_str(), late.error_type), ("second", Some(ErrorType::Late)));
    assert_eq!((late.started_at, late.attempts), (None, 0));
}

#[test]
fn stopping_lets_the_running_end_within_the_grace_and_cancels_the_waiting() {
    let gated = Gated::new(1, 8);
    gated.submit("running", 0);
    gated.gate.await_arrivals(1);
    gated.submit("waiting", 0);
    thread::scope(|scope| {
        let stopping = scope.spawn(|| gated.pool.stop(Duration::from_secs(20)));
        let waiting = gated.result();
        assert_error(&waiting, ErrorType::Cancelled, "stopped");
        assert_eq!((waiting.site.as_str(), waiting.started_at), ("waiting", None));
        gated.gate.open(1);
        stopping.join().unwrap();
    });
    let running = gated.result();
    assert_eq!((running.site.as_str(), running.outcome), ("running", Outcome::Failure));
    gated.submit("afterwards", 0);
    assert_error(&gated.result(), ErrorType::Cancelled, "stopped");
}

#[test]
fn a_straggler_is_cancelled_and_its_own_result_discarded() {
    let gated = Gated::new(2, 8);
    gated.submit("straggler", 0);
    gated.gate.await_arrivals(1);
    gated.pool.stop(Duration::ZERO);
    let result = gated.result();
    assert_error(&result, ErrorType::Cancelled, "stopped");
    assert!(result.started_at.is_some() && result.attempts == 1);
    gated.gate.open(1);
    assert_eq!(gated.finish().count(), 0);
}

#[test]
fn a_panic_in_a_check_costs_one_instant_and_no_thread() {
    let server = Server::answering(response("200 OK", &[], b""));
    let (sender, results) = mpsc::channel();
    let sink = Arc::new(move |result| sender.send(valid(result)).unwrap_or_default());
    let options = PoolOptions { threads: 1, ..PoolOptions::new(origin()) };
    let pool = Pool::start(&settings(&[]), options, sink).unwrap();
    pool.submit(Arc::new(site("http://panic.example/")), due(), None);
    assert_error(&results.recv().unwrap(), ErrorType::Cancelled, "panic");
    pool.submit(Arc::new(site(&server.url("/"))), due(), None);
    assert_eq!(results.recv().unwrap().outcome, Outcome::Success);
}

#[test]
fn a_burst_as_large_as_the_pool_is_taken_whole() {
    let gated = Gated::new(64, 0);
    for index in 0..64 {
        gated.submit(&format!("site-{index}"), 0);
    }
    gated.gate.await_arrivals(64);
    gated.gate.open(64);
    for _ in 0..64 {
        assert_error(&gated.result(), ErrorType::Dns, "nxdomain");
    }
}

#[test]
fn threads_that_no_check_needs_any_more_end_and_come_back() {
    let gated = Gated::keeping(Duration::from_millis(200), 64, 0);
    let mut arrivals = 0;
    let mut burst = |name: &str| {
        for index in 0..20 {
            gated.submit(&format!("{name}-{index}"), 0);
        }
        arrivals += 20;
        gated.gate.await_arrivals(arrivals);
        assert!(gated.pool.threads() >= 20);
        gated.gate.open(20);
        (0..20).for_each(|_| drop(gated.result()));
        // Whichever thread takes it up, one check at a time needs one.
        let patience = Instant::now() + Duration::from_secs(30);
        while gated.pool.threads() > 2 {
            assert!(Instant::now() < patience, "{} threads are left", gated.pool.threads());
            gated.gate.open(1);
            gated.submit("steady", 0);
            arrivals += 1;
            assert_error(&gated.result(), ErrorType::Dns, "nxdomain");
        }
    };
    burst("first");
    burst("second");
}

#[test]
fn a_sink_that_panics_is_noted_and_holds_up_no_stop() {
    let sink = Arc::new(|result: CheckResult| assert_ne!(result.site, "shop", "cannot take it"));
    let pool = Pool::start(&settings(&[]), PoolOptions::new(origin()), sink).unwrap();
    let submit = |key: &str| {
        let site = Site { key: key.to_owned(), ..site("http://no-such-name.invalid/") };
        pool.submit(Arc::new(site), due(), None);
    };
    submit("other");
    submit("shop");
    let patience = Instant::now() + Duration::from_secs(30);
    while pool.fault().is_none() {
        assert!(Instant::now() < patience, "nobody has noted it");
        thread::park_timeout(Duration::from_millis(10));
    }
    let fault = pool.fault().unwrap();
    assert!(fault.thread.starts_with("check-") && fault.message.contains("cannot take it"), "{fault}");
    pool.stop(Duration::from_secs(20));
}

/// Twenty redirects, a chain of certificates as long as is verified, decoding, charset and a regex over the body.
#[test]
fn the_deepest_check_fits_the_stack_of_a_pools_thread() {
    let root = Authority::new("a test authority");
    // The longest chain that webpki follows.
    let authority =
        (0..5).fold(root.intermediate("first"), |above, number| above.intermediate(&number.to_string()));
    let page = response(
        "200 OK",
        &["content-encoding: gzip", "content-type: text/html; charset=utf-16le"],
        &utf16_page(),
    );
    let end = Server::https(0, authority.server(&["127.0.0.1"], 2020, 2040), page).unwrap();
    let last = format!("https://{}/", end.address);
    let hops = AtomicUsize::new(0);
    let server = Server::start(move |mut stream| {
        read_head(&mut stream);
        let location = if hops.fetch_add(1, Ordering::SeqCst) < 19 { "/again" } else { &last };
        let _ = stream.write_all(format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\n\r\n").as_bytes());
    });
    let mut settings = settings(&[]);
    settings.extra_roots = vec![root.root()];
    let (sender, results) = mpsc::channel();
    let sink = Arc::new(move |result| sender.send(valid(result)).unwrap_or_default());
    let pool = Pool::start(&settings, PoolOptions::new(origin()), sink).unwrap();
    let mut site = Site { max_redirects: 20, sample: true, ..site(&server.url("/")) };
    site.expect.body = vec![regex(r"(?i)(?:(?:data|\p{Greek}+)[\s\S]{0,20}){2,5}platform$")];
    site.expect.status = vec!["404".parse().unwrap()];
    pool.submit(Arc::new(site), due(), None);
    let result = results.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(result.failed_expectations, [Expectation::Status], "{result:?}");
    assert_eq!((result.redirects, result.body_matched), (20, Some(true)));
    assert!(result.tls_us.is_some() && result.sample.is_some());

    let brotli = Server::answering(response("200 OK", &["content-encoding: br"], b"\x0b\x02\x80hello\x03"));
    let mut site = self::site(&brotli.url("/"));
    site.expect.body = vec![regex("^hello$")];
    pool.submit(Arc::new(site), due(), None);
    let result = results.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!((result.outcome, result.body_bytes), (Outcome::Success, Some(5)), "{result:?}");
}

/// A page in UTF-16, compressed.
fn utf16_page() -> Vec<u8> {
    let text = format!("{}data δεδομένα data platform", "x".repeat(100_000));
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Submit(u8),
    Release(u8),
    Stop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0u8..6).prop_map(Step::Submit),
        4 => (1u8..3).prop_map(Step::Release),
        1 => Just(Step::Stop),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_submitted_instant_yields_exactly_one_result(
        steps in steps(),
        threads in 1usize..4,
        queue in 0usize..3,
    ) {
        let gated = Gated::new(threads, queue);
        let mut submitted = Vec::new();
        for (instant, step) in (0..).zip(&steps) {
            match step {
                Step::Submit(site) => {
                    let key = format!("site-{site}");
                    gated.submit(&key, instant);
                    submitted.push((key, after(gated.due, instant)));
                }
                Step::Release(checks) => gated.gate.open(usize::from(*checks)),
                Step::Stop => gated.pool.stop(Duration::ZERO),
            }
        }
        gated.pool.stop(Duration::ZERO);
        let mut seen: Vec<_> = gated.finish().map(|result| (result.site, result.scheduled_at)).collect();
        seen.sort();
        submitted.sort();
        prop_assert_eq!(seen, submitted);
    }
}

#[test]
fn stopping_while_others_submit_loses_and_doubles_nothing() {
    const SUBMITTERS: i64 = 4;
    const EACH: i64 = 200;
    let (sender, results) = mpsc::channel();
    let sink = Arc::new(move |result| sender.send(valid(result)).unwrap_or_default());
    let options = PoolOptions {
        threads: 4,
        queue: 16,
        max_lateness: Duration::from_secs(300),
        ..PoolOptions::new(origin())
    };
    let pool = Pool::start(&settings(&[]), options, sink).unwrap();
    let due = due();
    let started = Barrier::new(SUBMITTERS as usize + 1);
    thread::scope(|scope| {
        for submitter in 0..SUBMITTERS {
            let (pool, started) = (&pool, &started);
            scope.spawn(move || {
                started.wait();
                for instant in 0..EACH {
                    let key = format!("site-{}", (submitter + instant) % 8);
                    let site = Arc::new(Site { key, ..site("http://no-such-name.invalid/") });
                    pool.submit(site, after(due, submitter * EACH + instant), None);
                }
            });
        }
        started.wait();
        pool.stop(Duration::from_millis(1));
    });
    let begun = Instant::now();
    drop(pool);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let mut seen: Vec<_> = results.iter().map(|result| result.scheduled_at).collect();
    seen.sort();
    let all: Vec<_> = (0..SUBMITTERS * EACH).map(|instant| after(due, instant)).collect();
    assert_eq!(seen, all);
}
