//! The spool: what was appended stays, through restarts, `kill -9`, full disks, damaged files and long outages.

#![cfg(all(feature = "check", feature = "store", feature = "librdkafka", feature = "cli"))]

#[path = "support/sites.rs"]
mod sites;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use support::{Signal, program, scale, unique, wait_until};
use tempfile::TempDir;
use webmon::kafka::{Delivery, KafkaError, NewTopic, Outgoing, Producer, create_topic};
use webmon::monitor::Watermark;
use webmon::outbox::spool::{Inspector, SpoolError, SpoolOptions};
use webmon::outbox::{MemoryOutbox, Outbox, Publisher, Sequence, Spool, publish};
use webmon::result::{CheckResult, GapReason, GapRecord, Outcome, Record};
use webmon::shutdown::Shutdown;

const CHECK: &str = env!("CARGO_BIN_EXE_webmon-check");
const HELPER: &str = "WEBMON_TEST_SPOOL_HELPER";
/// The sites that records are spread over: record n is of site n mod SITES, whose next one is n + SITES.
const SITES: u64 = 7;
const FRAME: u64 = 16;
const HEADER: u64 = 48;

/// A directory in memory where there is one: these tests are about what is written, not about how long it takes.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn epoch() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// The record number `n`.
fn record(n: u64) -> Record {
    let mut result = support::result(&format!("site-{}", n % SITES), 0, Outcome::Success);
    result.scheduled_at = epoch() + SignedDuration::from_secs(n as i64);
    result.next_at = Some(result.scheduled_at + SignedDuration::from_secs(SITES as i64));
    result.started_at = Some(result.scheduled_at + SignedDuration::from_micros(1_900));
    Record::Result(Box::new(result))
}

fn number(result: &CheckResult) -> u64 {
    (result.scheduled_at.as_second() - epoch().as_second()) as u64
}

fn options(directory: &Path) -> SpoolOptions {
    let mut options = SpoolOptions::new(directory.join("spool"), 64 << 20);
    options.segment_size = 2_048;
    options
}

fn open(directory: &Path) -> Spool {
    open_with(options(directory))
}

