//! The outbox and the publisher: nothing leaves before its acknowledgement, and what is dropped is accounted for.

#![cfg(feature = "check")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use proptest::prelude::*;
use webmon::kafka::{Delivery, KafkaError, Outgoing, Producer};
use webmon::outbox::{MemoryOutbox, Outbox, Publisher, Sequence, publish};
use webmon::record::{CheckResult, ErrorType, Gap, GapReason, GapRecord, Record, RecordVersion};
use webmon::schedule::Schedule;
use webmon::shutdown::Shutdown;
use webmon::site::{Origin, Site};

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(60);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The result of `site` at `second`; the next instant comes one second later.
fn result(site: &str, second: i64) -> CheckResult {
    let schedule = Schedule::new("@every 1s", "UTC").unwrap();
    let site = Site::new(site, "https://shop.example/".parse().unwrap(), schedule);
    let origin = Origin { location: "here".to_owned(), checker: "test".to_owned() };
    let mut result = origin.blank(&site, at(second), Some(at(second + 1)));
    result.set_error(ErrorType::Late, None, None);
    result
}

fn record(site: &str, second: i64) -> Record {
    Record::Result(Box::new(result(site, second)))
}

fn gap(site: &str, from: i64, to: Option<i64>, instants: u64, reason: GapReason) -> Record {
    Record::Gap(GapRecord {
        v: RecordVersion,
        site: site.to_owned(),
        location: "here".to_owned(),
        checker: "test".to_owned(),
        gap: Gap { from: at(from), to: to.map(at), instants, reason },
    })
}

fn dropped(site: &str, from: i64, to: i64) -> Record {
    gap(site, from, Some(to), (to - from) as u64, GapReason::OutboxFull)
}

fn records(batch: &[(Sequence, Record)]) -> Vec<Record> {
    batch.iter().map(|(_, record)| record.clone()).collect()
}

fn sequences(batch: &[(Sequence, Record)]) -> Vec<Sequence> {
    batch.iter().map(|(sequence, _)| *sequence).collect()
}

/// Everything that waits, acknowledged.
fn drain(outbox: &dyn Outbox) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let batch = outbox.peek(7, NOW);
        if batch.is_empty() {
            return all;
        }
        outbox.acknowledge(&sequences(&batch));
        all.extend(records(&batch));
    }
}

// ---- The outbox in memory.

#[test]
fn nothing_leaves_before_its_acknowledgement() {
    let outbox = MemoryOutbox::new(10);
    for second in 0..5 {
        outbox.append(record("a", second));
    }
    let first = outbox.peek(3, NOW);
    assert_eq!(records(&first), [record("a", 0), record("a", 1), record("a", 2)]);
    assert_eq!(outbox.peek(3, NOW), first);
    outbox.acknowledge(&[first[1].0]);
    assert_eq!(records(&outbox.peek(10, NOW)), [0, 2, 3, 4].map(|second| record("a", second)));
    // Neither does an acknowledgement that comes twice, or of something else, take more.
    outbox.acknowledge(&[first[1].0, 99]);
    assert_eq!((outbox.len(), outbox.is_empty()), (4, false));
    assert_eq!(drain(&outbox).len(), 4);
    assert_eq!((outbox.len(), outbox.is_empty(), outbox.dropped()), (0, true, 0));
}

#[test]
fn a_full_outbox_drops_the_oldest_that_is_not_being_sent() {
    let outbox = MemoryOutbox::new(5);
    for second in 0..5 {
        outbox.append(record("a", second));
    }
    let sending = outbox.peek(2, NOW);
    outbox.append(record("a", 5));
    outbox.append(record("a", 6));
    assert_eq!(outbox.dropped(), 2);
    outbox.acknowledge(&sequences(&sending));
    assert_eq!(drain(&outbox), [record("a", 4), record("a", 5), record("a", 6), dropped("a", 2, 4)]);
}

#[test]
fn where_everything_is_being_sent_the_newcomer_gives_way() {
    let outbox = MemoryOutbox::new(2);
    outbox.append(record("a", 0));
    outbox.append(record("a", 1));
    assert_eq!(outbox.peek(10, NOW).len(), 2);
    outbox.append(record("a", 2));
    outbox.append(record("a", 3));
    assert_eq!(drain(&outbox), [record("a", 0), record("a", 1), dropped("a", 2, 4)]);
}

