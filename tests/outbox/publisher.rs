//! The publisher.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use webmon::kafka::{Delivery, KafkaError, Outgoing, Producer};
use webmon::outbox::{Deliver, MemoryOutbox, Outbox, Publisher, Undelivered, publish};
use webmon::record::{GapReason, Record};
use webmon::shutdown::Shutdown;

use crate::{LONG, gap, record};

/// What a producer was given, call by call.
type Calls = Arc<Mutex<Vec<Vec<Outgoing>>>>;

/// A producer whose every report comes from a function of the call's number, the record's index and the record.
struct Fake<F> {
    calls: Calls,
    report: F,
}

impl<F: FnMut(usize, usize, &Outgoing) -> Delivery + Send> Producer for Fake<F> {
    fn partitions(&mut self) -> Result<i32, KafkaError> {
        Ok(1)
    }

    fn produce(&mut self, records: &[Outgoing]) -> Vec<Delivery> {
        let mut calls = self.calls.lock().unwrap();
        let number = calls.len();
        calls.push(records.to_vec());
        records.iter().enumerate().map(|(index, record)| (self.report)(number, index, record)).collect()
    }
}

fn retry() -> Delivery {
    Delivery::Retry(KafkaError::Unreachable { brokers: "nobody".to_owned(), detail: "away".to_owned() })
}

/// Publishes all that waits and returns what the producer was given. The stop is asked for before it starts.
fn publish_all(
    outbox: &dyn Outbox,
    drain: Duration,
    report: impl FnMut(usize, usize, &Outgoing) -> Delivery + Send,
) -> Vec<Vec<Record>> {
    let calls = Calls::default();
    let stop = Shutdown::new();
    stop.request();
    publish(outbox, Fake { calls: calls.clone(), report }, &stop, drain);
    decoded(&calls)
}

fn decoded(calls: &Calls) -> Vec<Vec<Record>> {
    let decode = |outgoing: &Outgoing| {
        let record = Record::decode(&outgoing.value).unwrap();
        assert_eq!(outgoing.key, record.key());
        record
    };
    calls.lock().unwrap().iter().map(|call| call.iter().map(decode).collect()).collect()
}

#[test]
fn a_broker_that_comes_back_gets_everything_exactly_as_appended() {
    let outbox = MemoryOutbox::new(10_000);
    let appended: Vec<Record> =
        (0..2_500).map(|second| record(["a", "b"][second as usize % 2], second)).collect();
    for record in &appended {
        outbox.append(record.clone());
    }
    let delivered = Arc::new(Mutex::new(Vec::new()));
    let calls = publish_all(&outbox, LONG, |call, _, outgoing| {
        // Nothing may have left while the broker was away.
        if call < 4 {
            assert_eq!(outbox.len(), 2_500);
            return retry();
        }
        delivered.lock().unwrap().push(Record::decode(&outgoing.value).unwrap());
        Delivery::Delivered
    });
    assert_eq!(*delivered.lock().unwrap(), appended);
    assert!(outbox.is_empty());
    assert!(calls.iter().all(|call| call.len() <= 1_000), "a round is bounded");
}

#[test]
fn only_what_was_not_delivered_is_sent_again() {
    let outbox = MemoryOutbox::new(100);
    for second in 0..6 {
        outbox.append(record("a", second));
    }
    let calls = publish_all(
        &outbox,
        // Without end, and no overflow of the clock.
        Duration::MAX,
        |call, index, _| {
            if call == 0 && index % 2 == 1 { retry() } else { Delivery::Delivered }
        },
    );
    let seconds =
        |seconds: &[i64]| -> Vec<Record> { seconds.iter().map(|second| record("a", *second)).collect() };
    assert_eq!(calls, [seconds(&[0, 1, 2, 3, 4, 5]), seconds(&[1, 3, 5])]);
}

#[test]
fn a_result_that_the_broker_refuses_becomes_a_gap() {
    let outbox = MemoryOutbox::new(100);
    for second in 0..4 {
        outbox.append(record("a", second));
    }
    let calls = publish_all(&outbox, LONG, |call, index, _| match (call, index) {
        (0, 1 | 2) => Delivery::Refused("too large".to_owned()),
        _ => Delivery::Delivered,
    });
    // Neighbours are one gap.
    assert_eq!(calls[1..], [vec![gap("a", 1, Some(3), 2, GapReason::Refused)]]);
    assert!(outbox.is_empty());
}

#[test]
fn a_broker_that_refuses_gaps_too_is_not_asked_for_ever() {
    let outbox = MemoryOutbox::new(100);
    outbox.append(record("a", 0));
    let calls = publish_all(&outbox, LONG, |_, _, _| Delivery::Refused("not allowed".to_owned()));
    assert_eq!(calls.len(), 2);
    assert!(outbox.is_empty());
}

#[test]
fn a_full_outbox_too_accounts_for_what_the_broker_refuses() {
    let outbox = MemoryOutbox::new(3);
    for second in 0..3 {
        outbox.append(record("a", second));
    }
    let calls = publish_all(&outbox, LONG, |call, index, _| match (call, index) {
        (0, 1) => Delivery::Refused("too large".to_owned()),
        _ => Delivery::Delivered,
    });
    assert_eq!(calls[1..], [vec![gap("a", 1, Some(2), 1, GapReason::Refused)]]);
}

