//! The producer.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::client::{DELIVERY_TIMEOUT, REQUEST_TIMEOUT, client};
use super::error::{code, error, other};
use super::events::Events;
use super::partitions::topic_partitions;
use crate::backoff::Backoff;
use crate::config::Kafka;
use crate::kafka::error::KafkaError;
use crate::kafka::murmur2::partition_for;
use crate::kafka::producer::{Delivery, Outgoing, Producer};
use crate::mutex::lock;

/// How often a producer asks for delivery reports that it waits for.
const POLL_MIN: Duration = Duration::from_micros(200);
const POLL_MAX: Duration = Duration::from_millis(10);
/// How often the number of partitions is read again.
const METADATA_AGE: Duration = Duration::from_secs(60);

/// Produces to one topic with `acks=all` and idempotence.
pub struct LibrdkafkaProducer {
    config: Kafka,
    client: Option<BaseProducer<Events>>,
    partitions: Option<(i32, Instant)>,
}

impl LibrdkafkaProducer {
    /// A producer for `config.topic`. It connects when it first produces.
    pub fn new(config: &Kafka) -> LibrdkafkaProducer {
        LibrdkafkaProducer { config: config.clone(), client: None, partitions: None }
    }

    fn connect(config: &Kafka) -> Result<BaseProducer<Events>, KafkaError> {
        client(config)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string())
            .set("linger.ms", "2")
            // Both clients can read and write snappy.
            .set("compression.codec", "snappy")
            .set("queue.buffering.max.messages", "200000")
            .create_with_context(Events::default())
            .map_err(|error| other("cannot set up the kafka producer", &error))
    }

    fn client(&mut self) -> Result<&BaseProducer<Events>, KafkaError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Self::connect(&self.config)?,
        };
        Ok(self.client.insert(client))
    }

    fn produce_once(&mut self, records: &[Outgoing]) -> Vec<Delivery> {
        self.try_produce(records).unwrap_or_else(|error| retry_all(records, &error))
    }

    fn try_produce(&mut self, records: &[Outgoing]) -> Result<Vec<Delivery>, KafkaError> {
        let partitions = match self.partitions {
            Some((partitions, read_at)) if read_at.elapsed() < METADATA_AGE => partitions,
            _ => {
                let partitions = self.partitions()?;
                self.partitions = Some((partitions, Instant::now()));
                partitions
            }
        };
        let config = self.config.clone();
        let client = self.client()?;

        let mut deliveries: Vec<Option<Delivery>> = Vec::with_capacity(records.len());
        let mut waiting = 0;
        for (index, outgoing) in records.iter().enumerate() {
            let record = BaseRecord::with_opaque_to(&config.topic, index)
                .partition(partition_for(outgoing.key.as_bytes(), partitions))
                .key(&outgoing.key)
                .payload(&outgoing.value);
            match client.send(record) {
                Ok(()) => {
                    waiting += 1;
                    deliveries.push(None);
                }
                Err((error, _)) => deliveries.push(Some(failed(&config, code(&error)))),
            }
        }
        // Every record that was sent gets its report within the delivery timeout, also one that fails.
        let deadline = Instant::now() + DELIVERY_TIMEOUT * 2;
        let (mut stale, mut backoff) = (false, Backoff::new(POLL_MIN, POLL_MAX));
        while waiting > 0 && Instant::now() < deadline {
            // The binding's `poll` waits for all of its time even if reports have come. So it gets no time, and is
            // called often at first, and rarely while the broker is down.
            client.poll(Duration::ZERO);
            let mut reports = lock(&client.context().reports);
            if reports.is_empty() {
                drop(reports);
                std::thread::sleep(backoff.pause());
                continue;
            }
            backoff.reset();
            for (index, error) in reports.drain(..) {
                waiting -= 1;
                stale |= error.is_some();
                deliveries[index] = Some(match error {
                    None => Delivery::Delivered,
                    Some(code) => failed(&config, code),
                });
            }
        }
        let fatal = client.client().fatal_error();
        if waiting > 0 || fatal.is_some() {
            // A report that came later would be assigned to a record of another call. So start over.
            log::error!(reason = fatal.map_or_else(|| "reports overdue".to_owned(), |(code, text)| format!("{code}: {text}")); "rebuilding the kafka producer");
            self.client = None;
        }
        if stale {
            self.partitions = None;
        }
        let overdue = || Delivery::Retry(KafkaError::Fatal("no delivery report".to_owned()));
        Ok(deliveries.into_iter().map(|delivery| delivery.unwrap_or_else(overdue)).collect())
    }
}

impl Producer for LibrdkafkaProducer {
    fn partitions(&mut self) -> Result<i32, KafkaError> {
        let config = self.config.clone();
        let client = self.client()?;
        let pump = || client.poll(Duration::ZERO);
        topic_partitions(client.client(), &config, REQUEST_TIMEOUT, pump).map(|found| found.count)
    }

    fn produce(&mut self, records: &[Outgoing]) -> Vec<Delivery> {
        let mut deliveries = self.produce_once(records);
        // A broker refuses a whole batch because of one record in it. Records refused together are produced again in
        // halves, until each one at fault has been refused alone. If the broker goes down meanwhile, nothing more is
        // tried, because each try would take the whole delivery timeout.
        let mut together = vec![refused(&deliveries, 0..records.len())];
        let mut trouble = None;
        while let Some(group) = together.pop() {
            if group.len() < 2 {
                continue;
            }
            let (first, second) = group.split_at(group.len() / 2);
            for half in [first, second] {
                let again: Vec<Outgoing> = half.iter().map(|i| records[*i].clone()).collect();
                let outcome = match &trouble {
                    Some(error) => retry_all(&again, error),
                    None => self.produce_once(&again),
                };
                for (i, delivery) in half.iter().zip(outcome) {
                    if let Delivery::Retry(error) = &delivery {
                        trouble.get_or_insert_with(|| error.clone());
                    }
                    deliveries[*i] = delivery;
                }
                together.push(refused(&deliveries, half.iter().copied()));
            }
        }
        deliveries
    }
}

/// The records among `which` that were refused.
fn refused(deliveries: &[Delivery], which: impl Iterator<Item = usize>) -> Vec<usize> {
    which.filter(|i| matches!(deliveries[*i], Delivery::Refused(_))).collect()
}

fn retry_all(records: &[Outgoing], error: &KafkaError) -> Vec<Delivery> {
    records.iter().map(|_| Delivery::Retry(error.clone())).collect()
}

fn failed(config: &Kafka, code: RDKafkaErrorCode) -> Delivery {
    match code {
        // A second try cannot mend these, because they are due to the record itself.
        RDKafkaErrorCode::MessageSizeTooLarge
        | RDKafkaErrorCode::InvalidMessage
        | RDKafkaErrorCode::InvalidMessageSize
        | RDKafkaErrorCode::InvalidTimestamp
        | RDKafkaErrorCode::InvalidRecord => Delivery::Refused(code.to_string()),
        code => Delivery::Retry(error(config, "cannot produce", code, &code.to_string())),
    }
}
