//! An outbox on disk: what was appended survives a Kafka outage, a restart and `kill -9`.
//!
//! ```text
//! spool/
//!   lock                          held by the one checker that uses the directory
//!   00000000000000000000.seg      records, in files named by their first number; the last one is appended to
//!   00000000000000041873.seg
//!   cursor                        below this number everything is settled; may lag
//!   gaps                          gaps that wait: for records dropped from a full spool, or refused for good
//!   rejected, rejected.old        records that Kafka refuses for good, with its reason
//!   watermarks                    how far each site's instants are accounted for
//!   00000000000000000000.damaged  a segment of which not all could be read
//! ```
//!
//! **Appending.** Whoever appends puts the record into the queue and waits until it is durable. The spool's own thread
//! writes what is in the queue by then, all of it with one `fdatasync`, while others go on queueing: the more there are,
//! the larger the group. Only what is durable is ever sent.
//!
//! **Reading** is forward only, in chunks: memory does not depend on how much waits. What was read and not yet
//! acknowledged is remembered by its place, and read again when it has to be sent again.
//!
//! **Settling.** Reports come for each record, in any order. A segment without an open record is deleted; the
//! cursor stands at the oldest open record. After a crash some are sent again, which the store absorbs.
//!
//! **A full spool** gives up its oldest segment that is not being sent from. Its records become gaps, which are
//! durable before the segment is deleted. Gaps are sent when half of the spool is free again or nothing else waits;
//! until then neighbours merge. One that was offered once never changes again.
//!
//! **A full disk** is a full spool, whatever `max_size` says. The gaps go to room that was kept for them (`gaps.new`)
//! while there was some. On a small disk segments are small, so that little is given up at once.
//!
//! **A failing disk.** After an error the segment is left as it is durable, and the next try begins a new one: what
//! an `fdatasync` failed on must not be taken for written by the next one. Until then records wait in memory and are
//! sent from there; beyond [`SpoolOptions::max_memory`] they become gaps.
//!
//! **A hung disk** holds up nobody who appends for longer than [`SpoolOptions::patience`]: then it counts as failing,
//! which is logged, until a write returns.

mod cursor;
mod directory;
mod error;
mod frame;
mod gap_file;
mod inspect;
mod reader;
mod recovery;
mod rejected;
mod segment;
mod settle;
mod watermarks;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::cursor::Cursor;
use self::directory::{Directory, Lock};
pub use self::error::SpoolError;
pub use self::inspect::{Inspector, Status};
use self::rejected::Rejected;
use self::segment::Damage;
pub use self::watermarks::{MAX_WATERMARKS, Watermark, Watermarks};
use self::writer::Writer;
use super::gaps::Gaps;
use super::{Outbox, Sequence};
use crate::limits::MAX_RECORD;
use crate::record::{GapReason, GapRecord, Record};
use crate::watched::Watched;

/// The smallest `max_size`.
pub const MIN_SIZE: u64 = 1 << 20;
/// Gaps beyond which strangers merge: a site has one in any case.
const MAX_GAPS: usize = 100_000;
/// Numbers of gaps being sent; records never come that far.
const FIRST_GAP: Sequence = 1 << 63;
/// How often the spool's own thread writes down what may lag.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How long after an error the disk is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often a lasting trouble is logged.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Room on the disk kept for the file of gaps: at least so much, and so much for each site and gap.
const RESERVE: u64 = 64 << 10;
const RESERVE_EACH: u64 = 512;

/// Where a spool lies and how large it may become.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// The directory, made where there is none. On a local file system: the lock and `fdatasync` must mean
    /// something.
    pub directory: PathBuf,
    /// The most bytes that the segments take, about: seven eighths for what waits, the rest for what was rejected
    /// or damaged. At least [`MIN_SIZE`]. Gaps, the room kept for them, and watermarks, some 1 kB a site, come on top.
    /// A small one drops results in a long outage; 1,000 sites checked every minute take about 0.7 GB a day.
    pub max_size: u64,
    /// Bytes of one segment: what a full spool drops at once. By default a sixteenth of `max_size`, at most 32 MiB. They
    /// are smaller where they would exceed a sixteenth of the disk.
    pub segment_size: u64,
    /// The most bytes of records that wait in memory while the disk fails. 16 MiB unless told.
    pub max_memory: usize,
    /// How long whoever appends waits for the disk before it counts as failing. 10 s unless told.
    pub patience: Duration,
}

