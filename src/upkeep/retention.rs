//! `retention`: deletes results, hours and days that are older than the retention.

use std::time::Duration;

use postgres::Client;

use super::every::every;
use crate::config::Retention;
use crate::jobs::{JobError, Kind, QueueError};
use crate::store::{Retained, StoreError, retain};

pub(super) const NAME: &str = "retention";
/// The time limit: there may be much to do.
const TIMEOUT: Duration = Duration::from_secs(3_600);
/// How long to wait for transactions that were open before, until results are deleted.
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
                "{why}: look at \"webmon-store retention plan\"; \"webmon-store retention apply\" does it anyway"
            )));
        }
        retained => retained?,
    };
    if partitions + hours + days > 0 {
        log::info!(partitions, hours, days; "deleted what is older than the retention");
    }
    match again {
        true => Err(JobError::new("a long transaction was in the way: it writes, reads or derives")),
        false => Ok(()),
    }
}
