//! One contract for every Kafka client, run against a real broker: what `Producer` and `Consumer` promise.
//!
//! Each test takes a [`Client`]; the macro at the end makes one test a client of it.

#![cfg(feature = "librdkafka")]

mod support;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use webmon::config::{Config, Kafka, KafkaClient, Role};
use webmon::kafka::librdkafka::LibrdkafkaProducer;
use webmon::kafka::{
    self, Consumer, Delivery, FetchLimits, Fetched, KafkaError, NewTopic, OffsetRange, Outgoing, Producer,
    create_topic, partition_for,
};

/// A client, and the broker it is tried on.
struct Client {
    kind: KafkaClient,
    broker: &'static str,
}

impl Client {
    fn producer(&self, config: &Kafka) -> Box<dyn Producer> {
        kafka::producer(&Kafka { client: self.kind, ..config.clone() }).unwrap()
    }

    fn consumer(&self, config: &Kafka) -> Box<dyn Consumer> {
        kafka::consumer(&Kafka { client: self.kind, ..config.clone() }).unwrap()
    }
}

const WAIT: Duration = Duration::from_secs(20);
const ANY: FetchLimits =
    FetchLimits { records: 100_000, bytes: 100 << 20, wait: WAIT, linger: Duration::ZERO };

fn config(brokers: &str, topic: &str) -> Kafka {
    let toml = format!("kafka.brokers = [{brokers:?}]\nkafka.topic = {topic:?}\npostgres.url = \"-\"");
    Config::from_toml(&toml, Role::Store).unwrap().kafka
}

/// A topic of the test's own, deleted in the end. It is set up by a client of its own, not by the one under test.
struct Topic {
    config: Kafka,
    admin: AdminClient<DefaultClientContext>,
}

impl Topic {
    fn new(client: &Client, partitions: i32) -> Option<Topic> {
        let topic = Topic::absent(client)?;
        let spec = NewTopic { partitions, replication: 1, retention: Duration::from_secs(3_600) };
        create_topic(&topic.config, &spec).unwrap();
        // The broker answers before the partitions have leaders everywhere.
        support::wait_until("the new topic has leaders", || {
            let metadata = topic.admin.inner().fetch_metadata(Some(&topic.config.topic), WAIT).unwrap();
            let found = &metadata.topics()[0];
            found.partitions().len() == partitions as usize
                && (0..partitions)
                    .all(|p| topic.admin.inner().fetch_watermarks(&topic.config.topic, p, WAIT).is_ok())
        });
        Some(topic)
    }

    /// A topic that does not exist.
    fn absent(client: &Client) -> Option<Topic> {
        let brokers = support::service(client.broker)?;
        let config = config(&brokers, &support::unique("webmon-test"));
        let admin = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
        Some(Topic { config, admin })
    }

    fn set(&self, key: &str, value: &str) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(&self.config.topic)).set(key, value);
        let outcome = block_on(self.admin.alter_configs([&change], &AdminOptions::new())).unwrap();
        outcome[0].as_ref().unwrap();
    }

    /// Produces as anybody else might: any key, any value, none of either.
    fn produce_raw(&self, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", self.config.brokers.join(",")).create().unwrap();
        let mut record = BaseRecord::to(&self.config.topic).partition(partition);
        record.key = key;
        record.payload = value;
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(WAIT).unwrap();
    }

    fn delete_records_before(&self, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.config.topic, partition, Offset::Offset(offset)).unwrap();
        block_on(self.admin.delete_records(&list, &AdminOptions::new())).unwrap();
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let _ = block_on(self.admin.delete_topics(&[&self.config.topic], &AdminOptions::new()));
    }
}

/// A record fetched, kept.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    partition: i32,
    offset: i64,
    timestamp_ms: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

fn fetch(consumer: &mut dyn Consumer, limits: FetchLimits) -> Result<Vec<Kept>, KafkaError> {
    let mut kept = Vec::new();
    let count = consumer.fetch(limits, &mut |record: Fetched<'_>| {
        kept.push(Kept {
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
        });
    })?;
    assert_eq!(count, kept.len());
    Ok(kept)
}

