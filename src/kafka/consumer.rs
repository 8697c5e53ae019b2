//! Fetching: from explicit offsets that the caller keeps.

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
    /// The record's timestamp in milliseconds since the epoch, where it has one.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none for a tombstone.
    pub value: Option<&'a [u8]>,
}

/// How much one fetch may bring, and how long it may wait.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Records at most.
    pub records: usize,
    /// Bytes of values at most, but at least one record.
    pub bytes: usize,
    /// How long to wait for a first record.
    pub wait: Duration,
    /// How long to wait for more once there is one, unless the other limits are reached before.
    pub linger: Duration,
}

/// The offsets a partition holds: `earliest` included, `end` (that of the next record) not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// The oldest offset still held.
    pub earliest: i64,
    /// One past the newest.
    pub end: i64,
}

/// Fetches from one topic, from offsets that the caller keeps.
pub trait Consumer: Send {
    /// How many partitions the topic has.
    ///
    /// # Errors
    /// [`KafkaError::UnknownTopic`], or whatever keeps the brokers from answering.
    fn partitions(&mut self) -> Result<i32, KafkaError>;

    /// The offsets that `partition` holds.
    ///
    /// # Errors
    /// As [`Consumer::partitions`].
    fn offsets(&mut self, partition: i32) -> Result<OffsetRange, KafkaError>;

    /// The offset of the first record whose timestamp is `at` or later, or one before it where the client cannot tell
    /// so exactly; the end where there is none.
    ///
    /// # Errors
    /// As [`Consumer::partitions`].
    fn offset_at(&mut self, partition: i32, at: Timestamp) -> Result<i64, KafkaError>;

    /// The id of the cluster; none where the client or the broker does not tell.
    ///
    /// # Errors
    /// Whatever keeps the brokers from answering.
    fn cluster_id(&mut self) -> Result<Option<String>, KafkaError> {
        Ok(None)
    }

    /// The partitions that had no leader when [`Consumer::partitions`] was asked last: nothing can be fetched of them until
    /// they have one. None where the client cannot tell.
    fn leaderless(&self) -> Vec<i32> {
        Vec::new()
    }

    /// Bounds how long any request may take from now on, other than a fetch, where the client can be told.
    fn set_request_timeout(&mut self, timeout: Duration) {
        let _ = timeout;
    }

    /// Commits the next offset of each of these partitions to the group of `kafka.group`, for other tools to read: they are
    /// on their way when this returns. Clients without groups do nothing.
    ///
    /// # Errors
    /// Why it cannot be sent, or why what was sent earlier was refused: nobody depends on it.
    fn commit(&mut self, next_offsets: &[(i32, i64)]) -> Result<(), KafkaError> {
        let _ = next_offsets;
        Ok(())
    }

    /// Fetches from now on exactly these partitions, each from the offset beside it.
    ///
    /// # Errors
    /// Where the client refuses the assignment.
    fn assign(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError>;

    /// Hands records to `each`, in order within a partition, and returns how many there were: 0 after
    /// `limits.wait` without any. Of what comes within `limits.linger` after the first, as many as the limits allow.
    ///
    /// # Errors
    /// [`KafkaError::OffsetOutOfRange`] when a position is no longer, or not yet, held: ask
    /// [`Consumer::offsets`] which. A broker that is away is not an error: the client goes on trying. After an
    /// error what this call handed over counts as not fetched, and the positions are unknown: assign them anew.
    fn fetch(&mut self, limits: FetchLimits, each: &mut dyn FnMut(Fetched<'_>)) -> Result<usize, KafkaError>;
}
