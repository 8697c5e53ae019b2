//! Errors of the storing side, and what to do about each.

use postgres::error::SqlState;

use crate::database::{DatabaseError, Remedy};
use crate::kafka::KafkaError;

/// Why the storing side failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The request is not valid.
    #[error("{0}")]
    Invalid(String),
    /// Kafka failed or refused.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// No writer has seen this partition yet.
    #[error("no writer has seen partition {partition} of topic {topic:?} yet")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: i32,
    },
    /// The replay would skip records that are not stored yet.
    #[error("offset {offset} is ahead of the next offset to store, {next_offset}: a replay can only go back")]
    ReplayAhead {
        /// The offset asked for.
        offset: i64,
        /// The next one to store.
        next_offset: i64,
    },
    /// Retention would delete too much, or the floor cannot be set there.
    #[error("{0}")]
    RetentionRefused(String),
    /// More than half of a partition's recent records have a newer version: the checkers were upgraded first.
    #[error("partition {partition} holds records of an unknown version: upgrade webmon-store")]
    UnknownVersions {
        /// The partition, now paused.
        partition: i32,
    },
    /// The floor of retention is infinite.
    #[error(
        "webmon.retention.floor_at is infinite, so nothing could be stored: set it to a time in the past"
    )]
    InfiniteFloor,
    /// The database holds a value that this program cannot read.
    #[error("{doing}: {problem}")]
    Unreadable {
        /// What was attempted.
        doing: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Rows cannot be encoded for COPY.
    #[error("cannot encode results: {0}")]
    Encode(#[source] Box<dyn std::error::Error + Sync + Send>),
}

impl StoreError {
    /// Pairs the driver's error with what was attempted.
    pub(crate) fn statement(doing: &'static str) -> impl FnOnce(postgres::Error) -> StoreError {
        move |cause| DatabaseError::Statement { doing, cause }.into()
    }

    /// Whether a statement was cancelled: by the server, because it took too long, or by somebody.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, StoreError::Database(error) if error.code() == Some(&SqlState::QUERY_CANCELED))
    }

    /// What to do about it.
    pub(crate) fn remedy(&self) -> Remedy {
        match self {
            StoreError::Database(error) => error.remedy(),
            StoreError::InfiniteFloor => Remedy::Reconnect,
            // The topic is missing at the first contact. Once it has been seen, writers wait for it instead.
            StoreError::Kafka(KafkaError::UnknownTopic { .. }) => Remedy::Stop,
            StoreError::Kafka(KafkaError::Fatal(_)) => Remedy::Reconnect,
            StoreError::Kafka(error) if error.is_passing() => Remedy::Reconnect,
            _ => Remedy::Stop,
        }
    }
}
