//! A topic.

use std::time::Duration;

/// A topic to create.
#[derive(Clone, Copy, Debug)]
pub struct NewTopic {
    /// Its partitions, at least 1. No more writers than this can work at once.
    pub partitions: i32,
    /// Its replicas; -1 takes the broker's default.
    pub replication: i32,
    /// How long Kafka keeps the records. An outage of the storing side that is not longer than this loses nothing.
    pub retention: Duration,
}
