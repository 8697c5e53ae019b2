//! The segment that is being appended to.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::directory::Directory;
use super::disk::{Access, DiskFile};
use super::frame::{self, HEAD};
use super::header::{FileKind, Header};
use super::queue::Queued;
use crate::outbox::contract::Sequence;

/// Bytes of one write at most.
const GROUP: usize = 4 << 20;

/// It begins with the first write, so that there are no empty segments.
pub(super) struct Writer {
    directory: Directory,
    file: Option<Arc<dyn DiskFile>>,
    /// Of the segment being written, or the last one that was: its first number, and the one after its last record.
    first: Sequence,
    end: Sequence,
    /// Durable bytes.
    bytes: u64,
    /// How many there may be.
    max: u64,
    /// What the next write is to append.
    buffer: Vec<u8>,
    /// The number of the first record in the buffer.
    buffer_first: Sequence,
}

impl Writer {
    /// Begins behind a segment whose first number is `first`, and the one after its last record `end`: the same where
    /// that is not known, or where there is none.
    pub(super) fn new(directory: &Directory, first: Sequence, end: Sequence) -> Writer {
        Writer {
            directory: directory.clone(),
            file: None,
            first,
            end,
            bytes: 0,
            max: 0,
            buffer: Vec::new(),
            buffer_first: 0,
        }
    }

    /// Ends the segment where `record` does not fit into it any more. Whether the next one begins another.
    pub(super) fn is_to_begin(&mut self, record: &Queued) -> bool {
        if self.file.is_some() && self.bytes + (HEAD + record.payload.len()) as u64 > self.max {
            self.file = None;
        }
        self.file.is_none()
    }

    /// Sets how large the segment may become that is to begin.
    pub(super) fn set_max(&mut self, bytes: u64) {
        self.max = bytes;
    }

    /// Puts the frames of as many records as go into one write into the buffer: how many these are.
    pub(super) fn fill(&mut self, group: &VecDeque<Queued>) -> usize {
        self.buffer.clear();
        let Some(next) = group.front() else { return 0 };
        self.buffer_first = next.sequence;
        let mut expected = self.end;
        let room = match self.file {
            Some(_) => self.max.saturating_sub(self.bytes),
            None => {
                let previous = (self.first, self.end);
                let header = Header { kind: FileKind::Records, first: next.sequence, previous };
                self.buffer.extend_from_slice(&header.encode());
                expected = next.sequence;
                self.max
            }
        };
        let room = (room as usize).min(GROUP);
        let mut count = 0;
        for queued in group {
            if count > 0 && self.buffer.len() + HEAD + queued.payload.len() > room {
                break;
            }
            if queued.sequence != expected {
                frame::push(&mut self.buffer, queued.sequence, &[]);
            }
            frame::push(&mut self.buffer, queued.sequence, &queued.payload);
            expected = queued.sequence + 1;
            count += 1;
        }
        count
    }

    /// Bytes in the buffer.
    pub(super) fn buffered(&self) -> u64 {
        self.buffer.len() as u64
    }

    /// Appends the buffer, to a new segment where none is open; durable when it returns.
    pub(super) fn append(&mut self) -> io::Result<()> {
        let appended = match &self.file {
            Some(file) => file.write_all_at(&self.buffer, self.bytes).and_then(|()| file.sync()),
            None => return self.begin(),
        };
        match appended {
            Ok(()) => self.bytes += self.buffered(),
            Err(_) => self.abandon(),
        }
        appended
    }

    fn begin(&mut self) -> io::Result<()> {
        let path = self.directory.segment(self.buffer_first);
        // One of that number holds nothing durable: this number was never reported written.
        let file = self.directory.disk.open(&path, Access::Empty)?;
        let written = file
            .write_all_at(&self.buffer, 0)
            .and_then(|()| file.sync())
            .and_then(|()| self.directory.sync());
        match written {
            Ok(()) => {
                (self.file, self.bytes, self.first) = (Some(file), self.buffered(), self.buffer_first);
            }
            Err(_) => {
                let _ = self.directory.disk.remove(&path);
            }
        }
        written
    }

    /// Ends the segment where it is durable. What a failed write left behind it is cut off where that is possible,
    /// and otherwise passed over: the next segment's header says where this one ended.
    fn abandon(&mut self) {
        if let Some(file) = self.file.take() {
            let _ = file.set_size(self.bytes);
        }
    }

    /// Takes note of the number after the last record that was appended: the segment's first number, and its bytes.
    pub(super) fn appended(&mut self, end: Sequence) -> (Sequence, u64) {
        self.end = end;
        (self.first, self.bytes)
    }
}
