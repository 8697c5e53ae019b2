//! Fires planned instants by the wall clock: one thread, one planning tick, one timer.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::{Due, Entry, Planner};

/// The planning tick, a job of tokio-cron-scheduler: well within [`super::HORIZON`].
const PLANNING_TICK: &str = "*/5 * * * * *";
/// The longest sleep without a look at the wall clock, which may have been set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Fires what is due, on a thread of its own, until it is stopped or dropped.
///
/// tokio-cron-scheduler drives one job, the planning tick. Jobs for the sites themselves would be lost and doubled
/// under load and know no change of the clock; here they are instants of a [`Planner`], and what fires them is a
/// timer that rereads the wall clock: never early, and late by about a millisecond.
///
/// ```
/// use std::sync::{Arc, mpsc};
/// use jiff::Timestamp;
/// use webmon::schedule::{Entry, Schedule, Scheduler};
///
/// let (sender, fired) = mpsc::channel();
/// let schedule = Schedule::new("* * * * * *", "UTC")?;
/// let entries = [Entry { key: "shop".into(), schedule, item: Arc::new("shop") }];
/// let scheduler = Scheduler::start(entries, Timestamp::now(), move |due| sender.send(due).unwrap_or(()))?;
/// let due = fired.recv()?;
/// assert_eq!(*due[0].item, "shop");
/// scheduler.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Scheduler<T> {
    shared: Arc<Shared<T>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: thread::ThreadId,
}

#[derive(Debug)]
struct Shared<T> {
    planner: Mutex<Planner<T>>,
    /// Makes the timer look again: a plan, other entries, a stop.
    wake: Notify,
    stopped: AtomicBool,
}

/// Why a scheduler could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchedulerError {
    /// The operating system gave no thread.
    #[error("cannot start the scheduler's thread")]
    Thread(#[source] io::Error),
    /// Tokio gave no runtime.
    #[error("cannot start the scheduler's runtime")]
    Runtime(#[source] io::Error),
    /// tokio-cron-scheduler did not take the planning tick.
    #[error("cannot start the planning tick {PLANNING_TICK:?}")]
    Tick(#[from] JobSchedulerError),
    /// The thread ended while it was starting.
    #[error("the scheduler's thread ended while it was starting")]
    Ended,
}

impl<T: Send + Sync + 'static> Scheduler<T> {
    /// Starts to fire the instants of `entries` strictly after `start`; a `start` in the past makes up for those
    /// since then.
    ///
    /// `fire` is given up to [`BATCH`](super::BATCH) of what is due at a time, in order of time, on the
    /// scheduler's thread. It must not block, as nothing else fires meanwhile. If it panics the scheduler ends,
    /// see [`Scheduler::is_running`].
    ///
    /// # Errors
    ///
    /// [`SchedulerError`], when thread, runtime or planning tick cannot be had.
    pub fn start(
        entries: impl IntoIterator<Item = Entry<T>>,
        start: Timestamp,
        fire: impl FnMut(Vec<Due<T>>) + Send + 'static,
    ) -> Result<Scheduler<T>, SchedulerError> {
        let mut planner = Planner::new(entries, start);
        planner.plan(start);
        let shared = Arc::new(Shared {
            planner: Mutex::new(planner),
            wake: Notify::new(),
            stopped: AtomicBool::new(false),
        });
        let (report, started) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("schedule".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&shared, fire, &report)
            })
            .map_err(SchedulerError::Thread)?;
        started.recv().unwrap_or(Err(SchedulerError::Ended))?;
        let thread_id = thread.thread().id();
        Ok(Scheduler { shared, thread: Mutex::new(Some(thread)), thread_id })
    }

    /// Replaces the entries as [`Planner::replace`] does, at the present time, which it returns: up to it the old
    /// entries fire, what is still on its way included, after it the new ones.
    pub fn replace(&self, entries: impl IntoIterator<Item = Entry<T>>) -> Timestamp {
        let mut planner = self.shared.planner();
        let now = Timestamp::now();
        planner.replace(entries, now);
        planner.plan(now);
        drop(planner);
        self.shared.wake.notify_one();
        now
    }

    /// Whether the scheduler still fires: not stopped, and `fire` has not panicked.
    pub fn is_running(&self) -> bool {
        // Locked: somebody is stopping it.
        let thread = self.thread.try_lock();
        thread.is_ok_and(|thread| thread.as_ref().is_some_and(|thread| !thread.is_finished()))
            && !self.shared.is_stopped()
    }
}

