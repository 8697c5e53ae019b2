//! The spool's directory: who has it, what lies in it, and how a file is put in its place.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::SpoolError;
use crate::outbox::Sequence;

const LOCK: &str = "lock";
const SEGMENT: &str = "seg";
const DAMAGED: &str = "damaged";

/// A directory with segments in it.
#[derive(Clone, Debug)]
pub struct Directory {
    pub path: PathBuf,
}

/// Keeps other checkers out as long as it lives.
pub struct Lock {
    _file: File,
}

impl Directory {
    pub fn new(path: &Path) -> Directory {
        Directory { path: path.to_owned() }
    }

    /// Makes the directory where there is none, and takes it for this process.
    pub fn take(&self) -> Result<Lock, SpoolError> {
        let path = &self.path;
        if !path.is_dir() {
            fs::create_dir_all(path).map_err(SpoolError::io("create the spool's directory", path))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync(parent).map_err(SpoolError::io("sync the directory", parent))?;
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

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The file of the segment that begins with `first`; names sort as numbers do.
    pub fn segment(&self, first: Sequence) -> PathBuf {
        self.path.join(format!("{first:020}.{SEGMENT}"))
    }

    /// The first numbers of all segments, in order.
    pub fn segments(&self) -> io::Result<Vec<Sequence>> {
        let mut segments: Vec<Sequence> = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = PathBuf::from(entry?.file_name());
            if path.extension() == Some(OsStr::new(SEGMENT))
                && let Some(first) =
                    path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.parse().ok())
            {
                segments.push(first);
            }
        }
        segments.sort_unstable();
        Ok(segments)
    }

    /// The segments moved aside, oldest first, with their sizes.
    pub fn damaged(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        let mut damaged = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            if path.extension() == Some(OsStr::new(DAMAGED)) {
                // It may be gone by now: this also runs beside a checker.
                damaged.push((path, entry.metadata().map_or(0, |metadata| metadata.len())));
            }
        }
        damaged.sort_unstable();
        Ok(damaged)
    }

    /// Moves a segment aside for somebody to look at. Where these files come to more than `max` bytes the oldest
    /// are deleted.
    pub fn move_aside(&self, first: Sequence, max: u64) -> io::Result<()> {
        // A number may come twice, when the cursor was lost too; a file moved aside is not replaced.
        let mut aside = self.path.join(format!("{first:020}.{DAMAGED}"));
        for n in 1.. {
            if !aside.exists() {
                break;
            }
            aside = self.path.join(format!("{first:020}-{n}.{DAMAGED}"));
        }
        fs::rename(self.segment(first), &aside)?;
        log::error!(file = aside.display().to_string(); "a damaged segment of the spool is kept aside");
        let mut damaged = self.damaged()?;
        let mut total: u64 = damaged.iter().map(|(_, bytes)| bytes).sum();
        while total > max && damaged.len() > 1 {
            let (path, bytes) = damaged.remove(0);
            fs::remove_file(&path)?;
            total -= bytes;
            log::warn!(file = path.display().to_string(); "too much is kept aside: the oldest is deleted");
        }
        Ok(())
    }

    /// Makes names created, changed and removed so far durable.
    pub fn sync(&self) -> io::Result<()> {
        sync(&self.path)
    }

    /// Puts a file with these bytes in the place of `name`: after a crash it is the old or the new one. The room of
    /// [`Directory::reserve`] is used up.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<File> {
        let (path, new) = (self.file(name), self.successor(name));
        // Not truncated: what is reserved must not go to somebody else.
        let mut file = File::options().create(true).truncate(false).write(true).open(&new)?;
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_data()?;
        fs::rename(&new, &path)?;
        self.sync()?;
        Ok(file)
    }

    /// Keeps room on the disk for `bytes` that are to replace `name`, and returns for how many there was some. On file
    /// systems that write nothing in place, such as Btrfs and ZFS, this promises nothing.
    pub fn reserve(&self, name: &str, bytes: u64) -> u64 {
        let reserve = || {
            let new = self.successor(name);
            let mut file = File::options().create(true).append(true).open(new)?;
            let mut length = file.metadata()?.len();
            while length < bytes {
                let part = &[0; 4_096][..(bytes - length).min(4_096) as usize];
                if file.write_all(part).is_err() {
                    break;
                }
                length += part.len() as u64;
            }
            io::Result::Ok(length)
        };
        reserve().unwrap_or_default()
    }

    /// Bytes of the disk that are free for us, where that can be asked.
    pub fn free(&self) -> Option<u64> {
        let statistics = rustix::fs::statvfs(&self.path).ok()?;
        statistics.f_bavail.checked_mul(statistics.f_frsize)
    }

    fn successor(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.new"))
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Whether the disk, or the share of it that its owner may use, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
