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
//! **Appending.** A thread that appends puts the record into the queue and waits until it is durable. The spool's own
//! thread writes what is in the queue by then, all of it with one `fdatasync`, while others go on queueing: the more
//! there are, the larger the group. Only what is durable is ever sent.
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

mod append;
mod contents;
mod cursor;
mod directory;
mod disk;
mod error;
mod found;
mod frame;
mod frames;
mod gap_book;
mod gap_file;
mod header;
mod house;
mod inspect;
mod options;
mod peek;
mod queue;
mod reading;
mod recovery;
mod rejected;
mod room;
mod segment;
mod seldom;
mod settle;
mod shared;
mod watermark_file;
mod watermark_log;
mod writer;
mod writing;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use self::disk::{Access, Disk, DiskFile, SystemDisk};
pub use self::error::SpoolError;
use self::house::House;
pub use self::inspect::{Inspector, Status};
pub use self::options::{MIN_SIZE, SpoolOptions};
use self::shared::Shared;
pub use self::watermark_log::{MAX_WATERMARKS, WatermarkLog};
use super::contract::{Outbox, Sequence};
use crate::record::Record;
use crate::watched::Watched;

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
    shared: Arc<Shared>,
    thread: Watched,
}

impl Spool {
    /// Opens the spool, or makes one. A torn end is cut off; what else is damaged is found while it is read.
    ///
    /// # Errors
    /// [`SpoolError`]: another checker has it, another version wrote it, or the system refuses.
    pub fn open(options: SpoolOptions) -> Result<Spool, SpoolError> {
        let (shared, writer) = recovery::open(options)?;
        shared.reserve();
        let shared = Arc::new(shared);
        let house = House::new(Arc::clone(&shared), writer);
        let thread = Watched::spawn("spool", move || house.keep())
            .map_err(SpoolError::io("start a thread for the spool in", &shared.directory.path))?;
        Ok(Spool { shared, thread })
    }

    /// How far each site's instants are accounted for.
    ///
    /// # How to backfill
    /// At the start [`load`](WatermarkLog::load) tells, for each site and location, the newest instant that needs
    /// nothing; those after it up to now have no result, or one that waits in this spool and outranks a backfilled
    /// one. Append what is missing, as results or gaps, and then [`note`](WatermarkLog::note) the last instant of it.
    /// From then on `note` whenever the oldest open instant of a site has been appended: not the newest instant
    /// appended, but the one up to which none is missing.
    ///
    /// A note never overtakes its records: it is written after everything that the spool had taken by then is
    /// durable, and as long as the disk fails, not at all.
    pub fn watermarks(&self) -> &WatermarkLog {
        &self.shared.watermarks
    }

    /// Returns when everything taken so far is on disk, or the disk fails. False then.
    pub fn flush(&self) -> bool {
        self.shared.flush()
    }

    /// Writes down what waits in memory, and ends. To be called when nothing is appended or sent any more. It takes no
    /// longer than twice the [patience](SpoolOptions::patience), whatever the disk does.
    ///
    /// # Errors
    /// [`SpoolError::Unwritten`], where something could not be written; [`SpoolError::Panicked`].
    pub fn close(&self) -> Result<(), SpoolError> {
        let Shared { options, directory, contents, .. } = &*self.shared;
        contents.lock().closing = true;
        contents.wake_writer();
        let ended = self.thread.join_within(options.patience * 2);
        if let Some(Err(panicked)) = ended {
            return Err(panicked.into());
        }
        let mut contents = contents.lock();
        let (results, gaps) = (contents.queue.unwritten(), contents.gaps.unwritten());
        if ended.is_some() && results + gaps == 0 {
            return Ok(());
        }
        let source = contents.last_error.take().unwrap_or_else(|| no_answer(options.patience));
        Err(SpoolError::Unwritten { directory: directory.path.clone(), results, gaps, source })
    }

    /// Whether the spool's own thread still works: once it does not, close the spool and end the program.
    pub fn is_running(&self) -> bool {
        self.thread.is_running()
    }

    /// Records that could not be read any more, since the spool was opened.
    pub fn damaged(&self) -> u64 {
        self.shared.lock().reading.damaged()
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.shared.directory.path
    }
}

impl Outbox for Spool {
    /// Takes a record and returns when it is on disk. While the disk fails or hangs it returns at once: the record then
    /// waits in memory, or is part of a gap where that is full.
    fn append(&self, record: Record) {
        self.shared.append(&[record], true);
    }

    fn append_all(&self, records: Vec<Record>) {
        self.shared.append(&records, true);
    }

    fn enqueue(&self, record: Record) {
        self.shared.append(&[record], false);
    }

    fn peek(&self, max: usize, wait: Duration) -> Vec<(Sequence, Record)> {
        self.shared.peek(max, wait)
    }

    fn acknowledge(&self, sequences: &[Sequence]) {
        self.shared.acknowledge(sequences);
    }

    fn reject(&self, sequence: Sequence, reason: &str) {
        self.shared.reject(sequence, reason);
    }

    /// How many records wait; an estimate where segments are damaged.
    fn len(&self) -> usize {
        self.shared.lock().len()
    }

    fn dropped(&self) -> u64 {
        self.shared.lock().gaps.dropped()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let closing = self.shared.lock().closing;
        if !closing && let Err(error) = self.close() {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            log::error!(source; "{error}");
        }
    }
}

fn no_answer(patience: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the disk has not answered for {} s", patience.as_secs()))
}
