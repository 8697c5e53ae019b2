//! Making room: the oldest segment gives way, and gaps stand for its records.

use std::io;

use super::frames::{Damage, Extent, Frames};
use super::gap_file::HeldGapFile;
use super::reading::Victim;
use super::shared::Shared;
use crate::mutex::lock;
use crate::record::{GapReason, Record};

/// Records of a dropped segment that are accounted for in one go.
const DROP_BATCH: usize = 1_000;

impl Shared {
    /// Drops the oldest segments until `bytes` more fit in. False when none may be dropped.
    pub(super) fn make_room(&self, bytes: u64) -> io::Result<bool> {
        loop {
            let contents = self.lock();
            let reading = &contents.reading;
            if reading.victim().is_none() && reading.used() + bytes <= self.options.budget() {
                return Ok(true);
            }
            drop(contents);
            if self.drop_oldest(false)?.is_none() {
                return Ok(false);
            }
        }
    }

    /// Turns the records of the oldest segment that is not being sent from into gaps, and deletes it: its size, or `None`
    /// where there is none. The newest one counts only where `newest_too` says that nobody appends to it.
    pub(super) fn drop_oldest(&self, newest_too: bool) -> io::Result<Option<u64>> {
        let turn = lock(&self.turn);
        // The file of gaps must have all of this segment's, or none of them.
        let mut gap_file = self.gap_file.hold();
        let victim = self.lock().reading.victim();
        if victim.is_none() {
            let droppable = self.lock().reading.droppable(newest_too);
            let Some((victim, extent)) = droppable else { return Ok(None) };
            if !self.turn_into_gaps(victim, extent)? {
                return Ok(Some(0));
            }
        }
        drop(turn);
        self.delete_victim(&mut gap_file).map(Some)
    }

    /// Makes gaps of what of a segment was not read. False where it was settled and deleted meanwhile.
    fn turn_into_gaps(&self, victim: Victim, extent: Extent) -> io::Result<bool> {
        let (mut frames, mut damage) = (None, Damage::default());
        if extent.expected < victim.segment.end {
            match self.directory.read(&self.directory.segment(victim.first))? {
                Some(file) => frames = Some(Frames::new(file, extent)),
                None => damage.records = victim.segment.end - extent.expected,
            }
        }
        let mut contents = self.lock();
        if !contents.reading.drop_segment(&victim, &extent) {
            return Ok(false);
        }
        // From here on settling waits until the file has the gaps: the cursor must not pass them before.
        contents.gaps.expect_more();
        drop(contents);
        if let Some(mut frames) = frames {
            while self.cover_some(&mut frames) {}
            damage = frames.take_damage();
        }
        let mut contents = self.lock();
        contents.gaps.expect_more();
        contents.reading.set_victim(victim, damage);
        Ok(true)
    }

    /// Turns the next records of `frames` into gaps; false at the end.
    fn cover_some(&self, frames: &mut Frames) -> bool {
        let mut records = Vec::with_capacity(DROP_BATCH);
        let mut ended = false;
        while records.len() < DROP_BATCH && !ended {
            match frames.next() {
                Some(frame) => records.extend(Record::decode(frame.payload).ok()),
                None => ended = true,
            }
        }
        let mut contents = self.lock();
        for record in records {
            contents.gaps.cover(record, GapReason::OutboxFull);
        }
        !ended
    }

    /// Deletes the segment whose records are gaps, once these are durable: its size.
    fn delete_victim(&self, gap_file: &mut HeldGapFile<'_>) -> io::Result<u64> {
        self.write_gaps(gap_file)?;
        let mut contents = self.lock();
        // The file still names it.
        contents.gaps.set_stale();
        let Some(Victim { first, segment }) = contents.reading.take_victim() else { return Ok(0) };
        drop(contents);
        self.remove_segment(first, segment.damaged);
        // Before another program takes the room.
        gap_file.reserve(self.gap_bytes());
        Ok(segment.size())
    }
}
