//! What those who append, the publisher and the spool's own thread share.

use std::io;
use std::sync::{Mutex, MutexGuard};

use super::contents::{Contents, Locked};
use super::cursor::Cursor;
use super::directory::{Directory, Lock};
use super::gap_file::{GapFile, HeldGapFile};
use super::options::SpoolOptions;
use super::rejected::Rejected;
use super::watermark_log::WatermarkLog;
use crate::outbox::contract::Sequence;

/// Room on the disk kept for the file of gaps: at least so much, and so much for each site and gap.
const RESERVE: u64 = 64 << 10;
const RESERVE_EACH: u64 = 512;

/// The parts of a spool. Locks are taken in this order: `cursor` or `turn`, `gap_file`, `contents`; none but the last is
/// needed to append, and it is never held while the disk is waited for.
pub(super) struct Shared {
    pub options: SpoolOptions,
    pub directory: Directory,
    pub contents: Locked,
    /// The right to move on in [`Contents::reading`].
    pub turn: Mutex<()>,
    pub cursor: Mutex<Cursor>,
    pub gap_file: GapFile,
    pub rejected: Rejected,
    pub watermarks: WatermarkLog,
    pub _held: Lock,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock()
    }

    /// Writes the file of gaps; durable when it returns.
    pub(super) fn write_gaps(&self, file: &mut HeldGapFile<'_>) -> io::Result<()> {
        let mut contents = self.lock();
        let dropping = contents.reading.victim().map(|victim| victim.first);
        let page = contents.gaps.page(dropping);
        drop(contents);
        let written = file.write(&page.bytes);
        self.lock().gaps.wrote(&page, &written);
        written
    }

    /// Keeps room on the disk for the file of gaps, as it would be if each site had one more.
    pub(super) fn reserve(&self) {
        self.gap_file.hold().reserve(self.gap_bytes());
    }

    /// Bytes that the file of gaps may come to.
    pub(super) fn gap_bytes(&self) -> u64 {
        let gaps = self.lock().gaps.len() + self.watermarks.len();
        RESERVE + gaps as u64 * RESERVE_EACH
    }

    /// Deletes a segment, or moves it aside where it is damaged.
    pub(super) fn remove_segment(&self, first: Sequence, damaged: bool) {
        let removed = if damaged {
            self.directory.move_aside(first, self.options.max_aside())
        } else {
            self.directory.remove_segment(first)
        };
        if let Err(error) = removed {
            log::warn!(segment = first, error = error.to_string(); "cannot delete a segment of the spool");
        }
    }
}
