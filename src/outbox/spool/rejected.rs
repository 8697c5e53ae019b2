//! The records that Kafka refuses for good, kept for somebody to look at: two files, of which the older one gives
//! way when the younger is full.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::directory::Directory;
use super::error::SpoolError;
use super::frame;
use super::segment::{Frames, HEADER, Header, Kind};

/// The file being written.
pub const FILE: &str = "rejected";
/// The one before it.
pub const OLD: &str = "rejected.old";

/// A line of `spool dump --rejected`.
#[derive(Serialize)]
struct Entry<'a> {
    rejected_at: Timestamp,
    reason: &'a str,
    /// The record; a text where it isn't JSON.
    record: &'a RawValue,
}

/// Writes the file of rejected records.
pub struct Rejected {
    directory: Directory,
    /// Bytes of one of the two files at most.
    max: u64,
    file: Option<File>,
    bytes: u64,
    next: u64,
    unsynced: bool,
}

impl Rejected {
    pub fn open(directory: &Directory, max: u64) -> Result<Rejected, SpoolError> {
        let mut rejected = Rejected {
            directory: directory.clone(),
            max: max / 2,
            file: None,
            bytes: 0,
            next: 0,
            unsynced: false,
        };
        let path = rejected.path();
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(rejected),
            Err(error) => return Err(SpoolError::io("open", &path)(error)),
        };
        let intact = Header::read(&file, &path, Kind::Rejected)?.is_some();
        let mut frames = frames(file.try_clone().map_err(SpoolError::io("open", &path))?)
            .map_err(SpoolError::io("read", &path))?;
        while frames.next().is_some() {}
        rejected.next = frames.expected();
        rejected.bytes = frames.position() - frames.tail();
        if frames.tail() > 0 {
            file.set_len(rejected.bytes).map_err(SpoolError::io("truncate", &path))?;
        }
        if intact {
            rejected.file = Some(file);
        } else {
            rejected.retire().map_err(SpoolError::io("rename", &path))?;
        }
        Ok(rejected)
    }

    fn path(&self) -> PathBuf {
        self.directory.file(FILE)
    }

    fn retire(&mut self) -> io::Result<()> {
        self.file = None;
        fs::rename(self.path(), self.directory.file(OLD))?;
        self.directory.sync()
    }

    /// Keeps a refused value. Not durable before [`Rejected::sync`].
    pub fn push(&mut self, value: &[u8], reason: &str) -> io::Result<()> {
        let as_text;
        let record = match serde_json::from_slice::<&RawValue>(value) {
            Ok(record) => record,
            Err(_) => {
                as_text = serde_json::value::to_raw_value(&String::from_utf8_lossy(value))?;
                &as_text
            }
        };
        let entry = Entry { rejected_at: Timestamp::now(), reason, record };
        let payload = serde_json::to_vec(&entry)?;
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
                let file = File::options().create(true).truncate(true).write(true).open(self.path())?;
                self.directory.sync()?;
                bytes.extend_from_slice(&Header::new(Kind::Rejected).encode());
                (self.bytes, self.next) = (0, 0);
                file
            }
        };
        frame::push(&mut bytes, self.next, &payload);
        if let Err(error) = file.write_all_at(&bytes, self.bytes) {
            // What is torn is cut off, now or when it is opened again.
            let _ = file.set_len(self.bytes);
            self.file = (self.bytes > 0).then_some(file);
            return Err(error);
        }
        self.file = Some(file);
        self.bytes += bytes.len() as u64;
        self.next += 1;
        self.unsynced = true;
        Ok(())
    }

    /// Makes durable what was kept.
    pub fn sync(&mut self) -> io::Result<()> {
        if let (true, Some(file)) = (self.unsynced, &self.file) {
            file.sync_data()?;
        }
        self.unsynced = false;
        Ok(())
    }
}

/// Hands every entry, a JSON object, to `each`, the oldest first.
///
/// # Errors
/// [`SpoolError`], or whatever `each` returns.
pub fn read<E: From<SpoolError>>(
    directory: &Directory,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    for name in [OLD, FILE] {
        let path = directory.file(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(SpoolError::io("open", &path)(error).into()),
        };
        Header::read(&file, &path, Kind::Rejected)?;
        let mut frames = frames(file).map_err(SpoolError::io("read", &path))?;
        while let Some(frame) = frames.next() {
            each(frame.payload)?;
        }
    }
    Ok(())
}

fn frames(file: File) -> io::Result<Frames> {
    let length = file.metadata()?.len();
    Ok(Frames::new(file, HEADER as u64, length, 0, 0, None))
}
