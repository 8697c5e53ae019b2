//! Periodic kinds.

use crate::jobs::{Kind, QueueError};
use crate::schedule::Schedule;

/// Attempts of a periodic job. They are few because its next instant is never far.
const ATTEMPTS: i16 = 5;

/// Makes `kind` run at every instant of `schedule`.
pub(super) fn every(schedule: &str, kind: Kind) -> Result<Kind, QueueError> {
    match Schedule::new(schedule, "UTC") {
        Ok(schedule) => Ok(kind.schedule(schedule).max_attempts(ATTEMPTS)),
        Err(error) => Err(QueueError::Invalid(format!("kind {:?}: {error}", kind.name()))),
    }
}
