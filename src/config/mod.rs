//! The configuration: one TOML file for both programs, then the environment (`WEBMON_KAFKA__BROKERS` sets
//! `kafka.brokers`). Values as written are resolved once, here; what comes out is within its ranges. All
//! faults are reported at once.

mod env;
mod maintenance;
mod reader;
mod sites;
mod watch;

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};

use self::env::Environment;
use self::reader::{Context, Table, quoted};
pub use self::reader::{Fault, parse_duration, show_duration};
pub use self::watch::Watch;
use crate::maintenance::Maintenance;
use crate::result::MAX_TEXT;
use crate::site::{MAX_SENTINELS, Sentinel, Site};

/// The most sites of one configuration.
pub const MAX_SITES: usize = 200_000;
/// The largest file, in bytes.
pub const MAX_FILE: usize = 256 << 20;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The whole configuration, resolved.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[kafka]`
    pub kafka: Kafka,
    /// `[postgres]`
    pub postgres: Postgres,
    /// `[check]`
    pub check: Check,
    /// `[store]`
    pub store: Store,
    /// `[jobs]`
    pub jobs: Jobs,
    /// `[[site]]`, each with `[site_defaults]` filled in.
    pub sites: Vec<Arc<Site>>,
    /// `[[maintenance]]`
    pub maintenance: Vec<Maintenance>,
}

/// What a program needs of the configuration: the rest may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `webmon-check`: brokers and at least one site.
    Check,
    /// `webmon-store`: brokers and a database.
    Store,
}

/// `[kafka]`: where the results go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// `host:port` of at least one broker; more are for when it is down.
    pub brokers: Vec<String>,
    /// The topic of the results. Default: `webmon.check-results.v1`.
    pub topic: String,
    /// The client library. Default: librdkafka.
    pub client: KafkaClient,
    /// The consumer group to which the writers commit what is stored, for other tools to read; none: no group. Default:
    /// `webmon-store`.
    pub group: Option<String>,
    /// `[kafka.tls]`: its presence turns TLS on.
    pub tls: Option<KafkaTls>,
    /// `[kafka.sasl]`: user and password; over TLS where `tls` is there too.
    pub sasl: Option<Sasl>,
}

/// The client library that speaks to Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaClient {
    /// librdkafka: any broker from 0.11 on, TLS and SASL.
    Librdkafka,
    /// kafka-rust: brokers up to 3.9, TLS, no SASL.
    KafkaRust,
}

/// `[kafka.tls]`: files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaTls {
    /// The CA certificates to trust; the system's by default. At Aiven: `ca.pem`.
    pub ca: Option<PathBuf>,
    /// The client's certificate, where the broker asks for one. At Aiven: `service.cert`.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key, not encrypted. At Aiven: `service.key`.
    pub key: Option<PathBuf>,
}

/// `[kafka.sasl]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user.
    pub username: String,
    /// The password, from `password` or the first line of `password_file`.
    pub password: Secret,
}

/// `[postgres]`: where the results are stored.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database?sslmode=…`, or libpq's `key=value` form.
    pub url: Secret,
    /// The password, from the first line of `password_file`, where the URL has none.
    pub password: Option<Secret>,
    /// A file of CA certificates (PEM) for `sslmode=verify-ca` and `verify-full`; the system's by default.
    pub ca: Option<PathBuf>,
    /// The client's certificate (PEM), where the server asks for one.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key (PEM, PKCS #8, not encrypted).
    pub key: Option<PathBuf>,
}

impl Postgres {
    /// What needs nothing but a URL.
    pub fn new(url: impl Into<String>) -> Postgres {
        Postgres { url: Secret::new(url), password: None, ca: None, certificate: None, key: None }
    }
}

