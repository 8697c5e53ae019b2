//! A disk that fails at random, and a process that is killed or loses its power at random: what was on disk is never
//! lost, and what was not may be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use webmon::outbox::spool::SpoolOptions;
use webmon::outbox::{Outbox, Spool};
use webmon::record::{GapRecord, Record};

use crate::disk::{Call, Errno, Fault, TestDisk};
use crate::spool::{SITES, directory, drain, epoch, number, open_with, random, record, seed};
use crate::support::{scale, wait_until};

/// How the disk is.
const WORKS: u8 = 0;
const FAILS: u8 = 1;
const FULL: u8 = 2;
const NO_DESCRIPTORS: u8 = 3;
const MOODS: u64 = 4;

/// A spool on such a disk, and what is known of its records by their numbers.
struct Run {
    seed: u64,
    directory: TempDir,
    disk: TestDisk,
    mood: Arc<AtomicU8>,
    spool: Option<Spool>,
    /// Whether its power is lost now and then.
    loses_power: bool,
    /// The next one to be appended.
    next: u64,
    /// On disk, as the spool has said.
    durable: BTreeSet<u64>,
    /// Delivered to Kafka, or within a gap that was delivered or refused.
    delivered: BTreeSet<u64>,
    /// The history, for whoever looks for a fault.
    steps: Vec<String>,
}

/// The numbers that a gap stands for.
fn spanned(gap: &GapRecord) -> impl Iterator<Item = u64> {
    let second = |at: jiff::Timestamp| (at.as_second() - epoch().as_second()) as u64;
    (second(gap.gap.from)..second(gap.gap.to.unwrap())).step_by(SITES as usize)
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut seed = seed;
        let loses_power = random(&mut seed, 2) == 0;
        let mut run = Run {
            seed,
            directory: directory(),
            disk: TestDisk::new(),
            mood: Arc::new(AtomicU8::new(WORKS)),
            spool: None,
            loses_power,
            next: 0,
            durable: BTreeSet::new(),
            delivered: BTreeSet::new(),
            steps: Vec::new(),
        };
        run.start(TestDisk::new());
        run
    }

    fn options(&self, disk: &TestDisk) -> SpoolOptions {
        SpoolOptions {
            segment_size: 2_048,
            max_size: 128 << 10,
            max_memory: 16 << 10,
            patience: Duration::from_secs(60),
            retry: Duration::from_millis(2),
            disk: Arc::new(disk.clone()),
            ..SpoolOptions::new(self.directory.path().join("spool"), 0)
        }
    }

    fn random(&mut self, bound: u64) -> u64 {
        random(&mut self.seed, bound)
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().unwrap()
    }

    /// Goes on with what `disk` has.
    fn start(&mut self, disk: TestDisk) {
        self.spool = None;
        self.set_mood(WORKS);
        self.spool = Some(open_with(self.options(&disk)));
        let mood = Arc::clone(&self.mood);
        let mut seed = self.seed | 1;
        disk.fail(move |call, _| fault(mood.load(Ordering::SeqCst), call, &mut seed));
        self.disk = disk;
    }

    fn set_mood(&mut self, mood: u8) {
        self.mood.store(mood, Ordering::SeqCst);
    }

    fn step(&mut self) {
        match self.random(20) {
            0..8 => self.append(),
            8..13 => self.deliver(),
            13..16 => {
                let mood = self.random(MOODS) as u8;
                self.steps.push(format!("mood {mood}"));
                self.set_mood(mood);
            }
            16 | 17 => {
                self.steps.push("mended".to_owned());
                self.set_mood(WORKS);
                wait_until("the disk works", || self.spool().flush());
            }
            18 if self.loses_power => {
                self.steps.push("power loss".to_owned());
                let image = self.disk.after_power_loss(&mut self.seed);
                self.crash(image);
            }
            _ => {
                self.steps.push("kill".to_owned());
                self.crash(self.disk.after_kill());
            }
        }
    }

    fn append(&mut self) {
        let count = 1 + self.random(12);
        let numbers = self.next..self.next + count;
        self.next += count;
        let dropped = self.spool().dropped();
        let records: Vec<Record> = numbers.clone().map(record).collect();
        if self.random(2) == 0 {
            self.spool().append_all(records);
        } else {
            records.into_iter().for_each(|record| self.spool().enqueue(record));
        }
        // What was dropped while they came may be of these, whose gaps are not on disk yet.
        let durable = self.spool().flush() && self.spool().dropped() == dropped;
        self.steps.push(format!("append {numbers:?} {durable}"));
        if durable {
            self.durable.extend(numbers);
        }
    }

    fn deliver(&mut self) {
        let count = 1 + self.random(30) as usize;
        let batch = self.spool().peek(count, Duration::ZERO);
        let mut acknowledged = Vec::new();
        let mut numbers = Vec::new();
        for (sequence, record) in batch {
            let (own, is_gap): (Vec<u64>, bool) = match &record {
                Record::Result(result) => (vec![number(result)], false),
                Record::Gap(gap) => (spanned(gap).collect(), true),
            };
            match self.random(10) {
                0 | 1 => {}
                2 => {
                    self.spool().reject(sequence, "refused");
                    // A gap for a refused gap would be refused again: it is kept among the rejected.
                    numbers.extend(own.into_iter().filter(|_| is_gap));
                }
                _ => {
                    acknowledged.push(sequence);
                    numbers.extend(own);
                }
            }
        }
        self.spool().acknowledge(&acknowledged);
        self.steps.push(format!("delivered {numbers:?}"));
        self.delivered.extend(numbers);
    }

    /// The process ends, and leaves `image` behind: compares, and goes on with it.
    fn crash(&mut self, image: TestDisk) {
        self.check(&image);
        self.start(image);
    }

    fn check(&self, image: &TestDisk) {
        let copy = image.after_kill();
        let elsewhere = directory();
        let options = SpoolOptions { directory: elsewhere.path().join("spool"), ..self.options(&copy) };
        let spool = open_with(options);
        let (results, gaps) = drain(&spool);
        let mut there: BTreeSet<u64> = results.iter().copied().collect();
        assert_eq!(there.len(), results.len(), "some are there twice: {}", self.history());
        assert!(there.iter().all(|n| *n < self.next));
        there.extend(gaps.iter().flat_map(spanned));
        let lost: Vec<&u64> =
            self.durable.iter().filter(|n| !there.contains(n) && !self.delivered.contains(n)).collect();
        assert!(lost.is_empty(), "{lost:?} are lost: {}", self.history());
        // A loss of power may leave the end of a write that was not synced without its beginning: it looks damaged.
        assert!(self.loses_power || spool.damaged() == 0, "{} damaged: {}", spool.damaged(), self.history());
    }

    fn history(&self) -> String {
        self.steps.join("\n")
    }
}

