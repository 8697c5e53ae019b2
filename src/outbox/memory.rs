//! An outbox in memory: fast, bounded, and gone with the process.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::gaps::Gaps;
use super::{Outbox, Sequence};
use crate::record::{GapReason, Record};

/// Holds at most `capacity` records, and beside them the gaps for those it had to drop: at most `capacity` too, and
/// one more for each site, location and reason.
pub struct MemoryOutbox {
    capacity: usize,
    state: Mutex<State>,
    filled: Condvar,
}

struct State {
    next_sequence: Sequence,
    waiting: BTreeMap<Sequence, Record>,
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
        let state = State {
            next_sequence: 0,
            waiting: BTreeMap::new(),
            sending_up_to: None,
            gaps: Gaps::new(capacity),
            dropped: 0,
        };
        MemoryOutbox { capacity, state: Mutex::new(state), filled: Condvar::new() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox for MemoryOutbox {
    fn append(&self, record: Record) {
        let mut state = self.lock();
        if state.waiting.len() >= self.capacity {
            let first_droppable = state.sending_up_to.map_or(0, |sequence| sequence + 1);
            let oldest = state.waiting.range(first_droppable..).next().map(|(sequence, _)| *sequence);
            match oldest.and_then(|sequence| state.waiting.remove(&sequence)) {
                Some(oldest) => state.drop_record(oldest),
                // Everything is being sent: what gives way is the newcomer.
                None => return state.drop_record(record),
            }
        }
        let sequence = state.next_sequence;
        state.next_sequence += 1;
        state.waiting.insert(sequence, record);
        drop(state);
        self.filled.notify_one();
    }

    fn peek(&self, max: usize, wait: Duration) -> Vec<(Sequence, Record)> {
        let state = self.lock();
        let (mut state, _) = self
            .filled
            .wait_timeout_while(state, wait, |state| state.waiting.is_empty() && state.gaps.len() == 0)
            .unwrap_or_else(PoisonError::into_inner);
        state.admit_gaps(self.capacity);
        let batch: Vec<(Sequence, Record)> =
            state.waiting.iter().take(max).map(|(sequence, record)| (*sequence, record.clone())).collect();
        state.sending_up_to = batch.last().map(|(sequence, _)| *sequence);
        batch
    }

    fn acknowledge(&self, sequences: &[Sequence]) {
        let mut state = self.lock();
        for sequence in sequences {
            state.waiting.remove(sequence);
        }
    }

    fn reject(&self, sequence: Sequence, reason: &str) {
        let mut state = self.lock();
        match state.waiting.remove(&sequence) {
            Some(record @ Record::Result(_)) => {
                log::error!(site = record.key(), reason; "a record is refused for good: a gap stands for it");
                state.gaps.cover(record, GapReason::Refused);
            }
            // A gap for a refused gap would be refused again, and so on.
            Some(Record::Gap(gap)) => {
                log::error!(site = gap.site, reason; "a gap is refused for good: it is lost");
            }
            None => {}
        }
    }

    fn len(&self) -> usize {
        let state = self.lock();
        state.waiting.len() + state.gaps.len()
    }

    fn dropped(&self) -> u64 {
        self.lock().dropped
    }
}

impl State {
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
        while self.waiting.len() < capacity
            && let Some(gap) = self.gaps.pop()
        {
            self.waiting.insert(self.next_sequence, Record::Gap(gap));
            self.next_sequence += 1;
        }
    }
}
