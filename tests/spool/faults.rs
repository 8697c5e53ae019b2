//! A disk that fails, breaks off or hangs, at each place where the spool writes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use webmon::outbox::spool::SpoolOptions;
use webmon::outbox::{Outbox, Sequence, Spool};
use webmon::record::Record;

use crate::disk::{Call, Errno, Fault, TestDisk};
use crate::spool::{at, covered, directory, drain, loaded, note, number, numbers, open_with, record, seed};
use crate::support::wait_until;

/// The first segment.
const FIRST: &str = "00000000000000000000.seg";

/// A small spool on `disk`, which is tried again at once after a fault.
fn options(directory: &Path, disk: &TestDisk) -> SpoolOptions {
    SpoolOptions {
        segment_size: 2_048,
        max_size: 32 << 10,
        max_memory: 1 << 20,
        patience: Duration::from_secs(60),
        retry: Duration::from_millis(5),
        disk: Arc::new(disk.clone()),
        ..SpoolOptions::new(directory.join("spool"), 0)
    }
}

/// What a spool finds on `disk`: the numbers of the results, and of those that gaps stand for.
fn found(disk: &TestDisk) -> (Vec<u64>, BTreeSet<u64>) {
    let directory = directory();
    let (results, gaps) = drain(&open_with(options(directory.path(), disk)));
    (results, covered(&gaps))
}

/// Acknowledges the oldest results, at most `count`: their numbers.
fn deliver(spool: &Spool, count: usize) -> Vec<u64> {
    let batch = spool.peek(count, Duration::ZERO);
    spool.acknowledge(&batch.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>());
    batch.iter().map(|(_, record)| result_number(record)).collect()
}

fn result_number(record: &Record) -> u64 {
    match record {
        Record::Result(result) => number(result),
        Record::Gap(gap) => panic!("{gap:?}"),
    }
}

// The disk works.

#[test]
fn what_append_returned_for_outlives_a_loss_of_power() {
    let mut seed = seed();
    let (directory, disk) = (directory(), TestDisk::new());
    let spool = open_with(options(directory.path(), &disk));
    for n in 0..20 {
        spool.append(record(n));
        assert_eq!(found(&disk.after_power_loss(&mut seed)).0, (0..=n).collect::<Vec<_>>());
    }
}

// A write that takes less than all.

#[test]
fn a_short_write_goes_on_where_it_ended() {
    let mut seed = seed();
    let (directory, disk) = (directory(), TestDisk::new());
    disk.fail(|call, _| (call == Call::Write).then_some(Fault::Short(100)));
    let spool = open_with(options(directory.path(), &disk));
    for n in 0..30 {
        spool.append(record(n));
    }
    note(&spool, "site-0", "here", at(30), "@hourly", "UTC");
    assert!(spool.flush());
    assert_eq!(spool.dropped(), 0, "{:?}", disk.names());
    drop(spool);
    let image = disk.after_power_loss(&mut seed);
    let spool = open_with(options(directory.path(), &image));
    assert_eq!(numbers(&spool), (0..30).collect::<Vec<_>>());
    assert_eq!(loaded(&spool).len(), 1);
    assert_eq!(spool.damaged(), 0);
}

#[test]
fn a_write_that_breaks_off_or_does_not_last_is_done_again_in_another_segment() {
    let mut seed = seed();
    let faults = [
        (Call::Write, Fault::Error(Errno::Io)),
        (Call::Write, Fault::Torn(100, Errno::Io)),
        (Call::Write, Fault::Torn(700, Errno::Io)),
        // After a failed sync the kernel may take the pages for clean: the next one of that file tells nothing.
        (Call::Sync, Fault::Error(Errno::Io)),
    ];
    for (call, fault) in faults {
        let (directory, disk) = (directory(), TestDisk::new());
        let spool = open_with(SpoolOptions { segment_size: 64 << 10, ..options(directory.path(), &disk) });
        spool.append(record(0));
        let segments = || disk.names().into_iter().filter(|name| name.ends_with(".seg")).count();
        assert_eq!(segments(), 1);
        disk.fail_once(call, ".seg", fault);
        spool.append(record(1));
        wait_until("the disk works", || spool.flush());
        assert_eq!(segments(), 2, "{call:?} {fault:?}");
        spool.append(record(2));
        for image in [disk.after_kill(), disk.after_power_loss(&mut seed)] {
            assert_eq!(found(&image).0, [0, 1, 2], "{call:?} {fault:?}");
        }
        assert_eq!(numbers(&spool), [0, 1, 2], "{call:?} {fault:?}");
        assert_eq!((spool.damaged(), spool.dropped()), (0, 0));
    }
}

