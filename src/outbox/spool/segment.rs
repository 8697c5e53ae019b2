//! What is known of a segment while it lies on the disk.

use crate::outbox::contract::Sequence;

/// A file of records; its first number is its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// Readable bytes; all of them are durable.
    pub bytes: u64,
    /// The number after its last record; a guess where `end_known` is not set.
    pub end: Sequence,
    pub end_known: bool,
    pub damaged: bool,
}

impl Segment {
    /// What it takes on disk.
    pub(super) fn size(&self) -> u64 {
        self.bytes.next_multiple_of(4_096)
    }

    /// The number after its last record, where that is known.
    pub(super) fn known_end(&self) -> Option<Sequence> {
        self.end_known.then_some(self.end)
    }
}
