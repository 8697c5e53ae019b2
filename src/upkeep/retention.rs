//! `retention`: deletes the results, hours and days that are older than they are to be kept.

use std::time::Duration;

use postgres::Client;

use super::every::every;
use crate::config::Retention;
use crate::jobs::{JobError, Kind, QueueError};
use crate::store::{Retained, StoreError, retain};

pub(super) const NAME: &str = "retention";
/// The time limit: there may be much to do.
const TIMEOUT: Duration = Duration::from_secs(3_600);
/// How long transactions that were open before are waited for before results go.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn kind(retention: Retention) -> Result<Kind, QueueError> {
    let run = move |_: &_, client: &mut Client| delete_expired(client, &retention);
    every("@every 1h", Kind::outside(NAME, run).timeout(TIMEOUT))
}

fn delete_expired(client: &mut Client, retention: &Retention) -> Result<(), JobError> {
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
