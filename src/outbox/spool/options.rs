//! How a spool is set up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, SystemDisk};

/// The smallest `max_size`.
pub const MIN_SIZE: u64 = 1 << 20;

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
    /// How long a thread that appends waits for the disk before it counts as failing. 10 s unless told.
    pub patience: Duration,
    /// How long after an error the disk is tried again. 1 s unless told.
    pub retry: Duration,
    /// What the files are on. The system's disk unless told; a test may take one that fails.
    pub disk: Arc<dyn Disk>,
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
            retry: Duration::from_secs(1),
            disk: Arc::new(SystemDisk),
        }
    }

    /// Bytes for what waits.
    pub(super) fn budget(&self) -> u64 {
        self.max_size / 8 * 7
    }

    /// Bytes for what was rejected, and for what is damaged.
    pub(super) fn max_aside(&self) -> u64 {
        self.max_size / 16
    }
}
