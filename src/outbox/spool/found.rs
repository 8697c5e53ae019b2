//! The segments as they are found in a directory.

use std::collections::BTreeMap;

use super::directory::Directory;
use super::error::SpoolError;
use super::header::{FileKind, Header};
use crate::outbox::contract::Sequence;

/// All of them, by the numbers that they are named for.
pub(super) struct Found {
    pub segments: BTreeMap<Sequence, FoundSegment>,
}

/// One of them.
pub(super) struct FoundSegment {
    pub bytes: u64,
    pub header: Option<Header>,
}

impl Found {
    /// Lists the segments and reads their headers.
    ///
    /// # Errors
    /// A segment of another version, or a directory that cannot be read. A file that is gone by now is left out.
    pub(super) fn in_directory(directory: &Directory) -> Result<Found, SpoolError> {
        let firsts = directory.segments().map_err(SpoolError::io("read", &directory.path))?;
        let mut segments = BTreeMap::new();
        for first in firsts {
            let path = directory.segment(first);
            let opened = directory.read(&path).map_err(SpoolError::io("open", &path))?;
            let Some(file) = opened else { continue };
            let header =
                Header::read(&*file, &path, FileKind::Records)?.filter(|header| header.first == first);
            let bytes = file.size().map_err(SpoolError::io("read", &path))?;
            segments.insert(first, FoundSegment { bytes, header });
        }
        Ok(Found { segments })
    }

    /// The number after the last record of each segment but the last one: known from the header of the one after
    /// it, or guessed from that one's name.
    pub(super) fn ends(&self) -> BTreeMap<Sequence, (Sequence, bool)> {
        let firsts: Vec<(&Sequence, &FoundSegment)> = self.segments.iter().collect();
        firsts
            .windows(2)
            .map(|pair| {
                let (first, next) = (*pair[0].0, *pair[1].0);
                match pair[1].1.header.map(|header| header.previous) {
                    Some((previous, end)) if previous == first && first < end && end <= next => {
                        (first, (end, true))
                    }
                    _ => (first, (next, false)),
                }
            })
            .collect()
    }
}
