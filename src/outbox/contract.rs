//! What every outbox promises.

use std::time::Duration;

use crate::record::Record;

/// Identifies a waiting record within its outbox; later records have higher numbers.
pub type Sequence = u64;

/// A bounded queue of records between the checks and Kafka. Shared: one side appends, from many threads, the
/// other, a single one, peeks and acknowledges.
///
/// ```
/// use std::time::Duration;
/// use webmon::jiff::Timestamp;
/// use webmon::outbox::{MemoryOutbox, Outbox};
/// use webmon::record::CheckResult;
/// # use webmon::site::{Origin, Site};
/// # let schedule = webmon::schedule::Schedule::new("@hourly", "UTC")?;
/// # let site = Site::new("shop", "https://shop.example/".parse()?, schedule);
/// # let origin = Origin::new("berlin-1", "host-a");
///
/// let outbox = MemoryOutbox::new(1_000);
/// outbox.append(origin.blank(&site, Timestamp::UNIX_EPOCH, None).into());
/// let batch = outbox.peek(100, Duration::ZERO);
/// assert_eq!((batch.len(), outbox.len()), (1, 1)); // it stays until acknowledged
/// outbox.acknowledge(&[batch[0].0]);
/// assert!(outbox.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Outbox: Send + Sync {
    /// Takes a record; when this returns it is as durable as this outbox makes it. Never waits for Kafka. A
    /// full outbox drops the oldest results that are not being sent and reports them as a gap later on.
    fn append(&self, record: Record);

    /// As [`Outbox::append`] for each of them, durable together: far cheaper than one by one.
    fn append_all(&self, records: Vec<Record>) {
        for record in records {
            self.append(record);
        }
    }

    /// Takes a record and makes it durable soon, without waiting for it: for what a crash may take, such as an
    /// instant that was never checked.
    fn enqueue(&self, record: Record) {
        self.append(record);
    }

    /// The oldest records, at most `max`, which stay until acknowledged. Waits up to `wait` for a first one.
    /// They count as being sent until the next call.
    fn peek(&self, max: usize, wait: Duration) -> Vec<(Sequence, Record)>;

    /// Removes records that Kafka holds.
    fn acknowledge(&self, sequences: &[Sequence]);

    /// Removes a record that Kafka will never take, for `reason`; a gap takes its place.
    fn reject(&self, sequence: Sequence, reason: &str);

    /// How many records wait.
    fn len(&self) -> usize;

    /// Whether nothing waits.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many results were dropped since the start, each of them part of a gap.
    fn dropped(&self) -> u64;
}