#[test]
fn what_a_torn_write_left_behind_and_cannot_be_cut_off_is_passed_over() {
    let (directory, disk) = (directory(), TestDisk::new());
    let spool = open_with(SpoolOptions { segment_size: 64 << 10, ..options(directory.path(), &disk) });
    spool.append(record(0));
    let mut torn = false;
    disk.fail(move |call, name| match call {
        // A whole record, and a part of the next one.
        Call::Write if name.ends_with(".seg") && !std::mem::replace(&mut torn, true) => {
            Some(Fault::Torn(record(1).encode().len() + 30, Errno::Io))
        }
        Call::SetSize => Some(Fault::Error(Errno::Io)),
        _ => None,
    });
    spool.append_all(vec![record(1), record(2)]);
    wait_until("the disk works", || spool.flush());
    assert_eq!(found(&disk.after_kill()).0, [0, 1, 2]);
    assert_eq!(numbers(&spool), [0, 1, 2]);
    assert_eq!(spool.damaged(), 0);
}

#[test]
fn a_segment_that_cannot_be_begun_is_begun_again() {
    let mut seed = seed();
    let faults = [
        (Call::OpenToWrite, ".seg", Fault::Error(Errno::TooManyFiles)),
        (Call::Write, ".seg", Fault::Torn(60, Errno::Io)),
        (Call::Sync, ".seg", Fault::Error(Errno::Io)),
        (Call::SyncDirectory, "spool", Fault::Error(Errno::Io)),
    ];
    for (call, name, fault) in faults {
        let (directory, disk) = (directory(), TestDisk::new());
        let spool = open_with(options(directory.path(), &disk));
        disk.fail_once(call, name, fault);
        spool.append(record(0));
        wait_until("the disk works", || spool.flush());
        let image = disk.after_power_loss(&mut seed);
        assert_eq!(found(&image).0, [0], "{call:?} {fault:?}");
        assert_eq!(numbers(&spool), [0], "{call:?} {fault:?}");
    }
}

// No room.

#[test]
fn on_a_disk_without_room_the_oldest_records_give_way_to_the_newest() {
    let mut seed = seed();
    let (directory, disk) = (directory(), TestDisk::of_size(400 << 10));
    let spool = open_with(SpoolOptions { max_size: 1 << 30, ..options(directory.path(), &disk) });
    let total = 1_000;
    for n in 0..total {
        spool.append(record(n));
    }
    wait_until("all is on disk", || spool.flush());
    let image = disk.after_power_loss(&mut seed);
    let (results, gone) = found(&image);
    assert!(gone.len() > 100 && results.len() > 10, "{} {}", gone.len(), results.len());
    assert_eq!(results, (gone.len() as u64..total).collect::<Vec<_>>(), "the newest stay");
    assert!(gone.into_iter().eq(0..total - results.len() as u64));
}

// The file of gaps.

/// Appends more than the spool holds.
fn overfill(spool: &Spool) -> u64 {
    let total = 100;
    for n in 0..total {
        spool.append(record(n));
    }
    total
}

#[test]
fn a_file_of_gaps_that_cannot_be_replaced_keeps_the_segment_that_they_are_for() {
    let mut seed = seed();
    let faults = [
        (Call::OpenToWrite, Fault::Error(Errno::TooManyFiles)),
        (Call::Write, Fault::Torn(60, Errno::Io)),
        (Call::Write, Fault::Error(Errno::NoSpace)),
        (Call::SetSize, Fault::Error(Errno::Io)),
        (Call::Sync, Fault::Error(Errno::Io)),
        (Call::Rename, Fault::Error(Errno::Io)),
    ];
    for (fails, fault) in faults {
        let (directory, disk) = (directory(), TestDisk::new());
        let spool = open_with(options(directory.path(), &disk));
        disk.fail(move |call, name| (call == fails && name == "gaps.new").then_some(fault));
        let total = overfill(&spool);
        assert!(!spool.flush(), "{fails:?}: it is full, and nothing can give way");
        // What was on disk by then is there, and nothing is in a gap.
        let (results, gone) = found(&disk.after_power_loss(&mut seed));
        assert!(gone.is_empty() && !results.is_empty(), "{fails:?} {fault:?}");
        assert_eq!(results, (0..results.len() as u64).collect::<Vec<_>>(), "{fails:?} {fault:?}");
        disk.mend();
        wait_until("there is room again", || spool.flush());
        let (results, gone) = found(&disk.after_power_loss(&mut seed));
        assert_eq!(results.len() + gone.len(), total as usize, "{fails:?} {fault:?}");
        assert!(results.iter().all(|n| !gone.contains(n)));
    }
}

