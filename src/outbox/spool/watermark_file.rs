//! The watermarks on disk: a log that is rewritten when it opens, and when it has grown by 16 MiB.
//!
//! A frame names a site once, later ones carry four bytes for it and eight for the instant, all that changed within a
//! second in one write and one fdatasync. For 20,000 sites each second that is 240 kB/s, where the spool writes 10 MB/s.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::disk::{DiskFile, is_full};
use super::error::SpoolError;
use super::frame;
use super::frames::{Extent, Frames};
use super::header::{FileKind, Header};

/// The file's name.
const FILE: &str = "watermarks";
/// How much the log grows before it is rewritten.
const MAX_GROWTH: u64 = 16 << 20;
/// The first byte of a frame of instants; that of a name is a brace.
const INSTANTS: u8 = 1;
/// Instants of one frame.
const PER_FRAME: usize = 16_384;

/// What is on disk.
pub(super) struct WatermarkFile {
    directory: Directory,
    /// None where the next write is to begin with a new file.
    file: Option<Arc<dyn DiskFile>>,
    bytes: u64,
    rewritten_bytes: u64,
    next: u64,
    marks: HashMap<u32, Named>,
}

/// The payload that names a site.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Named {
    pub id: u32,
    pub site: String,
    pub location: String,
    pub expression: String,
    pub timezone: String,
    pub second: i64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgotten: bool,
}

/// What is to be written.
#[derive(Default)]
pub(super) struct Noted {
    pub marks: Vec<Named>,
    /// Ids that mean nothing any more.
    pub forgotten: Vec<u32>,
}

impl WatermarkFile {
    /// Opens the file: what it has, under ids from 0 on.
    ///
    /// # Errors
    /// [`SpoolError`]: written by another version, unreadable, or not to be written. That there is no room is none.
    pub(super) fn open(directory: &Directory) -> Result<(WatermarkFile, Vec<Named>), SpoolError> {
        let mut marks = read(directory)?;
        // The marks get new ids: in a log that was cut off, a forgotten id may have been given twice.
        for (id, named) in (0..).zip(&mut marks) {
            named.id = id;
        }
        let mut file = WatermarkFile {
            directory: directory.clone(),
            file: None,
            bytes: 0,
            rewritten_bytes: 0,
            next: 0,
            marks: marks.iter().map(|named| (named.id, named.clone())).collect(),
        };
        let path = directory.file(FILE);
        match file.rewrite() {
            // The one there is stays, until there is room for what changes.
            Err(error) if is_full(&error) => {
                log::warn!(file = path.display().to_string(), error = error.to_string(); "the spool's disk is full");
            }
            written => written.map_err(SpoolError::io("write", &path))?,
        }
        Ok((file, marks))
    }

    /// Writes what was noted; durable when it returns.
    pub(super) fn write(&mut self, noted: &Noted) -> io::Result<()> {
        let written = self.append(noted);
        if written.is_err() {
            // Where a write broke off is not known: the next one begins with a new file.
            self.file = None;
        }
        written
    }

    fn append(&mut self, noted: &Noted) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut next = self.next;
        let mut frame = |payload: &[u8]| {
            frame::push(&mut bytes, next, payload);
            next += 1;
        };
        for id in &noted.forgotten {
            if let Some(named) = self.marks.remove(id) {
                frame(&serde_json::to_vec(&Named { forgotten: true, ..named })?);
            }
        }
        let mut instants = vec![INSTANTS];
        for named in &noted.marks {
            match self.marks.get_mut(&named.id) {
                Some(known) if known.expression == named.expression && known.timezone == named.timezone => {
                    known.second = named.second;
                    instants.extend_from_slice(&named.id.to_le_bytes());
                    instants.extend_from_slice(&named.second.to_le_bytes());
                    if instants.len() > PER_FRAME * 12 {
                        frame(&instants);
                        instants.truncate(1);
                    }
                }
                _ => {
                    frame(&serde_json::to_vec(named)?);
                    self.marks.insert(named.id, named.clone());
                }
            }
        }
        if instants.len() > 1 {
            frame(&instants);
        }
        match &self.file {
            Some(file) if self.bytes < self.rewritten_bytes + MAX_GROWTH => {
                file.write_all_at(&bytes, self.bytes)?;
                file.sync()?;
                self.bytes += bytes.len() as u64;
                self.next = next;
                Ok(())
            }
            _ => self.rewrite(),
        }
    }

    /// Puts a new file in place, with everything in it and nothing twice.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut bytes = Header::new(FileKind::Watermarks).encode().to_vec();
        self.next = 0;
        for named in self.marks.values() {
            frame::push(&mut bytes, self.next, &serde_json::to_vec(named)?);
            self.next += 1;
        }
        self.file = Some(self.directory.replace(FILE, &bytes)?);
        self.bytes = bytes.len() as u64;
        self.rewritten_bytes = self.bytes;
        Ok(())
    }
}

/// The last mark of each site and location in the file. A torn end is passed over, as is what is damaged.
fn read(directory: &Directory) -> Result<Vec<Named>, SpoolError> {
    let path = directory.file(FILE);
    let opened = directory.read(&path).map_err(SpoolError::io("open", &path))?;
    let Some(file) = opened else { return Ok(Vec::new()) };
    let mut intact = Header::read(&*file, &path, FileKind::Watermarks)?.is_some();
    let length = file.size().map_err(SpoolError::io("read", &path))?;
    let mut frames = Frames::new(file, Extent::whole(0, length));
    let mut marks: HashMap<u32, Named> = HashMap::new();
    while let Some(frame) = frames.next() {
        match frame.payload.split_first() {
            Some((&INSTANTS, pairs)) => take_instants(pairs, &mut marks),
            _ => match serde_json::from_slice::<Named>(frame.payload) {
                Ok(named) if named.forgotten => drop(marks.remove(&named.id)),
                Ok(named) => drop(marks.insert(named.id, named)),
                Err(_) => intact = false,
            },
        }
    }
    if !intact || !frames.take_damage().is_none() {
        log::error!(file = path.display().to_string(), read = marks.len(); "the file of watermarks is damaged");
    }
    Ok(marks.into_values().collect())
}

fn take_instants(pairs: &[u8], marks: &mut HashMap<u32, Named>) {
    for pair in pairs.chunks_exact(12) {
        if let (Some(id), Some(second)) = (frame::u32_at(pair, 0), frame::u64_at(pair, 4))
            && let Some(named) = marks.get_mut(&id)
        {
            named.second = named.second.max(second.cast_signed());
        }
    }
}
