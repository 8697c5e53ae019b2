//! An outbox in memory: fast, bounded, and gone with the process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{Outbox, Sequence};
use crate::result::{CheckResult, Gap, GapReason, GapRecord, Record, RecordVersion};

/// Holds at most `capacity` records, and beside them the gaps for those it had to drop.
pub struct MemoryOutbox {
    capacity: usize,
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    next_sequence: Sequence,
    waiting: BTreeMap<Sequence, Record>,
    /// Records up to this one are being sent and must not be dropped.
    sending_up_to: Option<Sequence>,
    /// Gaps not yet among the waiting, by site and location.
    gaps: BTreeMap<(String, String), VecDeque<GapRecord>>,
    gap_count: usize,
    dropped: u64,
}

impl MemoryOutbox {
    /// An empty outbox for at most `capacity` records (at least 1).
    pub fn new(capacity: usize) -> MemoryOutbox {
        MemoryOutbox { capacity: capacity.max(1), state: Mutex::default(), filled: Condvar::new() }
    }

    /// How many results were dropped since the start, each of them part of a gap.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
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
                Some(oldest) => state.drop_record(oldest, self.capacity),
                // Everything is being sent: what gives way is the newcomer.
                None => return state.drop_record(record, self.capacity),
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
            .wait_timeout_while(state, wait, |state| state.waiting.is_empty() && state.gap_count == 0)
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

    fn len(&self) -> usize {
        let state = self.lock();
        state.waiting.len() + state.gap_count
    }
}

impl State {
    fn drop_record(&mut self, record: Record, max_gaps: usize) {
        let gap = match record {
            Record::Result(result) => {
                self.dropped += 1;
                if self.dropped == 1 || self.dropped.is_multiple_of(10_000) {
                    log::error!(dropped = self.dropped; "the outbox is full: dropping the oldest results");
                }
                gap_of(&result)
            }
            Record::Gap(gap) => gap,
        };
        let gaps = self.gaps.entry((gap.site.clone(), gap.location.clone())).or_default();
        // Neighbours merge. Where there are too many gaps strangers merge too: the stretch then spans instants
        // that have rows, and `instants` says how many have none.
        let full = self.gap_count >= max_gaps;
        match gaps.back_mut() {
            Some(last) if last.gap.reason == gap.gap.reason && (full || adjoins(&last.gap, &gap.gap)) => {
                last.gap.to = last.gap.to.max(gap.gap.to);
                last.gap.from = last.gap.from.min(gap.gap.from);
                last.gap.instants += gap.gap.instants;
            }
            _ => {
                gaps.push_back(gap);
                self.gap_count += 1;
            }
        }
    }

    /// Moves gaps in front of what comes later, as far as there is room.
    fn admit_gaps(&mut self, capacity: usize) {
        while self.gap_count > 0 && self.waiting.len() < capacity {
            let Some(mut entry) = self.gaps.first_entry() else { return };
            if let Some(gap) = entry.get_mut().pop_front() {
                self.gap_count -= 1;
                self.waiting.insert(self.next_sequence, Record::Gap(gap));
                self.next_sequence += 1;
            }
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }
}

fn adjoins(a: &Gap, b: &Gap) -> bool {
    a.to == Some(b.from) || b.to == Some(a.from)
}

fn gap_of(result: &CheckResult) -> GapRecord {
    GapRecord {
        v: RecordVersion,
        site: result.site.clone(),
        location: result.location.clone(),
        checker: result.checker.clone(),
        gap: Gap {
            from: result.scheduled_at,
            to: result.next_at,
            instants: 1,
            reason: GapReason::OutboxFull,
        },
    }
}