impl SpoolOptions {
    /// The defaults for a spool in `directory` of at most `max_size` bytes.
    pub fn new(directory: impl Into<PathBuf>, max_size: u64) -> SpoolOptions {
        let max_size = max_size.max(MIN_SIZE);
        SpoolOptions {
            directory: directory.into(),
            max_size,
            segment_size: (max_size / 16).min(32 << 20),
            max_memory: 16 << 20,
            patience: Duration::from_secs(10),
        }
    }

    fn budget(&self) -> u64 {
        self.max_size / 8 * 7
    }

    fn max_aside(&self) -> u64 {
        self.max_size / 16
    }
}

/// An [`Outbox`] on disk. Dropping it [closes](Spool::close) it.
///
/// ```
/// use std::time::Duration;
/// use webmon::outbox::spool::{Spool, SpoolOptions};
/// use webmon::outbox::Outbox;
/// # use webmon::record::Record;
/// # let directory = tempfile::tempdir()?;
/// # let record = Record::decode(br#"{"v":1,"site":"shop","name":"Shop","location":"berlin-1","checker":"host-a",
/// #     "url":"https://shop.example/","method":"GET","scheduled_at":"2026-03-01T12:00:00Z",
/// #     "next_at":"2026-03-01T12:01:00Z","outcome":"success","http_status":200}"#)?;
///
/// let options = SpoolOptions::new(directory.path().join("spool"), 1 << 30);
/// let spool = Spool::open(options.clone())?;
/// spool.append(record.clone()); // returns when it is on disk
/// spool.close()?;
/// drop(spool);
///
/// let spool = Spool::open(options)?;
/// let batch = spool.peek(1_000, Duration::ZERO);
/// assert_eq!(batch[0].1, record);
/// spool.acknowledge(&[batch[0].0]);
/// assert!(spool.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Spool {
    inner: Arc<Inner>,
    thread: Watched,
}

/// What the appenders, the publisher and the spool's own thread share. Locks are taken in this order: `settling` or
/// `writer`, `reading`, `gap_file`, `state`; `rejected` last. None but `state` is needed to append to the queue.
struct Inner {
    options: SpoolOptions,
    directory: Directory,
    state: Mutex<State>,
    /// The state of the disk has changed, for better or worse.
    written: Condvar,
    /// There is something to send.
    filled: Condvar,
    /// There is something for the spool's own thread.
    work: Condvar,
    writer: Mutex<Writer>,
    /// The right to move `State::read`.
    reading: Mutex<()>,
    settling: Mutex<Cursor>,
    /// The right to write the file of gaps, and for how many bytes of it there is room for certain.
    gap_file: Mutex<u64>,
    rejected: Mutex<Rejected>,
    watermarks: Watermarks,
    _lock: Lock,
}

struct State {
    /// By their first numbers; what is in them is durable.
    segments: BTreeMap<Sequence, Segment>,
    next_sequence: Sequence,
    /// Records that are not on disk yet, in order. Those that `writing` took are not among them.
    queue: VecDeque<Queued>,
    /// Bytes of records not on disk, those being written included.
    queued_bytes: usize,
    /// The queue is being written.
    writing: bool,
    /// When something became durable last, or began to wait for it.
    progress_at: Instant,
    /// Below this number everything is on disk, settled, or a gap.
    durable: Sequence,
    trouble: Option<Trouble>,
    /// When it was logged last that the disk does not answer.
    hung_logged_at: Option<Instant>,
    /// Bytes that the segments could take when the newest one was begun, as far as the disk goes.
    room: u64,
    /// When it was logged last that the disk is full.
    full_logged_at: Option<Instant>,
    /// What the system said last, of whatever could not be written.
    last_error: Option<io::Error>,
    /// What was offered to the publisher and is not settled.
    open: BTreeMap<Sequence, Place>,
    read: Position,
    gaps: Gaps,
    /// Gaps that do not change any more: read from the file, or once offered.
    closed_gaps: VecDeque<GapRecord>,
    open_gaps: BTreeMap<Sequence, GapRecord>,
    next_gap: Sequence,
    /// Counts what was done to the gaps that must be durable before anything is settled, and how far it is.
    gap_changes: u64,
    gap_changes_written: u64,
    /// The file of gaps has some that were delivered.
    gaps_stale: bool,
    /// A segment whose records are gaps already, to be deleted once these are written.
    victim: Option<Victim>,
    dropped: u64,
    damaged: Damage,
    /// Something was rejected or acknowledged since the last settling.
    unsettled: bool,
    settling_logged_at: Option<Instant>,
    closing: bool,
    closed: bool,
}

