//! The cursor: a write of it that breaks off leaves the cursor before it.

use std::sync::Arc;
use std::time::Duration;

use webmon::outbox::Outbox;
use webmon::outbox::spool::SpoolOptions;

use crate::disk::{Call, Errno, Fault, TestDisk};
use crate::spool::{directory, numbers, open_with, options, record};

#[test]
fn a_torn_cursor_leaves_the_one_before_it() {
    let (here, disk) = (directory(), TestDisk::new());
    // All records are in one segment: only the cursor tells what of it is settled.
    let options = SpoolOptions { segment_size: 64 << 10, ..options(here.path()) };
    let spool = open_with(SpoolOptions { disk: Arc::new(disk.clone()), ..options.clone() });
    (0..12).for_each(|n| spool.append(record(n)));
    let found = || {
        let elsewhere = directory();
        let directory = elsewhere.path().join("spool");
        let disk = Arc::new(disk.after_kill());
        numbers(&open_with(SpoolOptions { directory, disk, ..options.clone() }))
    };
    let deliver = || spool.acknowledge(&[spool.peek(1, Duration::ZERO)[0].0]);
    // Each of the two slots is torn in its turn.
    for (settled, torn) in [(1, 0), (3, 1), (5, 1), (7, 11), (9, 23)] {
        disk.mend();
        deliver();
        let left: Vec<u64> = (settled..12).collect();
        assert_eq!(found(), left);
        disk.fail(move |call, name| {
            (call == Call::Write && name == "cursor").then_some(Fault::Torn(torn, Errno::Io))
        });
        deliver();
        assert_eq!(found(), left, "torn after {torn} bytes");
    }
}