/// `[check]`: the checking side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Where the checks are made from; part of every result's identity.
    pub location: String,
    /// This instance; the host's name by default.
    pub checker: String,
    /// Checks at once; each is a thread. 1 to 20,000, default 512.
    pub threads: usize,
    /// Checks waiting for a thread, beyond which an instant is `missed`/`saturated`. Default 2,048.
    pub queue: usize,
    /// How late a check may start; beyond, its instant is `missed`/`late`. 100 ms to 30 min, default 5 s.
    pub max_lateness: Duration,
    /// How long checks in flight may go on after a stop was asked for. 0 to 10 min, default 10 s.
    pub shutdown_grace: Duration,
    /// Results held in memory while Kafka does not take them, where there is no `spool`. Default 100,000; about 1 kB each.
    pub outbox: usize,
    /// How long ago an instant may be that no checker saw and still becomes a row, `missed`; longer ago, it lies in
    /// a gap. 0 s to 7 days, default 1 h.
    pub backfill: Duration,
    /// What else should answer: when none of these does, checks without an answer are `missed`, `network_down`.
    /// None by default, else 2 to 8.
    pub sentinels: Vec<Sentinel>,
    /// Where results wait on disk, so that they survive a restart; without it they wait in memory. By default a directory
    /// `webmon-spool` in `$STATE_DIRECTORY`, else beside the configuration file.
    pub spool: Option<SpoolSettings>,
    /// A file of further CA certificates (PEM) to trust beside the public ones.
    pub ca: Option<PathBuf>,
    /// Networks that no check may connect to, as `10.0.0.0/8`.
    pub deny_addresses: Vec<ipnet::IpNet>,
    /// The `User-Agent` of the requests.
    pub user_agent: String,
}

/// `check.spool`: results on disk until Kafka has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Its directory, for one checker alone. A relative one is taken from the folder of the configuration.
    pub dir: PathBuf,
    /// The most that waiting results may take on disk, about, beyond which the oldest are dropped and a gap stands
    /// for them. 1 MiB to 16 TiB, default 4 GiB.
    pub max_size: u64,
}

/// `[store]`: the storing side.
#[derive(Clone, Debug)]
pub struct Store {
    /// Writers of this process, each with a connection of its own. 1 to 64, default 1.
    pub threads: usize,
    /// How long a claim on a partition lasts unless renewed: the longest time that a dead writer's partitions
    /// stand still. 500 ms to 5 min, default 10 s.
    pub lease: Duration,
    /// Records of one transaction at most. 1 to 100,000, default 5,000.
    pub batch_records: usize,
    /// Bytes of one transaction's records at most. 64 KiB to 256 MiB, default 8 MiB.
    pub batch_bytes: usize,
    /// How long a writer waits for more records once it has one, so that a transaction holds more than one at low rates.
    /// 0 s to 5 s, default 50 ms.
    pub linger: Duration,
    /// How far `scheduled_at` may lie ahead of the later of the database's clock and the writer's own. 1 min to 30 days,
    /// default 1 h.
    pub max_ahead: Duration,
    /// Dead letters of one partition that are kept, beyond which it pauses. 1 to 1,000,000,000, default 100,000.
    pub max_dead_letters: i64,
    /// How long what is stored is kept.
    pub retention: Retention,
    /// After how long a site is retired at a location from which nothing came though it was due: its outage there ends. 1 h
    /// to 3,660 days, default 7 days.
    pub retire_after: Duration,
}

/// `store.retention`: how long results, and what hours and days came to, are kept. None keeps them forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Every single result; one that is older when it arrives is not stored. 1 to 3,660 days, default 90.
    pub results: Duration,
    /// Hours; at least as long as results. Default 2 years.
    pub hours: Option<Duration>,
    /// Days; at least as long as hours. Default forever.
    pub days: Option<Duration>,
}

