//! dev/run: webmon on this machine, with all that it needs.

mod programs;
mod webmon;

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use webmon_dev::in_use::InUse;
use webmon_dev::interrupt::{self, Interrupted, wait_until};
use webmon_dev::lock::Lock;
use webmon_dev::process::PidFile;
use webmon_dev::{Project, Service, command, env_file, file, given, packages, port, say};

use crate::args::Run as Options;
use crate::{Exit, cargo, tell};
use programs::Programs;
use webmon::Webmon;

const PARTITIONS: &str = "6";

/// How often the table is shown: on a terminal, where it stands still, and else.
const TABLE: Duration = Duration::from_secs(2);
const TABLE_ELSEWHERE: Duration = Duration::from_secs(60);
/// How often the services are looked at.
const SERVICES: Duration = Duration::from_secs(5);
/// How many lines of what a receiver was told.
const TOLD: usize = 12;
const TICK: Duration = Duration::from_secs(1);

/// How long a program may take to end before it's killed. webmon-check waits for the checks at work (10 s unless
/// configured) and for Kafka (15 s).
const CHECK_GRACE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(20);
const BROKEN_GRACE: Duration = Duration::from_secs(3);
/// How long webmon-store may take to store what is left in Kafka.
const CATCH_UP: Duration = Duration::from_secs(30);
const PSQL: Duration = Duration::from_secs(30);
/// How long the made-up week may take to be in Kafka.
const HISTORY: Duration = Duration::from_secs(90);

/// The checkers at other locations: the name of the program, and the location. They check some of the demo's sites.
const ELSEWHERE: [(&str, &str); 2] = [("webmon-check-oslo", "demo-oslo"), ("webmon-check-lima", "demo-lima")];
/// The port of the status page, unless somebody else uses it.
const PAGE_PORT: u16 = 8_080;
/// A demo site with a made-up past.
const MADE_UP: &str = "shop";

const BROKERS: &str = "WEBMON_KAFKA__BROKERS";
const URL: &str = "WEBMON_POSTGRES__URL";

pub(crate) fn main(project: &Project, options: Options) -> Result<u8> {
    let dir = project.shared().join("run");
    file::make_dir(&dir.join("log"))?;
    let path = dir.join("lock");
    let Some(_lock) = Lock::try_take(&path)? else {
        bail!("another dev/run is at work in this project (pid {}): end it first", file::first_line(&path));
    };
    fs::write(&path, format!("{}\n", std::process::id()))?;
    end_leftovers(&dir)?;
    let mut run = Run::new(project, options, dir);
    let result = run.work();
    Ok(run.finish(result))
}

/// Ends what a dev/run that was killed has left: its programs end with it, by a signal that needs its time.
fn end_leftovers(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "pid") {
            PidFile::at(entry.path()).stop(GRACE).context("a process of an earlier run can't be ended")?;
        }
    }
    Ok(())
}

/// The examples that a run needs.
struct Examples {
    sites: PathBuf,
    history: PathBuf,
    kafka: PathBuf,
}

struct Run<'a> {
    project: &'a Project,
    options: Options,
    dir: PathBuf,
    webmon: Webmon,
    programs: Programs,
    /// Those of dev/services that this run uses.
    services: Vec<Service>,
    in_use: Option<InUse<'a>>,
    /// Where the status page is.
    page: Option<String>,
    kafka_is_given: bool,
    postgres_is_given: bool,
    began: Option<Instant>,
    /// The broker or the database is gone: there is nothing to wait for.
    is_broken: bool,
    has_finished_checking: bool,
}

