//! What was appended stays, in order, through restarts.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use webmon::outbox::spool::SpoolError;
use webmon::outbox::{Outbox, Spool};
use webmon::record::Record;

use crate::spool::{
    self, HEADER, copy, directory, drain, look, number, numbers, open, options, record, segments,
};

#[test]
fn what_was_appended_waits_in_order_until_it_is_acknowledged_whatever_the_restarts() {
    let directory = directory();
    for n in 0..50 {
        let spool = open(directory.path());
        assert_eq!(numbers(&spool), (0..n).collect::<Vec<_>>());
        assert_eq!(spool.len() as u64, n);
        spool.append(record(n));
    }
    let spool = open(directory.path());
    let batch = spool.peek(20, Duration::ZERO);
    assert_eq!(spool.peek(20, Duration::ZERO), batch, "it stays until it is acknowledged");
    // Reports come in any order, and not all of them.
    for (sequence, _) in batch.iter().rev().filter(|(sequence, _)| sequence % 3 != 1) {
        spool.acknowledge(&[*sequence]);
    }
    let left: Vec<u64> = (0..50).filter(|n| *n >= 20 || n % 3 == 1).collect();
    assert_eq!(numbers(&spool), left);
    assert_eq!(spool.len(), left.len());
    drop(spool);
    // The cursor is a single number: what was acknowledged beyond the oldest open record comes again.
    let spool = open(directory.path());
    let again = numbers(&spool);
    assert!(again.is_sorted_by(|a, b| a < b) && again.iter().all(|n| (1..50).contains(n)), "{again:?}");
    assert!(left.iter().all(|n| again.contains(n)), "{again:?}");
    assert_eq!(drain(&spool).0, again);
    assert!(segments(directory.path()).len() <= 1, "what is acknowledged is deleted");
    drop(spool);
    let spool = open(directory.path());
    assert!(spool.is_empty() && look(&spool).is_empty());
    spool.append(record(50));
    assert_eq!(numbers(&spool), [50], "numbers go on where they were");
}

#[test]
fn a_waiting_peek_is_woken_by_an_append() {
    let directory = directory();
    let spool = Arc::new(open(directory.path()));
    let waiting = Arc::clone(&spool);
    let peek = thread::spawn(move || waiting.peek(1, Duration::from_secs(60)));
    spool.append(record(0));
    assert_eq!(peek.join().unwrap().len(), 1);
}

#[test]
fn enqueued_records_are_on_disk_once_flushed_and_when_the_spool_is_dropped() {
    let directory = directory();
    let spool = open(directory.path());
    for n in 0..100 {
        spool.enqueue(record(n));
    }
    assert!(spool.flush());
    let image = spool::directory();
    copy(directory.path(), image.path());
    assert_eq!(numbers(&open(image.path())).len(), 100);
    for n in 100..200 {
        spool.enqueue(record(n));
    }
    drop(spool);
    assert_eq!(numbers(&open(directory.path())).len(), 200);
}

#[test]
fn concurrent_appenders_lose_and_repeat_nothing() {
    let directory = directory();
    let spool = open(directory.path());
    let delivered = thread::scope(|scope| {
        let appenders: Vec<_> = (0..16)
            .map(|thread| {
                let spool = &spool;
                scope.spawn(move || (0..200).for_each(|n| spool.append(record(thread * 200 + n))))
            })
            .collect();
        let mut delivered = Vec::new();
        while delivered.len() < 16 * 200 {
            let batch = spool.peek(100, Duration::from_secs(60));
            assert!(!batch.is_empty());
            delivered.extend(batch.iter().map(|(_, record)| match record {
                Record::Result(result) => number(result),
                Record::Gap(gap) => panic!("{gap:?}"),
            }));
            spool.acknowledge(&batch.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>());
        }
        appenders.into_iter().for_each(|appender| appender.join().unwrap());
        delivered
    });
    assert!(spool.is_empty());
    for thread in 0..16 {
        let own = delivered.iter().copied().filter(|n| n / 200 == thread);
        assert!(own.eq(thread * 200..(thread + 1) * 200), "each thread's in its order, once");
    }
}

#[test]
fn a_directory_serves_one_checker_at_a_time() {
    let directory = directory();
    let first = open(directory.path());
    let error = Spool::open(options(directory.path())).err().expect("it is taken").to_string();
    let path = directory.path().join("spool");
    assert_eq!(
        error,
        format!("spool {path:?} is in use by another checker: give each its own check.spool.dir")
    );
    drop(first);
    open(directory.path());
}

#[test]
fn a_spool_of_a_newer_version_is_refused_and_left_as_it_is() {
    for name in ["00000000000000000000.seg", "watermarks", "gaps", "rejected"] {
        let directory = directory();
        drop(open(directory.path()));
        let path = directory.path().join("spool").join(name);
        // The header as it stays in every version: magic, version, 28 bytes, CRC.
        let mut header = vec![0; HEADER as usize + 100];
        header[..8].copy_from_slice(b"webmon\0\n");
        header[8] = 2;
        let crc = crc32fast::hash(&header[..40]);
        header[40..44].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, &header).unwrap();
        let error = Spool::open(options(directory.path())).err().expect("it is newer");
        assert!(matches!(error, SpoolError::Version { found: 2, expected: 1, .. }), "{error}");
        assert!(error.to_string().starts_with(&format!(
            "spool file {path:?} has format version 2: expected 1; use the webmon that wrote it"
        )));
        assert_eq!(fs::read(&path).unwrap(), header);
    }
}
