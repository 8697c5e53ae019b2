//! What Kafka refuses for good is kept, and a gap stands for it.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use webmon::kafka::{Delivery, KafkaError, Outgoing, Producer};
use webmon::outbox::spool::{Inspector, SpoolError};
use webmon::outbox::{MemoryOutbox, Outbox, Spool, publish};
use webmon::record::{GapReason, GapRecord, Record};
use webmon::shutdown::Shutdown;

use crate::spool::{self, copy, covered, directory, drain, look, number, open, open_with, options, record};

/// Fails, takes, or refuses.
#[derive(Clone, Default)]
struct Broker(Arc<BrokerState>);

#[derive(Default)]
struct BrokerState {
    up: AtomicBool,
    delivered: AtomicUsize,
    numbers: Mutex<Vec<u64>>,
    gaps: Mutex<Vec<GapRecord>>,
    refused: Mutex<BTreeSet<u64>>,
}

impl Producer for Broker {
    fn partitions(&mut self) -> Result<i32, KafkaError> {
        Ok(1)
    }

    fn produce(&mut self, records: &[Outgoing]) -> Vec<Delivery> {
        let broker = &self.0;
        if !broker.up.load(Ordering::SeqCst) {
            let error = KafkaError::Fatal("the broker is down".to_owned());
            return records.iter().map(|_| Delivery::Retry(error.clone())).collect();
        }
        let take = |outgoing: &Outgoing| {
            match Record::decode(&outgoing.value).unwrap() {
                Record::Result(result) if broker.refused.lock().unwrap().contains(&number(&result)) => {
                    return Delivery::Refused("too large".to_owned());
                }
                Record::Result(result) => broker.numbers.lock().unwrap().push(number(&result)),
                Record::Gap(gap) => broker.gaps.lock().unwrap().push(gap),
            }
            broker.delivered.fetch_add(1, Ordering::SeqCst);
            Delivery::Delivered
        };
        records.iter().map(take).collect()
    }
}

#[test]
fn a_refused_record_is_kept_and_accounted_for_and_does_not_hold_up_the_others() {
    let directory = directory();
    let spool = open(directory.path());
    spool.append_all((0..50).map(record).collect());
    let broker = Broker::default();
    broker.0.up.store(true, Ordering::SeqCst);
    broker.0.refused.lock().unwrap().extend([0, 17]);
    let stop = Shutdown::new();
    stop.request();
    publish(&spool, broker.clone(), &stop, Duration::from_secs(60));
    assert!(spool.is_empty());
    let left: Vec<u64> = (0..50).filter(|n| ![0, 17].contains(n)).collect();
    assert_eq!(*broker.0.numbers.lock().unwrap(), left);
    let gaps = broker.0.gaps.lock().unwrap().clone();
    assert!(gaps.iter().all(|gap| gap.gap.reason == GapReason::Refused));
    assert_eq!(covered(&gaps), BTreeSet::from([0, 17]));

    let dumped = |spool: &Spool| {
        let mut dumped = Vec::new();
        let inspector = Inspector::new(spool.directory()).unwrap();
        inspector
            .rejected::<SpoolError>(|json| {
                let entry: serde_json::Value = serde_json::from_slice(json).unwrap();
                assert_eq!(entry["reason"], "too large");
                let record = Record::decode(entry["record"].to_string().as_bytes()).unwrap();
                dumped.push(record);
                Ok(())
            })
            .unwrap();
        assert_eq!(inspector.status().unwrap().rejected, dumped.len() as u64);
        dumped
    };
    assert_eq!(dumped(&spool), [record(0), record(17)]);
    drop(spool);
    let spool = open(directory.path());
    assert!(spool.is_empty());
    assert_eq!(dumped(&spool), [record(0), record(17)]);
}

#[test]
fn a_refused_record_survives_a_kill_as_a_gap() {
    let directory = directory();
    let image = spool::directory();
    let spool = open(directory.path());
    spool.append_all((0..10).map(record).collect());
    let batch = spool.peek(5, Duration::ZERO);
    spool.reject(batch[2].0, "too large");
    spool.acknowledge(&[batch[0].0, batch[1].0, batch[3].0, batch[4].0]);
    // As a kill leaves it.
    copy(directory.path(), image.path());
    let (results, gaps) = drain(&open(image.path()));
    assert_eq!(results, [5, 6, 7, 8, 9]);
    assert_eq!(covered(&gaps), BTreeSet::from([2]));
}

#[test]
fn rejected_records_take_a_bounded_place() {
    let directory = directory();
    let mut options = options(directory.path());
    options.max_size = 1 << 20;
    let spool = open_with(options);
    for from in (0..1_000).step_by(100) {
        spool.append_all((from..from + 100).map(record).collect());
        for (sequence, _) in look(&spool) {
            spool.reject(sequence, "not authorized");
        }
        spool.acknowledge(&[]);
    }
    let size = |name: &str| fs::metadata(spool.directory().join(name)).unwrap().len();
    assert!(size("rejected") + size("rejected.old") <= (1 << 20) / 16 + 4_096);
    let mut last = None;
    let inspector = Inspector::new(spool.directory()).unwrap();
    inspector
        .rejected::<SpoolError>(|json| {
            last = Some(json.to_vec());
            Ok(())
        })
        .unwrap();
    let last: serde_json::Value = serde_json::from_slice(&last.unwrap()).unwrap();
    assert_eq!(last["record"]["site"], record(999).key());
}

#[test]
fn a_refused_record_of_the_memory_outbox_becomes_a_gap() {
    let outbox = MemoryOutbox::new(100);
    (0..10).for_each(|n| outbox.append(record(n)));
    let batch = outbox.peek(10, Duration::ZERO);
    outbox.reject(batch[3].0, "too large");
    outbox.reject(batch[3].0, "too large");
    outbox.acknowledge(&batch.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>());
    let (results, gaps) = drain(&outbox);
    assert!(results.is_empty());
    assert_eq!(covered(&gaps), BTreeSet::from([3]));
    assert_eq!(gaps[0].gap.reason, GapReason::Refused);
    assert_eq!(outbox.dropped(), 0);
}
