//! kafka-rust, the pure Rust client, for brokers up to 3.9: it speaks only version 0 of the protocol, which brokers
//! from 4.0 on refuse. No SASL.
//!
//! What the crate leaves to its caller is done here:
//! - It never drops a dead connection, so after any I/O error the whole client is created again.
//! - `produce_messages` is `Ok` even if the broker rejects, so each partition's confirmation is read.
//! - It writes a request with one `write`, and over TLS one `write` takes at most 16 KiB. Larger requests would be cut
//!   off, so records are sent in requests that fit.
//! - It trusts an answer's length, and a peer that is no broker makes it panic. The panic is caught and becomes an
//!   error.
//! - It does not say why no broker could be reached. So a connection of our own asks first (`probe.rs`), and also finds
//!   out which versions the broker speaks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kafka::client::{
    Compression, FetchOffset, FetchPartition, KafkaClient, ProduceMessage, RequiredAcks, SecurityConfig,
};
use kafka::error::{Error as ClientError, KafkaCode};

use super::consumer::{Consumer, FetchLimits, Fetched, OffsetRange};
use super::error::KafkaError;
use super::murmur2::partition_for;
use super::probe::{self, CLIENT};
use super::producer::{Delivery, Outgoing, Producer};
use crate::config::Kafka;

/// How long a broker may take until a record is in all replicas.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the topic's partitions and their leaders are read again.
const METADATA_AGE: Duration = Duration::from_secs(60);
/// Bytes of keys and values in one request: well below a broker's `message.max.bytes`, a megabyte.
const REQUEST_BYTES: usize = 512 * 1024;
/// The same over TLS, where a TLS record holds 16 KiB and what one `write` does not take would be lost.
const TLS_REQUEST_BYTES: usize = 12 * 1024;
/// What a message adds to its key and value in a request (protocol guide, "Message sets": offset, size, CRC,
/// magic, attributes and two lengths), and a request to its messages.
const MESSAGE_OVERHEAD: usize = 26;
/// Bytes to fetch from a partition at a time; and at most, if one record is larger.
const FETCH_BYTES: i32 = 1 << 20;
const FETCH_BYTES_MAX: i32 = 64 << 20;

/// A client with the topic's metadata loaded.
struct Connection {
    client: KafkaClient,
    partitions: i32,
    loaded_at: Instant,
}

/// Connects. If that fails, finds out why.
fn connect(config: &Kafka) -> Result<Connection, KafkaError> {
    let answer = probe::ask_any(config)?;
    if answer.oldest_fetch > 0 || answer.oldest_offsets > 0 {
        return Err(KafkaError::UnsupportedBroker { broker: answer.broker });
    }
    let hosts = config.brokers.clone();
    let mut client = match probe::tls_connector(config)? {
        Some(connector) => KafkaClient::new_secure(hosts, SecurityConfig::new(connector)),
        None => KafkaClient::new(hosts),
    };
    client.set_client_id(CLIENT.to_owned());
    client.set_fetch_min_bytes(1);
    client.set_fetch_max_bytes_per_partition(FETCH_BYTES);
    client.set_fetch_crc_validation(true);
    client.set_compression(Compression::SNAPPY);
    guarded(config, "cannot read the topic's partitions", || client.load_metadata(&[&config.topic]))?;
    let partitions = client.topics().partitions(&config.topic).map_or(0, |partitions| partitions.len());
    match i32::try_from(partitions) {
        Ok(partitions) if partitions > 0 => Ok(Connection { client, partitions, loaded_at: Instant::now() }),
        _ => Err(KafkaError::UnknownTopic { topic: config.topic.clone() }),
    }
}

/// Runs one call of the crate and turns its errors and panics into our errors.
fn guarded<T>(
    config: &Kafka,
    doing: &str,
    call: impl FnOnce() -> Result<T, ClientError>,
) -> Result<T, KafkaError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(cause)) => Err(error(config, doing, &cause)),
        Err(_) => Err(KafkaError::Fatal(format!("{doing}: the client panicked"))),
    }
}

