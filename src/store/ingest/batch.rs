//! From fetched records to what a transaction stores: decodes them, checks them against the clocks, and keeps one
//! result per identity. Nothing here touches the database.

use std::cmp::Reverse;
use std::ops::Range;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::ids::Ids;
use crate::kafka::Fetched;
use crate::limits::MAX_MESSAGE;
use crate::record::{CheckResult, DecodeError, Gap, GapReason, GapRecord, Record};
use crate::text::truncated;

/// How far ahead an instant may be announced, and so withdrawn: as far ahead as `next_at` may be.
const ANNOUNCED: SignedDuration = SignedDuration::from_secs(i32::MAX as i64);

/// The clocks. One of them may be wrong, so nothing is refused for being too late or too early by one clock alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// The database's.
    pub server: Timestamp,
    /// This program's.
    pub own: Timestamp,
    /// The newest instant that is rolled up into hours, to the hour, if there is one.
    pub newest_stored: Option<Timestamp>,
}

/// The instants that may be stored. A later one becomes a dead letter, an earlier one is expired.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admissible {
    pub oldest: Timestamp,
    pub newest: Timestamp,
}

impl Admissible {
    /// From `max_age` before the earliest of the clocks to `max_ahead` after the latest of them. Retention decides in
    /// the database how old a result may really be.
    pub(crate) fn around(clocks: Clocks, max_age: Duration, max_ahead: Duration) -> Admissible {
        let Clocks { server, own, newest_stored } = clocks;
        let earliest = server.min(own).min(newest_stored.unwrap_or(Timestamp::MAX));
        let latest = server.max(own);
        Admissible {
            oldest: earliest.checked_sub(max_age).unwrap_or(Timestamp::MIN),
            newest: latest.checked_add(max_ahead).unwrap_or(Timestamp::MAX),
        }
    }

    /// The latest instant at which `gap` may begin. Announced instants may be withdrawn before their time, as a changed
    /// schedule does. Any other gap was missed, so it is in the past.
    fn latest(&self, gap: &Gap) -> Timestamp {
        match gap.reason {
            GapReason::Rescheduled => self.newest.checked_add(ANNOUNCED).unwrap_or(Timestamp::MAX),
            _ => self.newest,
        }
    }
}

/// Distinguishes a record from another one at the same offset, in case the topic is recreated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// Milliseconds since the epoch, if the client reports them.
    pub timestamp_ms: Option<i64>,
    /// CRC-32 of key and value.
    pub crc: i64,
}

impl Fingerprint {
    pub(crate) fn of(record: &Fetched<'_>) -> Fingerprint {
        let mut crc = crc32fast::Hasher::new();
        crc.update(record.key.unwrap_or_default());
        crc.update(record.value.unwrap_or_default());
        Fingerprint { timestamp_ms: record.timestamp_ms, crc: crc.finalize().into() }
    }

    /// Whether both can be marks of one record. Not every client reports the timestamp.
    pub(crate) fn fits(self, other: Fingerprint) -> bool {
        let timestamps = self.timestamp_ms.zip(other.timestamp_ms);
        self.crc == other.crc && timestamps.is_none_or(|(a, b)| a == b)
    }
}

/// The records of one partition that one transaction stores, offsets `[from, to)`.
pub(crate) struct Batch {
    pub partition: i32,
    pub from: i64,
    pub to: i64,
    pub records: usize,
    pub results: Vec<Row>,
    pub gaps: Vec<GapRow>,
    pub dead: Vec<Letter>,
    pub expired: i64,
    /// Results that another one of the same batch outranks or equals; known after [`Batch::finish`].
    pub duplicate: i64,
    pub unknown_versions: usize,
    /// The record before `to`; none in an empty batch.
    pub last: Option<Fingerprint>,
    /// The oldest instant that may be stored.
    pub oldest: Timestamp,
    /// The raw keys and values of `results` and `gaps`, in case the database refuses one.
    raw: Vec<u8>,
}