struct Segment {
    /// Readable bytes.
    bytes: u64,
    /// The number after its last record; a guess where `end_known` is not set.
    end: Sequence,
    end_known: bool,
    damaged: bool,
}

impl Segment {
    /// What it takes on disk.
    fn size(&self) -> u64 {
        self.bytes.next_multiple_of(4_096)
    }
}

struct Victim {
    first: Sequence,
    size: u64,
    damaged: bool,
}

struct Queued {
    sequence: Sequence,
    payload: Vec<u8>,
}

struct Trouble {
    retry_at: Instant,
    logged_at: Instant,
}

/// Where an open record can be read again.
#[derive(Clone)]
enum Place {
    Disk { segment: Sequence, offset: u64, length: usize },
    Memory(Arc<[u8]>),
}

/// Up to where was read.
#[derive(Clone, Copy)]
struct Position {
    segment: Sequence,
    offset: u64,
    /// The next number to read; those below were offered, or are settled.
    next: Sequence,
}

impl Spool {
    /// Opens the spool, or makes one. A torn end is cut off; what else is damaged is found while it is read.
    ///
    /// # Errors
    /// [`SpoolError`]: another checker has it, another version wrote it, or the system refuses.
    pub fn open(options: SpoolOptions) -> Result<Spool, SpoolError> {
        let inner = Arc::new(Inner::open(options)?);
        inner.reserve();
        let own = Arc::clone(&inner);
        let thread = Watched::spawn("spool", move || own.keep_house())
            .map_err(SpoolError::io("start a thread for the spool in", &inner.directory.path))?;
        Ok(Spool { inner, thread })
    }

    /// How far each site's instants are accounted for.
    ///
    /// # For whoever backfills
    /// At the start [`load`](Watermarks::load) tells, for each site and location, the newest instant that needs
    /// nothing; those after it up to now have no result, or one that waits in this spool and outranks a backfilled
    /// one. Append what is missing, as results or gaps, and then [`note`](Watermarks::note) the last instant of it.
    /// From then on `note` whenever the oldest open instant of a site has been appended: not the newest instant
    /// appended, but the one up to which none is missing.
    ///
    /// A note never overtakes its records: it is written after everything that the spool had taken by then is
    /// durable, and as long as the disk fails, not at all.
    pub fn watermarks(&self) -> &Watermarks {
        &self.inner.watermarks
    }

    /// Returns when everything taken so far is on disk, or the disk fails. False then.
    pub fn flush(&self) -> bool {
        self.inner.flush()
    }

    /// Writes down what waits in memory, and ends. To be called when nothing is appended or sent any more. It takes no
    /// longer than twice the [patience](SpoolOptions::patience), whatever the disk does.
    ///
    /// # Errors
    /// [`SpoolError::Unwritten`], where something could not be written; [`SpoolError::Panicked`].
    pub fn close(&self) -> Result<(), SpoolError> {
        let inner = &self.inner;
        {
            let mut state = inner.lock();
            (state.closing, state.closed) = (true, true);
        }
        inner.work.notify_all();
        let ended = self.thread.join_within(inner.options.patience * 2);
        if let Some(Err(panicked)) = ended {
            return Err(panicked.into());
        }
        let mut state = inner.lock();
        let (results, gaps) = (state.unwritten(), if state.lacks_gaps() { state.gaps.len() } else { 0 });
        if ended.is_some() && results + gaps == 0 {
            return Ok(());
        }
        let source = state.last_error.take().unwrap_or_else(|| no_answer(inner.options.patience));
        Err(SpoolError::Unwritten { directory: inner.directory.path.clone(), results, gaps, source })
    }