/// `[jobs]`: the job queue, worked at by the storing side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// Jobs at once in this process, each with a connection of its own, and one more connection for all. 0 to 64,
    /// default 1; with 0 they are left to other processes.
    pub threads: usize,
    /// How long a job is held unless its lease is renewed: how long the job of a worker that was killed waits to be
    /// run again. 500 ms to 5 min, default 30 s.
    pub lease: Duration,
    /// How long apart a thread without work looks for some. 10 ms to 1 min, default 1 s.
    pub poll: Duration,
    /// How long completed and cancelled jobs are kept. 1 min to 3,660 days, default 1 day.
    pub keep: Duration,
    /// How long discarded jobs are kept, with their error. 1 min to 3,660 days, default 30 days.
    pub keep_discarded: Duration,
    /// After how long the rows of the ledger, one a minute and partition, are merged to one a day. 1 day to 3,660
    /// days, default 30 days.
    pub compact_ledger: Duration,
    /// How many days ahead the partitions of the results are made. 1 to 60, default 7.
    pub partitions_ahead: u32,
}

/// A text that is never shown: not by `Debug`, not in a log.
///
/// ```
/// use webmon::config::Secret;
///
/// let secret = Secret::new("hunter2");
/// assert_eq!((format!("{secret:?}").as_str(), secret.reveal()), ("Secret(***)", "hunter2"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}")]
    Unreadable {
        /// The file asked for.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not TOML: {problem}")]
    Syntax {
        /// The file.
        path: String,
        /// Line, column and what was expected; never the line itself, which may hold a password.
        problem: String,
    },
    /// Values are wrong: all of them, in the order of the file's sections.
    #[error("{}", one_a_line(.0))]
    Faults(Vec<Fault>),
}

fn one_a_line(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    lines.join("\n")
}

impl Config {
    /// Reads `path` and then the environment of this process.
    ///
    /// # Errors
    /// [`ConfigError`]: no file, no TOML, or every fault found in its values.
    pub fn load(path: &Path, role: Role) -> Result<Config, ConfigError> {
        let (mut variables, mut faults) = (Vec::new(), Vec::new());
        for (name, value) in std::env::vars_os() {
            // A name that isn't Unicode can't be one of ours.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => variables.push((name, value)),
                Err(_) if Environment::keys(&name).is_some() => {
                    let problem = "the value is not UTF-8".to_owned();
                    faults.push(Fault { origin: name, path: String::new(), problem });
                }
                Err(_) => {}
            }
        }
        if faults.is_empty() {
            Config::load_with(path, variables, role)
        } else {
            Err(ConfigError::Faults(faults))
        }
    }

    /// As [`Config::load`], with these environment variables instead of the process's own.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(
        path: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
        role: Role,
    ) -> Result<Config, ConfigError> {
        let shown = path.display().to_string();
        let bytes = read(path).map_err(|source| ConfigError::Unreadable { path: shown.clone(), source })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let (good, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
            let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
            ConfigError::Syntax { path: shown.clone(), problem: format!("line {line} is not UTF-8") }
        })?;
        let variables: Vec<(String, String)> = variables.into_iter().collect();
        // Where systemd says that state goes; of several the first.
        let state = variables.iter().find(|(name, value)| name == "STATE_DIRECTORY" && !value.is_empty());
        let state = state.and_then(|(_, value)| value.split(':').next()).map(PathBuf::from);
        let state = state.or_else(|| path.parent().map(Path::to_owned)).unwrap_or_default();
        let environment = Environment::new(variables);
        let figment = Figment::new().merge(TomlFile { path, text: &text }).merge(&environment);
        Config::resolve(&figment, &environment, shown, &state, role)
    }

    /// As [`Config::load`], from TOML in memory and without an environment.
    ///
    /// ```
    /// use webmon::config::{Config, Role};
    ///
    /// let config = Config::from_toml(
    ///     r#"
    ///     kafka.brokers = ["127.0.0.1:9092"]
    ///     check.location = "berlin-1"
    ///     [[site]]
    ///     name = "shop"
    ///     url = "https://shop.example/"
    ///     schedule = "*/30 * * * * *"
    ///     "#,
    ///     Role::Check,
    /// )?;
    /// assert_eq!(config.sites[0].key, "shop");
    /// # Ok::<(), webmon::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_toml(toml: &str, role: Role) -> Result<Config, ConfigError> {
        let figment = Figment::new().merge(Toml::string(toml));
        Config::resolve(&figment, &Environment::default(), "config".to_owned(), Path::new(""), role)
    }

    fn resolve(
        figment: &Figment,
        environment: &Environment,
        origin: String,
        state: &Path,
        role: Role,
    ) -> Result<Config, ConfigError> {
        let data: Map<Profile, Dict> = figment.data().map_err(|error| ConfigError::Syntax {
            path: origin.clone(),
            problem: without_source(&error.kind.to_string()),
        })?;
        let empty = Dict::new();
        let dict = data.get(&Profile::Default).unwrap_or(&empty);
        let context = Context { figment, environment, default_origin: origin, faults: Default::default() };

        let root = Table::root(&context, dict);
        let section = |key| root.section(key, &empty);
        let config = Config {
            kafka: kafka(&section("kafka")),
            postgres: postgres(&section("postgres"), role),
            check: check(&section("check"), state),
            store: store(&section("store")),
            jobs: jobs(&section("jobs")),
            sites: sites::sites(&root, &section("site_defaults"), role),
            maintenance: maintenance::maintenance(&root),
        };
        root.refuse_unknown();

        let faults = context.faults.into_inner().into_found();
        if faults.is_empty() { Ok(config) } else { Err(ConfigError::Faults(faults)) }
    }
}

