//! The options of a worker.

use std::time::Duration;

use super::error::QueueError;
use crate::config::Jobs;
use crate::text::show_duration;

/// The options of a [`Worker`](super::Worker).
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// How many jobs run at once. Each has a thread with its own connection; one more connection supervises them. 1 to
    /// 64, default 1.
    pub threads: usize,
    /// How long a worker holds a job without renewing its lease; it renews it three times in that time. The job of a
    /// worker that was killed runs again after this time. If it is too short, a busy database makes workers lose their
    /// jobs. 500 ms to 5 min, default 30 s.
    pub lease: Duration,
    /// How often a thread without work looks for a job, and so how late a job may begin. 10 ms to 1 min, default 1 s.
    pub poll: Duration,
    /// How long jobs may go on after a stop was requested. Then they are interrupted, and other workers start them
    /// again. If a job waits for a database that does not answer, its connection is cut off 5 s later. 0 s to 10 min,
    /// default 10 s.
    pub grace: Duration,
    /// The machine's name, for the worker's name. By default it is the host's name.
    pub host: String,
}

impl Default for WorkerOptions {
    fn default() -> WorkerOptions {
        let Jobs { threads, lease, poll, .. } = Jobs::default();
        WorkerOptions {
            threads,
            lease,
            poll,
            grace: Duration::from_secs(10),
            host: gethostname::gethostname().to_string_lossy().into_owned(),
        }
    }
}

impl WorkerOptions {
    pub(super) fn validate(&self) -> Result<(), QueueError> {
        if !(1..=64).contains(&self.threads) {
            let problem = format!("worker: threads {} is out of range: expected 1 to 64", self.threads);
            return Err(QueueError::Invalid(problem));
        }
        let (ms, minute) = (Duration::from_millis(1), Duration::from_secs(60));
        in_range("worker: lease", self.lease, ms * 500, minute * 5)?;
        in_range("worker: poll", self.poll, ms * 10, minute)?;
        in_range("worker: grace", self.grace, Duration::ZERO, minute * 10)
    }
}

pub(super) fn in_range(what: &str, value: Duration, min: Duration, max: Duration) -> Result<(), QueueError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let [value, min, max] = [value, min, max].map(show_duration);
    Err(QueueError::Invalid(format!("{what} {value:?} is out of range: expected {min} to {max}")))
}
