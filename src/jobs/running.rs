//! The jobs that run in this process, as its threads and the supervisor share them.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use postgres::CancelToken;

use super::interrupt::Interrupt;
use super::job::Job;
use crate::database::Connector;
use crate::mutex::lock;

/// Why a job was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its cancellation was requested.
    Cancelled,
    /// It ran longer than its kind may.
    TimedOut,
    /// Another worker has it.
    Lost,
    /// Its worker stops.
    Stopped,
}

/// A job at work.
pub(super) struct RunningJob {
    pub id: i64,
    pub epoch: i64,
    deadline: Instant,
    interrupt: Interrupt,
    token: CancelToken,
    fate: Mutex<Fate>,
}

#[derive(Default)]
struct Fate {
    reason: Option<Reason>,
    ended: bool,
}

impl RunningJob {
    /// Asks the job to end, and cancels its statement. It does so with each call, as there may be a next statement.
    /// Does nothing if the job has ended, because the connection may be used for something else.
    pub(super) fn interrupt(&self, reason: Reason, connector: &Connector) {
        let mut fate = lock(&self.fate);
        if fate.ended {
            return;
        }
        if fate.reason.is_none() {
            log::warn!(job = self.id, reason:? = reason; "interrupting a job");
            fate.reason = Some(reason);
        }
        self.interrupt.set();
        // This is done under the lock, because what the connection does after the job must not be cancelled.
        if let Err(error) = connector.cancel(&self.token) {
            log::warn!(job = self.id, error = error.to_string(); "cannot cancel a job's statement");
        }
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.deadline <= Instant::now()
    }

    /// Why it was interrupted, if it was.
    pub(super) fn reason(&self) -> Option<Reason> {
        lock(&self.fate).reason
    }

    /// Whether to renew the lease. The lease of a job that was given up runs out, so that another worker may start it.
    pub(super) fn is_kept(&self) -> bool {
        !self.is_overdue() && !matches!(self.reason(), Some(Reason::Lost | Reason::Stopped))
    }
}

/// All jobs at work, and how many threads there are for them.
#[derive(Default)]
pub(super) struct Running {
    jobs: Mutex<HashMap<(i64, i64), Arc<RunningJob>>>,
    threads: Mutex<usize>,
    changed: Condvar,
}

impl Running {
    /// Registers a job before it begins.
    pub(super) fn begin(&self, job: &Job, timeout: Duration, token: CancelToken) -> Arc<RunningJob> {
        let entry = Arc::new(RunningJob {
            id: job.id,
            epoch: job.epoch,
            deadline: Instant::now() + timeout,
            interrupt: job.interrupt.clone(),
            token,
            fate: Mutex::default(),
        });
        lock(&self.jobs).insert((job.id, job.epoch), Arc::clone(&entry));
        entry
    }

    /// Removes a job that has ended, so that nothing interrupts its connection any more. Returns why it was
    /// interrupted, if it was.
    pub(super) fn end(&self, entry: &RunningJob) -> Option<Reason> {
        let reason = {
            let mut fate = lock(&entry.fate);
            fate.ended = true;
            fate.reason
        };
        lock(&self.jobs).remove(&(entry.id, entry.epoch));
        reason
    }

    pub(super) fn entries(&self) -> Vec<Arc<RunningJob>> {
        lock(&self.jobs).values().cloned().collect()
    }

    /// Counts a thread in until the guard is dropped.
    pub(super) fn thread(&self) -> ThreadGuard<'_> {
        *lock(&self.threads) += 1;
        ThreadGuard(self)
    }

    pub(super) fn has_threads(&self) -> bool {
        *lock(&self.threads) > 0
    }

    /// Waits until no thread is left, for at most `timeout`.
    pub(super) fn wait_until_idle(&self, timeout: Duration) {
        let threads = lock(&self.threads);
        drop(
            self.changed
                .wait_timeout_while(threads, timeout, |threads| *threads > 0)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

pub(super) struct ThreadGuard<'a>(&'a Running);

impl Drop for ThreadGuard<'_> {
    fn drop(&mut self) {
        *lock(&self.0.threads) -= 1;
        self.0.changed.notify_all();
    }
}
