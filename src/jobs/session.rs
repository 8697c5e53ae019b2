//! One connection of a worker's thread: it claims jobs one by one, runs them, and records how they ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use postgres::error::SqlState;
use postgres::{Client, Statement};

use super::backoff::random_pause;
use super::kind::{Body, Inside, Job, Kind, Outside};
use super::running::{Interrupt, Reason, Running};
use super::worker::Worker;
use super::{JobError, State};
use crate::config::show_duration;
use crate::panicked::panic_message;
use crate::shutdown::Shutdown;
use crate::store::{AnyTime, Connector, Line, STEADY_PATIENCE, StoreError, check_schema};

/// How long the record of a failure may wait for a lock. A connection that was lost may still hold it; then the lease
/// runs out instead.
const LOCK_WAIT: &str = "SET LOCAL lock_timeout = '1s'";
/// Tries to record a failure while jobs of its kind and key come and go.
const MAX_TRIES: u32 = 5;

/// A failure to be recorded.
pub(super) struct Failure {
    id: i64,
    epoch: i64,
    kind: String,
    attempt: i16,
    error: String,
    discard: bool,
    /// False when the job was not to blame: the attempt is given back, and the next one comes at once.
    counts: bool,
}

impl Failure {
    /// The failure of a job whose worker is gone.
    pub fn vanished(id: i64, epoch: i64, worker: &str, attempt: i16) -> Failure {
        let error = format!("worker {worker} let the lease run out: it was killed, frozen or cut off");
        Failure { id, epoch, kind: String::new(), attempt, error, discard: false, counts: true }
    }