fn open_with(options: SpoolOptions) -> Spool {
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
fn look(spool: &Spool) -> Vec<(Sequence, Record)> {
    spool.peek(1_000_000, Duration::ZERO)
}

/// The numbers of all results that wait; there must be no gaps.
fn numbers(spool: &Spool) -> Vec<u64> {
    let number = |(_, record)| match record {
        Record::Result(result) => number(&result),
        Record::Gap(gap) => panic!("{gap:?}"),
    };
    look(spool).into_iter().map(number).collect()
}

/// Acknowledges all that waits and returns it.
fn drain(outbox: &dyn Outbox) -> (Vec<u64>, Vec<GapRecord>) {
    let (mut results, mut gaps) = (Vec::new(), Vec::new());
    while !outbox.is_empty() {
        let batch = outbox.peek(1_000, Duration::ZERO);
        assert!(!batch.is_empty(), "{} wait, but are not offered", outbox.len());
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

fn instants(gaps: &[GapRecord]) -> u64 {
    gaps.iter().map(|gap| gap.gap.instants).sum()
}

/// The numbers of the results that `gaps` stand for.
fn covered(gaps: &[GapRecord]) -> BTreeSet<u64> {
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

fn segments(directory: &Path) -> Vec<PathBuf> {
    files(directory, "seg")
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory.join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// Where the frames of a segment lie, each with the number of its record.
fn frames(path: &Path) -> Vec<(std::ops::Range<u64>, Option<u64>)> {
    intact_frames(path).unwrap()
}

/// As `frames`; `None` where the segment is damaged.
fn intact_frames(path: &Path) -> Option<Vec<(std::ops::Range<u64>, Option<u64>)>> {
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

fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("spool")).unwrap();
    for entry in fs::read_dir(from.join("spool")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join("spool").join(entry.file_name())).unwrap();
    }
}

// Keeping

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
    let image = self::directory();
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

// Damage

#[test]
fn an_end_torn_at_any_byte_costs_the_torn_record_alone() {
    let base = directory();
    let spool = open(base.path());
    spool.append_all((0..4).map(record).collect());
    drop(spool);
    let path = segments(base.path()).pop().unwrap();
    let (last, _) = frames(&path).pop().unwrap();
    for cut in last.start..=last.end {
        let torn = directory();
        copy(base.path(), torn.path());
        let path = segments(torn.path()).pop().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let left = if cut == last.end { 4 } else { 3 };
        let spool = open(torn.path());
        assert_eq!(numbers(&spool), (0..left).collect::<Vec<_>>(), "cut at {cut}");
        spool.append(record(9));
        drop(spool);
        let spool = open(torn.path());
        assert_eq!(numbers(&spool), (0..left).chain([9]).collect::<Vec<_>>(), "cut at {cut}");
        assert_eq!(spool.damaged(), 0);
    }
    // A write torn within its very first bytes.
    for cut in 0..last.start {
        let torn = directory();
        copy(base.path(), torn.path());
        let path = segments(torn.path()).pop().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let whole = frames_before(&segments(base.path()).pop().unwrap(), cut);
        let spool = open(torn.path());
        spool.append(record(9));
        assert_eq!(numbers(&spool), (0..whole).chain([9]).collect::<Vec<_>>(), "cut at {cut}");
    }
}

fn frames_before(path: &Path, cut: u64) -> u64 {
    frames(path).iter().filter(|(place, _)| place.end <= cut).count() as u64
}

#[test]
fn a_damaged_byte_costs_its_record_alone_and_the_segment_is_kept_aside() {
    let base = directory();
    let spool = open(base.path());
    (0..30).for_each(|n| spool.append(record(n)));
    drop(spool);
    let path = segments(base.path())[1].clone();
    let name = path.file_name().unwrap();
    for at in 0..fs::metadata(&path).unwrap().len() {
        let damaged = directory();
        copy(base.path(), damaged.path());
        flip(&damaged.path().join("spool").join(name), at);
        let hit = frames(&path).iter().find(|(place, _)| place.contains(&at)).and_then(|(_, id)| *id);
        let spool = open(damaged.path());
        let left: Vec<u64> = (0..30).filter(|n| Some(*n) != hit).collect();
        assert_eq!(numbers(&spool), left, "byte {at}");
        assert_eq!(spool.damaged(), u64::from(hit.is_some()), "byte {at}");
        assert_eq!(drain(&spool).0, left);
        drop(spool);
        if hit.is_some() {
            assert_eq!(files(damaged.path(), "damaged").len(), 1, "byte {at}");
        }
    }
}

#[test]
fn garbage_and_missing_files_never_keep_the_rest_from_being_sent() {
    let directory = directory();
    fs::create_dir(directory.path().join("spool")).unwrap();
    drop(open(directory.path()));
    let spool = open(directory.path());
    (0..40).for_each(|n| spool.append(record(n)));
    drop(spool);
    let all = segments(directory.path());
    assert!(all.len() >= 5);
    let lost: BTreeSet<u64> = [1, 3].iter().flat_map(|i| frames(&all[*i])).filter_map(|(_, id)| id).collect();
    let garbage: Vec<u8> = (0..3_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(&all[1], &garbage).unwrap();
    fs::write(&all[3], b"").unwrap();
    fs::write(directory.path().join("spool/cursor"), &garbage).unwrap();
    fs::write(directory.path().join("spool/gaps"), &garbage).unwrap();
    fs::write(directory.path().join("spool/watermarks"), &garbage).unwrap();
    fs::write(directory.path().join("spool/rejected"), &garbage).unwrap();
    fs::write(directory.path().join("spool/99999999999999999999999.seg"), &garbage).unwrap();
    fs::write(directory.path().join("spool/what.seg"), &garbage).unwrap();
    let spool = open(directory.path());
    let left: Vec<u64> = (0..40).filter(|n| !lost.contains(n)).collect();
    assert_eq!(drain(&spool).0, left);
    assert_eq!(spool.damaged(), lost.len() as u64);
    assert_eq!(files(directory.path(), "damaged").len(), 2);
    spool.append(record(40));
    drop(spool);
    let spool = open(directory.path());
    assert_eq!(numbers(&spool), [40]);
    drop(spool);
    // The last segment is garbage altogether.
    fs::remove_file(directory.path().join("spool/99999999999999999999999.seg")).unwrap();
    fs::remove_file(directory.path().join("spool/what.seg")).unwrap();
    fs::write(segments(directory.path()).pop().unwrap(), &garbage).unwrap();
    let spool = open(directory.path());
    assert_eq!(numbers(&spool), [0; 0]);
    spool.append(record(41));
    assert_eq!(numbers(&spool), [41]);
}

#[derive(Clone, Debug)]
enum Step {
    /// One by one, or together.
    Append(usize, bool),
    /// Offers so many and acknowledges those whose bit is set.
    Deliver(usize, u64),
    Reopen,
    /// Reopens after the file was cut at, or a byte flipped in, some place of some segment.
    Cut(prop::sample::Index, prop::sample::Index),
    Flip(prop::sample::Index, prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..12usize, any::<bool>()).prop_map(|(n, together)| Step::Append(n, together)),
        3 => (1..20usize, any::<u64>()).prop_map(|(n, mask)| Step::Deliver(n, mask | mask >> 1)),
        1 => (1..20usize).prop_map(|n| Step::Deliver(n, u64::MAX)),
        2 => Just(Step::Reopen),
        1 => any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(file, at)| Step::Cut(file, at)),
        1 => any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(file, at)| Step::Flip(file, at)),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_but_what_was_damaged_and_nothing_comes_twice_within_a_life(steps in steps()) {
        let directory = directory();
        let mut spool = Some(open(directory.path()));
        let (mut next, mut acknowledged, mut hit) = (0, BTreeSet::new(), BTreeSet::new());
        let mut in_this_life = BTreeSet::new();
        for step in steps {
            let open_spool = spool.as_ref().unwrap();
            match step {
                Step::Append(count, together) => {
                    let records: Vec<Record> = (next..next + count as u64).map(record).collect();
                    next += count as u64;
                    if together {
                        open_spool.append_all(records);
                    } else {
                        records.into_iter().for_each(|record| open_spool.append(record));
                    }
                    continue;
                }
                Step::Deliver(count, mask) => {
                    let batch = open_spool.peek(count, Duration::ZERO);
                    let mut sequences = Vec::new();
                    for (i, (sequence, record)) in batch.into_iter().enumerate() {
                        let Record::Result(result) = record else { panic!("a gap") };
                        if mask & 1 << i != 0 {
                            sequences.push(sequence);
                            acknowledged.insert(number(&result));
                            in_this_life.insert(number(&result));
                        }
                    }
                    open_spool.acknowledge(&sequences);
                    let left = numbers(open_spool);
                    prop_assert!(left.is_sorted_by(|a, b| a < b), "{left:?}");
                    prop_assert!(!left.iter().any(|n| in_this_life.contains(n)), "acknowledged, and back");
                    continue;
                }
                Step::Reopen => drop(spool.take()),
                Step::Cut(file, at) | Step::Flip(file, at) => {
                    drop(spool.take());
                    // Once is enough for one file.
                    let intact: Vec<_> = segments(directory.path())
                        .into_iter()
                        .filter_map(|path| Some((intact_frames(&path)?, path)))
                        .collect();
                    let intact: Vec<_> = intact.into_iter().filter(|(frames, _)| !frames.is_empty()).collect();
                    if !intact.is_empty() {
                        let (frames, path) = file.get(&intact);
                        let at = at.index(fs::metadata(path).unwrap().len() as usize) as u64;
                        let cut = matches!(step, Step::Cut(..));
                        let is_hit = |place: &std::ops::Range<u64>| place.contains(&at) || (cut && place.end > at);
                        hit.extend(frames.iter().filter(|(place, _)| is_hit(place)).filter_map(|(_, id)| *id));
                        if cut {
                            File::options().write(true).open(path).unwrap().set_len(at).unwrap();
                        } else {
                            flip(path, at);
                        }
                    }
                }
            }
            in_this_life.clear();
            let reopened = open(directory.path());
            let waiting = numbers(&reopened);
            prop_assert!(waiting.is_sorted_by(|a, b| a < b), "in order, and once: {waiting:?}");
            let there: BTreeSet<u64> = waiting.into_iter().collect();
            for n in 0..next {
                if hit.contains(&n) {
                    prop_assert!(!there.contains(&n) || acknowledged.contains(&n), "{n} was damaged");
                } else {
                    prop_assert!(there.contains(&n) || acknowledged.contains(&n), "{n} is lost; there is {there:?}");
                }
            }
            prop_assert_eq!(reopened.len(), there.len());
            prop_assert!(reopened.damaged() <= hit.len() as u64);
            spool = Some(reopened);
        }
    }
}

// Processes that are killed

/// Starts this test program again as the helper `name`, in `directory`.
fn helper(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads", "1"]).env(HELPER, directory);
    command
}

/// Where a helper works; `None` in the process that a person started.
fn helper_directory() -> Option<PathBuf> {
    std::env::var_os(HELPER).map(PathBuf::from)
}

/// A line that is not torn: one write.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("{line}\n").as_bytes()).unwrap();
    stdout.flush().unwrap();
}

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
    let mut command = helper("helper_appends_until_it_is_killed", directory);
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

fn said(lines: &[String], what: &str) -> Vec<u64> {
    lines.iter().filter_map(|line| line.strip_prefix(what)?.trim().parse().ok()).collect()
}

fn random(seed: &mut u64, bound: u64) -> u64 {
    // xorshift64 (Marsaglia, 2003)
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed % bound
}

fn seed() -> u64 {
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
    eprintln!("seed {seed}");
    seed
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

/// Runs `helper_appends_three` under strace, with further arguments for that: the trace, or none where it is not to
/// be had.
fn traced(directory: &Path, arguments: &[&str]) -> Option<String> {
    let trace = directory.join("trace");
    let helper = helper("helper_appends_three", directory);
    let mut command = Command::new("strace");
    command
        .args(["-f", "-y", "-e", "trace=pwrite64,write,fdatasync,fsync", "-o"])
        .arg(&trace)
        .args(arguments);
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
    let Some(trace) = traced(directory.path(), &[]) else { return };
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

/// After a failed fdatasync the kernel may take the pages for clean: the next one of that file tells nothing.
#[test]
fn what_an_fdatasync_failed_on_is_written_again_to_another_segment() {
    let directory = directory();
    // The first is that of the watermarks, the second that of the first record.
    let Some(trace) = traced(directory.path(), &["-e", "inject=fdatasync:error=EIO:when=3"]) else { return };
    let failed = trace.lines().position(|line| line.contains("EIO")).expect("one has failed");
    let of = trace.lines().nth(failed).unwrap();
    let segment = of.split(['<', '>']).nth(1).unwrap();
    assert!(segment.ends_with(".seg"), "{of}");
    let after = || trace.lines().skip(failed + 1);
    assert!(!after().any(|line| line.contains("pwrite64(") && line.contains(segment)), "{trace}");
    assert!(after().any(|line| line.contains("pwrite64(") && line.contains(".seg>")), "{trace}");
    let spool = open(directory.path());
    assert_eq!(numbers(&spool), [0, 1, 2]);
    assert_eq!(spool.damaged(), 0);
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

// Bounds

#[test]
fn a_full_spool_drops_the_oldest_and_accounts_for_each_of_them() {
    let directory = directory();
    let limited = || {
        let mut options = SpoolOptions::new(directory.path().join("spool"), 1 << 20);
        options.segment_size = 32_768;
        open_with(options)
    };
    let total = 8_000;
    let mut spool = limited();
    let mut sent = Vec::new();
    for from in (0..total).step_by(100) {
        spool.append_all((from..from + 100).map(record).collect());
        let bytes: u64 =
            segments(directory.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(bytes <= 1 << 20, "{bytes}");
        match from {
            // These are being sent from here on, and must not be dropped.
            1_000 => sent = spool.peek(50, Duration::ZERO),
            // Gaps survive a restart, and go on growing afterwards.
            4_000 => {
                let sequences: Vec<Sequence> = sent.iter().map(|(sequence, _)| *sequence).collect();
                let again = spool.peek(50, Duration::ZERO);
                assert_eq!(again, sent, "what is being sent stays");
                spool.acknowledge(&sequences);
                drop(spool);
                spool = limited();
            }
            _ => {}
        }
    }
    assert_eq!(sent.len(), 50);
    let status = Inspector::new(spool.directory()).unwrap().status().unwrap();
    assert!(status.bytes <= 1 << 20);
    let waiting = spool.len();
    let (results, gaps) = drain(&spool);
    assert_eq!(waiting, results.len() + gaps.len());
    let gone = covered(&gaps);
    assert_eq!(sent.len() as u64 + results.len() as u64 + instants(&gaps), total);
    assert_eq!(gone.len() as u64, instants(&gaps));
    let expected: Vec<u64> = (total - results.len() as u64..total).collect();
    assert_eq!(results, expected, "the newest stayed, in order");
    assert!(gaps.iter().all(|gap| gap.gap.reason == GapReason::OutboxFull));
    // One for each site and life, and one where what was sent in between parts them.
    assert!(gaps.len() as u64 <= 3 * SITES, "{}", gaps.len());
    assert!(spool.is_empty() && look(&spool).is_empty());
    drop(spool);
    let spool = limited();
    assert!(spool.is_empty(), "delivered gaps do not come back: {:?}", look(&spool));
}

#[test]
fn a_gap_that_was_offered_never_changes_and_is_offered_again_after_a_restart() {
    let directory = directory();
    let sized = |max_size| {
        let mut options = SpoolOptions::new(directory.path().join("spool"), max_size);
        options.segment_size = 32_768;
        open_with(options)
    };
    let spool = sized(1 << 20);
    spool.append_all((0..7_000).map(record).collect());
    drop(spool);
    // With more room the gaps need not wait until the rest was sent.
    let spool = sized(16 << 20);
    let offered: Vec<Record> = spool
        .peek(100, Duration::ZERO)
        .into_iter()
        .map(|(_, record)| record)
        .filter(|record| matches!(record, Record::Gap(_)))
        .collect();
    assert_eq!(offered.len() as u64, SITES);
    drop(spool);
    // The outage goes on: what is dropped next adjoins what was offered.
    let spool = sized(1 << 20);
    spool.append_all((7_000..9_000).map(record).collect());
    let (results, gaps) = drain(&spool);
    for gap in offered {
        assert!(gaps.iter().any(|other| Record::Gap(other.clone()) == gap), "{gap:?} is not sent as it was");
    }
    assert_eq!(results.len() as u64 + instants(&gaps), 9_000);
    covered(&gaps);
}

#[test]
fn a_crash_between_the_gaps_and_the_segment_they_are_for_counts_nothing_twice() {
    for _ in 0..20 {
        let (directory, image) = (directory(), self::directory());
        let options = |directory: &Path| {
            let mut options = SpoolOptions::new(directory.join("spool"), 1 << 20);
            options.segment_size = 32_768;
            options
        };
        let spool = open_with(options(directory.path()));
        let mut next = 0;
        let oldest = segments_of(&spool, &mut next).remove(0);
        let before = fs::read(&oldest).unwrap();
        while oldest.exists() {
            spool.append(record(next));
            next += 1;
        }
        copy(directory.path(), image.path());
        let gaps = fs::read(image.path().join("spool/gaps")).unwrap();
        if !String::from_utf8_lossy(&gaps).contains("{\"dropping\":0}") {
            continue; // The file was written once more since.
        }
        // As it was a moment before: the gaps are written, the segment is not yet deleted.
        fs::write(image.path().join("spool").join(oldest.file_name().unwrap()), before).unwrap();
        let (results, gaps) = drain(&open_with(options(image.path())));
        let gone = covered(&gaps);
        assert!(!gone.is_empty() && results.iter().all(|n| !gone.contains(n)));
        assert_eq!(results.len() + gone.len(), next as usize);
        return;
    }
    panic!("the file of gaps was always written once more");
}

/// Appends until there are two segments; all of them.
fn segments_of(spool: &Spool, next: &mut u64) -> Vec<PathBuf> {
    loop {
        spool.append(record(*next));
        *next += 1;
        let all = segments(spool.directory().parent().unwrap());
        if all.len() > 1 {
            return all;
        }
    }
}

/// Fails, takes, or refuses.
#[derive(Clone, Default)]
struct Broker(Arc<BrokerState>);

#[derive(Default)]
struct BrokerState {
    up: AtomicBool,
    delivered: AtomicUsize,
    numbers: Mutex<Vec<u64>>,
    gaps: Mutex<Vec<GapRecord>>,
    refused: Mutex<BTreeSet<u64>>,
}

impl Producer for Broker {
    fn partitions(&mut self) -> Result<i32, KafkaError> {
        Ok(1)
    }

    fn produce(&mut self, records: &[Outgoing]) -> Vec<Delivery> {
        let broker = &self.0;
        if !broker.up.load(Ordering::SeqCst) {
            let error = KafkaError::Fatal("the broker is down".to_owned());
            return records.iter().map(|_| Delivery::Retry(error.clone())).collect();
        }
        let take = |outgoing: &Outgoing| {
            match Record::decode(&outgoing.value).unwrap() {
                Record::Result(result) if broker.refused.lock().unwrap().contains(&number(&result)) => {
                    return Delivery::Refused("too large".to_owned());
                }
                Record::Result(result) => broker.numbers.lock().unwrap().push(number(&result)),
                Record::Gap(gap) => broker.gaps.lock().unwrap().push(gap),
            }
            broker.delivered.fetch_add(1, Ordering::SeqCst);
            Delivery::Delivered
        };
        records.iter().map(take).collect()
    }
}

fn topic_of(kafka: &webmon::config::Kafka, partitions: i32) {
    let new = NewTopic { partitions, replication: 1, retention: Duration::from_secs(86_400) };
    create_topic(kafka, &new).unwrap();
}

fn kafka_config(brokers: &str, topic: &str) -> webmon::config::Kafka {
    support::config(brokers, topic, "postgres://nobody@127.0.0.1/none", "").kafka
}

#[test]
fn a_long_outage_and_a_kill_cost_disk_and_not_memory_and_everything_arrives() {
    let Some(brokers) = support::kafka() else { return };
    let total: u64 = scale(150_000, 3_600_000);
    let patience = Duration::from_secs(scale(120, 1_200));
    let topic = unique("outage");
    let kafka = kafka_config(&brokers, &topic);
    topic_of(&kafka, 6);
    // On a disk: memory is what this is about.
    let directory = tempfile::tempdir().unwrap();
    let said_by = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();

    // Nobody answers there.
    let closed = sites::ClosedPort::new();
    let begun = Instant::now();
    let mut child = helper("helper_appends_through_an_outage", directory.path())
        .env("BROKERS", closed.address.to_string())
        .env("TOPIC", &topic)
        .stdout(File::create(directory.path().join("appended")).unwrap())
        .spawn()
        .unwrap();
    let durable = || said(&said_by("appended").lines().map(str::to_owned).collect::<Vec<_>>(), "durable ");
    support::wait_within(patience, "they are appended", || {
        durable().len() as u64 * OUTAGE_BATCH >= total || child.try_wait().unwrap().is_some()
    });
    let appending = begun.elapsed().as_secs();
    let peak = support::peak_memory_kb(child.id());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "killed while it was appending");
    let durable = durable();
    let disk: u64 = segments(directory.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();

    // Another process finds the broker back.
    let begun = Instant::now();
    let mut child = helper("helper_sends_what_waits", directory.path())
        .env("BROKERS", &brokers)
        .env("TOPIC", &topic)
        .stdout(File::create(directory.path().join("sent")).unwrap())
        .spawn()
        .unwrap();
    support::wait_within(patience, "they are sent", || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
    let sent: Vec<String> = said_by("sent").lines().map(str::to_owned).collect();
    let peak_sending = said(&sent, "peak ")[0];
    eprintln!(
        "{} records of {disk} bytes: appended in {appending} s with {peak} kB resident at most, \
         sent in {} s with {peak_sending} kB",
        durable.len() as u64 * OUTAGE_BATCH,
        begun.elapsed().as_secs()
    );
    let mut arrived = vec![0_u8; (durable.iter().max().unwrap() + 10 * OUTAGE_BATCH) as usize];
    support::read_topic(&kafka, |record| match Record::decode(record.value.unwrap()).unwrap() {
        Record::Result(result) => arrived[number(&result) as usize] += 1,
        Record::Gap(gap) => panic!("{gap:?}"),
    });
    for from in durable {
        let lost = (from..from + OUTAGE_BATCH).find(|n| arrived[*n as usize] == 0);
        assert_eq!(lost, None, "it was on disk");
    }
    assert!(arrived.iter().all(|times| *times <= 1), "none of them was sent before");
    assert!(segments(directory.path()).len() <= 1, "what was sent takes no place");
    assert!(peak < 60_000 && peak_sending < 100_000, "{peak} kB, {peak_sending} kB");
}

/// Records that are appended together.
const OUTAGE_BATCH: u64 = 1_000;

/// What the helper of an outage works with.
fn outage(directory: &Path) -> (Arc<Spool>, Box<dyn Producer>) {
    let variable = |name| std::env::var(name).unwrap();
    let producer = webmon::kafka::producer(&kafka_config(&variable("BROKERS"), &variable("TOPIC"))).unwrap();
    (Arc::new(open_with(SpoolOptions::new(directory.join("spool"), 4 << 30))), producer)
}

/// Appends as fast as it can until it is killed, while what it appends finds no broker.
#[test]
fn helper_appends_through_an_outage() {
    let Some(directory) = helper_directory() else { return };
    let (spool, producer) = outage(&directory);
    let _publisher = Publisher::start(spool.clone(), producer, Duration::ZERO).unwrap();
    let next = AtomicUsize::new(0);
    // Behind what the test harness has written.
    say("");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(OUTAGE_BATCH as usize, Ordering::Relaxed) as u64;
                    spool.append_all((from..from + OUTAGE_BATCH).map(record).collect());
                    say(&format!("durable {from}"));
                }
            });
        }
    });
}

