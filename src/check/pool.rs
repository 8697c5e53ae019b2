//! Many checks at a time: threads with small stacks behind one bounded queue.
//!
//! Every instant that is submitted yields exactly one result. One lock covers all that is known of an instant: whether
//! it is queued, running or given up. The thread that removes it from there, because it checked it or gave it up,
//! passes its result to the sink.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::again::now;
use super::checker::Checker;
use super::error::SetupError;
use super::settings::{Parts, Settings};
use crate::config::Check;
use crate::mutex::lock;
use crate::panicked::{Panicked, guarded};
use crate::record::{CheckResult, ErrorType};
use crate::schedule::Due;
use crate::shutdown::Shutdown;
use crate::site::{Origin, Site};

/// The stack of a check's thread, in bytes. The deepest check (a chain of seven certificates) needs 64 to 96 KiB
/// optimized and 128 to 160 KiB otherwise. An overflow would end the whole process. Only pages that are touched take
/// memory.
const STACK: usize = 256 * 1024;
/// A full pool is logged at most this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Receives every result. It is called from the pool's threads and from those that submit. A call that blocks holds up
/// one of them. [`Pool::stop`] waits for calls that have begun.
pub type Sink = Arc<dyn Fn(CheckResult) + Send + Sync>;

/// How many checks at a time, and how late they may be.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The most checks at a time, at least 1; default 512. Threads are started as they are needed. One takes some 50
    /// KiB while it waits for a slow site. With too few of them, instants are missed as `saturated`.
    pub threads: usize,
    /// Threads end if they were not needed for this long; default 1 min. Starting one takes some 50 µs.
    pub keep_threads: Duration,
    /// How many instants may wait for a thread; default 2,048. A long queue makes checks late instead of `saturated`.
    pub queue: usize,
    /// How long after its instant a check may still start; default 5 s.
    pub max_lateness: Duration,
    /// The location and the checker that results name.
    pub origin: Origin,
}

impl PoolOptions {
    /// The defaults for `origin`.
    pub fn new(origin: Origin) -> PoolOptions {
        let Check { threads, queue, max_lateness, .. } = Check::default();
        PoolOptions { threads, keep_threads: Duration::from_secs(60), queue, max_lateness, origin }
    }
}

/// Threads that check. Dropping the pool stops it without grace.
///
/// ```
/// use std::sync::{Arc, mpsc};
/// use std::time::Duration;
/// use webmon::check::{Pool, PoolOptions, Settings};
/// use webmon::jiff::Timestamp;
/// use webmon::record::Outcome;
/// use webmon::schedule::Schedule;
/// use webmon::site::{Origin, Site};
///
/// # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let url = format!("http://{}/", server.local_addr()?);
/// # std::thread::spawn(move || {
/// #     let (mut peer, _) = server.accept().unwrap();
/// #     std::io::Read::read(&mut peer, &mut [0; 4096]).unwrap();
/// #     std::io::Write::write_all(&mut peer, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
/// # });
/// let site = Site::new("shop", url.parse()?, Schedule::new("@every 1m", "UTC")?);
/// let (sender, results) = mpsc::channel();
/// let sink = Arc::new(move |result| sender.send(result).unwrap_or_default());
/// let pool = Pool::start(&Settings::new()?, PoolOptions::new(Origin::new("berlin-1", "host-a")), sink)?;
/// let due = Timestamp::from_second(Timestamp::now().as_second())?;
/// pool.submit(Arc::new(site), due, None);
/// assert_eq!(results.recv()?.outcome, Outcome::Success);
/// pool.stop(Duration::from_secs(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    options: PoolOptions,
    /// What the threads' checkers are made from.
    parts: Arc<Parts>,
    sink: Sink,
    /// Requested by `stop`: ends the pauses before retries.
    shutdown: Shutdown,
    state: Mutex<State>,
    /// A thread has something to do: a queued instant, or to end.
    work: Condvar,
    /// An instant was taken out of `open`, or a call of the sink has returned.
    settled: Condvar,
}