/// Fetches until there are `count` records, or an error.
fn fetch_until(consumer: &mut dyn Consumer, count: usize) -> Result<Vec<Kept>, KafkaError> {
    let mut all = Vec::new();
    while all.len() < count {
        let fetched = fetch(consumer, ANY)?;
        assert!(!fetched.is_empty(), "nothing more after {} of {count} records", all.len());
        all.extend(fetched);
    }
    Ok(all)
}

fn outgoing(range: std::ops::Range<usize>) -> Vec<Outgoing> {
    range
        .map(|i| Outgoing { key: format!("site-{}", i % 37), value: format!("value {i}").into_bytes() })
        .collect()
}

#[track_caller]
fn assert_delivered(deliveries: &[Delivery], count: usize) {
    assert_eq!(deliveries.len(), count);
    for delivery in deliveries {
        assert!(matches!(delivery, Delivery::Delivered), "{delivery:?}");
    }
}

fn offsets_of(records: &[Kept]) -> Vec<i64> {
    records.iter().map(|record| record.offset).collect()
}

// ---- The contract.

fn a_record_lies_in_the_partition_of_its_key_and_is_fetched_as_it_was_produced(client: &Client) {
    let Some(topic) = Topic::new(client, 6) else { return };
    let records = outgoing(0..1_000);
    let before = jiff::Timestamp::now().as_millisecond();
    assert_delivered(&client.producer(&topic.config).produce(&records), 1_000);

    let mut consumer = client.consumer(&topic.config);
    assert_eq!(consumer.partitions().unwrap(), 6);
    let positions: Vec<(i32, i64)> = (0..6).map(|partition| (partition, 0)).collect();
    consumer.assign(&positions).unwrap();
    let fetched = fetch_until(consumer.as_mut(), 1_000).unwrap();

    let mut expected: BTreeMap<i32, Vec<&Outgoing>> = BTreeMap::new();
    for record in &records {
        expected.entry(partition_for(record.key.as_bytes(), 6)).or_default().push(record);
    }
    assert!(expected.len() > 3, "the keys are spread");
    for (partition, expected) in expected {
        let found: Vec<&Kept> = fetched.iter().filter(|record| record.partition == partition).collect();
        assert_eq!(found.len(), expected.len(), "partition {partition}");
        for (offset, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert_eq!(found.offset, offset as i64, "in order, without a hole");
            assert_eq!(found.key.as_deref(), Some(expected.key.as_bytes()));
            assert_eq!(found.value.as_deref(), Some(&expected.value[..]));
            // kafka-rust speaks a version of the protocol without timestamps.
            match (client.kind, found.timestamp_ms) {
                (KafkaClient::KafkaRust, at) => assert_eq!(at, None),
                (KafkaClient::Librdkafka, at) => {
                    assert!(at.is_some_and(|at| (before - 60_000..before + 60_000).contains(&at)), "{at:?}");
                }
            }
        }
    }
}

fn a_delivery_is_told_as_soon_as_it_is_reported(client: &Client) {
    let Some(topic) = Topic::new(client, 1) else { return };
    let mut producer = client.producer(&topic.config);
    let produce = |n| {
        let started = Instant::now();
        assert_delivered(&producer.produce(&outgoing(n..n + 1)), 1);
        started.elapsed()
    };
    // However busy the machine is.
    let fastest = (0..30).map(produce).min().unwrap();
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
}

fn a_fetch_without_records_waits_and_brings_none(client: &Client) {
    let Some(topic) = Topic::new(client, 1) else { return };
    let mut consumer = client.consumer(&topic.config);
    let limits = FetchLimits { wait: Duration::from_millis(1_500), ..ANY };
    for round in 0..2 {
        // Also before anything is assigned.
        if round == 1 {
            consumer.assign(&[(0, 0)]).unwrap();
        }
        let started = Instant::now();
        assert_eq!(fetch(consumer.as_mut(), limits).unwrap(), []);
        let waited = started.elapsed();
        assert!(waited >= Duration::from_millis(1_400) && waited < Duration::from_secs(8), "{waited:?}");
    }
    // A record that comes while a fetch waits ends the wait.
    let mut producer = client.producer(&topic.config);
    let started = Instant::now();
    let produced = std::thread::spawn(move || assert_delivered(&producer.produce(&outgoing(0..1)), 1));
    assert_eq!(offsets_of(&fetch(consumer.as_mut(), ANY).unwrap()), [0]);
    assert!(started.elapsed() < WAIT / 2, "{:?}", started.elapsed());
    produced.join().unwrap();
}

