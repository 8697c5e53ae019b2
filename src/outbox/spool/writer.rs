//! Writing: the group that becomes durable together, the segment it goes to, and the room made for it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use super::directory::is_full;
use super::frame::{self, HEAD};
use super::segment::{Damage, Frames, HEADER, Header, Kind};
use super::{Inner, LOG_EVERY, Queued, RETRY, Segment, State, Trouble, Victim};
use crate::outbox::Sequence;
use crate::record::{GapReason, Record};

/// Bytes of one write at most.
const GROUP: usize = 4 << 20;
/// The smallest size that a small disk makes of a segment's.
const MIN_SEGMENT: u64 = 64 << 10;
/// Records of a dropped segment that are accounted for in one go.
const DROP_BATCH: usize = 1_000;

/// The segment being appended to. It begins with the first write, so that there are no empty ones.
#[derive(Default)]
pub struct Writer {
    file: Option<File>,
    /// Of the segment being written, or the last one that was: its first number, and the one after its last record.
    pub first: Sequence,
    pub end: Sequence,
    /// Durable bytes.
    bytes: u64,
    /// How many there may be.
    max: u64,
    buffer: Vec<u8>,
}

impl Inner {
    /// Writes what is queued. The lock is given up meanwhile; nobody else writes, as only the spool's own thread does.
    pub(super) fn write_queue<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        (state.writing, state.progress_at) = (true, Instant::now());
        let mut group = std::mem::take(&mut state.queue);
        drop(state);

        let outcome = {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            self.write(&mut writer, &mut group)
        };

