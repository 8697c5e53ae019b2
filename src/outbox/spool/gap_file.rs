//! The gaps that wait, as a file that is replaced as a whole: a copy of what the spool has in memory.

use std::fs::File;
use std::io;

use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::error::SpoolError;
use super::frame;
use super::segment::{Frames, HEADER, Header, Kind};
use crate::outbox::Sequence;
use crate::record::{GapRecord, Record};

/// The file's name.
pub const FILE: &str = "gaps";

/// The first frame's payload; the others are gaps.
#[derive(Default, Serialize, Deserialize)]
struct Head {
    /// A segment whose records are among these gaps and which is about to be deleted: a crash in between must not
    /// account for them twice.
    dropping: Option<Sequence>,
}

/// What the file of gaps holds.
#[derive(Default)]
pub struct GapFile {
    pub dropping: Option<Sequence>,
    pub gaps: Vec<GapRecord>,
}

/// The file's bytes.
pub fn encode<'a>(dropping: Option<Sequence>, gaps: impl Iterator<Item = &'a GapRecord>) -> Vec<u8> {
    let mut bytes = Header::new(Kind::Gaps).encode().to_vec();
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
pub fn read(directory: &Directory) -> Result<GapFile, SpoolError> {
    let path = directory.file(FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(GapFile::default()),
        Err(error) => return Err(SpoolError::io("open", &path)(error)),
    };
    let mut intact = Header::read(&file, &path, Kind::Gaps)?.is_some();
    let length = file.metadata().map_err(SpoolError::io("read", &path))?.len();
    let mut frames = Frames::new(file, HEADER as u64, length, 0, 0, None);
    let mut found = GapFile::default();
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