fn a_fetch_keeps_its_limits_and_loses_nothing(client: &Client) {
    let Some(topic) = Topic::new(client, 1) else { return };
    let records: Vec<Outgoing> =
        (0..50).map(|i| Outgoing { key: "k".to_owned(), value: vec![i; 1_000] }).collect();
    assert_delivered(&client.producer(&topic.config).produce(&records), 50);
    let mut consumer = client.consumer(&topic.config);
    consumer.assign(&[(0, 0)]).unwrap();
    let mut seen = Vec::new();
    for (records, bytes, most) in
        [(7, 100 << 20, 7), (1, 1, 1), (100, 1, 1), (100, 3_500, 4), (100, 3_000, 3)]
    {
        let fetched = fetch(consumer.as_mut(), FetchLimits { records, bytes, ..ANY }).unwrap();
        assert!(!fetched.is_empty() && fetched.len() <= most, "{} of {most}", fetched.len());
        seen.extend(offsets_of(&fetched));
    }
    while seen.len() < 50 {
        seen.extend(offsets_of(&fetch(consumer.as_mut(), ANY).unwrap()));
    }
    assert_eq!(seen, (0..50).collect::<Vec<i64>>());
}

fn a_fetch_waits_for_more_once_it_has_a_record_unless_it_is_full(client: &Client) {
    let Some(topic) = Topic::new(client, 1) else { return };
    let mut consumer = client.consumer(&topic.config);
    consumer.assign(&[(0, 0)]).unwrap();
    let put = || topic.produce_raw(0, Some(b"k"), Some(b"v"));
    let long = FetchLimits { linger: WAIT, ..ANY };
    std::thread::scope(|scope| {
        scope.spawn(|| (0..3).for_each(|_| put()));
        let started = Instant::now();
        let fetched = fetch(consumer.as_mut(), FetchLimits { records: 3, ..long }).unwrap();
        assert_eq!(offsets_of(&fetched), [0, 1, 2]);
        assert!(started.elapsed() < WAIT / 2, "{:?}", started.elapsed());
    });
    put();
    let started = Instant::now();
    let linger = Duration::from_millis(700);
    assert_eq!(offsets_of(&fetch(consumer.as_mut(), FetchLimits { linger, ..ANY }).unwrap()), [3]);
    assert!(started.elapsed() >= linger && started.elapsed() < WAIT, "{:?}", started.elapsed());
}

fn a_new_assignment_takes_effect_at_once(client: &Client) {
    let Some(topic) = Topic::new(client, 3) else { return };
    let mut producer = client.producer(&topic.config);
    assert_delivered(&producer.produce(&outgoing(0..3_000)), 3_000);
    let mut consumer = client.consumer(&topic.config);
    // The first fetch leaves records in the client's own queue; none of them may come after the new assignment.
    consumer.assign(&[(0, 0), (1, 0)]).unwrap();
    assert_eq!(fetch(consumer.as_mut(), FetchLimits { records: 3, ..ANY }).unwrap().len(), 3);
    for (partition, offset) in [(2, 100), (0, 50), (0, 5), (1, 0)] {
        consumer.assign(&[(partition, offset)]).unwrap();
        let fetched = fetch(consumer.as_mut(), FetchLimits { records: 10, ..ANY }).unwrap();
        assert!(!fetched.is_empty());
        for (record, expected) in fetched.iter().zip(offset..) {
            assert_eq!((record.partition, record.offset), (partition, expected));
        }
    }
    // The same position once more, and one beside the partition in use.
    for positions in [&[(1, 0)][..], &[(1, 7), (2, 9)]] {
        consumer.assign(positions).unwrap();
        let mut next: BTreeMap<i32, i64> = positions.iter().copied().collect();
        for record in fetch(consumer.as_mut(), FetchLimits { records: 10, ..ANY }).unwrap() {
            let next = next.get_mut(&record.partition).expect("a partition assigned");
            assert_eq!(record.offset, *next);
            *next += 1;
        }
    }
    consumer.assign(&[]).unwrap();
    let limits = FetchLimits { wait: Duration::from_secs(1), ..ANY };
    assert_eq!(fetch(consumer.as_mut(), limits).unwrap(), []);
}

