//! A check that waits for its start.

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::schedule::Due;
use crate::site::Site;

/// A check that its site's spread holds back; the one to start first is the least.
#[derive(Debug)]
pub(super) struct Delayed {
    pub start_at: Timestamp,
    pub due: Due<Site>,
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Delayed) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Delayed {}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Delayed) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delayed {
    fn cmp(&self, other: &Delayed) -> Ordering {
        (self.start_at, self.due.scheduled_at).cmp(&(other.start_at, other.due.scheduled_at))
    }
}