#[test]
fn a_crash_between_the_gaps_and_the_segment_they_are_for_counts_nothing_twice() {
    let (directory, disk) = (directory(), TestDisk::new());
    let spool = open_with(options(directory.path(), &disk));
    let held = disk.hold(Call::Remove, FIRST);
    let (next, over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                spool.append(record(next.load(Ordering::SeqCst)));
                next.fetch_add(1, Ordering::SeqCst);
            }
        });
        // The gaps are written, the segment is not yet deleted, and one record more waits for its room.
        held.wait();
        over.store(true, Ordering::SeqCst);
        let (image, appended) = (disk.after_kill(), next.load(Ordering::SeqCst));
        let (results, gone) = found(&image);
        drop(held);
        assert!(!gone.is_empty() && results.iter().all(|n| !gone.contains(n)));
        assert_eq!(results.len() + gone.len(), appended as usize);
    });
}

/// The cursor must not pass the records of a segment that gives way before the gaps for them are on disk.
#[test]
fn nothing_of_a_segment_that_gives_way_is_settled_before_its_gaps_are_on_disk() {
    let (directory, disk) = (directory(), TestDisk::new());
    let patience = Duration::from_millis(100);
    let spool = Arc::new(open_with(SpoolOptions { patience, ..options(directory.path(), &disk) }));
    let mut next = 0;
    let segments = || disk.names().into_iter().filter(|name| name.ends_with(".seg")).count();
    while segments() < 6 {
        spool.append(record(next));
        next += 1;
    }
    // The first segment is read in part, and nothing of it is being sent.
    assert_eq!(deliver(&spool, 1), [0]);
    // Its turn to give way has come: it is read for that.
    let held = disk.hold(Call::Read, FIRST);
    let appending = {
        let spool = Arc::clone(&spool);
        thread::spawn(move || {
            while spool.dropped() == 0 {
                spool.append(record(next));
                next += 1;
            }
        })
    };
    held.wait();
    let (settled, settling) = mpsc::channel();
    let acknowledging = {
        let spool = Arc::clone(&spool);
        thread::spawn(move || {
            spool.acknowledge(&[]);
            settled.send(()).unwrap_or_default();
        })
    };
    // It waits for the gaps, and is not done before them, however long that takes.
    let early = settling.recv_timeout(Duration::from_secs(1)).is_ok();
    let (results, gone) = found(&disk.after_kill());
    let all: BTreeSet<u64> = results.into_iter().chain(gone).collect();
    assert!((1..12).all(|n| all.contains(&n)), "lost, and settled early: {early}: {all:?}");
    drop(held);
    acknowledging.join().unwrap();
    appending.join().unwrap();
}

// The cursor.

#[test]
fn a_cursor_that_cannot_be_written_sends_records_again_and_loses_none() {
    let mut seed = seed();
    for fault in [Fault::Error(Errno::Io), Fault::Torn(11, Errno::Io), Fault::Error(Errno::NoSpace)] {
        let (directory, disk) = (directory(), TestDisk::new());
        let spool = open_with(options(directory.path(), &disk));
        (0..12).for_each(|n| spool.append(record(n)));
        assert_eq!(deliver(&spool, 3), [0, 1, 2]);
        disk.fail(move |call, name| (call == Call::Write && name == "cursor").then_some(fault));
        assert_eq!(deliver(&spool, 3), [3, 4, 5]);
        for image in [disk.after_kill(), disk.after_power_loss(&mut seed)] {
            let results = found(&image).0;
            assert!(results.is_sorted() && results[0] <= 6, "{results:?}");
            assert!(results.ends_with(&(6..12).collect::<Vec<_>>()), "{fault:?}: {results:?}");
        }
        // It goes on from memory as if nothing were.
        assert_eq!(numbers(&spool), (6..12).collect::<Vec<_>>());
        disk.mend();
        wait_until("it is written", || {
            spool.acknowledge(&[]);
            found(&disk.after_kill()).0[0] == 6
        });
    }
}

