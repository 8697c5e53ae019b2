//! What the tests against real services share. A test asks for [`database`] or [`kafka`]; where there is none
//! it says so loudly and passes, except with `CI=true`, where that is a failure.

#![allow(dead_code, reason = "each test program uses a part")]

pub mod instance;
pub mod log;
pub mod login;
pub mod pipeline;
pub mod proxy;
pub mod skip;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postgres::{Client, NoTls};
pub use rustix::process::Signal;
#[allow(unused_imports, reason = "each test program uses a part")]
pub use skip::{find, not_tested, service};
use webmon::config::{Config, Role};
use webmon::database::Connector;
use webmon::kafka::{FetchLimits, Fetched};
use webmon::record::{CheckResult, ErrorType, Outcome, Record, RecordVersion};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A name that no other test, and no other run, uses.
pub fn unique(prefix: &str) -> String {
    let n = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}_{}_{n}", std::process::id())
}

/// A database of its own, dropped in the end.
pub struct Database {
    server: String,
    name: String,
    pub url: String,
}

/// A database with the schema in it.
pub fn database() -> Option<Database> {
    let database = empty_database()?;
    webmon::database::migrate(&mut database.client()).unwrap();
    Some(database)
}

pub fn empty_database() -> Option<Database> {
    Some(Database::on(&service("WEBMON_TEST_POSTGRES")?))
}

