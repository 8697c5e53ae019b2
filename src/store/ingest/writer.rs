//! What a writer is made of.

use std::sync::atomic::AtomicBool;

use super::throttle::Throttle;
use crate::config::Store;
use crate::database::Connector;
use crate::kafka::{Consumer, KafkaError};
use crate::shutdown::Shutdown;

/// Makes a consumer for each session with the database.
pub type ConsumerFactory = dyn Fn() -> Result<Box<dyn Consumer>, KafkaError> + Send + Sync;

/// What a writer is made of.
pub(crate) struct Writer<'a> {
    pub topic: &'a str,
    pub owner: String,
    pub connector: &'a Connector,
    pub store: &'a Store,
    pub consumer: &'a ConsumerFactory,
    /// Whether this process has seen the topic. From then on it waits for a topic that is missing.
    pub topic_seen: &'a AtomicBool,
    pub shutdown: &'a Shutdown,
    pub throttle: Throttle,
}
