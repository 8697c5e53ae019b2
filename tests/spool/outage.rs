//! A long outage costs disk and not memory.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use webmon::kafka::Producer;
use webmon::outbox::spool::SpoolOptions;
use webmon::outbox::{Outbox, Publisher, Spool};
use webmon::record::Record;

use crate::sites;
use crate::spool::{helper, helper_directory, number, open_with, record, said, say, segments, topic_of};
use crate::support::{self, scale, unique};

fn kafka_config(brokers: &str, topic: &str) -> webmon::config::Kafka {
    support::config(brokers, topic, "postgres://nobody@127.0.0.1/none", "").kafka
}

#[test]
fn a_long_outage_and_a_kill_cost_disk_and_not_memory_and_everything_arrives() {
    let Some(brokers) = support::kafka() else { return };
    let total: u64 = scale(150_000, 3_600_000);
    let patience = Duration::from_secs(scale(120, 1_200));
    let topic = unique("outage");
    let kafka = kafka_config(&brokers, &topic);
    topic_of(&kafka, 6);
    // On a disk: memory is what this is about.
    let directory = tempfile::tempdir().unwrap();
    let said_by = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();

    // Nobody answers there.
    let closed = sites::ClosedPort::new();
    let begun = Instant::now();
    let mut child = helper("outage::helper_appends_through_an_outage", directory.path())
        .env("BROKERS", closed.address.to_string())
        .env("TOPIC", &topic)
        .stdout(File::create(directory.path().join("appended")).unwrap())
        .spawn()
        .unwrap();
    let durable = || said(&said_by("appended").lines().map(str::to_owned).collect::<Vec<_>>(), "durable ");
    support::wait_within(patience, "they are appended", || {
        durable().len() as u64 * OUTAGE_BATCH >= total || child.try_wait().unwrap().is_some()
    });
    let appending = begun.elapsed().as_secs();
    let peak = support::peak_memory_kb(child.id());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "killed while it was appending");
    let durable = durable();
    let disk: u64 = segments(directory.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();

    // Another process finds the broker back.
    let begun = Instant::now();
    let mut child = helper("outage::helper_sends_what_waits", directory.path())
        .env("BROKERS", &brokers)
        .env("TOPIC", &topic)
        .stdout(File::create(directory.path().join("sent")).unwrap())
        .spawn()
        .unwrap();
    support::wait_within(patience, "they are sent", || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
    let sent: Vec<String> = said_by("sent").lines().map(str::to_owned).collect();
    let peak_sending = said(&sent, "peak ")[0];
    eprintln!(
        "{} records of {disk} bytes: appended in {appending} s with {peak} kB resident at most, \
         sent in {} s with {peak_sending} kB",
        durable.len() as u64 * OUTAGE_BATCH,
        begun.elapsed().as_secs()
    );
    let mut arrived = vec![0_u8; (durable.iter().max().unwrap() + 10 * OUTAGE_BATCH) as usize];
    support::read_topic(&kafka, |record| match Record::decode(record.value.unwrap()).unwrap() {
        Record::Result(result) => arrived[number(&result) as usize] += 1,
        Record::Gap(gap) => panic!("{gap:?}"),
    });
    for from in durable {
        let lost = (from..from + OUTAGE_BATCH).find(|n| arrived[*n as usize] == 0);
        assert_eq!(lost, None, "it was on disk");
    }
    assert!(arrived.iter().all(|times| *times <= 1), "none of them was sent before");
    assert!(segments(directory.path()).len() <= 1, "what was sent takes no place");
    assert!(peak < 60_000 && peak_sending < 100_000, "{peak} kB, {peak_sending} kB");
}

/// Records that are appended together.
const OUTAGE_BATCH: u64 = 1_000;

/// What the helper of an outage works with.
fn outage(directory: &Path) -> (Arc<Spool>, Box<dyn Producer>) {
    let variable = |name| std::env::var(name).unwrap();
    let producer = webmon::kafka::producer(&kafka_config(&variable("BROKERS"), &variable("TOPIC"))).unwrap();
    (Arc::new(open_with(SpoolOptions::new(directory.join("spool"), 4 << 30))), producer)
}

/// Appends as fast as it can until it is killed, while what it appends finds no broker.
#[test]
fn helper_appends_through_an_outage() {
    let Some(directory) = helper_directory() else { return };
    let (spool, producer) = outage(&directory);
    let _publisher = Publisher::start(spool.clone(), producer, Duration::ZERO).unwrap();
    let next = AtomicUsize::new(0);
    // Behind what the test harness has written.
    say("");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(OUTAGE_BATCH as usize, Ordering::Relaxed) as u64;
                    spool.append_all((from..from + OUTAGE_BATCH).map(record).collect());
                    say(&format!("durable {from}"));
                }
            });
        }
    });
}

#[test]
fn helper_sends_what_waits() {
    let Some(directory) = helper_directory() else { return };
    let (spool, producer) = outage(&directory);
    let publisher = Publisher::start(spool.clone(), producer, Duration::from_secs(1_200)).unwrap();
    publisher.stop().unwrap();
    assert!(spool.is_empty());
    say(&format!("\npeak {}", support::peak_memory_kb(std::process::id())));
}
