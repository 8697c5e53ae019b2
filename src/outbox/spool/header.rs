//! The head of each of a spool's files: what kind it is, and in which version.

use std::io;
use std::path::Path;

use super::disk::DiskFile;
use super::error::SpoolError;
use super::frame::{u32_at, u64_at};
use crate::outbox::contract::Sequence;

/// The format that this library writes; it reads no other.
pub(super) const VERSION: u32 = 1;
/// Bytes of a file's header.
pub(super) const HEADER: usize = 48;
const MAGIC: &[u8; 8] = b"webmon\0\n";

/// What kind of frames a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum FileKind {
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
pub(super) struct Header {
    pub kind: FileKind,
    /// The number of the first record.
    pub first: Sequence,
    /// The first number of the segment before this one, and the number that would have followed its last record:
    /// with these a segment that was cut short is found out. Equal where there was none, or where it
    /// is not known.
    pub previous: (Sequence, Sequence),
}

impl Header {
    pub(super) fn new(kind: FileKind) -> Header {
        Header { kind, first: 0, previous: (0, 0) }
    }

    pub(super) fn encode(&self) -> [u8; HEADER] {
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
    pub(super) fn read(
        file: &dyn DiskFile,
        path: &Path,
        kind: FileKind,
    ) -> Result<Option<Header>, SpoolError> {
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