#[test]
fn helper_sends_what_waits() {
    let Some(directory) = helper_directory() else { return };
    let (spool, producer) = outage(&directory);
    let publisher = Publisher::start(spool.clone(), producer, Duration::from_secs(1_200)).unwrap();
    publisher.stop().unwrap();
    assert!(spool.is_empty());
    say(&format!("\npeak {}", support::peak_memory_kb(std::process::id())));
}

#[test]
fn a_refused_record_is_kept_and_accounted_for_and_does_not_hold_up_the_others() {
    let directory = directory();
    let spool = open(directory.path());
    spool.append_all((0..50).map(record).collect());
    let broker = Broker::default();
    broker.0.up.store(true, Ordering::SeqCst);
    broker.0.refused.lock().unwrap().extend([0, 17]);
    let stop = Shutdown::new();
    stop.request();
    publish(&spool, broker.clone(), &stop, Duration::from_secs(60));
    assert!(spool.is_empty());
    let left: Vec<u64> = (0..50).filter(|n| ![0, 17].contains(n)).collect();
    assert_eq!(*broker.0.numbers.lock().unwrap(), left);
    let gaps = broker.0.gaps.lock().unwrap().clone();
    assert!(gaps.iter().all(|gap| gap.gap.reason == GapReason::Refused));
    assert_eq!(covered(&gaps), BTreeSet::from([0, 17]));

    let dumped = |spool: &Spool| {
        let mut dumped = Vec::new();
        let inspector = Inspector::new(spool.directory()).unwrap();
        inspector
            .rejected::<SpoolError>(|json| {
                let entry: serde_json::Value = serde_json::from_slice(json).unwrap();
                assert_eq!(entry["reason"], "too large");
                let record = Record::decode(entry["record"].to_string().as_bytes()).unwrap();
                dumped.push(record);
                Ok(())
            })
            .unwrap();
        assert_eq!(inspector.status().unwrap().rejected, dumped.len() as u64);
        dumped
    };
    assert_eq!(dumped(&spool), [record(0), record(17)]);
    drop(spool);
    let spool = open(directory.path());
    assert!(spool.is_empty());
    assert_eq!(dumped(&spool), [record(0), record(17)]);
}

