//! The default client, librdkafka: an idempotent producer, used synchronously, and a consumer that is only assigned
//! explicit offsets.

mod client;
mod consumer;
mod error;
mod events;
mod partitions;
mod producer;
mod topic;

pub use self::consumer::LibrdkafkaConsumer;
pub use self::producer::LibrdkafkaProducer;
pub use self::topic::create_topic;
