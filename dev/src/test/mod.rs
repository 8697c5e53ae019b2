//! dev/test: everything there is to check.

mod pool;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use webmon_dev::command::{self, Group};
use webmon_dev::in_use::InUse;
use webmon_dev::service::POSTGRES_MAJORS;
use webmon_dev::{Project, Service, axe, env_file, file, interrupt, packages, say};

use crate::args::{self, Majors};
use crate::cargo::{self, Built, GRACE, LIMIT};
use crate::faults::Orphans;
use crate::report::{self, Report};
use pool::{Job, Lane};

const SMOKE_SECONDS: &str = "15";
/// Most tests wait most of the time: for a lease, a broker, a clock.
const TEST_THREADS: &str = "4";
/// What stands on PostgreSQL, and is tested on other versions than Debian's too.
const STORING: [&str; 6] = ["store", "jobs", "history", "verify", "upkeep", "replication"];
/// Of these, what asks nothing of the server's version is tested once.
const ON_OTHERS: [&str; 4] = ["store", "jobs", "history", "replication"];
/// The long random search, once is enough for; and its file.
const ONCE: &str = "history_is_right";
const ONCE_OF: &str = "history";
/// Combinations of features: an embedder takes the parts it needs, and the programs run with either client.
const FEATURES: [&str; 7] =
    ["check", "store", "alerts", "page", "librdkafka", "kafka-rust", "check,alerts,kafka-rust,cli"];

pub(crate) fn main(project: &Project, arguments: Vec<String>) -> Result<u8> {
    let (majors, arguments) = parse(arguments);
    let dir = project.shared().join("test");
    file::make_dir(&dir)?;
    let mut test = Test { project, report: Report::new(dir.join("skipped")), dir };
    let result = test.run(majors, &arguments);
    let _shield = interrupt::shield();
    Ok(test.report.conclude(&result))
}

/// The versions that `--postgres` names, and what is left for cargo test.
fn parse(mut arguments: Vec<String>) -> (Vec<u8>, Vec<String>) {
    if arguments.first().is_none_or(|first| first != "--postgres") {
        return (Vec::new(), arguments);
    }
    let value = arguments.get(1).map_or("", String::as_str);
    match args::majors(value) {
        Ok(Majors(majors)) => (majors, arguments.split_off(2)),
        Err(fault) => args::usage_error("test", &format!("--postgres: {fault}")),
    }
}

struct Test<'a> {
    project: &'a Project,
    report: Report,
    dir: PathBuf,
}

