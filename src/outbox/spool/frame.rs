//! How a record lies in a file: CRC32, length, sequence number, payload.
//!
//! ```text
//! 0      4        8          16
//! ├ crc ─┼ length ┼ sequence ┼ payload … ┤     little-endian; the CRC covers all that follows it
//! ```
//!
//! A frame without payload is a *mark*: the next record has its number, and that numbers are missing before it is
//! no damage.
//!
//! Where a file is damaged the next frame is searched byte by byte. A payload cannot be mistaken for one: it is
//! JSON, in which control characters are escaped, and a frame's length always has a zero byte. Zeros are not a
//! frame either: the CRC32 of twelve of them is not zero.

use crate::limits::MAX_RECORD;
use crate::outbox::contract::Sequence;

/// Bytes before the payload.
pub(super) const HEAD: usize = 16;
/// The longest payload: a record, and in the file of the rejected ones a few words around it. Less than 16 MiB, so
/// that a length has a zero byte.
pub(super) const MAX_PAYLOAD: usize = MAX_RECORD * 2;

/// What the bytes at some place are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A whole frame, with the length of its payload.
    Frame { sequence: Sequence, length: usize },
    /// Maybe the start of a frame of this many bytes, head included.
    Short(usize),
    /// Not a frame.
    Bad,
}

/// Appends a frame to `buffer`.
pub(super) fn push(buffer: &mut Vec<u8>, sequence: Sequence, payload: &[u8]) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    // The caller sees to it that a payload is at most MAX_PAYLOAD.
    buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&sequence.to_le_bytes());
    buffer.extend_from_slice(payload);
    let crc = crc32fast::hash(&buffer[start + 4..]);
    buffer[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the frame at the start of `bytes`, whose number must be `first` to `last`.
pub(super) fn parse(bytes: &[u8], first: Sequence, last: Sequence) -> Parsed {
    let (Some(crc), Some(length), Some(sequence)) = (u32_at(bytes, 0), u32_at(bytes, 4), u64_at(bytes, 8))
    else {
        return Parsed::Short(HEAD);
    };
    let length = length as usize;
    if length > MAX_PAYLOAD || sequence < first || sequence > last {
        return Parsed::Bad;
    }
    match bytes.get(4..HEAD + length) {
        Some(covered) if crc32fast::hash(covered) == crc => Parsed::Frame { sequence, length },
        Some(_) => Parsed::Bad,
        None => Parsed::Short(HEAD + length),
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