    /// Whether the spool's own thread still works: once it does not, close the spool and end the program.
    pub fn is_running(&self) -> bool {
        self.thread.is_running()
    }

    /// Records that could not be read any more, since the spool was opened.
    pub fn damaged(&self) -> u64 {
        self.inner.lock().damaged.records
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.inner.directory.path
    }
}

impl Outbox for Spool {
    /// Takes a record and returns when it is on disk. While the disk fails or hangs it returns at once: the record then
    /// waits in memory, or is part of a gap where that is full.
    fn append(&self, record: Record) {
        self.inner.append(&[record], true);
    }

    fn append_all(&self, records: Vec<Record>) {
        self.inner.append(&records, true);
    }

    fn enqueue(&self, record: Record) {
        self.inner.append(&[record], false);
    }

    fn peek(&self, max: usize, wait: Duration) -> Vec<(Sequence, Record)> {
        self.inner.peek(max, wait)
    }

    fn acknowledge(&self, sequences: &[Sequence]) {
        self.inner.acknowledge(sequences);
    }

    fn reject(&self, sequence: Sequence, reason: &str) {
        self.inner.reject(sequence, reason);
    }

    /// How many records wait; an estimate where segments are damaged.
    fn len(&self) -> usize {
        self.inner.lock().waiting()
    }

