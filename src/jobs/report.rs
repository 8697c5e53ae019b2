//! Lists, cancels, retries and prunes jobs.

use std::time::Duration;

use jiff::Timestamp;
use postgres::GenericClient;
use postgres::error::SqlState;
use serde::Serialize;
use serde_json::Value;

use super::error::QueueError;
use super::state::State;
use crate::database::{AnyTime, DatabaseError};

/// The most jobs that [`list`] returns.
pub const MAX_LIST: i64 = 100_000;

/// A job as it stands in the queue.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobInfo {
    /// Its id.
    pub id: i64,
    /// Its kind.
    pub kind: String,
    /// Its key: at most one job of a kind and key waits.
    pub key: Option<String>,
    /// What it works with.
    pub args: Value,
    /// Where it is in its life.
    pub state: State,
    /// 1 (first) to 4 (last).
    pub priority: i16,
    /// How often it was started.
    pub attempt: i16,
    /// How often it is started at most.
    pub max_attempts: i16,
    /// The schedule that enqueued it.
    pub schedule: Option<String>,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// The earliest time at which it may run.
    pub scheduled_at: Timestamp,
    /// When it was last started.
    pub attempted_at: Option<Timestamp>,
    /// The worker that last started it.
    pub attempted_by: Option<String>,
    /// Until when that worker holds it, unless it renews the lease.
    pub lease_until: Option<Timestamp>,
    /// When its cancellation was requested.
    pub cancel_requested_at: Option<Timestamp>,
    /// When it ended.
    pub finalized_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// Returns the newest jobs, at most `limit` and [`MAX_LIST`]; only those of this state and kind, if these are given.
///
/// # Errors
/// [`QueueError::Database`].
pub fn list(
    client: &mut impl GenericClient,
    state: Option<State>,
    kind: Option<&str>,
    limit: i64,
) -> Result<Vec<JobInfo>, QueueError> {
    query(client, None, state, kind, limit.clamp(0, MAX_LIST))
}

/// Returns one job, or none if there is no such job any more.
///
/// # Errors
/// [`QueueError::Database`].
pub fn get(client: &mut impl GenericClient, id: i64) -> Result<Option<JobInfo>, QueueError> {
    Ok(query(client, Some(id), None, None, 1)?.pop())
}

fn query(
    client: &mut impl GenericClient,
    id: Option<i64>,
    state: Option<State>,
    kind: Option<&str>,
    limit: i64,
) -> Result<Vec<JobInfo>, QueueError> {
    let rows = client
        .query(
            include_str!("../../sql/queries/jobs/list_jobs.sql"),
            &[&id, &state.map(State::as_str), &kind, &limit],
        )
        .map_err(DatabaseError::statement("cannot list jobs"))?;
    rows.iter()
        .map(|row| {
            let time = |column| row.get::<_, Option<AnyTime>>(column).map(|time| time.0);
            Ok(JobInfo {
                id: row.get("id"),
                kind: row.get("kind"),
                key: row.get("key"),
                args: row.get("args"),
                state: row.get::<_, &str>("state").parse().map_err(QueueError::Invalid)?,
                priority: row.get("priority"),
                attempt: row.get("attempt"),
                max_attempts: row.get("max_attempts"),
                schedule: row.get("schedule"),
                created_at: row.get::<_, AnyTime>("created_at").0,
                scheduled_at: row.get::<_, AnyTime>("scheduled_at").0,
                attempted_at: time("attempted_at"),
                attempted_by: row.get("attempted_by"),
                lease_until: time("lease_until"),
                cancel_requested_at: time("cancel_requested_at"),
                finalized_at: time("finalized_at"),
                last_error: row.get("last_error"),
            })
        })
        .collect()
}

/// If a waiting job has failed this often, its kind counts as failing.
const FAILURES: i16 = 3;

/// A kind of jobs that keeps failing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailingKind {
    /// The kind.
    pub kind: String,
    /// Its last error.
    pub last_error: String,
    /// How often the job was tried.
    pub attempt: i16,
    /// When it failed last.
    pub failed_at: Timestamp,
}

/// Returns the kinds that keep failing, ordered by name. A kind does if the newest job that ended was discarded, or if
/// a job waits after three failures.
///
/// # Errors
/// [`QueueError::Database`].
pub fn failing(client: &mut impl GenericClient) -> Result<Vec<FailingKind>, QueueError> {
    let rows = client
        .query(include_str!("../../sql/queries/jobs/failing_jobs.sql"), &[&FAILURES])
        .map_err(DatabaseError::statement("cannot look for failing jobs"))?;
    let kind = |row: &postgres::Row| FailingKind {
        kind: row.get("kind"),
        last_error: row.get::<_, Option<String>>("last_error").unwrap_or_default(),
        attempt: row.get("attempt"),
        failed_at: row.get("failed_at"),
    };
    Ok(rows.iter().map(kind).collect())
}

/// Cancels a job. A job that waits is cancelled at once. If the job runs, its worker is asked to stop, within about a
/// second, and what the job did in its transaction is undone. Returns the state that the job is in now, or none if
/// there is no such job or it has ended.
///
/// # Errors
/// [`QueueError::Database`].
pub fn cancel(client: &mut impl GenericClient, id: i64) -> Result<Option<State>, QueueError> {
    let row = client
        .query_opt(include_str!("../../sql/queries/jobs/cancel_job.sql"), &[&id])
        .map_err(DatabaseError::statement("cannot cancel the job"))?;
    row.map(|row| row.get::<_, &str>(0).parse().map_err(QueueError::Invalid)).transpose()
}

/// Makes a job that waits, or one that has ended, available at once, with all its attempts. Returns false if there is
/// no such job, or if it runs.
///
/// # Errors
/// [`QueueError::KeyWaits`] if another job of its kind and key waits; [`QueueError::Database`].
pub fn retry(client: &mut impl GenericClient, id: i64) -> Result<bool, QueueError> {
    match client.execute(include_str!("../../sql/queries/jobs/retry_job.sql"), &[&id]) {
        Ok(rows) => Ok(rows == 1),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Err(QueueError::KeyWaits { id }),
        Err(cause) => Err(DatabaseError::Statement { doing: "cannot retry the job", cause }.into()),
    }
}

/// Deletes up to `limit` jobs that ended longer ago than `keep`, or `keep_discarded` if they were discarded. Returns
/// how many it deleted.
///
/// # Errors
/// [`QueueError::Database`].
pub fn prune(
    client: &mut impl GenericClient,
    keep: Duration,
    keep_discarded: Duration,
    limit: i64,
) -> Result<u64, QueueError> {
    let (keep, keep_discarded) = (keep.as_secs_f64(), keep_discarded.as_secs_f64());
    client
        .execute(include_str!("../../sql/queries/jobs/prune_jobs.sql"), &[&keep, &keep_discarded, &limit])
        .map_err(|cause| DatabaseError::Statement { doing: "cannot prune jobs", cause }.into())
}
