//! Records that are not on disk yet, and how the disk fares that they are to go to.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::seldom::Seldom;
use crate::outbox::contract::Sequence;

/// Records in the order in which they came. Those that are being written are not in the list, but count.
pub(super) struct Queue {
    waiting: VecDeque<Queued>,
    next: Sequence,
    /// Bytes of records not on disk, those being written included.
    bytes: usize,
    being_written: bool,
    /// Below this number everything is on disk, settled, or a gap.
    durable: Sequence,
    /// When something became durable last, or began to wait for it.
    progress_at: Instant,
    /// Until when a disk that failed is left alone; none while it works.
    failed_until: Option<Instant>,
    log_failing: Seldom,
    log_hanging: Seldom,
}

/// A record that waits for the disk.
pub(super) struct Queued {
    pub sequence: Sequence,
    pub payload: Vec<u8>,
}

impl Queue {
    /// An empty one, whose first record gets the number `next`.
    pub(super) fn new(next: Sequence) -> Queue {
        Queue {
            waiting: VecDeque::new(),
            next,
            bytes: 0,
            being_written: false,
            durable: next,
            progress_at: Instant::now(),
            failed_until: None,
            log_failing: Seldom::default(),
            log_hanging: Seldom::default(),
        }
    }

    pub(super) fn push(&mut self, payload: Vec<u8>) {
        if self.unwritten() == 0 {
            self.progress_at = Instant::now();
        }
        self.bytes += payload.len();
        self.waiting.push_back(Queued { sequence: self.next, payload });
        self.next += 1;
    }

    /// The number of the record to come.
    pub(super) fn next(&self) -> Sequence {
        self.next
    }

    /// Bytes of records not on disk.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether all below `target` is on disk, settled, or a gap.
    pub(super) fn is_durable(&self, target: Sequence) -> bool {
        self.durable >= target
    }

    /// Whether the disk takes nothing: it failed when it was tried last.
    pub(super) fn fails(&self) -> bool {
        self.failed_until.is_some()
    }

    /// When what waits is to be tried again on a disk that failed.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.failed_until.filter(|_| !self.waiting.is_empty())
    }

    /// Whether the disk failed a moment ago and is not to be tried now.
    pub(super) fn rests(&self) -> bool {
        self.failed_until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether the disk takes longer than `patience`, which is logged.
    pub(super) fn hangs(&mut self, patience: Duration, directory: &Path) -> bool {
        let waited = self.progress_at.elapsed();
        let failing = self.fails() && !self.being_written;
        if failing || self.unwritten() == 0 || waited < patience {
            return false;
        }
        if self.log_hanging.is_due() {
            log::error!(
                directory = directory.display().to_string(), seconds = waited.as_secs(), waiting = self.unwritten();
                "the spool's disk does not answer: results wait in memory, and are lost if the program ends"
            );
        }
        true
    }

    /// Whether there is something that can be written now.
    pub(super) fn is_writable(&self) -> bool {
        !self.waiting.is_empty() && !self.rests()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes all that waits, to be written: to be followed by [`Queue::wrote`] and [`Queue::gave_up`] for what becomes of
    /// it, and by [`Queue::put_back`] for the rest.
    pub(super) fn take(&mut self) -> VecDeque<Queued> {
        self.being_written = true;
        self.progress_at = Instant::now();
        std::mem::take(&mut self.waiting)
    }

    /// The first `count` records of `group` are on disk: the number after the last of them.
    pub(super) fn wrote(&mut self, group: &mut VecDeque<Queued>, count: usize) -> Sequence {
        let mut end = self.durable;
        for queued in group.drain(..count) {
            self.bytes -= queued.payload.len();
            end = queued.sequence + 1;
        }
        self.durable = group.front().map_or(end, |queued| queued.sequence);
        self.progress_at = Instant::now();
        end
    }

    /// A record that was taken gets no place on the disk.
    pub(super) fn gave_up(&mut self, queued: &Queued) {
        self.bytes -= queued.payload.len();
        self.durable = queued.sequence + 1;
    }

    /// Ends the writing of what was taken. What could not be written goes first again.
    pub(super) fn put_back(&mut self, mut group: VecDeque<Queued>) {
        self.being_written = false;
        if self.log_hanging.is_over() {
            log::info!(waiting = self.unwritten() + group.len(); "the spool's disk answers again");
        }
        while let Some(queued) = group.pop_back() {
            self.waiting.push_front(queued);
        }
    }

    /// All that was taken found its place. True where the disk had failed before.
    pub(super) fn works(&mut self) -> bool {
        // Also where the last ones were sent from memory before.
        self.durable = self.waiting.front().map_or(self.next, |queued| queued.sequence);
        self.log_failing.is_over();
        self.failed_until.take().is_some()
    }

    /// The disk failed: it is left alone for as long as `rest`.
    pub(super) fn failed(&mut self, error: &io::Error, rest: Duration, directory: &Path) {
        self.failed_until = Some(Instant::now() + rest);
        if self.log_failing.is_due() {
            log::error!(
                directory = directory.display().to_string(), error = error.to_string(), waiting = self.waiting.len();
                "cannot write the spool: results wait in memory"
            );
        }
    }

    /// Removes a record that was sent from memory.
    pub(super) fn settle(&mut self, sequence: Sequence) {
        if let Ok(at) = self.waiting.binary_search_by_key(&sequence, |queued| queued.sequence)
            && let Some(queued) = self.waiting.remove(at)
        {
            self.bytes -= queued.payload.len();
            if self.waiting.is_empty() && !self.being_written {
                self.durable = self.next;
            }
        }
    }

    /// Records from the number `from` on, to be sent from memory: there are some only while the disk fails.
    pub(super) fn sendable(&self, from: Sequence) -> impl Iterator<Item = &Queued> {
        let all = if self.fails() && !self.being_written { self.waiting.len() } else { 0 };
        self.waiting.iter().take(all).skip_while(move |queued| queued.sequence < from)
    }

    /// Whether there will be something to send from memory, of the number `from` or a later one.
    pub(super) fn has_sendable(&self, from: Sequence) -> bool {
        self.fails() && self.waiting.back().is_some_and(|queued| queued.sequence >= from)
    }

    /// Records that are not on disk, and in no gap.
    pub(super) fn unwritten(&self) -> usize {
        self.written_now(self.durable) + self.waiting.len()
    }

    /// How many records have the number `from` or a later one.
    pub(super) fn count(&self, from: Sequence) -> usize {
        let before = self.waiting.partition_point(|queued| queued.sequence < from);
        self.written_now(self.durable.max(from)) + self.waiting.len() - before
    }

    /// Records being written, from the number `from` on: they lie between the durable and those that wait.
    fn written_now(&self, from: Sequence) -> usize {
        let waiting_from = self.waiting.front().map_or(self.next, |queued| queued.sequence);
        if self.being_written { waiting_from.saturating_sub(from) as usize } else { 0 }
    }
}
