//! Appending: into the queue, and waiting until it is on disk.

use std::sync::MutexGuard;

use super::contents::Contents;
use super::shared::Shared;
use crate::limits::MAX_RECORD;
use crate::outbox::contract::Sequence;
use crate::record::{GapReason, Record};

impl Shared {
    /// Encodes outside the lock and leaves the records to the caller, so that they are not freed under it either.
    pub(super) fn append(&self, records: &[Record], durable: bool) {
        let payloads: Vec<Vec<u8>> = records.iter().map(Record::encode).collect();
        let mut contents = self.lock();
        for (record, payload) in records.iter().zip(payloads) {
            let too_large = payload.len() > MAX_RECORD || payload.is_empty();
            if too_large {
                log::error!(site = record.key(), bytes = payload.len(); "a record is too large for the spool");
                contents.gaps.cover(record.clone(), GapReason::Refused);
            } else if self.is_stuck(&mut contents)
                && contents.queue.bytes() + payload.len() > self.options.max_memory
            {
                contents.gaps.cover(record.clone(), GapReason::OutboxFull);
            } else {
                contents.queue.push(payload);
            }
        }
        self.contents.wake_writer();
        if durable || contents.queue.bytes() > self.options.max_memory {
            let target = contents.queue.next();
            drop(self.wait_durable(contents, target));
        }
    }

    /// Returns when everything taken so far is on disk, or the disk fails. False then.
    pub(super) fn flush(&self) -> bool {
        let contents = self.lock();
        let target = contents.queue.next();
        self.wait_durable(contents, target).queue.is_durable(target)
    }

    /// Waits until all below `target` is durable, or the disk fails, or nobody writes any more.
    fn wait_durable<'a>(
        &'a self,
        mut contents: MutexGuard<'a, Contents>,
        target: Sequence,
    ) -> MutexGuard<'a, Contents> {
        while !contents.queue.is_durable(target)
            && !contents.ended
            && !contents.queue.rests()
            && !contents.queue.hangs(self.options.patience, &self.directory.path)
        {
            contents = self.contents.wait_written(contents, self.options.patience / 4);
        }
        contents
    }

    /// Whether the disk takes nothing now.
    fn is_stuck(&self, contents: &mut Contents) -> bool {
        contents.ended
            || contents.queue.fails()
            || contents.queue.hangs(self.options.patience, &self.directory.path)
    }
}
