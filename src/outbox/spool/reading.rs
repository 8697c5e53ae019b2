//! What is on disk, how far it was read, and what of it was offered and is not settled.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::frames::{Damage, Extent};
use super::header::HEADER;
use super::segment::Segment;
use crate::outbox::contract::Sequence;

/// The offset of a segment that was read to its end.
const READ: u64 = u64::MAX;

/// The segments, and the reading of them: forward only.
pub(super) struct Reading {
    /// By their first numbers; what is in them is durable.
    segments: BTreeMap<Sequence, Segment>,
    at: Position,
    /// What was offered to the publisher and is not settled.
    open: BTreeMap<Sequence, Place>,
    /// A segment whose records are gaps already, to be deleted once these are written.
    victim: Option<Victim>,
    /// Bytes that the segments could take when the newest one was begun, as far as the disk goes.
    room: u64,
    damage: Damage,
}

/// Up to where was read.
#[derive(Clone, Copy)]
struct Position {
    segment: Sequence,
    offset: u64,
    /// The next number to read; those below were offered, or are settled.
    next: Sequence,
}

/// Where an open record can be read again.
#[derive(Clone)]
pub(super) enum Place {
    Disk { segment: Sequence, offset: u64, length: usize },
    Memory(Arc<[u8]>),
}

/// A segment that gives way to newer records.
#[derive(Clone, Copy)]
pub(super) struct Victim {
    pub first: Sequence,
    pub segment: Segment,
}

/// What is to be read next, of one segment.
pub(super) struct Portion {
    pub segment: Sequence,
    pub extent: Extent,
    /// The number after its last record, known or not.
    end: Sequence,
    /// The newest segment: it may grow.
    is_newest: bool,
}

/// What reading a [`Portion`] came to.
pub(super) struct Progress {
    pub found: Vec<(Sequence, Place)>,
    /// Where the next frame begins, and its number.
    pub offset: u64,
    pub next: Sequence,
    /// It was read to its end.
    pub ended: bool,
    pub damage: Damage,
}

impl Reading {
    /// Begins with the oldest of `segments`, at the number `from`, or where there are none at `next`.
    pub(super) fn new(segments: BTreeMap<Sequence, Segment>, from: Sequence, next: Sequence) -> Reading {
        let oldest = segments.keys().next().copied().unwrap_or(next);
        let at = Position { segment: oldest, offset: HEADER as u64, next: from.max(oldest) };
        Reading {
            segments,
            at,
            open: BTreeMap::new(),
            victim: None,
            room: u64::MAX,
            damage: Damage::default(),
        }
    }

    /// The next number to read.
    pub(super) fn next(&self) -> Sequence {
        self.at.next
    }

    /// The newest segment has grown, or was begun.
    pub(super) fn appended(&mut self, first: Sequence, bytes: u64, end: Sequence) {
        let segment = Segment { bytes, end, end_known: true, damaged: false };
        let known = self.segments.entry(first).or_insert(segment);
        (known.bytes, known.end) = (bytes, end);
    }

    /// Bytes on disk that count towards the size.
    pub(super) fn used(&self) -> u64 {
        let victim = self.victim.as_ref().map_or(0, |victim| victim.segment.size());
        self.segments.values().map(Segment::size).sum::<u64>() + victim
    }

    /// Takes note of the bytes that are free on the disk: how many the segments can take.
    pub(super) fn set_free(&mut self, free: Option<u64>) -> u64 {
        self.room = free.map_or(u64::MAX, |free| free.saturating_add(self.used()));
        self.room
    }

    /// Whether half of `budget`, or of the disk, is free.
    pub(super) fn is_half_free(&self, budget: u64) -> bool {
        self.used() <= self.room.min(budget) / 2
    }

    /// Records in segments that were not offered yet.
    pub(super) fn unread(&self) -> u64 {
        let from = self.at.next;
        self.segments
            .range(self.at.segment..)
            .map(|(first, segment)| segment.end.saturating_sub(from.max(*first)))
            .sum()
    }

    pub(super) fn has_unread(&self) -> bool {
        self.segments.last_key_value().is_some_and(|(_, segment)| segment.end > self.at.next)
    }

    /// How many were offered and are not settled.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// The oldest that were offered and are not settled, at most `max`.
    pub(super) fn oldest_open(&self, max: usize) -> Vec<(Sequence, Place)> {
        self.open.iter().take(max).map(|(sequence, place)| (*sequence, place.clone())).collect()
    }

    /// Where an open record can be read again.
    pub(super) fn place(&self, sequence: Sequence) -> Option<Place> {
        self.open.get(&sequence).cloned()
    }

    /// Moves on to what is to be read next: in the present segment, or the one after it.
    pub(super) fn enter(&mut self) -> Option<Portion> {
        if !self.has_unread() {
            return None;
        }
        if self.at.offset == READ || !self.segments.contains_key(&self.at.segment) {
            let from = if self.at.offset == READ { self.at.segment + 1 } else { self.at.segment };
            let (first, _) = self.segments.range(from..).next()?;
            self.at = Position { segment: *first, offset: HEADER as u64, next: self.at.next.max(*first) };
        }
        let Position { segment: first, offset, next } = self.at;
        let segment = self.segments.get(&first)?;
        let extent = segment.extent(first, offset, next);
        let is_newest = self.segments.keys().next_back() == Some(&first);
        Some(Portion { segment: first, extent, end: segment.end, is_newest })
    }

