//! The frames of a file, read however damaged it is.

use std::io;
use std::sync::Arc;

use super::disk::DiskFile;
use super::frame::{self, HEAD, Parsed};
use super::header::HEADER;
use crate::outbox::contract::Sequence;

/// What is read from a file at once.
const CHUNK: usize = 128 * 1024;
/// A part of a file that cannot be read is as large as this.
const PAGE: u64 = 4_096;
/// A number this far ahead of the expected one is not believed, where it is not known how far they go.
const FAR: u64 = 1 << 40;

/// A record in its file, the payload borrowed from the reader.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub sequence: Sequence,
    /// Where the frame begins.
    pub offset: u64,
    pub payload: &'a [u8],
}

/// What was not readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    pub bytes: u64,
    /// Records that were there, by their numbers.
    pub records: u64,
}

impl Damage {
    pub(super) fn is_none(self) -> bool {
        self == Damage::default()
    }
}

/// Which frames of a file are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Where a frame begins, the first to be read.
    pub offset: u64,
    /// How far the file may be read.
    pub length: u64,
    /// The lowest number that a frame of this file can have.
    pub first: Sequence,
    /// The number that must come next; lower ones are passed over in silence.
    pub expected: Sequence,
    /// The number after the last record. A failed write may have left records from there on: they are passed over too,
    /// as their numbers were given to others.
    pub end: Sequence,
    /// Whether there are records up to `end`. Else it is only known that there are none from there on.
    pub end_known: bool,
}

impl Extent {
    /// All frames of a file of `length` bytes, whose numbers begin with `first`.
    pub(super) fn whole(first: Sequence, length: u64) -> Extent {
        Extent { offset: HEADER as u64, length, first, expected: first, end: Sequence::MAX, end_known: false }
    }
}

/// Reads the frames of a file in order, in memory that does not depend on the file's size. It passes over what is
/// damaged and counts it.
pub(super) struct Frames {
    file: Arc<dyn DiskFile>,
    /// What is still to be read: `offset` and `expected` move on.
    left: Extent,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    buffer_at: u64,
    damage: Damage,
    /// Bytes at the end that belong to no frame.
    tail: u64,
}

impl Frames {
    /// Reads `extent` of `file`.
    pub(super) fn new(file: Arc<dyn DiskFile>, extent: Extent) -> Frames {
        Frames {
            file,
            left: extent,
            buffer: Vec::new(),
            buffer_at: extent.offset,
            damage: Damage::default(),
            tail: 0,
        }
    }

    /// The next record, or none at the end.
    pub(super) fn next(&mut self) -> Option<Frame<'_>> {
        let (offset, sequence, length) = self.advance()?;
        let from = (offset - self.buffer_at) as usize + HEAD;
        Some(Frame { sequence, offset, payload: &self.buffer[from..from + length] })
    }

    fn advance(&mut self) -> Option<(u64, Sequence, usize)> {
        loop {
            if self.left.expected >= self.left.end {
                return None;
            }
            if self.left.offset >= self.left.length {
                self.ended();
                return None;
            }
            let offset = self.left.offset;
            match self.parse(offset) {
                Parsed::Frame { sequence, length } => {
                    self.left.offset += (HEAD + length) as u64;
                    if length == 0 {
                        self.left.expected = self.left.expected.max(sequence.min(self.left.end));
                    } else if (self.left.expected..self.left.end).contains(&sequence) {
                        self.damage.records += sequence - self.left.expected;
                        self.left.expected = sequence + 1;
                        return Some((offset, sequence, length));
                    }
                }
                Parsed::Short(_) | Parsed::Bad => {
                    let Some(next) = self.find(offset + 1) else {
                        self.tail = self.left.length.saturating_sub(offset);
                        self.left.offset = self.left.length.max(offset);
                        continue;
                    };
                    self.damage.bytes += next - offset;
                    self.left.offset = next;
                }
            }
        }
    }

    /// Where the next whole frame begins, from `offset` on.
    fn find(&mut self, offset: u64) -> Option<u64> {
        (offset..self.left.length.saturating_sub(HEAD as u64 - 1))
            .find(|at| matches!(self.parse(*at), Parsed::Frame { .. }))
    }

    fn parse(&mut self, at: u64) -> Parsed {
        let last = if self.left.end_known { self.left.end } else { self.left.expected.saturating_add(FAR) };
        self.fill(at, HEAD);
        loop {
            let bytes = self.buffer.get((at - self.buffer_at) as usize..).unwrap_or_default();
            let available = bytes.len();
            match frame::parse(bytes, self.left.first, last) {
                Parsed::Short(wanted) if at + wanted as u64 <= self.left.length => {
                    self.fill(at, wanted);
                    if self.buffer.len() - (at - self.buffer_at) as usize <= available {
                        return Parsed::Bad;
                    }
                }
                parsed => return parsed,
            }
        }
    }

    /// Has at least `wanted` bytes from `at` on in the buffer, where the file has them.
    fn fill(&mut self, at: u64, wanted: usize) {
        let from = (at - self.buffer_at) as usize;
        if self.buffer.len() >= from + wanted {
            return;
        }
        self.buffer.drain(..from.min(self.buffer.len()));
        self.buffer_at = at;
        let have = self.buffer.len();
        let target = wanted.max(CHUNK).min(self.left.length.saturating_sub(at) as usize).max(have);
        self.buffer.resize(target, 0);
        let mut filled = have;
        while filled < target {
            let position = at + filled as u64;
            match self.file.read_at(&mut self.buffer[filled..], position) {
                // The file is shorter than it was said to be.
                Ok(0) => {
                    self.left.length = position;
                    break;
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // A bad sector takes its page with it and no more: that is left as zeros, which are no frame.
                    let page = ((position / PAGE + 1) * PAGE - position) as usize;
                    let after = (filled + page).min(target);
                    let mut one = vec![0; after - filled];
                    if self.file.read_exact_at(&mut one, position).is_ok() {
                        self.buffer[filled..after].copy_from_slice(&one);
                    } else {
                        self.buffer[filled..after].fill(0);
                    }
                    filled = after;
                }
            }
        }
        self.buffer.truncate(filled);
    }

    /// The end has come: what should have been there was damaged.
    fn ended(&mut self) {
        let end = self.left.end;
        if self.left.end_known && self.left.expected < end {
            self.damage.records += end - self.left.expected;
            self.damage.bytes += std::mem::take(&mut self.tail);
            self.left.expected = end;
        }
    }

    /// Where the next frame begins.
    pub(super) fn position(&self) -> u64 {
        self.left.offset
    }

    /// The number after that of the last record read.
    pub(super) fn expected(&self) -> Sequence {
        self.left.expected
    }

    /// Bytes at the end that no whole frame follows; part of the damage where the end was known.
    pub(super) fn tail(&self) -> u64 {
        self.tail
    }

    /// What was passed over since the last call.
    pub(super) fn take_damage(&mut self) -> Damage {
        std::mem::take(&mut self.damage)
    }
}

/// Reads one frame again, at a place where one was read before.
pub(super) fn read_payload(
    file: &dyn DiskFile,
    offset: u64,
    sequence: Sequence,
    length: usize,
) -> Option<Vec<u8>> {
    let mut bytes = vec![0; HEAD + length];
    file.read_exact_at(&mut bytes, offset).ok()?;
    match frame::parse(&bytes, sequence, sequence) {
        Parsed::Frame { length: found, .. } if found == length => Some(bytes.split_off(HEAD)),
        _ => None,
    }
}
