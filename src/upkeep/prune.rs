//! `prune`: deletes jobs and alerts that ended and writers that died, and merges the minutes of an old ledger.

use std::time::Duration;

use postgres::Transaction;

use super::every::every;
use crate::alerts;
use crate::config::Jobs;
use crate::jobs::{self, Job, JobError, Kind, QueueError};
use crate::store::compact_ledger;

pub(super) const NAME: &str = "prune";
/// Jobs that one statement deletes at most.
const ROWS: i64 = 10_000;
/// Such statements that one job runs at most. The next job goes on.
const ROUNDS: u32 = 100;

pub(super) fn kind(options: Jobs, keep_alerts: Duration) -> Result<Kind, QueueError> {
    let run =
        move |job: &Job, transaction: &mut Transaction<'_>| prune(job, transaction, &options, keep_alerts);
    every("@every 10m", Kind::new(NAME, run))
}

fn prune(
    job: &Job,
    transaction: &mut Transaction<'_>,
    options: &Jobs,
    keep_alerts: Duration,
) -> Result<(), JobError> {
    let mut ended = 0;
    for _ in 0..ROUNDS {
        let pruned = jobs::prune(transaction, options.keep, options.keep_discarded, ROWS)?;
        ended += pruned;
        if pruned == 0 || job.is_interrupted() {
            break;
        }
    }
    // Writers sign off, but those that were killed did not.
    let sql = "DELETE FROM webmon.writers WHERE seen_at < statement_timestamp() - interval '1 day'";
    let writers = transaction.execute(sql, &[])?;
    let ledger_days = compact_ledger(transaction, options.compact_ledger)?;
    let alerts = alerts::prune(transaction, keep_alerts, ROWS)?;
    if ended + writers + ledger_days + alerts > 0 {
        log::info!(jobs = ended, writers, ledger_days, alerts; "pruned");
    }
    Ok(())
}
