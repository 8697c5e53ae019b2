//! The default client, librdkafka: an idempotent producer driven synchronously, and a consumer that is only
//! ever assigned explicit offsets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use super::{
    Consumer, Delivery, FetchLimits, Fetched, KafkaError, NewTopic, OffsetRange, Outgoing, Producer,
    partition_for, probe,
};
use crate::config::Kafka;

/// How long the brokers may take over metadata or offsets: half of the default lease of a claim.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a record may take to be acknowledged before it is handed back for another try.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a producer asks for delivery reports that it waits for.
const POLL_MIN: Duration = Duration::from_micros(200);
const POLL_MAX: Duration = Duration::from_millis(10);
/// How often the number of partitions is read again.
const METADATA_AGE: Duration = Duration::from_secs(60);

fn client(config: &Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", config.brokers.join(","))
        .set("client.id", "webmon")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.keepalive.enable", "true")
        // A missing topic is an error to report, not one to create.
        .set("allow.auto.create.topics", "false");
    let protocol = match (&config.tls, &config.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    client.set("security.protocol", protocol);
    if let Some(tls) = &config.tls {
        let files = [
            ("ssl.ca.location", &tls.ca),
            ("ssl.certificate.location", &tls.certificate),
            ("ssl.key.location", &tls.key),
        ];
        for (setting, file) in files {
            if let Some(file) = file {
                client.set(setting, file.to_string_lossy());
            }
        }
    }
    if let Some(sasl) = &config.sasl {
        client
            .set("sasl.mechanism", &sasl.mechanism)
            .set("sasl.username", &sasl.username)
            .set("sasl.password", sasl.password.reveal());
    }
    client
}

/// What librdkafka tells beside the answers to our calls.
#[derive(Default)]
struct Events {
    /// The delivery reports, each with the index of its record.
    reports: Mutex<Vec<(usize, Option<RDKafkaErrorCode>)>>,
    /// Whether TLS or SASL failed since the last success.
    distrusted: AtomicBool,
    /// The last warning or error it logged: the only place where it says why.
    last_words: Mutex<String>,
    /// Why the last commit of offsets was refused, until that was told.
    commit_refused: Mutex<Option<RDKafkaErrorCode>>,
}

impl Events {
    /// Takes note of an error that a second try does not mend.
    fn note(&self, code: RDKafkaErrorCode) {
        if matches!(
            code,
            RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
        ) {
            self.distrusted.store(true, Ordering::Relaxed);
        }
    }
}

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            // It goes on by itself after each of these, so none is an error of ours.
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                log::warn!(target: "librdkafka", facility; "{text}");
                text.clone_into(&mut self.last_words.lock().unwrap_or_else(PoisonError::into_inner));
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                log::info!(target: "librdkafka", facility; "{text}")
            }
            RDKafkaLogLevel::Debug => log::debug!(target: "librdkafka", facility; "{text}"),
        }
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.note(code(&error));
        log::debug!(target: "librdkafka", error = error.to_string(); "{reason}");
    }
}

impl ConsumerContext for Events {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        *self.commit_refused.lock().unwrap_or_else(PoisonError::into_inner) = match result {
            // Nothing was new.
            Ok(()) | Err(ClientError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => None,
            Err(error) => Some(code(&error)),
        };
    }
}

