//! Opening: what is there after whatever has happened.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use super::cursor::{self, Cursor};
use super::directory::Directory;
use super::error::SpoolError;
use super::gap_file;
use super::rejected::Rejected;
use super::segment::{Damage, Frames, HEADER, Header, Kind};
use super::watermarks::Watermarks;
use super::writer::Writer;
use super::{FIRST_GAP, Inner, MAX_GAPS, Position, Segment, SpoolOptions, State};
use crate::outbox::Sequence;
use crate::outbox::gaps::Gaps;

/// The segments as they are found.
pub struct Found {
    pub segments: BTreeMap<Sequence, FoundSegment>,
}

/// One of them.
pub struct FoundSegment {
    pub bytes: u64,
    pub header: Option<Header>,
}

/// Lists the segments and reads their headers.
///
/// # Errors
/// A segment of another version, or a directory that cannot be read. A file that is gone by now is left out.
pub fn find(directory: &Directory) -> Result<Found, SpoolError> {
    let firsts = directory.segments().map_err(SpoolError::io("read", &directory.path))?;
    let mut segments = BTreeMap::new();
    for first in firsts {
        let path = directory.segment(first);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(SpoolError::io("open", &path)(error)),
        };
        let header = Header::read(&file, &path, Kind::Records)?.filter(|header| header.first == first);
        let bytes = file.metadata().map_err(SpoolError::io("read", &path))?.len();
        segments.insert(first, FoundSegment { bytes, header });
    }
    Ok(Found { segments })
}

impl Found {
    /// The number after the last record of each segment but the last one: known from the header of the one after
    /// it, or guessed from that one's name.
    pub fn ends(&self) -> BTreeMap<Sequence, (Sequence, bool)> {
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

impl Inner {
    pub(super) fn open(options: SpoolOptions) -> Result<Inner, SpoolError> {
        let directory = Directory::new(&options.directory);
        let lock = directory.take()?;
        let path = directory.file(cursor::FILE);
        let mut cursor = Cursor::open(&path).map_err(SpoolError::io("open", &path))?;
        let gap_file = gap_file::read(&directory)?;
        if let Some(dropping) = gap_file.dropping {
            // Its records are among the gaps; the crash came before it was deleted.
            remove(&directory, dropping)?;
        }
        let mut found = find(&directory)?;
        let mut segments = BTreeMap::new();
        for (first, (end, end_known)) in found.ends() {
            let bytes = found.segments.remove(&first).map_or(0, |found| found.bytes);
            // A guess is never too low.
            if end <= cursor.settled() {
                remove(&directory, first)?;
            } else {
                segments.insert(first, Segment { bytes, end, end_known, damaged: false });
            }
        }
        let mut writer = Writer::default();
        // A number is not given again while the file of gaps may name it.
        let mut next = cursor.settled().max(gap_file.dropping.map_or(0, |dropping| dropping + 1));
        if let Some((first, last)) = found.segments.pop_last() {
            next = next.max(first);
            if let Some(segment) = recover_last(&directory, first, &last, &options)? {
                next = next.max(segment.end);
                segments.insert(first, segment);
            }
        }
        // The next segment says where the one before it ended; a guess is not worth to be written down.
        if let Some((first, segment)) = segments.last_key_value() {
            (writer.first, writer.end) = (*first, if segment.end_known { segment.end } else { *first });
        }
        let oldest = segments.keys().next().copied().unwrap_or(next);
        let position =
            Position { segment: oldest, offset: HEADER as u64, next: cursor.settled().max(oldest) };
        // What the cursor passes over has been deleted: there is nothing to go back to.
        cursor.advance(position.next).map_err(SpoolError::io("write", &path))?;

        let mut gaps = Gaps::new(MAX_GAPS);
        let mut closed_gaps = VecDeque::from(gap_file.gaps);
        // They may have been sent. Where there are too many they merge nevertheless: what the store gets is then a
        // gap that overlaps another.
        while closed_gaps.len() > MAX_GAPS
            && let Some(gap) = closed_gaps.pop_front()
        {
            gaps.add(gap);
        }
        let waiting: u64 =
            segments.iter().map(|(first, s)| s.end.saturating_sub(position.next.max(*first))).sum();
        let bytes: u64 = segments.values().map(|segment| segment.bytes).sum();
        log::info!(
            directory = directory.path.display().to_string(), segments = segments.len(), bytes, waiting,
            gaps = closed_gaps.len() + gaps.len();
            "the spool is open"
        );
        let state = State {
            segments,
            next_sequence: next,
            queue: VecDeque::new(),
            queued_bytes: 0,
            writing: false,
            progress_at: Instant::now(),
            durable: next,
            trouble: None,
            hung_logged_at: None,
            room: u64::MAX,
            full_logged_at: None,
            last_error: None,
            open: BTreeMap::new(),
            read: position,
            gaps,
            closed_gaps,
            open_gaps: BTreeMap::new(),
            next_gap: FIRST_GAP,
            gap_changes: 0,
            gap_changes_written: 0,
            gaps_stale: gap_file.dropping.is_some(),
            victim: None,
            dropped: 0,
            damaged: Damage::default(),
            unsettled: false,
            settling_logged_at: None,
            closing: false,
            closed: false,
        };
        Ok(Inner {
            rejected: Mutex::new(Rejected::open(&directory, options.max_aside())?),
            watermarks: Watermarks::open(&directory)?,
            options,
            directory,
            state: Mutex::new(state),
            written: Condvar::new(),
            filled: Condvar::new(),
            work: Condvar::new(),
            writer: Mutex::new(writer),
            reading: Mutex::new(()),
            settling: Mutex::new(cursor),
            gap_file: Mutex::new(0),
            _lock: lock,
        })
    }
}

/// Reads the last segment through: only there can a write have been torn. What follows its last whole frame is cut
/// off. `None` where nothing is left.
fn recover_last(
    directory: &Directory,
    first: Sequence,
    found: &FoundSegment,
    options: &SpoolOptions,
) -> Result<Option<Segment>, SpoolError> {
    let path = directory.segment(first);
    let file = File::options().read(true).write(true).open(&path).map_err(SpoolError::io("open", &path))?;
    let again = file.try_clone().map_err(SpoolError::io("open", &path))?;
    let mut frames = Frames::new(again, HEADER as u64, found.bytes, first, first, None);
    let mut any = false;
    while frames.next().is_some() {
        any = true;
    }
    if !any {
        let shown = path.display().to_string();
        if found.header.is_some() || found.bytes < HEADER as u64 {
            log::warn!(file = shown, bytes = found.bytes; "a segment without a whole record is deleted: its only write was torn");
            remove(directory, first)?;
        } else {
            log::error!(file = shown, bytes = found.bytes; "nothing of a segment can be read");
            directory.move_aside(first, options.max_aside()).map_err(SpoolError::io("rename", &path))?;
        }
        return Ok(None);
    }
    let bytes = frames.position() - frames.tail();
    if frames.tail() > 0 {
        log::warn!(
            file = path.display().to_string(), bytes = frames.tail();
            "the spool's end was torn: it is cut off"
        );
        file.set_len(bytes).and_then(|()| file.sync_data()).map_err(SpoolError::io("truncate", &path))?;
    }
    let damaged = found.header.is_none();
    Ok(Some(Segment { bytes, end: frames.expected(), end_known: true, damaged }))
}

fn remove(directory: &Directory, first: Sequence) -> Result<(), SpoolError> {
    let path = directory.segment(first);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SpoolError::io("delete", &path)(error)),
        _ => Ok(()),
    }
}
