//! A file of frames behind a header, and the reading of it however damaged it is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::SpoolError;
use super::frame::{self, HEAD, Parsed, u32_at, u64_at};
use crate::outbox::Sequence;

/// The format that this library writes; it reads no other.
pub const VERSION: u32 = 1;
/// Bytes of a file's header.
pub const HEADER: usize = 48;
const MAGIC: &[u8; 8] = b"webmon\0\n";
/// What is read from a file at once.
const CHUNK: usize = 128 * 1024;
/// A part of a file that cannot be read is as large as this.
const PAGE: u64 = 4_096;
/// A number this far ahead of the expected one is not believed, where it is not known how far they go.
const FAR: u64 = 1 << 40;

/// What kind of frames a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    Records = 1,
    Gaps = 2,
    Rejected = 3,
    Watermarks = 4,
}

/// The header of a file:
///
/// ```text
/// 0       8         12     16      24               32             40    44         48
/// ├ magic ┼ version ┼ kind ┼ first ┼ previous first ┼ previous end ┼ crc ┼ reserved ┤
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    /// The number of the first record.
    pub first: Sequence,
    /// The first number of the segment before this one, and the number that would have followed its last record:
    /// with these a segment that was cut short is found out. Equal where there was none, or where it
    /// is not known.
    pub previous: (Sequence, Sequence),
}

impl Header {
    pub fn new(kind: Kind) -> Header {
        Header { kind, first: 0, previous: (0, 0) }
    }

    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.kind as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.previous.1.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..40]);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of `file`; `None` when it is damaged, or was never written to its end.
    ///
    /// # Errors
    /// [`SpoolError::Version`] for an intact header of another version.
    pub fn read(file: &File, path: &Path, kind: Kind) -> Result<Option<Header>, SpoolError> {
        let mut bytes = [0; HEADER];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(SpoolError::io("read", path)(error)),
        }
        // Magic, version and CRC stay where they are in every version to come.
        if &bytes[..8] != MAGIC || u32_at(&bytes, 40) != Some(crc32fast::hash(&bytes[..40])) {
            return Ok(None);
        }
        let number = |at| u64_at(&bytes, at).unwrap_or_default();
        match u32_at(&bytes, 8) {
            Some(VERSION) => {}
            found => {
                let found = found.unwrap_or_default();
                return Err(SpoolError::Version { path: path.to_owned(), found, expected: VERSION });
            }
        }
        if u32_at(&bytes, 12) != Some(kind as u32) {
            return Ok(None);
        }
        Ok(Some(Header { kind, first: number(16), previous: (number(24), number(32)) }))
    }
}

/// A record in its file, the payload borrowed from the reader.
#[derive(Debug)]
pub struct Frame<'a> {
    pub sequence: Sequence,
    /// Where the frame begins.
    pub offset: u64,
    pub payload: &'a [u8],
}

/// What was not readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    pub bytes: u64,
    /// Records that were there, by their numbers.
    pub records: u64,
}

impl Damage {
    pub fn is_none(self) -> bool {
        self == Damage::default()
    }
}

/// Reads the frames of a file in order, in memory that does not depend on the file's size. It passes over what is
/// damaged and counts it.
pub struct Frames {
    file: File,
    /// How far the file may be read.
    length: u64,
    /// The number that must come next; lower ones are passed over in silence.
    expected: Sequence,
    /// The lowest number that a frame of this file can have.
    first: Sequence,
    /// The number after the last record, where it is known.
    end: Option<Sequence>,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    buffer_at: u64,
    /// Where the next frame begins.
    at: u64,
    damage: Damage,
    /// Bytes at the end that belong to no frame.
    tail: u64,
}

impl Frames {
    /// Reads `file` from `offset` up to `length`: the records from number `expected` on, up to `end`.
    pub fn new(
        file: File,
        offset: u64,
        length: u64,
        first: Sequence,
        expected: Sequence,
        end: Option<Sequence>,
    ) -> Frames {
        Frames {
            file,
            length,
            expected,
            first,
            end,
            buffer: Vec::new(),
            buffer_at: offset,
            at: offset,
            damage: Damage::default(),
            tail: 0,
        }
    }

    /// The next record, or none at the end.
    pub fn next(&mut self) -> Option<Frame<'_>> {
        let (offset, sequence, length) = self.advance()?;
        let from = (offset - self.buffer_at) as usize + HEAD;
        Some(Frame { sequence, offset, payload: &self.buffer[from..from + length] })
    }

    fn advance(&mut self) -> Option<(u64, Sequence, usize)> {
        loop {
            if self.end.is_some_and(|end| self.expected >= end) {
                return None;
            }
            if self.at >= self.length {
                self.ended();
                return None;
            }
            let offset = self.at;
            match self.parse(offset) {
                Parsed::Frame { sequence, length } => {
                    self.at += (HEAD + length) as u64;
                    if length == 0 {
                        self.expected = self.expected.max(sequence);
                    } else if sequence >= self.expected {
                        self.damage.records += sequence - self.expected;
                        self.expected = sequence + 1;
                        return Some((offset, sequence, length));
                    }
                }
                Parsed::Short(_) | Parsed::Bad => {
                    let Some(next) = self.find(offset + 1) else {
                        self.tail = self.length.saturating_sub(offset);
                        self.at = self.length.max(offset);
                        continue;
                    };
                    self.damage.bytes += next - offset;
                    self.at = next;
                }
            }
        }
    }

    /// Where the next whole frame begins, from `offset` on.
    fn find(&mut self, offset: u64) -> Option<u64> {
        (offset..self.length.saturating_sub(HEAD as u64 - 1))
            .find(|at| matches!(self.parse(*at), Parsed::Frame { .. }))
    }

    fn parse(&mut self, at: u64) -> Parsed {
        let last = self.end.unwrap_or(self.expected.saturating_add(FAR));
        self.fill(at, HEAD);
        loop {
            let bytes = self.buffer.get((at - self.buffer_at) as usize..).unwrap_or_default();
            let available = bytes.len();
            match frame::parse(bytes, self.first, last) {
                Parsed::Short(wanted) if at + wanted as u64 <= self.length => {
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
        let target = wanted.max(CHUNK).min(self.length.saturating_sub(at) as usize).max(have);
        self.buffer.resize(target, 0);
        let mut filled = have;
        while filled < target {
            let position = at + filled as u64;
            match self.file.read_at(&mut self.buffer[filled..], position) {
                // The file is shorter than it was said to be.
                Ok(0) => {
                    self.length = position;
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
        if let Some(end) = self.end
            && self.expected < end
        {
            self.damage.records += end - self.expected;
            self.damage.bytes += std::mem::take(&mut self.tail);
            self.expected = end;
        }
    }

    /// Where the next frame begins.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The number after that of the last record read.
    pub fn expected(&self) -> Sequence {
        self.expected
    }

    /// Bytes at the end that no whole frame follows; part of the damage where the end was known.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// What was passed over since the last call.
    pub fn take_damage(&mut self) -> Damage {
        std::mem::take(&mut self.damage)
    }
}

/// Reads one frame again, at a place where one was read before.
pub fn read_payload(file: &File, offset: u64, sequence: Sequence, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; HEAD + length];
    file.read_exact_at(&mut bytes, offset).ok()?;
    match frame::parse(&bytes, sequence, sequence) {
        Parsed::Frame { length: found, .. } if found == length => Some(bytes.split_off(HEAD)),
        _ => None,
    }
}
