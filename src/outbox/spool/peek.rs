//! Reading: what is offered to the publisher, the oldest first.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::disk::DiskFile;
use super::frames::{Frames, read_payload};
use super::reading::{Place, Portion, Progress};
use super::shared::Shared;
use crate::mutex::lock;
use crate::outbox::contract::Sequence;
use crate::record::Record;

/// Bytes of records offered at once, at most, beside the first.
const BATCH_BYTES: usize = 8 << 20;

/// What is collected for one call.
struct Batch {
    records: Vec<(Sequence, Record)>,
    bytes: usize,
    max: usize,
    /// Frames that are whole, but no record that this version can read.
    unreadable: Vec<(Vec<u8>, String)>,
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
                self.unreadable.push((payload.to_vec(), error.to_string()));
                false
            }
        }
    }
}

/// A segment kept open for the next record that is read again.
type Kept = Option<(Sequence, Arc<dyn DiskFile>)>;

impl Shared {
    pub(super) fn peek(&self, max: usize, wait: Duration) -> Vec<(Sequence, Record)> {
        self.contents.wait_filled(wait);

        let mut batch = Batch { records: Vec::new(), bytes: 0, max, unreadable: Vec::new() };
        let read = self.fill(&mut batch);
        for (payload, reason) in batch.unreadable {
            self.rejected.keep(&payload, &reason);
        }
        if let Err(error) = read {
            self.lock().cannot_read(&error);
            if batch.records.is_empty() {
                std::thread::sleep(wait);
            }
        }
        batch.records
    }

    fn fill(&self, batch: &mut Batch) -> io::Result<()> {
        let _turn = lock(&self.turn);
        self.offer_again(batch)?;
        self.offer_gaps(batch);
        while !batch.is_full() && self.offer_next(batch)? {}
        self.offer_queued(batch);
        Ok(())
    }

    /// What was offered before and is not settled. What cannot be read now stays open, and what comes after it is not
    /// sent before it.
    fn offer_again(&self, batch: &mut Batch) -> io::Result<()> {
        let open = self.lock().reading.oldest_open(batch.max);
        let mut kept = None;
        for (sequence, place) in open {
            if batch.is_full() {
                break;
            }
            let payload = self.payload(sequence, &place, &mut kept)?;
            if !payload.is_some_and(|payload| batch.add(sequence, &payload)) {
                self.lock().reading.open_is_damaged(sequence);
            }
        }
        Ok(())
    }

    /// Reads an open record again. None where it lies no more at its place.
    pub(super) fn payload(
        &self,
        sequence: Sequence,
        place: &Place,
        kept: &mut Kept,
    ) -> io::Result<Option<Vec<u8>>> {
        let (segment, offset, length) = match place {
            Place::Memory(payload) => return Ok(Some(payload.to_vec())),
            Place::Disk { segment, offset, length } => (*segment, *offset, *length),
        };
        if kept.as_ref().is_none_or(|(open, _)| *open != segment) {
            let opened = self.directory.read(&self.directory.segment(segment))?;
            *kept = opened.map(|file| (segment, file));
        }
        Ok(kept.as_ref().and_then(|(_, file)| read_payload(&**file, offset, sequence, length)))
    }

    /// Gaps, at most half of a batch, once there is room in the spool or nothing else waits: until then they merge.
    fn offer_gaps(&self, batch: &mut Batch) {
        let mut contents = self.lock();
        // What is sent must be durable, and nothing is to change after it was sent.
        if contents.gaps.lacks_some() {
            return;
        }
        let share = contents.offers_gaps(self.options.budget()).then_some(batch.max.div_ceil(2));
        for (sequence, gap) in contents.gaps.offer(share) {
            if batch.is_full() {
                return;
            }
            batch.records.push((sequence, Record::Gap(gap.clone())));
        }
    }

    /// Reads on in the segments. False when there is nothing more.
    fn offer_next(&self, batch: &mut Batch) -> io::Result<bool> {
        let Some(portion) = self.lock().reading.enter() else { return Ok(false) };
        let Some(file) = self.directory.read(&self.directory.segment(portion.segment))? else {
            self.lock().reading.lost(&portion);
            return Ok(true);
        };
        let progress = read_on(&portion, Frames::new(file, portion.extent), batch);
        Ok(self.lock().reading.advance(&portion, progress))
    }

    /// While the disk fails, what is in memory is sent from there, once all that is on disk was.
    fn offer_queued(&self, batch: &mut Batch) {
        let mut contents = self.lock();
        if contents.reading.has_unread() {
            return;
        }
        let mut offered = Vec::new();
        for queued in contents.queue.sendable(contents.reading.next()) {
            if batch.is_full() {
                break;
            }
            if batch.add(queued.sequence, &queued.payload) {
                offered.push((queued.sequence, Place::Memory(queued.payload.as_slice().into())));
            }
        }
        contents.reading.offered_from_memory(offered);
    }
}

/// Reads what of `portion` goes into the batch.
fn read_on(portion: &Portion, mut frames: Frames, batch: &mut Batch) -> Progress {
    let mut found = Vec::new();
    let mut ended = false;
    while !batch.is_full() {
        let Some(frame) = frames.next() else {
            ended = true;
            break;
        };
        if batch.add(frame.sequence, frame.payload) {
            let (offset, length) = (frame.offset, frame.payload.len());
            found.push((frame.sequence, Place::Disk { segment: portion.segment, offset, length }));
        }
    }
    let mut damage = frames.take_damage();
    if ended && !portion.extent.end_known {
        damage.bytes += frames.tail();
    }
    Progress { found, offset: frames.position(), next: frames.expected(), ended, damage }
}
