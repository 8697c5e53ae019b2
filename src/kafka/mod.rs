//! What webmon asks of Kafka, narrow enough for more than one client: produce with a report for each record,
//! list partitions and offsets, fetch from explicit offsets. No consumer group, no committed offsets: the
//! offset lives in the database, beside the rows.

#[cfg(feature = "librdkafka")]
pub mod librdkafka;
mod murmur2;

use std::time::Duration;

pub use self::murmur2::partition_for;

/// A record to produce. Its partition is `murmur2(key) mod partitions`, whatever the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The key; here a site's.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
}

/// What became of one produced record.
#[derive(Debug)]
pub enum Delivery {
    /// In the log, acknowledged by all in-sync replicas.
    Delivered,
    /// Not known to be in the log; it may be. Producing it again is right: the store absorbs duplicates.
    Retry(KafkaError),
    /// The broker will never take this record.
    Refused(String),
}

/// Produces to one topic, synchronously.
pub trait Producer: Send {
    /// How many partitions the topic has.
    ///
    /// # Errors
    /// [`KafkaError::UnknownTopic`], or whatever keeps the brokers from answering.
    fn partitions(&mut self) -> Result<i32, KafkaError>;

    /// Produces `records`, in order for each key, and waits for every report; bounded by the delivery timeout.
    /// Returns one [`Delivery`] for each record, in the same order.
    fn produce(&mut self, records: &[Outgoing]) -> Vec<Delivery>;
}

/// A record fetched, borrowed from the client's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Fetched<'a> {
    /// The partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp in milliseconds since the epoch, where it has one.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none for a tombstone.
    pub value: Option<&'a [u8]>,
}

/// How much one fetch may bring, and how long it may wait for the first record.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Records at most.
    pub records: usize,
    /// Bytes of values at most, but at least one record.
    pub bytes: usize,
    /// How long to wait for a first record.
    pub wait: Duration,
}

/// The offsets a partition holds: `earliest` included, `end` (that of the next record) not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// The oldest offset still held.
    pub earliest: i64,
    /// One past the newest.
    pub end: i64,
}

/// Fetches from one topic, from offsets that the caller keeps.
pub trait Consumer: Send {
    /// How many partitions the topic has.
    ///
    /// # Errors
    /// [`KafkaError::UnknownTopic`], or whatever keeps the brokers from answering.
    fn partitions(&mut self) -> Result<i32, KafkaError>;

    /// The offsets that `partition` holds.
    ///
    /// # Errors
    /// As [`Consumer::partitions`].
    fn offsets(&mut self, partition: i32) -> Result<OffsetRange, KafkaError>;

    /// Fetches from now on exactly these partitions, each from the offset beside it.
    ///
    /// # Errors
    /// Where the client refuses the assignment.
    fn assign(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError>;

    /// Hands records to `each`, in order within a partition, and returns how many there were: 0 after
    /// `limits.wait` without any.
    ///
    /// # Errors
    /// [`KafkaError::OffsetOutOfRange`] when a position is no longer, or not yet, held: ask
    /// [`Consumer::offsets`] which. A broker that is away is not an error: the client goes on trying.
    fn fetch(&mut self, limits: FetchLimits, each: &mut dyn FnMut(Fetched<'_>)) -> Result<usize, KafkaError>;
}

/// A topic to create.
#[derive(Clone, Copy, Debug)]
pub struct NewTopic {
    /// Its partitions, at least 1: the upper bound of writers at work at once.
    pub partitions: i32,
    /// Its replicas; -1 takes the broker's default.
    pub replication: i32,
    /// How long Kafka keeps the records: the longest outage of the storing side that loses nothing.
    pub retention: Duration,
}

/// Why Kafka did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// The topic does not exist; brokers create none by themselves.
    #[error("topic {topic:?} does not exist: create it with \"webmon-store topic create\"")]
    UnknownTopic {
        /// The topic asked for.
        topic: String,
    },
    /// A topic of that name exists already.
    #[error("topic {topic:?} exists already")]
    TopicExists {
        /// The topic.
        topic: String,
    },
    /// A fetch position lies outside what the partition holds.
    #[error("an offset of topic {topic:?} is out of range")]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
    },
    /// No broker answers.
    #[error("no broker of {brokers} answers: {detail}")]
    Unreachable {
        /// The brokers configured.
        brokers: String,
        /// The client's words.
        detail: String,
    },
    /// The client cannot go on and must be built anew.
    #[error("the kafka client failed for good: {0}")]
    Fatal(String),
    /// Anything else the client or the broker refuses.
    #[error("{doing}: {detail}")]
    Other {
        /// What was attempted.
        doing: String,
        /// The client's words.
        detail: String,
    },
}
