//! `roll_up`: derives the hours, days and incidents that have changed.

use std::time::Duration;

use postgres::Client;

use super::every::every;
use crate::jobs::{Job, JobError, Kind, QueueError};
use crate::store::{RollUpLimits, RolledUp, retire_silent, roll_up};

pub(super) const NAME: &str = "roll_up";
/// The time limit: there may be much to do.
const TIMEOUT: Duration = Duration::from_secs(3_600);

pub(super) fn kind(retire_after: Duration) -> Result<Kind, QueueError> {
    let run = move |job: &Job, client: &mut Client| roll_up_all(job, client, retire_after);
    every("@every 10s", Kind::outside(NAME, run).timeout(TIMEOUT))
}

/// Retires silent sites, and derives what has changed until nothing is left.
fn roll_up_all(job: &Job, client: &mut Client, retire_after: Duration) -> Result<(), JobError> {
    let retired = retire_silent(client, retire_after)?;
    if retired > 0 {
        log::info!(sites = retired; "retired sites at locations that have been silent for long");
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
