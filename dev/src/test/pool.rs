//! Test programs and other steps, in lanes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use webmon_dev::command::Group;
use webmon_dev::{interrupt, say};

use crate::report::{self, Report};

/// The longest that one may take.
const PATIENCE: Duration = Duration::from_secs(1800);
const PAUSE: Duration = Duration::from_millis(50);
/// How many of the slowest are shown.
const SLOWEST: usize = 10;

/// Where a program runs. In each lane it is one at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lane {
    /// Beside no other one of this lane: with two, leases run out on two cores before their holders have had the processor.
    Main,
    /// Beside those of the other lanes: it waits nearly all the time.
    Waiting,
    /// Beside those of the other lanes: it computes, takes only what they leave of the processor, and looks at no clock.
    Patient,
    /// At the end, beside nothing: it looks at the clock.
    Alone,
}

/// Tests that took 4 to 9 % of a core while they ran. Not `hung`, which looks at how long things take.
const WAITING: [&str; 2] = ["kafka", "reload"];
/// Tests that compute, with neither a service nor a clock.
const PATIENT: [&str; 4] = ["simulation", "configuration", "record", "house"];
/// `examples` is here because it calls cargo, which would wait for the cargo of the patient lane.
const ALONE: [&str; 5] = ["schedule", "check", "blame", "monitor", "examples"];

impl Lane {
    pub(crate) fn of_test(name: &str) -> Lane {
        let lanes = [(&WAITING[..], Lane::Waiting), (&PATIENT[..], Lane::Patient), (&ALONE[..], Lane::Alone)];
        lanes.into_iter().find(|(tests, _)| tests.contains(&name)).map_or(Lane::Main, |(_, lane)| lane)
    }

    /// A program, which in the patient lane has the processor only while nobody else wants it (sched(7), SCHED_IDLE).
    pub(crate) fn command(self, program: &Path) -> Command {
        if self != Lane::Patient {
            return Command::new(program);
        }
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(program);
        command
    }
}

/// Those that take longest: they run first, so that the end does not wait for one.
const LONGEST: [&str; 6] =
    ["test faults", "test simulation", "test history", "test spool", "test store", "test cluster"];

/// A program to be run.
pub(crate) struct Job {
    /// The line of the report that it belongs to.
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) lane: Lane,
    pub(crate) command: Command,
}

/// How one has ended.
pub(crate) struct Done {
    group: String,
    name: String,
    fault: Option<String>,
    began: Instant,
    took: Duration,
    log: PathBuf,
}

struct Running {
    job: Job,
    process: Group,
    began: Instant,
    log: PathBuf,
}

/// Runs all, and shows what each has printed when it ends.
pub(crate) fn run(jobs: Vec<Job>, dir: &Path, done: &mut Vec<Done>) -> Result<()> {
    let (alone, mut together): (Vec<Job>, Vec<Job>) =
        jobs.into_iter().partition(|job| job.lane == Lane::Alone);
    together.sort_by_key(|job| LONGEST.iter().position(|name| job.name == *name).unwrap_or(LONGEST.len()));
    run_in_lanes(together, dir, done)?;
    run_in_lanes(alone, dir, done)
}

