//! The checking side as a whole: sites to schedule to pool to sink, with an account of every instant.
//!
//! - [`Monitor`] owns scheduler, pool and accounting. A reload swaps the sites under it.
//! - [`Account`] is the accounting itself, a state machine without clock, threads or I/O.
//! - [`Watermarks`] keep across restarts up to where each site is accounted for.
//! - [`Sentinel`]s tell a site that is down from a checker without network.
//!
//! # What becomes of an instant
//!
//! | the instant | becomes |
//! |---|---|
//! | comes, and a thread is free | a check: `success` or `failure` |
//! | lies in a window of [maintenance](crate::maintenance) | `missed`, `maintenance`; no request |
//! | is found overdue, and the next one is due too, or it is later than `max_lateness` | `missed`, `late` |
//! | came while the checker was down | the same, but `checker_down` |
//! | is longer ago than `backfill`, or beyond the site's share of the backlog | in one gap a site, `checker_down` |
//! | comes while the site's previous check runs, or no thread is free | `missed`, `overlap` or `saturated` |
//! | found no answer, while no sentinel answers either | `missed`, `network_down` |
//! | found no answer because the process stood still, and had no time for another try | `missed`, `late` |
//! | was announced by a schedule that was then changed | a gap of that one instant, `rescheduled` |
//! | is under way or held back by the site's spread at a stop | `missed`, `cancelled` |
//! | is held back by the spread of a site that a reload removes or gives another schedule | `missed`, `cancelled` |

mod account;
mod sentinels;
mod watermarks;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

pub use self::account::{Account, Changes, Limits, Step};
use self::sentinels::Jury;
pub use self::watermarks::{MemoryWatermarks, SpoolWatermarks, Watermark, Watermarks};
use crate::check::{Pool, PoolOptions, Settings, SetupError};
use crate::outbox::Outbox;
use crate::panicked::Panicked;
use crate::record::{CheckResult, Outcome, Record};
use crate::schedule::{Agenda, SchedulerError, Timer};
use crate::site::{Maintenance, Sentinel, Site};

/// Takes every record. Called from many threads.
pub trait Sink: Send + Sync {
    /// Takes what a check has seen; when it returns that is as durable as it gets.
    fn append(&self, record: Record);

    /// Takes a missed instant or a gap; it may be made durable later. It must not wait.
    fn enqueue(&self, record: Record) {
        self.append(record);
    }

    /// As [`Sink::append`] for each of them, durable together.
    fn append_all(&self, records: Vec<Record>) {
        for record in records {
            self.append(record);
        }
    }
}

impl<O: Outbox + ?Sized> Sink for Arc<O> {
    fn append(&self, record: Record) {
        Outbox::append(self.as_ref(), record);
    }

    fn enqueue(&self, record: Record) {
        Outbox::enqueue(self.as_ref(), record);
    }

    fn append_all(&self, records: Vec<Record>) {
        Outbox::append_all(self.as_ref(), records);
    }
}

/// A function as a [`Sink`].
pub struct SinkFn<F>(pub F);

impl<F: Fn(Record) + Send + Sync> Sink for SinkFn<F> {
    fn append(&self, record: Record) {
        (self.0)(record);
    }
}

/// How to check.
#[derive(Clone, Debug)]
pub struct MonitorOptions {
    /// The pool's options, the checker's name and location among them.
    pub pool: PoolOptions,
    /// Instants longer ago than this that were not handed out become one gap a site; 1 h unless told.
    pub backfill: Duration,
    /// The most instants made up for at once, of all sites; 1,000,000 unless told.
    pub max_backlog: u64,
    /// None, or at least two: with one only, its own trouble would hide that of all sites.
    pub sentinels: Vec<Sentinel>,
}

impl MonitorOptions {
    /// The defaults for a pool.
    pub fn new(pool: PoolOptions) -> MonitorOptions {
        MonitorOptions {
            pool,
            backfill: Duration::from_secs(3_600),
            max_backlog: 1_000_000,
            sentinels: Vec::new(),
        }
    }
}

