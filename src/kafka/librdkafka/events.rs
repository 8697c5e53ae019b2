//! What librdkafka reports besides the answers to our calls.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError as ClientError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use super::error::code;
use crate::mutex::lock;

/// What librdkafka reports besides the answers to our calls.
#[derive(Default)]
pub(super) struct Events {
    /// The delivery reports, each with the index of its record.
    pub(super) reports: Mutex<Vec<(usize, Option<RDKafkaErrorCode>)>>,
    /// Whether TLS or SASL failed since the last success.
    pub(super) distrusted: AtomicBool,
    /// The last warning or error that it logged, which is the only place where it says why.
    pub(super) last_words: Mutex<String>,
    /// Why the last commit of offsets was refused, until that is reported.
    pub(super) commit_refused: Mutex<Option<RDKafkaErrorCode>>,
}

impl Events {
    /// Notes an error that a second try does not mend.
    pub(super) fn note(&self, code: RDKafkaErrorCode) {
        if matches!(
            code,
            RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
        ) {
            self.distrusted.store(true, Ordering::Relaxed);
        }
    }
}

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            // librdkafka goes on by itself after each of these, so none is an error of ours.
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                log::warn!(target: "librdkafka", facility; "{text}");
                text.clone_into(&mut lock(&self.last_words));
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                log::info!(target: "librdkafka", facility; "{text}");
            }
            RDKafkaLogLevel::Debug => log::debug!(target: "librdkafka", facility; "{text}"),
        }
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.note(code(&error));
        log::debug!(target: "librdkafka", error = error.to_string(); "{reason}");
    }
}

impl ConsumerContext for Events {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        *lock(&self.commit_refused) = match result {
            // Nothing was new.
            Ok(()) | Err(ClientError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => None,
            Err(error) => Some(code(&error)),
        };
    }
}

impl ProducerContext for Events {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, index: usize) {
        let error = report.as_ref().err().map(|(error, _)| code(error));
        lock(&self.reports).push((index, error));
    }
}
