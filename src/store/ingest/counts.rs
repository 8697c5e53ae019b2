//! What became of records.

use std::ops::AddAssign;

/// What became of a batch's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub inserted: i64,
    pub superseded: i64,
    pub duplicate: i64,
    pub gaps: i64,
    pub expired: i64,
    pub dead: i64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.inserted += other.inserted;
        self.superseded += other.superseded;
        self.duplicate += other.duplicate;
        self.gaps += other.gaps;
        self.expired += other.expired;
        self.dead += other.dead;
    }
}