fn error(config: &Kafka, doing: &str, cause: &ClientError) -> KafkaError {
    let unreachable = |detail: String| KafkaError::Unreachable { brokers: config.brokers.join(","), detail };
    match cause {
        ClientError::ArcSelf(cause) => error(config, doing, cause),
        ClientError::Kafka(code) | ClientError::TopicPartitionError { error_code: code, .. } => {
            coded(config, doing, *code)
        }
        ClientError::Io(_)
        | ClientError::Ssl(_)
        | ClientError::NoHostReachable
        | ClientError::UnexpectedEOF => unreachable(cause.to_string()),
        _ => KafkaError::Fatal(format!("{doing}: {cause}")),
    }
}

fn coded(config: &Kafka, doing: &str, code: KafkaCode) -> KafkaError {
    let topic = || config.topic.clone();
    match code {
        KafkaCode::UnknownTopicOrPartition => KafkaError::UnknownTopic { topic: topic() },
        KafkaCode::OffsetOutOfRange => KafkaError::OffsetOutOfRange { topic: topic() },
        KafkaCode::LeaderNotAvailable
        | KafkaCode::NotLeaderForPartition
        | KafkaCode::ReplicaNotAvailable
        | KafkaCode::RequestTimedOut
        | KafkaCode::BrokerNotAvailable
        | KafkaCode::NetworkException => KafkaError::Unreachable {
            brokers: config.brokers.join(","),
            detail: format!("{doing}: {code:?}"),
        },
        _ => KafkaError::Other { doing: doing.to_owned(), detail: format!("{code:?}") },
    }
}

/// Produces to one topic with `acks=all`. It is not idempotent: after a request was cut off, its records may be in the
/// log twice. The store absorbs such duplicates.
pub struct KafkaRustProducer {
    config: Kafka,
    connection: Option<Connection>,
}

impl KafkaRustProducer {
    /// A producer for `config.topic`. It connects when it first produces.
    pub fn new(config: &Kafka) -> KafkaRustProducer {
        KafkaRustProducer { config: config.clone(), connection: None }
    }