#[test]
fn a_refused_record_survives_a_kill_as_a_gap() {
    let directory = directory();
    let image = self::directory();
    let spool = open(directory.path());
    spool.append_all((0..10).map(record).collect());
    let batch = spool.peek(5, Duration::ZERO);
    spool.reject(batch[2].0, "too large");
    spool.acknowledge(&[batch[0].0, batch[1].0, batch[3].0, batch[4].0]);
    // As a kill leaves it.
    copy(directory.path(), image.path());
    let (results, gaps) = drain(&open(image.path()));
    assert_eq!(results, [5, 6, 7, 8, 9]);
    assert_eq!(covered(&gaps), BTreeSet::from([2]));
}

#[test]
fn rejected_records_take_a_bounded_place() {
    let directory = directory();
    let mut options = options(directory.path());
    options.max_size = 1 << 20;
    let spool = open_with(options);
    for from in (0..1_000).step_by(100) {
        spool.append_all((from..from + 100).map(record).collect());
        for (sequence, _) in look(&spool) {
            spool.reject(sequence, "not authorized");
        }
        spool.acknowledge(&[]);
    }
    let size = |name: &str| fs::metadata(spool.directory().join(name)).unwrap().len();
    assert!(size("rejected") + size("rejected.old") <= (1 << 20) / 16 + 4_096);
    let mut last = None;
    let inspector = Inspector::new(spool.directory()).unwrap();
    inspector
        .rejected::<SpoolError>(|json| {
            last = Some(json.to_vec());
            Ok(())
        })
        .unwrap();
    let last: serde_json::Value = serde_json::from_slice(&last.unwrap()).unwrap();
    assert_eq!(last["record"]["site"], record(999).key());
}

