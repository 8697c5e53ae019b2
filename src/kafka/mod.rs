//! What webmon needs from Kafka, narrow enough for more than one client: produce with a report for each record, list
//! partitions and offsets, fetch from explicit offsets. It joins no consumer group and reads no committed offset: the
//! offset is in the database, with the rows. Offsets are committed only for other tools to read.

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
