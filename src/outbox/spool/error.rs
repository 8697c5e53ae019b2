//! Why there is no spool.

use std::io;
use std::path::{Path, PathBuf};

/// What keeps a spool from being opened or read. What goes wrong later is retried and logged, not returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// Another process has it open.
    #[error("spool {directory:?} is in use by another checker: give each its own check.spool.dir")]
    Locked {
        /// The spool's directory.
        directory: PathBuf,
    },
    /// A file was written by another version of webmon.
    #[error(
        "spool file {path:?} has format version {found}: expected {expected}; use the webmon that wrote it, or move the file away"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version it states.
        found: u32,
        /// The version this library reads and writes.
        expected: u32,
    },
    /// The system refuses.
    #[error("cannot {doing} {path:?}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SpoolError {
    pub(super) fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> SpoolError + 'a {
        move |source| SpoolError::Io { doing, path: path.to_owned(), source }
    }
}
