//! Opening: what is there after whatever has happened.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::contents::{Contents, Locked};
use super::cursor::{self, Cursor};
use super::directory::Directory;
use super::disk::Access;
use super::error::SpoolError;
use super::found::{Found, FoundSegment};
use super::frames::{Extent, Frames};
use super::gap_book::GapBook;
use super::gap_file::{self, GapFile};
use super::header::HEADER;
use super::options::SpoolOptions;
use super::queue::Queue;
use super::reading::Reading;
use super::rejected::Rejected;
use super::segment::Segment;
use super::shared::Shared;
use super::watermark_log::WatermarkLog;
use super::writer::Writer;
use crate::outbox::contract::Sequence;

/// Opens the spool, or makes one.
pub(super) fn open(options: SpoolOptions) -> Result<(Shared, Writer), SpoolError> {
    let directory = Directory::new(&options.directory, Arc::clone(&options.disk));
    let held = directory.take()?;
    let cursor_path = directory.file(cursor::FILE);
    let mut cursor = Cursor::open(&directory).map_err(SpoolError::io("open", &cursor_path))?;
    let saved = gap_file::read(&directory)?;
    if let Some(dropping) = saved.dropping {
        // Its records are among the gaps; the crash came before it was deleted.
        remove(&directory, dropping)?;
    }
    let segments = find_segments(&directory, cursor.settled(), &options)?;

    let next = next_number(cursor.settled(), saved.dropping, &segments.kept, segments.last_name);
    let writer = begin_writing(&directory, &segments.kept);
    let (count, bytes) =
        (segments.kept.len(), segments.kept.values().map(|segment| segment.bytes).sum::<u64>());
    let reading = Reading::new(segments.kept, cursor.settled(), next);
    // What the cursor passes over has been deleted: there is nothing to go back to.
    cursor.advance(reading.next()).map_err(SpoolError::io("write", &cursor_path))?;
    let gaps = GapBook::new(saved.gaps, saved.dropping.is_some());
    log::info!(
        directory = directory.path.display().to_string(), segments = count, bytes, waiting = reading.unread(),
        gaps = gaps.len();
        "the spool is open"
    );
    let shared = Shared {
        rejected: Rejected::open(&directory, options.max_aside())?,
        watermarks: WatermarkLog::open(&directory)?,
        gap_file: GapFile::new(&directory),
        cursor: Mutex::new(cursor),
        turn: Mutex::new(()),
        contents: Locked::new(Contents::new(Queue::new(next), reading, gaps)),
        options,
        directory,
        _held: held,
    };
    Ok((shared, writer))
}

/// The segments that are not settled.
struct Segments {
    kept: BTreeMap<Sequence, Segment>,
    /// The number that the last file was named for, whether or not it is kept.
    last_name: Sequence,
}

/// Deletes the segments that are settled, and mends the end of the last one.
fn find_segments(
    directory: &Directory,
    settled: Sequence,
    options: &SpoolOptions,
) -> Result<Segments, SpoolError> {
    let mut found = Found::in_directory(directory)?;
    let mut segments = Segments { kept: BTreeMap::new(), last_name: 0 };
    for (first, (end, end_known)) in found.ends() {
        let bytes = found.segments.remove(&first).map_or(0, |found| found.bytes);
        // A guess is never too low.
        if end <= settled {
            remove(directory, first)?;
        } else {
            segments.kept.insert(first, Segment { bytes, end, end_known, damaged: false });
        }
    }
    if let Some((first, last)) = found.segments.pop_last() {
        segments.last_name = first;
        if let Some(segment) = recover_last(directory, first, &last, options)? {
            segments.kept.insert(first, segment);
        }
    }
    Ok(segments)
}

/// The number of the record to come: none is given again, also not while the file of gaps may name it.
fn next_number(
    settled: Sequence,
    dropping: Option<Sequence>,
    segments: &BTreeMap<Sequence, Segment>,
    last_name: Sequence,
) -> Sequence {
    let dropped = dropping.map_or(0, |dropping| dropping + 1);
    let end = segments.get(&last_name).map_or(0, |segment| segment.end);
    settled.max(dropped).max(last_name).max(end)
}

/// The next segment says where the one before it ended; a guess is not worth to be written down.
fn begin_writing(directory: &Directory, segments: &BTreeMap<Sequence, Segment>) -> Writer {
    match segments.last_key_value() {
        Some((first, segment)) => Writer::new(directory, *first, segment.known_end().unwrap_or(*first)),
        None => Writer::new(directory, 0, 0),
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
    let file = directory.disk.open(&path, Access::Write).map_err(SpoolError::io("open", &path))?;
    let mut frames = Frames::new(Arc::clone(&file), Extent::whole(first, found.bytes));
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
        file.set_size(bytes).and_then(|()| file.sync()).map_err(SpoolError::io("truncate", &path))?;
    }
    let damaged = found.header.is_none();
    Ok(Some(Segment { bytes, end: frames.expected(), end_known: true, damaged }))
}

fn remove(directory: &Directory, first: Sequence) -> Result<(), SpoolError> {
    match directory.remove_segment(first) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SpoolError::io("delete", &directory.segment(first))(error))
        }
        _ => Ok(()),
    }
}