/// Reads the file whole, once: it may be a pipe.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE {
        return Err(std::io::Error::other(format!("larger than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

/// TOML already read, known to figment by its file.
struct TomlFile<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Provider for TomlFile<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::from("TOML file", self.path)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Toml::string(self.text).data()
    }
}

/// A message of the TOML parser on one line, without its picture of the line at fault:
/// `TOML parse error at line 2, column 5`, lines that begin with `2 |` or `  |`, and what is wrong.
fn without_source(message: &str) -> String {
    let picture = |line: &&str| {
        line.trim_start_matches([' ', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']).starts_with('|')
    };
    let (place, rest) = message.split_once('\n').unwrap_or(("", message));
    let place = place.trim_start_matches("TOML parse error at ");
    let what: Vec<&str> =
        rest.lines().filter(|line| !picture(line)).map(str::trim).filter(|line| !line.is_empty()).collect();
    let what = what.join(", ");
    if place.is_empty() { what } else { format!("{place}: {what}") }
}

fn kafka(table: &Table) -> Kafka {
    let brokers: Vec<String> = match table.list("brokers", 1, 32) {
        Some(items) => items.iter().filter_map(|item| item.parse(broker)).collect(),
        None => {
            if !table.raw().contains_key("brokers") {
                table.missing("brokers", "an array such as [\"127.0.0.1:9092\"]");
            }
            Vec::new()
        }
    };
    let topic = table.get("topic").and_then(|entry| {
        let text = entry.text(249)?;
        // Kafka's own rule (org.apache.kafka.common.internals.Topic).
        let legal = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !legal || text == "." || text == ".." {
            return entry.refuse(format_args!(
                "{} is not a topic: expected letters, digits, \".\", \"_\" or \"-\"",
                quoted(&text)
            ));
        }
        Some(text)
    });
    let client = table.get("client").and_then(|entry| match entry.text(MAX_TEXT)?.as_str() {
        "librdkafka" if cfg!(feature = "librdkafka") => Some(KafkaClient::Librdkafka),
        "kafka-rust" if cfg!(feature = "kafka-rust") => Some(KafkaClient::KafkaRust),
        name @ ("librdkafka" | "kafka-rust") => entry.refuse(format_args!(
            "{name:?} is not built in: expected the other client, or a build with this one"
        )),
        other => {
            entry.refuse(format_args!("{other:?} is unknown: expected \"librdkafka\" or \"kafka-rust\""))
        }
    });
    let default_client =
        if cfg!(feature = "librdkafka") { KafkaClient::Librdkafka } else { KafkaClient::KafkaRust };
    let client = client.unwrap_or(default_client);
    let group = table.text("group", 249).unwrap_or_else(|| "webmon-store".to_owned());
    let group = (group != "off").then_some(group);
    let tls = table.table("tls").map(|table| kafka_tls(&table));
    let sasl = table.table("sasl").and_then(|table| sasl(&table));
    if client == KafkaClient::KafkaRust
        && let Some(entry) = table.get("sasl")
    {
        entry.refuse::<()>("cannot be used with client \"kafka-rust\": expected client = \"librdkafka\"");
    }
    table.refuse_unknown();
    let topic = topic.unwrap_or_else(|| "webmon.check-results.v1".to_owned());
    Kafka { brokers, topic, client, group, tls, sasl }
}

fn kafka_tls(table: &Table) -> KafkaTls {
    let tls =
        KafkaTls { ca: table.file("ca"), certificate: table.file("certificate"), key: table.file("key") };
    certificate_and_key(table, tls.certificate.as_ref(), tls.key.as_ref());
    table.refuse_unknown();
    tls
}

fn certificate_and_key(table: &Table, certificate: Option<&PathBuf>, key: Option<&PathBuf>) {
    match (certificate, key) {
        (Some(_), None) => table.missing("key", "the private key of the certificate"),
        (None, Some(_)) => table.missing("certificate", "the certificate of the key"),
        _ => {}
    }
}

fn sasl(table: &Table) -> Option<Sasl> {
    let mechanism = match table.get("mechanism") {
        None => {
            table.missing("mechanism", "\"SCRAM-SHA-256\", \"SCRAM-SHA-512\" or \"PLAIN\"");
            None
        }
        Some(entry) => entry.text(MAX_TEXT).and_then(|text| match text.as_str() {
            "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => Some(text),
            other => entry.refuse(format_args!(
                "{other:?} is unknown: expected \"SCRAM-SHA-256\", \"SCRAM-SHA-512\" or \"PLAIN\""
            )),
        }),
    };
    let username = match table.get("username") {
        None => {
            table.missing("username", "a text");
            None
        }
        Some(entry) => entry.text(MAX_TEXT),
    };
    let password = match (table.get("password"), password_file(table)) {
        (Some(entry), None) => entry.secret(),
        (None, Some(password)) => password,
        (Some(entry), Some(_)) => entry.refuse("stands beside password_file: expected one of them"),
        (None, None) => {
            table.missing("password", "a text, or password_file");
            None
        }
    };
    table.refuse_unknown();
    Some(Sasl { mechanism: mechanism?, username: username?, password: password? })
}

/// The first line of the file that `password_file` names: none without the key, none within after a fault.
fn password_file(table: &Table) -> Option<Option<Secret>> {
    let entry = table.get("password_file")?;
    let path = table.file("password_file")?;
    Some(match std::fs::read_to_string(&path) {
        Ok(text) => match text.lines().next().filter(|line| !line.is_empty()) {
            Some(line) => Some(Secret::new(line)),
            None => entry
                .refuse(format_args!("{:?} has no password in its first line", path.display().to_string())),
        },
        Err(error) => entry.refuse(format_args!("{:?} cannot be read: {error}", path.display().to_string())),
    })
}

fn broker(text: &str) -> Result<String, String> {
    let well_formed = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(['/', ' ', '@', ','])
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if well_formed {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a broker: expected \"host:port\""))
    }
}

fn postgres(table: &Table, role: Role) -> Postgres {
    let url = table.get("url").and_then(|entry| entry.hidden().text(4_096));
    if url.is_none() && role == Role::Store && !table.raw().contains_key("url") {
        table.missing("url", "\"postgres://user@host:5432/database\"");
    }
    let password = password_file(table).flatten();
    let (ca, certificate, key) = (table.file("ca"), table.file("certificate"), table.file("key"));
    certificate_and_key(table, certificate.as_ref(), key.as_ref());
    table.refuse_unknown();
    Postgres { url: Secret::new(url.unwrap_or_default()), password, ca, certificate, key }
}

fn check(table: &Table, state: &Path) -> Check {
    let check = Check {
        location: table.text("location", MAX_TEXT).unwrap_or_else(|| "default".to_owned()),
        checker: table.text("checker", MAX_TEXT).unwrap_or_else(host_name),
        threads: table.integer("threads", 1, 20_000u32).map_or(512, |n| n as usize),
        queue: table.integer("queue", 1, 1_000_000u32).map_or(2_048, |n| n as usize),
        max_lateness: table.duration("max_lateness", MILLISECOND * 100, HOUR / 2).unwrap_or(SECOND * 5),
        shutdown_grace: table.duration("shutdown_grace", Duration::ZERO, MINUTE * 10).unwrap_or(SECOND * 10),
        outbox: table.integer("outbox", 1_000, 10_000_000u32).map_or(100_000, |n| n as usize),
        backfill: table.duration("backfill", Duration::ZERO, HOUR * 24 * 7).unwrap_or(HOUR),
        sentinels: sentinels(table),
        spool: spool(table, state),
        ca: table.file("ca"),
        deny_addresses: table
            .list("deny_addresses", 0, 256)
            .map(|items| items.iter().filter_map(|item| item.parse(networks)).flatten().collect())
            .unwrap_or_default(),
        user_agent: table
            .get("user_agent")
            .and_then(|entry| {
                let text = entry.text(MAX_TEXT)?;
                let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
                if printable {
                    Some(text)
                } else {
                    entry.refuse(format_args!(
                        "{} is not a header's value: expected printable ASCII",
                        quoted(&text)
                    ))
                }
            })
            .unwrap_or_else(|| concat!("webmon/", env!("CARGO_PKG_VERSION")).to_owned()),
    };
    table.refuse_unknown();
    check
}

fn sentinels(table: &Table) -> Vec<Sentinel> {
    let Some(entry) = table.get("sentinels") else { return Vec::new() };
    let items = table.list("sentinels", 0, MAX_SENTINELS).unwrap_or_default();
    if items.len() == 1 {
        // With one only, its own trouble would hide that of every site.
        return entry
            .refuse(format_args!("has 1 entry: expected none, or 2 to {MAX_SENTINELS}"))
            .unwrap_or_default();
    }
    items.iter().filter_map(|item| item.parse(str::parse)).collect()
}

/// On unless it is `false`: that a result seen is a result kept must not depend on a line that one has to know.
fn spool(check: &Table, state: &Path) -> Option<SpoolSettings> {
    if check.is_off("spool") {
        return None;
    }
    let mut spool = SpoolSettings { dir: state.join("webmon-spool"), max_size: 4 << 30 };
    if check.raw().contains_key("spool") {
        let table = check.table("spool")?;
        spool.dir = table.file("dir").unwrap_or(spool.dir);
        spool.max_size = table.size("max_size", 1 << 20, 16 << 40).unwrap_or(spool.max_size);
        table.refuse_unknown();
    }
    Some(spool)
}

/// What is not public (IANA's special-purpose registries for IPv4 and IPv6, RFC 6890).
const PRIVATE: [&str; 22] = [
    // This host, and no host.
    "127.0.0.0/8",
    "0.0.0.0/8",
    "::1/128",
    "::/128",
    // Private, unique local; the second is where some clouds keep their metadata.
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
    // Link-local, where the other clouds keep theirs.
    "169.254.0.0/16",
    "fe80::/10",
    // Carrier-grade NAT.
    "100.64.0.0/10",
    // Multicast, reserved, broadcast.
    "224.0.0.0/4",
    "240.0.0.0/4",
    "ff00::/8",
    // Protocol assignments, documentation, benchmarks.
    "192.0.0.0/24",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "198.18.0.0/15",
    "2001:db8::/32",
    "2001:2::/48",
    "3fff::/20",
];

fn networks(text: &str) -> Result<Vec<ipnet::IpNet>, String> {
    if text == "private" {
        return Ok(PRIVATE.iter().filter_map(|network| network.parse().ok()).collect());
    }
    let network = text.parse().map_err(|_| {
        format!("{text:?} is not a network: expected one such as \"10.0.0.0/8\", or \"private\"")
    })?;
    Ok(vec![network])
}

fn host_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    if name.is_empty() { "unnamed".to_owned() } else { crate::result::truncated(&name, MAX_TEXT) }
}