    /// Records it. Returns what became of the job; none when another worker has it.
    pub fn record(&self, client: &mut Client) -> Result<Option<Recorded>, StoreError> {
        let pause = if self.counts { random_pause(self.attempt) } else { Duration::ZERO };
        let mut tries = 1;
        loop {
            match self.try_record(client, pause) {
                // One of its kind and key was enqueued just now: it will be seen the next time.
                Err(StoreError::Database { cause, .. })
                    if cause.code() == Some(&SqlState::UNIQUE_VIOLATION) && tries < MAX_TRIES =>
                {
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn try_record(&self, client: &mut Client, pause: Duration) -> Result<Option<Recorded>, StoreError> {
        let failed = StoreError::database;
        let mut transaction = client.transaction().map_err(failed("cannot begin a transaction"))?;
        transaction.batch_execute(LOCK_WAIT).map_err(failed("cannot set up a transaction"))?;
        let row = transaction
            .query_opt(
                include_str!("../../sql/queries/fail_job.sql"),
                &[
                    &self.id,
                    &self.epoch,
                    &self.error,
                    &(pause.as_secs_f64() * 1_000.0),
                    &self.discard,
                    &self.counts,
                ],
            )
            .map_err(failed("cannot record a job's failure"))?;
        let recorded = row
            .and_then(|row| Some(Recorded { state: row.get::<_, &str>(0).parse().ok()?, heir: row.get(1) }));
        transaction.commit().map_err(failed("cannot record a job's failure"))?;
        Ok(recorded)
    }
}

/// What became of a job that failed.
pub(super) struct Recorded {
    pub state: State,
    /// The job of its kind and key that waited, and stands for both now.
    pub heir: Option<i64>,
}

/// How a job's run ended.
enum Outcome {
    /// Done, and recorded as completed.
    Completed,
    /// It may not be completed: another worker has it, or it was cancelled. What it did inside is undone.
    Fenced,
    Failed(JobError),
}

pub(super) struct Session<'a> {
    worker: &'a Worker,
    running: &'a Running,
    owner: String,
    client: Client,
    line: &'a Line,
    claim: Statement,
    complete: Statement,
}

impl<'a> Session<'a> {
    pub fn open(
        worker: &'a Worker,
        connector: &Connector,
        line: &'a Line,
        running: &'a Running,
    ) -> Result<Session<'a>, StoreError> {
        let owner = worker.next_owner();
        let mut client = connector.named(&format!("webmon-jobs:{owner}")).connect_on(line)?;
        check_schema(&mut client)?;
        let mut prepare =
            |sql| client.prepare(sql).map_err(StoreError::database("cannot prepare a statement"));
        let claim = prepare(include_str!("../../sql/queries/claim_job.sql"))?;
        let complete = prepare(include_str!("../../sql/queries/complete_job.sql"))?;
        Ok(Session { worker, running, owner, client, line, claim, complete })
    }

    /// Runs jobs until a stop is asked for, or until the connection should not be used any more.
    pub fn run(&mut self, shutdown: &Shutdown, unrecorded: &mut Option<Failure>) -> Result<(), StoreError> {
        loop {
            if let Some(failure) = unrecorded {
                let recorded = failure.record(&mut self.client)?;
                log_failure(failure, recorded);
                *unrecorded = None;
            }
            if shutdown.is_requested() {
                return Ok(());
            }
            let Some(job) = self.claim()? else {
                shutdown.wait(self.worker.options.poll);
                continue;
            };
            // Only kinds that are known are claimed.
            let Some(kind) = self.worker.kinds.get(&job.kind) else { continue };
            let token = self.client.cancel_token();
            let entry = self.running.begin(&job, kind.timeout, token);
            // A statement of the job's may be as long as the job; then the server should have cancelled it.
            self.line.set_limit(kind.timeout + STEADY_PATIENCE);
            let outcome = self.work(kind, &job);
            self.line.set_limit(STEADY_PATIENCE);
            let reason = self.running.end(&entry);
            *unrecorded = settle(&job, kind, outcome, reason);
            if reason.is_some() || matches!(kind.body, Body::Outside(_)) {
                // A cancellation may still be on its way, and what was lent whole may be left in any state: the caller
                // goes on with a new connection.
                return Ok(());
            }
        }
    }

    fn claim(&mut self) -> Result<Option<Job>, StoreError> {
        let lease_ms = self.worker.options.lease.as_secs_f64() * 1_000.0;
        let row = self
            .client
            .query_opt(&self.claim, &[&self.worker.kind_names, &self.owner, &lease_ms])
            .map_err(StoreError::database("cannot claim a job"))?;
        Ok(row.map(|row| Job {
            id: row.get(0),
            epoch: row.get(1),
            kind: row.get(2),
            key: row.get(3),
            args: row.get(4),
            attempt: row.get(5),
            max_attempts: row.get(6),
            scheduled_at: row.get::<_, AnyTime>(7).0,
            interrupt: Interrupt::default(),
        }))
    }

    fn work(&mut self, kind: &Kind, job: &Job) -> Outcome {
        log::debug!(job = job.id, kind = job.kind, attempt = job.attempt; "running a job");
        let run = match &kind.body {
            Body::Inside(run) => self.work_inside(run, kind.timeout, job),
            Body::Outside(run) => self.work_outside(run, job),
        };
        run.unwrap_or_else(Outcome::Failed)
    }

    fn work_inside(&mut self, run: &Inside, timeout: Duration, job: &Job) -> Result<Outcome, JobError> {
        let mut transaction = self.client.transaction()?;
        // The limits are the supervisor's to keep; these hold when it cannot, as it is frozen too.
        let ms = timeout.as_millis();
        transaction.batch_execute(&format!(
            "SET LOCAL statement_timeout = {ms}; SET LOCAL idle_in_transaction_session_timeout = {ms}"
        ))?;
        guarded(|| run(job, &mut transaction))?;
        if transaction.execute(&self.complete, &[&job.id, &job.epoch])? != 1 {
            transaction.rollback()?;
            return Ok(Outcome::Fenced);
        }
        transaction.commit()?;
        Ok(Outcome::Completed)
    }

    fn work_outside(&mut self, run: &Outside, job: &Job) -> Result<Outcome, JobError> {
        guarded(|| run(job, &mut self.client))?;
        match self.client.execute(&self.complete, &[&job.id, &job.epoch])? {
            1 => Ok(Outcome::Completed),
            _ => Ok(Outcome::Fenced),
        }
    }
}

/// Makes a panic a failure of that job alone.
fn guarded(run: impl FnOnce() -> Result<(), JobError>) -> Result<(), JobError> {
    // What a panic leaves half done is in the transaction, or in a connection that is not used again.
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(JobError::new(format!("it panicked: {}", panic_message(&*panic)))))
}

/// What is to be recorded of a run that is over.
fn settle(job: &Job, kind: &Kind, outcome: Outcome, reason: Option<Reason>) -> Option<Failure> {
    let failure = |error: String, discard: bool| {
        let counts = reason != Some(Reason::Stopped);
        let (kind, attempt) = (job.kind.clone(), job.attempt);
        Some(Failure { id: job.id, epoch: job.epoch, kind, attempt, error, discard, counts })
    };
    match (outcome, reason) {
        (Outcome::Completed, _) => {
            log::debug!(job = job.id, kind = job.kind; "completed a job");
            None
        }
        // Nothing is recorded of one that another worker has: the epoch tells. A cancelled one becomes so.
        (Outcome::Fenced, _) | (Outcome::Failed(_), Some(Reason::Cancelled | Reason::Lost)) => {
            failure("it was cancelled".to_owned(), false)
        }
        (Outcome::Failed(_), Some(Reason::TimedOut)) => {
            failure(format!("it ran longer than {}", show_duration(kind.timeout)), false)
        }
        (Outcome::Failed(_), Some(Reason::Stopped)) => failure("its worker was stopped".to_owned(), false),
        (Outcome::Failed(error), None) => failure(error.to_string(), error.discard),
    }
}

fn log_failure(failure: &Failure, recorded: Option<Recorded>) {
    let Failure { id, kind, attempt, error, .. } = failure;
    let Some(Recorded { state, heir }) = recorded else {
        log::warn!(job = id, kind, attempt, error; "lost a job to another worker");
        return;
    };
    match (state, heir) {
        (State::Discarded, _) => log::error!(job = id, kind, attempt, error; "discarded a job"),
        (State::Cancelled, Some(heir)) => {
            log::warn!(job = id, kind, attempt, error, heir; "a job failed, and gave way to its like that waits");
        }
        (State::Cancelled, None) => log::info!(job = id, kind, attempt, error; "cancelled a job"),
        _ => log::warn!(job = id, kind, attempt, error; "a job failed, and will be tried again"),
    }
}
