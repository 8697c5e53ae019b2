//! What the tests of the spool share: numbered records, and looks into the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use webmon::kafka::{NewTopic, create_topic};
use webmon::monitor::Watermark;
use webmon::outbox::spool::{SpoolError, SpoolOptions};
use webmon::outbox::{Outbox, Sequence, Spool};
use webmon::record::{CheckResult, GapRecord, Outcome, Record};

use crate::support::wait_until;

pub const HELPER: &str = "WEBMON_TEST_SPOOL_HELPER";

/// The sites that records are spread over: record n is of site n mod SITES, whose next one is n + SITES.
pub const SITES: u64 = 7;

pub const FRAME: u64 = 16;

pub const HEADER: u64 = 48;

/// A directory in memory where there is one: these tests are about what is written, not about how long it takes.
pub fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub fn epoch() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

pub fn at(second: i64) -> Timestamp {
    epoch() + SignedDuration::from_secs(second)
}

/// The record number `n`.
pub fn record(n: u64) -> Record {
    let mut result = crate::support::result(&format!("site-{}", n % SITES), 0, Outcome::Success);
    result.scheduled_at = epoch() + SignedDuration::from_secs(n as i64);
    result.next_at = Some(result.scheduled_at + SignedDuration::from_secs(SITES as i64));
    result.started_at = Some(result.scheduled_at + SignedDuration::from_micros(1_900));
    Record::Result(Box::new(result))
}

pub fn number(result: &CheckResult) -> u64 {
    (result.scheduled_at.as_second() - epoch().as_second()) as u64
}

pub fn options(directory: &Path) -> SpoolOptions {
    let mut options = SpoolOptions::new(directory.join("spool"), 64 << 20);
    options.segment_size = 2_048;
    options
}

pub fn open(directory: &Path) -> Spool {
    open_with(options(directory))
}

pub fn open_with(options: SpoolOptions) -> Spool {
    let mut spool = None;
    // A child of another test holds all locks of this process from its fork to its exec.
    wait_until("the lock is free", || match Spool::open(options.clone()) {
        Err(SpoolError::Locked { .. }) => false,
        opened => {
            spool = Some(opened.unwrap());
            true
        }
    });
    spool.unwrap()
}

/// All that waits, without acknowledging it.
pub fn look(spool: &Spool) -> Vec<(Sequence, Record)> {
    spool.peek(1_000_000, Duration::ZERO)
}

/// The numbers of all results that wait; there must be no gaps.
pub fn numbers(spool: &Spool) -> Vec<u64> {
    let number = |(_, record)| match record {
        Record::Result(result) => number(&result),
        Record::Gap(gap) => panic!("{gap:?}"),
    };
    look(spool).into_iter().map(number).collect()
}

/// Acknowledges all that waits and returns it.
pub fn drain(outbox: &dyn Outbox) -> (Vec<u64>, Vec<GapRecord>) {
    let (mut results, mut gaps) = (Vec::new(), Vec::new());
    while !outbox.is_empty() {
        let batch = outbox.peek(1_000, Duration::ZERO);
        // Only reading finds out that a torn write left nothing where something was taken to wait.
        assert!(!batch.is_empty() || outbox.is_empty(), "{} wait, but are not offered", outbox.len());
        let mut sequences = Vec::new();
        for (sequence, record) in batch {
            sequences.push(sequence);
            match record {
                Record::Result(result) => results.push(number(&result)),
                Record::Gap(gap) => gaps.push(gap),
            }
        }
        outbox.acknowledge(&sequences);
    }
    (results, gaps)
}

pub fn instants(gaps: &[GapRecord]) -> u64 {
    gaps.iter().map(|gap| gap.gap.instants).sum()
}

