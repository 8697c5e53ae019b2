//! Writing: the group that becomes durable together, and the room made for it.

use std::collections::VecDeque;
use std::io;
use std::sync::MutexGuard;

use super::contents::Contents;
use super::disk::is_full;
use super::queue::Queued;
use super::seldom::Seldom;
use super::shared::Shared;
use super::writer::Writer;
use crate::record::{GapReason, Record};

/// The smallest size that a small disk makes of a segment's.
const MIN_SEGMENT: u64 = 64 << 10;

/// Who writes the queue to the disk: the spool's own thread, and nobody else.
pub(super) struct Writing {
    writer: Writer,
    log_full: Seldom,
}

impl Writing {
    pub(super) fn new(writer: Writer) -> Writing {
        Writing { writer, log_full: Seldom::default() }
    }

    /// Writes what is queued. The lock is given up meanwhile.
    pub(super) fn write_queue<'a>(
        &mut self,
        shared: &'a Shared,
        mut contents: MutexGuard<'a, Contents>,
    ) -> MutexGuard<'a, Contents> {
        let mut group = contents.queue.take();
        drop(contents);

        let outcome = self.write(shared, &mut group);

        let mut contents = shared.lock();
        contents.queue.put_back(group);
        match outcome {
            Ok(()) => {
                if contents.queue.works() {
                    log::info!(waiting = contents.len(); "the spool can be written again");
                }
            }
            Err(error) => {
                contents.queue.failed(&error, shared.options.retry, &shared.directory.path);
                contents.last_error = Some(error);
            }
        }
        shared.contents.wake_all();
        contents
    }

    /// Writes `group`, and leaves in it what could not be written.
    fn write(&mut self, shared: &Shared, group: &mut VecDeque<Queued>) -> io::Result<()> {
        let mut freed = 0;
        while let Some(next) = group.front() {
            if self.writer.is_to_begin(next) {
                self.writer.set_max(segment_size(shared));
            }
            let count = self.writer.fill(group);
            let bytes = self.writer.buffered();
            if !shared.make_room(bytes)? {
                give_up(shared, group.drain(..count));
                continue;
            }
            if let Err(error) = self.writer.append() {
                // No more is dropped than is needed: another program may take all that becomes free.
                if !is_full(&error) || freed >= bytes + shared.gap_bytes() {
                    return Err(error);
                }
                self.note_full(shared);
                let Some(dropped) = shared.drop_oldest(true)? else { return Err(error) };
                freed += dropped;
                continue;
            }
            freed = 0;
            self.publish(shared, group, count);
        }
        Ok(())
    }

    fn note_full(&mut self, shared: &Shared) {
        if self.log_full.is_due() {
            let directory = shared.directory.path.display().to_string();
            let dropped = shared.lock().gaps.dropped();
            log::error!(directory, dropped; "the spool's disk is full: dropping the oldest results");
        }
    }

    /// Makes known what is durable now.
    fn publish(&mut self, shared: &Shared, group: &mut VecDeque<Queued>, count: usize) {
        let mut contents = shared.lock();
        let end = contents.queue.wrote(group, count);
        let (first, bytes) = self.writer.appended(end);
        contents.reading.appended(first, bytes, end);
        drop(contents);
        shared.contents.wake_all();
    }
}

/// How large the next segment may become.
fn segment_size(shared: &Shared) -> u64 {
    let free = shared.directory.free();
    let room = shared.lock().reading.set_free(free);
    shared.options.segment_size.min((room / 16).max(MIN_SEGMENT))
}

/// Drops records that have no room, and lets gaps stand for them.
fn give_up(shared: &Shared, records: impl Iterator<Item = Queued>) {
    let mut contents = shared.lock();
    for queued in records {
        contents.queue.gave_up(&queued);
        // Others were sent from memory, or are being.
        if queued.sequence >= contents.reading.next()
            && let Ok(record) = Record::decode(&queued.payload)
        {
            contents.gaps.cover(record, GapReason::OutboxFull);
        }
    }
}