fn a_consumer_catches_up_after_it_has_waited_at_the_end(client: &Client) {
    let Some(topic) = Topic::new(client, 1) else { return };
    let mut producer = client.producer(&topic.config);
    let mut consumer = client.consumer(&topic.config);
    consumer.assign(&[(0, 0)]).unwrap();
    for round in 0..5 {
        let limits = FetchLimits { wait: Duration::from_millis(300), ..ANY };
        assert_eq!(fetch(consumer.as_mut(), limits).unwrap(), []);
        let key = |record: Outgoing| Outgoing { key: "k".to_owned(), ..record };
        let records: Vec<Outgoing> = outgoing(0..20).into_iter().map(key).collect();
        assert_delivered(&producer.produce(&records), 20);
        let fetched = fetch_until(consumer.as_mut(), 20).unwrap();
        assert_eq!(offsets_of(&fetched), (round * 20..round * 20 + 20).collect::<Vec<i64>>());
    }
}

fn the_offsets_are_those_that_the_partition_holds(client: &Client) {
    let Some(topic) = Topic::new(client, 2) else { return };
    let mut consumer = client.consumer(&topic.config);
    assert_eq!(consumer.offsets(0).unwrap(), OffsetRange { earliest: 0, end: 0 });
    for _ in 0..10 {
        topic.produce_raw(0, Some(b"k"), Some(b"v"));
    }
    assert_eq!(consumer.offsets(0).unwrap(), OffsetRange { earliest: 0, end: 10 });
    topic.delete_records_before(0, 4);
    assert_eq!(consumer.offsets(0).unwrap(), OffsetRange { earliest: 4, end: 10 });
    assert_eq!(consumer.offsets(1).unwrap(), OffsetRange { earliest: 0, end: 0 });
    let error = consumer.offsets(2).unwrap_err();
    assert!(matches!(error, KafkaError::UnknownTopic { .. } | KafkaError::Other { .. }), "{error:?}");
}

fn an_offset_out_of_range_is_an_error_of_its_own(client: &Client) {
    let Some(topic) = Topic::new(client, 1) else { return };
    for _ in 0..10 {
        topic.produce_raw(0, Some(b"k"), Some(b"v"));
    }
    topic.delete_records_before(0, 4);
    let mut consumer = client.consumer(&topic.config);
    // Below, above, far above; and in between positions that are held, which must work again.
    for (offset, held) in
        [(3, false), (4, true), (0, false), (10, true), (11, false), (9, true), (1 << 40, false)]
    {
        consumer.assign(&[(0, offset)]).unwrap();
        let wait = if offset == 10 { Duration::from_secs(1) } else { WAIT };
        let outcome = fetch(consumer.as_mut(), FetchLimits { wait, ..ANY });
        match outcome {
            Ok(records) if held => assert_eq!(offsets_of(&records), (offset..10).collect::<Vec<i64>>()),
            Err(KafkaError::OffsetOutOfRange { topic: named }) if !held => {
                assert_eq!(named, topic.config.topic);
            }
            other => panic!("offset {offset}: {other:?}"),
        }
    }
}