        let mut state = self.lock();
        state.writing = false;
        if state.hung_logged_at.take().is_some() {
            log::info!(waiting = state.unwritten(); "the spool's disk answers again");
        }
        // What could not be written goes first again, without what was sent from memory before.
        while let Some(queued) = group.pop_back() {
            state.queue.push_front(queued);
        }
        match outcome {
            Ok(()) => {
                // Also where the last ones were sent from memory before.
                state.durable = state.queue.front().map_or(state.next_sequence, |queued| queued.sequence);
                if state.trouble.take().is_some() {
                    log::info!(waiting = state.waiting(); "the spool can be written again");
                }
            }
            Err(error) => {
                let now = Instant::now();
                let logged_at = state.trouble.as_ref().map(|trouble| trouble.logged_at);
                let logged_at =
                    logged_at.filter(|logged_at| now < *logged_at + LOG_EVERY).unwrap_or_else(|| {
                        let directory = self.directory.path.display().to_string();
                        log::error!(
                            directory, error = error.to_string(), waiting = state.queue.len();
                            "cannot write the spool: results wait in memory"
                        );
                        now
                    });
                state.trouble = Some(Trouble { retry_at: now + RETRY, logged_at });
                state.last_error = Some(error);
            }
        }
        self.written.notify_all();
        self.filled.notify_all();
        state
    }

    /// Writes `group`, and leaves in it what could not be written.
    fn write(&self, writer: &mut Writer, group: &mut VecDeque<Queued>) -> io::Result<()> {
        let mut freed = 0;
        while let Some(next) = group.front() {
            let wanted = (HEAD + next.payload.len()) as u64;
            if writer.file.is_some() && writer.bytes + wanted > writer.max {
                writer.file = None;
            }
            let (count, bytes) = self.fill(writer, group);
            if !self.make_room(bytes)? {
                self.give_up(group.drain(..count));
                continue;
            }
            let appended = self.append_group(writer, bytes);
            if let Err(error) = appended {
                writer.abandon();
                // No more is let go of than is needed: somebody else may take it all.
                if !is_full(&error) || freed >= bytes + self.reserved_bytes() {
                    return Err(error);
                }
                self.note_full();
                let Some(dropped) = self.drop_oldest(true)? else { return Err(error) };
                freed += dropped;
                continue;
            }
            freed = 0;
            self.publish(writer, group, count);
        }
        Ok(())
    }

    fn note_full(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        if state.full_logged_at.is_none_or(|logged_at| now >= logged_at + LOG_EVERY) {
            state.full_logged_at = Some(now);
            let directory = self.directory.path.display().to_string();
            log::error!(directory, dropped = state.dropped; "the spool's disk is full: dropping the oldest results");
        }
    }

    /// Puts the frames of as many records as go into one write into the buffer: their number and bytes.
    fn fill(&self, writer: &mut Writer, group: &VecDeque<Queued>) -> (usize, u64) {
        let room = match writer.file {
            Some(_) => writer.max.saturating_sub(writer.bytes),
            None => {
                let free = self.directory.free();
                let mut state = self.lock();
                state.room = free.map_or(u64::MAX, |free| free.saturating_add(state.used()));
                writer.max = self.options.segment_size.min((state.room / 16).max(MIN_SEGMENT));
                writer.max
            }
        };
        let room = (room as usize).min(GROUP);
        let mut expected = writer.end;
        writer.buffer.clear();
        if writer.file.is_none()
            && let Some(next) = group.front()
        {
            let header =
                Header { kind: Kind::Records, first: next.sequence, previous: (writer.first, writer.end) };
            writer.buffer.extend_from_slice(&header.encode());
            expected = next.sequence;
        }
        let mut count = 0;
        for queued in group {
            if count > 0 && writer.buffer.len() + HEAD + queued.payload.len() > room {
                break;
            }
            if queued.sequence != expected {
                frame::push(&mut writer.buffer, queued.sequence, &[]);
            }
            frame::push(&mut writer.buffer, queued.sequence, &queued.payload);
            expected = queued.sequence + 1;
            count += 1;
        }
        (count, writer.buffer.len() as u64)
    }

    /// Appends the buffer, to a new segment where none is open; durable when it returns.
    fn append_group(&self, writer: &mut Writer, bytes: u64) -> io::Result<()> {
        match &writer.file {
            Some(file) => {
                file.write_all_at(&writer.buffer, writer.bytes)?;
                file.sync_data()?;
                writer.bytes += bytes;
            }
            None => {
                let first = frame::u64_at(&writer.buffer, 16).unwrap_or_default();
                let path = self.directory.segment(first);
                // One of that number holds nothing durable: this number was never reported written.
                let file = File::options().create(true).truncate(true).write(true).open(&path)?;
                let written = file
                    .write_all_at(&writer.buffer, 0)
                    .and_then(|()| file.sync_data())
                    .and_then(|()| self.directory.sync());
                if let Err(error) = written {
                    let _ = fs::remove_file(&path);
                    return Err(error);
                }
                (writer.file, writer.bytes, writer.first) = (Some(file), bytes, first);
            }
        }
        Ok(())
    }

    /// Makes known what is durable now.
    fn publish(&self, writer: &mut Writer, group: &mut VecDeque<Queued>, count: usize) {
        let mut state = self.lock();
        for queued in group.drain(..count) {
            state.queued_bytes -= queued.payload.len();
            writer.end = queued.sequence + 1;
        }
        let written = Segment { bytes: writer.bytes, end: writer.end, end_known: true, damaged: false };
        let segment = state.segments.entry(writer.first).or_insert(written);
        (segment.bytes, segment.end) = (writer.bytes, writer.end);
        state.durable = group.front().map_or(writer.end, |queued| queued.sequence);
        state.progress_at = Instant::now();
        drop(state);
        self.written.notify_all();
        self.filled.notify_all();
    }

    /// Lets records go that have no room, as gaps.
    fn give_up(&self, records: impl Iterator<Item = Queued>) {
        let mut state = self.lock();
        for queued in records {
            state.queued_bytes -= queued.payload.len();
            state.durable = queued.sequence + 1;
            if queued.sequence < state.read.next {
                continue; // It was sent from memory, or is being.
            }
            if let Ok(record) = Record::decode(&queued.payload) {
                state.give_up(record, GapReason::OutboxFull);
            }
        }
    }

    /// Drops the oldest segments until `bytes` more fit in. False when none may be dropped.
    fn make_room(&self, bytes: u64) -> io::Result<bool> {
        loop {
            let state = self.lock();
            if state.victim.is_none() && state.used() + bytes <= self.options.budget() {
                return Ok(true);
            }
            drop(state);
            if self.drop_oldest(false)?.is_none() {
                return Ok(false);
            }
        }
    }

    /// Turns the records of the oldest segment that is not being sent from into gaps, and deletes it: its size, or `None`
    /// where there is none. The newest one counts only where `newest_too` says that nobody appends to it.
    fn drop_oldest(&self, newest_too: bool) -> io::Result<Option<u64>> {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // The file of gaps must have all of this segment's, or none of them.
        let mut reserved = self.gap_file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        if state.victim.is_none() {
            let newest = state.segments.keys().next_back().copied();
            let droppable = state.segments.iter().find(|(first, segment)| {
                (newest_too || Some(**first) != newest)
                    && state.open.range(**first..segment.end.max(**first)).next().is_none()
            });
            let Some((&first, segment)) = droppable else { return Ok(None) };
            let read = state.read;
            let (offset, next) = if read.segment == first {
                (read.offset, read.next)
            } else {
                (HEADER as u64, first.max(read.next))
            };
            let (mut frames, mut damage) = (None, Damage::default());
            if next < segment.end {
                let end = segment.end_known.then_some(segment.end);
                match File::open(self.directory.segment(first)) {
                    Ok(file) => frames = Some(Frames::new(file, offset, segment.bytes, first, next, end)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        damage.records = segment.end - next;
                    }
                    Err(error) => return Err(error),
                }
            }
            // From here on nobody reads it but us.
            let Some(segment) = state.segments.remove(&first) else { return Ok(None) };
            if read.segment == first {
                state.read.next = next.max(segment.end);
            }
            drop(state);
            if let Some(mut frames) = frames {
                while self.drop_some(&mut frames) {}
                damage = frames.take_damage();
            }
            state = self.lock();
            state.count_damage(first, damage);
            state.gap_changes += 1;
            let damaged = segment.damaged || !damage.is_none();
            state.victim = Some(Victim { first, size: segment.size(), damaged });
        }
        drop(state);
        drop(reading);

        self.write_gaps_locked(&mut reserved)?;
        let mut state = self.lock();
        // The file still names it.
        state.gaps_stale = true;
        let Some(victim) = state.victim.take() else { return Ok(Some(0)) };
        drop(state);
        self.remove_segment(victim.first, victim.damaged);
        // Before somebody else has it.
        self.reserve_locked(&mut reserved);
        Ok(Some(victim.size))
    }

    /// Turns the next records of `frames` into gaps; false at the end.
    fn drop_some(&self, frames: &mut Frames) -> bool {
        let mut records = Vec::with_capacity(DROP_BATCH);
        let mut ended = false;
        while records.len() < DROP_BATCH && !ended {
            match frames.next() {
                Some(frame) => records.extend(Record::decode(frame.payload).ok()),
                None => ended = true,
            }
        }
        let mut state = self.lock();
        for record in records {
            state.give_up(record, GapReason::OutboxFull);
        }
        !ended
    }
}

impl Writer {
    /// Ends the segment where it is durable. What a failed write left behind it is cut off where that is possible,
    /// and otherwise passed over: the next segment's header says where this one ended.
    fn abandon(&mut self) {
        if let Some(file) = self.file.take() {
            let _ = file.set_len(self.bytes);
        }
    }
}
