//! Fires the instants of entries by the wall clock.

use jiff::Timestamp;

use super::timer::{Agenda, SchedulerError, Timer};
use super::{Due, Entry, Planner};

/// Fires what is due, on a thread of its own, until it is stopped or dropped.
///
/// tokio-cron-scheduler drives one job, the planning tick. Jobs for the sites themselves would be lost and doubled
/// under load, and would ignore changes of the clock. So they are instants of a [`Planner`], fired by a timer that
/// rereads the wall clock: never early, and late by about a millisecond.
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
pub struct Scheduler<T>(Timer<Planner<T>>);

impl<T: Send + Sync + 'static> Agenda for Planner<T> {
    type Due = Due<T>;

    fn plan(&mut self, now: Timestamp) {
        Planner::plan(self, now);
    }

    fn next_due(&self) -> Option<Timestamp> {
        Planner::next_due(self)
    }

    fn take_due(&mut self, now: Timestamp) -> Vec<Due<T>> {
        Planner::take_due(self, now)
    }
}

impl<T: Send + Sync + 'static> Scheduler<T> {
    /// Starts to fire the instants of `entries` strictly after `start`. A `start` in the past makes up for those since
    /// then.
    ///
    /// `fire` gets up to [`BATCH`](super::BATCH) due instants at a time, in order of time, on the scheduler's thread.
    /// It must not block, because nothing else fires meanwhile. If it panics, the scheduler ends: see
    /// [`Scheduler::is_running`].
    ///
    /// # Errors
    ///
    /// [`SchedulerError`] if thread, runtime or planning tick cannot be started.
    pub fn start(
        entries: impl IntoIterator<Item = Entry<T>>,
        start: Timestamp,
        fire: impl FnMut(Vec<Due<T>>) + Send + 'static,
    ) -> Result<Scheduler<T>, SchedulerError> {
        let mut planner = Planner::new(entries, start);
        planner.plan(start);
        Timer::start(planner, fire).map(Scheduler)
    }

    /// Replaces the entries as [`Planner::replace`] does, at the present time, and returns that time. The old entries
    /// fire up to it, including what is still on its way; after it the new ones fire.
    pub fn replace(&self, entries: impl IntoIterator<Item = Entry<T>>) -> Timestamp {
        self.0.change(|planner| {
            let now = Timestamp::now();
            planner.replace(entries, now);
            planner.plan(now);
            now
        })
    }

    /// Whether the scheduler still fires: not stopped, and `fire` has not panicked.
    pub fn is_running(&self) -> bool {
        self.0.is_running()
    }

    /// Stops. After it returns nothing is fired any more, and `fire` is dropped. Called from `fire` itself, it only
    /// makes that call the last. Does nothing the second time.
    pub fn stop(&self) {
        self.0.stop();
    }
}
