//! Puts jobs into the queue.

use jiff::Timestamp;
use postgres::GenericClient;
use serde::Serialize;
use serde_json::Value;

use super::error::QueueError;
use crate::database::DatabaseError;

/// The longest name of a kind, in characters.
pub const MAX_KIND: usize = 100;
/// The longest key, in characters.
pub const MAX_KEY: usize = 200;
/// The largest args, in bytes of JSON.
pub const MAX_ARGS: usize = 64 << 10;
/// The most jobs of one call of [`enqueue_all`].
pub const MAX_BATCH: usize = 10_000;
/// Attempts of a job by default. With the pauses between them they take about 9 hours.
pub const DEFAULT_ATTEMPTS: i16 = 20;
/// The priority of a job by default.
pub const DEFAULT_PRIORITY: i16 = 2;

/// A job to be enqueued.
///
/// ```
/// use webmon::jobs::NewJob;
///
/// let job = NewJob::new("send_report").key("berlin-1").priority(1).args(&serde_json::json!({"day": "2026-11-22"}))?;
/// assert_eq!(job.kind(), "send_report");
/// # Ok::<(), webmon::jobs::QueueError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    pub(super) kind: String,
    pub(super) key: Option<String>,
    pub(super) args: Value,
    pub(super) priority: i16,
    pub(super) max_attempts: i16,
    pub(super) scheduled_at: Option<Timestamp>,
    pub(super) schedule: Option<String>,
}

impl NewJob {
    /// A job of `kind` (1 to [`MAX_KIND`] characters), without args, to run now.
    pub fn new(kind: impl Into<String>) -> NewJob {
        NewJob {
            kind: kind.into(),
            key: None,
            args: Value::Object(serde_json::Map::new()),
            priority: DEFAULT_PRIORITY,
            max_attempts: DEFAULT_ATTEMPTS,
            scheduled_at: None,
            schedule: None,
        }
    }

    /// Sets the key (up to [`MAX_KEY`] characters). Of the jobs with the same kind and key at most one waits, and it
    /// stands for all that were enqueued; and at most one runs. So what the job does should follow from kind and key,
    /// not from the args.
    pub fn key(mut self, key: impl Into<String>) -> NewJob {
        self.key = Some(key.into());
        self
    }

    /// Sets what the job works with: anything that serializes to JSON of up to [`MAX_ARGS`] bytes.
    ///
    /// # Errors
    /// [`QueueError::Invalid`] if it cannot be serialized to JSON.
    pub fn args(mut self, args: &impl Serialize) -> Result<NewJob, QueueError> {
        self.args = serde_json::to_value(args)
            .map_err(|error| QueueError::Invalid(format!("cannot write the job's args as JSON: {error}")))?;
        Ok(self)
    }

    /// Sets the priority: 1 (first) to 4 (last), by default [`DEFAULT_PRIORITY`].
    pub fn priority(mut self, priority: i16) -> NewJob {
        self.priority = priority;
        self
    }

    /// Sets how often the job is started at most: 1 or more, by default [`DEFAULT_ATTEMPTS`].
    pub fn max_attempts(mut self, max_attempts: i16) -> NewJob {
        self.max_attempts = max_attempts;
        self
    }

    /// Sets the earliest time at which the job may run, by default now.
    pub fn scheduled_at(mut self, at: Timestamp) -> NewJob {
        self.scheduled_at = Some(at);
        self
    }

    /// The kind's name.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    pub(super) fn validate(&self) -> Result<(), QueueError> {
        check_kind(&self.kind)?;
        let refuse = |problem: String| Err(QueueError::Invalid(format!("job {:?}: {problem}", self.kind)));
        if self.key.as_ref().is_some_and(|key| key.chars().count() > MAX_KEY || key.contains('\0')) {
            return refuse(format!(
                "the key is out of range: expected at most {MAX_KEY} characters, none NUL"
            ));
        }
        if !(1..=4).contains(&self.priority) {
            return refuse(format!("priority {} is out of range: expected 1 to 4", self.priority));
        }
        if self.max_attempts < 1 {
            return refuse(format!("max_attempts {} is out of range: expected 1 or more", self.max_attempts));
        }
        let length = self.args.to_string().len();
        if length > MAX_ARGS {
            return refuse(format!("the args have {length} bytes: expected at most {MAX_ARGS}"));
        }
        Ok(())
    }
}