#[test]
fn a_segment_that_cannot_be_deleted_is_deleted_after_a_restart_and_its_records_are_not_sent_again() {
    let (directory, disk) = (directory(), TestDisk::new());
    let spool = open_with(options(directory.path(), &disk));
    (0..12).for_each(|n| spool.append(record(n)));
    disk.fail(|call, _| (call == Call::Remove).then_some(Fault::Error(Errno::Io)));
    let delivered = deliver(&spool, 11);
    assert_eq!(delivered.len(), 11);
    let segments = |disk: &TestDisk| disk.names().into_iter().filter(|name| name.ends_with(".seg")).count();
    let before = segments(&disk);
    assert!(before > 1);
    drop(spool);
    disk.mend();
    let spool = open_with(options(directory.path(), &disk));
    assert!(segments(&disk) < before);
    assert_eq!(numbers(&spool), [11]);
}

// Rejected records, watermarks, damaged segments.

#[test]
fn a_rejected_record_that_cannot_be_kept_is_still_accounted_for() {
    let mut seed = seed();
    let faults = [
        (Call::OpenToWrite, Fault::Error(Errno::TooManyFiles)),
        (Call::Write, Fault::Torn(50, Errno::Io)),
        (Call::Write, Fault::Error(Errno::NoSpace)),
        (Call::Sync, Fault::Error(Errno::Io)),
    ];
    for (fails, fault) in faults {
        let (directory, disk) = (directory(), TestDisk::new());
        let spool = open_with(options(directory.path(), &disk));
        (0..6).for_each(|n| spool.append(record(n)));
        disk.fail(move |call, name| (call == fails && name == "rejected").then_some(fault));
        let batch = spool.peek(3, Duration::ZERO);
        spool.reject(batch[1].0, "too large");
        spool.acknowledge(&[batch[0].0, batch[2].0]);
        for image in [disk.after_kill(), disk.after_power_loss(&mut seed)] {
            let (results, gone) = found(&image);
            assert!(results.contains(&1) || gone.contains(&1), "{fails:?} {fault:?}: {results:?} {gone:?}");
            assert!(results.ends_with(&[3, 4, 5]));
        }
        disk.mend();
        spool.acknowledge(&[]);
        let (results, gone) = found(&disk.after_kill());
        assert_eq!((results, gone), (vec![3, 4, 5], BTreeSet::from([1])), "{fails:?} {fault:?}");
    }
}

#[test]
fn rejected_records_outlive_a_failed_change_of_files() {
    let (directory, disk) = (directory(), TestDisk::new());
    let spool = open_with(SpoolOptions { max_size: 64 << 10, ..options(directory.path(), &disk) });
    (0..12).for_each(|n| spool.append(record(n)));
    let batch = spool.peek(12, Duration::ZERO);
    disk.fail(|call, name| (call == Call::Rename && name == "rejected").then_some(Fault::Error(Errno::Io)));
    for (sequence, _) in &batch {
        spool.reject(*sequence, "too large");
    }
    spool.acknowledge(&[]);
    // The file is full, and cannot give way to another: what is in it stays.
    let kept = disk.after_kill().read("rejected");
    let first = format!("\"scheduled_at\":\"{}\"", at(0));
    assert!(String::from_utf8_lossy(&kept).contains(&first), "{} bytes", kept.len());
}

#[test]
fn watermarks_that_cannot_be_written_lag_and_are_written_later() {
    let mut seed = seed();
    let faults = [
        (Call::Write, "watermarks.new", Fault::Torn(10, Errno::Io)),
        (Call::Sync, "watermarks.new", Fault::Error(Errno::Io)),
        (Call::Write, "watermarks.new", Fault::Error(Errno::NoSpace)),
    ];
    for (call, name, fault) in faults {
        let (directory, disk) = (directory(), TestDisk::new());
        let spool = open_with(options(directory.path(), &disk));
        note(&spool, "site-0", "here", at(1), "@hourly", "UTC");
        let on_disk = |disk: &TestDisk| -> Vec<i64> {
            let directory = self::directory();
            let spool = open_with(options(directory.path(), disk));
            loaded(&spool).into_values().map(|(second, ..)| second).collect()
        };
        wait_until("it is written", || on_disk(&disk.after_kill()) == [1]);
        disk.fail_once(call, name, fault);
        note(&spool, "site-0", "here", at(2), "@hourly", "UTC");
        // The write that fails is to name this site.
        note(&spool, "site-1", "here", at(2), "@hourly", "UTC");
        let lags = on_disk(&disk.after_power_loss(&mut seed));
        assert!(lags == [1] || lags == [2] || lags == [2, 2], "{call:?}: {lags:?}");
        wait_until("it has failed, and was written later", || {
            on_disk(&disk.after_power_loss(&mut seed)) == [2, 2]
        });
        for site in ["site-0", "site-1"] {
            note(&spool, site, "here", at(3), "@hourly", "UTC");
        }
        wait_until("it follows", || on_disk(&disk.after_power_loss(&mut seed)) == [3, 3]);
    }
}

