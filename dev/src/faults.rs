//! dev/faults: all faults at their whole scale.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use webmon_dev::command::{self, Group};
use webmon_dev::in_use::InUse;
use webmon_dev::{Project, Service, env_file, file, instance, interrupt, say};

use crate::cargo::{self, Built};
use crate::report::{self, Report};

/// The longest that one test may take.
const PATIENCE: Duration = Duration::from_secs(1800);
const GRACE: Duration = Duration::from_secs(20);
const LIST: Duration = Duration::from_secs(60);
const LINES: usize = 15;

/// The tests that know a whole scale: of a file those with such a name.
const SUITES: [(&str, &str); 12] = [
    ("history", "reading_the_current_status"),
    ("verify", "verify_locks"),
    ("poison", "a_batch_with_duplicates"),
    ("faults", ""),
    ("cluster", ""),
    ("frozen", ""),
    ("alerts_killed", ""),
    ("spool", "a_long_outage"),
    ("spool", "a_killed"),
    ("spool", "whatever_the_disk"),
    ("pipeline", "twins"),
    ("pipeline", "a_checker_whose_disk"),
];

pub(crate) fn main(project: &Project, names: &[String]) -> Result<u8> {
    let dir = project.shared().join("faults");
    file::make_dir(&dir)?;
    let mut report = Report::new(dir.join("skipped"));
    let result = Faults { project, log: dir.join("log") }.try_all(&dir, names, &mut report);
    let _shield = interrupt::shield();
    Ok(report.conclude(&result))
}

struct Faults<'a> {
    project: &'a Project,
    log: PathBuf,
}

impl Faults<'_> {
    fn try_all(&self, dir: &Path, names: &[String], report: &mut Report) -> Result<()> {
        file::remove(&self.log)?;
        let mut arguments = vec!["test", "--no-run"];
        SUITES.iter().for_each(|(file, _)| arguments.extend(["--test", file]));
        let built = cargo::build(self.project.root(), &arguments, &dir.join("build.json"))?;
        let _in_use = InUse::start(self.project, &[Service::Kafka, Service::Postgres])?;
        let _orphans = Orphans(self.project);
        for (file, part) in SUITES {
            let Some(program) = built.iter().find(|built| built.is_test && built.name == file) else {
                bail!("cargo has built no test {file}");
            };
            let tests = tests_of(program, part)?;
            if tests.is_empty() {
                bail!("no tests in {file} {part}");
            }
            for test in tests {
                if names.is_empty() || names.iter().any(|name| test.contains(name)) {
                    self.try_one(program, &test, report)?;
                }
            }
        }
        if report.is_empty() {
            bail!("no test has such a name: {}", names.join(" "));
        }
        Ok(())
    }

    fn try_one(&self, program: &Built, test: &str, report: &mut Report) -> Result<()> {
        let (began, skips) = (Instant::now(), report.skips());
        report.begin(test);
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&program.path);
        command.args(["--exact", test, "--nocapture"]).current_dir(self.project.root());
        command.env("WEBMON_FAULTS", "whole").env("WEBMON_TEST_SKIPPED", report.skipped());
        command.envs(env_file::read(&self.project.env_file())?);
        let status = Group::start(command.stdout(log.try_clone()?).stderr(log))?.wait(PATIENCE, GRACE);
        let fault = status.map(report::fault).or_else(|error| report::interrupted(error).map(Some))?;
        match fault {
            Some(fault) => {
                report.failed(began.elapsed(), &format!("{test} ({fault})"));
                say::show_lines_of_log(&self.log, LINES);
            }
            None if report.skips() > skips => report.skip(test),
            None => report.ok(began.elapsed(), test),
        }
        Ok(())
    }
}

/// The names of a program's tests that have `part` in them; helpers are what tests start.
fn tests_of(program: &Built, part: &str) -> Result<Vec<String>> {
    let list = command::stdout(Command::new(&program.path).arg("--list"), LIST)?;
    let tests = list.lines().filter_map(|line| line.strip_suffix(": test"));
    // Behind the name of its module, if it has one.
    let is_helper = |test: &str| test.rsplit("::").next().is_some_and(|name| name.starts_with("helper_"));
    Ok(tests.filter(|test| !is_helper(test) && test.contains(part)).map(str::to_owned).collect())
}

/// Removes in the end what tests that were ended have left.
pub(crate) struct Orphans<'a>(pub(crate) &'a Project);

impl Drop for Orphans<'_> {
    fn drop(&mut self) {
        let _shield = interrupt::shield();
        if let Err(error) = instance::remove_orphans(self.0) {
            say!("error: {error:#}");
        }
    }
}
