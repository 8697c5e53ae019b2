//! Fetching from explicit offsets, which the caller keeps.

use std::time::Duration;

use jiff::Timestamp;

use super::error::KafkaError;

/// A record fetched, borrowed from the client's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Fetched<'a> {
    /// The partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp in milliseconds since the epoch, if it has one.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none for a tombstone.
    pub value: Option<&'a [u8]>,
}

/// How much one fetch may bring, and how long it may wait.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// The most records.
    pub records: usize,
    /// The most bytes of values. One record is fetched even if it is larger.
    pub bytes: usize,
    /// How long to wait for the first record.
    pub wait: Duration,
    /// How long to wait for more records after the first one, unless another limit is reached before.
    pub linger: Duration,
}

/// The offsets that a partition holds, from `earliest` up to but not including `end`, the offset of the next record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// The oldest offset that is still held.
    pub earliest: i64,
    /// One past the newest.
    pub end: i64,
}

/// Fetches from one topic, from offsets that the caller keeps.
pub trait Consumer: Send {
    /// How many partitions the topic has.
    ///
    /// # Errors
    /// [`KafkaError::UnknownTopic`], or why the brokers do not answer.
    fn partitions(&mut self) -> Result<i32, KafkaError>;

    /// The offsets that `partition` holds.
    ///
    /// # Errors
    /// As [`Consumer::partitions`].
    fn offsets(&mut self, partition: i32) -> Result<OffsetRange, KafkaError>;

    /// The offset of the first record whose timestamp is `at` or later, or an earlier one if the client cannot tell
    /// exactly. The end if there is no such record.
    ///
    /// # Errors
    /// As [`Consumer::partitions`].
    fn offset_at(&mut self, partition: i32, at: Timestamp) -> Result<i64, KafkaError>;

    /// The id of the cluster; none if the client or the broker does not report it.
    ///
    /// # Errors
    /// Why the brokers do not answer.
    fn cluster_id(&mut self) -> Result<Option<String>, KafkaError> {
        Ok(None)
    }

    /// The partitions that had no leader when [`Consumer::partitions`] was last called. Nothing can be fetched from
    /// them until they have one. Empty if the client cannot tell.
    fn leaderless(&self) -> Vec<i32> {
        Vec::new()
    }

    /// Bounds how long any request other than a fetch may take from now on, if the client supports that.
    fn set_request_timeout(&mut self, timeout: Duration) {
        let _ = timeout;
    }

    /// Commits the next offset of each of these partitions to the group of `kafka.group`, for other tools to read. The
    /// offsets are on their way when this returns. Clients without groups do nothing.
    ///
    /// # Errors
    /// Why they cannot be sent, or why those sent earlier were refused. Nothing in webmon depends on it.
    fn commit(&mut self, next_offsets: &[(i32, i64)]) -> Result<(), KafkaError> {
        let _ = next_offsets;
        Ok(())
    }

    /// Fetches exactly these partitions from now on, each from the offset given with it.
    ///
    /// # Errors
    /// If the client refuses the assignment.
    fn assign(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError>;

    /// Passes records to `each`, in order within a partition, and returns how many there were: 0 after `limits.wait`
    /// without any. It takes the records that come within `limits.linger` after the first, as many as the limits allow.
    ///
    /// # Errors
    /// [`KafkaError::OffsetOutOfRange`] if a position is no longer, or not yet, held: [`Consumer::offsets`] shows
    /// which. A broker that is down is not an error: the client goes on trying. After an error, what this call passed
    /// counts as not fetched, and the positions are unknown: assign them again.
    fn fetch(&mut self, limits: FetchLimits, each: &mut dyn FnMut(Fetched<'_>)) -> Result<usize, KafkaError>;
}
