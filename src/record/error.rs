//! Why a value is not a record.

use super::version::VERSION;
use crate::limits::MAX_RECORD;

/// Why a Kafka value is not a record. Each such value becomes a dead letter; none causes a panic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The record has no value (a tombstone).
    #[error("the record has no value")]
    Empty,
    /// Larger than [`MAX_RECORD`].
    #[error("{0} bytes are more than a record may have ({MAX_RECORD})")]
    TooLarge(usize),
    /// Not JSON, or not the JSON of a record.
    #[error("not a record: {0}")]
    Malformed(String),
    /// A version that this library does not know: the checkers were upgraded first.
    #[error("unknown record version {0}: expected {VERSION}")]
    UnknownVersion(u64),
    /// Well-formed, but a field is out of its range or contradicts another.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl DecodeError {
    /// A low-cardinality word for the fault, stored with the dead letter.
    pub fn reason(&self) -> &'static str {
        match self {
            DecodeError::Empty => "empty",
            DecodeError::TooLarge(_) => "too_large",
            DecodeError::Malformed(_) => "malformed",
            DecodeError::UnknownVersion(_) => "unknown_version",
            DecodeError::Invalid { .. } => "invalid",
        }
    }
}
