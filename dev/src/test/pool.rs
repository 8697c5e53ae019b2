//! Test programs, some at a time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use webmon_dev::command::Group;
use webmon_dev::{interrupt, say};

use crate::report::{self, Report};

/// How many run at a time. With two, leases run out on two cores before their holders have had the processor.
pub(crate) const AT_ONCE: usize = 1;
/// The longest that one may take.
const PATIENCE: Duration = Duration::from_secs(1800);
const PAUSE: Duration = Duration::from_millis(50);
/// How many of the slowest are shown.
const SLOWEST: usize = 10;

/// Those that look at the clock: they run alone, at the end.
pub(crate) const ALONE: [&str; 4] = ["schedule", "check", "blame", "monitor"];

/// Those that take longest: they run first, so that the end does not wait for one.
const LONGEST: [&str; 6] =
    ["test faults", "test simulation", "test history", "test spool", "test store", "test cluster"];

/// A program to be run.
pub(crate) struct Job {
    /// The line of the report that it belongs to.
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) is_alone: bool,
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

/// Runs all, `at_once` at a time, and shows what each has printed when it ends.
pub(crate) fn run(at_once: usize, jobs: Vec<Job>, dir: &Path, done: &mut Vec<Done>) -> Result<()> {
    let (alone, mut together): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.is_alone);
    together.sort_by_key(|job| LONGEST.iter().position(|name| job.name == *name).unwrap_or(LONGEST.len()));
    run_at_once(at_once, together, dir, done)?;
    run_at_once(1, alone, dir, done)
}

fn run_at_once(at_once: usize, jobs: Vec<Job>, dir: &Path, done: &mut Vec<Done>) -> Result<()> {
    let mut waiting = jobs.into_iter();
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
        while running.len() < at_once {
            let Some(job) = waiting.next() else { break };
            running.push(start(job, dir, done.len() + running.len())?);
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

    fn job(name: &str, script: &str, is_alone: bool) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job { group: "tests".to_owned(), name: name.to_owned(), is_alone, command }
    }

    #[test]
    fn several_run_at_a_time_and_the_rest_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        // Each of two waits for the other; the one that wants to be alone finds both gone.
        let meet = |own: &str, other: &str| {
            format!(
                "touch {path}/{own}; until test -e {path}/{other}; do sleep 0.01; done; touch {path}/{own}.done"
            )
        };
        let jobs = vec![
            job("alone", &format!("test -e {path}/one.done && test -e {path}/other.done"), true),
            job("one", &meet("one", "other"), false),
            job("other", &meet("other", "one"), false),
            job("bad", "echo said; exit 3", false),
        ];
        let mut done = Vec::new();
        run(2, jobs, dir.path(), &mut done).unwrap();
        let mut report = Report::new(dir.path().join("skipped"));
        super::report(&done, &mut report);
        assert!(report.has_failed);
        let fault = |name: &str| done.iter().find(|done| done.name == name).unwrap().fault.clone();
        assert_eq!(["alone", "one", "other"].map(fault), [None, None, None]);
        assert_eq!(fault("bad").as_deref(), Some("exit status 3"));
    }
}
