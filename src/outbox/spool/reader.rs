//! Reading: what is offered to the publisher, the oldest first.

use std::fs::File;
use std::io;
use std::sync::PoisonError;
use std::time::Duration;

use super::segment::{Damage, Frames, HEADER, read_payload};
use super::{FIRST_GAP, Inner, Place, Position, State};
use crate::outbox::Sequence;
use crate::record::Record;

/// Bytes of records offered at once, at most, beside the first.
const BATCH_BYTES: usize = 8 << 20;

/// What is collected for one call.
struct Batch {
    records: Vec<(Sequence, Record)>,
    bytes: usize,
    max: usize,
    /// Frames that are whole, but no record that this version can read.
    unreadable: Vec<(Sequence, Vec<u8>, String)>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.records.len() >= self.max || self.bytes >= BATCH_BYTES
    }

    /// False where the payload is no record.
    fn add(&mut self, sequence: Sequence, payload: &[u8]) -> bool {
        match Record::decode(payload) {
            Ok(record) => {
                self.bytes += payload.len();
                self.records.push((sequence, record));
                true
            }
            Err(error) => {
                self.unreadable.push((sequence, payload.to_vec(), error.to_string()));
                false
            }
        }
    }
}

impl Inner {
    pub(super) fn peek(&self, max: usize, wait: Duration) -> Vec<(Sequence, Record)> {
        let state = self.lock();
        let nothing = |state: &mut State| !state.has_something();
        drop(self.filled.wait_timeout_while(state, wait, nothing).unwrap_or_else(PoisonError::into_inner));

        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch { records: Vec::new(), bytes: 0, max, unreadable: Vec::new() };
        self.offer_again(&mut batch);
        self.offer_gaps(&mut batch);
        while !batch.is_full() && self.offer_next(&mut batch) {}
        self.offer_queued(&mut batch);
        for (_, payload, reason) in batch.unreadable {
            self.keep_rejected(&payload, &reason);
        }
        batch.records
    }

    /// What was offered before and is not settled.
    fn offer_again(&self, batch: &mut Batch) {
        let open: Vec<(Sequence, Place)> = self
            .lock()
            .open
            .iter()
            .take(batch.max)
            .map(|(sequence, place)| (*sequence, place.clone()))
            .collect();
        let mut file: Option<(Sequence, File)> = None;
        for (sequence, place) in open {
            if batch.is_full() {
                return;
            }
            let segment = match &place {
                Place::Disk { segment, .. } => Some(*segment),
                Place::Memory(_) => None,
            };
            let payload = self.payload(sequence, &place, &mut file);
            if !payload.is_some_and(|payload| batch.add(sequence, &payload)) {
                let mut state = self.lock();
                // It was read before: what lies there now is not what was written.
                if state.open.remove(&sequence).is_some()
                    && let Some(segment) = segment
                {
                    let damage = Damage { bytes: 0, records: 1 };
                    state.count_damage(segment, damage);
                }
            }
        }
    }

    /// Reads an open record again; `file` is kept for the next one of the same segment.
    pub(super) fn payload(
        &self,
        sequence: Sequence,
        place: &Place,
        file: &mut Option<(Sequence, File)>,
    ) -> Option<Vec<u8>> {
        let (segment, offset, length) = match place {
            Place::Memory(payload) => return Some(payload.to_vec()),
            Place::Disk { segment, offset, length } => (*segment, *offset, *length),
        };
        if file.as_ref().is_none_or(|(open, _)| *open != segment) {
            *file = Some((segment, File::open(self.directory.segment(segment)).ok()?));
        }
        let (_, file) = file.as_ref()?;
        read_payload(file, offset, sequence, length)
    }

    /// Gaps, at most half of a batch, once there is room in the spool or nothing else waits: until then they merge.
    fn offer_gaps(&self, batch: &mut Batch) {
        let mut state = self.lock();
        // What is sent must be durable, and nothing is to change after it was sent.
        if state.lacks_gaps() {
            return;
        }
        let share = batch.max.div_ceil(2);
        if state.offers_gaps(self.options.budget()) {
            while state.open_gaps.len() < share && state.has_gaps() {
                let Some(gap) = state.closed_gaps.pop_front().or_else(|| state.gaps.pop()) else { break };
                let sequence = state.next_gap;
                state.next_gap += 1;
                state.open_gaps.insert(sequence, gap);
            }
        }
        for (sequence, gap) in &state.open_gaps {
            if batch.is_full() {
                return;
            }
            batch.records.push((*sequence, Record::Gap(gap.clone())));
        }
    }