impl Test<'_> {
    fn run(&mut self, majors: Vec<u8>, arguments: &[String]) -> Result<()> {
        let is_everything = majors.is_empty() && arguments.is_empty();
        let others = match POSTGRES_MAJORS {
            [oldest, .., newest] if is_everything => vec![oldest, newest],
            _ => majors,
        };
        if is_everything {
            // The quick ones, which need no services, first.
            self.check_texts()?;
        }
        // The file of addresses, which the services write, names it.
        axe::need(self.project)?;
        let mut wanted = vec![Service::Kafka, Service::Kafka39, Service::Postgres];
        wanted.extend(others.iter().map(|&major| Service::PostgresOf(major)));
        let _in_use = InUse::start(self.project, &wanted)?;
        let _orphans = Orphans(self.project);
        if is_everything {
            self.run_all(&others)?;
            let doc = self.cargo(&["test", "--locked", "--no-fail-fast", "--doc"]);
            self.step_with_services("documentation tests", doc)?;
            self.check_runs()
        } else if arguments.is_empty() {
            self.run_storing(&others)
        } else {
            self.run_chosen(&others, arguments)
        }
    }

    // ------------------------------------------------------------------- steps

    fn step(&mut self, name: &str, mut command: Command) -> Result<()> {
        let began = Instant::now();
        self.report.begin(name);
        command.current_dir(self.project.root());
        let status = Group::start(&mut command).and_then(|group| group.wait(LIMIT, GRACE));
        match status.map(report::fault).or_else(|error| report::interrupted(error).map(Some))? {
            None => self.report.ok(began.elapsed(), name),
            Some(fault) => self.report.failed(began.elapsed(), &format!("{name} ({fault})")),
        }
        Ok(())
    }

    fn step_with_services(&mut self, name: &str, mut command: Command) -> Result<()> {
        command.envs(self.environment()?);
        self.step(name, command)
    }

    /// What a test finds in its environment.
    fn environment(&self) -> Result<Vec<(String, String)>> {
        let mut variables = env_file::read(&self.project.env_file())?;
        let threads = std::env::var("RUST_TEST_THREADS").unwrap_or_else(|_| TEST_THREADS.to_owned());
        variables.push(("RUST_TEST_THREADS".to_owned(), threads));
        variables.push(("WEBMON_TEST_SKIPPED".to_owned(), self.report.skipped().display().to_string()));
        Ok(variables)
    }

    /// The variable that makes tests run on another version.
    fn on(&self, major: u8) -> Result<(String, String)> {
        let address = env_file::value(&self.project.env_file(), &format!("WEBMON_TEST_POSTGRES{major}"));
        Ok((
            "WEBMON_TEST_POSTGRES".to_owned(),
            address.with_context(|| format!("PostgreSQL {major} doesn't run"))?,
        ))
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        cargo::command(self.project.root(), arguments)
    }

    /// A step with a tool that may be missing: said loudly, and in CI a failure.
    fn step_if(&mut self, is_there: bool, name: &str, missing: &str, command: Command) -> Result<()> {
        if is_there {
            return self.step(name, command);
        }
        self.skip(name, missing);
        Ok(())
    }

    fn skip(&mut self, name: &str, missing: &str) {
        self.report.begin(name);
        say::text(&format!("SKIPPED: {missing}\n"));
        self.report.skip(&format!("{name}: {missing}"));
        self.report.has_failed |= std::env::var("CI").is_ok_and(|ci| ci == "true");
    }

    fn has_cargo(&self, tool: &str) -> Result<bool> {
        Ok(command::output(&mut self.cargo(&[tool, "--version"]), GRACE)?.0)
    }

    // -------------------------------------------------------------- the checks

    fn check_texts(&mut self) -> Result<()> {
        let format = self.cargo(&["fmt", "--all", "--check"]);
        self.step_if(self.has_cargo("fmt")?, "format", "no rustfmt: rustup component add rustfmt", format)?;
        let mut scripts = Command::new("shellcheck");
        scripts.arg("-x").args(self.scripts()?);
        let missing = "no shellcheck: apt-get install shellcheck";
        self.step_if(packages::on_path("shellcheck").is_some(), "shell scripts", missing, scripts)
    }

    /// What the compiler checks. It takes what the tests leave of the processor: they wait most of the time, and must not
    /// wait for it.
    fn check_sources(&mut self) -> Result<Vec<Job>> {
        let (project, has_clippy) = (self.project, self.has_cargo("clippy")?);
        if !has_clippy {
            self.skip("lints", "no clippy: rustup component add clippy");
        }
        let mut jobs = Vec::new();
        let mut add = |name: &str, program: &Path, arguments: &[&str]| {
            let mut command = Lane::Patient.command(program);
            command.args(arguments).current_dir(project.root());
            command.env("RUSTDOCFLAGS", "-D warnings");
            jobs.push(Job { group: name.to_owned(), name: "cargo".to_owned(), lane: Lane::Patient, command });
        };
        let cargo = Path::new("cargo");
        if has_clippy {
            let lints = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
            add("lints", cargo, &lints);
        }
        let check = ["check", "--locked", "--no-default-features"];
        add("no features", cargo, &check);
        for features in FEATURES {
            add(&format!("features {features}"), cargo, &[&check[..], &["--features", features]].concat());
        }
        add("documentation", cargo, &["doc", "--locked", "--no-deps"]);
        add("public interface", &project.root().join("dev/semver"), &[]);
        Ok(jobs)
    }

    fn scripts(&self) -> Result<Vec<PathBuf>> {
        let mut scripts = vec![self.project.root().join(".ci/run")];
        for entry in std::fs::read_dir(self.project.root().join("dev"))?.flatten() {
            if entry.path().is_file() && entry.path().extension().is_none_or(|extension| extension == "sh") {
                scripts.push(entry.path());
            }
        }
        scripts.sort();
        Ok(scripts)
    }

    /// The whole thing, as somebody tries it out. Not on a terminal's whole screen.
    fn check_runs(&mut self) -> Result<()> {
        for (name, more) in
            [("run with the embedded broker", None), ("run with Apache Kafka", Some("--kafka"))]
        {
            let mut run = Command::new(self.project.root().join("dev/run"));
            run.args(more).args(["--seconds", SMOKE_SECONDS]).env("TERM", "dumb");
            self.step(name, run)?;
        }
        Ok(())
    }

    // --------------------------------------------------------------- the tests

    /// All tests; the programs and examples are built with them.
    fn run_all(&mut self, others: &[u8]) -> Result<()> {
        let Some(built) = self.build(&["--workspace"])? else { return Ok(()) };
        let mut jobs = Vec::new();
        for &major in others {
            for program in built.iter().filter(|built| built.is_a_test_of(&ON_OTHERS)) {
                jobs.push(self.job(program, Some(major), &["--skip", ONCE])?);
            }
        }
        for program in &built {
            // What passes on the oldest and on the newest is not run on the one between, which all other tests are run on.
            match program.is_a_test_of(&ON_OTHERS) && !others.is_empty() {
                false => jobs.push(self.job(program, None, &[])?),
                true if program.name == ONCE_OF => jobs.push(self.job(program, None, &[ONCE])?),
                true => {}
            }
        }
        jobs.extend(self.check_sources()?);
        self.run_jobs(jobs)
    }

    /// The storing side on other versions.
    fn run_storing(&mut self, majors: &[u8]) -> Result<()> {
        let files: Vec<&str> = STORING.iter().flat_map(|file| ["--test", file]).collect();
        let Some(built) = self.build(&files)? else { return Ok(()) };
        let mut jobs = Vec::new();
        for &major in majors {
            for program in &built {
                jobs.push(self.job(program, Some(major), &[])?);
            }
        }
        self.run_jobs(jobs)
    }

    /// What the arguments for cargo test say.
    fn run_chosen(&mut self, majors: &[u8], arguments: &[String]) -> Result<()> {
        let mut command = self.cargo(&["test", "--locked"]);
        if majors.is_empty() {
            command.args(arguments);
            return self.step_with_services(&format!("tests: {}", arguments.join(" ")), command);
        }
        for &major in majors {
            let mut command = self.cargo(&["test", "--locked", "--no-fail-fast"]);
            command.args(arguments).envs(self.environment()?).envs([self.on(major)?]);
            self.step(&format!("tests on PostgreSQL {major}"), command)?;
        }
        Ok(())
    }

    /// The test programs; none when they could not be built, which is reported.
    fn build(&mut self, what: &[&str]) -> Result<Option<Vec<Built>>> {
        let (name, began) = ("building the tests", Instant::now());
        self.report.begin(name);
        let arguments = [&["test", "--no-run"], what].concat();
        match cargo::build(self.project.root(), &arguments, &self.dir.join("build.json")) {
            Ok(mut built) => {
                built.retain(|built| built.is_test);
                self.report.ok(began.elapsed(), name);
                Ok(Some(built))
            }
            Err(error) => {
                let fault = report::interrupted(error)?;
                self.report.failed(began.elapsed(), &format!("{name} ({fault})"));
                Ok(None)
            }
        }
    }

    fn job(&self, program: &Built, major: Option<u8>, arguments: &[&str]) -> Result<Job> {
        let is_test = major.is_none() && program.kind == "test";
        let lane = if is_test { Lane::of_test(&program.name) } else { Lane::Main };
        let mut command = lane.command(&program.path);
        command.args(arguments).current_dir(self.project.root()).envs(self.environment()?);
        // As cargo test sets it, for those that look for a file of the project.
        command.env("CARGO_MANIFEST_DIR", self.project.root());
        let mut group = "tests".to_owned();
        if let Some(major) = major {
            command.envs([self.on(major)?]);
            group += &format!(" on PostgreSQL {major}");
        }
        Ok(Job { group, name: format!("{} {}", program.kind, program.name), lane, command })
    }

    fn run_jobs(&mut self, jobs: Vec<Job>) -> Result<()> {
        let mut done = Vec::new();
        let result = pool::run(jobs, &self.dir, &mut done);
        pool::report(&done, &mut self.report);
        result
    }
}

impl Built {
    fn is_a_test_of(&self, files: &[&str]) -> bool {
        self.kind == "test" && files.contains(&self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_for_cargo() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parse(words("--postgres 14 --test store")), (vec![14], words("--test store")));
        assert_eq!(parse(words("--postgres all")), (POSTGRES_MAJORS.to_vec(), vec![]));
        assert_eq!(
            parse(words("-- a_killed_writer --postgres 14")),
            (vec![], words("-- a_killed_writer --postgres 14"))
        );
        assert_eq!(parse(vec![]), (vec![], vec![]));
    }
}
