//! An outbox in memory: fast, bounded, and gone with the process.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::contract::{Outbox, Sequence};
use super::gaps::Gaps;
use crate::mutex::lock;
use crate::record::{GapReason, Record};

/// Holds at most `capacity` records, and beside them the gaps for those it had to drop: at most `capacity` too, and
/// one more for each site, location and reason.
pub struct MemoryOutbox {
    capacity: usize,
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

struct Waiting {
    next_sequence: Sequence,
    records: BTreeMap<Sequence, Record>,
    /// Records up to this one are being sent and must not be dropped.
    sending_up_to: Option<Sequence>,
    /// Gaps not yet among the waiting.
    gaps: Gaps,
    dropped: u64,
}

impl MemoryOutbox {
    /// An empty outbox for at most `capacity` records (at least 1).
    pub fn new(capacity: usize) -> MemoryOutbox {
        let capacity = capacity.max(1);
        let waiting = Waiting {
            next_sequence: 0,
            records: BTreeMap::new(),
            sending_up_to: None,
            gaps: Gaps::new(capacity),
            dropped: 0,
        };
        MemoryOutbox { capacity, waiting: Mutex::new(waiting), filled: Condvar::new() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

impl Outbox for MemoryOutbox {
    fn append(&self, record: Record) {
        let mut waiting = self.lock();
        if waiting.records.len() >= self.capacity {
            let first_droppable = waiting.sending_up_to.map_or(0, |sequence| sequence + 1);
            let oldest = waiting.records.range(first_droppable..).next().map(|(sequence, _)| *sequence);
            match oldest.and_then(|sequence| waiting.records.remove(&sequence)) {
                Some(oldest) => waiting.drop_record(oldest),
                // Everything is being sent: what gives way is the newcomer.
                None => return waiting.drop_record(record),
            }
        }
        let sequence = waiting.next_sequence;
        waiting.next_sequence += 1;
        waiting.records.insert(sequence, record);
        drop(waiting);
        self.filled.notify_one();
    }

    fn peek(&self, max: usize, wait: Duration) -> Vec<(Sequence, Record)> {
        let waiting = self.lock();
        let (mut waiting, _) = self
            .filled
            .wait_timeout_while(waiting, wait, |waiting| {
                waiting.records.is_empty() && waiting.gaps.len() == 0
            })
            .unwrap_or_else(PoisonError::into_inner);
        waiting.admit_gaps(self.capacity);
        let batch: Vec<(Sequence, Record)> =
            waiting.records.iter().take(max).map(|(sequence, record)| (*sequence, record.clone())).collect();
        waiting.sending_up_to = batch.last().map(|(sequence, _)| *sequence);
        batch
    }

    fn acknowledge(&self, sequences: &[Sequence]) {
        let mut waiting = self.lock();
        for sequence in sequences {
            waiting.records.remove(sequence);
        }
    }

    fn reject(&self, sequence: Sequence, reason: &str) {
        let mut waiting = self.lock();
        match waiting.records.remove(&sequence) {
            Some(record @ Record::Result(_)) => {
                log::error!(site = record.key(), reason; "a record is refused for good: a gap stands for it");
                waiting.gaps.cover(record, GapReason::Refused);
            }
            // A gap for a refused gap would be refused again, and so on.
            Some(Record::Gap(gap)) => {
                log::error!(site = gap.site, reason; "a gap is refused for good: it is lost");
            }
            None => {}
        }
    }

    fn len(&self) -> usize {
        let waiting = self.lock();
        waiting.records.len() + waiting.gaps.len()
    }

    fn dropped(&self) -> u64 {
        self.lock().dropped
    }
}

impl Waiting {
    fn drop_record(&mut self, record: Record) {
        if let Record::Result(_) = record {
            self.dropped += 1;
            if self.dropped == 1 || self.dropped.is_multiple_of(10_000) {
                log::error!(dropped = self.dropped; "the outbox is full: dropping the oldest results");
            }
        }
        self.gaps.cover(record, GapReason::OutboxFull);
    }

    /// Moves gaps in front of what comes later, as far as there is room.
    fn admit_gaps(&mut self, capacity: usize) {
        while self.records.len() < capacity
            && let Some(gap) = self.gaps.pop()
        {
            self.records.insert(self.next_sequence, Record::Gap(gap));
            self.next_sequence += 1;
        }
    }
}
