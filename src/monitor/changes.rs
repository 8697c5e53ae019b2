//! What a reload changed.

use jiff::Timestamp;

/// What a reload came to, in sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Instants up to this one are demanded by the sites as they were, those after it by the sites as they are.
    pub at: Timestamp,
    /// New ones.
    pub added: usize,
    /// Those that are gone.
    pub retired: usize,
    /// Those with another schedule.
    pub rescheduled: usize,
    /// Those with the schedule they had; their other settings may have changed.
    pub kept: usize,
}
