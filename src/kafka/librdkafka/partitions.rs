//! What the brokers report about the topic's partitions.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use super::client::REQUEST_TIMEOUT;
use super::error::{code, error};
use super::events::Events;
use crate::config::Kafka;
use crate::kafka::error::KafkaError;
use crate::kafka::probe;
use crate::mutex::lock;

/// What the brokers report about the topic.
pub(super) struct TopicPartitions {
    pub(super) count: i32,
    pub(super) leaderless: Vec<i32>,
}

/// Asks for the topic's partitions, for `timeout` at most. `pump` lets librdkafka report why it cannot connect.
pub(super) fn topic_partitions(
    client: &rdkafka::client::Client<Events>,
    config: &Kafka,
    timeout: Duration,
    pump: impl Fn(),
) -> Result<TopicPartitions, KafkaError> {
    let deadline = Instant::now() + timeout;
    loop {
        match partitions_once(client, config, timeout.min(REQUEST_TIMEOUT / 10)) {
            Err(error @ KafkaError::Unreachable { .. }) => {
                pump();
                let events = client.context();
                if events.distrusted.swap(false, Ordering::Relaxed) {
                    let detail = lock(&events.last_words).clone();
                    return Err(KafkaError::Security { brokers: config.brokers.join(","), detail });
                }
                // librdkafka reports many TLS refusals as an absent broker.
                if config.tls.is_some()
                    && let Err(distrust @ KafkaError::Security { .. }) = probe::ask_any(config)
                {
                    return Err(distrust);
                }
                if Instant::now() >= deadline {
                    return Err(error);
                }
            }
            outcome => return outcome,
        }
    }
}

fn partitions_once(
    client: &rdkafka::client::Client<Events>,
    config: &Kafka,
    timeout: Duration,
) -> Result<TopicPartitions, KafkaError> {
    let unknown = || KafkaError::UnknownTopic { topic: config.topic.clone() };
    let doing = "cannot read the topic's partitions";
    let metadata = client
        .fetch_metadata(Some(&config.topic), timeout)
        .map_err(|cause| error(config, doing, code(&cause), &cause.to_string()))?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == config.topic).ok_or_else(unknown)?;
    if let Some(failure) = topic.error() {
        let code = RDKafkaErrorCode::from(failure);
        return Err(error(config, doing, code, &code.to_string()));
    }
    let leaderless = topic
        .partitions()
        .iter()
        .filter(|partition| partition.leader() < 0)
        .map(rdkafka::metadata::MetadataPartition::id);
    match i32::try_from(topic.partitions().len()) {
        Ok(count) if count > 0 => Ok(TopicPartitions { count, leaderless: leaderless.collect() }),
        _ => Err(unknown()),
    }
}
