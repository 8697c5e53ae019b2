//! Why there is no monitor.

use std::io;

use crate::check::SetupError;
use crate::schedule::SchedulerError;

/// Why a monitor could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The checks' settings cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The scheduler could not be started.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// The operating system gave no thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}