#[test]
fn a_refused_record_of_the_memory_outbox_becomes_a_gap() {
    let outbox = MemoryOutbox::new(100);
    (0..10).for_each(|n| outbox.append(record(n)));
    let batch = outbox.peek(10, Duration::ZERO);
    outbox.reject(batch[3].0, "too large");
    outbox.reject(batch[3].0, "too large");
    outbox.acknowledge(&batch.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>());
    let (results, gaps) = drain(&outbox);
    assert!(results.is_empty());
    assert_eq!(covered(&gaps), BTreeSet::from([3]));
    assert_eq!(gaps[0].gap.reason, GapReason::Refused);
    assert_eq!(outbox.dropped(), 0);
}

// A fault of the program's own

#[test]
fn a_spool_whose_thread_panicked_is_missed_and_holds_up_nobody() {
    let directory = directory();
    let output = helper("helper_loses_its_thread", directory.path()).output().unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("\nit ended"),
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

// A disk that is full

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

/// Takes all that is left of the disk.
fn fill_disk(directory: &Path, file: &str) -> File {
    let mut filler = File::create(directory.join(file)).unwrap();
    while filler.write_all(&[0; 4_096]).is_ok() {}
    filler
}

#[test]
fn a_full_disk_keeps_the_newest_results_and_gaps_stand_for_the_oldest() {
    on_a_small_disk("4m", "helper_appends_more_than_the_disk_holds");
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
    let image = self::directory();
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
    on_a_small_disk("2m", "helper_fills_a_disk");
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
    let image = self::directory();
    fs::create_dir(image.path().join("spool")).unwrap();
    fs::copy(directory.join("spool/watermarks"), image.path().join("spool/watermarks")).ok()?;
    open(image.path()).watermarks().load().values().flatten().next().map(|watermark| watermark.until)
}

// Watermarks

fn at(second: i64) -> Timestamp {
    epoch() + SignedDuration::from_secs(second)
}

fn note(spool: &Spool, site: &str, location: &str, until: Timestamp, expression: &str, timezone: &str) {
    let (site, expression, timezone) = (site.to_owned(), expression.to_owned(), timezone.to_owned());
    spool.watermarks().note(location, &Watermark { site, until, expression, timezone });
}

fn loaded(spool: &Spool) -> BTreeMap<(String, String), (i64, String, String)> {
    let mut loaded = BTreeMap::new();
    for (location, watermarks) in spool.watermarks().load() {
        for w in watermarks {
            let second = w.until.as_second() - epoch().as_second();
            loaded.insert((w.site, location.clone()), (second, w.expression, w.timezone));
        }
    }
    loaded
}

#[test]
fn watermarks_survive_a_restart_and_only_go_forward() {
    let directory = directory();
    let spool = open(directory.path());
    assert!(loaded(&spool).is_empty());
    note(&spool, "shop", "berlin", at(10), "* * * * * *", "UTC");
    note(&spool, "shop", "berlin", at(12), "* * * * * *", "UTC");
    note(&spool, "shop", "berlin", at(11), "* * * * * *", "UTC");
    note(&spool, "shop", "paris", at(5), "@hourly", "Europe/Paris");
    note(&spool, "gone", "berlin", at(1), "@hourly", "UTC");
    let expected = |spool: &Spool, shop: i64, expression: &str| {
        let key = |site: &str, location: &str| (site.to_owned(), location.to_owned());
        let value = |second, expression: &str, zone: &str| (second, expression.to_owned(), zone.to_owned());
        let expected = BTreeMap::from([
            (key("shop", "berlin"), value(shop, expression, "UTC")),
            (key("shop", "paris"), value(5, "@hourly", "Europe/Paris")),
        ]);
        assert_eq!(loaded(spool), expected);
    };
    drop(spool);
    let spool = open(directory.path());
    assert_eq!(loaded(&spool).len(), 3);
    spool.watermarks().forget("berlin", "gone");
    expected(&spool, 12, "* * * * * *");
    note(&spool, "shop", "berlin", at(12), "*/5 * * * * *", "UTC");
    expected(&spool, 12, "*/5 * * * * *");
    drop(spool);
    let spool = open(directory.path());
    expected(&spool, 12, "*/5 * * * * *");
    for second in 13..2_000 {
        note(&spool, "shop", "berlin", at(second), "*/5 * * * * *", "UTC");
    }
    drop(spool);
    expected(&open(directory.path()), 1_999, "*/5 * * * * *");
}

#[test]
fn a_torn_file_of_watermarks_lags_and_never_leads() {
    let base = directory();
    let file = base.path().join("spool/watermarks");
    let sizes: Vec<u64> = {
        let spool = open(base.path());
        // Each is on disk before the next one is noted.
        let noted = |second| {
            let before = fs::metadata(&file).unwrap().len();
            note(&spool, "shop", "berlin", at(second), "@hourly", "UTC");
            wait_until("it is written", || fs::metadata(&file).unwrap().len() > before);
            fs::metadata(&file).unwrap().len()
        };
        (0..4).map(noted).collect()
    };
    for cut in 0..=sizes[3] {
        let torn = directory();
        copy(base.path(), torn.path());
        let path = torn.path().join("spool/watermarks");
        File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let whole = sizes.iter().rposition(|size| *size <= cut).map(|second| second as i64);
        let spool = open(torn.path());
        let found = loaded(&spool).into_values().next().map(|(second, ..)| second);
        assert_eq!(found, whole, "cut at {cut}");
    }
    for flipped in HEADER..sizes[3] {
        let damaged = directory();
        copy(base.path(), damaged.path());
        flip(&damaged.path().join("spool/watermarks"), flipped);
        let found = loaded(&open(damaged.path()));
        assert!(found.values().all(|(second, ..)| *second <= 3), "byte {flipped}: {found:?}");
        assert!(found.keys().all(|key| *key == ("shop".to_owned(), "berlin".to_owned())), "{found:?}");
    }
}

#[test]
fn watermarks_of_100_000_sites_take_a_bounded_place() {
    let directory = directory();
    let spool = open(directory.path());
    let sites: Vec<String> = (0..100_000).map(|n| format!("site-{n}")).collect();
    let file = directory.path().join("spool/watermarks");
    let size = || fs::metadata(&file).unwrap().len();
    let mut largest = 0;
    let (mut before, mut written) = (size(), 0);
    for second in 0..20 {
        for site in &sites {
            note(&spool, site, "berlin", at(second), "* * * * * *", "UTC");
        }
        wait_until("they are written", || size() != before);
        written += size().saturating_sub(before);
        before = size();
        largest = largest.max(before);
    }
    eprintln!("{} bytes a round, {largest} bytes at most", written / 20);
    assert!(written > 16 << 20, "{written}");
    assert!(largest < 32 << 20, "{largest}");
    drop(spool);
    let found = loaded(&open(directory.path()));
    assert_eq!(found.len(), 100_000);
    assert!(found.values().all(|(second, ..)| *second == 19));
}

// The program

/// What is in the topic.
fn kafka_log(config: &webmon::config::Kafka) -> Vec<CheckResult> {
    let mut results = Vec::new();
    support::read_topic(config, |record| match Record::decode(record.value.unwrap()).unwrap() {
        Record::Result(result) => results.push(*result),
        Record::Gap(gap) => panic!("{gap:?}"),
    });
    results
}

/// A site that notes when it was asked for what: its path is `/checker/site/life`.
fn noting_site(log: Arc<Mutex<Vec<(String, Timestamp)>>>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let mut stream = stream;
                let mut line = String::new();
                let mut reader = BufReader::new(&stream);
                if reader.read_line(&mut line).is_err() {
                    return;
                }
                let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {}
                let asked_at = Timestamp::now();
                if stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                    .is_ok()
                {
                    log.lock().unwrap().push((path, asked_at));
                }
            });
        }
    });
    address
}

