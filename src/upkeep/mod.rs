//! The jobs that keep webmon's own database in order. `webmon-store run` runs them.

mod dead_letters;
mod every;
mod partitions;
mod prune;
mod retention;
mod roll_up;

use std::time::Duration;

use crate::config::{Jobs, Store};
use crate::jobs::{Kind, QueueError};

/// The names of their kinds.
pub const NAMES: [&str; 5] =
    [roll_up::NAME, retention::NAME, partitions::NAME, prune::NAME, dead_letters::NAME];

/// All kinds, for the results of `topic`. Alerts that have ended are kept for `keep_alerts`.
///
/// | kind | when | what |
/// |---|---|---|
/// | `roll_up` | every 10 seconds | derives the hours, days and incidents that have changed |
/// | `retention` | every hour | deletes results, hours and days that are older than the retention |
/// | `partitions` | every hour | creates the partitions of today and of the next days |
/// | `prune` | every 10 minutes | deletes jobs and alerts that ended and writers that died, merges the minutes of an old ledger |
/// | `dead_letters` | every day | retries dead letters, which a newer version may be able to store |
///
/// # Errors
/// [`QueueError::Invalid`] never in practice: names and schedules are constants.
pub fn kinds(
    topic: &str,
    store: &Store,
    jobs: &Jobs,
    keep_alerts: Duration,
) -> Result<Vec<Kind>, QueueError> {
    Ok(vec![
        roll_up::kind(store.retire_after)?,
        retention::kind(store.retention)?,
        partitions::kind(jobs.partitions_ahead)?,
        prune::kind(jobs.clone(), keep_alerts)?,
        dead_letters::kind(topic.to_owned(), store.clone())?,
    ])
}