    fn connection(&mut self) -> Result<&mut Connection, KafkaError> {
        let connection = match self.connection.take() {
            Some(connection) if connection.loaded_at.elapsed() < METADATA_AGE => connection,
            _ => connect(&self.config)?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Sends `chosen` records in one request, and returns what became of each.
    fn send(&mut self, records: &[Outgoing], chosen: &[usize]) -> Result<Vec<Delivery>, KafkaError> {
        let config = self.config.clone();
        let connection = self.connection()?;
        let partition = |index: usize| partition_for(records[index].key.as_bytes(), connection.partitions);
        let partitions: Vec<i32> = chosen.iter().map(|index| partition(*index)).collect();
        let messages = chosen.iter().zip(&partitions).map(|(index, partition)| {
            let Outgoing { key, value } = &records[*index];
            ProduceMessage::new(&config.topic, *partition, Some(key.as_bytes()), Some(value))
        });
        let client = &mut connection.client;
        let confirmed = guarded(&config, "cannot produce", || {
            client.produce_messages(RequiredAcks::All, ACK_TIMEOUT, messages)
        })?;
        let confirms: Vec<_> = confirmed.into_iter().flat_map(|confirm| confirm.partition_confirms).collect();
        let outcome = |partition: &i32| match confirms.iter().find(|confirm| confirm.partition == *partition)
        {
            None => Delivery::Retry(KafkaError::Fatal("no confirmation".to_owned())),
            Some(confirm) => match confirm.offset {
                Ok(_) => Delivery::Delivered,
                Err(KafkaCode::MessageSizeTooLarge | KafkaCode::InvalidMessageSize) => {
                    Delivery::Refused("the message is too large".to_owned())
                }
                Err(code) => Delivery::Retry(coded(&config, "cannot produce", code)),
            },
        };
        Ok(partitions.iter().map(outcome).collect())
    }

    /// Sends `chosen`. If a partition's records are refused together, finds out which record is at fault.
    fn deliver(&mut self, records: &[Outgoing], chosen: &[usize], deliveries: &mut [Option<Delivery>]) {
        match self.send(records, chosen) {
            Err(error) => {
                self.connection = None;
                for index in chosen {
                    deliveries[*index] = Some(Delivery::Retry(error.clone()));
                }
            }
            Ok(outcomes) => {
                let mut stale = false;
                for (index, outcome) in chosen.iter().zip(outcomes) {
                    stale |= matches!(outcome, Delivery::Retry(_));
                    if matches!(outcome, Delivery::Refused(_)) && chosen.len() > 1 {
                        self.deliver(records, &[*index], deliveries);
                    } else {
                        deliveries[*index] = Some(outcome);
                    }
                }
                if stale {
                    self.connection = None;
                }
            }
        }
    }
}

impl Producer for KafkaRustProducer {
    fn partitions(&mut self) -> Result<i32, KafkaError> {
        Ok(self.connection()?.partitions)
    }

    fn produce(&mut self, records: &[Outgoing]) -> Vec<Delivery> {
        let limit = if self.config.tls.is_some() { TLS_REQUEST_BYTES } else { REQUEST_BYTES };
        let mut deliveries: Vec<Option<Delivery>> = records.iter().map(|_| None).collect();
        let mut request: Vec<usize> = Vec::new();
        let mut bytes = 0;
        for (index, record) in records.iter().enumerate() {
            let size = record.key.len() + record.value.len() + MESSAGE_OVERHEAD;
            if !request.is_empty() && bytes + size > limit {
                self.deliver(records, &request, &mut deliveries);
                request.clear();
                bytes = 0;
                // Without a broker the first request has shown that. The others would only wait as long again.
                if let Some(Some(Delivery::Retry(error @ KafkaError::Unreachable { .. }))) =
                    deliveries.get(index - 1)
                {
                    let error = error.clone();
                    return deliveries
                        .into_iter()
                        .map(|delivery| delivery.unwrap_or_else(|| Delivery::Retry(error.clone())))
                        .collect();
                }
            }
            request.push(index);
            bytes += size;
        }
        self.deliver(records, &request, &mut deliveries);
        let unsent = || Delivery::Retry(KafkaError::Fatal("not sent".to_owned()));
        deliveries.into_iter().map(|delivery| delivery.unwrap_or_else(unsent)).collect()
    }
}

/// Fetches from one topic at explicit offsets.
pub struct KafkaRustConsumer {
    config: Kafka,
    connection: Option<Connection>,
    /// The next offset of each partition assigned, and how many bytes of it to ask for.
    positions: Vec<Assigned>,
}

/// A partition that is fetched.
struct Assigned {
    partition: i32,
    offset: i64,
    max_bytes: i32,
}

impl KafkaRustConsumer {
    /// A consumer of `config.topic`, assigned nothing. It connects when it is first used.
    pub fn new(config: &Kafka) -> KafkaRustConsumer {
        KafkaRustConsumer { config: config.clone(), connection: None, positions: Vec::new() }
    }

    fn connection(&mut self) -> Result<&mut Connection, KafkaError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.config)?,
        };
        Ok(self.connection.insert(connection))
    }

    fn read_offset(&mut self, partition: i32, which: FetchOffset) -> Result<i64, KafkaError> {
        let config = self.config.clone();
        let client = &mut self.connection()?.client;
        let offsets =
            guarded(&config, "cannot read offsets", || client.fetch_topic_offsets(&config.topic, which));
        if offsets.is_err() {
            self.connection = None;
        }
        let found = offsets?.into_iter().find(|found| found.partition == partition);
        found.map(|found| found.offset).ok_or(KafkaError::UnknownTopic { topic: config.topic })
    }

    fn fetch_once(
        &mut self,
        limits: FetchLimits,
        wait: Duration,
        each: &mut dyn FnMut(Fetched<'_>),
    ) -> Result<usize, KafkaError> {
        let config = self.config.clone();
        self.connection()?;
        let Some(connection) = &mut self.connection else { return Ok(0) };
        let client = &mut connection.client;
        let positions = &mut self.positions;
        let responses = guarded(&config, "cannot fetch", || {
            client.set_fetch_max_wait_time(wait)?;
            client.fetch_messages(positions.iter().map(|position| {
                FetchPartition::new(&config.topic, position.partition, position.offset)
                    .with_max_bytes(position.max_bytes)
            }))
        })?;
        let (mut records, mut bytes) = (0, 0);
        for partition in responses
            .iter()
            .flat_map(|response| response.topics())
            .flat_map(kafka::client::fetch::Topic::partitions)
        {
            let number = partition.partition();
            let Some(position) = positions.iter_mut().find(|position| position.partition == number) else {
                continue;
            };
            let data = partition.data().map_err(|cause| error(&config, "cannot fetch", &cause))?;
            for message in data.messages() {
                if message.offset < position.offset {
                    continue;
                }
                // What does not fit is fetched again: positions only move past records that were passed on.
                if records >= limits.records || bytes >= limits.bytes {
                    return Ok(records);
                }
                records += 1;
                bytes += message.value.len();
                each(Fetched {
                    partition: number,
                    offset: message.offset,
                    timestamp_ms: None,
                    // This client does not distinguish an absent key or value from an empty one.
                    key: (!message.key.is_empty()).then_some(message.key),
                    value: (!message.value.is_empty()).then_some(message.value),
                });
                position.offset = message.offset + 1;
            }
            // If a record does not fit into the answer, the answer holds no record.
            let stuck = data.messages().is_empty() && data.highwatermark_offset() > position.offset;
            position.max_bytes =
                if stuck { (position.max_bytes * 2).min(FETCH_BYTES_MAX) } else { FETCH_BYTES };
        }
        Ok(records)
    }
}

