//! A broker of its own for each client, killed and started again while records pass.

mod support;

use std::time::Duration;

use support::instance::{Instance, Service};
use support::{config, unique, value, wait_until};
use webmon::config::{Config, KafkaClient};
use webmon::kafka::{self, Delivery, FetchLimits, NewTopic, Outgoing};
use webmon::record::Outcome;

fn survives_a_killed_broker(service: Service, variable: &str, client: KafkaClient) {
    let Some(broker) = Instance::start(service, variable) else { return };
    let mut config: Config = config(&broker.address, &unique("restart"), "postgres://127.0.0.1/none", "");
    config.kafka.client = client;
    let new = NewTopic { partitions: 1, replication: 1, retention: Duration::from_secs(86_400) };
    kafka::create_topic(&config.kafka, &new).unwrap();

    let mut producer = kafka::producer(&config.kafka).unwrap();
    let mut consumer = kafka::consumer(&config.kafka).unwrap();
    consumer.assign(&[(0, 0)]).unwrap();
    let limits = FetchLimits {
        records: 1_000,
        bytes: 1 << 20,
        wait: Duration::from_millis(200),
        linger: Duration::ZERO,
    };
    let mut fetched: Vec<Vec<u8>> = Vec::new();
    let mut offsets: Vec<i64> = Vec::new();
    let mut produced: Vec<Vec<u8>> = Vec::new();
    for round in 0..3 {
        let mut waiting: Vec<Outgoing> = (0..50)
            .map(|n| {
                let result = support::result("shop", round * 50 + n, Outcome::Success);
                Outgoing { key: "shop".to_owned(), value: value(result) }
            })
            .collect();
        produced.extend(waiting.iter().map(|record| record.value.clone()));
        if round == 1 {
            broker.kill_and_restart();
        }
        // What is handed back is produced again, as the publisher does.
        wait_until("everything is acknowledged", || {
            let deliveries = producer.produce(&waiting);
            let mut deliveries = deliveries.iter();
            waiting.retain(|_| !matches!(deliveries.next(), Some(Delivery::Delivered)));
            waiting.is_empty()
        });
        wait_until("everything is fetched", || {
            consumer
                .fetch(limits, &mut |record| {
                    offsets.push(record.offset);
                    fetched.push(record.value.unwrap().to_vec());
                })
                .unwrap();
            fetched.last() == produced.last()
        });
    }
    assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "no offset twice: {offsets:?}");
    fetched.dedup();
    assert_eq!(fetched, produced);
}

#[test]
fn librdkafka_goes_on_after_its_broker_was_killed() {
    survives_a_killed_broker(Service::Kafka, "WEBMON_TEST_KAFKA", KafkaClient::Librdkafka);
}

#[test]
fn librdkafka_goes_on_after_its_3_9_broker_was_killed() {
    survives_a_killed_broker(Service::Kafka39, "WEBMON_TEST_KAFKA39", KafkaClient::Librdkafka);
}

#[test]
fn kafka_rust_goes_on_after_its_broker_was_killed() {
    survives_a_killed_broker(Service::Kafka39, "WEBMON_TEST_KAFKA39", KafkaClient::KafkaRust);
}
