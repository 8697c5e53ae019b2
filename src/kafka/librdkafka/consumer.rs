//! The consumer.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::message::Message;
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{REQUEST_TIMEOUT, client};
use super::error::{code, error, is_passing, other};
use super::events::Events;
use super::partitions::topic_partitions;
use crate::config::Kafka;
use crate::kafka::consumer::{Consumer, FetchLimits, Fetched, OffsetRange};
use crate::kafka::error::KafkaError;
use crate::mutex::lock;

/// Fetches from one topic at explicit offsets.
pub struct LibrdkafkaConsumer {
    config: Kafka,
    client: BaseConsumer<Events>,
    assigned: bool,
    leaderless: Vec<i32>,
    request_timeout: Duration,
}

impl LibrdkafkaConsumer {
    /// A consumer of `config.topic`, assigned nothing.
    ///
    /// # Errors
    /// If librdkafka refuses its configuration.
    pub fn new(config: &Kafka) -> Result<LibrdkafkaConsumer, KafkaError> {
        let client = client(config)
            // librdkafka assigns nothing without a group's name. We join no group, and never read what is committed.
            .set("group.id", config.group.as_deref().unwrap_or("webmon-store"))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", "500")
            // The default of a second stalls a consumer whose queue is empty.
            .set("fetch.queue.backoff.ms", "5")
            // After an outage all partitions have a backlog, and what is fetched of each is decompressed at once.
            .set("fetch.message.max.bytes", "262144")
            .set("queued.max.messages.kbytes", "8192")
            .create_with_context(Events::default())
            .map_err(|error| other("cannot set up the kafka consumer", &error))?;
        Ok(LibrdkafkaConsumer {
            config: config.clone(),
            client,
            assigned: false,
            leaderless: Vec::new(),
            request_timeout: REQUEST_TIMEOUT,
        })
    }
}

impl Consumer for LibrdkafkaConsumer {
    fn partitions(&mut self) -> Result<i32, KafkaError> {
        let found = topic_partitions(self.client.client(), &self.config, self.request_timeout, || {
            // Once something is assigned, the message could be a record.
            if !self.assigned
                && let Some(Err(error)) = self.client.poll(Duration::ZERO)
            {
                self.client.context().note(code(&error));
            }
        })?;
        self.leaderless = found.leaderless;
        Ok(found.count)
    }

    fn leaderless(&self) -> Vec<i32> {
        self.leaderless.clone()
    }

    fn set_request_timeout(&mut self, timeout: Duration) {
        self.request_timeout = timeout;
    }

    fn commit(&mut self, next_offsets: &[(i32, i64)]) -> Result<(), KafkaError> {
        let doing = "cannot commit offsets to the consumer group";
        if self.config.group.is_none() || next_offsets.is_empty() {
            return Ok(());
        }
        let list = positions(&self.config.topic, next_offsets).map_err(|error| other(doing, &error))?;
        self.client.commit(&list, CommitMode::Async).map_err(|error| other(doing, &error))?;
        let refused = lock(&self.client.context().commit_refused).take();
        match refused {
            None => Ok(()),
            Some(code) => Err(KafkaError::Other { doing: doing.to_owned(), detail: code.to_string() }),
        }
    }

    fn offsets(&mut self, partition: i32) -> Result<OffsetRange, KafkaError> {
        self.client
            .fetch_watermarks(&self.config.topic, partition, self.request_timeout)
            .map(|(earliest, end)| OffsetRange { earliest, end })
            .map_err(|cause| error(&self.config, "cannot read offsets", code(&cause), &cause.to_string()))
    }

    fn offset_at(&mut self, partition: i32, at: Timestamp) -> Result<i64, KafkaError> {
        let doing = "cannot look for an offset by its time";
        let mut wanted = TopicPartitionList::with_capacity(1);
        wanted
            .add_partition_offset(&self.config.topic, partition, Offset::Offset(at.as_millisecond()))
            .map_err(|error| other(doing, &error))?;
        let found = self
            .client
            .offsets_for_times(wanted, REQUEST_TIMEOUT)
            .map_err(|cause| error(&self.config, doing, code(&cause), &cause.to_string()))?;
        match found.elements().first().map(rdkafka::topic_partition_list::TopicPartitionListElem::offset) {
            Some(Offset::Offset(offset)) => Ok(offset),
            // There is no record that new.
            _ => Ok(self.offsets(partition)?.end),
        }
    }

    fn cluster_id(&mut self) -> Result<Option<String>, KafkaError> {
        Ok(self.client.client().fetch_cluster_id(self.request_timeout))
    }

    fn assign(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError> {
        let doing = "cannot assign partitions";
        let list = self::positions(&self.config.topic, positions).map_err(|error| other(doing, &error))?;
        self.assigned = true;
        self.client.assign(&list).map_err(|error| other(doing, &error))
    }

    fn fetch(&mut self, limits: FetchLimits, each: &mut dyn FnMut(Fetched<'_>)) -> Result<usize, KafkaError> {
        let mut deadline = Instant::now() + limits.wait;
        let (mut records, mut bytes) = (0, 0);
        while records < limits.records && bytes < limits.bytes {
            let wait = deadline.saturating_duration_since(Instant::now());
            match self.client.poll(Timeout::After(wait)) {
                Some(Ok(message)) => {
                    if records == 0 {
                        deadline = Instant::now() + limits.linger;
                    }
                    records += 1;
                    bytes += message.payload_len();
                    each(Fetched {
                        partition: message.partition(),
                        offset: message.offset(),
                        timestamp_ms: message.timestamp().to_millis(),
                        key: message.key(),
                        value: message.payload(),
                    });
                }
                Some(Err(cause)) => {
                    let code = code(&cause);
                    if !is_passing(code) {
                        return Err(error(&self.config, "cannot fetch", code, &cause.to_string()));
                    }
                    log::debug!(error = cause.to_string(); "kafka is down, trying again");
                }
                None if Instant::now() >= deadline => break,
                None => {}
            }
        }
        Ok(records)
    }
}

/// Partitions of the topic, each with an offset.
fn positions(topic: &str, offsets: &[(i32, i64)]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    Ok(list)
}