#[test]
fn a_gap_ends_where_the_site_was_retired() {
    let mut last = result("a", 2);
    last.next_at = None;
    let last = Record::Result(Box::new(last));
    for order in [[record("a", 1), last.clone()], [last, record("a", 1)]] {
        let outbox = full();
        for record in order {
            outbox.append(record);
        }
        assert_eq!(drain(&outbox)[FULL..], [gap("a", 1, None, 2, GapReason::OutboxFull)]);
    }
}

#[test]
fn gaps_of_other_sites_and_other_reasons_stay_apart() {
    let outbox = full();
    for record in [
        record("a", 1),
        record("b", 2),
        gap("a", 2, Some(5), 3, GapReason::CheckerDown),
        record("a", 5),
        gap("a", 5, Some(6), 1, GapReason::CheckerDown),
    ] {
        outbox.append(record);
    }
    let expected = [
        gap("a", 2, Some(6), 4, GapReason::CheckerDown),
        dropped("a", 1, 2),
        dropped("a", 5, 6),
        dropped("b", 2, 3),
    ];
    assert_eq!(drain(&outbox)[FULL..], expected);
    assert_eq!(outbox.dropped(), 3, "a gap is no result");
}

#[test]
fn a_gap_that_is_dropped_is_still_accounted_for() {
    let outbox = MemoryOutbox::new(1);
    for second in 0..10 {
        outbox.append(record("a", second));
        // Its gap takes the one place, and gives way in turn.
        assert!(outbox.peek(0, NOW).is_empty());
    }
    assert_eq!(drain(&outbox), [record("a", 9), dropped("a", 0, 9)]);
}

#[test]
fn a_count_of_instants_ends_at_what_a_stretch_can_hold() {
    let outbox = full();
    // The same instant twice: as missed, and as the result that came after all.
    for (from, to) in [(1, 2), (1, 2), (2, 3)] {
        outbox.append(gap("a", from, Some(to), 1, GapReason::OutboxFull));
    }
    let all = drain(&outbox);
    assert_eq!(all[FULL..], [gap("a", 1, Some(3), 2, GapReason::OutboxFull)]);
    all[FULL].validate().unwrap();
}

/// An outbox full of records that are being sent: whatever is appended is dropped.
fn full() -> MemoryOutbox {
    let outbox = MemoryOutbox::new(FULL);
    for second in 0..FULL as i64 {
        outbox.append(record("being-sent", second));
    }
    assert_eq!(outbox.peek(FULL, NOW).len(), FULL);
    outbox
}

const FULL: usize = 50;

