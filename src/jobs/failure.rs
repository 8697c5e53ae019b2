//! The failure of a job, to be recorded.

use std::time::Duration;

use postgres::Client;
use postgres::error::SqlState;

use super::pause::random_pause;
use super::state::State;
use crate::database::DatabaseError;

/// How long recording a failure may wait for a lock. A lost connection may still hold the lock; then the lease runs out
/// instead.
const LOCK_WAIT: &str = "SET LOCAL lock_timeout = '1s'";
/// Tries to record a failure while jobs of its kind and key come and go.
const MAX_TRIES: u32 = 5;

/// A failure to be recorded.
pub(super) struct Failure {
    pub id: i64,
    pub epoch: i64,
    pub kind: String,
    pub attempt: i16,
    pub error: String,
    pub discard: bool,
    /// False if the job was not to blame. Then the attempt is not counted, and the next one comes at once.
    pub counts: bool,
}

impl Failure {
    /// The failure of a job whose worker is gone.
    pub(super) fn vanished(id: i64, epoch: i64, worker: &str, attempt: i16) -> Failure {
        let error = format!("worker {worker} let the lease run out: it was killed, frozen or cut off");
        Failure { id, epoch, kind: String::new(), attempt, error, discard: false, counts: true }
    }

    /// Records the failure. Returns what became of the job, or none if another worker has it.
    pub(super) fn record(&self, client: &mut Client) -> Result<Option<Recorded>, DatabaseError> {
        let pause = if self.counts { random_pause(self.attempt) } else { Duration::ZERO };
        let mut tries = 1;
        loop {
            match self.try_record(client, pause) {
                // A job of its kind and key was enqueued just now. The next try will see it.
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) && tries < MAX_TRIES => {
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn try_record(&self, client: &mut Client, pause: Duration) -> Result<Option<Recorded>, DatabaseError> {
        let failed = DatabaseError::statement;
        let mut transaction = client.transaction().map_err(failed("cannot begin a transaction"))?;
        transaction.batch_execute(LOCK_WAIT).map_err(failed("cannot set up a transaction"))?;
        let row = transaction
            .query_opt(
                include_str!("../../sql/queries/jobs/fail_job.sql"),
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
    /// The job of its kind and key that was waiting, and now stands for both.
    pub heir: Option<i64>,
}

/// Logs what became of a job.
pub(super) fn log_failure(failure: &Failure, recorded: Option<Recorded>) {
    let Failure { id, kind, attempt, error, .. } = failure;
    let Some(Recorded { state, heir }) = recorded else {
        log::warn!(job = id, kind, attempt, error; "lost a job to another worker");
        return;
    };
    match (state, heir) {
        (State::Discarded, _) => log::error!(job = id, kind, attempt, error; "discarded a job"),
        (State::Cancelled, Some(heir)) => {
            log::warn!(job = id, kind, attempt, error, heir; "a job failed, and the waiting job of its kind and key takes over");
        }
        (State::Cancelled, None) => log::info!(job = id, kind, attempt, error; "cancelled a job"),
        _ => log::warn!(job = id, kind, attempt, error; "a job failed, and will be tried again"),
    }
}
