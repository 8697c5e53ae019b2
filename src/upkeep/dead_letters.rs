//! `dead_letters`: retries dead letters, which a newer version may be able to store.

use std::time::Duration;

use postgres::Client;

use super::every::every;
use crate::config::Store;
use crate::jobs::{Job, JobError, Kind, QueueError};
use crate::store::{DeadLetterFilter, retry_dead_letters};

pub(super) const NAME: &str = "dead_letters";
/// The time limit: there may be much to do.
const TIMEOUT: Duration = Duration::from_secs(3_600);

pub(super) fn kind(topic: String, store: Store) -> Result<Kind, QueueError> {
    let run = move |job: &Job, client: &mut Client| retry_letters(job, client, &topic, &store);
    every("@daily", Kind::outside(NAME, run).timeout(TIMEOUT))
}

fn retry_letters(job: &Job, client: &mut Client, topic: &str, store: &Store) -> Result<(), JobError> {
    let mut go_on = |_| !job.is_interrupted();
    let retried = retry_dead_letters(client, topic, &DeadLetterFilter::default(), store, &mut go_on)?;
    log::info!(stored = retried.stored, still_dead = retried.still_dead; "retried the dead letters");
    Ok(())
}