/// The numbers of the results that `gaps` stand for.
pub fn covered(gaps: &[GapRecord]) -> BTreeSet<u64> {
    let mut covered = BTreeSet::new();
    for GapRecord { site, gap, .. } in gaps {
        let second = |at: Timestamp| (at.as_second() - epoch().as_second()) as u64;
        let (from, to) = (second(gap.from), second(gap.to.unwrap()));
        let numbers: Vec<u64> = (from..to).step_by(SITES as usize).collect();
        assert_eq!(numbers.len() as u64, gap.instants, "a gap of neighbours only: {gap:?}");
        for n in numbers {
            assert_eq!(*site, format!("site-{}", n % SITES));
            assert!(covered.insert(n), "{n} is in two gaps");
        }
    }
    covered
}

pub fn segments(directory: &Path) -> Vec<PathBuf> {
    files(directory, "seg")
}

pub fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory.join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// Where the frames of a segment lie, each with the number of its record.
pub fn frames(path: &Path) -> Vec<(std::ops::Range<u64>, Option<u64>)> {
    intact_frames(path).unwrap()
}

/// As `frames`; `None` where the segment is damaged.
pub fn intact_frames(path: &Path) -> Option<Vec<(std::ops::Range<u64>, Option<u64>)>> {
    let bytes = fs::read(path).unwrap();
    let mut frames = Vec::new();
    let mut at = HEADER as usize;
    if bytes.len() < at {
        return None;
    }
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes.get(at + 4..at + 8)?.try_into().unwrap()) as usize;
        let end = at + FRAME as usize + length;
        let crc = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        if crc32fast::hash(bytes.get(at + 4..end)?) != crc {
            return None;
        }
        let id = match Record::decode(&bytes[at + FRAME as usize..end]) {
            Ok(Record::Result(result)) => Some(number(&result)),
            _ => None,
        };
        frames.push((at as u64..end as u64, id));
        at = end;
    }
    Some(frames)
}

pub fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("spool")).unwrap();
    for entry in fs::read_dir(from.join("spool")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join("spool").join(entry.file_name())).unwrap();
    }
}

pub fn note(spool: &Spool, site: &str, location: &str, until: Timestamp, expression: &str, timezone: &str) {
    let (site, expression, timezone) = (site.to_owned(), expression.to_owned(), timezone.to_owned());
    spool.watermarks().note(location, &Watermark { site, until, expression, timezone });
}

pub fn loaded(spool: &Spool) -> BTreeMap<(String, String), (i64, String, String)> {
    let mut loaded = BTreeMap::new();
    for (location, watermarks) in spool.watermarks().load() {
        for w in watermarks {
            let second = w.until.as_second() - epoch().as_second();
            loaded.insert((w.site, location.clone()), (second, w.expression, w.timezone));
        }
    }
    loaded
}

/// Starts this test program again as the helper `name`, in `directory`.
pub fn helper(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads", "1"]).env(HELPER, directory);
    command
}

/// Where a helper works; `None` in the process that a person started.
pub fn helper_directory() -> Option<PathBuf> {
    std::env::var_os(HELPER).map(PathBuf::from)
}

/// A line that is not torn: one write.
pub fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("{line}\n").as_bytes()).unwrap();
    stdout.flush().unwrap();
}

pub fn said(lines: &[String], what: &str) -> Vec<u64> {
    lines.iter().filter_map(|line| line.strip_prefix(what)?.trim().parse().ok()).collect()
}

pub fn random(seed: &mut u64, bound: u64) -> u64 {
    // xorshift64 (Marsaglia, 2003)
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed % bound
}

pub fn seed() -> u64 {
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
    eprintln!("seed {seed}");
    seed
}

/// Takes all that is left of the disk.
pub fn fill_disk(directory: &Path, file: &str) -> File {
    let mut filler = File::create(directory.join(file)).unwrap();
    while filler.write_all(&[0; 4_096]).is_ok() {}
    filler
}

pub fn topic_of(kafka: &webmon::config::Kafka, partitions: i32) {
    let new = NewTopic { partitions, replication: 1, retention: Duration::from_secs(86_400) };
    create_topic(kafka, &new).unwrap();
}
