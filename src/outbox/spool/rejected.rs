//! The records that Kafka refuses for good, kept for an operator to look at: two files. When the newer one is full,
//! the older one is deleted.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::directory::Directory;
use super::disk::{Access, DiskFile};
use super::error::SpoolError;
use super::frame;
use super::frames::{Extent, Frames};
use super::header::{FileKind, HEADER, Header};

use crate::mutex::lock;

/// The file being written.
pub(super) const FILE: &str = "rejected";
/// The one before it.
pub(super) const OLD: &str = "rejected.old";

/// A line of `spool dump --rejected`.
#[derive(Serialize)]
struct Line<'a> {
    rejected_at: Timestamp,
    reason: &'a str,
    /// The record; a text where it isn't JSON.
    record: &'a RawValue,
}

/// The file of rejected records, as it is written.
pub(super) struct Rejected(Mutex<RejectedFile>);

impl Rejected {
    /// # Errors
    /// [`SpoolError`]: written by another version, or unreadable.
    pub(super) fn open(directory: &Directory, max: u64) -> Result<Rejected, SpoolError> {
        Ok(Rejected(Mutex::new(RejectedFile::open(directory, max)?)))
    }

    /// Keeps what will never be delivered, for an operator to look at. It must not hold up what can be. Not durable
    /// before [`Rejected::sync`].
    pub(super) fn keep(&self, value: &[u8], reason: &str) {
        let kept = lock(&self.0).push(value, reason);
        if let Err(error) = kept {
            log::error!(error = error.to_string(), reason; "cannot keep a rejected record: it is lost");
        }
    }

    /// Makes durable what was kept.
    pub(super) fn sync(&self) -> io::Result<()> {
        lock(&self.0).sync()
    }
}

struct RejectedFile {
    directory: Directory,
    /// Bytes of one of the two files at most.
    max: u64,
    file: Option<Arc<dyn DiskFile>>,
    bytes: u64,
    next: u64,
    unsynced: bool,
}

impl RejectedFile {
    fn open(directory: &Directory, max: u64) -> Result<RejectedFile, SpoolError> {
        let mut kept = RejectedFile {
            directory: directory.clone(),
            max: max / 2,
            file: None,
            bytes: 0,
            next: 0,
            unsynced: false,
        };
        let path = kept.path();
        let file = match directory.disk.open(&path, Access::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(kept),
            Err(error) => return Err(SpoolError::io("open", &path)(error)),
        };
        let intact = Header::read(&*file, &path, FileKind::Rejected)?.is_some();
        let mut frames = frames(Arc::clone(&file)).map_err(SpoolError::io("read", &path))?;
        while frames.next().is_some() {}
        kept.next = frames.expected();
        kept.bytes = frames.position() - frames.tail();
        if frames.tail() > 0 {
            file.set_size(kept.bytes).map_err(SpoolError::io("truncate", &path))?;
        }
        if intact {
            kept.file = Some(file);
        } else {
            kept.retire().map_err(SpoolError::io("rename", &path))?;
        }
        Ok(kept)
    }

    fn path(&self) -> PathBuf {
        self.directory.file(FILE)
    }

    fn retire(&mut self) -> io::Result<()> {
        self.directory.disk.rename(&self.path(), &self.directory.file(OLD))?;
        self.file = None;
        self.directory.sync()
    }

    fn push(&mut self, value: &[u8], reason: &str) -> io::Result<()> {
        let as_text;
        let record = match serde_json::from_slice::<&RawValue>(value) {
            Ok(record) => record,
            Err(_) => {
                as_text = serde_json::value::to_raw_value(&String::from_utf8_lossy(value))?;
                &as_text
            }
        };
        let line = Line { rejected_at: Timestamp::now(), reason, record };
        let payload = serde_json::to_vec(&line)?;
        if payload.len() > frame::MAX_PAYLOAD {
            return Err(io::Error::other("too large to be kept"));
        }
        let mut bytes = Vec::with_capacity(HEADER + frame::HEAD + payload.len());
        if self.file.is_some() && self.bytes + payload.len() as u64 > self.max {
            log::warn!("the file of rejected records is full: the one before it is deleted");
            self.sync()?;
            self.retire()?;
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = self.directory.disk.open(&self.path(), Access::Empty)?;
                self.directory.sync()?;
                bytes.extend_from_slice(&Header::new(FileKind::Rejected).encode());
                (self.bytes, self.next) = (0, 0);
                file
            }
        };
        frame::push(&mut bytes, self.next, &payload);
        if let Err(error) = file.write_all_at(&bytes, self.bytes) {
            // What is torn is cut off, now or when it is opened again.
            let _ = file.set_size(self.bytes);
            self.file = (self.bytes > 0).then_some(file);
            return Err(error);
        }
        self.file = Some(file);
        self.bytes += bytes.len() as u64;
        self.next += 1;
        self.unsynced = true;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if let (true, Some(file)) = (self.unsynced, &self.file) {
            file.sync()?;
        }
        self.unsynced = false;
        Ok(())
    }
}

/// Hands every line, a JSON object, to `each`, the oldest first.
///
/// # Errors
/// [`SpoolError`], or whatever `each` returns.
pub(super) fn read<E: From<SpoolError>>(
    directory: &Directory,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    for name in [OLD, FILE] {
        let path = directory.file(name);
        let opened = directory.read(&path).map_err(SpoolError::io("open", &path))?;
        let Some(file) = opened else { continue };
        Header::read(&*file, &path, FileKind::Rejected)?;
        let mut frames = frames(file).map_err(SpoolError::io("read", &path))?;
        while let Some(frame) = frames.next() {
            each(frame.payload)?;
        }
    }
    Ok(())
}

fn frames(file: Arc<dyn DiskFile>) -> io::Result<Frames> {
    let length = file.size()?;
    Ok(Frames::new(file, Extent::whole(0, length)))
}