#[derive(Default)]
struct State {
    /// The instants that have no result yet, by the site's key: at most one of a site.
    open: HashMap<String, Instance>,
    /// The keys of those that wait for a thread, oldest first.
    queued: VecDeque<String>,
    threads: usize,
    /// Threads that wait for work, or are starting and about to look for it.
    idle: usize,
    /// The fewest idle threads since `counted_at`: so many were not needed since then.
    least_idle: usize,
    counted_at: Option<Instant>,
    /// Threads that are to end because they were not needed.
    surplus: usize,
    /// The first panic, of a sink or a thread.
    fault: Option<Panicked>,
    /// Calls of the sink that have not returned.
    emitting: usize,
    stopped: bool,
    full_logged_at: Option<Instant>,
}

/// One instant of one site, queued or running.
#[derive(Clone)]
struct Instance {
    site: Arc<Site>,
    scheduled_at: Timestamp,
    next_at: Option<Timestamp>,
    /// Set when a thread takes it up.
    started_at: Option<Timestamp>,
}

impl Instance {
    fn missed(
        &self,
        origin: &Origin,
        error_type: ErrorType,
        detail: Option<&str>,
        message: &str,
    ) -> CheckResult {
        let mut result = origin.blank(&self.site, self.scheduled_at, self.next_at);
        result.started_at = self.started_at;
        result.attempts = u16::from(self.started_at.is_some());
        result.set_error(error_type, detail, Some(message));
        result
    }

    fn cancelled(&self, origin: &Origin) -> CheckResult {
        self.missed(
            origin,
            ErrorType::Cancelled,
            Some("stopped"),
            "the checker was stopped before the check ended",
        )
    }

    /// Counted from when it should have started: the site's spread is added to the instant.
    fn lateness(&self) -> SignedDuration {
        let spread = SignedDuration::try_from(self.site.start_offset()).unwrap_or(SignedDuration::ZERO);
        now().duration_since(self.scheduled_at) - spread
    }
}

impl Pool {
    /// Sets up what all checks share. Threads start with the first instants.
    ///
    /// # Errors
    /// [`SetupError`] if the settings cannot be used.
    pub fn start(settings: &Settings, options: PoolOptions, sink: Sink) -> Result<Pool, SetupError> {
        Ok(Pool {
            shared: Arc::new(Shared {
                options: PoolOptions { threads: options.threads.max(1), ..options },
                parts: Arc::new(Parts::new(settings)?),
                sink,
                shutdown: Shutdown::new(),
                state: Mutex::default(),
                work: Condvar::new(),
                settled: Condvar::new(),
            }),
        })
    }

    /// Submits `site` to be checked for the instant `scheduled_at`; `next_at` is the site's next instant. Never waits
    /// for a check. The sink gets one result, later or before this returns. The result is `missed` if the instant is
    /// too long ago (`late`), the site's previous check has not ended (`overlap`), all threads are busy and the queue
    /// is full (`saturated`), or the pool was stopped (`cancelled`).
    pub fn submit(&self, site: Arc<Site>, scheduled_at: Timestamp, next_at: Option<Timestamp>) {
        let shared = &self.shared;
        let instance = Instance { site, scheduled_at, next_at, started_at: None };
        let mut state = shared.lock();
        if let Some(missed) = shared.refusal(&mut state, &instance) {
            state.emitting += 1;
            drop(state);
            shared.emit(missed);
            return;
        }
        state.queued.push_back(instance.site.key.clone());
        state.open.insert(instance.site.key.clone(), instance);
        if state.idle >= state.queued.len() {
            shared.work.notify_one();
        } else if state.threads < shared.options.threads {
            state.surplus = 0;
            shared.start_thread(state);
        }
    }

    /// As [`Pool::submit`], for the instants that a [`Scheduler`](crate::schedule::Scheduler) fires.
    pub fn submit_all(&self, due: impl IntoIterator<Item = Due<Site>>) {
        for Due { item, scheduled_at, next_at } in due {
            self.submit(item, scheduled_at, next_at);
        }
    }

