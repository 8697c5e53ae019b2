//! Looking into a spool without touching it, also while a checker uses it.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::cursor::{self, Cursor};
use super::directory::Directory;
use super::disk::{DiskFile, SystemDisk};
use super::error::SpoolError;
use super::found::Found;
use super::frames::{Extent, Frames};
use super::{gap_file, rejected};
use crate::outbox::contract::Sequence;
use crate::record::Record;

/// What is in a spool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// Files of records.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records that wait, gaps not counted. What was delivered within the last second or so may be among them.
    pub waiting: u64,
    /// The instant of the record that has waited the longest.
    pub oldest_waiting_at: Option<Timestamp>,
    /// Gaps that wait.
    pub gaps: u64,
    /// Records refused for good that are kept.
    pub rejected: u64,
    /// Segments that could not be read to their end and were moved aside.
    pub damaged: u64,
    /// Their bytes.
    pub damaged_bytes: u64,
}

/// Reads a spool. What a checker changes meanwhile may be missed or seen twice; nothing is changed here.
pub struct Inspector {
    directory: Directory,
}

impl Inspector {
    /// Looks into the spool in `directory`.
    ///
    /// # Errors
    /// [`SpoolError::Io`] where there is no such directory.
    pub fn new(directory: &Path) -> Result<Inspector, SpoolError> {
        let found = Directory::new(directory, Arc::new(SystemDisk));
        found.segments().map_err(SpoolError::io("read the spool's directory", directory))?;
        Ok(Inspector { directory: found })
    }

    /// Counts.
    ///
    /// # Errors
    /// [`SpoolError`]: written by another version, or unreadable.
    pub fn status(&self) -> Result<Status, SpoolError> {
        let settled = self.settled()?;
        let found = Found::in_directory(&self.directory)?;
        let ends = found.ends();
        let mut waiting = 0;
        for (first, segment) in &found.segments {
            let end = match ends.get(first) {
                Some((end, _)) => *end,
                None => self.end_of_last(*first, segment.bytes)?,
            };
            waiting += end.saturating_sub(settled.max(*first));
        }
        let mut oldest_waiting_at = None;
        self.records::<SpoolError>(&mut |payload| {
            oldest_waiting_at = Record::decode(payload).ok().map(|record| match record {
                Record::Result(result) => result.scheduled_at,
                Record::Gap(gap) => gap.gap.from,
            });
            Ok(oldest_waiting_at.is_none())
        })?;
        let mut rejected = 0;
        rejected::read::<SpoolError>(&self.directory, |_| {
            rejected += 1;
            Ok(())
        })?;
        let path = &self.directory.path;
        let damaged = self.directory.damaged().map_err(SpoolError::io("read", path))?;
        Ok(Status {
            segments: found.segments.len() as u64,
            bytes: found.segments.values().map(|segment| segment.bytes).sum(),
            waiting,
            oldest_waiting_at,
            gaps: gap_file::read(&self.directory)?.gaps.len() as u64,
            rejected,
            damaged: damaged.len() as u64,
            damaged_bytes: damaged.iter().map(|(_, bytes)| bytes).sum(),
        })
    }

    /// Hands the JSON of every record that waits to `each`, the oldest first, and then that of the gaps.
    ///
    /// # Errors
    /// [`SpoolError`], or what `each` returns.
    pub fn waiting<E: From<SpoolError>>(
        &self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.records::<E>(&mut |payload| each(payload).map(|()| true))?;
        for gap in gap_file::read(&self.directory)?.gaps {
            each(&Record::Gap(gap).encode())?;
        }
        Ok(())
    }

    /// Hands every rejected record to `each`, the oldest first, as JSON: `rejected_at`, `reason` and `record`.
    ///
    /// # Errors
    /// [`SpoolError`], or what `each` returns.
    pub fn rejected<E: From<SpoolError>>(&self, each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        rejected::read(&self.directory, each)
    }

    fn settled(&self) -> Result<Sequence, SpoolError> {
        let path = self.directory.file(cursor::FILE);
        Cursor::look(&self.directory).map_err(SpoolError::io("read", &path))
    }

    fn end_of_last(&self, first: Sequence, bytes: u64) -> Result<Sequence, SpoolError> {
        let Some(file) = self.open(first)? else { return Ok(first) };
        let mut frames = Frames::new(file, Extent::whole(first, bytes));
        while frames.next().is_some() {}
        Ok(frames.expected())
    }

    /// Opens a segment; none where everything in it was delivered by now.
    fn open(&self, first: Sequence) -> Result<Option<Arc<dyn DiskFile>>, SpoolError> {
        let path = self.directory.segment(first);
        self.directory.read(&path).map_err(SpoolError::io("open", &path))
    }

    /// Hands the payloads that are not settled to `each` until it returns false.
    fn records<E: From<SpoolError>>(&self, each: &mut dyn FnMut(&[u8]) -> Result<bool, E>) -> Result<(), E> {
        let settled = self.settled()?;
        let found = Found::in_directory(&self.directory)?;
        let ends = found.ends();
        for (first, segment) in &found.segments {
            // All of the last one is read.
            let (end, end_known) = ends.get(first).copied().unwrap_or((Sequence::MAX, false));
            if end <= settled {
                continue;
            }
            let Some(file) = self.open(*first)? else { continue };
            let extent = Extent {
                expected: settled.max(*first),
                end,
                end_known,
                ..Extent::whole(*first, segment.bytes)
            };
            let mut frames = Frames::new(file, extent);
            while let Some(frame) = frames.next() {
                if !each(frame.payload)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
