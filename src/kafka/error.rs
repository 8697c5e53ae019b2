//! Errors of Kafka and its clients.

/// Why Kafka, or its client, did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// The topic does not exist. Brokers are never asked to create one automatically.
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
    /// A fetch position is outside the offsets that the partition holds.
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
    /// A setting that turns out to be wrong only when it is used, such as a certificate file.
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
    /// The broker no longer speaks kafka-rust's version of the protocol.
    #[error(
        "broker {broker} is too new for kafka.client \"kafka-rust\" (brokers up to 3.9): set it to \"librdkafka\""
    )]
    UnsupportedBroker {
        /// The broker.
        broker: String,
    },
    /// The client cannot go on and must be created again.
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
    /// Whether waiting may mend it: no broker answers, a partition has no leader, a topic does not exist yet or is
    /// being recreated, or the broker refuses for a reason of its own. The other errors are due to the configuration,
    /// or to a client that must be created again.
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
