//! Why there is no spool.

use std::io;
use std::path::{Path, PathBuf};

use crate::panicked::Panicked;

/// What keeps a spool from being opened, read or closed. What goes wrong in between is retried and logged, not returned.
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
    /// It was closed before everything was on disk. What is missing there the next start records as `checker_down`.
    #[error("cannot write spool {directory:?} to its end: {results} results and {gaps} gaps are lost")]
    Unwritten {
        /// The spool's directory.
        directory: PathBuf,
        /// Results that are not on disk.
        results: usize,
        /// Gaps that stand for results dropped or refused, and are not on disk.
        gaps: usize,
        /// What the system said last.
        source: io::Error,
    },
    /// The spool's own thread came upon a fault of the program's own.
    #[error(transparent)]
    Panicked(#[from] Panicked),
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
