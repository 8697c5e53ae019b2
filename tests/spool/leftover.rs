//! What a failed write leaves behind.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use webmon::outbox::spool::SpoolOptions;
use webmon::outbox::{Outbox, Sequence, Spool};

use crate::disk::{Call, Errno, Fault, TestDisk};
use crate::spool::{FRAME, HEADER, directory, look, numbers, open_with, record};
use crate::support::wait_until;

/// Small steps on `disk`.
fn options(directory: &Path, disk: &TestDisk) -> SpoolOptions {
    SpoolOptions {
        retry: Duration::from_millis(2),
        disk: Arc::new(disk.clone()),
        ..SpoolOptions::new(directory.join("spool"), 0)
    }
}

/// Looks at what waits until that is `expected`: what is being written is not offered for a moment.
fn wait_for_offer(spool: &Spool, max: usize, expected: &[u64]) {
    wait_until("that is offered", || {
        let offered = spool.peek(max, Duration::ZERO);
        offered.iter().map(|(sequence, _)| *sequence).eq(expected.iter().copied())
    });
}

#[test]
fn what_a_failed_write_left_behind_hides_no_record_that_came_later() {
    let directory = directory();
    let disk = TestDisk::new();
    let spool = open_with(options(directory.path(), &disk));
    // One record stays unsettled.
    spool.append(record(0));
    // Four come into a segment that cannot be synced, and two of them are sent from memory. The segment for the other
    // two is torn at once. Neither can be deleted.
    disk.fail(|call, name| match (call, name) {
        (Call::Write, "00000000000000000003.seg") => Some(Fault::Torn(60, Errno::Io)),
        (Call::Sync | Call::Remove, name) if name.ends_with(".seg") => Some(Fault::Error(Errno::Io)),
        _ => None,
    });
    spool.append_all((1..5).map(record).collect());
    wait_until("a segment is begun", || !disk.read("00000000000000000001.seg").is_empty());
    wait_for_offer(&spool, 3, &[0, 1, 2]);
    spool.acknowledge(&[1, 2]);
    wait_until("the next segment is begun", || !disk.read("00000000000000000003.seg").is_empty());

    // The process is killed. The next one finds nothing in the last segment, and gives its number to another record.
    let left = disk.after_kill();
    disk.mend();
    drop(spool);
    let spool = open_with(options(directory.path(), &left));
    spool.append(record(9));
    let found = numbers(&spool);
    assert!(found.contains(&0) && found.contains(&9), "{found:?}");
    assert_eq!(spool.damaged(), 0);
}

#[test]
fn a_write_torn_behind_a_number_that_is_missing_for_good_is_no_damage() {
    let directory = directory();
    let disk = TestDisk::new();
    let spool = open_with(options(directory.path(), &disk));
    // Three wait in memory, and the one in the middle is sent from there: its number will be missing on disk.
    disk.fail(|call, _| (call == Call::Write).then_some(Fault::Error(Errno::Io)));
    spool.append_all((0..3).map(record).collect());
    wait_for_offer(&spool, 3, &[0, 1, 2]);
    // The write of the others ends within the last of them, and neither it nor its segment can be taken back.
    let whole = (HEADER + FRAME) as usize + record(0).encode().len() + FRAME as usize;
    disk.fail(move |call, name| match call {
        Call::Write if name.ends_with(".seg") => Some(Fault::Torn(whole + 40, Errno::Io)),
        Call::Remove if name.ends_with(".seg") => Some(Fault::Error(Errno::Io)),
        _ => None,
    });
    spool.acknowledge(&[1]);
    let mut left = disk.after_kill();
    wait_until("the write is torn", || {
        left = disk.after_kill();
        left.read("00000000000000000000.seg").len() == whole + 40
            && left.read("00000000000000000000.seg")[whole - 8..][..8] == 2_u64.to_le_bytes()
    });
    disk.mend();
    drop(spool);

    let spool = open_with(options(directory.path(), &left));
    let found: Vec<Sequence> = look(&spool).into_iter().map(|(sequence, _)| sequence).collect();
    assert_eq!((found, spool.damaged()), (vec![0], 0));
}