impl Consumer for KafkaRustConsumer {
    fn partitions(&mut self) -> Result<i32, KafkaError> {
        // Called now and then to find new partitions and new leaders, so it reads the metadata again.
        self.connection = None;
        Ok(self.connection()?.partitions)
    }

    fn offsets(&mut self, partition: i32) -> Result<OffsetRange, KafkaError> {
        let earliest = self.read_offset(partition, FetchOffset::Earliest)?;
        Ok(OffsetRange { earliest, end: self.read_offset(partition, FetchOffset::Latest)? })
    }

    /// In this version of the protocol a broker reports only where a segment of its log begins: the last one that was
    /// closed before `at`.
    fn offset_at(&mut self, partition: i32, at: Timestamp) -> Result<i64, KafkaError> {
        let found = self.read_offset(partition, FetchOffset::ByTime(at.as_millisecond()))?;
        Ok(found.max(self.read_offset(partition, FetchOffset::Earliest)?))
    }

    fn leaderless(&self) -> Vec<i32> {
        let Some(connection) = &self.connection else { return Vec::new() };
        let topics = connection.client.topics();
        let partitions = topics.partitions(&self.config.topic).into_iter().flatten();
        partitions.filter(|partition| !partition.is_available()).map(|partition| partition.id()).collect()
    }

    fn assign(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError> {
        self.positions = positions
            .iter()
            .map(|(partition, offset)| Assigned {
                partition: *partition,
                offset: *offset,
                max_bytes: FETCH_BYTES,
            })
            .collect();
        Ok(())
    }

    fn fetch(&mut self, limits: FetchLimits, each: &mut dyn FnMut(Fetched<'_>)) -> Result<usize, KafkaError> {
        let mut deadline = Instant::now() + limits.wait;
        let (mut records, mut bytes) = (0, 0);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.positions.is_empty() {
                std::thread::park_timeout(left);
                return Ok(0);
            }
            let rest =
                FetchLimits { records: limits.records - records, bytes: limits.bytes - bytes, ..limits };
            let mut counted = |record: Fetched<'_>| {
                bytes += record.value.map_or(0, <[u8]>::len);
                each(record);
            };
            match self.fetch_once(rest, left, &mut counted) {
                Ok(more) => {
                    if records == 0 && more > 0 {
                        deadline = Instant::now() + limits.linger;
                    }
                    records += more;
                    if records >= limits.records || bytes >= limits.bytes || Instant::now() >= deadline {
                        return Ok(records);
                    }
                }
                Err(KafkaError::Unreachable { detail, .. }) => {
                    // As with the other client, a broker that is down is waited for.
                    log::debug!(error = detail; "kafka is down, trying again");
                    self.connection = None;
                    if records > 0 || Instant::now() >= deadline {
                        return Ok(records);
                    }
                    std::thread::park_timeout(left.min(Duration::from_millis(100)));
                }
                Err(error) => {
                    self.connection = None;
                    return Err(error);
                }
            }
        }
    }
}