impl Database {
    /// An empty one on `server`.
    pub fn on(server: &str) -> Database {
        let name = unique("webmon_test");
        let mut client = Client::connect(server, NoTls).unwrap();
        client.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        let (base, query) = server.split_once('?').unwrap_or((server, ""));
        let base = base.rsplit_once('/').unwrap().0;
        let url = format!("{base}/{name}?{query}");
        Database { server: server.to_owned(), name, url }
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.url, NoTls).unwrap()
    }

    pub fn connector(&self) -> Connector {
        Connector::new(&config("127.0.0.1:1", "log", &self.url, "").postgres, "webmon-test").unwrap()
    }

    /// The single number that `sql` yields.
    pub fn number(&self, sql: &str) -> i64 {
        self.client().query_one(sql, &[]).unwrap().get(0)
    }

    /// Links of a site's chain that lead nowhere: rows whose `next_at`, and gaps whose end, is neither a row nor the
    /// start of a gap, though the site has later rows.
    pub fn broken_links(&self) -> i64 {
        self.number(
            "WITH gaps AS (
                SELECT key AS site, name AS location, from_at, to_at
                FROM webmon.gaps JOIN webmon.sites USING (site_id) JOIN webmon.locations USING (location_id)
            ), links AS (
                SELECT site, location, next_at AS at FROM webmon.checks UNION SELECT site, location, to_at FROM gaps
                EXCEPT
                (SELECT site, location, scheduled_at FROM webmon.checks UNION SELECT site, location, from_at FROM gaps)
            ), latest AS (
                SELECT site, location, max(scheduled_at) AS at FROM webmon.checks GROUP BY site, location
            )
            SELECT count(*) FROM links JOIN latest USING (site, location) WHERE links.at < latest.at",
        )
    }

    /// The rows that `sql` yields, each as JSON.
    pub fn json(&self, sql: &str) -> Vec<serde_json::Value> {
        let sql = format!("SELECT to_jsonb(q) FROM ({sql}) q");
        self.client().query(&sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Ok(mut client) = Client::connect(&self.server, NoTls) {
            let _ = client.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}

/// The most memory that a process has had resident, in kB.
pub fn peak_memory_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim_end_matches("kB").trim().parse().unwrap()
}

/// Hands every record that is in a topic by now to `each`, those of a partition in order; how many there are.
pub fn read_topic(kafka: &webmon::config::Kafka, mut each: impl FnMut(Fetched<'_>)) -> i64 {
    let mut consumer = webmon::kafka::consumer(kafka).unwrap();
    let partitions = 0..consumer.partitions().unwrap();
    let records: i64 = partitions.clone().map(|p| consumer.offsets(p).unwrap().end).sum();
    consumer.assign(&partitions.map(|p| (p, 0)).collect::<Vec<_>>()).unwrap();
    let limits = FetchLimits {
        records: 10_000,
        bytes: 8 << 20,
        wait: Duration::from_secs(10),
        linger: Duration::ZERO,
    };
    let mut left = records;
    while left > 0 {
        let fetched = consumer.fetch(limits, &mut each).unwrap();
        assert!(fetched > 0, "{left} records of the topic are missing");
        left -= fetched as i64;
    }
    records
}

/// The address of a real broker.
pub fn kafka() -> Option<String> {
    service("WEBMON_TEST_KAFKA")
}

/// A configuration for `topic`, with short leases.
pub fn config(brokers: &str, topic: &str, postgres: &str, more: &str) -> Config {
    Config::from_toml(&config_toml(brokers, topic, postgres, more), Role::Store).unwrap()
}

pub fn config_toml(brokers: &str, topic: &str, postgres: &str, more: &str) -> String {
    let brokers: Vec<&str> = brokers.split(',').collect();
    format!(
        "kafka.brokers = {brokers:?}\nkafka.topic = {topic:?}\npostgres.url = {postgres:?}\n\
         store.lease = \"500ms\"\n{more}\n"
    )
}

/// A program of this package, killed in the end.
pub struct Program {
    pub child: Child,
    directory: tempfile::TempDir,
}

/// Starts `binary` (the value of `env!("CARGO_BIN_EXE_…")`) with a configuration file and arguments.
pub fn program(binary: &str, config: &str, arguments: &[&str]) -> Program {
    program_under(&[], binary, config, arguments)
}

/// As `program`, started by another one that becomes it, such as `["env", "A=b"]`.
pub fn program_under(starter: &[&str], binary: &str, config: &str, arguments: &[&str]) -> Program {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("config.toml");
    std::fs::write(&path, config).unwrap();
    let line: Vec<&str> = starter.iter().copied().chain([binary]).collect();
    let child = Command::new(line[0])
        .args(&line[1..])
        .arg("--config")
        .arg(&path)
        .args(["--log-format", "json"])
        .args(arguments)
        .current_dir(directory.path())
        .env_clear()
        .stdin(Stdio::null())
        // Files, not pipes: nobody reads along, and a full pipe would stop the program.
        .stdout(File::create(directory.path().join("stdout")).unwrap())
        .stderr(File::create(directory.path().join("stderr")).unwrap())
        .spawn()
        .unwrap();
    Program { child, directory }
}

/// Sends a signal to a process. Returns from SIGSTOP when all its threads stand still: until the one that takes the
/// signal has been given a core, the others go on.
pub fn signal(pid: i32, signal: Signal) -> std::io::Result<()> {
    let process = rustix::process::Pid::from_raw(pid).expect("no process has the number 0");
    rustix::process::kill_process(process, signal)?;
    if signal == Signal::STOP {
        wait_until("all threads stand still", || {
            thread_states(pid).iter().all(|state| "TtZX".contains(*state))
        });
    }
    Ok(())
}

/// The state of each thread: the first field behind the name in brackets (proc(5)).
fn thread_states(pid: i32) -> Vec<char> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let state = |stat: String| stat.rsplit_once(") ")?.1.chars().next();
    threads
        .filter_map(|thread| state(std::fs::read_to_string(thread.ok()?.path().join("stat")).ok()?))
        .collect()
}

impl Program {
    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        self::signal(self.child.id().cast_signed(), signal).unwrap();
    }

    /// Puts another configuration in place of the one there is, at once.
    pub fn rewrite(&self, config: &str) {
        let new = self.directory.path().join("config.toml.new");
        std::fs::write(&new, config).unwrap();
        std::fs::rename(new, self.directory.path().join("config.toml")).unwrap();
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("stderr")).unwrap()
    }

    /// Waits for the end: exit code (none after a signal), stdout, stderr.
    pub fn finish(mut self) -> (Option<i32>, String, String) {
        let status = self.child.wait().unwrap();
        let read = |name| std::fs::read_to_string(self.directory.path().join(name)).unwrap();
        (status.code(), read("stdout"), read("stderr"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The amount of a fault test: small in an ordinary run, whole with `WEBMON_FAULTS=whole`, as dev/faults sets it.
pub fn scale<T>(small: T, whole: T) -> T {
    if std::env::var("WEBMON_FAULTS").is_ok_and(|scale| scale == "whole") { whole } else { small }
}

/// Waits until `done` says so, for at most a minute.
pub fn wait_until(what: &str, done: impl FnMut() -> bool) {
    wait_within(Duration::from_secs(60), what, done);
}

/// Waits until `done` says so, for at most `patience`.
pub fn wait_within(patience: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !done() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A whole second, `seconds` from the beginning of the current day.
pub fn instant(seconds: i64) -> Timestamp {
    let day = Timestamp::now().as_second().div_euclid(86_400) * 86_400;
    Timestamp::from_second(day).unwrap() + SignedDuration::from_secs(seconds)
}

/// A plain result.
pub fn result(site: &str, seconds: i64, outcome: Outcome) -> CheckResult {
    let scheduled_at = instant(seconds);
    CheckResult {
        v: RecordVersion,
        site: site.to_owned(),
        name: format!("the site {site}"),
        location: "here".to_owned(),
        checker: "checker-1".to_owned(),
        labels: BTreeMap::new(),
        url: format!("https://{site}.example/"),
        final_url: None,
        schedule: None,
        time_budget_ms: None,
        incident_failures: None,
        incident_recoveries: None,
        incident_locations: None,
        incident_locations_percent: None,
        incident_min_voters: None,
        slo_uptime_ppm: None,
        slo_window_days: None,
        maintenance: Vec::new(),
        method: "GET".to_owned(),
        redirects: 0,
        scheduled_at,
        next_at: Some(scheduled_at + SignedDuration::from_secs(1)),
        started_at: (outcome != Outcome::Missed).then(|| scheduled_at + SignedDuration::from_micros(1_900)),
        outcome,
        degraded: false,
        error_type: match outcome {
            Outcome::Success => None,
            Outcome::Failure => Some(ErrorType::Timeout),
            Outcome::Missed => Some(ErrorType::Overlap),
        },
        error_detail: None,
        error_message: None,
        failed_expectations: Vec::new(),
        http_status: (outcome == Outcome::Success).then_some(200),
        body_matched: None,
        dns_us: None,
        connect_us: None,
        tls_us: None,
        ttfb_us: None,
        download_us: None,
        total_us: Some(1_234),
        body_bytes: None,
        body_truncated: false,
        remote_ip: None,
        http_version: None,
        tls_version: None,
        cert_not_after: None,
        certificate: None,
        hops: Vec::new(),
        tries: Vec::new(),
        attempts: u16::from(outcome != Outcome::Missed),
        sample: None,
    }
}

pub fn value(result: CheckResult) -> Vec<u8> {
    Record::Result(Box::new(result)).encode()
}