/// A result, where it came from, and its place in the database.
pub(crate) struct Row {
    pub result: Box<CheckResult>,
    /// Known after [`Dimensions::resolve`](super::dimensions::Dimensions::resolve).
    pub ids: Ids,
    pub source: Provenance,
}

/// A gap, likewise; it has no version.
pub(crate) struct GapRow {
    pub gap: GapRecord,
    pub ids: Ids,
    pub source: Provenance,
}

/// Where a record came from.
pub(crate) struct Provenance {
    offset: i64,
    timestamp_ms: Option<i64>,
    key: Range<usize>,
    value: Range<usize>,
}

impl Provenance {
    /// When the record was sent to Kafka, if the client can tell.
    pub(crate) fn sent_at(&self) -> Option<Timestamp> {
        timestamp(self.timestamp_ms)
    }
}

/// A record that is not a result.
#[derive(Clone)]
pub(crate) struct Letter {
    pub offset: i64,
    pub at: Option<Timestamp>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub reason: &'static str,
    pub detail: String,
}

impl Letter {
    /// What can still be kept of a letter that the database refuses as it is: everything but the record itself.
    pub(crate) fn stripped(&self, refusal: &str) -> Letter {
        let detail = format!("{}; kept without key and value: {refusal}", truncated(&self.detail, 100));
        Letter { key: None, value: None, detail: truncated(&detail, 300), ..self.clone() }
    }
}

impl Batch {
    pub(crate) fn new(partition: i32, from: i64) -> Batch {
        Batch {
            partition,
            from,
            to: from,
            records: 0,
            results: Vec::new(),
            gaps: Vec::new(),
            dead: Vec::new(),
            expired: 0,
            duplicate: 0,
            unknown_versions: 0,
            last: None,
            oldest: Timestamp::UNIX_EPOCH,
            raw: Vec::new(),
        }
    }

    /// Adds the next record of the partition. A record below the expected offset was stored before, so it is ignored.
    pub(crate) fn add(&mut self, record: Fetched<'_>, window: Admissible) {
        if record.offset < self.to {
            return;
        }
        self.to = record.offset + 1;
        self.records += 1;
        self.last = Some(Fingerprint::of(&record));
        self.oldest = window.oldest;
        match Record::decode(record.value.unwrap_or_default()) {
            Ok(Record::Result(result)) if result.scheduled_at < window.oldest => self.expired += 1,
            Ok(Record::Result(result)) if result.scheduled_at > window.newest => {
                let detail =
                    format!("scheduled_at {} is too far ahead of every clock here", result.scheduled_at);
                self.bury(record, "ahead_of_time", detail);
            }
            Ok(Record::Result(result)) => {
                let source = self.source(record);
                self.results.push(Row { result, ids: Ids::default(), source });
            }
            Ok(Record::Gap(gap)) if gap.gap.end() <= window.oldest => self.expired += 1,
            Ok(Record::Gap(gap)) if gap.gap.from > window.latest(&gap.gap) => {
                let detail = format!("gap.from {} is too far ahead of every clock here", gap.gap.from);
                self.bury(record, "ahead_of_time", detail);
            }
            Ok(Record::Gap(gap)) => {
                let source = self.source(record);
                self.gaps.push(GapRow { gap, ids: Ids::default(), source });
            }
            Err(error) => {
                self.unknown_versions += usize::from(matches!(error, DecodeError::UnknownVersion(_)));
                self.bury(record, error.reason(), error.to_string());
            }
        }
    }

    fn source(&mut self, record: Fetched<'_>) -> Provenance {
        let key = self.keep(record.key.unwrap_or_default());
        let value = self.keep(record.value.unwrap_or_default());
        Provenance { offset: record.offset, timestamp_ms: record.timestamp_ms, key, value }
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.raw.len();
        self.raw.extend_from_slice(bytes);
        start..self.raw.len()
    }

    fn bury(&mut self, record: Fetched<'_>, reason: &'static str, detail: String) {
        self.dead.push(Letter {
            offset: record.offset,
            at: timestamp(record.timestamp_ms),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            reason,
            detail: truncated(&detail, MAX_MESSAGE),
        });
    }

