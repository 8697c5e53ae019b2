//! Creates a topic.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic as Spec, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::client::{REQUEST_TIMEOUT, client};
use super::error::{code, error, other};
use crate::config::Kafka;
use crate::kafka::error::KafkaError;
use crate::kafka::topic::NewTopic;

/// Creates `config.topic`.
///
/// # Errors
/// [`KafkaError::TopicExists`], or why the brokers refused.
pub fn create_topic(config: &Kafka, topic: &NewTopic) -> Result<(), KafkaError> {
    let admin: AdminClient<_> =
        client(config).create().map_err(|error| other("cannot set up the kafka admin client", &error))?;
    let retention = topic.retention.as_millis().to_string();
    let spec = Spec::new(&config.topic, topic.partitions, TopicReplication::Fixed(topic.replication))
        .set("retention.ms", &retention)
        .set("cleanup.policy", "delete");
    let options =
        AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
    let doing = format!("cannot create topic {:?}", config.topic);
    // librdkafka answers from a thread of its own, so any executor will do for the wait.
    let outcome = futures_executor::block_on(admin.create_topics([&spec], &options))
        .map_err(|cause| error(config, &doing, code(&cause), &cause.to_string()))?;
    match outcome.into_iter().next() {
        Some(Ok(_)) => Ok(()),
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
            Err(KafkaError::TopicExists { topic: config.topic.clone() })
        }
        Some(Err((_, code))) => Err(error(config, &doing, code, &code.to_string())),
        None => Err(KafkaError::Other { doing, detail: "no answer".to_owned() }),
    }
}