impl<T> Scheduler<T> {
    /// Stops. When it returns nothing is fired any more, and `fire` is dropped; called from `fire` itself it only
    /// makes that call the last. Does nothing the second time.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        if thread::current().id() != self.thread_id {
            // Held while joining, so that two that stop both wait.
            let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(thread) = thread.take() {
                // A panic in `fire` has been reported by the panic hook.
                let _ = thread.join();
            }
        }
    }
}

impl<T> Drop for Scheduler<T> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<T> Shared<T> {
    fn planner(&self) -> MutexGuard<'_, Planner<T>> {
        self.planner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// The scheduler's thread.
fn run<T: Send + Sync + 'static>(
    shared: &Arc<Shared<T>>,
    fire: impl FnMut(Vec<Due<T>>),
    report: &mpsc::Sender<Result<(), SchedulerError>>,
) {
    // One thread for the tick and the timer: they wait nearly always.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return report.send(Err(SchedulerError::Runtime(error))).unwrap_or(()),
    };
    runtime.block_on(async {
        let ticks = start_ticks(Arc::clone(shared)).await;
        let started = ticks.is_ok();
        report.send(ticks.as_ref().map(drop).map_err(|error| error.clone().into())).unwrap_or(());
        if started {
            keep_time(shared, fire).await;
        }
    });
}

/// Starts the planning tick; it ends with the runtime.
async fn start_ticks<T: Send + Sync + 'static>(
    shared: Arc<Shared<T>>,
) -> Result<JobScheduler, JobSchedulerError> {
    let ticks = JobScheduler::new().await?;
    let plan = Job::new_async(PLANNING_TICK, move |_, _| {
        let shared = Arc::clone(&shared);
        Box::pin(async move {
            shared.planner().plan(Timestamp::now());
            shared.wake.notify_one();
        })
    })?;
    ticks.add(plan).await?;
    ticks.start().await?;
    Ok(ticks)
}

/// Fires what is due, and sleeps until there is more, until a stop.
async fn keep_time<T>(shared: &Shared<T>, mut fire: impl FnMut(Vec<Due<T>>)) {
    while !shared.is_stopped() {
        // Fired without the lock, so that `fire` may replace the entries.
        let due = shared.planner().take_due(Timestamp::now());
        if !due.is_empty() {
            fire(due);
            // However much there is to make up for, the tick has its turn.
            tokio::task::yield_now().await;
            continue;
        }
        let next = shared.planner().next_due();
        let pause = next.map_or(LONGEST_SLEEP, |next| {
            Duration::try_from(next.duration_since(Timestamp::now()))
                .unwrap_or(Duration::ZERO)
                .min(LONGEST_SLEEP)
        });
        let _ = tokio::time::timeout(pause, shared.wake.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{HORIZON, Schedule};

    #[test]
    fn the_planning_tick_plans_ahead_and_wakes_the_timer() {
        let schedule = Schedule::new("* * * * * *", "UTC").unwrap();
        let entry = Entry { key: "shop".to_owned(), schedule, item: Arc::new(()) };
        let start = Timestamp::now();
        let planner = Mutex::new(Planner::new([entry], start));
        let shared = Arc::new(Shared { planner, wake: Notify::new(), stopped: AtomicBool::new(false) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let _ticks = start_ticks(Arc::clone(&shared)).await.unwrap();
            tokio::time::timeout(Duration::from_secs(60), shared.wake.notified()).await.unwrap();
        });
        assert!(shared.planner().planned_until().unwrap() > start + HORIZON);
    }
}