    /// Counts the results of instants before `floor`, and the gaps that end there, as expired.
    pub(crate) fn expire_before(&mut self, floor: Timestamp) {
        let before = self.results.len() + self.gaps.len();
        self.results.retain(|row| row.result.scheduled_at >= floor);
        self.gaps.retain(|row| row.gap.gap.end() > floor);
        self.expired += (before - self.results.len() - self.gaps.len()) as i64;
    }

    /// The dead letter of a record that the database will not store.
    pub(crate) fn refused(&self, source: &Provenance, detail: &str) -> Letter {
        log::warn!(partition = self.partition, offset = source.offset; "the database refuses a record: {detail}");
        Letter {
            offset: source.offset,
            at: timestamp(source.timestamp_ms),
            key: Some(self.raw[source.key.clone()].to_vec()),
            value: Some(self.raw[source.value.clone()].to_vec()),
            reason: "refused",
            detail: truncated(detail, MAX_MESSAGE),
        }
    }

    /// Gives every result and gap the ids that are found for it. If they cannot be found, the record becomes a dead
    /// letter with the reason.
    pub(crate) fn identify(
        &mut self,
        results: &dyn Fn(&Row) -> Result<Ids, String>,
        gaps: &dyn Fn(&GapRow) -> Result<Ids, String>,
    ) {
        for row in std::mem::take(&mut self.results) {
            match results(&row) {
                Ok(ids) => self.results.push(Row { ids, ..row }),
                Err(detail) => {
                    let letter = self.refused(&row.source, &detail);
                    self.dead.push(letter);
                }
            }
        }
        for row in std::mem::take(&mut self.gaps) {
            match gaps(&row) {
                Ok(ids) => self.gaps.push(GapRow { ids, ..row }),
                Err(detail) => {
                    let letter = self.refused(&row.source, &detail);
                    self.dead.push(letter);
                }
            }
        }
    }

    /// Sorts by identity, so that two writers lock in the same order, and keeps only the highest of duplicates. Among
    /// equals the first stays, as it would in the database. Needs the rows' ids. Calling it again changes nothing.
    pub(crate) fn finish(&mut self) {
        let identity = |row: &Row| (row.ids.site, row.ids.location, row.result.scheduled_at);
        self.results.sort_by_key(|row| (identity(row), Reverse(row.result.outcome)));
        let before = self.results.len();
        self.results.dedup_by_key(|row| identity(row));
        self.duplicate += (before - self.results.len()) as i64;
    }
}

/// A record's timestamp, unless it is absent or absurd.
pub(crate) fn timestamp(ms: Option<i64>) -> Option<Timestamp> {
    ms.and_then(|ms| Timestamp::from_millisecond(ms).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A clock that is wrong makes no dead letter and expires nothing, as long as another one is right.
    #[test]
    fn one_wrong_clock_narrows_the_window_nowhere() {
        let now = at("2026-05-01T12:00:00Z");
        let year = 365 * DAY;
        for wrong in [now - 2 * HOUR, now - year, now + year] {
            for (server, own) in [(wrong, now), (now, wrong)] {
                let clocks = Clocks { server, own, newest_stored: Some(now) };
                let window = Admissible::around(clocks, 90 * DAY, HOUR);
                assert!(window.oldest <= now - 90 * DAY && window.newest >= now + HOUR, "{clocks:?}");
            }
        }
        // Both are a year ahead: what is stored tells.
        let clocks = Clocks { server: now + year, own: now + year, newest_stored: Some(now) };
        assert_eq!(Admissible::around(clocks, 90 * DAY, HOUR).oldest, now - 90 * DAY);
        let clocks = Clocks { server: now, own: now, newest_stored: None };
        let window = Admissible::around(clocks, 90 * DAY, HOUR);
        assert_eq!((window.oldest, window.newest), (now - 90 * DAY, now + HOUR));
    }
}
