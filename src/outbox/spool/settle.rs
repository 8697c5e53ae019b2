//! Settling: what Kafka has or will never take leaves the spool.

use std::io;

use super::cursor::Cursor;
use super::gap_book::GapBook;
use super::shared::Shared;
use crate::mutex::lock;
use crate::outbox::contract::Sequence;
use crate::record::{GapReason, Record};

/// What is to be written down.
struct Settled {
    /// Below this number everything is settled.
    below: Sequence,
    /// The segments that are.
    segments: Vec<Sequence>,
    /// The file of gaps is to be written before.
    gaps_first: bool,
}

impl Shared {
    pub(super) fn acknowledge(&self, sequences: &[Sequence]) {
        let mut contents = self.lock();
        for sequence in sequences {
            contents.settle(*sequence);
        }
        contents.unsettled = true;
        drop(contents);
        self.settle();
    }

    pub(super) fn reject(&self, sequence: Sequence, reason: &str) {
        if GapBook::has_number(sequence) {
            self.reject_gap(sequence, reason);
        } else {
            self.reject_record(sequence, reason);
        }
    }

    fn reject_gap(&self, sequence: Sequence, reason: &str) {
        let gap = self.lock().gaps.settle(sequence);
        if let Some(gap) = gap {
            // A gap for a refused gap would be refused again, and so on.
            log::error!(site = gap.site, reason; "a gap is refused for good: it is kept among the rejected");
            self.rejected.keep(&Record::Gap(gap).encode(), reason);
        }
    }

    fn reject_record(&self, sequence: Sequence, reason: &str) {
        let Some(place) = self.lock().reading.place(sequence) else { return };
        let payload = match self.payload(sequence, &place, &mut None) {
            Ok(payload) => payload,
            Err(error) => {
                // It stays open, and is sent and refused again.
                return log::warn!(sequence, error = error.to_string(); "cannot read a refused record again");
            }
        };
        if let Some(payload) = &payload {
            self.rejected.keep(payload, reason);
        }
        let mut contents = self.lock();
        match payload.and_then(|payload| Record::decode(&payload).ok()) {
            Some(record @ Record::Result(_)) => {
                log::error!(site = record.key(), reason; "a record is refused for good: a gap stands for it");
                contents.gaps.cover(record, GapReason::Refused);
            }
            Some(Record::Gap(gap)) => log::error!(site = gap.site, reason; "a gap is refused for good"),
            None => log::error!(sequence, reason; "a record is refused for good, and cannot be read again"),
        }
        contents.settle(sequence);
        contents.unsettled = true;
    }

    /// Writes down what is settled, and deletes the segments that are. What fails is tried again later; until then
    /// it is at worst sent twice.
    pub(super) fn settle(&self) {
        let mut cursor = lock(&self.cursor);
        let Some(settled) = self.take_settled() else { return };
        if let Err(error) = self.write_down(&mut cursor, &settled) {
            let mut contents = self.lock();
            contents.unsettled = true;
            return contents.cannot_settle("write down what is settled", error);
        }
        for first in settled.segments {
            // Nobody reads a settled segment; a full spool may have dropped it meanwhile.
            let segment = self.lock().reading.remove(first);
            if let Some(segment) = segment {
                self.remove_segment(first, segment.damaged);
            }
        }
    }

    /// What is settled by now; none where there is nothing new to write down.
    fn take_settled(&self) -> Option<Settled> {
        let mut contents = self.lock();
        let (lacks_some, stale) = (contents.gaps.lacks_some(), contents.gaps.is_stale());
        if !contents.unsettled && !lacks_some && !stale {
            return None;
        }
        // That gaps were delivered need not be written for each batch of them: it would take longer than sending
        // them, and costs no more than sending them again.
        let stale = stale && (!contents.unsettled || contents.closing || contents.gaps.len() == 0);
        contents.unsettled = false;
        Some(Settled {
            below: contents.reading.settled(),
            segments: contents.reading.settled_segments(),
            gaps_first: stale || lacks_some,
        })
    }

    /// In this order: once the cursor has passed a rejected record its gap is all there is of it.
    fn write_down(&self, cursor: &mut Cursor, settled: &Settled) -> io::Result<()> {
        self.rejected.sync()?;
        if settled.gaps_first {
            self.write_gaps(&mut self.gap_file.hold())?;
        }
        cursor.advance(settled.below)
    }
}