/// Why a monitor could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The checks' settings cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The scheduler could not be started.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// The operating system gave no thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Checks sites until it is stopped or dropped, and hands a record of every instant to its sink.
///
/// ```no_run
/// use std::sync::{Arc, mpsc};
/// use std::time::Duration;
/// use webmon::check::{PoolOptions, Settings};
/// use webmon::monitor::{MemoryWatermarks, Monitor, MonitorOptions, SinkFn};
/// # fn example(sites: Vec<Arc<webmon::site::Site>>, origin: webmon::site::Origin) -> Result<(), Box<dyn std::error::Error>> {
/// let (sender, records) = mpsc::channel();
/// let sink = Arc::new(SinkFn(move |record| sender.send(record).unwrap_or_default()));
/// let options = MonitorOptions::new(PoolOptions::new(origin));
/// let watermarks = Arc::new(MemoryWatermarks::default());
/// let monitor = Monitor::start(sites, Vec::new(), &Settings::new()?, options, sink, watermarks)?;
/// println!("{:?}", records.recv()?);
/// monitor.stop(Duration::from_secs(5));
/// # Ok(())
/// # }
/// ```
pub struct Monitor {
    timer: Timer<SharedAccount>,
    pool: Arc<Pool>,
    jury: Option<Arc<Jury>>,
    desk: Arc<Desk>,
}

impl Monitor {
    /// Starts to check `sites`, whose keys are distinct. What a former run has left by its watermarks is made up
    /// for first, up to the options' bounds, and is in the sink when this returns.
    ///
    /// # Errors
    /// [`MonitorError`] when settings, scheduler or threads cannot be had.
    pub fn start(
        sites: Vec<Arc<Site>>,
        maintenance: Vec<Maintenance>,
        settings: &Settings,
        options: MonitorOptions,
        sink: Arc<dyn Sink>,
        watermarks: Arc<dyn Watermarks>,
    ) -> Result<Monitor, MonitorError> {
        let MonitorOptions { pool, backfill, max_backlog, sentinels } = options;
        let limits = Limits { max_lateness: pool.max_lateness, backfill, max_backlog };
        let account = Account::new(pool.origin.clone(), limits, Timestamp::now());
        let desk = Arc::new(Desk { account: SharedAccount(Arc::new(Mutex::new(account))), sink, watermarks });

        let jury = if sentinels.is_empty() {
            None
        } else {
            let deliver = {
                let desk = Arc::clone(&desk);
                Arc::new(move |results| desk.keep(results))
            };
            Some(Arc::new(Jury::start(sentinels, settings, pool.origin.clone(), deliver)?))
        };
        let keep = {
            let (desk, jury) = (Arc::clone(&desk), jury.clone());
            Arc::new(move |result: CheckResult| match &jury {
                Some(jury) if sentinels::is_doubtful(&result) => jury.submit(result),
                _ => desk.keep(vec![result]),
            })
        };
        let pool = Arc::new(Pool::start(settings, pool, keep)?);

        let left = desk.account.lock().resume(desk.watermarks.load(), &sites, maintenance.clone());
        desk.carry_out(&pool, left);
        desk.catch_up(&pool);
        let (begun, _) = desk.account.lock().reload(sites, maintenance, Timestamp::now());
        desk.carry_out(&pool, begun);

        let fire = {
            let (desk, pool) = (Arc::clone(&desk), Arc::clone(&pool));
            move |steps| desk.carry_out(&pool, steps)
        };
        let timer = Timer::start(desk.account.clone(), fire)?;
        Ok(Monitor { timer, pool, jury, desk })
    }

    /// Makes these the sites, from now on: see [`Account::reload`]. Returns when what follows from the change is in
    /// the sink.
    pub fn reload(&self, sites: Vec<Arc<Site>>, maintenance: Vec<Maintenance>) -> Changes {
        self.desk.catch_up(&self.pool);
        let (steps, changes) =
            self.timer.change(|account| account.lock().reload(sites, maintenance, Timestamp::now()));
        self.desk.carry_out(&self.pool, steps);
        changes
    }

    /// Whether it still checks: not stopped, and no thread of its own has panicked, in the sink or elsewhere. Once it
    /// does not, stop it and end the program.
    pub fn is_running(&self) -> bool {
        self.timer.is_running() && self.fault().is_none()
    }

