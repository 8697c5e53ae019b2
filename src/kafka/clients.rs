//! The client that the configuration names.

use super::consumer::Consumer;
use super::error::KafkaError;
#[cfg(feature = "kafka-rust")]
use super::kafka_rust;
#[cfg(feature = "librdkafka")]
use super::librdkafka;
use super::producer::Producer;
use super::topic::NewTopic;
use crate::config::{Kafka, KafkaClient};

/// The producer of the client that `config` names.
///
/// # Errors
/// [`KafkaError::Config`] if that client is not built in, or if its settings cannot be used.
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

/// Creates `config.topic`. It always uses librdkafka, whichever client `config` names.
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
