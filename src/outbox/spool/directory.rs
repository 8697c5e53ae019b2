//! The spool's directory: who has it, what lies in it, and how a file is put in its place.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Access, Disk, DiskFile};
use super::error::SpoolError;
use crate::outbox::contract::Sequence;

const LOCK: &str = "lock";
const SEGMENT: &str = "seg";
const DAMAGED: &str = "damaged";

/// A directory with segments in it.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub path: PathBuf,
    pub disk: Arc<dyn Disk>,
}

/// Keeps other checkers out as long as it lives.
pub(super) struct Lock {
    _file: File,
}

impl Directory {
    pub(super) fn new(path: &Path, disk: Arc<dyn Disk>) -> Directory {
        Directory { path: path.to_owned(), disk }
    }

    /// Makes the directory where there is none, and takes it for this process.
    pub(super) fn take(&self) -> Result<Lock, SpoolError> {
        let path = &self.path;
        if !path.is_dir() {
            fs::create_dir_all(path).map_err(SpoolError::io("create the spool's directory", path))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                self.disk.sync_directory(parent).map_err(SpoolError::io("sync the directory", parent))?;
            }
        }
        let lock = self.file(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .map_err(SpoolError::io("open the spool's lock", &lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(SpoolError::Locked { directory: path.clone() }),
            Err(TryLockError::Error(source)) => Err(SpoolError::io("lock", &lock)(source)),
        }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The file of the segment that begins with `first`; names sort as numbers do.
    pub(super) fn segment(&self, first: Sequence) -> PathBuf {
        self.path.join(format!("{first:020}.{SEGMENT}"))
    }

    /// The first numbers of all segments, in order.
    pub(super) fn segments(&self) -> io::Result<Vec<Sequence>> {
        let files = self.disk.list(&self.path)?;
        let mut segments: Vec<Sequence> = files
            .iter()
            .filter(|(path, _)| path.extension() == Some(OsStr::new(SEGMENT)))
            .filter_map(|(path, _)| path.file_stem()?.to_str()?.parse().ok())
            .collect();
        segments.sort_unstable();
        Ok(segments)
    }

    /// The segments moved aside, oldest first, with their sizes.
    pub(super) fn damaged(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        let mut damaged = self.disk.list(&self.path)?;
        damaged.retain(|(path, _)| path.extension() == Some(OsStr::new(DAMAGED)));
        damaged.sort_unstable();
        Ok(damaged)
    }

    /// Opens a segment, or another file, to be read; none where it is gone.
    pub(super) fn read(&self, path: &Path) -> io::Result<Option<Arc<dyn DiskFile>>> {
        match self.disk.open(path, Access::Read) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a segment.
    pub(super) fn remove_segment(&self, first: Sequence) -> io::Result<()> {
        self.disk.remove(&self.segment(first))
    }

    /// Moves a segment aside for an operator to look at. If these files come to more than `max` bytes, the oldest are
    /// deleted.
    pub(super) fn move_aside(&self, first: Sequence, max: u64) -> io::Result<()> {
        let before = self.damaged()?;
        // A number may come twice, when the cursor was lost too; a file moved aside is not replaced.
        let mut aside = self.path.join(format!("{first:020}.{DAMAGED}"));
        let mut n = 0;
        while before.iter().any(|(path, _)| *path == aside) {
            n += 1;
            aside = self.path.join(format!("{first:020}-{n}.{DAMAGED}"));
        }
        self.disk.rename(&self.segment(first), &aside)?;
        log::error!(file = aside.display().to_string(); "a damaged segment of the spool is kept aside");
        let mut damaged = self.damaged()?;
        let mut total: u64 = damaged.iter().map(|(_, bytes)| bytes).sum();
        while total > max && damaged.len() > 1 {
            let (path, bytes) = damaged.remove(0);
            self.disk.remove(&path)?;
            total -= bytes;
            log::warn!(file = path.display().to_string(); "too much is kept aside: the oldest is deleted");
        }
        Ok(())
    }

    /// Makes names created, changed and removed so far durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.disk.sync_directory(&self.path)
    }

    /// Puts a file with these bytes in the place of `name`: after a crash it is the old or the new one. The room of
    /// [`Directory::reserve`] is used up.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
        let (path, new) = (self.file(name), self.successor(name));
        // Not emptied: nothing else may take the room that is reserved.
        let file = self.disk.open(&new, Access::Create)?;
        file.write_all_at(bytes, 0)?;
        file.set_size(bytes.len() as u64)?;
        file.sync()?;
        self.disk.rename(&new, &path)?;
        self.sync()?;
        Ok(file)
    }

    /// Keeps room on the disk for `bytes` that are to replace `name`, and returns for how many there was some. On file
    /// systems that write nothing in place, such as Btrfs and ZFS, this promises nothing.
    pub(super) fn reserve(&self, name: &str, bytes: u64) -> u64 {
        let reserve = || {
            let file = self.disk.open(&self.successor(name), Access::Create)?;
            let mut length = file.size()?;
            while length < bytes {
                let part = &[0; 4_096][..(bytes - length).min(4_096) as usize];
                if file.write_all_at(part, length).is_err() {
                    break;
                }
                length += part.len() as u64;
            }
            io::Result::Ok(length)
        };
        reserve().unwrap_or_default()
    }

    /// Bytes of the disk that are free for us, where that can be asked.
    pub(super) fn free(&self) -> Option<u64> {
        self.disk.free(&self.path)
    }

    fn successor(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.new"))
    }
}
