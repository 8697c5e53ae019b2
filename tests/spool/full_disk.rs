//! A full disk keeps the newest results, and holds up no check.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use webmon::outbox::spool::SpoolOptions;
use webmon::outbox::{Outbox, Spool};
use webmon::record::{GapReason, Record};

use crate::spool::{
    self, HELPER, at, copy, covered, directory, drain, epoch, fill_disk, helper, helper_directory, instants,
    look, note, number, open, open_with, record, say,
};
use crate::support::{self, wait_until};

/// Runs a helper with a small file system of its own in its directory, of `size` as mount takes it. False where that
/// cannot be had.
fn on_a_small_disk(size: &str, helper_name: &str) -> bool {
    let directory = directory();
    let helper = helper(helper_name, directory.path());
    let mount = format!("mount -t tmpfs -o size={size} tmpfs \"$WEBMON_TEST_SPOOL_HELPER\" && exec \"$@\"");
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", &mount, "sh"])
        .arg(helper.get_program())
        .args(helper.get_args())
        .env(HELPER, directory.path())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            support::not_tested(&format!("unshare: {error}"));
            return false;
        }
    };
    let (said, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned());
    if error.contains("unshare failed") || error.contains("mount:") {
        support::not_tested(&format!("a mount namespace: {error}"));
        return false;
    }
    assert!(output.status.success() && said.contains("\nall accounted for"), "{said}\n{error}");
    true
}

#[test]
fn a_full_disk_keeps_the_newest_results_and_gaps_stand_for_the_oldest() {
    on_a_small_disk("4m", "full_disk::helper_appends_more_than_the_disk_holds");
}

#[test]
fn helper_appends_more_than_the_disk_holds() {
    let Some(directory) = helper_directory() else { return };
    let options = SpoolOptions::new(directory.join("spool"), 1 << 30);
    let mut spool = open_with(options.clone());
    let mut next = 0;
    let append = |spool: &Spool, next: &mut u64, upto: u64| {
        while *next < upto {
            spool.append_all((*next..*next + 100).map(record).collect());
            *next += 100;
            assert!(spool.flush(), "the {next} th is not on disk");
        }
    };
    append(&spool, &mut next, 1_000);
    assert_eq!(spool.dropped(), 0);
    // These are being sent from here on.
    let sent = spool.peek(50, Duration::ZERO);
    append(&spool, &mut next, 15_000);
    // The account goes on too.
    note(&spool, "site-0", "here", at(next as i64), "@hourly", "UTC");
    wait_until("the watermark is on disk", || watermark_on_disk(&directory) == Some(at(next as i64)));
    // Then somebody else takes what is left, and there is a restart.
    let filler = fill_disk(&directory, "filler");
    append(&spool, &mut next, 15_500);
    drop(spool);
    let _filler = (filler, fill_disk(&directory, "another"));
    spool = open_with(options.clone());
    let again: Vec<Record> = spool.peek(100, Duration::ZERO).into_iter().map(|(_, record)| record).collect();
    assert!(sent.iter().all(|(_, record)| again.contains(record)), "what is being sent stays");
    append(&spool, &mut next, 16_000);

    // As a kill leaves it: only what is on disk counts.
    let image = spool::directory();
    copy(&directory, image.path());
    let image = open_with(SpoolOptions { directory: image.path().join("spool"), ..options });
    let (results, gaps) = drain(&image);
    let gone = covered(&gaps);
    let being_sent: Vec<u64> = (0..sent.len() as u64).collect();
    assert_eq!(results[..50], being_sent, "what is being sent stays");
    let kept = results.iter().position(|n| *n > results[0] + 10_000).unwrap();
    let newest: Vec<u64> = (next - (results.len() - kept) as u64..next).collect();
    assert_eq!(results[kept..], newest, "the newest stay, in order");
    assert!(newest.len() > 2_000, "only {} are left", newest.len());
    assert!(results.iter().all(|n| !gone.contains(n)));
    assert_eq!(results.len() as u64 + instants(&gaps), next);
    assert!(gaps.iter().all(|gap| gap.gap.reason == GapReason::OutboxFull));
    assert_eq!(image.damaged(), 0);
    say("\nall accounted for");
}

#[test]
fn a_full_disk_stops_no_check_and_what_has_no_room_is_accounted_for() {
    on_a_small_disk("2m", "full_disk::helper_fills_a_disk");
}