fn a_partition_out_of_range_costs_the_others_nothing(client: &Client) {
    let Some(topic) = Topic::new(client, 2) else { return };
    for _ in 0..5 {
        topic.produce_raw(1, Some(b"k"), Some(b"v"));
    }
    let mut consumer = client.consumer(&topic.config);
    consumer.assign(&[(0, 100), (1, 0)]).unwrap();
    // It may hand over records before it fails: they count as not fetched.
    let error = loop {
        match fetch(consumer.as_mut(), ANY) {
            Ok(records) => assert!(!records.is_empty(), "the error does not come"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, KafkaError::OffsetOutOfRange { .. }), "{error:?}");
    consumer.assign(&[(0, 0), (1, 0)]).unwrap();
    assert_eq!(offsets_of(&fetch_until(consumer.as_mut(), 5).unwrap()), [0, 1, 2, 3, 4]);
}

fn a_missing_topic_is_exactly_that(client: &Client) {
    let Some(topic) = Topic::absent(client) else { return };
    let unknown = |error: &KafkaError| {
        assert!(
            matches!(error, KafkaError::UnknownTopic { topic: named } if *named == topic.config.topic),
            "{error:?}"
        );
        let expected = format!(
            "topic {:?} does not exist: create it with \"webmon-store topic create\"",
            topic.config.topic
        );
        assert_eq!(error.to_string(), expected);
    };
    let mut producer = client.producer(&topic.config);
    unknown(&producer.partitions().unwrap_err());
    let deliveries = producer.produce(&outgoing(0..3));
    assert_eq!(deliveries.len(), 3);
    for delivery in &deliveries {
        match delivery {
            Delivery::Retry(error) => unknown(error),
            other => panic!("{other:?}"),
        }
    }
    let mut consumer = client.consumer(&topic.config);
    unknown(&consumer.partitions().unwrap_err());
    unknown(&consumer.offsets(0).unwrap_err());
    consumer.assign(&[(0, 0)]).unwrap();
    unknown(&fetch(consumer.as_mut(), FetchLimits { wait: Duration::from_secs(60), ..ANY }).unwrap_err());

    // None of this made it; and once it is made, the same producer works.
    unknown(&client.producer(&topic.config).partitions().unwrap_err());
    create_topic(
        &topic.config,
        &NewTopic { partitions: 2, replication: 1, retention: Duration::from_secs(3_600) },
    )
    .unwrap();
    support::wait_until("the same producer delivers", || {
        producer.produce(&outgoing(0..3)).iter().all(|delivery| matches!(delivery, Delivery::Delivered))
    });
}

fn a_topic_of_the_same_name_exists_already(client: &Client) {
    let Some(topic) = Topic::new(client, 1) else { return };
    let again = NewTopic { partitions: 5, replication: -1, retention: Duration::from_secs(60) };
    let error = create_topic(&topic.config, &again).unwrap_err();
    assert!(
        matches!(&error, KafkaError::TopicExists { topic: named } if *named == topic.config.topic),
        "{error:?}"
    );
    assert_eq!(error.to_string(), format!("topic {:?} exists already", topic.config.topic));
    let none = NewTopic { partitions: 0, ..again };
    let absent = Topic::absent(client).unwrap();
    let error = create_topic(&absent.config, &none).unwrap_err();
    assert!(matches!(error, KafkaError::Other { .. }), "{error:?}");
    assert!(
        error.to_string().starts_with(&format!("cannot create topic {:?}: ", absent.config.topic)),
        "{error}"
    );
}

/// An address at which nobody answers.
fn nobody() -> Kafka {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    config(&format!("127.0.0.1:{port}"), "webmon-test-unreachable")
}

fn an_absent_broker_is_unreachable_within_bounds(client: &Client) {
    let config = nobody();
    let mut producer = client.producer(&config);
    let started = Instant::now();
    let deliveries = producer.produce(&outgoing(0..5));
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(deliveries.len(), 5);
    for delivery in &deliveries {
        assert!(
            matches!(delivery, Delivery::Retry(KafkaError::Unreachable { brokers, .. }) if *brokers == config.brokers[0]),
            "{delivery:?}"
        );
    }
    for error in [producer.partitions().unwrap_err(), client.consumer(&config).offsets(0).unwrap_err()] {
        assert!(matches!(error, KafkaError::Unreachable { .. }), "{error:?}");
        let expected = format!("no broker of {} answers: ", config.brokers[0]);
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}

fn a_consumer_waits_quietly_for_an_absent_broker(client: &Client) {
    let mut consumer = client.consumer(&nobody());
    consumer.assign(&[(0, 0), (1, 5)]).unwrap();
    for _ in 0..3 {
        let started = Instant::now();
        let limits = FetchLimits { wait: Duration::from_millis(1_200), ..ANY };
        assert_eq!(fetch(consumer.as_mut(), limits).unwrap(), []);
        let waited = started.elapsed();
        assert!(waited >= Duration::from_millis(1_100) && waited < Duration::from_secs(6), "{waited:?}");
    }
}

fn a_record_that_is_too_large_is_refused_and_its_neighbours_delivered(client: &Client) {
    let Some(topic) = Topic::new(client, 1) else { return };
    topic.set("max.message.bytes", "5000");
    // No compression makes these smaller.
    let mut state = 1u32;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| byte()).collect()
    };
    // One too large for the topic, one for any client, and so many good ones that they exceed the limit together.
    let records: Vec<Outgoing> = (0..60)
        .map(|i| {
            let length = match i {
                7 | 31 => 20_000,
                32 => 3 << 20,
                _ => 900,
            };
            Outgoing { key: "k".to_owned(), value: noise(length) }
        })
        .collect();
    let mut producer = client.producer(&topic.config);
    let deliveries = producer.produce(&records);
    assert_eq!(deliveries.len(), 60);
    for (i, delivery) in deliveries.iter().enumerate() {
        match (i, delivery) {
            (7 | 31 | 32, Delivery::Refused(reason)) => assert!(!reason.is_empty()),
            (7 | 31 | 32, other) => panic!("record {i}: {other:?}"),
            (_, Delivery::Delivered) => {}
            (_, other) => panic!("record {i}: {other:?}"),
        }
    }
    // The producer is as good as new.
    assert_delivered(&producer.produce(&outgoing(0..10)), 10);
    let mut consumer = client.consumer(&topic.config);
    consumer.assign(&[(0, 0)]).unwrap();
    let fetched = fetch_until(consumer.as_mut(), 67).unwrap();
    for (i, record) in records.iter().enumerate() {
        let copies = fetched.iter().filter(|fetched| fetched.value.as_ref() == Some(&record.value)).count();
        assert_eq!(copies, usize::from(![7, 31, 32].contains(&i)), "record {i}");
    }
}

