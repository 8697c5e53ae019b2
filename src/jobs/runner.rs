//! One connection of a worker's thread: it claims jobs one by one, runs them, and records how they ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use postgres::{Client, Statement};

use super::error::JobError;
use super::failure::{Failure, log_failure};
use super::interrupt::Interrupt;
use super::job::Job;
use super::kind::{Body, Inside, Kind, Outside};
use super::running::{Reason, Running};
use super::setup::Setup;
use crate::database::{AnyTime, Connector, DatabaseError, Line, STEADY_PATIENCE, check_schema};
use crate::panicked::panic_message;
use crate::shutdown::Shutdown;
use crate::text::show_duration;

/// How a job's run ended.
enum Ending {
    /// Done, and recorded as completed.
    Completed,
    /// It may not be completed, because another worker has it or it was cancelled. What it did in its transaction is
    /// undone.
    Fenced,
    Failed(JobError),
}

pub(super) struct Runner<'a> {
    setup: &'a Setup,
    running: &'a Running,
    owner: String,
    client: Client,
    line: &'a Line,
    claim: Statement,
    complete: Statement,
}

impl<'a> Runner<'a> {
    pub(super) fn open(
        setup: &'a Setup,
        connector: &Connector,
        line: &'a Line,
        running: &'a Running,
    ) -> Result<Runner<'a>, DatabaseError> {
        let owner = setup.next_owner();
        let mut client = connector.named(&format!("webmon-jobs:{owner}")).connect_on(line)?;
        check_schema(&mut client)?;
        let mut prepare =
            |sql| client.prepare(sql).map_err(DatabaseError::statement("cannot prepare a statement"));
        let claim = prepare(include_str!("../../sql/queries/jobs/claim_job.sql"))?;
        let complete = prepare(include_str!("../../sql/queries/jobs/complete_job.sql"))?;
        Ok(Runner { setup, running, owner, client, line, claim, complete })
    }

    /// Runs jobs until a stop is requested, or until the connection should not be used any more.
    pub(super) fn run(
        &mut self,
        shutdown: &Shutdown,
        unrecorded: &mut Option<Failure>,
    ) -> Result<(), DatabaseError> {
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
                shutdown.wait(self.setup.options.poll);
                continue;
            };
            // Only kinds that are known are claimed.
            let Some(kind) = self.setup.kinds.get(&job.kind) else { continue };
            let token = self.client.cancel_token();
            let entry = self.running.begin(&job, kind.timeout, token);
            // A statement of the job may take as long as the job. After that the server should have cancelled it.
            self.line.set_limit(kind.timeout + STEADY_PATIENCE);
            let outcome = self.work(kind, &job);
            self.line.set_limit(STEADY_PATIENCE);
            let reason = self.running.end(&entry);
            *unrecorded = settle(&job, kind, outcome, reason);
            if reason.is_some() || matches!(kind.body, Body::Outside(_)) {
                // A cancellation may still be on its way, and a job outside of a transaction may leave its connection
                // in any state. So the caller goes on with a new connection.
                return Ok(());
            }
        }
    }

    fn claim(&mut self) -> Result<Option<Job>, DatabaseError> {
        let lease_ms = self.setup.options.lease.as_secs_f64() * 1_000.0;
        let row = self
            .client
            .query_opt(&self.claim, &[&self.setup.kind_names, &self.owner, &lease_ms])
            .map_err(DatabaseError::statement("cannot claim a job"))?;
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

    fn work(&mut self, kind: &Kind, job: &Job) -> Ending {
        log::debug!(job = job.id, kind = job.kind, attempt = job.attempt; "running a job");
        let run = match &kind.body {
            Body::Inside(run) => self.work_inside(run, kind.timeout, job),
            Body::Outside(run) => self.work_outside(run, job),
        };
        run.unwrap_or_else(Ending::Failed)
    }

    fn work_inside(&mut self, run: &Inside, timeout: Duration, job: &Job) -> Result<Ending, JobError> {
        let mut transaction = self.client.transaction()?;
        // The supervisor enforces the limits. These take effect if it cannot, because it is frozen too.
        let ms = timeout.as_millis();
        transaction.batch_execute(&format!(
            "SET LOCAL statement_timeout = {ms}; SET LOCAL idle_in_transaction_session_timeout = {ms}"
        ))?;
        guarded(|| run(job, &mut transaction))?;
        if transaction.execute(&self.complete, &[&job.id, &job.epoch])? != 1 {
            transaction.rollback()?;
            return Ok(Ending::Fenced);
        }
        transaction.commit()?;
        Ok(Ending::Completed)
    }

    fn work_outside(&mut self, run: &Outside, job: &Job) -> Result<Ending, JobError> {
        guarded(|| run(job, &mut self.client))?;
        match self.client.execute(&self.complete, &[&job.id, &job.epoch])? {
            1 => Ok(Ending::Completed),
            _ => Ok(Ending::Fenced),
        }
    }
}

/// Makes a panic a failure of that job alone.
fn guarded(run: impl FnOnce() -> Result<(), JobError>) -> Result<(), JobError> {
    // What a panic leaves half done is in a transaction that is rolled back, or in a connection that is not used again.
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(JobError::new(format!("it panicked: {}", panic_message(&*panic)))))
}

/// Decides which failure to record of a run that is over, if any.
fn settle(job: &Job, kind: &Kind, outcome: Ending, reason: Option<Reason>) -> Option<Failure> {
    let failure = |error: String, discard: bool| {
        let counts = reason != Some(Reason::Stopped);
        let (kind, attempt) = (job.kind.clone(), job.attempt);
        Some(Failure { id: job.id, epoch: job.epoch, kind, attempt, error, discard, counts })
    };
    match (outcome, reason) {
        (Ending::Completed, _) => {
            log::debug!(job = job.id, kind = job.kind; "completed a job");
            None
        }
        // The epoch prevents that anything is recorded of a job that another worker has. A cancelled job becomes
        // `cancelled`.
        (Ending::Fenced, _) | (Ending::Failed(_), Some(Reason::Cancelled | Reason::Lost)) => {
            failure("it was cancelled".to_owned(), false)
        }
        (Ending::Failed(_), Some(Reason::TimedOut)) => {
            failure(format!("it ran longer than {}", show_duration(kind.timeout)), false)
        }
        (Ending::Failed(_), Some(Reason::Stopped)) => failure("its worker was stopped".to_owned(), false),
        (Ending::Failed(error), None) => failure(error.to_string(), error.discard),
    }
}
