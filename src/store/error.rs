//! What goes wrong on the storing side, by what is to be done about it.

use postgres::error::SqlState;

use crate::database::{DatabaseError, Remedy};
use crate::kafka::KafkaError;

/// Why the storing side cannot do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What is asked for cannot be.
    #[error("{0}")]
    Invalid(String),
    /// Kafka refuses.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// There is no such partition among those that are stored.
    #[error("no writer has come upon partition {partition} of topic {topic:?} yet")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: i32,
    },
    /// A replay that would leave out what is not stored yet.
    #[error(
        "offset {offset} is ahead of the next one to store, {next_offset}: a replay goes back, it leaves nothing out"
    )]
    ReplayAhead {
        /// The offset asked for.
        offset: i64,
        /// The next one to store.
        next_offset: i64,
    },
    /// Retention would let go of what it should not, or the floor cannot be where it is to be.
    #[error("{0}")]
    RetentionRefused(String),
    /// More than half of a partition's records are of a newer version: the checkers were upgraded first.
    #[error("partition {partition} holds records of an unknown version: upgrade webmon-store")]
    UnknownVersions {
        /// The partition, now paused.
        partition: i32,
    },
    /// The floor of retention is a time that nothing can be after.
    #[error(
        "webmon.retention.floor_at is infinite, and nothing could be stored: set it to a time that has been"
    )]
    InfiniteFloor,
    /// The database holds what this program cannot read.
    #[error("{doing}: {problem}")]
    Unreadable {
        /// What was attempted.
        doing: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Rows cannot be put into the format of COPY.
    #[error("cannot encode results: {0}")]
    Encode(#[source] Box<dyn std::error::Error + Sync + Send>),
}

impl StoreError {
    /// Pairs the driver's error with what was attempted.
    pub(crate) fn statement(doing: &'static str) -> impl FnOnce(postgres::Error) -> StoreError {
        move |cause| DatabaseError::Statement { doing, cause }.into()
    }

    /// Whether the server ended a statement that took longer than it may, or somebody did.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, StoreError::Database(error) if error.code() == Some(&SqlState::QUERY_CANCELED))
    }

    /// What is to be done.
    pub(crate) fn remedy(&self) -> Remedy {
        match self {
            StoreError::Database(error) => error.remedy(),
            StoreError::InfiniteFloor => Remedy::Reconnect,
            // A topic that is missing at the first contact; once there was one, it is waited for.
            StoreError::Kafka(KafkaError::UnknownTopic { .. }) => Remedy::Stop,
            StoreError::Kafka(KafkaError::Fatal(_)) => Remedy::Reconnect,
            StoreError::Kafka(error) if error.is_passing() => Remedy::Reconnect,
            _ => Remedy::Stop,
        }
    }
}