impl<'a> Run<'a> {
    fn new(project: &'a Project, options: Options, dir: PathBuf) -> Run<'a> {
        Run {
            project,
            webmon: Webmon::new(options.config.clone().unwrap_or_else(|| dir.join("demo.toml"))),
            options,
            programs: Programs::new(&dir),
            dir,
            services: Vec::new(),
            in_use: None,
            page: None,
            kafka_is_given: false,
            postgres_is_given: false,
            began: None,
            is_broken: false,
            has_finished_checking: false,
        }
    }

    /// All up to the last table; false when a site has no result in it, or something went wrong on the way.
    fn work(&mut self) -> Result<bool> {
        let examples = self.build()?;
        self.decide()?;
        self.start_services(&examples.kafka)?;
        self.start_webmon(&examples)?;
        self.watch()?;
        let is_stored = self.finish_checking()?;
        Ok(self.conclude()? && is_stored)
    }

    /// The dev profile: it's the one of the tests, and a release build takes several times as long for a speed that a
    /// dozen sites don't need.
    fn build(&mut self) -> Result<Examples> {
        say!("building (compiles for some minutes when it's the first time)");
        let mut arguments = vec!["build", "--bins"];
        arguments.extend(
            ["demo_sites", "demo_history", "embedded_kafka"].iter().flat_map(|&name| ["--example", name]),
        );
        let built = cargo::build(self.project.root(), &arguments, &self.dir.join("build.json"))?;
        self.webmon.check = cargo::program(&built, "webmon-check")?;
        self.webmon.store = cargo::program(&built, "webmon-store")?;
        self.webmon.page = cargo::program(&built, "webmon-page")?;
        Ok(Examples {
            sites: cargo::program(&built, "demo_sites")?,
            history: cargo::program(&built, "demo_history")?,
            kafka: cargo::program(&built, "embedded_kafka")?,
        })
    }

    /// Which services the environment or the configuration names. A configuration is read by the program itself: only it
    /// knows TOML and how the two combine.
    fn decide(&mut self) -> Result<()> {
        let in_environment = |service: Service, name: &str| {
            std::env::var(name).is_ok_and(|value| given::is_given(&self.project.of(service), &value))
        };
        self.kafka_is_given = in_environment(Service::Kafka, BROKERS);
        self.postgres_is_given = in_environment(Service::Postgres, URL);
        // Our own services' addresses from .dev/env, and empty values, aren't given.
        if !self.kafka_is_given {
            self.webmon.unset(BROKERS);
        }
        if !self.postgres_is_given {
            self.webmon.unset(URL);
        }
        if self.options.config.is_some() {
            let faults = self.webmon.faults()?;
            self.kafka_is_given = !faults.contains(": kafka.brokers is missing: ");
            self.postgres_is_given = !faults.contains(": postgres.url is missing: ");
            // Its faults end the run before anything is started for it.
            let brokers = (!self.kafka_is_given).then_some((BROKERS, "127.0.0.1:1"));
            let url = (!self.postgres_is_given).then_some((URL, "postgres://127.0.0.1/"));
            if !self.webmon.is_valid(brokers.into_iter().chain(url).collect())? {
                return Err(Exit(2).into());
            }
        }
        for (name, is_given) in [("kafka", self.kafka_is_given), ("postgres", self.postgres_is_given)] {
            if is_given {
                say!("{name}: using the one given, starting none");
            }
        }
        Ok(())
    }

    fn start_services(&mut self, embedded_kafka: &Path) -> Result<()> {
        if !self.kafka_is_given && self.options.kafka {
            self.services.push(Service::Kafka);
        }
        if !self.postgres_is_given {
            self.services.push(Service::Postgres);
        }
        if !self.services.is_empty() {
            self.in_use = Some(InUse::start(self.project, &self.services)?);
        }
        if !self.kafka_is_given {
            self.start_broker(embedded_kafka)?;
        }
        if !self.postgres_is_given {
            self.choose_database()?;
        }
        Ok(())
    }

    fn start_broker(&mut self, embedded_kafka: &Path) -> Result<()> {
        if self.options.kafka {
            let brokers = self.service_address(BROKERS)?;
            self.webmon.set(BROKERS, &brokers);
            return Ok(());
        }
        // This broker forgets, a database that was given doesn't: by a name of its own for each run, no topic is taken for
        // its predecessor.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let topic = format!("webmon.dev-run.{now}.{}", std::process::id());
        let address = self.dir.join("kafka.address");
        let mut command = self.webmon.command(embedded_kafka);
        command.args(["--topic", &topic, "--partitions", PARTITIONS, "--address-out"]).arg(&address);
        self.programs.start("embedded_kafka", &command)?;
        self.programs.wait_ready("embedded_kafka", GRACE)?;
        self.webmon.set("WEBMON_KAFKA__TOPIC", &topic);
        self.webmon.set(BROKERS, &file::first_line(&address));
        Ok(())
    }

    /// The offsets in a database belong to one broker. So `webmon` goes with our Apache Kafka, and both are kept; any other
    /// broker gets an empty one.
    fn choose_database(&mut self) -> Result<()> {
        let mut url = self.service_address(URL)?;
        if self.kafka_is_given || !self.options.kafka {
            self.make_fresh_database("webmon_run")?;
            url = url.replace("/webmon?", "/webmon_run?");
        }
        self.webmon.set(URL, &url);
        say!("the results are in {url}");
        Ok(())
    }

    fn make_fresh_database(&self, name: &str) -> Result<()> {
        let mut psql = Command::new(packages::need_postgres(self.project.root())?.join("psql"));
        psql.args([
            "-X",
            "-q",
            "-w",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &self.service_address("WEBMON_TEST_POSTGRES")?,
        ]);
        psql.args(["-c", "SET client_min_messages = warning"]);
        psql.args(["-c", &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")]);
        psql.args(["-c", &format!("CREATE DATABASE {name}")]);
        command::stdout(&mut psql, PSQL).with_context(|| format!("the database {name} can't be made"))?;
        Ok(())
    }

    fn service_address(&self, name: &str) -> Result<String> {
        let path = self.project.env_file();
        env_file::value(&path, name).with_context(|| format!("there is no {name} in {}", path.display()))
    }

    /// Sites unless they are given, schema, topic, all programs.
    fn start_webmon(&mut self, examples: &Examples) -> Result<()> {
        let is_demo = self.options.config.is_none();
        let elsewhere = self.dir.join("elsewhere.toml");
        if is_demo {
            let mut command = self.webmon.command(&examples.sites);
            command.arg("--config-out").arg(&self.webmon.config);
            command.arg("--elsewhere-out").arg(&elsewhere);
            command.arg("--ca-out").arg(self.dir.join("demo-ca.pem"));
            self.programs.start("demo_sites", &command)?;
            self.programs.wait_ready("demo_sites", GRACE)?;
        }
        self.webmon.prepare(&["migrate"])?;
        // The embedded broker has its topic, and can't make one.
        if !self.programs.is_started("embedded_kafka") {
            self.webmon.prepare(&["topic", "create", "--if-missing", "--partitions", PARTITIONS])?;
        }
        let has_past = is_demo && self.wants_history()?;
        let human = ["--log-format", "human", "run"];
        self.start_page()?;
        self.programs.start("webmon-store", self.webmon.store().args(human))?;
        if has_past {
            self.make_history(&examples.history)?;
        }
        self.began = Some(Instant::now());
        self.programs.start("webmon-check", self.with_spool(self.webmon.check(), "spool").args(human))?;
        for (name, location) in ELSEWHERE.into_iter().filter(|_| is_demo) {
            let mut checker =
                self.with_spool(self.webmon.check_with(&elsewhere), &format!("spool-{location}"));
            checker.env("WEBMON_CHECK__LOCATION", location);
            self.programs.start(name, checker.args(human))?;
        }
        say!("checking {}; the logs are in {}", self.webmon.sites()?, self.programs.logs().display());
        Ok(())
    }

    /// The status page, at the port that its configuration has by default if that is free.
    fn start_page(&mut self) -> Result<()> {
        let port = if port::is_free(PAGE_PORT) {
            PAGE_PORT
        } else {
            port::remembered(&self.dir.join("page.port"), &[])?
        };
        let mut command = self.webmon.page();
        command.env("WEBMON_WEB__LISTEN", format!("127.0.0.1:{port}"));
        self.programs.start("webmon-page", command.args(["--log-format", "human", "run"]))?;
        let address = format!("http://127.0.0.1:{port}/");
        say!("the status page: {address}");
        self.page = Some(address);
        Ok(())
    }

    /// A checker of the demo with a spool of this name. Where the results stay, the time between two runs is accounted for,
    /// too. The embedded broker begins with nothing each time, and so does the demo.
    fn with_spool(&self, mut checker: Command, name: &str) -> Command {
        if self.options.config.is_none() {
            if self.options.kafka {
                checker.env("WEBMON_CHECK__SPOOL__DIR", self.dir.join(name));
            } else {
                checker.env("WEBMON_CHECK__SPOOL", "false");
            }
        }
        checker
    }

    /// What is made up goes neither to somebody else's database nor over what was measured.
    fn wants_history(&self) -> Result<bool> {
        if self.options.no_history || self.kafka_is_given || self.postgres_is_given {
            return Ok(false);
        }
        // A fresh database has seen nothing.
        Ok(!self.options.kafka || !self.webmon.has_results_of(MADE_UP)?)
    }

    fn make_history(&self, demo_history: &Path) -> Result<()> {
        let mut command = self.webmon.command(demo_history);
        command.arg("--config").arg(&self.webmon.config);
        let said = command::stdout(&mut command, HISTORY).context("the made-up week can't be sent")?;
        say!("{}", said.trim_end());
        Ok(())
    }

    /// Until the time is over, or something has ended by itself.
    fn watch(&mut self) -> Result<()> {
        let pause = if on_terminal() { TABLE } else { TABLE_ELSEWHERE };
        let (mut table, mut services) = (Instant::now(), Instant::now());
        loop {
            wait_until(TICK, || false)?;
            if let Some(name) = self.programs.ended_by_itself()? {
                self.is_broken = name == "embedded_kafka";
                return Err(Exit(1).into());
            }
            if services.elapsed() >= SERVICES {
                services = Instant::now();
                self.services_run()?;
            }
            let checking = self.began.map_or(Duration::ZERO, |began| began.elapsed());
            if self.options.seconds.is_some_and(|seconds| checking >= Duration::from_secs(seconds.into())) {
                return Ok(());
            }
            if table.elapsed() >= pause {
                table = Instant::now();
                self.show_table()?;
            }
        }
    }

    /// An error when one of the services doesn't; they may not be our children.
    fn services_run(&mut self) -> Result<()> {
        for service in &self.services {
            let server = service.of(self.project);
            if !server.serves() {
                self.is_broken = true;
                say!("{} no longer runs", service.name());
                say::show_log(&server.log());
                return Err(Exit(1).into());
            }
        }
        Ok(())
    }

    /// On a terminal in the place of the one before. It asks the terminal (?2026) to show all at once, so that nothing
    /// flickers.
    fn show_table(&self) -> Result<()> {
        if !on_terminal() {
            self.webmon.show(&["sites"])?;
            self.show_told();
            return Ok(());
        }
        say::answer("\x1b[?2026h\x1b[H\x1b[2J");
        if let Some(page) = &self.page {
            say::answer(&format!("The status page: {page}\n\n"));
        }
        self.webmon.show(&["sites"])?;
        self.show_told();
        let logs = self.programs.logs();
        say::answer(&format!("\nlogs: {}   Ctrl-C ends\n\x1b[?2026l", logs.display()));
        Ok(())
    }

    /// What the demo's receiver was told last.
    fn show_told(&self) {
        let told = self.programs.last_lines("demo_sites", "told: ", TOLD);
        if !told.is_empty() {
            say::answer(&format!("\nA receiver was told:\n  {}\n", told.join("\n  ")));
        }
    }

    /// No more checks, and what they came to is stored; false when that went wrong.
    fn finish_checking(&mut self) -> Result<bool> {
        if self.has_finished_checking || self.began.is_none() {
            return Ok(true);
        }
        self.has_finished_checking = true;
        say!("ending the checks, storing what is under way");
        if self.is_broken {
            return self.end_checkers(BROKEN_GRACE);
        }
        let is_good = self.end_checkers(CHECK_GRACE)?;
        Ok(self.catch_up()? && is_good)
    }

    fn end_checkers(&mut self, grace: Duration) -> Result<bool> {
        let mut is_good = true;
        for name in ELSEWHERE.map(|(name, _)| name).into_iter().chain(["webmon-check"]) {
            is_good &= self.programs.end(name, grace)?;
        }
        Ok(is_good)
    }

    /// Waits until webmon-store has stored all that is in Kafka.
    fn catch_up(&mut self) -> Result<bool> {
        let deadline = Instant::now() + CATCH_UP;
        while self.programs.is_alive("webmon-store")? {
            if self.webmon.has_stored_all()? {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                say!("webmon-store is still at work after {}s:", CATCH_UP.as_secs());
                self.webmon.prepare(&["status"])?;
                return Ok(false);
            }
            wait_until(Duration::from_millis(250), || false)?;
        }
        Ok(true)
    }

    /// The table of this run, and with the demo sites the proof that nothing is missing.
    fn conclude(&self) -> Result<bool> {
        if on_terminal() {
            say::answer("\n");
        }
        let seconds = self.began.map_or(0, |began| began.elapsed().as_secs());
        let mut is_good =
            self.webmon.show(&["sites", "--since", &format!("{}s", seconds + 1), "--require-all"])?;
        self.show_told();
        if self.options.config.is_none() {
            let (is_proven, proof) = self.webmon.ask(&["verify"])?;
            say::answer(&format!("{}\n", proof.lines().last().unwrap_or_default()));
            is_good &= is_proven;
        }
        Ok(is_good)
    }

    /// The end, whatever came before. A second Ctrl-C doesn't wait for what is under way.
    fn finish(mut self, result: Result<bool>) -> u8 {
        let mut code = match result {
            Ok(is_good) => u8::from(!is_good),
            Err(error) => tell(&error),
        };
        interrupt::forget();
        interrupt::ignore_hangups();
        let ended = self.end_all();
        let _shield = interrupt::shield();
        let is_bad = match ended {
            Ok(is_good) => !is_good,
            Err(error) if error.is::<Interrupted>() => false,
            Err(error) => tell(&error) != 0,
        };
        // An end as asked for that went wrong is a failure.
        if is_bad && code != 2 {
            code = 1;
        }
        self.programs.kill_all();
        self.in_use = None;
        code
    }

    /// The programs end against the direction in which the results go, so that each has still somewhere to put them.
    fn end_all(&mut self) -> Result<bool> {
        let grace = if self.is_broken { BROKEN_GRACE } else { GRACE };
        let mut is_good = self.finish_checking()?;
        is_good &= self.end_checkers(grace)?;
        for (name, grace) in [
            ("webmon-store", grace),
            ("webmon-page", GRACE),
            ("demo_sites", GRACE),
            ("embedded_kafka", GRACE),
        ] {
            is_good &= self.programs.end(name, grace)?;
        }
        Ok(is_good)
    }
}

fn on_terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb")
}