#[test]
fn one_site_with_holes_everywhere_takes_bounded_memory_and_time() {
    let outbox = MemoryOutbox::new(1_000);
    let started = Instant::now();
    for second in 0..30_000 {
        outbox.append(record("a", second * 2));
        assert!(outbox.len() <= 2_001, "{}", outbox.len());
    }
    assert_eq!(drain(&outbox).iter().map(instants).sum::<u64>(), 30_000);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

fn instants(record: &Record) -> u64 {
    match record {
        Record::Result(_) => 1,
        Record::Gap(gap) => gap.gap.instants,
    }
}

fn spans(record: &Record, site: &str, second: i64) -> bool {
    record.key() == site
        && match record {
            Record::Result(result) => result.scheduled_at == at(second),
            Record::Gap(gap) => gap.gap.from <= at(second) && gap.gap.to.is_none_or(|to| at(second) < to),
        }
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Skip(usize),
    Peek(usize),
    Acknowledge(Vec<bool>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3usize).prop_map(Step::Append),
        1 => (0..3usize).prop_map(Step::Skip),
        2 => (0..6usize).prop_map(Step::Peek),
        2 => prop::collection::vec(any::<bool>(), 0..6).prop_map(Step::Acknowledge),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_instant_is_acknowledged_waiting_or_in_a_gap(capacity in 1..8usize, steps in steps()) {
        let sites = ["a", "b", "c"];
        let outbox = MemoryOutbox::new(capacity);
        let mut next = [0i64; 3];
        let mut appended: Vec<(usize, i64)> = Vec::new();
        let mut acknowledged: Vec<Record> = Vec::new();
        let mut sending: Vec<(Sequence, Record)> = Vec::new();
        for step in steps {
            match step {
                Step::Append(site) => {
                    outbox.append(record(sites[site], next[site]));
                    appended.push((site, next[site]));
                    next[site] += 1;
                }
                // An instant that another outbox has: the stretch is not contiguous.
                Step::Skip(site) => next[site] += 1,
                Step::Peek(max) => {
                    let batch = outbox.peek(max, NOW);
                    prop_assert!(batch.len() <= max);
                    prop_assert!(batch.is_sorted_by(|a, b| a.0 < b.0));
                    for site in sites {
                        let results = batch.iter().filter_map(|(_, record)| match record {
                            Record::Result(result) if result.site == site => Some(result.scheduled_at),
                            _ => None,
                        });
                        prop_assert!(results.is_sorted());
                    }
                    // What was being sent is there still, unchanged and before all else.
                    let both = batch.len().min(sending.len());
                    prop_assert_eq!(&batch[..both], &sending[..both]);
                    sending = batch;
                }
                Step::Acknowledge(which) => {
                    let mut which = which.into_iter();
                    let (taken, left) = sending.into_iter().partition(|_| which.next().unwrap_or(false));
                    let taken: Vec<(Sequence, Record)> = taken;
                    outbox.acknowledge(&sequences(&taken));
                    acknowledged.extend(records(&taken));
                    sending = left;
                }
            }
            prop_assert!(outbox.len() <= 2 * capacity + sites.len(), "{}", outbox.len());
        }
        acknowledged.extend(drain(&outbox));
        prop_assert_eq!(acknowledged.iter().map(instants).sum::<u64>(), appended.len() as u64);
        for (site, second) in appended {
            prop_assert!(acknowledged.iter().any(|record| spans(record, sites[site], second)), "{} {}", sites[site], second);
        }
        for record in &acknowledged {
            prop_assert_eq!(record.validate(), Ok(()));
        }
    }

    #[test]
    fn a_contiguous_stretch_is_one_gap_in_whatever_order_it_is_dropped(
        order in (1..20i64).prop_flat_map(|n| Just((0..n).collect::<Vec<i64>>()).prop_shuffle()),
    ) {
        let outbox = full();
        let length = order.len() as i64;
        for second in order {
            outbox.append(record("a", second));
        }
        prop_assert_eq!(&drain(&outbox)[FULL..], &[dropped("a", 0, length)]);
    }
}

#[test]
fn a_wakeup_is_never_lost() {
    let outbox = Arc::new(MemoryOutbox::new(10));
    // A channel without room: both go on at once, and the append comes before, during and after the beginning of
    // the wait.
    let (go, gone) = mpsc::sync_channel(0);
    let peeker = {
        let outbox = outbox.clone();
        thread::spawn(move || {
            while gone.recv().is_ok() {
                let started = Instant::now();
                let batch = outbox.peek(1, LONG / 4);
                assert!(started.elapsed() < LONG / 8, "a peek slept through an append");
                outbox.acknowledge(&sequences(&batch));
            }
        })
    };
    for second in 0..2_000 {
        if go.send(()).is_err() {
            break;
        }
        for _ in 0..(second % 7) * 50 {
            std::hint::spin_loop();
        }
        outbox.append(record("a", second));
    }
    drop(go);
    peeker.join().unwrap();
}

#[test]
fn a_peek_of_an_empty_outbox_waits_as_long_as_it_was_told() {
    let outbox = MemoryOutbox::new(10);
    let started = Instant::now();
    assert!(outbox.peek(1, Duration::from_millis(100)).is_empty());
    assert!(started.elapsed() >= Duration::from_millis(100));
}

#[test]
fn appending_never_waits_for_whoever_is_sending() {
    let outbox = Arc::new(MemoryOutbox::new(10));
    for second in 0..10 {
        outbox.append(record("a", second));
    }
    let sending = outbox.peek(10, NOW);
    let started = Instant::now();
    for second in 10..1_000 {
        outbox.append(record("a", second));
    }
    assert!(started.elapsed() < Duration::from_secs(10));
    outbox.acknowledge(&sequences(&sending));
    assert_eq!(drain(outbox.as_ref()), [dropped("a", 10, 1_000)]);
}

// ---- The publisher.

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
