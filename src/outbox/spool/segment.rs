//! What is known of a segment while it lies on the disk.

use super::frames::Extent;
use crate::outbox::contract::Sequence;

/// A file of records; its first number is its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// Readable bytes; all of them are durable.
    pub bytes: u64,
    /// The number after its last record; where `end_known` is not set a guess, which is never too low.
    pub end: Sequence,
    pub end_known: bool,
    pub damaged: bool,
}

impl Segment {
    /// What it takes on disk.
    pub(super) fn size(&self) -> u64 {
        self.bytes.next_multiple_of(4_096)
    }

    /// What is to be read of it from `offset` on, where the number `expected` comes next; `first` is its name.
    pub(super) fn extent(&self, first: Sequence, offset: u64, expected: Sequence) -> Extent {
        Extent { offset, length: self.bytes, first, expected, end: self.end, end_known: self.end_known }
    }

    /// The number after its last record, where that is known.
    pub(super) fn known_end(&self) -> Option<Sequence> {
        self.end_known.then_some(self.end)
    }
}
