//! Producing: a report for each record.

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
    /// Not known to be in the log; it may be. Producing it again is right: the store absorbs duplicates.
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

    /// Produces `records`, in order for each key unless one fails, and waits for every report; bounded by the
    /// delivery timeout. Returns one [`Delivery`] for each record, in the same order. A record is refused for
    /// its own sake only, not for that of others that went with it.
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