#[test]
fn a_stop_lets_what_waits_be_published_first() {
    let outbox = Arc::new(MemoryOutbox::new(10_000));
    let calls = Calls::default();
    let fake = Fake { calls: calls.clone(), report: |_, _, _: &Outgoing| Delivery::Delivered };
    let publisher = Publisher::start(outbox.clone(), fake, LONG).unwrap();
    let appended: Vec<Record> = (0..5_000).map(|second| record("a", second)).collect();
    for record in &appended {
        outbox.append(record.clone());
    }
    publisher.stop().unwrap();
    assert_eq!(decoded(&calls).concat(), appended);
    assert!(outbox.is_empty());
}

#[test]
fn a_stop_of_an_idle_publisher_is_prompt() {
    let outbox: Arc<MemoryOutbox> = Arc::new(MemoryOutbox::new(10));
    let fake = Fake { calls: Calls::default(), report: |_, _, _: &Outgoing| Delivery::Delivered };
    let publisher = Publisher::start(outbox, fake, Duration::MAX).unwrap();
    let started = Instant::now();
    publisher.stop().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_broker_that_stays_away_holds_up_a_stop_no_longer_than_allowed() {
    let outbox = Arc::new(MemoryOutbox::new(10));
    outbox.append(record("a", 0));
    let calls = Calls::default();
    let fake = Fake { calls: calls.clone(), report: |_, _, _: &Outgoing| retry() };
    let publisher = Publisher::start(outbox.clone(), fake, Duration::from_secs(1)).unwrap();
    // The pause between tries has grown to seconds by the fifth of them, and the stop must cut it short.
    let started = Instant::now();
    while calls.lock().unwrap().len() < 5 {
        assert!(started.elapsed() < LONG, "it does not try again");
        thread::park_timeout(Duration::from_millis(10));
    }
    let started = Instant::now();
    let (stopped, stops) = mpsc::channel();
    thread::spawn(move || {
        publisher.stop().unwrap();
        stopped.send(()).unwrap();
    });
    stops.recv_timeout(Duration::from_secs(5)).expect("it goes on and on");
    assert!(started.elapsed() >= Duration::from_secs(1), "it did not try to the end");
    assert!(calls.lock().unwrap().len() < 50, "the tries are not limited");
    // What could not be published is still there to be counted.
    assert_eq!(outbox.len(), 1);
}

#[test]
fn a_publisher_that_panicked_is_missed_at_once() {
    let outbox = Arc::new(MemoryOutbox::new(10));
    let fake = Fake { calls: Calls::default(), report: |_, _, _: &Outgoing| panic!("out of order") };
    let publisher = Publisher::start(outbox.clone(), fake, LONG).unwrap();
    assert!(publisher.is_running());
    outbox.append(record("a", 0));
    let started = Instant::now();
    while publisher.is_running() {
        assert!(started.elapsed() < LONG, "nobody misses it");
        thread::park_timeout(Duration::from_millis(10));
    }
    assert_eq!(publisher.stop().unwrap_err().to_string(), "thread publish panicked: out of order");
    assert_eq!(outbox.len(), 1, "nothing has left");
}

#[test]
fn what_is_appended_while_publishing_goes_out_once_and_in_order() {
    let outbox = Arc::new(MemoryOutbox::new(100_000));
    let delivered = Arc::new(Mutex::new(VecDeque::new()));
    let report = {
        let delivered = delivered.clone();
        move |call: usize, _: usize, outgoing: &Outgoing| {
            // A whole round fails now and then.
            if call % 5 == 1 {
                return retry();
            }
            delivered.lock().unwrap().push_back(Record::decode(&outgoing.value).unwrap());
            Delivery::Delivered
        }
    };
    let publisher = Publisher::start(outbox.clone(), Fake { calls: Calls::default(), report }, LONG).unwrap();
    let writers: Vec<_> = ["a", "b", "c"]
        .map(|site| {
            let outbox = outbox.clone();
            thread::spawn(move || (0..1_000).for_each(|second| outbox.append(record(site, second))))
        })
        .into();
    for writer in writers {
        writer.join().unwrap();
    }
    publisher.stop().unwrap();
    let delivered = delivered.lock().unwrap();
    for site in ["a", "b", "c"] {
        let seconds: Vec<Record> = delivered.iter().filter(|record| record.key() == site).cloned().collect();
        assert_eq!(seconds, (0..1_000).map(|second| record(site, second)).collect::<Vec<_>>());
    }
    assert_eq!(delivered.len(), 3_000);
}

/// Knows nothing of Kafka: takes results, refuses one, and is away at first.
struct Own {
    away: usize,
    taken: Arc<Mutex<Vec<Record>>>,
}

impl Deliver for Own {
    fn deliver(&mut self, records: &[Record]) -> Vec<Result<(), Undelivered>> {
        let away = self.away > 0;
        self.away = self.away.saturating_sub(1);
        let take = |record: &Record| match record {
            _ if away => Err(Undelivered::retry("away")),
            Record::Result(result) if result.site == "refused" => {
                Err(Undelivered::Refused("not here".to_owned()))
            }
            record => {
                self.taken.lock().unwrap().push(record.clone());
                Ok(())
            }
        };
        records.iter().map(take).collect()
    }
}

#[test]
fn a_place_of_ones_own_is_delivered_to_as_kafka_is() {
    let outbox = MemoryOutbox::new(100);
    for (site, second) in [("a", 0), ("refused", 1), ("b", 2)] {
        outbox.append(record(site, second));
    }
    let taken = Arc::new(Mutex::new(Vec::new()));
    let stop = Shutdown::new();
    stop.request();
    publish(&outbox, Own { away: 2, taken: Arc::clone(&taken) }, &stop, LONG);
    assert!(outbox.is_empty());
    let expected = [record("a", 0), record("b", 2), gap("refused", 1, Some(2), 1, GapReason::Refused)];
    assert_eq!(*taken.lock().unwrap(), expected);
}
