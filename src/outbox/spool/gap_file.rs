//! The gaps that wait, as a file that is replaced as a whole: a copy of what the spool has in memory.

use std::io;
use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::error::SpoolError;
use super::frame;
use super::frames::{Extent, Frames};
use super::header::{FileKind, Header};
use crate::mutex::lock;
use crate::outbox::contract::Sequence;
use crate::record::{GapRecord, Record};

/// The file's name.
const FILE: &str = "gaps";

/// The right to write the file.
pub(super) struct GapFile {
    directory: Directory,
    /// For how many bytes of it there is room for certain.
    reserved: Mutex<u64>,
}

impl GapFile {
    pub(super) fn new(directory: &Directory) -> GapFile {
        GapFile { directory: directory.clone(), reserved: Mutex::new(0) }
    }

    /// Keeps others from writing the file.
    pub(super) fn hold(&self) -> HeldGapFile<'_> {
        let reserved = lock(&self.reserved);
        HeldGapFile { directory: &self.directory, reserved }
    }
}

/// The file of gaps, for the one who may write it.
pub(super) struct HeldGapFile<'a> {
    directory: &'a Directory,
    reserved: MutexGuard<'a, u64>,
}

impl HeldGapFile<'_> {
    /// Replaces the file; durable when it returns.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        *self.reserved = 0;
        self.directory.replace(FILE, bytes).map(drop)
    }

    /// Keeps room on the disk for a file of so many bytes.
    pub(super) fn reserve(&mut self, bytes: u64) {
        if *self.reserved < bytes {
            *self.reserved = self.directory.reserve(FILE, bytes);
        }
    }
}

/// The first frame's payload; the others are gaps.
#[derive(Default, Serialize, Deserialize)]
struct Head {
    /// A segment whose records are among these gaps and which is about to be deleted: a crash in between must not
    /// account for them twice.
    dropping: Option<Sequence>,
}

/// What the file of gaps holds.
#[derive(Default)]
pub(super) struct SavedGaps {
    pub dropping: Option<Sequence>,
    pub gaps: Vec<GapRecord>,
}

/// The file's bytes.
pub(super) fn encode<'a>(dropping: Option<Sequence>, gaps: impl Iterator<Item = &'a GapRecord>) -> Vec<u8> {
    let mut bytes = Header::new(FileKind::Gaps).encode().to_vec();
    let head = serde_json::to_vec(&Head { dropping }).unwrap_or_default();
    frame::push(&mut bytes, 0, &head);
    for (n, gap) in gaps.enumerate() {
        frame::push(&mut bytes, n as u64 + 1, &Record::Gap(gap.clone()).encode());
    }
    bytes
}

/// Reads the file; there is none before the first gap.
///
/// # Errors
/// [`SpoolError`]. What is damaged is logged and passed over.
pub(super) fn read(directory: &Directory) -> Result<SavedGaps, SpoolError> {
    let path = directory.file(FILE);
    let opened = directory.read(&path).map_err(SpoolError::io("open", &path))?;
    let Some(file) = opened else { return Ok(SavedGaps::default()) };
    let mut intact = Header::read(&*file, &path, FileKind::Gaps)?.is_some();
    let length = file.size().map_err(SpoolError::io("read", &path))?;
    let mut frames = Frames::new(file, Extent::whole(0, length));
    let mut found = SavedGaps::default();
    while let Some(frame) = frames.next() {
        if frame.sequence == 0 {
            found.dropping = serde_json::from_slice::<Head>(frame.payload).unwrap_or_default().dropping;
        } else if let Ok(Record::Gap(gap)) = Record::decode(frame.payload) {
            found.gaps.push(gap);
        } else {
            intact = false;
        }
    }
    if !intact || !frames.take_damage().is_none() || frames.tail() > 0 {
        log::error!(file = path.display().to_string(), read = found.gaps.len(); "the file of gaps is damaged");
    }
    Ok(found)
}