fn store(table: &Table) -> Store {
    let store = Store {
        threads: table.integer("threads", 1, 64u32).map_or(1, |n| n as usize),
        lease: table.duration("lease", MILLISECOND * 500, MINUTE * 5).unwrap_or(SECOND * 10),
        batch_records: table.integer("batch_records", 1, 100_000u32).map_or(5_000, |n| n as usize),
        batch_bytes: table.size("batch_bytes", 64 << 10, 256 << 20).map_or(8 << 20, |n| n as usize),
        linger: table.duration("linger", Duration::ZERO, SECOND * 5).unwrap_or(MILLISECOND * 50),
        max_ahead: table.duration("max_ahead", MINUTE, DAY * 30).unwrap_or(HOUR),
        max_dead_letters: table.integer("max_dead_letters", 1, 1_000_000_000u32).map_or(100_000, i64::from),
        retention: table.table("retention").map_or(RETENTION, |table| retention(&table)),
        retire_after: table.duration("retire_after", HOUR, DAY * 3_660).unwrap_or(DAY * 7),
    };
    table.refuse_unknown();
    store
}

fn jobs(table: &Table) -> Jobs {
    let jobs = Jobs {
        threads: table.integer("threads", 0, 64u32).map_or(1, |n| n as usize),
        lease: table.duration("lease", MILLISECOND * 500, MINUTE * 5).unwrap_or(SECOND * 30),
        poll: table.duration("poll", MILLISECOND * 10, MINUTE).unwrap_or(SECOND),
        keep: table.duration("keep", MINUTE, DAY * 3_660).unwrap_or(DAY),
        keep_discarded: table.duration("keep_discarded", MINUTE, DAY * 3_660).unwrap_or(DAY * 30),
        compact_ledger: table.duration("compact_ledger", DAY, DAY * 3_660).unwrap_or(DAY * 30),
        partitions_ahead: table.integer("partitions_ahead", 1, 60u32).unwrap_or(7),
    };
    table.refuse_unknown();
    jobs
}