/// How long before a kill an answer must have been given for its result to be in the spool: the time from the
/// answer to the disk, on a busy machine.
const SETTLED: SignedDuration = SignedDuration::from_millis(1_500);

#[test]
fn a_killed_webmon_check_delivers_every_result_that_reached_its_spool() {
    const CHECKERS: u64 = 4;
    // Of each checker.
    let kills = scale(3, 13);
    let Some(brokers) = support::kafka() else { return };
    let topic = unique("spool");
    let log = Arc::new(Mutex::new(Vec::new()));
    let address = noting_site(Arc::clone(&log));
    let kafka = support::config(&brokers, &topic, "postgres://nobody@127.0.0.1/none", "").kafka;
    topic_of(&kafka, 3);
    let seed = seed();

    // What each life must have left behind: results seen in the spool, and requests answered in good time.
    let (spooled, answered) = thread::scope(|scope| {
        let lives: Vec<_> = (0..CHECKERS)
            .map(|checker| {
                let (kafka, log, topic) = (&kafka, &log, &topic);
                scope.spawn(move || {
                    let mut seed = seed.wrapping_add(checker * 7_919) | 1;
                    let directory = tempfile::tempdir().unwrap();
                    let spool = directory.path().join("spool");
                    // Each life asks by a path of its own: a killed one's request may be read late.
                    let toml = |life: u64| {
                        let mut toml = format!(
                            "kafka.brokers = {:?}\nkafka.topic = {topic:?}\ncheck.location = \"l{checker}\"\n\
                             check.spool = {{ dir = {spool:?} }}\n",
                            kafka.brokers
                        );
                        for site in 0..8 {
                            toml += &format!(
                                "[[site]]\nname = \"s{site}\"\nurl = \"http://{address}/l{checker}/s{site}/{life}\"\n\
                                 schedule = \"* * * * * *\"\ntimeout = \"900ms\"\n"
                            );
                        }
                        toml
                    };
                    let asked = |life: u64, to: Timestamp| {
                        let (own, end) = (format!("/l{checker}/"), format!("/{life}"));
                        let log = log.lock().unwrap();
                        let own = log
                            .iter()
                            .filter(|(path, at)| path.starts_with(&own) && path.ends_with(&end) && *at < to);
                        own.cloned().collect::<Vec<_>>()
                    };
                    let (mut spooled, mut answered) = (BTreeSet::new(), Vec::new());
                    for life in 0..kills {
                        let check = program(CHECK, &toml(life), &["run"]);
                        wait_until("a site was asked", || !asked(life, Timestamp::now()).is_empty());
                        thread::sleep(Duration::from_millis(1_600 + random(&mut seed, 1_500)));
                        let killed = Timestamp::now();
                        check.signal(Signal::KILL);
                        assert_eq!(check.finish().0, None);
                        answered.extend(asked(life, killed - SETTLED));
                        let inspector = Inspector::new(&spool).unwrap();
                        inspector
                            .waiting::<SpoolError>(|json| {
                                if let Ok(Record::Result(result)) = Record::decode(json) {
                                    spooled.insert((result.location, result.site, result.scheduled_at));
                                }
                                Ok(())
                            })
                            .unwrap();
                    }
                    // The last life may deliver what is left.
                    let check = program(CHECK, &toml(kills), &["run"]);
                    wait_until("a site was asked", || !asked(kills, Timestamp::now()).is_empty());
                    let inspector = Inspector::new(&spool).unwrap();
                    wait_until("what waited is delivered", || {
                        let oldest = inspector.status().unwrap().oldest_waiting_at;
                        oldest.is_none_or(|at| spooled.iter().all(|(.., spooled)| *spooled < at))
                    });
                    check.signal(Signal::TERM);
                    let (code, _, error) = check.finish();
                    assert_eq!(code, Some(0), "{error}");
                    (spooled, answered)
                })
            })
            .collect();
        let (mut spooled, mut answered) = (BTreeSet::new(), Vec::new());
        for life in lives {
            let (s, a) = life.join().unwrap();
            spooled.extend(s);
            answered.extend(a);
        }
        (spooled, answered)
    });

    let log = kafka_log(&kafka);
    let delivered: BTreeSet<_> =
        log.iter().map(|r| (r.location.clone(), r.site.clone(), r.scheduled_at)).collect();
    eprintln!(
        "{} records, {} results, {} were in a spool after a kill, {} requests long before one",
        log.len(),
        delivered.len(),
        spooled.len(),
        answered.len()
    );
    let lost: Vec<_> = spooled.difference(&delivered).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(answered.len() as u64 > 30 * kills, "{}", answered.len());
    // Each request is one result's: the one of its site that began just before it.
    let mut by_site: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for result in &log {
        if let (Some(at), true) =
            (result.started_at, seen.insert((&result.location, &result.site, result.scheduled_at)))
        {
            by_site.entry(format!("/{}/{}", result.location, result.site)).or_default().push(at);
        }
    }
    for (path, asked_at) in answered {
        let site = path.rsplit_once('/').unwrap().0;
        let began = by_site.get_mut(site).expect("the site has results");
        let own = began.iter().position(|at| {
            *at <= asked_at + SignedDuration::from_millis(5)
                && asked_at.duration_since(*at) < SignedDuration::from_millis(950)
        });
        let own = own.unwrap_or_else(|| panic!("no result of {path} at {asked_at}: {began:?}"));
        began.remove(own);
    }
}

