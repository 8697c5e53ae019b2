//! A partition that a writer holds.

use super::batch::Fingerprint;
use super::claims::Claim;
use super::trouble::Trouble;

/// A partition held.
pub(super) struct Held {
    pub claim: Claim,
    /// Recent records, and how many of them had an unknown version.
    pub recent: (usize, usize),
    /// The record before the next offset. It is fetched again and compared, to find out whether this is still the topic
    /// that was stored. None once it was compared.
    pub unverified: Option<Fingerprint>,
    /// Whether Kafka must still be asked which offsets it holds. The partition is not fetched before that.
    pub unchecked: bool,
    pub trouble: Option<Trouble>,
    /// The offset committed to the consumer group.
    pub committed: Option<i64>,
}

impl Held {
    pub(super) fn new(claim: Claim, unverified: Option<Fingerprint>) -> Held {
        Held { claim, recent: (0, 0), unverified, unchecked: true, trouble: None, committed: None }
    }

    pub(super) fn fetch_from(&self) -> Option<i64> {
        Some(self.claim.next_offset? - i64::from(self.unverified.is_some())).filter(|_| !self.unchecked)
    }
}