    /// The panic of a thread that checks or asks the sentinels, if there was one. What that thread had in hand has no
    /// record.
    pub fn fault(&self) -> Option<Panicked> {
        self.pool.fault().or_else(|| self.jury.as_ref().and_then(|jury| jury.fault()))
    }

    /// Stops: nothing more is handed out, and checks under way have until `grace` to end or become `missed`,
    /// `cancelled`. When it returns every record has been handed to the sink, so it must not be called from there.
    pub fn stop(&self, grace: Duration) {
        self.timer.stop();
        self.pool.stop(grace);
        let delayed = self.desk.account.lock().take_delayed();
        self.desk.carry_out(&self.pool, delayed);
        if let Some(jury) = &self.jury {
            jury.stop();
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// How many threads `sites` keep busy if each check takes all the time that it may: a figure above the pool's
/// threads means that instants are missed as `saturated` once many sites hang at the same time.
pub fn threads_at_worst<'a>(sites: impl IntoIterator<Item = &'a Site>) -> f64 {
    let busy =
        |site: &Site| site.time_budget().as_secs_f64() / site.schedule.shortest_interval().as_secs_f64();
    sites.into_iter().map(busy).sum()
}

/// The account, for the timer and for those who settle.
#[derive(Clone)]
struct SharedAccount(Arc<Mutex<Account>>);

impl SharedAccount {
    fn lock(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agenda for SharedAccount {
    type Due = Step;

    fn plan(&mut self, now: Timestamp) {
        self.lock().plan(now);
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.lock().next_due()
    }

    fn take_due(&mut self, now: Timestamp) -> Vec<Step> {
        self.lock().take_due(now)
    }
}

/// Where steps are carried out and records handed over.
struct Desk {
    account: SharedAccount,
    sink: Arc<dyn Sink>,
    watermarks: Arc<dyn Watermarks>,
}

impl Desk {
    /// Appends the results of checks, durable together, and only then settles their instants.
    fn keep(&self, results: Vec<CheckResult>) {
        let instants: Vec<(String, Timestamp)> =
            results.iter().map(|result| (result.site.clone(), result.scheduled_at)).collect();
        let (seen, missed): (Vec<_>, Vec<_>) =
            results.into_iter().partition(|result| result.outcome != Outcome::Missed);
        for result in missed {
            self.sink.enqueue(Record::Result(Box::new(result)));
        }
        if !seen.is_empty() {
            self.sink.append_all(seen.into_iter().map(|result| Record::Result(Box::new(result))).collect());
        }
        let mut account = self.account.lock();
        for (site, at) in instants {
            self.settle(&mut account, &site, at);
        }
    }

    /// Watermarks are noted under the account's lock, so that none overtakes a later one.
    fn settle(&self, account: &mut Account, site: &str, at: Timestamp) {
        if let Some(watermark) = account.settle(site, at) {
            self.watermarks.note(&watermark);
        }
    }

    fn carry_out(&self, pool: &Pool, steps: Vec<Step>) {
        enum Done {
            Settled(String, Timestamp),
            Retired(String),
        }
        let mut done = Vec::new();
        for step in steps {
            if let Some((site, at)) = step.settles() {
                done.push(Done::Settled(site.to_owned(), at));
            }
            match step {
                Step::Check(due) => pool.submit(due.item, due.scheduled_at, due.next_at),
                Step::Record(record) => self.sink.enqueue(record),
                Step::Begin { .. } => {}
                Step::Retire { site } => done.push(Done::Retired(site)),
            }
        }
        // Not before all of them are in the sink.
        let mut account = self.account.lock();
        for done in done {
            match done {
                Done::Settled(site, at) => self.settle(&mut account, &site, at),
                Done::Retired(site) => self.watermarks.forget(&site),
            }
        }
    }

    /// Carries out everything that is due, some at a time.
    fn catch_up(&self, pool: &Pool) {
        loop {
            let steps = self.account.lock().take_due(Timestamp::now());
            if steps.is_empty() {
                return;
            }
            self.carry_out(pool, steps);
        }
    }
}
