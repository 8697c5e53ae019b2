//! A killed process loses nothing that it was told is durable.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use webmon::outbox::spool::SpoolOptions;
use webmon::outbox::{Outbox, Sequence};
use webmon::record::Record;

use crate::spool::{
    HELPER, SITES, covered, directory, drain, files, helper, helper_directory, number, numbers, open,
    open_with, options, random, record, said, say, seed, segments,
};
use crate::support::{self, wait_until};

/// Appends, delivers and acknowledges until it is killed: "a n" once n is durable, "d n" before it is acknowledged.
#[test]
fn helper_appends_until_it_is_killed() {
    let Some(directory) = helper_directory() else { return };
    let first: u64 = std::env::var("FIRST").unwrap().parse().unwrap();
    let max_size: u64 = std::env::var("MAX_SIZE").unwrap().parse().unwrap();
    let delivers = std::env::var_os("DELIVERS").is_some();
    let mut options = options(&directory);
    options.max_size = max_size;
    options.segment_size = 16_384;
    let spool = open_with(options);
    let next = Mutex::new(first);
    // Behind what the test harness has written.
    say("");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    // Each of the threads has a record under way, or five.
                    let numbers: Vec<u64> = {
                        let mut next = next.lock().unwrap();
                        let from = *next;
                        *next += if from.is_multiple_of(3) { 5 } else { 1 };
                        (from..*next).collect()
                    };
                    spool.append_all(numbers.iter().map(|n| record(*n)).collect());
                    numbers.iter().for_each(|n| say(&format!("a {n}")));
                }
            });
        }
        if delivers {
            scope.spawn(|| {
                loop {
                    let batch = spool.peek(40, Duration::from_secs(1));
                    let mut sequences: Vec<Sequence> = batch.iter().map(|(sequence, _)| *sequence).collect();
                    for (_, record) in &batch {
                        match record {
                            Record::Result(result) => say(&format!("d {}", number(result))),
                            Record::Gap(gap) => panic!("{gap:?}"),
                        }
                    }
                    // The last report of each batch comes late.
                    let late = sequences.pop();
                    spool.acknowledge(&sequences);
                    spool.acknowledge(&late.into_iter().collect::<Vec<_>>());
                }
            });
        }
    });
}

/// Runs the helper and kills it some time after its first line, `delay` later. What it said.
fn run_and_kill(directory: &Path, first: u64, max_size: u64, delivers: bool, delay: Duration) -> Vec<String> {
    let mut command = helper("killed::helper_appends_until_it_is_killed", directory);
    command.env("FIRST", first.to_string()).env("MAX_SIZE", max_size.to_string());
    if delivers {
        command.env("DELIVERS", "yes");
    }
    let said = directory.join("said");
    let mut child = command.stdout(File::create(&said).unwrap()).stderr(Stdio::inherit()).spawn().unwrap();
    let text = || fs::read_to_string(&said).unwrap();
    wait_until("the helper has begun", || text().contains("\na ") || child.try_wait().unwrap().is_some());
    thread::sleep(delay);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "killed, not ended");
    text().lines().map(str::to_owned).collect()
}

#[test]
fn a_killed_appender_loses_nothing_that_it_was_told_is_durable() {
    let directory = directory();
    let mut seed = seed();
    let (mut appended, mut delivered) = (BTreeSet::new(), BTreeSet::new());
    for kill in 0..60 {
        let delay = Duration::from_micros(random(&mut seed, 25_000));
        let lines = run_and_kill(directory.path(), kill * 1_000_000, 64 << 20, kill % 3 != 0, delay);
        let now = said(&lines, "a ");
        assert!(!now.is_empty());
        appended.extend(now);
        delivered.extend(said(&lines, "d "));
        // Each time it is opened once more, as it is left.
        let spool = open_with(SpoolOptions { segment_size: 16_384, ..options(directory.path()) });
        assert_eq!(spool.damaged(), 0);
        let there: BTreeSet<u64> = numbers(&spool).into_iter().collect();
        let lost: Vec<&u64> =
            appended.iter().filter(|n| !delivered.contains(n) && !there.contains(n)).collect();
        assert!(lost.is_empty(), "after kill {kill}: {lost:?}");
        assert_eq!(spool.damaged(), 0);
        if kill % 4 == 3 {
            delivered.extend(drain(&spool).0);
        }
    }
    assert!(delivered.len() > 1_000, "{} were delivered", delivered.len());
    let spool = open(directory.path());
    drain(&spool);
    assert!(segments(directory.path()).len() <= 1);
    assert_eq!(files(directory.path(), "damaged").len(), 0);
}

