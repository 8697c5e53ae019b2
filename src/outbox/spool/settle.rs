//! Settling: what Kafka has or will never take leaves the spool.

use std::io;
use std::sync::PoisonError;
use std::time::Instant;

use super::{FIRST_GAP, Inner, LOG_EVERY, Place, RESERVE, RESERVE_EACH, State, gap_file};
use crate::outbox::Sequence;
use crate::record::{GapReason, Record};

impl Inner {
    pub(super) fn acknowledge(&self, sequences: &[Sequence]) {
        let mut state = self.lock();
        for sequence in sequences {
            if !state.settle_gap(*sequence) {
                state.settle(*sequence);
            }
        }
        state.unsettled = true;
        drop(state);
        self.settle();
    }

    pub(super) fn reject(&self, sequence: Sequence, reason: &str) {
        let mut state = self.lock();
        if sequence >= FIRST_GAP {
            let gap = state.open_gaps.remove(&sequence);
            state.gaps_stale = true;
            drop(state);
            if let Some(gap) = gap {
                // A gap for a refused gap would be refused again, and so on.
                log::error!(site = gap.site, reason; "a gap is refused for good: it is kept among the rejected");
                self.keep_rejected(&Record::Gap(gap).encode(), reason);
            }
            return;
        }
        let Some(place) = state.open.get(&sequence).cloned() else { return };
        drop(state);
        let payload = self.payload(sequence, &place, &mut None);
        if let Some(payload) = &payload {
            self.keep_rejected(payload, reason);
        }
        let mut state = self.lock();
        match payload.and_then(|payload| Record::decode(&payload).ok()) {
            Some(record @ Record::Result(_)) => {
                log::error!(site = record.key(), reason; "a record is refused for good: a gap stands for it");
                state.give_up(record, GapReason::Refused);
            }
            Some(Record::Gap(gap)) => log::error!(site = gap.site, reason; "a gap is refused for good"),
            None => log::error!(sequence, reason; "a record is refused for good, and cannot be read again"),
        }
        state.settle(sequence);
        state.unsettled = true;
    }

    /// Keeps what will never be delivered for somebody to look at. It must not hold up what can be.
    pub(super) fn keep_rejected(&self, payload: &[u8], reason: &str) {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = rejected.push(payload, reason) {
            log::error!(error = error.to_string(), reason; "cannot keep a rejected record: it is lost");
        }
    }

    /// Writes down what is settled, and deletes the segments that are. What fails is tried again by and by; until
    /// then it is at worst sent twice.
    pub(super) fn settle(&self) {
        let mut cursor = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        if !state.unsettled && !state.lacks_gaps() && !state.gaps_stale {
            return;
        }
        // That gaps were delivered need not be written for each batch of them: it would take longer than sending
        // them, and costs no more than sending them again.
        let stale = state.gaps_stale && (!state.unsettled || state.closing || state.all_gaps() == 0);
        let write_gaps = stale || state.lacks_gaps();
        let settled = state.settled();
        let deletable = state.settled_segments();
        state.unsettled = false;
        drop(state);

        // In this order: once the cursor has passed a rejected record its gap is all there is of it.
        let kept = self.rejected.lock().unwrap_or_else(PoisonError::into_inner).sync();
        let kept = kept.and_then(|()| if write_gaps { self.write_gaps() } else { Ok(()) });
        if let Err(error) = kept.and_then(|()| cursor.advance(settled)) {
            let mut state = self.lock();
            state.unsettled = true;
            if state.log_settling() {
                log::warn!(error = error.to_string(); "cannot write down what is settled, trying again");
            }
            state.last_error = Some(error);
            return;
        }
        for first in deletable {
            // Nobody reads a settled segment; a full spool may have dropped it meanwhile.
            let segment = self.lock().segments.remove(&first);
            if let Some(segment) = segment {
                self.remove_segment(first, segment.damaged);
            }
        }
    }

