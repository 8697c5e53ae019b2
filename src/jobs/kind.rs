//! A kind of job: what it does, and how.

use std::time::Duration;

use postgres::{Client, Transaction};

use super::enqueue::{DEFAULT_ATTEMPTS, DEFAULT_PRIORITY, NewJob};
use super::error::JobError;
use super::job::Job;
use crate::schedule::Schedule;

/// How long a job may run by default.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

pub(super) type Inside = dyn Fn(&Job, &mut Transaction<'_>) -> Result<(), JobError> + Send + Sync;
pub(super) type Outside = dyn Fn(&Job, &mut Client) -> Result<(), JobError> + Send + Sync;

pub(super) enum Body {
    Inside(Box<Inside>),
    Outside(Box<Outside>),
}

/// A kind of job, for a [`Worker`](super::Worker).
///
/// ```
/// use std::time::Duration;
/// use webmon::jobs::{Job, JobError, Kind};
/// use webmon::postgres::Transaction;
/// use webmon::schedule::Schedule;
///
/// fn close_day(job: &Job, transaction: &mut Transaction<'_>) -> Result<(), JobError> {
///     transaction.execute("INSERT INTO days_closed (day) VALUES ($1::timestamptz::date)", &[&job.scheduled_at])?;
///     Ok(())
/// }
/// let kind = Kind::new("close_day", close_day)
///     .schedule(Schedule::new("@daily", "Europe/Berlin")?)
///     .timeout(Duration::from_secs(60));
/// # Ok::<(), webmon::schedule::ScheduleError>(())
/// ```
pub struct Kind {
    pub(super) name: String,
    pub(super) body: Body,
    pub(super) timeout: Duration,
    pub(super) schedule: Option<Schedule>,
    priority: i16,
    max_attempts: i16,
}

impl Kind {
    /// A kind that does its work in a transaction. The job is completed in the same transaction, so what it wrote and
    /// its completion are stored together or not at all, however often it was started.
    ///
    /// `run` must neither commit nor roll back that transaction as a whole. It may use savepoints.
    pub fn new(
        name: impl Into<String>,
        run: impl Fn(&Job, &mut Transaction<'_>) -> Result<(), JobError> + Send + Sync + 'static,
    ) -> Kind {
        Kind::with_body(name.into(), Body::Inside(Box::new(run)))
    }

    /// A kind whose work cannot run in a transaction (`DETACH … CONCURRENTLY`, `VACUUM`), or needs several. It gets a
    /// connection that nothing else uses, then or later. If a worker ends between the work and the job's completion,
    /// the job runs again, so the work must be idempotent.
    pub fn outside(
        name: impl Into<String>,
        run: impl Fn(&Job, &mut Client) -> Result<(), JobError> + Send + Sync + 'static,
    ) -> Kind {
        Kind::with_body(name.into(), Body::Outside(Box::new(run)))
    }

    fn with_body(name: String, body: Body) -> Kind {
        Kind {
            name,
            body,
            timeout: DEFAULT_TIMEOUT,
            schedule: None,
            priority: DEFAULT_PRIORITY,
            max_attempts: DEFAULT_ATTEMPTS,
        }
    }

    /// Sets how long a job may run: 1 s to 7 days, by default [`DEFAULT_TIMEOUT`]. After that its statement is
    /// cancelled, and the attempt has failed. If the job does not end even then, its lease runs out, and another worker
    /// may start it again.
    pub fn timeout(mut self, timeout: Duration) -> Kind {
        self.timeout = timeout;
        self
    }

    /// Enqueues a job, as [`Kind::due`] makes it, at each instant of `schedule`: one job, however many workers there
    /// are. Instants that pass while no worker runs, or while a job of the kind waits, make one job together.
    pub fn schedule(mut self, schedule: Schedule) -> Kind {
        self.schedule = Some(schedule);
        self
    }

    /// Removes the schedule: the kind runs only when it is enqueued.
    pub fn unscheduled(mut self) -> Kind {
        self.schedule = None;
        self
    }

    /// Sets the priority of the jobs that its schedule enqueues: 1 (first) to 4 (last).
    pub fn priority(mut self, priority: i16) -> Kind {
        self.priority = priority;
        self
    }

    /// Sets the attempts of the jobs that its schedule enqueues.
    pub fn max_attempts(mut self, max_attempts: i16) -> Kind {
        self.max_attempts = max_attempts;
        self
    }

    /// The kind's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The job that the schedule enqueues. It has no args, and the empty key, so that at most one waits.
    pub fn due(&self) -> NewJob {
        NewJob::new(&self.name).key("").priority(self.priority).max_attempts(self.max_attempts)
    }
}
