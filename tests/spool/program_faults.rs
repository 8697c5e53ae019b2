//! webmon-check on a disk that is full or hangs, and with a thread that panicked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use webmon::outbox::spool::{Inspector, SpoolError};
use webmon::record::{Outcome, Record};

use crate::CHECK;
use crate::sites;
use crate::spool::{directory, fill_disk};
use crate::support::{self, Signal, wait_until};

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
        !log.contains("the program has not stopped in time"),
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
