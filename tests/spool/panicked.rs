//! A spool whose thread panicked is missed at once.

use std::fs;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use webmon::outbox::Outbox;
use webmon::outbox::spool::SpoolOptions;

use crate::spool::{directory, helper, helper_directory, open_with, options, record, say};
use crate::support::wait_until;

#[test]
fn a_spool_whose_thread_panicked_is_missed_and_holds_up_nobody() {
    let directory = directory();
    let output = helper("panicked::helper_loses_its_thread", directory.path()).output().unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("\nit ended"),
        "{output:?}"
    );
}

#[test]
fn a_spool_whose_thread_panicked_holds_up_no_append_that_comes_later() {
    let directory = directory();
    let output = helper("panicked::helper_appends_without_its_thread", directory.path()).output().unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("\nit returned"),
        "{output:?}"
    );
}

/// Has nobody to write to, so that it panics in the thread that logs an error.
struct BrokenLog;

impl log::Log for BrokenLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Error
    }

    fn log(&self, record: &log::Record<'_>) {
        assert!(!self.enabled(record.metadata()), "cannot log");
    }

    fn flush(&self) {}
}

#[test]
fn helper_loses_its_thread() {
    let Some(directory) = helper_directory() else { return };
    log::set_logger(&BrokenLog).unwrap();
    log::set_max_level(log::LevelFilter::Error);
    let patience = Duration::from_secs(1);
    // A segment a record.
    let spool = open_with(SpoolOptions { segment_size: 1, patience, ..options(&directory) });
    spool.append(record(0));
    assert!(spool.is_running());
    // The next segment has no place, which the spool's thread wants to log.
    fs::remove_dir_all(directory.join("spool")).unwrap();
    let begun = Instant::now();
    // Who waits says that it takes long, and meets the same logger.
    let waiting = thread::scope(|scope| scope.spawn(|| spool.append(record(1))).join());
    assert!(begun.elapsed() < Duration::from_secs(30));
    drop(waiting);
    wait_until("it is missed", || !spool.is_running());
    let error = spool.close().unwrap_err().to_string();
    assert_eq!(error, "thread spool panicked: cannot log");
    say("\nit ended");
}

#[test]
fn helper_appends_without_its_thread() {
    let Some(directory) = helper_directory() else { return };
    log::set_logger(&BrokenLog).unwrap();
    log::set_max_level(log::LevelFilter::Error);
    let options = SpoolOptions { segment_size: 1, retry: Duration::ZERO, ..options(&directory) };
    let spool = Arc::new(open_with(options));
    spool.append(record(0));
    fs::remove_dir_all(directory.join("spool")).unwrap();
    spool.enqueue(record(1));
    wait_until("it is missed", || !spool.is_running());
    // The disk failed last, and is not tried again.
    let (returned, end) = mpsc::channel();
    let appender = Arc::clone(&spool);
    thread::spawn(move || {
        appender.append(record(2));
        returned.send(())
    });
    end.recv_timeout(Duration::from_secs(30)).expect("it waits for a thread that has ended");
    assert_eq!(spool.len(), 3);
    spool.close().unwrap_err();
    say("\nit returned");
}
