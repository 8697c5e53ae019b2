//! How far the spool is settled: a file of two slots, written in turn, so that one always is whole.

use std::io;
use std::sync::Arc;

use super::directory::Directory;
use super::disk::{Access, DiskFile};
use super::frame::{u32_at, u64_at};
use crate::outbox::contract::Sequence;

/// The file's name.
pub(super) const FILE: &str = "cursor";
/// Bytes of a slot, and their distance.
const SLOT: usize = 24;
const MAGIC: u32 = 0x4375_7231;

/// Records below the cursor are settled: acknowledged, rejected, or part of a gap. It may lag behind, and is not
/// synced: records that were settled are then sent again. It never runs ahead, as nothing is sent that is not
/// durable before.
pub(super) struct Cursor {
    file: Arc<dyn DiskFile>,
    turn: u64,
    settled: Sequence,
}

impl Cursor {
    /// Opens the cursor, or makes one that settles nothing.
    pub(super) fn open(directory: &Directory) -> io::Result<Cursor> {
        let file = directory.disk.open(&directory.file(FILE), Access::Create)?;
        if file.size()? < 2 * SLOT as u64 {
            // Its place is taken while there is room: a full disk must not keep what is settled from being deleted.
            file.write_all_at(&[0; SLOT], SLOT as u64)?;
        }
        let (turn, settled) = newest(&*file).unwrap_or_default();
        Ok(Cursor { file, turn, settled })
    }

    /// Where the cursor stands, without touching it.
    pub(super) fn look(directory: &Directory) -> io::Result<Sequence> {
        let file = directory.read(&directory.file(FILE))?;
        Ok(file.and_then(|file| newest(&*file)).unwrap_or_default().1)
    }

    pub(super) fn settled(&self) -> Sequence {
        self.settled
    }

    /// Moves forward to `settled`.
    pub(super) fn advance(&mut self, settled: Sequence) -> io::Result<()> {
        if settled <= self.settled {
            return Ok(());
        }
        let turn = self.turn + 1;
        let mut bytes = [0; SLOT];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..12].copy_from_slice(&turn.to_le_bytes());
        bytes[12..20].copy_from_slice(&settled.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..20]);
        bytes[20..].copy_from_slice(&crc.to_le_bytes());
        self.file.write_all_at(&bytes, (turn % 2) * SLOT as u64)?;
        (self.turn, self.settled) = (turn, settled);
        Ok(())
    }
}

/// The turn and the value of the newer one of the two slots that are whole.
fn newest(file: &dyn DiskFile) -> Option<(u64, Sequence)> {
    let slot = |n: u64| {
        let mut bytes = [0; SLOT];
        file.read_exact_at(&mut bytes, n * SLOT as u64).ok()?;
        let whole = u32_at(&bytes, 0)? == MAGIC && u32_at(&bytes, 20)? == crc32fast::hash(&bytes[..20]);
        if whole { Some((u64_at(&bytes, 4)?, u64_at(&bytes, 12)?)) } else { None }
    };
    slot(0).max(slot(1))
}
