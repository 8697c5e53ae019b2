//! What goes wrong with the queue, and what goes wrong within a job.

use std::error::Error;
use std::fmt;

use crate::database::DatabaseError;
use crate::text::truncated;

/// The longest error kept of a job, in bytes.
pub const MAX_ERROR: usize = 2_000;

/// Why the queue cannot do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// What is asked for is out of its range.
    #[error("{0}")]
    Invalid(String),
    /// A job that ended cannot wait again: another one of its kind and key does.
    #[error("job {id} cannot be tried again: another one of its kind and key waits already")]
    KeyWaits {
        /// The job.
        id: i64,
    },
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Why a job failed: any error, by `?`. It is tried again after a pause until its attempts are used up, unless
/// [`JobError::discard`] says that this is of no use.
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
    /// A failure to be tried again.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> JobError {
        JobError { error: error.into(), discard: false }
    }

    /// A failure for good.
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