/// All that is on disk is being sent, so that nothing can give way.
#[test]
fn helper_fills_a_disk() {
    let Some(directory) = helper_directory() else { return };
    let options = SpoolOptions {
        max_memory: 64 << 10,
        segment_size: 64 << 10,
        ..SpoolOptions::new(directory.join("spool"), 64 << 20)
    };
    a_watermark_waits_for_its_records(&options);

    let spool = open_with(options.clone());
    spool.append_all((0..100).map(record).collect());
    assert!(spool.flush());
    note(&spool, "site-0", "here", epoch(), "@hourly", "UTC");
    wait_until("the first watermark is on disk", || watermark_on_disk(&directory).is_some());
    assert_eq!(look(&spool).len(), 100);

    let filler = fill_disk(&directory, "filler");
    let mut next = 100;
    while spool.dropped() == 0 {
        let started = Instant::now();
        spool.append(record(next));
        assert!(started.elapsed() < Duration::from_secs(20), "a check is held up");
        next += 1;
        assert!(next < 10_000, "memory is bounded");
    }
    for _ in 0..500 {
        spool.append(record(next));
        next += 1;
    }
    assert!(!spool.flush());
    assert!(spool.dropped() > 400);
    // What is in memory, or a gap in memory, is not yet what a restart may rely on.
    note(&spool, "site-0", "here", epoch() + SignedDuration::from_secs(7), "@hourly", "UTC");

    // Kafka still works: what is on disk is sent first, then what is in memory.
    wait_until("what is in memory is sent too", || {
        let results = look(&spool).into_iter().filter_map(|(_, record)| match record {
            Record::Result(result) => Some(number(&result)),
            Record::Gap(_) => None,
        });
        let results: Vec<u64> = results.collect();
        assert!(results.iter().copied().eq(0..results.len() as u64), "{results:?}");
        results.len() > 150
    });
    assert!(watermark_on_disk(&directory).is_some_and(|instant| instant == epoch()), "it does not lead");

    // And then there is room again.
    drop(filler);
    fs::remove_file(directory.join("filler")).unwrap();
    wait_until("the spool has recovered", || spool.flush());
    wait_until("the watermark follows", || {
        watermark_on_disk(&directory).is_some_and(|instant| instant > epoch())
    });
    spool.append(record(next));
    next += 1;
    // As a kill leaves it.
    let image = directory.join("image");
    copy(&directory, &image);
    for spool in [open_with(SpoolOptions { directory: image.join("spool"), ..options }), spool] {
        let (results, gaps) = drain(&spool);
        let there: BTreeSet<u64> = results.into_iter().collect();
        let gone = covered(&gaps);
        assert!(there.is_disjoint(&gone));
        assert_eq!(there.len() as u64 + instants(&gaps), next);
        assert!(gone.len() > 400);
        assert_eq!(spool.damaged(), 0);
    }
    say("\nall accounted for");
}

/// Fills the disk, and makes room again.
fn a_watermark_waits_for_its_records(options: &SpoolOptions) {
    let directory = options.directory.parent().unwrap();
    let spool = open_with(options.clone());
    spool.append(record(0));
    note(&spool, "site-0", "here", epoch(), "@hourly", "UTC");
    wait_until("the first watermark is on disk", || watermark_on_disk(directory).is_some());
    // It is being sent, and must stay.
    assert_eq!(look(&spool).len(), 1);
    fill_disk(directory, "filler");
    let mut next = 1;
    while spool.flush() {
        spool.append(record(next));
        next += 1;
    }
    // The page that the watermarks are in has room for one more.
    note(&spool, "site-0", "here", at(next as i64), "@hourly", "UTC");
    drop(spool);
    assert_eq!(watermark_on_disk(directory), Some(epoch()));
    fs::remove_dir_all(&options.directory).unwrap();
    fs::remove_file(directory.join("filler")).unwrap();
}

/// What a checker would find that started now.
fn watermark_on_disk(directory: &Path) -> Option<Timestamp> {
    let image = spool::directory();
    fs::create_dir(image.path().join("spool")).unwrap();
    fs::copy(directory.join("spool/watermarks"), image.path().join("spool/watermarks")).ok()?;
    open(image.path()).watermarks().load().values().flatten().next().map(|watermark| watermark.until)
}
