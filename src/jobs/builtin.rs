//! The kinds that keep webmon's own database in order, which `webmon-store run` works at.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use postgres::Transaction;

use super::report::prune;
use super::{Job, JobError, Kind, QueueError};
use crate::config::Jobs;
use crate::schedule::{Schedule, ScheduleError};

/// Attempts of a periodic job: its next instant is never far.
const ATTEMPTS: i16 = 5;
/// Rows that one statement forgets.
const PRUNE_ROWS: i64 = 10_000;
/// Such statements in one job: the next one goes on.
const PRUNE_ROUNDS: u32 = 100;

/// All of them, as `[jobs]` of the configuration says.
///
/// | kind | when | what |
/// |---|---|---|
/// | `partitions` | every hour | makes the partitions of the days to come |
/// | `prune` | every 10 minutes | forgets jobs, writers and ledger entries of long ago |
///
/// # Errors
/// [`QueueError::Invalid`] never in practice: the schedules are constants.
pub fn kinds(config: &Jobs) -> Result<Vec<Kind>, QueueError> {
    let days = config.partitions_ahead;
    let keep = config.clone();
    Ok(vec![
        periodic("partitions", "@every 1h", move |job, transaction| partitions(job, transaction, days))?,
        periodic("prune", "@every 10m", move |job, transaction| prune_all(job, transaction, &keep))?,
    ])
}

fn periodic(
    name: &str,
    schedule: &str,
    run: impl Fn(&Job, &mut Transaction<'_>) -> Result<(), JobError> + Send + Sync + 'static,
) -> Result<Kind, QueueError> {
    let invalid = |error: ScheduleError| QueueError::Invalid(format!("kind {name:?}: {error}"));
    let schedule = Schedule::new(schedule, "UTC").map_err(invalid)?;
    Ok(Kind::new(name, run).schedule(schedule).max_attempts(ATTEMPTS))
}

/// Makes the partitions of today and of the days to come, so that no writer must.
fn partitions(_: &Job, transaction: &mut Transaction<'_>, days: u32) -> Result<(), JobError> {
    let now: Timestamp = transaction.query_one("SELECT clock_timestamp()", &[])?.get(0);
    let today = TimeZone::UTC.to_datetime(now).date();
    let mut made: Vec<Date> = Vec::new();
    for day in today.series(jiff::Span::new().days(1)).take(days as usize + 1) {
        let is_new: bool = transaction.query_one("SELECT webmon.ensure_result_partition($1)", &[&day])?.get(0);
        made.extend(is_new.then_some(day));
    }
    if !made.is_empty() {
        log::info!(partitions = made.len(), up_to = made.last().map(Date::to_string); "made partitions ahead");
    }
    Ok(())
}

/// Forgets what ended long ago, in steps, so that a cancellation is heard in between.
fn prune_all(job: &Job, transaction: &mut Transaction<'_>, config: &Jobs) -> Result<(), JobError> {
    let jobs = in_rounds(job, || {
        Ok(prune(transaction, config.keep, config.keep_discarded, PRUNE_ROWS)?)
    })?;
    // Writers sign off; those that were killed do not.
    let writers = transaction
        .execute("DELETE FROM webmon.writers WHERE seen_at < statement_timestamp() - interval '1 day'", &[])?;
    let keep_ledger = config.keep_ledger.as_secs_f64();
    let ledger = in_rounds(job, || {
        let sql = include_str!("../../sql/queries/prune_ledger.sql");
        Ok(transaction.execute(sql, &[&keep_ledger, &PRUNE_ROWS])?)
    })?;
    if jobs + writers + ledger > 0 {
        log::info!(jobs, writers, ledger; "pruned");
    }
    Ok(())
}

fn in_rounds(job: &Job, mut prune: impl FnMut() -> Result<u64, JobError>) -> Result<u64, JobError> {
    let mut pruned = 0;
    for _ in 0..PRUNE_ROUNDS {
        let rows = prune()?;
        pruned += rows;
        if rows < PRUNE_ROWS.unsigned_abs() || job.is_interrupted() {
            break;
        }
    }
    Ok(pruned)
}
