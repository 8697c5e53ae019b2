//! An outbox in memory: fast, bounded, and gone with the process.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::{Outbox, Sequence};
use crate::result::{Gap, GapReason, GapRecord, Record};

/// Holds at most `capacity` records, and beside them the gaps for those it had to drop: at most `capacity` too, and
/// one more for each site, location and reason.
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
    /// Gaps not yet among the waiting, those of a site, location and reason by their beginning.
    gaps: BTreeMap<(String, String, GapReason), Stretches>,
    gap_count: usize,
    dropped: u64,
}

type Stretches = BTreeMap<Timestamp, GapRecord>;

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
                result.gap(GapReason::OutboxFull)
            }
            Record::Gap(gap) => gap,
        };
        let key = (gap.site.clone(), gap.location.clone(), gap.gap.reason);
        let stretches = self.gaps.entry(key).or_default();
        let before = stretches.len();
        join(stretches, gap, self.gap_count >= max_gaps);
        self.gap_count = self.gap_count + stretches.len() - before;
    }

    /// Moves gaps in front of what comes later, as far as there is room.
    fn admit_gaps(&mut self, capacity: usize) {
        while self.gap_count > 0 && self.waiting.len() < capacity {
            let Some(mut entry) = self.gaps.first_entry() else { return };
            if let Some((_, gap)) = entry.get_mut().pop_first() {
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

/// Adds `gap`, merged with whatever it touches. Where there are too many gaps it merges with a stranger too: the
/// stretch then spans instants that have rows, and `instants` says how many have none.
fn join(stretches: &mut Stretches, mut gap: GapRecord, too_many: bool) {
    let mut found = touching(stretches, &gap.gap);
    if found.is_none() && too_many {
        found = stretches
            .range(..gap.gap.from)
            .next_back()
            .or_else(|| stretches.iter().next())
            .map(|(from, _)| *from);
    }
    while let Some(other) = found.and_then(|from| stretches.remove(&from)) {
        gap.gap = union(&other.gap, &gap.gap);
        found = touching(stretches, &gap.gap);
    }
    stretches.insert(gap.gap.from, gap);
}

/// The beginning of a stretch that adjoins or overlaps `gap`.
fn touching(stretches: &Stretches, gap: &Gap) -> Option<Timestamp> {
    let before = stretches
        .range(..=gap.from)
        .next_back()
        .filter(|(from, other)| **from == gap.from || other.gap.to.is_some_and(|to| to >= gap.from));
    let after =
        || stretches.range(gap.from..).next().filter(|(from, _)| gap.to.is_some_and(|to| to >= **from));
    before.or_else(after).map(|(from, _)| *from)
}

fn union(a: &Gap, b: &Gap) -> Gap {
    let to = match (a.to, b.to) {
        (Some(a), Some(b)) => Some(a.max(b)),
        // No end: the site was retired there, unless the other one comes later.
        _ if a.from > b.from => a.to,
        _ => b.to,
    };
    let instants = a.instants.saturating_add(b.instants).min(i64::MAX as u64);
    Gap { from: a.from.min(b.from), to, instants, reason: b.reason }
}