    /// Reads on in the segments. False when there is nothing more.
    fn offer_next(&self, batch: &mut Batch) -> bool {
        let mut state = self.lock();
        if !state.has_unread() || !state.enter_segment() {
            return false;
        }
        let read = state.read;
        let last = state.segments.last_key_value().map(|(first, _)| *first);
        let Some(segment) = state.segments.get(&read.segment) else { return false };
        let (bytes, end) = (segment.bytes, segment.end_known.then_some(segment.end));
        let upper = segment.end;
        drop(state);

        let file = match File::open(self.directory.segment(read.segment)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut state = self.lock();
                log::error!(segment = read.segment; "a segment of the spool is gone");
                state.damaged.records += upper.saturating_sub(read.next);
                state.segments.remove(&read.segment);
                state.read.next = state.read.next.max(upper);
                return true;
            }
            Err(error) => {
                log::warn!(segment = read.segment, error = error.to_string(); "cannot read the spool");
                return false;
            }
        };
        let mut frames = Frames::new(file, read.offset, bytes, read.segment, read.next, end);
        let mut found = Vec::new();
        let mut ended = false;
        while !batch.is_full() {
            let Some(frame) = frames.next() else {
                ended = true;
                break;
            };
            if batch.add(frame.sequence, frame.payload) {
                let (offset, length) = (frame.offset, frame.payload.len());
                found.push((frame.sequence, Place::Disk { segment: read.segment, offset, length }));
            }
        }
        let mut damage = frames.take_damage();
        if ended && end.is_none() {
            damage.bytes += frames.tail();
        }

        let mut state = self.lock();
        state.open.extend(found);
        state.read.offset = frames.position();
        state.read.next = frames.expected();
        state.count_damage(read.segment, damage);
        if ended
            && let Some(segment) = state.segments.get_mut(&read.segment)
            && !segment.end_known
        {
            (segment.end, segment.end_known) = (frames.expected(), true);
        }
        if ended && last != Some(read.segment) {
            // The next round enters the segment after this one.
            state.read.offset = u64::MAX;
        }
        !ended || last != Some(read.segment)
    }

    /// While the disk fails, what is in memory is sent from there, once all that is on disk was.
    fn offer_queued(&self, batch: &mut Batch) {
        let mut state = self.lock();
        if state.trouble.is_none() || state.writing || state.has_unread() {
            return;
        }
        let next = state.read.next;
        let mut offered = Vec::new();
        for queued in state.queue.iter().skip_while(|queued| queued.sequence < next) {
            if batch.is_full() {
                break;
            }
            if batch.add(queued.sequence, &queued.payload) {
                offered.push((queued.sequence, Place::Memory(queued.payload.as_slice().into())));
            }
        }
        if let Some((sequence, _)) = offered.last() {
            state.read.next = sequence + 1;
        }
        state.open.extend(offered);
    }
}

impl State {
    fn has_something(&self) -> bool {
        let next = self.read.next;
        !self.open.is_empty()
            || !self.open_gaps.is_empty()
            || self.has_unread()
            || (self.has_gaps() && !self.lacks_gaps())
            || (self.trouble.is_some() && self.queue.back().is_some_and(|queued| queued.sequence >= next))
    }

    fn offers_gaps(&self, budget: u64) -> bool {
        self.used() <= self.room.min(budget) / 2 || (self.open.is_empty() && !self.has_unread())
    }

    /// Moves on to the segment to read from: the present one, or the one after it.
    fn enter_segment(&mut self) -> bool {
        if self.read.offset != u64::MAX && self.segments.contains_key(&self.read.segment) {
            return true;
        }
        let from = if self.read.offset == u64::MAX { self.read.segment + 1 } else { self.read.segment };
        let Some((first, _)) = self.segments.range(from..).next() else { return false };
        self.read = Position { segment: *first, offset: HEADER as u64, next: self.read.next.max(*first) };
        true
    }

    pub(super) fn count_damage(&mut self, segment: Sequence, damage: Damage) {
        if damage.is_none() {
            return;
        }
        log::error!(segment, bytes = damage.bytes, records = damage.records; "a segment of the spool is damaged");
        self.damaged.bytes += damage.bytes;
        self.damaged.records += damage.records;
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.damaged = true;
        }
    }

    pub(super) fn settle_gap(&mut self, sequence: Sequence) -> bool {
        let settled = sequence >= FIRST_GAP && self.open_gaps.remove(&sequence).is_some();
        self.gaps_stale |= settled;
        settled
    }
}