    /// How many threads there are now.
    pub fn threads(&self) -> usize {
        self.shared.lock().threads
    }

    /// The first panic of the sink, or of a thread outside of its checks. The result that it was working on is lost.
    pub fn fault(&self) -> Option<Panicked> {
        self.shared.lock().fault.clone()
    }

    /// Stops. Submitted instants that wait become `missed`, `cancelled`. Those being checked have until `grace` to end,
    /// and become the same if they do not; what their threads find afterwards is discarded. Returns when every result
    /// has been passed to the sink, so it must not be called from the sink.
    ///
    /// A check that waits to retry a failure ends at once: the failure was never confirmed.
    pub fn stop(&self, grace: Duration) {
        let shared = &self.shared;
        let origin = &shared.options.origin;
        let deadline = Instant::now() + grace;
        shared.shutdown.request();

        let mut state = shared.lock();
        state.stopped = true;
        let waiting: Vec<String> = state.queued.drain(..).collect();
        let waiting: Vec<_> = waiting.iter().filter_map(|key| state.open.remove(key)).collect();
        state.emitting += waiting.len();
        drop(state);
        shared.work.notify_all();
        for instance in waiting {
            shared.emit(instance.cancelled(origin));
        }

        let mut state = shared.lock();
        while !state.open.is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                break;
            };
            state = shared.settled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let running: Vec<_> = state.open.drain().map(|(_, instance)| instance).collect();
        state.emitting += running.len();
        drop(state);
        for instance in running {
            shared.emit(instance.cancelled(origin));
        }