#[test]
fn a_killed_checker_with_a_full_spool_accounts_for_each_instant_once() {
    let directory = directory();
    let mut seed = seed();
    let mut appended = BTreeSet::new();
    let mut begun = 0;
    for _ in 0..25 {
        let delay = Duration::from_micros(random(&mut seed, 60_000));
        let lines = run_and_kill(directory.path(), begun, 1 << 20, false, delay);
        let now = said(&lines, "a ");
        // The next one begins after what this one may have appended without being told, on the same sites: its
        // instants adjoin those before.
        begun = now.iter().max().unwrap() + 21;
        begun -= begun % SITES;
        appended.extend(now);
    }
    let mut options = SpoolOptions { segment_size: 16_384, ..options(directory.path()) };
    options.max_size = 1 << 20;
    let spool = open_with(options);
    let (results, gaps) = drain(&spool);
    let there: BTreeSet<u64> = results.iter().copied().collect();
    assert_eq!(there.len(), results.len(), "none twice");
    let gone = covered(&gaps);
    assert!(gone.len() > 1_000, "the spool was full: {}", gone.len());
    assert!(there.is_disjoint(&gone), "a result that is there is in no gap");
    let lost: Vec<&u64> = appended.iter().filter(|n| !there.contains(n) && !gone.contains(n)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

/// Runs `helper_appends_three` under strace: the trace, or none where it is not to be had.
fn traced(directory: &Path) -> Option<String> {
    let trace = directory.join("trace");
    let helper = helper("killed::helper_appends_three", directory);
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-e", "trace=pwrite64,write,fdatasync,fsync", "-o"]).arg(&trace);
    command.arg(helper.get_program()).args(helper.get_args()).env(HELPER, directory);
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            support::not_tested(&format!("strace: {error}"));
            return None;
        }
    };
    if String::from_utf8_lossy(&output.stderr).contains("Operation not permitted") {
        support::not_tested("the right to trace");
        return None;
    }
    assert!(output.status.success(), "{output:?}");
    Some(fs::read_to_string(&trace).unwrap())
}

/// What a kill does not show, as the page cache outlives the process: that the bytes were on the disk.
#[test]
fn append_returns_after_the_fdatasync_of_its_bytes() {
    let directory = directory();
    let Some(trace) = traced(directory.path()) else { return };
    let (mut written, mut synced, mut named, mut told) = (false, false, false, 0);
    for line in trace.lines() {
        if line.contains("pwrite64(") && line.contains(".seg>") {
            (written, synced) = (true, false);
        } else if line.contains("fdatasync(") && line.contains(".seg>") {
            synced = line.ends_with("= 0");
        } else if line.contains("fsync(") && line.contains("/spool>") {
            // The first one, of the directory made, is not of the file's name.
            named |= written && line.ends_with("= 0");
        } else if line.contains("write(1<") && line.contains("\"appended") {
            assert!(written && synced && named, "{written} {synced} {named} before {line}\n{trace}");
            written = false;
            told += 1;
        }
    }
    assert_eq!(told, 3, "{trace}");
}

#[test]
fn helper_appends_three() {
    let Some(directory) = helper_directory() else { return };
    let spool = open(&directory);
    for n in 0..3 {
        spool.append(record(n));
        say("appended");
    }
    wait_until("the disk works", || spool.flush());
    std::process::exit(0);
}
