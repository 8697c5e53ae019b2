//! Periodic kinds.

use crate::jobs::{Kind, QueueError};
use crate::schedule::Schedule;

/// Attempts of a periodic job: its next instant is never far.
const ATTEMPTS: i16 = 5;

/// `kind`, at every instant of `schedule`.
pub(super) fn every(schedule: &str, kind: Kind) -> Result<Kind, QueueError> {
    match Schedule::new(schedule, "UTC") {
        Ok(schedule) => Ok(kind.schedule(schedule).max_attempts(ATTEMPTS)),
        Err(error) => Err(QueueError::Invalid(format!("kind {:?}: {error}", kind.name()))),
    }
}