impl ProducerContext for Events {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, index: usize) {
        let error = report.as_ref().err().map(|(error, _)| code(error));
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).push((index, error));
    }
}

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
        let (mut stale, mut pause) = (false, POLL_MIN);
        while waiting > 0 && Instant::now() < deadline {
            // The binding's `poll` waits its time out even when reports have come: so it is given none, and asked
            // often at first, seldom while the broker is away.
            client.poll(Duration::ZERO);
            let mut reports = client.context().reports.lock().unwrap_or_else(PoisonError::into_inner);
            if reports.is_empty() {
                drop(reports);
                std::thread::sleep(pause);
                pause = (pause * 2).min(POLL_MAX);
                continue;
            }
            pause = POLL_MIN;
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
            // A report that came later would be taken for a record of another call: start over.
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
        // A broker refuses a batch whole, for one record in it. What was refused in company is produced again in
        // halves, until each one at fault has been refused alone. Once the broker is away nothing more is tried:
        // each try would wait out the delivery timeout.
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

/// Those among the records `which` that were refused.
fn refused(deliveries: &[Delivery], which: impl Iterator<Item = usize>) -> Vec<usize> {
    which.filter(|i| matches!(deliveries[*i], Delivery::Refused(_))).collect()
}

fn retry_all(records: &[Outgoing], error: &KafkaError) -> Vec<Delivery> {
    records.iter().map(|_| Delivery::Retry(error.clone())).collect()
}

fn failed(config: &Kafka, code: RDKafkaErrorCode) -> Delivery {
    match code {
        // What no second try can mend lies in the record itself.
        RDKafkaErrorCode::MessageSizeTooLarge
        | RDKafkaErrorCode::InvalidMessage
        | RDKafkaErrorCode::InvalidMessageSize
        | RDKafkaErrorCode::InvalidTimestamp
        | RDKafkaErrorCode::InvalidRecord => Delivery::Refused(code.to_string()),
        code => Delivery::Retry(error(config, "cannot produce", code, &code.to_string())),
    }
}

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
    /// Where librdkafka refuses its configuration.
    pub fn new(config: &Kafka) -> Result<LibrdkafkaConsumer, KafkaError> {
        let client = client(config)
            // librdkafka assigns nothing without a group's name. No group is joined, and what is committed is never read.
            .set("group.id", config.group.as_deref().unwrap_or("webmon-store"))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", "500")
            // The default of a second stalls a consumer that drained its queue.
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.max.messages.kbytes", "16384")
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
            // Once something is assigned this could be a record.
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
        let refused =
            self.client.context().commit_refused.lock().unwrap_or_else(PoisonError::into_inner).take();
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
        match found.elements().first().map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Ok(offset),
            // No record is as young as that.
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
                    log::debug!(error = cause.to_string(); "kafka is away, trying on");
                }
                None if Instant::now() >= deadline => break,
                None => {}
            }
        }
        Ok(records)
    }
}

/// Whether librdkafka reports this for information only and goes on by itself.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::NetworkException
            | RDKafkaErrorCode::NotLeaderForPartition
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::BrokerNotAvailable
            | RDKafkaErrorCode::ReplicaNotAvailable
            | RDKafkaErrorCode::OffsetNotAvailable
            | RDKafkaErrorCode::KafkaStorageError
            | RDKafkaErrorCode::FencedLeaderEpoch
            | RDKafkaErrorCode::UnknownLeaderEpoch
            | RDKafkaErrorCode::PartitionEOF
            // Of the group, which only serves other tools.
            | RDKafkaErrorCode::CoordinatorNotAvailable
            | RDKafkaErrorCode::CoordinatorLoadInProgress
            | RDKafkaErrorCode::NotCoordinator
            | RDKafkaErrorCode::GroupAuthorizationFailed
            // Trust is settled at the first contact; afterwards a broker that restarts can look like this too.
            | RDKafkaErrorCode::SSL
            | RDKafkaErrorCode::Authentication
    )
}

/// Creates `config.topic`.
///
/// # Errors
/// [`KafkaError::TopicExists`], or why the brokers refused.
pub fn create_topic(config: &Kafka, topic: &NewTopic) -> Result<(), KafkaError> {
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic as Spec, TopicReplication};

    let admin: AdminClient<_> =
        client(config).create().map_err(|error| other("cannot set up the kafka admin client", &error))?;
    let retention = topic.retention.as_millis().to_string();
    let spec = Spec::new(&config.topic, topic.partitions, TopicReplication::Fixed(topic.replication))
        .set("retention.ms", &retention)
        .set("cleanup.policy", "delete");
    let options =
        AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
    let doing = format!("cannot create topic {:?}", config.topic);
    // librdkafka answers from a thread of its own: any executor will do to wait.
    let outcome = futures_executor::block_on(admin.create_topics([&spec], &options))
        .map_err(|cause| error(config, &doing, code(&cause), &cause.to_string()))?;
    match outcome.into_iter().next() {
        Some(Ok(_)) => Ok(()),
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
            Err(KafkaError::TopicExists { topic: config.topic.clone() })
        }
        Some(Err((_, code))) => Err(error(config, &doing, code, &code.to_string())),
        None => Err(KafkaError::Other { doing, detail: "no answer".to_owned() }),
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

