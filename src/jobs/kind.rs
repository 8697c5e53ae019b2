//! A kind of job: what is done, and how.

use std::time::Duration;

use postgres::{Client, Transaction};

use super::enqueue::{DEFAULT_ATTEMPTS, DEFAULT_PRIORITY, NewJob};
use super::error::JobError;
use super::job::Job;
use crate::schedule::Schedule;

/// How long a job may run unless told.
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
    /// A kind that does its work in the transaction it is given. The job is completed in the same transaction: what it
    /// wrote and its completion are there together or not at all, however often it was begun.
    ///
    /// `run` must neither commit nor roll back that transaction as a whole; savepoints are its own.
    pub fn new(
        name: impl Into<String>,
        run: impl Fn(&Job, &mut Transaction<'_>) -> Result<(), JobError> + Send + Sync + 'static,
    ) -> Kind {
        Kind::with_body(name.into(), Body::Inside(Box::new(run)))
    }

    /// A kind whose work cannot be in a transaction (`DETACH … CONCURRENTLY`, `VACUUM`), or is several. It gets a
    /// connection of which nothing else makes use, then or later. A worker that ends between the work and the job's
    /// completion leaves it to be run again: the work must be idempotent.
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

    /// How long a job may run: 1 s to 7 days, [`DEFAULT_TIMEOUT`] unless told. Then its statement is cancelled, and the
    /// attempt has failed. One that does not end of it is let go: another worker may begin it anew.
    pub fn timeout(mut self, timeout: Duration) -> Kind {
        self.timeout = timeout;
        self
    }

    /// Enqueues a job at each instant of `schedule`, once however many workers there are, with [`Kind::due`]. Instants
    /// that pass while no worker runs, or while one job of the kind waits, come to one job.
    pub fn schedule(mut self, schedule: Schedule) -> Kind {
        self.schedule = Some(schedule);
        self
    }

    /// Takes the schedule away: the kind runs only when it is enqueued.
    pub fn unscheduled(mut self) -> Kind {
        self.schedule = None;
        self
    }

    /// The priority of the jobs that its schedule enqueues: 1 (first) to 4 (last).
    pub fn priority(mut self, priority: i16) -> Kind {
        self.priority = priority;
        self
    }

    /// The attempts of the jobs that its schedule enqueues.
    pub fn max_attempts(mut self, max_attempts: i16) -> Kind {
        self.max_attempts = max_attempts;
        self
    }

    /// The kind's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The job that the schedule enqueues: without args, and with the empty key, so that one waits at most.
    pub fn due(&self) -> NewJob {
        NewJob::new(&self.name).key("").priority(self.priority).max_attempts(self.max_attempts)
    }
}