/// No record at or after a time is left out by beginning there; librdkafka begins exactly there.
fn an_offset_is_found_by_time(client: &Client) {
    let Some(topic) = Topic::new(client, 1) else { return };
    let now = Timestamp::now().as_second();
    let at = |i: i64| Timestamp::from_second(now - 100 + i * 10).unwrap();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", topic.config.brokers.join(",")).create().unwrap();
    for i in 0..5 {
        let record = BaseRecord::<str, str>::to(&topic.config.topic).partition(0).payload("x");
        producer.send(record.timestamp(at(i).as_millisecond())).map_err(|(error, _)| error).unwrap();
        // One batch each, as a broker may tell times by batches.
        producer.flush(WAIT).unwrap();
    }
    let mut consumer = client.consumer(&topic.config);
    consumer.partitions().unwrap();
    for (time, exact) in [(at(-1), 0), (at(2), 2), (at(3) - Duration::from_secs(1), 3), (at(60), 5)] {
        let found = consumer.offset_at(0, time).unwrap();
        match client.kind {
            KafkaClient::Librdkafka => assert_eq!(found, exact, "{time}"),
            KafkaClient::KafkaRust => assert!((0..=exact).contains(&found), "{time}: {found}"),
        }
    }
}

/// librdkafka tells the cluster; by kafka-rust's version of the protocol nobody does.
fn the_cluster_is_told_by_its_id(client: &Client) {
    let Some(topic) = Topic::new(client, 1) else { return };
    let mut ids = (0..2).map(|_| client.consumer(&topic.config).cluster_id().unwrap());
    let (first, second) = (ids.next().unwrap(), ids.next().unwrap());
    assert_eq!(first, second);
    assert_eq!(first.is_some(), client.kind == KafkaClient::Librdkafka);
}

fn a_tombstone_and_a_key_of_any_bytes_are_handed_on_as_they_are(client: &Client) {
    let Some(topic) = Topic::new(client, 1) else { return };
    let key: &[u8] = b"\xff\x00\xfe";
    type Raw<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);
    let records: [Raw<'_>; 5] = [
        (Some(key), Some(b"v")),
        (Some(key), None),
        (None, Some(b"\x00\xff")),
        (None, None),
        (Some(b"k"), Some(b"")),
    ];
    for (key, value) in records {
        topic.produce_raw(0, key, value);
    }
    let mut consumer = client.consumer(&topic.config);
    consumer.assign(&[(0, 0)]).unwrap();
    let fetched = fetch_until(consumer.as_mut(), 5).unwrap();
    for (i, (fetched, (key, value))) in fetched.iter().zip(records).enumerate() {
        assert_eq!(fetched.key.as_deref(), key, "record {i}");
        // An empty value and none are both no record.
        assert_eq!(fetched.value.as_deref().unwrap_or_default(), value.unwrap_or_default(), "record {i}");
    }
}

