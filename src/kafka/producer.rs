//! Producing, with a report for each record.

use super::error::KafkaError;

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
    /// Perhaps in the log, perhaps not. Produce it again: the store absorbs duplicates.
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

    /// Produces `records`, in order for each key unless one fails, and waits for every report, at most for the delivery
    /// timeout. Returns one [`Delivery`] for each record, in the same order. A record is refused only because of
    /// itself, not because of others that were sent with it.
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
