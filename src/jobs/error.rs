//! Errors of the queue, and errors within a job.

use std::error::Error;
use std::fmt;

use crate::database::DatabaseError;
use crate::text::truncated;

/// The longest error that is kept of a job, in bytes.
pub const MAX_ERROR: usize = 2_000;

/// Why the queue failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// A value is out of its range.
    #[error("{0}")]
    Invalid(String),
    /// A job that ended cannot wait again, because another job of its kind and key is waiting.
    #[error("cannot retry job {id}: another job of its kind and key is waiting already")]
    KeyWaits {
        /// The job.
        id: i64,
    },
    /// The database failed or refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Why a job failed. `?` makes it of any error. The job is tried again after a pause until its attempts are used up,
/// unless [`JobError::discard`] says that trying again is of no use.
///
/// ```
/// use webmon::jobs::JobError;
///
/// fn port(text: &str) -> Result<u16, JobError> {
///     if text.is_empty() {
///         return Err(JobError::discard("there is no port"));
///     }
///     Ok(text.parse()?)
/// }
/// assert_eq!(port("").unwrap_err().to_string(), "there is no port");
/// assert_eq!(port("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
#[derive(Debug)]
pub struct JobError {
    pub(super) error: Box<dyn Error + Send + Sync>,
    pub(super) discard: bool,
}

impl JobError {
    /// A failure after which the job is tried again.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> JobError {
        JobError { error: error.into(), discard: false }
    }

    /// A failure after which the job is discarded.
    pub fn discard(error: impl Into<Box<dyn Error + Send + Sync>>) -> JobError {
        JobError { error: error.into(), discard: true }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for JobError {
    fn from(error: E) -> JobError {
        JobError::new(error)
    }
}

/// The error and its causes on one line, at most [`MAX_ERROR`] bytes of it.
impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.error.to_string();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        // PostgreSQL has no NUL.
        f.write_str(&truncated(&text.replace('\0', "\u{fffd}"), MAX_ERROR))
    }
}
