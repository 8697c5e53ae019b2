//! `prune`: deletes jobs that ended and writers that died, and merges the minutes of an old ledger.

use postgres::Transaction;

use super::every::every;
use crate::config::Jobs;
use crate::jobs::{self, Job, JobError, Kind, QueueError};
use crate::store::compact_ledger;

pub(super) const NAME: &str = "prune";
/// Jobs that one statement deletes at most.
const ROWS: i64 = 10_000;
/// Such statements that one job runs at most. The next job goes on.
const ROUNDS: u32 = 100;

pub(super) fn kind(options: Jobs) -> Result<Kind, QueueError> {
    let run = move |job: &Job, transaction: &mut Transaction<'_>| prune(job, transaction, &options);
    every("@every 10m", Kind::new(NAME, run))
}

fn prune(job: &Job, transaction: &mut Transaction<'_>, options: &Jobs) -> Result<(), JobError> {
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
    if ended + writers + ledger_days > 0 {
        log::info!(jobs = ended, writers, ledger_days; "pruned");
    }
    Ok(())
}