#[test]
fn the_spool_commands_show_what_waits_also_beside_a_checker() {
    let directory = directory();
    let toml = |spool: &str| {
        format!(
            "kafka.brokers = [\"127.0.0.1:1\"]\n{spool}\n[[site]]\nname = \"a\"\nurl = \"http://127.0.0.1:1/\"\n\
             schedule = \"@hourly\"\n"
        )
    };
    let path = directory.path().join("spool");
    let with = toml(&format!("check.spool = {{ dir = {path:?}, max_size = \"8MiB\" }}"));
    let (code, _, error) = program(CHECK, &with, &["spool", "status"]).finish();
    assert_eq!(code, Some(1));
    assert_eq!(
        error,
        format!(
            "webmon-check: cannot read the spool's directory {path:?}: No such file or directory (os error 2)\n"
        )
    );
    assert!(!path.exists(), "it only looks");

    let spool = open(directory.path());
    spool.append_all((0..20).map(record).collect());
    for (sequence, _) in spool.peek(3, Duration::ZERO) {
        spool.reject(sequence, "too large");
    }
    spool.acknowledge(&[]);
    let (code, status, _) = program(CHECK, &with, &["spool", "status"]).finish();
    assert_eq!(code, Some(0));
    let rows: Vec<Vec<&str>> = status
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|w| !w.is_empty()).collect())
        .collect();
    let value = |name: &str| {
        rows.iter().find(|row| row[0] == name).map(|row| row[1]).unwrap_or_else(|| panic!("{name}: {status}"))
    };
    assert_eq!(value("waiting"), "17");
    assert_eq!(value("oldest waiting"), "2026-01-01T00:00:03Z");
    assert_eq!(value("gaps"), "3");
    assert_eq!(value("rejected"), "3");
    assert_eq!(value("damaged"), "0");
    let (_, json, _) = program(CHECK, &with, &["spool", "status", "--json"]).finish();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["waiting"], &json["rejected"]), (&17.into(), &3.into()));
    assert_eq!(json["oldest_waiting_at"], "2026-01-01T00:00:03Z");

    let (code, dump, _) = program(CHECK, &with, &["spool", "dump"]).finish();
    assert_eq!(code, Some(0));
    let dumped: Vec<Record> = dump.lines().map(|line| Record::decode(line.as_bytes()).unwrap()).collect();
    assert_eq!(dumped[..17], (3..20).map(record).collect::<Vec<_>>());
    assert_eq!(dumped.len(), 20);
    let (_, rejected, _) = program(CHECK, &with, &["spool", "dump", "--rejected"]).finish();
    assert_eq!(rejected.lines().count(), 3);
    assert_eq!(drain(&spool).0.len(), 17, "nothing was changed");

    let (code, _, error) = program(CHECK, &with, &["run"]).finish();
    assert_eq!(code, Some(1));
    assert!(
        error.ends_with(&format!(
            "webmon-check: spool {path:?} is in use by another checker: give each its own check.spool.dir\n"
        )),
        "{error}"
    );

    let (code, _, error) = program(CHECK, &toml("check.spool = false"), &["spool", "status"]).finish();
    assert_eq!(code, Some(1));
    assert_eq!(error, "webmon-check: check.spool is off: results wait in memory\n");
    let (code, _, error) =
        program(CHECK, &toml("check.spool = { max_size = \"1KiB\" }"), &["validate"]).finish();
    assert_eq!(code, Some(2));
    assert!(
        error.contains("check.spool.max_size \"1KiB\" is out of range: expected 1MiB to 16TiB"),
        "{error}"
    );
    assert!(
        error.contains("check.spool.max_size \"1KiB\" is out of range: expected 1MiB to 16TiB"),
        "{error}"
    );
}

// webmon-check on a disk that is full or hangs

/// A configuration of 400 sites that refuse connections, each second, and of one that answers; nothing listens where
/// Kafka should be.
fn refusing_toml(directory: &Path, witness: &sites::Server, refusing: &sites::ClosedPort) -> String {
    let mut toml = format!(
        "kafka.brokers = [\"127.0.0.1:1\"]\ncheck.spool = {{ dir = {:?}, max_size = \"1GiB\" }}\n\
         [site_defaults]\nschedule = \"* * * * * *\"\ntimeout = \"800ms\"\n\
         [[site]]\nname = \"witness\"\nurl = {:?}\n",
        directory.join("spool"),
        witness.url("/")
    );
    for n in 0..400 {
        toml += &format!("[[site]]\nname = \"s{n}\"\nurl = \"http://{}/\"\n", refusing.address);
    }
    toml
}

/// webmon-check with `size` of disk for its spool, and a way to that disk that outlives it. None where that cannot be had.
fn check_on_a_small_disk(
    size: &str,
    disk: &Path,
    witness: &sites::Server,
    refusing: &sites::ClosedPort,
) -> Option<(support::Program, File)> {
    let mount = format!("mount -t tmpfs -o size={size} tmpfs {disk:?} && exec \"$@\"");
    let toml = refusing_toml(disk, witness, refusing);
    let starter = ["unshare", "-rm", "sh", "-c", &mount, "sh"];
    let mut check = support::program_under(&starter, CHECK, &toml, &["run"]);
    wait_until("it checks", || witness.accepted() > 0 || check.child.try_wait().unwrap().is_some());
    if check.child.try_wait().unwrap().is_some() {
        support::not_tested(&format!("a mount namespace: {}", check.finish().2));
        return None;
    }
    let held = File::open(format!("/proc/{}/root{}", check.child.id(), disk.display())).unwrap();
    Some((check, held))
}

fn held_path(held: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()))
}

