//! The account of what the spool had to drop, and how much of it the file of gaps has.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::gap_file;
use crate::outbox::contract::Sequence;
use crate::outbox::gaps::Gaps;
use crate::record::{GapReason, GapRecord, Record};

/// Gaps beyond which strangers merge: a site has one in any case.
const MAX_GAPS: usize = 100_000;
/// Numbers of gaps being sent; records never come that far.
const FIRST_GAP: Sequence = 1 << 63;

/// Gaps that grow, gaps that do not change any more, and gaps that were offered.
pub(super) struct GapBook {
    growing: Gaps,
    /// Gaps that do not change any more: read from the file.
    closed: VecDeque<GapRecord>,
    /// What was offered to the publisher and is not settled.
    open: BTreeMap<Sequence, GapRecord>,
    next: Sequence,
    /// Counts what was done to the gaps that must be durable before anything is settled, and how far it is.
    changes: u64,
    changes_written: u64,
    /// The file of gaps has some that were delivered, or names a segment that is deleted.
    stale: bool,
    /// How many results were dropped.
    dropped: u64,
}

/// What the file of gaps is to be.
pub(super) struct Page {
    pub bytes: Vec<u8>,
    changes: u64,
}

impl GapBook {
    /// Begins with what the file has; `stale` where that names a segment which is deleted.
    pub(super) fn new(saved: Vec<GapRecord>, stale: bool) -> GapBook {
        let mut growing = Gaps::new(MAX_GAPS);
        let mut closed = VecDeque::from(saved);
        // They may have been sent. Where there are too many they merge nevertheless: what the store gets is then a
        // gap that overlaps another.
        while closed.len() > MAX_GAPS
            && let Some(gap) = closed.pop_front()
        {
            growing.add(gap);
        }
        GapBook {
            growing,
            closed,
            open: BTreeMap::new(),
            next: FIRST_GAP,
            changes: 0,
            changes_written: 0,
            stale,
            dropped: 0,
        }
    }

    /// Whether `sequence` is that of a gap.
    pub(super) fn has_number(sequence: Sequence) -> bool {
        sequence >= FIRST_GAP
    }

    /// Accounts for a record that gets no place.
    pub(super) fn cover(&mut self, record: Record, reason: GapReason) {
        if reason == GapReason::OutboxFull && matches!(record, Record::Result(_)) {
            self.dropped += 1;
            if self.dropped == 1 || self.dropped.is_multiple_of(10_000) {
                log::error!(dropped = self.dropped; "the spool is full: dropping results");
            }
        }
        self.growing.cover(record, reason);
        self.changes += 1;
    }

    /// More is about to be covered: until it is written nothing counts as settled.
    pub(super) fn expect_more(&mut self) {
        self.changes += 1;
    }

    /// Whether the file of gaps lacks some.
    pub(super) fn lacks_some(&self) -> bool {
        self.changes != self.changes_written
    }

    /// Whether the file is to be written again when there is time.
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// The file has what is no gap any more.
    pub(super) fn set_stale(&mut self) {
        self.stale = true;
    }

    /// How many gaps there are.
    pub(super) fn len(&self) -> usize {
        self.growing.len() + self.closed.len() + self.open.len()
    }

    /// How many are lost if the spool ends now.
    pub(super) fn unwritten(&self) -> usize {
        if self.lacks_some() { self.growing.len() } else { 0 }
    }

    /// Whether there are some to be offered. What is sent must be durable.
    pub(super) fn has_something(&self) -> bool {
        !self.open.is_empty() || (self.has_more() && !self.lacks_some())
    }

    fn has_more(&self) -> bool {
        self.growing.len() + self.closed.len() > 0
    }

    /// What was offered and is not settled, after `more` says up to how many are to be. A gap that was offered never
    /// changes.
    pub(super) fn offer(&mut self, more: Option<usize>) -> impl Iterator<Item = (Sequence, &GapRecord)> {
        while self.open.len() < more.unwrap_or(0)
            && let Some(gap) = self.closed.pop_front().or_else(|| self.growing.pop())
        {
            self.open.insert(self.next, gap);
            self.next += 1;
        }
        self.open.iter().map(|(sequence, gap)| (*sequence, gap))
    }

    /// Removes a gap that was offered.
    pub(super) fn settle(&mut self, sequence: Sequence) -> Option<GapRecord> {
        let gap = self.open.remove(&sequence);
        self.stale |= gap.is_some();
        gap
    }

    /// The file as it is to be; `dropping` is the segment whose records are among the gaps, and which is to be deleted.
    pub(super) fn page(&mut self, dropping: Option<Sequence>) -> Page {
        let gaps = self.open.values().chain(&self.closed).chain(self.growing.iter());
        let bytes = gap_file::encode(dropping, gaps);
        self.stale = false;
        Page { bytes, changes: self.changes }
    }

    /// What became of a page.
    pub(super) fn wrote(&mut self, page: &Page, written: &io::Result<()>) {
        match written {
            Ok(()) => self.changes_written = page.changes,
            Err(_) => self.stale = true,
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
