//! The checking side as a whole: sites to schedule to pool to sink, with an account of every instant.
//!
//! - [`Monitor`] owns scheduler, pool and accounting. A reload swaps the sites under it.
//! - [`Account`] is the accounting itself, a state machine without clock, threads or I/O.
//! - [`Watermarks`] keep across restarts up to where each site is accounted for.
//! - [`Sentinel`](crate::site::Sentinel)s tell a site that is down from a checker without network.
//!
//! # What becomes of an instant
//!
//! | the instant | becomes |
//! |---|---|
//! | comes, and a thread is free | a check: `success` or `failure` |
//! | lies in a window of [maintenance](crate::site::Maintenance) | `missed`, `maintenance`; no request |
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
mod arbiter;
mod asker;
mod changes;
mod delayed;
mod desk;
mod error;
mod former;
mod jury;
mod limits;
mod options;
mod records;
mod sink;
mod step;
mod track;
mod verdict;
mod watermark;
mod window;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use self::account::Account;
pub use self::arbiter::Arbiter;
pub use self::changes::Changes;
use self::desk::{Desk, SharedAccount};
pub use self::error::MonitorError;
use self::jury::Jury;
pub use self::limits::Limits;
pub use self::options::MonitorOptions;
pub use self::sink::{RecordSink, RecordSinkFn};
pub use self::step::Step;
use self::verdict::is_doubtful;
pub use self::watermark::{MemoryWatermarks, Watermark, Watermarks};
use crate::check::Pool;
use crate::panicked::Panicked;
use crate::record::CheckResult;
use crate::schedule::Timer;
use crate::site::Site;

/// Checks sites until it is stopped or dropped, and hands a record of every instant to its sink.
///
/// ```no_run
/// use std::sync::{Arc, mpsc};
/// use std::time::Duration;
/// use webmon::check::{PoolOptions, Settings};
/// use webmon::monitor::{MemoryWatermarks, Monitor, MonitorOptions, RecordSinkFn};
/// # fn example(sites: Vec<Arc<webmon::site::Site>>, origin: webmon::site::Origin) -> Result<(), Box<dyn std::error::Error>> {
/// let (sender, records) = mpsc::channel();
/// let sink = Arc::new(RecordSinkFn(move |record| sender.send(record).unwrap_or_default()));
/// let options = MonitorOptions::new(PoolOptions::new(origin), Settings::new()?);
/// let watermarks = Arc::new(MemoryWatermarks::default());
/// let monitor = Monitor::start(sites, options, sink, watermarks)?;
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
        options: MonitorOptions,
        sink: Arc<dyn RecordSink>,
        watermarks: Arc<dyn Watermarks>,
    ) -> Result<Monitor, MonitorError> {
        let MonitorOptions { pool, settings, backfill, max_backlog, sentinels } = options;
        let limits = Limits { max_lateness: pool.max_lateness, backfill, max_backlog };
        let account = Account::new(pool.origin.clone(), limits, Timestamp::now());
        let desk = Arc::new(Desk { account: SharedAccount::new(account), sink, watermarks });

        let jury = if sentinels.is_empty() {
            None
        } else {
            let deliver = {
                let desk = Arc::clone(&desk);
                Arc::new(move |results| desk.keep(results))
            };
            Some(Arc::new(Jury::start(sentinels, &settings, pool.origin.clone(), deliver)?))
        };
        let keep = {
            let (desk, jury) = (Arc::clone(&desk), jury.clone());
            Arc::new(move |result: CheckResult| match &jury {
                Some(jury) if is_doubtful(&result) => jury.submit(result),
                _ => desk.keep(vec![result]),
            })
        };
        let pool = Arc::new(Pool::start(&settings, pool, keep)?);

        let left = desk.account.lock().resume(desk.watermarks.load(), &sites);
        desk.carry_out(&pool, left);
        desk.catch_up(&pool);
        let (begun, _) = desk.account.lock().reload(sites, Timestamp::now());
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
    pub fn reload(&self, sites: Vec<Arc<Site>>) -> Changes {
        self.desk.catch_up(&self.pool);
        let (steps, changes) = self.timer.change(|account| account.lock().reload(sites, Timestamp::now()));
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
