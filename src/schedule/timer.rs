//! Fires by the wall clock what an agenda holds, with one thread, one planning tick and one timer.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::mutex::lock;

/// The planning tick, a job of tokio-cron-scheduler. It is well within [`super::HORIZON`].
const PLANNING_TICK: &str = "*/5 * * * * *";
/// The longest sleep without a look at the wall clock, which may have been set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// What a timer drives. It has no clock: the timer says what time it is.
pub(crate) trait Agenda: Send + 'static {
    /// What is handed out.
    type Due: Send + 'static;

    /// Plans ahead from `now`.
    fn plan(&mut self, now: Timestamp);

    /// When there is something to hand out next.
    fn next_due(&self) -> Option<Timestamp>;

    /// Hands out what is due at `now`, some at a time, and nothing if there is no more.
    fn take_due(&mut self, now: Timestamp) -> Vec<Self::Due>;
}

/// Fires what is due on a thread of its own, until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Timer<A> {
    shared: Arc<Shared<A>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: thread::ThreadId,
}

#[derive(Debug)]
struct Shared<A> {
    agenda: Mutex<A>,
    /// Makes the timer look again: a plan, another agenda, a stop.
    wake: Notify,
    stopped: AtomicBool,
}

/// Why a scheduler could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchedulerError {
    /// The operating system could not start a thread.
    #[error("cannot start the scheduler's thread")]
    Thread(#[source] io::Error),
    /// Tokio could not start a runtime.
    #[error("cannot start the scheduler's runtime")]
    Runtime(#[source] io::Error),
    /// tokio-cron-scheduler did not accept the planning tick.
    #[error("cannot start the planning tick {PLANNING_TICK:?}")]
    Tick(#[from] JobSchedulerError),
    /// The thread ended while it was starting.
    #[error("the scheduler's thread ended while it was starting")]
    Ended,
}

impl<A: Agenda> Timer<A> {
    /// Starts to pass what `agenda` holds to `fire`, on the timer's thread. `fire` must not block. If it panics, the
    /// timer ends.
    pub(crate) fn start(
        agenda: A,
        fire: impl FnMut(Vec<A::Due>) + Send + 'static,
    ) -> Result<Timer<A>, SchedulerError> {
        let shared = Arc::new(Shared {
            agenda: Mutex::new(agenda),
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
        Ok(Timer { shared, thread: Mutex::new(Some(thread)), thread_id })
    }

    /// Lets `change` change the agenda, and then looks what is due. What was taken before may still be on its way to
    /// `fire`.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut A) -> R) -> R {
        let changed = change(&mut self.shared.agenda());
        self.shared.wake.notify_one();
        changed
    }

    /// Whether it still fires: not stopped, and `fire` has not panicked.
    pub(crate) fn is_running(&self) -> bool {
        // If it is locked, somebody is stopping it.
        let thread = self.thread.try_lock();
        thread.is_ok_and(|thread| thread.as_ref().is_some_and(|thread| !thread.is_finished()))
            && !self.shared.is_stopped()
    }
}

impl<A> Timer<A> {
    /// Stops. After it returns nothing is fired any more, and `fire` is dropped. Called from `fire` itself, it only
    /// makes that call the last. Does nothing the second time.
    pub(crate) fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        if thread::current().id() != self.thread_id {
            // The lock is held while joining, so that two callers that stop both wait.
            let mut thread = lock(&self.thread);
            if let Some(thread) = thread.take() {
                // A panic in `fire` has been reported by the panic hook.
                let _ = thread.join();
            }
        }
    }
}

impl<A> Drop for Timer<A> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<A> Shared<A> {
    fn agenda(&self) -> MutexGuard<'_, A> {
        lock(&self.agenda)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// The scheduler's thread.
fn run<A: Agenda>(
    shared: &Arc<Shared<A>>,
    fire: impl FnMut(Vec<A::Due>),
    report: &mpsc::Sender<Result<(), SchedulerError>>,
) {
    // The tick and the timer share one thread, because they wait nearly always.
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

/// Starts the planning tick, which ends with the runtime.
async fn start_ticks<A: Agenda>(shared: Arc<Shared<A>>) -> Result<JobScheduler, JobSchedulerError> {
    let ticks = JobScheduler::new().await?;
    let plan = Job::new_async(PLANNING_TICK, move |_, _| {
        let shared = Arc::clone(&shared);
        Box::pin(async move {
            shared.agenda().plan(Timestamp::now());
            shared.wake.notify_one();
        })
    })?;
    ticks.add(plan).await?;
    ticks.start().await?;
    Ok(ticks)
}

/// Fires what is due and sleeps until there is more, until it is stopped.
async fn keep_time<A: Agenda>(shared: &Shared<A>, mut fire: impl FnMut(Vec<A::Due>)) {
    while !shared.is_stopped() {
        // It fires without the lock, so that `fire` may replace the entries.
        let due = shared.agenda().take_due(Timestamp::now());
        if !due.is_empty() {
            fire(due);
            // The tick gets its turn, however much there is to make up for.
            tokio::task::yield_now().await;
            continue;
        }
        let next = shared.agenda().next_due();
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
    use crate::schedule::{Entry, HORIZON, Planner, Schedule};

    #[test]
    fn the_planning_tick_plans_ahead_and_wakes_the_timer() {
        let schedule = Schedule::new("* * * * * *", "UTC").unwrap();
        let entry = Entry { key: "shop".to_owned(), schedule, item: Arc::new(()) };
        let start = Timestamp::now();
        let agenda = Mutex::new(Planner::new([entry], start));
        let shared = Arc::new(Shared { agenda, wake: Notify::new(), stopped: AtomicBool::new(false) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let _ticks = start_ticks(Arc::clone(&shared)).await.unwrap();
            tokio::time::timeout(Duration::from_secs(60), shared.wake.notified()).await.unwrap();
        });
        assert!(shared.agenda().planned_until().unwrap() > start + HORIZON);
    }
}