/// Refuses a text that cannot name a kind.
pub(super) fn check_kind(kind: &str) -> Result<(), QueueError> {
    let length = kind.chars().count();
    if length == 0 || length > MAX_KIND || kind.contains('\0') {
        let problem = format!("is not a job's kind: expected 1 to {MAX_KIND} characters, none NUL");
        return Err(QueueError::Invalid(format!("{:?} {problem}", crate::text::truncated(kind, MAX_KIND))));
    }
    Ok(())
}

/// What became of a job that was enqueued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// The job that will run.
    pub id: i64,
    /// Whether it is new. If not, a job with the same kind and key was waiting already.
    pub is_new: bool,
}

/// Enqueues a job. In a transaction, the job is there once that commits, or not at all.
///
/// If a job of its kind and key is waiting already, that job is locked until the transaction ends. So it begins only
/// afterwards, and sees what the transaction wrote. Enqueue at the end of a transaction, because others who enqueue the
/// same kind and key wait for its end.
///
/// # Errors
/// [`QueueError::Invalid`] for a value out of its range; [`QueueError::Database`].
pub fn enqueue<C: GenericClient>(client: &mut C, job: &NewJob) -> Result<Enqueued, QueueError> {
    job.validate()?;
    let [row] = &insert(client, &[job])?[..] else {
        return Err(QueueError::Invalid(format!("job {:?}: the database did not return its id", job.kind)));
    };
    Ok(*row)
}

/// Enqueues up to [`MAX_BATCH`] jobs in one statement, all or none. Returns how many are new. The others were merged
/// into a job of the same kind and key, of these or of those that wait.
///
/// # Errors
/// As [`enqueue`].
pub fn enqueue_all<C: GenericClient>(client: &mut C, jobs: &[NewJob]) -> Result<usize, QueueError> {
    if jobs.len() > MAX_BATCH {
        let problem = format!("{} jobs are too many for one call: expected at most {MAX_BATCH}", jobs.len());
        return Err(QueueError::Invalid(problem));
    }
    jobs.iter().try_for_each(NewJob::validate)?;
    // One statement cannot merge two of its own jobs, so only the most urgent job of each kind and key is inserted.
    let mut sorted: Vec<&NewJob> = jobs.iter().collect();
    sorted.sort_by_key(|job| (&job.kind, &job.key, job.priority, job.scheduled_at));
    sorted.dedup_by(|b, a| a.key.is_some() && (&a.kind, &a.key) == (&b.kind, &b.key));
    Ok(insert(client, &sorted)?.iter().filter(|job| job.is_new).count())
}

fn insert<C: GenericClient>(client: &mut C, jobs: &[&NewJob]) -> Result<Vec<Enqueued>, QueueError> {
    let kinds: Vec<&str> = jobs.iter().map(|job| job.kind.as_str()).collect();
    let keys: Vec<Option<&str>> = jobs.iter().map(|job| job.key.as_deref()).collect();
    let args: Vec<&Value> = jobs.iter().map(|job| &job.args).collect();
    let priorities: Vec<i16> = jobs.iter().map(|job| job.priority).collect();
    let times: Vec<Option<Timestamp>> = jobs.iter().map(|job| job.scheduled_at).collect();
    let attempts: Vec<i16> = jobs.iter().map(|job| job.max_attempts).collect();
    let schedules: Vec<Option<&str>> = jobs.iter().map(|job| job.schedule.as_deref()).collect();
    let rows = client
        .query(
            include_str!("../../sql/queries/jobs/enqueue_jobs.sql"),
            &[&kinds, &keys, &args, &priorities, &times, &attempts, &schedules],
        )
        .map_err(DatabaseError::statement("cannot enqueue jobs"))?;
    Ok(rows.iter().map(|row| Enqueued { id: row.get(0), is_new: row.get(1) }).collect())
}