#[test]
fn a_checker_on_a_full_disk_goes_on_and_its_newest_results_are_there_when_it_ends() {
    let witness = sites::Server::answering(sites::response("200 OK", &["connection: close"], b"hello"));
    let refusing = sites::ClosedPort::new();
    let disk = directory();
    let Some((check, held)) = check_on_a_small_disk("3m", disk.path(), &witness, &refusing) else { return };
    let full = "the spool's disk is full: dropping the oldest results";
    wait_until("the disk is full", || check.log().contains(full));
    let asked = witness.accepted();
    wait_until("checks go on", || witness.accepted() >= asked + 5);
    let stopped_at = Timestamp::now();
    check.signal(Signal::TERM);
    let (code, _, log) = check.finish();
    assert_eq!(code, Some(0), "{log}");

    let mut rows: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    let mut gaps: BTreeMap<String, u64> = BTreeMap::new();
    let mut since: BTreeMap<String, i64> = BTreeMap::new();
    let inspector = Inspector::new(&held_path(&held).join("spool")).unwrap();
    inspector
        .waiting::<SpoolError>(|json| {
            let (site, from) = match Record::decode(json).unwrap() {
                Record::Result(result) => {
                    let at = result.scheduled_at.as_second();
                    assert!(rows.entry(result.site.clone()).or_default().insert(at), "twice: {result:?}");
                    (result.site, at)
                }
                Record::Gap(gap) => {
                    *gaps.entry(gap.site.clone()).or_default() += gap.gap.instants;
                    (gap.site, gap.gap.from.as_second())
                }
            };
            let first = since.entry(site).or_insert(from);
            *first = from.min(*first);
            Ok(())
        })
        .unwrap();
    assert_eq!(rows.len(), 401);
    for (site, rows) in rows {
        let newest = *rows.last().unwrap();
        assert!(
            newest >= stopped_at.as_second() - 1,
            "{site}: the newest is of {newest}, not of {stopped_at}"
        );
        let (in_gaps, span) = (gaps.remove(&site).unwrap_or(0), (newest - since[&site] + 1) as u64);
        assert_eq!(rows.len() as u64 + in_gaps, span, "{site}");
    }
}

#[test]
fn a_checker_that_cannot_write_its_last_results_ends_with_an_error() {
    let witness = sites::Server::answering(sites::response("200 OK", &["connection: close"], b"hello"));
    let refusing = sites::ClosedPort::new();
    let disk = directory();
    let Some((check, held)) = check_on_a_small_disk("8m", disk.path(), &witness, &refusing) else { return };
    // All of the little that is on disk is being sent by now, or will be, so nothing can give way.
    let _filler = fill_disk(&held_path(&held), "filler");
    wait_until("it cannot write", || check.log().contains("cannot write the spool: results wait in memory"));
    check.signal(Signal::TERM);
    let (code, _, log) = check.finish();
    assert_eq!(code, Some(1), "{log}");
    let last = log.lines().last().unwrap();
    assert!(last.starts_with("webmon-check: cannot write spool"), "{last}");
    assert!(last.contains(" results and ") && last.contains("No space left on device"), "{last}");
}

/// On a disk that takes 8 ms for each `fdatasync`. One for each failure would let 125 a second through.
#[test]
fn failures_that_are_judged_together_become_durable_together() {
    let witness = sites::Server::answering(sites::response("200 OK", &["connection: close"], b"hello"));
    let refusing = sites::ClosedPort::new();
    let directory = directory();
    let sentinel = format!("tcp://{}", witness.address);
    let toml = refusing_toml(directory.path(), &witness, &refusing).replace(
        "[site_defaults]",
        &format!("check.sentinels = [{sentinel:?}, \"tcp://{}\"]\n[site_defaults]", refusing.address),
    );
    let trace = directory.path().join("trace");
    let starter = [
        "strace",
        "-D",
        "-f",
        "-y",
        "--seccomp-bpf",
        "-o",
        trace.to_str().unwrap(),
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:delay_exit=8000",
    ];
    let mut check = support::program_under(&starter, CHECK, &toml, &["run"]);
    wait_until("it checks", || witness.accepted() > 0 || check.child.try_wait().unwrap().is_some());
    if check.child.try_wait().unwrap().is_some() {
        return support::not_tested(&format!("the right to trace: {}", check.finish().2));
    }
    let inspector = Inspector::new(&directory.path().join("spool")).unwrap();
    wait_until("thousands are on disk", || inspector.status().is_ok_and(|status| status.waiting > 3_000));
    check.signal(Signal::TERM);
    let (code, _, log) = check.finish();
    assert_eq!(code, Some(0), "{log}");
    let mut failures = 0;
    inspector
        .waiting::<SpoolError>(|json| {
            if let Ok(Record::Result(result)) = Record::decode(json) {
                failures += usize::from(result.outcome == Outcome::Failure);
            }
            Ok(())
        })
        .unwrap();
    let trace = fs::read_to_string(trace).unwrap();
    let syncs = trace.lines().filter(|line| line.contains(".seg>")).count();
    assert!(failures > 2_000, "{failures}");
    // Those of other results, such as the witness's, are among them.
    assert!(syncs * 10 < failures, "{syncs} fdatasyncs for {failures} failures");
}

/// As a disk that does not answer any more: each `fdatasync` but the first of a thread takes minutes.
#[test]
fn a_hung_disk_is_said_and_stops_neither_checks_nor_the_end() {
    let witness = sites::Server::answering(sites::response("200 OK", &["connection: close"], b"hello"));
    let refusing = sites::ClosedPort::new();
    let directory = directory();
    let toml = refusing_toml(directory.path(), &witness, &refusing);
    let starter = [
        "strace",
        "-D",
        "-f",
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:delay_enter=600s:when=2+",
    ];
    let mut check = support::program_under(&starter, CHECK, &toml, &["run"]);
    wait_until("it checks", || witness.accepted() > 0 || check.child.try_wait().unwrap().is_some());
    if check.child.try_wait().unwrap().is_some() {
        return support::not_tested(&format!("the right to trace: {}", check.finish().2));
    }
    let tracer = Tracer::of(check.child.id());
    wait_until("it says so", || check.log().contains("the spool's disk does not answer"));
    let asked = witness.accepted();
    wait_until("checks go on", || witness.accepted() >= asked + 3);
    check.signal(Signal::TERM);
    let error = "webmon-check: cannot write spool";
    support::wait_within(Duration::from_secs(100), "it ends", || check.log().contains(error));
    // Its threads are not rid of the delay otherwise.
    drop(tracer);
    let (code, _, log) = check.finish();
    assert_eq!(code, Some(1), "{log}");
    let error = log.lines().find(|line| line.starts_with(error)).unwrap();
    assert!(error.ends_with("the disk has not answered for 10 s"), "{error}");
    assert!(
        !log.contains("something does not come to an end"),
        "in order, and not by the last resort: {log}"
    );
}

/// Who traces a process; killed in the end, which leaves the traced one alone.
struct Tracer(i32);

impl Tracer {
    fn of(pid: u32) -> Tracer {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap().trim();
        assert_ne!(tracer, "0");
        Tracer(tracer.parse().unwrap())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = support::signal(self.0, Signal::KILL);
    }
}

/// A logger that has nobody to write to panics in the thread that logs: here the one that publishes.
#[test]
fn a_program_whose_publishing_thread_panics_ends_with_an_error() {
    let witness = sites::Server::answering(sites::response("200 OK", &["connection: close"], b"hello"));
    let directory = directory();
    let config = directory.path().join("config.toml");
    fs::write(&config, refusing_toml(directory.path(), &witness, &sites::ClosedPort::new())).unwrap();
    let mut child = Command::new(CHECK)
        .args(["--log-format", "json", "--config", config.to_str().unwrap(), "run"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut child = Killed(child);
    // What is logged from here on is what that thread says, again and again.
    assert!(lines.any(|line| line.unwrap().contains("kafka does not answer")));
    drop(lines);
    let mut status = None;
    wait_until("it ends by itself", || {
        status = child.0.try_wait().unwrap();
        status.is_some()
    });
    assert!(!status.unwrap().success());
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