/// What the brokers say of the topic.
struct TopicPartitions {
    count: i32,
    leaderless: Vec<i32>,
}

/// Asks for the topic's partitions, for `timeout` at most. `pump` lets librdkafka tell what keeps it from connecting.
fn topic_partitions(
    client: &rdkafka::client::Client<Events>,
    config: &Kafka,
    timeout: Duration,
    pump: impl Fn(),
) -> Result<TopicPartitions, KafkaError> {
    let deadline = Instant::now() + timeout;
    loop {
        match partitions_once(client, config, timeout.min(REQUEST_TIMEOUT / 10)) {
            Err(error @ KafkaError::Unreachable { .. }) => {
                pump();
                let events = client.context();
                if events.distrusted.swap(false, Ordering::Relaxed) {
                    let detail = events.last_words.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    return Err(KafkaError::Security { brokers: config.brokers.join(","), detail });
                }
                // It takes much of what TLS refuses for an absent broker.
                if config.tls.is_some()
                    && let Err(distrust @ KafkaError::Security { .. }) = probe::ask_any(config)
                {
                    return Err(distrust);
                }
                if Instant::now() >= deadline {
                    return Err(error);
                }
            }
            outcome => return outcome,
        }
    }
}

fn partitions_once(
    client: &rdkafka::client::Client<Events>,
    config: &Kafka,
    timeout: Duration,
) -> Result<TopicPartitions, KafkaError> {
    let unknown = || KafkaError::UnknownTopic { topic: config.topic.clone() };
    let doing = "cannot read the topic's partitions";
    let metadata = client
        .fetch_metadata(Some(&config.topic), timeout)
        .map_err(|cause| error(config, doing, code(&cause), &cause.to_string()))?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == config.topic).ok_or_else(unknown)?;
    if let Some(failure) = topic.error() {
        let code = RDKafkaErrorCode::from(failure);
        return Err(error(config, doing, code, &code.to_string()));
    }
    let leaderless =
        topic.partitions().iter().filter(|partition| partition.leader() < 0).map(|partition| partition.id());
    match i32::try_from(topic.partitions().len()) {
        Ok(count) if count > 0 => Ok(TopicPartitions { count, leaderless: leaderless.collect() }),
        _ => Err(unknown()),
    }
}

fn code(error: &ClientError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)
}

fn error(config: &Kafka, doing: &str, code: RDKafkaErrorCode, detail: &str) -> KafkaError {
    let topic = || config.topic.clone();
    match code {
        RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownPartition => KafkaError::UnknownTopic { topic: topic() },
        RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset => {
            KafkaError::OffsetOutOfRange { topic: topic() }
        }
        RDKafkaErrorCode::BrokerTransportFailure
        | RDKafkaErrorCode::AllBrokersDown
        | RDKafkaErrorCode::Resolve
        | RDKafkaErrorCode::OperationTimedOut
        | RDKafkaErrorCode::MessageTimedOut => {
            KafkaError::Unreachable { brokers: config.brokers.join(","), detail: detail.to_owned() }
        }
        RDKafkaErrorCode::Fatal => KafkaError::Fatal(detail.to_owned()),
        _ => KafkaError::Other { doing: doing.to_owned(), detail: detail.to_owned() },
    }
}

fn other(doing: &str, error: &ClientError) -> KafkaError {
    KafkaError::Other { doing: doing.to_owned(), detail: error.to_string() }
}