fn run_in_lanes(mut waiting: Vec<Job>, dir: &Path, done: &mut Vec<Done>) -> Result<()> {
    let mut running: Vec<Running> = Vec::new();
    loop {
        // Dropped, those that run are killed.
        interrupt::check()?;
        let mut index = 0;
        while index < running.len() {
            match fault(&mut running[index])? {
                Some(fault) => done.push(end(running.swap_remove(index), fault)),
                None => index += 1,
            }
        }
        let is_free = |running: &[Running], job: &Job| running.iter().all(|other| other.job.lane != job.lane);
        while let Some(next) = waiting.iter().position(|job| is_free(&running, job)) {
            running.push(start(waiting.remove(next), dir, done.len() + running.len())?);
        }
        if running.is_empty() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

fn start(mut job: Job, dir: &Path, number: usize) -> Result<Running> {
    let log = dir.join(format!("{number}.log"));
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let process = Group::start(job.command.stdout(file.try_clone()?).stderr(file))?;
    Ok(Running { job, process, began: Instant::now(), log })
}

/// None while it runs; else what is wrong with its end, if something is.
fn fault(running: &mut Running) -> Result<Option<Option<String>>> {
    if let Some(status) = running.process.ended()? {
        return Ok(Some(report::fault(status)));
    }
    if running.began.elapsed() < PATIENCE {
        return Ok(None);
    }
    running.process.kill();
    Ok(Some(Some(format!("took longer than {} s", PATIENCE.as_secs()))))
}

/// A good one's output is shown at once, a bad one's last of all.
fn end(running: Running, fault: Option<String>) -> Done {
    let Running { job: Job { group, name, .. }, began, log, .. } = running;
    let done = Done { group, name, fault, began, took: began.elapsed(), log };
    match &done.fault {
        None => show(&done),
        Some(fault) => say::text(&format!("\n==> {} FAILED ({fault}): see below\n", done.title())),
    }
    done
}

impl Done {
    fn title(&self) -> String {
        format!("{}: {}, {} s", self.group, self.name, self.took.as_secs())
    }
}

fn show(done: &Done) {
    let text = std::fs::read(&done.log).unwrap_or_default();
    say::text(&format!("\n==> {}\n{}", done.title(), String::from_utf8_lossy(&text)));
}

/// Shows what failed and what was slow; a line of the report for each group.
pub(crate) fn report(done: &[Done], report: &mut Report) {
    done.iter().filter(|done| done.fault.is_some()).for_each(show);
    let mut slowest: Vec<&Done> = done.iter().collect();
    slowest.sort_by_key(|done| std::cmp::Reverse(done.took));
    say::text("\nThe slowest test programs:\n");
    for done in slowest.into_iter().take(SLOWEST) {
        say::text(&format!("{:>6} s  {} ({})\n", done.took.as_secs(), done.name, done.group));
    }
    let mut groups: Vec<&str> = done.iter().map(|done| done.group.as_str()).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        let of_group = || done.iter().filter(|done| done.group == group);
        let began = of_group().map(|done| done.began).min();
        let ended = of_group().map(|done| done.began + done.took).max();
        let took = ended.zip(began).map_or(Duration::ZERO, |(ended, began)| ended - began);
        let failed: Vec<&str> =
            of_group().filter(|done| done.fault.is_some()).map(|done| done.name.as_str()).collect();
        if failed.is_empty() {
            report.ok(took, group);
        } else {
            report.failed(took, &format!("{group}: {}", failed.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, script: &str, lane: Lane) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job { group: "tests".to_owned(), name: name.to_owned(), lane, command }
    }

    #[test]
    fn a_lane_runs_one_at_a_time_beside_the_other_and_the_rest_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        // Each of two waits for the other; their successors find them gone; the one that wants to be alone finds all gone.
        let meet = |own: &str, other: &str| {
            format!(
                "touch {path}/{own}; until test -e {path}/{other}; do sleep 0.01; done; touch {path}/{own}.done"
            )
        };
        let find =
            |before: &str, own: &str| format!("test -e {path}/{before}.done && touch {path}/{own}.done");
        let all = "test $(ls *.done | wc -l) = 4";
        let jobs = vec![
            job("alone", &format!("cd {path} && {all}"), Lane::Alone),
            job("one", &meet("one", "other"), Lane::Main),
            job("next", &find("one", "next"), Lane::Main),
            job("other", &meet("other", "one"), Lane::Waiting),
            job("another", &find("other", "another"), Lane::Waiting),
            job("bad", "echo said; exit 3", Lane::Main),
        ];
        let mut done = Vec::new();
        run(jobs, dir.path(), &mut done).unwrap();
        let mut report = Report::new(dir.path().join("skipped"));
        super::report(&done, &mut report);
        assert!(report.has_failed);
        let fault = |name: &str| done.iter().find(|done| done.name == name).unwrap().fault.clone();
        for name in ["alone", "one", "next", "other", "another"] {
            assert_eq!(fault(name), None, "{name}");
        }
        assert_eq!(fault("bad").as_deref(), Some("exit status 3"));
    }
}
