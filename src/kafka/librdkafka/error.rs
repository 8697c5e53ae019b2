//! Turns librdkafka's errors into ours.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};

use crate::config::Kafka;
use crate::kafka::error::KafkaError;

/// Whether librdkafka reports this for information only and goes on by itself.
pub(super) fn is_passing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::NetworkException
            | RDKafkaErrorCode::NotLeaderForPartition
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::BrokerNotAvailable
            | RDKafkaErrorCode::ReplicaNotAvailable
            | RDKafkaErrorCode::OffsetNotAvailable
            | RDKafkaErrorCode::KafkaStorageError
            | RDKafkaErrorCode::FencedLeaderEpoch
            | RDKafkaErrorCode::UnknownLeaderEpoch
            | RDKafkaErrorCode::PartitionEOF
            // These concern the group, which only serves other tools.
            | RDKafkaErrorCode::CoordinatorNotAvailable
            | RDKafkaErrorCode::CoordinatorLoadInProgress
            | RDKafkaErrorCode::NotCoordinator
            | RDKafkaErrorCode::GroupAuthorizationFailed
            // Whether both sides trust each other shows at the first contact. Later, a broker that restarts can cause
            // this too.
            | RDKafkaErrorCode::SSL
            | RDKafkaErrorCode::Authentication
    )
}

pub(super) fn code(error: &ClientError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)
}

pub(super) fn error(config: &Kafka, doing: &str, code: RDKafkaErrorCode, detail: &str) -> KafkaError {
    let topic = || config.topic.clone();
    match code {
        RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownPartition => KafkaError::UnknownTopic { topic: topic() },
        RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset => {
            KafkaError::OffsetOutOfRange { topic: topic() }
        }
        RDKafkaErrorCode::BrokerTransportFailure
        | RDKafkaErrorCode::AllBrokersDown
        | RDKafkaErrorCode::Resolve
        | RDKafkaErrorCode::OperationTimedOut
        | RDKafkaErrorCode::MessageTimedOut => {
            KafkaError::Unreachable { brokers: config.brokers.join(","), detail: detail.to_owned() }
        }
        RDKafkaErrorCode::Fatal => KafkaError::Fatal(detail.to_owned()),
        _ => KafkaError::Other { doing: doing.to_owned(), detail: detail.to_owned() },
    }
}

pub(super) fn other(doing: &str, error: &ClientError) -> KafkaError {
    KafkaError::Other { doing: doing.to_owned(), detail: error.to_string() }
}
