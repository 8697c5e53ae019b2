//! The kinds that keep webmon's own database in order, at which `webmon-store run` works.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use postgres::{Client, Transaction};

use super::report::prune;
use super::{Job, JobError, Kind, QueueError};
use crate::config::{Config, Jobs, Retention, Store};
use crate::schedule::Schedule;
use crate::store::{
    DeadLetterFilter, Retained, RollUpLimits, RolledUp, StoreError, compact_ledger, retain, retire_silent,
    retry_dead_letters, roll_up,
};

/// Their names.
pub const NAMES: [&str; 5] = ["roll_up", "retention", "partitions", "prune", "dead_letters"];

/// Attempts of a periodic job: its next instant is never far.
const ATTEMPTS: i16 = 5;
/// How long transactions that were open before are waited for before results go.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time limit of what may have much to do.
const LONG: Duration = Duration::from_secs(3_600);
/// Jobs that one statement forgets.
const PRUNE_ROWS: i64 = 10_000;
/// Such statements of one job; the next job goes on.
const PRUNE_ROUNDS: u32 = 100;

/// All of them, as the configuration says.
///
/// | kind | when | what |
/// |---|---|---|
/// | `roll_up` | every 10 seconds | derives the hours, days and incidents that have changed |
/// | `retention` | every hour | lets go of results, hours and days that are older than they are to be kept |
/// | `partitions` | every hour | makes the partitions of today and of the days to come |
/// | `prune` | every 10 minutes | forgets jobs that ended and writers that died, merges the minutes of an old ledger |
/// | `dead_letters` | every day | tries to store what could not be stored, as a newer version may |
///
/// # Errors
/// [`QueueError::Invalid`] never in practice: names and schedules are constants.
pub fn kinds(config: &Config) -> Result<Vec<Kind>, QueueError> {
    let every = |schedule: &str, kind: Kind| match Schedule::new(schedule, "UTC") {
        Ok(schedule) => Ok(kind.schedule(schedule).max_attempts(ATTEMPTS)),
        Err(error) => Err(QueueError::Invalid(format!("kind {:?}: {error}", kind.name()))),
    };
    let days_ahead = config.jobs.partitions_ahead;
    let jobs = config.jobs.clone();
    let (topic, store) = (config.kafka.topic.clone(), config.store.clone());
    let (retention, retire_after) = (config.store.retention, config.store.retire_after);
    let [rollups, letting_go, partitions, pruning, letters] = NAMES;
    Ok(vec![
        every(
            "@every 10s",
            Kind::outside(rollups, move |job, client| roll_up_all(job, client, retire_after)).timeout(LONG),
        )?,
        every(
            "@every 1h",
            Kind::outside(letting_go, move |_, client| let_go(client, &retention)).timeout(LONG),
        )?,
        every(
            "@every 1h",
            Kind::new(partitions, move |_, transaction| make_partitions(transaction, days_ahead)),
        )?,
        every("@every 10m", Kind::new(pruning, move |job, transaction| forget(job, transaction, &jobs)))?,
        every(
            "@daily",
            Kind::outside(letters, move |job, client| retry_letters(job, client, &topic, &store))
                .timeout(LONG),
        )?,
    ])
}

/// Retires what is silent, and derives what has changed, until nothing is left.
fn roll_up_all(job: &Job, client: &mut Client, retire_after: Duration) -> Result<(), JobError> {
    let retired = retire_silent(client, retire_after)?;
    if retired > 0 {
        log::info!(sites = retired; "retired sites at locations from which nothing came for long");
    }
    loop {
        let RolledUp { hours, sites, days, set_aside, more } = roll_up(client, &RollUpLimits::default())?;
        if hours + sites + days + set_aside > 0 {
            log::debug!(hours, sites, days, set_aside; "rolled up");
        }
        if !more || job.is_interrupted() {
            return Ok(());
        }
    }
}

fn let_go(client: &mut Client, retention: &Retention) -> Result<(), JobError> {
    let retained = retain(client, retention, PATIENCE);
    let Retained { partitions, hours, days, again } = match retained {
        Err(StoreError::RetentionRefused(why)) => {
            return Err(JobError::new(format!(
                "{why}: look at \"webmon-store retention plan\"; \"webmon-store retention apply\" does it all the same"
            )));
        }
        retained => retained?,
    };
    if partitions + hours + days > 0 {
        log::info!(partitions, hours, days; "let go of what is older than it is to be kept");
    }
    match again {
        true => Err(JobError::new(
            "somebody was in the way: a transaction that writes, reads or derives for long",
        )),
        false => Ok(()),
    }
}

fn retry_letters(job: &Job, client: &mut Client, topic: &str, store: &Store) -> Result<(), JobError> {
    let mut go_on = |_| !job.is_interrupted();
    let retried = retry_dead_letters(client, topic, &DeadLetterFilter::default(), store, &mut go_on)?;
    log::info!(stored = retried.stored, still_dead = retried.still_dead; "tried the dead letters again");
    Ok(())
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