        let mut state = shared.lock();
        while state.emitting > 0 {
            state = shared.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The result of an instance that cannot be accepted, if it cannot.
    fn refusal(&self, state: &mut State, instance: &Instance) -> Option<CheckResult> {
        let origin = &self.options.origin;
        if state.stopped {
            return Some(instance.cancelled(origin));
        }
        if let Some(late) = self.too_late(instance) {
            return Some(late);
        }
        if state.open.contains_key(&instance.site.key) {
            let message = "the site's previous check had not ended";
            return Some(instance.missed(origin, ErrorType::Overlap, None, message));
        }
        let free = state.idle + (self.options.threads - state.threads);
        if state.queued.len() >= free + self.options.queue {
            let PoolOptions { threads, queue, .. } = self.options;
            if state.full_logged_at.is_none_or(|logged_at| logged_at.elapsed() >= LOG_EVERY) {
                state.full_logged_at = Some(Instant::now());
                log::warn!(threads, queue; "all threads are busy and the queue is full: checks are missed");
            }
            let message = format!("all {threads} threads were busy and {queue} instants were waiting");
            return Some(instance.missed(origin, ErrorType::Saturated, Some("queue_full"), &message));
        }
        None
    }

    fn too_late(&self, instance: &Instance) -> Option<CheckResult> {
        let lateness = instance.lateness();
        let max = self.options.max_lateness;
        if lateness <= SignedDuration::try_from(max).unwrap_or(SignedDuration::MAX) {
            return None;
        }
        let message = format!("{} ms late: allowed are {} ms", lateness.as_millis(), max.as_millis());
        Some(instance.missed(&self.options.origin, ErrorType::Late, None, &message))
    }

    /// Passes a result to the sink. `emitting` already counts the call: it was raised when the caller won the right to
    /// it.
    fn emit(&self, result: CheckResult) {
        let thread = thread::current();
        // A sink that panics must not make `stop` wait for ever.
        let outcome = guarded(thread.name().unwrap_or_default(), || (self.sink)(result));
        let mut state = self.lock();
        state.emitting -= 1;
        state.note(&outcome);
        drop(state);
        self.settled.notify_all();
        if let Err(panicked) = outcome {
            panicked.log();
        }
    }

    /// Starts one more thread for a queued instance. If that fails, the existing threads take the instance later; if
    /// there are none, it is missed.
    fn start_thread(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let spawned = self.spawn(state.threads);
        let Err(error) = spawned else {
            state.threads += 1;
            state.idle += 1;
            return;
        };
        log::warn!(threads = state.threads; "cannot start a thread for checks: {error}");
        if state.threads > 0 {
            return;
        }
        let Some(instance) = state.queued.pop_back().and_then(|key| state.open.remove(&key)) else { return };
        state.emitting += 1;
        drop(state);
        let message = format!("cannot start a thread: {error}");
        let origin = &self.options.origin;
        self.emit(instance.missed(origin, ErrorType::Saturated, Some("no_thread"), &message));
    }

    fn spawn(self: &Arc<Self>, number: usize) -> io::Result<()> {
        let shared = Arc::clone(self);
        let checker = Checker::from_parts(Arc::clone(&self.parts));
        let name = format!("check-{number}");
        let thread = thread::Builder::new().name(name.clone()).stack_size(STACK);
        let work = move || {
            let outcome = guarded(&name, || shared.run(checker));
            let mut state = shared.lock();
            state.threads -= 1;
            state.note(&outcome);
            drop(state);
            if let Err(panicked) = outcome {
                panicked.log();
            }
        };
        thread.spawn(work).map(drop)
    }

    /// The work of a thread: takes instances and checks them until the pool is stopped or the thread is surplus.
    fn run(&self, mut checker: Checker) {
        // The thread that started this one has counted it as idle.
        let mut counted_idle = true;
        while let Some(task) = self.next(counted_idle) {
            counted_idle = false;
            let Instance { site, scheduled_at, next_at, .. } = &task.instance;
            let result = task.late.unwrap_or_else(|| {
                checker.check(site, &self.options.origin, *scheduled_at, *next_at, &self.shutdown)
            });
            let mut state = self.lock();
            // If `stop` has given the instant up, it is gone, and no other instant of the site can have come since.
            let open = state.open.remove(&site.key).is_some();
            state.emitting += usize::from(open);
            drop(state);
            if open {
                self.emit(result);
            }
        }
    }

    /// The next instance for this thread, or `None` if it is to end.
    fn next(&self, counted_idle: bool) -> Option<Task> {
        let mut state = self.lock();
        state.idle += usize::from(!counted_idle);
        loop {
            state.count_surplus(self.options.keep_threads);
            if let Some(key) = state.queued.pop_front() {
                // A queued instance is also open, because both change only under this lock.
                let Some(instance) = state.open.get_mut(&key) else { continue };
                let late = self.too_late(instance);
                if late.is_none() {
                    instance.started_at = Some(now());
                }
                let instance = instance.clone();
                state.leave_idle();
                return Some(Task { instance, late });
            }
            if state.stopped || state.surplus > 0 {
                state.surplus = state.surplus.saturating_sub(1);
                state.leave_idle();
                return None;
            }
            let patience = self.options.keep_threads;
            state = self.work.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    /// Finds out, once per `period`, how many threads were idle all that time.
    fn count_surplus(&mut self, period: Duration) {
        if self.counted_at.is_some_and(|at| at.elapsed() < period) {
            return;
        }
        // Nothing is known the first time.
        self.surplus = if self.counted_at.is_some() { self.least_idle } else { 0 };
        (self.least_idle, self.counted_at) = (self.idle, Some(Instant::now()));
    }

    fn leave_idle(&mut self) {
        self.idle -= 1;
        self.least_idle = self.least_idle.min(self.idle);
    }

    fn note(&mut self, outcome: &Result<(), Panicked>) {
        if let Err(panicked) = outcome {
            self.fault.get_or_insert_with(|| panicked.clone());
        }
    }
}

/// An instance that a thread has taken up.
struct Task {
    instance: Instance,
    /// Its result, if it was too late to check it.
    late: Option<CheckResult>,
}