// A disk that cannot be read for a while.

#[test]
fn a_record_that_cannot_be_read_for_lack_of_descriptors_is_sent_later() {
    let (directory, disk) = (directory(), TestDisk::new());
    let spool = open_with(options(directory.path(), &disk));
    (0..12).for_each(|n| spool.append(record(n)));
    let batch: Vec<Sequence> =
        spool.peek(3, Duration::ZERO).into_iter().map(|(sequence, _)| sequence).collect();
    disk.fail(|call, _| (call == Call::OpenToRead).then_some(Fault::Error(Errno::TooManyFiles)));
    assert!(spool.peek(3, Duration::ZERO).is_empty(), "none before those that were offered");
    spool.reject(batch[1], "too large");
    assert_eq!(spool.len(), 12);
    disk.mend();
    assert_eq!(numbers(&spool), (0..12).collect::<Vec<_>>());
    assert_eq!(spool.damaged(), 0);
}

// A disk that does not answer.

/// Whatever the disk does not answer to, whoever appends goes on after the patience.
#[test]
fn a_disk_that_does_not_answer_holds_up_no_appender_for_longer_than_the_patience() {
    let places = [
        (Call::OpenToWrite, ".seg"),
        (Call::Write, ".seg"),
        (Call::Sync, ".seg"),
        (Call::SyncDirectory, "spool"),
        (Call::OpenToRead, FIRST),
        (Call::Read, FIRST),
        (Call::Remove, FIRST),
        (Call::Write, "gaps.new"),
        (Call::Sync, "gaps.new"),
        (Call::Rename, "gaps.new"),
        // The file keeps the name by which it was made.
        (Call::Sync, "watermarks.new"),
    ];
    for (call, name) in places {
        let (done, end) = mpsc::channel();
        thread::spawn(move || done.send(append_beside_a_hung_disk(call, name)));
        let (appended, image) =
            end.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("held up: {call:?} {name}"));
        let (results, gone) = found(&image);
        assert_eq!(results.len() + gone.len(), appended as usize, "{call:?} {name}");
    }
}

/// Appends until such a call is held up, and some more: how many records, and the disk once it has answered.
fn append_beside_a_hung_disk(call: Call, name: &'static str) -> (u64, TestDisk) {
    let (directory, disk) = (directory(), TestDisk::new());
    let patience = Duration::from_millis(100);
    let spool = open_with(SpoolOptions { patience, ..options(directory.path(), &disk) });
    spool.append(record(0));
    note(&spool, "site-0", "here", at(1), "@hourly", "UTC");
    let held = disk.hold(call, name);
    let mut appended = 1;
    let mut left = 3;
    while left > 0 {
        left -= u64::from(held.is_reached());
        spool.append(record(appended));
        appended += 1;
    }
    assert!(!spool.flush(), "{call:?} {name}");
    drop(held);
    wait_until("it answers again", || spool.flush());
    (appended, disk.after_power_loss(&mut seed()))
}

/// What Kafka has acknowledged is written down by whoever acknowledges, and by nobody else.
#[test]
fn a_disk_that_does_not_answer_to_the_publisher_holds_up_no_appender() {
    for (call, name) in [(Call::Write, "cursor"), (Call::Sync, "rejected"), (Call::Sync, "gaps.new")] {
        let (directory, disk) = (directory(), TestDisk::new());
        let patience = Duration::from_millis(200);
        let spool = Arc::new(open_with(SpoolOptions { patience, ..options(directory.path(), &disk) }));
        (0..4).for_each(|n| spool.append(record(n)));
        let batch = spool.peek(4, Duration::ZERO);
        let held = disk.hold(call, name);
        let publisher = {
            let spool = Arc::clone(&spool);
            thread::spawn(move || {
                spool.reject(batch[1].0, "too large");
                spool.acknowledge(&[batch[0].0, batch[2].0]);
            })
        };
        held.wait();
        // The spool's own thread settles now and then too, and then waits there as well.
        spool.append(record(4));
        drop(held);
        publisher.join().unwrap();
        wait_until("it answers again", || spool.flush());
        let (results, gone) = found(&disk.after_kill());
        assert_eq!((results, gone), (vec![3, 4], BTreeSet::from([1])), "{call:?} {name}");
    }
}
