//! The kinds that keep webmon's own database in order, at which `webmon-store run` works.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use postgres::Transaction;

use super::report::prune;
use super::{Job, JobError, Kind, QueueError};
use crate::config::{Config, Jobs};
use crate::schedule::Schedule;
use crate::store::{DeadLetterFilter, compact_ledger, retry_dead_letters};

/// Their names.
pub const NAMES: [&str; 3] = ["partitions", "prune", "dead_letters"];

/// Attempts of a periodic job: its next instant is never far.
const ATTEMPTS: i16 = 5;
/// Jobs that one statement forgets.
const PRUNE_ROWS: i64 = 10_000;
/// Such statements of one job; the next job goes on.
const PRUNE_ROUNDS: u32 = 100;

/// All of them, as the configuration says.
///
/// | kind | when | what |
/// |---|---|---|
/// | `partitions` | every hour | makes the partitions of today and of the days to come |
/// | `prune` | every 10 minutes | forgets jobs that ended and writers that died, merges the minutes of an old ledger |
/// | `dead_letters` | every day | tries to store what could not be stored, as a newer version may |
///
/// # Errors
/// [`QueueError::Invalid`] never in practice: names and schedules are constants.
pub fn kinds(config: &Config) -> Result<Vec<Kind>, QueueError> {
    let every = |kind: Kind, schedule: &str| match Schedule::new(schedule, "UTC") {
        Ok(schedule) => Ok(kind.schedule(schedule).max_attempts(ATTEMPTS)),
        Err(error) => Err(QueueError::Invalid(format!("kind {:?}: {error}", kind.name()))),
    };
    let days_ahead = config.jobs.partitions_ahead;
    let jobs = config.jobs.clone();
    let (topic, store) = (config.kafka.topic.clone(), config.store.clone());
    let [partitions, prune, dead_letters] = NAMES;
    Ok(vec![
        every(Kind::new(partitions, move |_, transaction| make_partitions(transaction, days_ahead)), "@every 1h")?,
        every(Kind::new(prune, move |job, transaction| forget(job, transaction, &jobs)), "@every 10m")?,
        every(
            Kind::outside(dead_letters, move |job, client| {
                let retried = retry_dead_letters(client, &topic, &DeadLetterFilter::default(), &store, &mut |_| {
                    !job.is_interrupted()
                })?;
                log::info!(stored = retried.stored, still_dead = retried.still_dead; "tried the dead letters again");
                Ok(())
            })
            .timeout(Duration::from_secs(3_600)),
            "@daily",
        )?,
    ])
}

/// Makes the partitions of today and of the days to come, so that no writer must.
fn make_partitions(transaction: &mut Transaction<'_>, days_ahead: u32) -> Result<(), JobError> {
    let now: Timestamp = transaction.query_one("SELECT clock_timestamp()", &[])?.get(0);
    let today = TimeZone::UTC.to_datetime(now).date();
    let days: Vec<Date> = today.series(jiff::Span::new().days(1)).take(days_ahead as usize + 1).collect();
    let sql = "SELECT count(*) FROM unnest($1::date[]) AS day WHERE webmon.ensure_result_partition(day)";
    let made: i64 = transaction.query_one(sql, &[&days])?.get(0);
    if made > 0 {
        log::info!(made; "made the partitions of the days to come");
    }
    Ok(())
}

/// Forgets what ended long ago.
fn forget(job: &Job, transaction: &mut Transaction<'_>, config: &Jobs) -> Result<(), JobError> {
    let mut jobs = 0;
    for _ in 0..PRUNE_ROUNDS {
        let pruned = prune(transaction, config.keep, config.keep_discarded, PRUNE_ROWS)?;
        jobs += pruned;
        if pruned == 0 || job.is_interrupted() {
            break;
        }
    }
    // Writers sign off; those that were killed did not.
    let sql = "DELETE FROM webmon.writers WHERE seen_at < statement_timestamp() - interval '1 day'";
    let writers = transaction.execute(sql, &[])?;
    let ledger_days = compact_ledger(transaction, config.compact_ledger)?;
    if jobs + writers + ledger_days > 0 {
        log::info!(jobs, writers, ledger_days; "pruned");
    }
    Ok(())
}
