//! What webmon asks of Kafka, narrow enough for more than one client: produce with a report for each record,
//! list partitions and offsets, fetch from explicit offsets. No consumer group is joined and no committed offset
//! read: the offset lives in the database, beside the rows. What is committed is for other tools to read.

mod clients;
mod consumer;
mod error;
#[cfg(feature = "kafka-rust")]
pub mod kafka_rust;
#[cfg(feature = "librdkafka")]
pub mod librdkafka;
mod murmur2;
#[cfg(any(feature = "librdkafka", feature = "kafka-rust"))]
mod probe;
mod producer;
mod topic;

pub use self::clients::{consumer, create_topic, producer};
pub use self::consumer::{Consumer, FetchLimits, Fetched, OffsetRange};
pub use self::error::KafkaError;
pub use self::murmur2::partition_for;
pub use self::producer::{Delivery, Outgoing, Producer};
pub use self::topic::NewTopic;
