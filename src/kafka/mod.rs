//! What webmon asks of Kafka, narrow enough for more than one client: produce with a report for each record,
//! list partitions and offsets, fetch from explicit offsets. No consumer group is joined and no committed offset
//! read: the offset lives in the database, beside the rows. What is committed is for other tools to read.

#[cfg(feature = "kafka-rust")]
pub mod kafka_rust;
#[cfg(feature = "librdkafka")]
pub mod librdkafka;
mod murmur2;
#[cfg(any(feature = "librdkafka", feature = "kafka-rust"))]
mod probe;

use std::time::Duration;

use jiff::Timestamp;

pub use self::murmur2::partition_for;
use crate::config::{Kafka, KafkaClient};

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

    /// Produces `records`, in order for each key unless one fails, and waits for every report; bounded by the
    /// delivery timeout. Returns one [`Delivery`] for each record, in the same order. A record is refused for
    /// its own sake only, not for that of others that went with it.
    fn produce(&mut self, records: &[Outgoing]) -> Vec<Delivery>;
}

impl Producer for Box<dyn Producer> {
    fn partitions(&mut self) -> Result<i32, KafkaError> {
        self.as_mut().partitions()
    }

    fn produce(&mut self, records: &[Outgoing]) -> Vec<Delivery> {
        self.as_mut().produce(records)
    }
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

/// How much one fetch may bring, and how long it may wait.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Records at most.
    pub records: usize,
    /// Bytes of values at most, but at least one record.
    pub bytes: usize,
    /// How long to wait for a first record.
    pub wait: Duration,
    /// How long to wait for more once there is one, unless the other limits are reached before.
    pub linger: Duration,
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

    /// The offset of the first record whose timestamp is `at` or later, or one before it where the client cannot tell
    /// so exactly; the end where there is none.
    ///
    /// # Errors
    /// As [`Consumer::partitions`].
    fn offset_at(&mut self, partition: i32, at: Timestamp) -> Result<i64, KafkaError>;

    /// The id of the cluster; none where the client or the broker does not tell.
    ///
    /// # Errors
    /// Whatever keeps the brokers from answering.
    fn cluster_id(&mut self) -> Result<Option<String>, KafkaError> {
        Ok(None)
    }

    /// The partitions that had no leader when [`Consumer::partitions`] was asked last: nothing can be fetched of them until
    /// they have one. None where the client cannot tell.
    fn leaderless(&self) -> Vec<i32> {
        Vec::new()
    }

    /// Bounds how long any request may take from now on, other than a fetch, where the client can be told.
    fn set_request_timeout(&mut self, timeout: Duration) {
        let _ = timeout;
    }

    /// Commits the next offset of each of these partitions to the group of `kafka.group`, for other tools to read: they are
    /// on their way when this returns. Clients without groups do nothing.
    ///
    /// # Errors
    /// Why it cannot be sent, or why what was sent earlier was refused: nobody depends on it.
    fn commit(&mut self, next_offsets: &[(i32, i64)]) -> Result<(), KafkaError> {
        let _ = next_offsets;
        Ok(())
    }

    /// Fetches from now on exactly these partitions, each from the offset beside it.
    ///
    /// # Errors
    /// Where the client refuses the assignment.
    fn assign(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError>;

    /// Hands records to `each`, in order within a partition, and returns how many there were: 0 after
    /// `limits.wait` without any. Of what comes within `limits.linger` after the first, as many as the limits allow.
    ///
    /// # Errors
    /// [`KafkaError::OffsetOutOfRange`] when a position is no longer, or not yet, held: ask
    /// [`Consumer::offsets`] which. A broker that is away is not an error: the client goes on trying. After an
    /// error what this call handed over counts as not fetched, and the positions are unknown: assign them anew.
    fn fetch(&mut self, limits: FetchLimits, each: &mut dyn FnMut(Fetched<'_>)) -> Result<usize, KafkaError>;
}

/// The producer of the client that `config` names.
///
/// # Errors
/// [`KafkaError::Config`] when that client is not built in, or its settings cannot be used.
pub fn producer(config: &Kafka) -> Result<Box<dyn Producer>, KafkaError> {
    match config.client {
        #[cfg(feature = "librdkafka")]
        KafkaClient::Librdkafka => Ok(Box::new(librdkafka::LibrdkafkaProducer::new(config))),
        #[cfg(feature = "kafka-rust")]
        KafkaClient::KafkaRust => Ok(Box::new(kafka_rust::KafkaRustProducer::new(config))),
        #[allow(unreachable_patterns, reason = "which arms there are depends on the features")]
        client => Err(not_built_in(client)),
    }
}

/// The consumer of the client that `config` names.
///
/// # Errors
/// As [`producer`].
pub fn consumer(config: &Kafka) -> Result<Box<dyn Consumer>, KafkaError> {
    match config.client {
        #[cfg(feature = "librdkafka")]
        KafkaClient::Librdkafka => Ok(Box::new(librdkafka::LibrdkafkaConsumer::new(config)?)),
        #[cfg(feature = "kafka-rust")]
        KafkaClient::KafkaRust => Ok(Box::new(kafka_rust::KafkaRustConsumer::new(config))),
        #[allow(unreachable_patterns, reason = "which arms there are depends on the features")]
        client => Err(not_built_in(client)),
    }
}

/// Creates `config.topic`. Only librdkafka can, whichever client `config` names.
///
/// # Errors
/// [`KafkaError::TopicExists`], [`KafkaError::Config`] without librdkafka, or why the brokers refused.
pub fn create_topic(config: &Kafka, topic: &NewTopic) -> Result<(), KafkaError> {
    #[cfg(feature = "librdkafka")]
    return librdkafka::create_topic(config, topic);
    #[cfg(not(feature = "librdkafka"))]
    {
        let _ = (config, topic);
        Err(KafkaError::Config("this build cannot create a topic: use kafka-topics.sh".to_owned()))
    }
}

#[allow(dead_code, reason = "unused where every client is built in")]
fn not_built_in(client: KafkaClient) -> KafkaError {
    KafkaError::Config(format!("the kafka client {client:?} is not built in"))
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
    /// A setting that shows to be wrong only when it is used, such as a certificate file.
    #[error("{0}")]
    Config(String),
    /// The broker and this client do not trust each other: a wrong CA, name, certificate, user or password.
    #[error("{brokers} and webmon do not trust each other: {detail}")]
    Security {
        /// The broker, or those configured.
        brokers: String,
        /// What TLS or SASL said.
        detail: String,
    },
    /// A broker that no longer speaks kafka-rust's version of the protocol.
    #[error(
        "broker {broker} is too new for kafka.client \"kafka-rust\" (brokers up to 3.9): set it to \"librdkafka\""
    )]
    UnsupportedBroker {
        /// The broker.
        broker: String,
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

impl KafkaError {
    /// Whether waiting may mend it: no broker answers, a partition has no leader, a topic is not there yet or is being made
    /// anew, or the broker refuses for a reason of its own. What is left is a matter of the configuration, or of a client
    /// that must be built anew.
    pub fn is_passing(&self) -> bool {
        match self {
            KafkaError::Unreachable { .. }
            | KafkaError::UnknownTopic { .. }
            | KafkaError::OffsetOutOfRange { .. }
            | KafkaError::Other { .. } => true,
            KafkaError::TopicExists { .. }
            | KafkaError::Config(_)
            | KafkaError::Security { .. }
            | KafkaError::UnsupportedBroker { .. }
            | KafkaError::Fatal(_) => false,
        }
    }
}