    /// Takes note of what was read. Whether there may be more to read.
    pub(super) fn advance(&mut self, portion: &Portion, progress: Progress) -> bool {
        let Progress { found, offset, next, ended, damage } = progress;
        self.open.extend(found);
        (self.at.offset, self.at.next) = (offset, next);
        self.count_damage(portion.segment, damage);
        if ended
            && let Some(segment) = self.segments.get_mut(&portion.segment)
            && !segment.end_known
        {
            (segment.end, segment.end_known) = (next, true);
        }
        if ended && !portion.is_newest {
            // The next round enters the segment after this one.
            self.at.offset = READ;
        }
        !ended || !portion.is_newest
    }

    /// The segment of `portion` is gone: its records are counted as damaged.
    pub(super) fn lost(&mut self, portion: &Portion) {
        log::error!(segment = portion.segment; "a segment of the spool is gone");
        self.damage.records += portion.end.saturating_sub(self.at.next);
        self.segments.remove(&portion.segment);
        self.at.next = self.at.next.max(portion.end);
    }

    /// Takes note of what is sent from memory, behind all that is on disk.
    pub(super) fn offered_from_memory(&mut self, offered: Vec<(Sequence, Place)>) {
        if let Some((sequence, _)) = offered.last() {
            self.at.next = sequence + 1;
        }
        self.open.extend(offered);
    }

    /// An open record is settled: where it was.
    pub(super) fn settle(&mut self, sequence: Sequence) -> Option<Place> {
        self.open.remove(&sequence)
    }

    /// An open record lies no more where it was read before.
    pub(super) fn open_is_damaged(&mut self, sequence: Sequence) {
        if let Some(Place::Disk { segment, .. }) = self.open.remove(&sequence) {
            self.count_damage(segment, Damage { bytes: 0, records: 1 });
        }
    }

    /// Below this number everything is settled.
    pub(super) fn settled(&self) -> Sequence {
        let read = self.at.next;
        self.open.keys().next().map_or(read, |oldest| read.min(*oldest))
    }

    /// The segments that were read and have no open record, but for the last one: it is appended to, or its end is
    /// to be known by the one after it.
    pub(super) fn settled_segments(&self) -> Vec<Sequence> {
        let firsts: Vec<Sequence> = self.segments.keys().copied().collect();
        let read = |first| first < self.at.segment || (first == self.at.segment && self.at.offset == READ);
        firsts
            .windows(2)
            .filter(|pair| read(pair[0]) && self.open.range(pair[0]..pair[1]).next().is_none())
            .map(|pair| pair[0])
            .collect()
    }

    /// Removes a segment that is settled; none where a full spool has dropped it meanwhile.
    pub(super) fn remove(&mut self, first: Sequence) -> Option<Segment> {
        self.segments.remove(&first)
    }

    /// The oldest segment that nothing is being sent from, and what of it was not read. The newest one counts only where
    /// `newest_too` says that nobody appends to it.
    pub(super) fn droppable(&self, newest_too: bool) -> Option<(Victim, Extent)> {
        let newest = self.segments.keys().next_back().copied();
        let (&first, &segment) = self.segments.iter().find(|(first, segment)| {
            (newest_too || Some(**first) != newest)
                && self.open.range(**first..segment.end.max(**first)).next().is_none()
        })?;
        let (offset, expected) = if self.at.segment == first {
            (self.at.offset, self.at.next)
        } else {
            (HEADER as u64, first.max(self.at.next))
        };
        let extent = segment.extent(first, offset, expected);
        Some((Victim { first, segment }, extent))
    }

    /// From here on nobody reads the victim but who drops it. False where it was settled meanwhile.
    pub(super) fn drop_segment(&mut self, victim: &Victim, extent: &Extent) -> bool {
        if self.segments.remove(&victim.first).is_none() {
            return false;
        }
        if self.at.segment == victim.first {
            self.at.next = extent.expected.max(victim.segment.end);
        }
        true
    }

    /// The victim's records are gaps: it waits to be deleted.
    pub(super) fn set_victim(&mut self, mut victim: Victim, damage: Damage) {
        self.count_damage(victim.first, damage);
        victim.segment.damaged |= !damage.is_none();
        self.victim = Some(victim);
    }

    pub(super) fn victim(&self) -> Option<Victim> {
        self.victim
    }

    pub(super) fn take_victim(&mut self) -> Option<Victim> {
        self.victim.take()
    }

    pub(super) fn count_damage(&mut self, segment: Sequence, damage: Damage) {
        if damage.is_none() {
            return;
        }
        log::error!(segment, bytes = damage.bytes, records = damage.records; "a segment of the spool is damaged");
        self.damage.bytes += damage.bytes;
        self.damage.records += damage.records;
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.damaged = true;
        }
    }

    /// Records that could not be read any more.
    pub(super) fn damaged(&self) -> u64 {
        self.damage.records
    }
}