const RETENTION: Retention = Retention {
    results: Duration::from_secs(90 * 86_400),
    hours: Some(Duration::from_secs(2 * 365 * 86_400)),
    days: None,
};

fn retention(table: &Table) -> Retention {
    let age = |key: &'static str, default: Option<Duration>| {
        table.get(key).map_or(Some(default), |entry| entry.age(DAY, DAY * 36_500))
    };
    let results = table.duration("results", DAY, DAY * 3_660);
    let hours = age("hours", RETENTION.hours.max(results));
    let days = age("days", RETENTION.days);
    // What is derived must outlive what it is derived from.
    let forever = |age: Option<Duration>| age.unwrap_or(Duration::MAX);
    let kept = [
        ("results", Some(results.unwrap_or(RETENTION.results))),
        ("hours", hours.map(forever)),
        ("days", days.map(forever)),
    ];
    for [(shorter, short), (longer, long)] in [[kept[0], kept[1]], [kept[1], kept[2]]] {
        if let (Some(short), Some(long)) = (short, long)
            && short > long
        {
            table.fault(format!(
                "{longer} are kept for less time than {shorter}, which they are derived from"
            ));
        }
    }
    table.refuse_unknown();
    Retention {
        results: results.unwrap_or(RETENTION.results),
        hours: hours.unwrap_or(RETENTION.hours),
        days: days.unwrap_or(RETENTION.days),
    }
}
