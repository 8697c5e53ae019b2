//! Watermarks that are forgotten, or new, beside others that stay: each site has its own, whatever the disk does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use webmon::outbox::spool::SpoolOptions;
use webmon::outbox::{Outbox, Spool};

use crate::disk::{Call, Errno, Fault, TestDisk};
use crate::spool::{at, directory, loaded, note, open, open_with, options, record};
use crate::support::wait_until;

/// The sites, and the seconds of their watermarks, that a spool finds on `disk`.
fn found(disk: &TestDisk) -> BTreeSet<(String, i64)> {
    let directory = directory();
    let disk = Arc::new(disk.after_kill());
    sites(&open_with(SpoolOptions { disk, ..options(directory.path()) }))
}

fn sites(spool: &Spool) -> BTreeSet<(String, i64)> {
    loaded(spool).into_iter().map(|((site, _), (second, ..))| (site, second)).collect()
}

fn those<const N: usize>(sites: [(&str, i64); N]) -> BTreeSet<(String, i64)> {
    sites.map(|(site, second)| (site.to_owned(), second)).into()
}

#[test]
fn a_forgotten_watermark_does_not_come_back_when_the_file_is_written_again() {
    let (directory, disk) = (directory(), TestDisk::new());
    let spool = open_with(SpoolOptions { disk: Arc::new(disk.clone()), ..options(directory.path()) });
    note(&spool, "gone", "here", at(1), "@hourly", "UTC");
    note(&spool, "shop", "here", at(1), "@hourly", "UTC");
    wait_until("both are written", || found(&disk) == those([("gone", 1), ("shop", 1)]));
    spool.watermarks().forget("here", "gone");
    wait_until("it is forgotten", || found(&disk) == those([("shop", 1)]));
    // After a failed write all that is known goes to a new file.
    disk.fail_once(Call::Write, "watermarks.new", Fault::Error(Errno::Io));
    note(&spool, "shop", "here", at(2), "@hourly", "UTC");
    wait_until("it is written again", || found(&disk).contains(&("shop".to_owned(), 2)));
    assert_eq!(found(&disk), those([("shop", 2)]));
}

#[test]
fn a_watermark_forgotten_while_the_disk_fails_is_gone_once_it_works() {
    let (directory, disk) = (directory(), TestDisk::new());
    let retry = Duration::from_millis(1);
    let spool = open_with(SpoolOptions { retry, disk: Arc::new(disk.clone()), ..options(directory.path()) });
    note(&spool, "gone", "here", at(1), "@hourly", "UTC");
    note(&spool, "shop", "here", at(1), "@hourly", "UTC");
    wait_until("both are written", || found(&disk) == those([("gone", 1), ("shop", 1)]));
    // No record can be written, and no watermark before the records.
    let failures = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&failures);
    disk.fail(move |call, name| {
        let fails = call == Call::Write && name.ends_with(".seg");
        counted.fetch_add(u64::from(fails), Ordering::SeqCst);
        fails.then_some(Fault::Error(Errno::Io))
    });
    spool.append(record(0));
    spool.watermarks().forget("here", "gone");
    // At most once in a millisecond: meanwhile the watermarks had their turn, which they have each second.
    wait_until("it has failed often", || failures.load(Ordering::SeqCst) > 1_500);
    assert_eq!(found(&disk), those([("gone", 1), ("shop", 1)]));
    disk.mend();
    wait_until("it is forgotten", || found(&disk) == those([("shop", 1)]));
}

#[test]
fn a_site_that_is_new_after_a_restart_has_a_watermark_of_its_own() {
    let directory = directory();
    let names: Vec<String> = (0..60).map(|n| format!("site-{n}")).collect();
    for (begin, end) in [(0, 20), (20, 40), (40, 60)] {
        let spool = open(directory.path());
        for (second, name) in (0..).zip(&names).take(end).skip(begin) {
            note(&spool, name, "here", at(second), "@hourly", "UTC");
        }
        // The ids of those that are left have gaps between them.
        (begin..end).step_by(3).for_each(|n| spool.watermarks().forget("here", &names[n]));
    }
    let expected = (0..).zip(&names).filter(|(n, _)| n % 20 % 3 != 0).map(|(n, name)| (name.clone(), n));
    assert_eq!(sites(&open(directory.path())), expected.collect());
}