    fn dropped(&self) -> u64 {
        self.inner.lock().dropped
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let closed = self.inner.lock().closed;
        if !closed && let Err(error) = self.close() {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            log::error!(source; "{error}");
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Encodes outside the lock and leaves the records to the caller, so that they are not freed under it either.
    fn append(&self, records: &[Record], durable: bool) {
        let payloads: Vec<Vec<u8>> = records.iter().map(Record::encode).collect();
        let mut state = self.lock();
        for (record, payload) in records.iter().zip(payloads) {
            let too_large = payload.len() > MAX_RECORD || payload.is_empty();
            let no_room = (state.trouble.is_some() || self.hangs(&mut state))
                && state.queued_bytes + payload.len() > self.options.max_memory;
            if too_large || no_room {
                if too_large {
                    log::error!(site = record.key(), bytes = payload.len(); "a record is too large for the spool");
                }
                let reason = if too_large { GapReason::Refused } else { GapReason::OutboxFull };
                state.give_up(record.clone(), reason);
                continue;
            }
            if state.unwritten() == 0 {
                state.progress_at = Instant::now();
            }
            let sequence = state.next_sequence;
            state.next_sequence += 1;
            state.queued_bytes += payload.len();
            state.queue.push_back(Queued { sequence, payload });
        }
        self.work.notify_one();
        if durable || state.queued_bytes > self.options.max_memory {
            let target = state.next_sequence;
            drop(self.wait_durable(state, target));
        }
    }

    fn flush(&self) -> bool {
        let state = self.lock();
        let target = state.next_sequence;
        let state = self.wait_durable(state, target);
        state.durable >= target
    }

    /// Waits until all below `target` is durable, or the disk fails.
    fn wait_durable<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        target: Sequence,
    ) -> MutexGuard<'a, State> {
        while state.durable < target && !state.rests() && !self.hangs(&mut state) {
            let patience = self.options.patience / 4;
            state = self.written.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    /// Whether the disk takes longer than it may, which is logged.
    fn hangs(&self, state: &mut State) -> bool {
        let waited = state.progress_at.elapsed();
        let failing = state.trouble.is_some() && !state.writing;
        if failing || state.unwritten() == 0 || waited < self.options.patience {
            return false;
        }
        let now = Instant::now();
        if state.hung_logged_at.is_none_or(|logged_at| now >= logged_at + LOG_EVERY) {
            state.hung_logged_at = Some(now);
            let directory = self.directory.path.display().to_string();
            log::error!(
                directory, seconds = waited.as_secs(), waiting = state.unwritten();
                "the spool's disk does not answer: results wait in memory, and are lost if the program ends"
            );
        }
        true
    }

    /// The spool's own thread: writes what is queued, tries a failing disk again, and writes down what may lag.
    fn keep_house(&self) {
        let mut next = Instant::now() + HOUSEKEEPING;
        let mut state = self.lock();
        loop {
            let closing = state.closing;
            if !state.queue.is_empty() && (closing || !state.rests()) {
                state = self.write_queue(state);
            }
            if closing || Instant::now() >= next {
                drop(state);
                self.settle();
                self.write_watermarks();
                self.reserve();
                if closing {
                    return;
                }
                next = Instant::now() + HOUSEKEEPING;
                state = self.lock();
                continue;
            }
            if (state.queue.is_empty() || state.rests()) && !state.closing {
                let left = next.saturating_duration_since(Instant::now());
                state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    fn write_watermarks(&self) {
        let Some(changes) = self.watermarks.take() else { return };
        // Everything noted had been appended before, so that its records are below this number. Those that were
        // given up instead count once the file of gaps has them.
        let mut state = self.lock();
        let target = state.next_sequence;
        while state.durable < target && !state.rests() {
            state = self.write_queue(state);
        }
        let lacking = state.durable < target || state.lacks_gaps();
        drop(state);
        if lacking {
            return self.watermarks.give_back(changes);
        }
        if let Err(error) = self.watermarks.write(changes)
            && self.lock().log_settling()
        {
            log::warn!(error = error.to_string(); "cannot write the spool's watermarks, trying again");
        }
    }
}

fn no_answer(patience: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the disk has not answered for {} s", patience.as_secs()))
}

impl State {
    /// Whether the disk failed a moment ago and is not to be tried now.
    fn rests(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| Instant::now() < trouble.retry_at)
    }

    /// Accounts for a result that gets no place.
    fn give_up(&mut self, record: Record, reason: GapReason) {
        if reason == GapReason::OutboxFull && matches!(record, Record::Result(_)) {
            self.dropped += 1;
            if self.dropped == 1 || self.dropped.is_multiple_of(10_000) {
                log::error!(dropped = self.dropped; "the spool is full: dropping results");
            }
        }
        self.gaps.cover(record, reason);
        self.gap_changes += 1;
    }

    /// Whether the file of gaps lacks some.
    fn lacks_gaps(&self) -> bool {
        self.gap_changes != self.gap_changes_written
    }

    /// Records in segments that were not offered yet.
    fn unread(&self) -> u64 {
        let from = self.read.next;
        self.segments
            .range(self.read.segment..)
            .map(|(first, segment)| segment.end.saturating_sub(from.max(*first)))
            .sum()
    }

    fn waiting(&self) -> usize {
        let next = self.read.next;
        // What is being written is in no list; it lies between the durable and the queue.
        let queue_from = self.queue.front().map_or(self.next_sequence, |queued| queued.sequence);
        let writing = if self.writing { queue_from.saturating_sub(self.durable.max(next)) } else { 0 };
        let queued = self.queue.iter().rev().take_while(|queued| queued.sequence >= next).count();
        (self.unread() + writing) as usize
            + queued
            + self.open.len()
            + self.gaps.len()
            + self.closed_gaps.len()
            + self.open_gaps.len()
    }

    /// Results that are not on disk, and in no gap.
    fn unwritten(&self) -> usize {
        let queue_from = self.queue.front().map_or(self.next_sequence, |queued| queued.sequence);
        let writing = if self.writing { queue_from.saturating_sub(self.durable) } else { 0 };
        writing as usize + self.queue.len()
    }

    /// Bytes on disk that count towards the size.
    fn used(&self) -> u64 {
        let victim = self.victim.as_ref().map_or(0, |victim| victim.size);
        self.segments.values().map(Segment::size).sum::<u64>() + victim
    }

    fn has_unread(&self) -> bool {
        self.segments.last_key_value().is_some_and(|(_, segment)| segment.end > self.read.next)
    }

    fn has_gaps(&self) -> bool {
        self.gaps.len() + self.closed_gaps.len() > 0
    }
}