/// What becomes of a call.
fn fault(mood: u8, call: Call, seed: &mut u64) -> Option<Fault> {
    let torn = random(seed, 2_000) as usize;
    match (mood, call) {
        (FAILS, Call::Write) if random(seed, 4) == 0 => Some(Fault::Torn(torn, Errno::Io)),
        (FAILS, Call::Write) if random(seed, 4) == 0 => Some(Fault::Short(torn + 1)),
        (FAILS, Call::Read | Call::OpenToRead) => None,
        (FAILS, _) if random(seed, 4) == 0 => Some(Fault::Error(Errno::Io)),
        (FULL, Call::Write) if random(seed, 2) == 0 => Some(Fault::Torn(torn, Errno::NoSpace)),
        (NO_DESCRIPTORS, Call::OpenToRead | Call::OpenToWrite) if random(seed, 2) == 0 => {
            Some(Fault::Error(Errno::TooManyFiles))
        }
        _ => None,
    }
}

#[test]
fn whatever_the_disk_does_and_however_it_ends_nothing_is_lost_that_was_on_disk() {
    let first = seed();
    let runs: u64 = scale(60, 600);
    thread::scope(|scope| {
        for lane in 0..4 {
            scope.spawn(move || {
                for n in (lane..runs).step_by(4) {
                    let begun = first.wrapping_add(n * 7_919) | 1;
                    let mut run = Run::new(begun);
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        (0..60).for_each(|_| run.step());
                        let image = run.disk.after_kill();
                        run.crash(image);
                    }));
                    assert!(outcome.is_ok(), "seed {begun}");
                }
            });
        }
    });
}