fn a_key_or_value_of_no_length_is_delivered(client: &Client) {
    let Some(topic) = Topic::new(client, 3) else { return };
    let records = [("", &b""[..]), ("", b"v"), ("k", b"")]
        .map(|(key, value)| Outgoing { key: key.to_owned(), value: value.to_vec() });
    let mut producer = client.producer(&topic.config);
    assert_delivered(&producer.produce(&records), 3);
    assert_delivered(&producer.produce(&[]), 0);
    assert_eq!(client.consumer(&topic.config).offsets(partition_for(b"", 3)).unwrap().end, 2);
}

// ---- librdkafka's own.

#[test]
fn a_producer_that_met_a_fatal_error_is_replaced_by_a_new_one() {
    let cluster = MockCluster::new(1).unwrap();
    let config = config(&cluster.bootstrap_servers(), "fatal");
    cluster.create_topic(&config.topic, 1, 1).unwrap();
    let mut producer = LibrdkafkaProducer::new(&config);
    assert_delivered(&producer.produce(&outgoing(0..10)), 10);
    // What the broker says of an idempotent producer whose records it no longer knows the order of.
    let error = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    cluster.request_errors(rdkafka::types::RDKafkaApiKey::Produce, &[error; 3]);
    for delivery in producer.produce(&outgoing(10..20)) {
        assert!(matches!(delivery, Delivery::Retry(_)), "{delivery:?}");
    }
    cluster.clear_request_errors(rdkafka::types::RDKafkaApiKey::Produce);
    assert_delivered(&producer.produce(&outgoing(10..20)), 10);
}

macro_rules! contract {
    ($module:ident, $client:expr; $($promise:ident)+) => {
        mod $module {
            $(#[test] fn $promise() { super::$promise(&$client) })+
        }
    };
}

macro_rules! contract_of {
    ($module:ident, $client:expr) => {
        contract! { $module, $client;
            a_record_lies_in_the_partition_of_its_key_and_is_fetched_as_it_was_produced
            a_delivery_is_told_as_soon_as_it_is_reported
            a_fetch_without_records_waits_and_brings_none
            a_fetch_keeps_its_limits_and_loses_nothing
            a_fetch_waits_for_more_once_it_has_a_record_unless_it_is_full
            a_new_assignment_takes_effect_at_once
            a_consumer_catches_up_after_it_has_waited_at_the_end
            the_offsets_are_those_that_the_partition_holds
            an_offset_out_of_range_is_an_error_of_its_own
            a_partition_out_of_range_costs_the_others_nothing
            a_missing_topic_is_exactly_that
            a_topic_of_the_same_name_exists_already
            an_absent_broker_is_unreachable_within_bounds
            a_consumer_waits_quietly_for_an_absent_broker
            a_record_that_is_too_large_is_refused_and_its_neighbours_delivered
            a_tombstone_and_a_key_of_any_bytes_are_handed_on_as_they_are
            a_key_or_value_of_no_length_is_delivered
            an_offset_is_found_by_time
            the_cluster_is_told_by_its_id
        }
    };
}

contract_of!(
    librdkafka_on_kafka_4,
    super::Client { kind: super::KafkaClient::Librdkafka, broker: "WEBMON_TEST_KAFKA" }
);
contract_of!(
    librdkafka_on_kafka_3_9,
    super::Client { kind: super::KafkaClient::Librdkafka, broker: "WEBMON_TEST_KAFKA39" }
);
#[cfg(feature = "kafka-rust")]
contract_of!(
    kafka_rust_on_kafka_3_9,
    super::Client { kind: super::KafkaClient::KafkaRust, broker: "WEBMON_TEST_KAFKA39" }
);
