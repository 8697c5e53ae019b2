//! A topic.

use std::time::Duration;

/// A topic to create.
#[derive(Clone, Copy, Debug)]
pub struct NewTopic {
    /// Its partitions, at least 1: the upper bound of writers at work at once.
    pub partitions: i32,
    /// Its replicas; -1 takes the broker's default.
    pub replication: i32,
    /// How long Kafka keeps the records: the longest outage of the storing side that loses nothing.
    pub retention: Duration,
}
