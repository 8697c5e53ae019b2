//! The outbox in memory.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use webmon::outbox::{MemoryOutbox, Outbox, Sequence};
use webmon::record::{GapReason, Record};

use crate::{LONG, NOW, at, drain, dropped, gap, record, records, result, sequences};

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
