//! What the spool holds: in the queue, on disk, as gaps. All of it is under one lock.
//!
//! One lock and not three: a record goes from one to another in one step, so that no look at the spool misses it, and
//! a thread that waits for something to send waits for all three.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::gap_book::GapBook;
use super::queue::Queue;
use super::reading::{Place, Reading};
use super::seldom::Seldom;
use crate::mutex::lock;
use crate::outbox::contract::Sequence;

/// The queue, the disk and the gaps.
pub(super) struct Contents {
    pub queue: Queue,
    pub reading: Reading,
    pub gaps: GapBook,
    /// Something was rejected or acknowledged since the last settling.
    pub unsettled: bool,
    /// No more is to come.
    pub closing: bool,
    /// The spool's own thread has ended: nothing more gets to the disk.
    pub ended: bool,
    /// What the system said last, of whatever could not be written.
    pub last_error: Option<io::Error>,
    log_settling: Seldom,
    log_reading: Seldom,
}

impl Contents {
    pub(super) fn new(queue: Queue, reading: Reading, gaps: GapBook) -> Contents {
        Contents {
            queue,
            reading,
            gaps,
            unsettled: false,
            closing: false,
            ended: false,
            last_error: None,
            log_settling: Seldom::default(),
            log_reading: Seldom::default(),
        }
    }

    /// How many records wait; an estimate where segments are damaged.
    pub(super) fn len(&self) -> usize {
        let queued = self.queue.count(self.reading.next());
        self.reading.unread() as usize + queued + self.reading.open() + self.gaps.len()
    }

    /// Whether there is something to send.
    pub(super) fn has_something(&self) -> bool {
        self.reading.open() > 0
            || self.reading.has_unread()
            || self.gaps.has_something()
            || self.queue.has_sendable(self.reading.next())
    }

    /// Whether there is room to send gaps, or nothing else waits: until then they merge.
    pub(super) fn offers_gaps(&self, budget: u64) -> bool {
        self.reading.is_half_free(budget) || (self.reading.open() == 0 && !self.reading.has_unread())
    }

    /// Removes an open record.
    pub(super) fn settle(&mut self, sequence: Sequence) {
        if self.gaps.settle(sequence).is_none()
            && let Some(Place::Memory(_)) = self.reading.settle(sequence)
        {
            self.queue.settle(sequence);
        }
    }

    /// The disk cannot be read, for lack of descriptors say: it is tried again.
    pub(super) fn cannot_read(&mut self, error: &io::Error) {
        if self.log_reading.is_due() {
            log::warn!(error = error.to_string(); "cannot read the spool, trying again");
        }
    }

    /// Something could not be written down that may lag: it is tried again.
    pub(super) fn cannot_settle(&mut self, doing: &str, error: io::Error) {
        if self.log_settling.is_due() {
            log::warn!(error = error.to_string(); "cannot {doing}, trying again");
        }
        self.last_error = Some(error);
    }
}

/// The lock, and what is waited for under it.
pub(super) struct Locked {
    contents: Mutex<Contents>,
    /// The state of the disk has changed, for better or worse.
    written: Condvar,
    /// There is something to send.
    filled: Condvar,
    /// There is something for the spool's own thread.
    work: Condvar,
}

impl Locked {
    pub(super) fn new(contents: Contents) -> Locked {
        Locked {
            contents: Mutex::new(contents),
            written: Condvar::new(),
            filled: Condvar::new(),
            work: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Contents> {
        lock(&self.contents)
    }

    /// Wakes those who wait for the disk, or for something to send.
    pub(super) fn wake_all(&self) {
        self.written.notify_all();
        self.filled.notify_all();
    }

    /// Wakes the spool's own thread.
    pub(super) fn wake_writer(&self) {
        self.work.notify_one();
    }

    /// Waits for the disk, for a while.
    pub(super) fn wait_written<'a>(
        &'a self,
        contents: MutexGuard<'a, Contents>,
        at_most: Duration,
    ) -> MutexGuard<'a, Contents> {
        self.written.wait_timeout(contents, at_most).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits for something to do, for a while.
    pub(super) fn wait_work<'a>(
        &'a self,
        contents: MutexGuard<'a, Contents>,
        at_most: Duration,
    ) -> MutexGuard<'a, Contents> {
        self.work.wait_timeout(contents, at_most).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until there is something to send, for a while.
    pub(super) fn wait_filled(&self, at_most: Duration) {
        let nothing = |contents: &mut Contents| !contents.has_something();
        drop(self.filled.wait_timeout_while(self.lock(), at_most, nothing));
    }
}