    /// Writes the file of gaps; durable when it returns.
    fn write_gaps(&self) -> io::Result<()> {
        let mut reserved = self.gap_file.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_gaps_locked(&mut reserved)
    }

    /// Keeps room on the disk for the file of gaps, as it would be if each site had one more.
    pub(super) fn reserve(&self) {
        let mut reserved = self.gap_file.lock().unwrap_or_else(PoisonError::into_inner);
        self.reserve_locked(&mut reserved);
    }

    pub(super) fn reserve_locked(&self, reserved: &mut u64) {
        let wanted = self.reserved_bytes();
        if *reserved < wanted {
            *reserved = self.directory.reserve(gap_file::FILE, wanted);
        }
    }

    pub(super) fn reserved_bytes(&self) -> u64 {
        let gaps = self.lock().all_gaps() + self.watermarks.len();
        RESERVE + gaps as u64 * RESERVE_EACH
    }

    /// As `write_gaps`, for who keeps others from writing the file.
    pub(super) fn write_gaps_locked(&self, reserved: &mut u64) -> io::Result<()> {
        let mut state = self.lock();
        let dropping = state.victim.as_ref().map(|victim| victim.first);
        let gaps = state.open_gaps.values().chain(&state.closed_gaps).chain(state.gaps.iter());
        let bytes = gap_file::encode(dropping, gaps);
        let changes = state.gap_changes;
        state.gaps_stale = false;
        drop(state);
        *reserved = 0;
        let written = self.directory.replace(gap_file::FILE, &bytes);
        let mut state = self.lock();
        match written {
            Ok(_) => state.gap_changes_written = changes,
            Err(_) => state.gaps_stale = true,
        }
        written.map(drop)
    }

    /// Deletes a segment, or moves it aside where it is damaged.
    pub(super) fn remove_segment(&self, first: Sequence, damaged: bool) {
        let removed = if damaged {
            self.directory.move_aside(first, self.options.max_aside())
        } else {
            std::fs::remove_file(self.directory.segment(first))
        };
        if let Err(error) = removed {
            log::warn!(segment = first, error = error.to_string(); "cannot delete a segment of the spool");
        }
    }
}

impl State {
    fn settle(&mut self, sequence: Sequence) {
        if let Some(Place::Memory(_)) = self.open.remove(&sequence)
            && let Ok(at) = self.queue.binary_search_by_key(&sequence, |queued| queued.sequence)
            && let Some(queued) = self.queue.remove(at)
        {
            self.queued_bytes -= queued.payload.len();
            if self.queue.is_empty() && !self.writing {
                self.durable = self.next_sequence;
            }
        }
    }

    fn all_gaps(&self) -> usize {
        self.gaps.len() + self.closed_gaps.len() + self.open_gaps.len()
    }

    /// Below this number everything is settled.
    fn settled(&self) -> Sequence {
        let read = self.read.next;
        self.open.keys().next().map_or(read, |oldest| read.min(*oldest))
    }

    /// The segments that were read and have no open record, but for the last one: it is appended to, or its end is
    /// to be known by the one after it.
    fn settled_segments(&self) -> Vec<Sequence> {
        let firsts: Vec<Sequence> = self.segments.keys().copied().collect();
        let read =
            |first| first < self.read.segment || (first == self.read.segment && self.read.offset == u64::MAX);
        firsts
            .windows(2)
            .filter(|pair| read(pair[0]) && self.open.range(pair[0]..pair[1]).next().is_none())
            .map(|pair| pair[0])
            .collect()
    }

    /// Whether a trouble with settling is to be logged: once in a while.
    pub(super) fn log_settling(&mut self) -> bool {
        let now = Instant::now();
        let due = self.settling_logged_at.is_none_or(|logged_at| now >= logged_at + LOG_EVERY);
        if due {
            self.settling_logged_at = Some(now);
        }
        due
    }
}
