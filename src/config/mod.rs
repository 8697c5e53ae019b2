//! The configuration: one TOML file for both programs, then the environment (`WEBMON_KAFKA__BROKERS` sets
//! `kafka.brokers`). Values as written are resolved once, here; what comes out is within its ranges. All
//! faults are reported at once.

mod env;
mod reader;
mod sites;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map};
use figment::{Figment, Profile, Provider};

use self::env::Environment;
use self::reader::{Context, Table};
pub use self::reader::{Fault, parse_duration, show_duration};
use crate::result::MAX_TEXT;
use crate::site::Site;

/// The most sites of one configuration.
pub const MAX_SITES: usize = 200_000;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

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
    /// `[[site]]`, each with `[site_defaults]` filled in.
    pub sites: Vec<Arc<Site>>,
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
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `host:port` of at least one broker; more are for when it is down.
    pub brokers: Vec<String>,
    /// The topic of the results. Default: `webmon.check-results.v1`.
    pub topic: String,
}

/// `[postgres]`: where the results are stored.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database?sslmode=…`, or libpq's `key=value` form.
    pub url: Secret,
    /// A file of CA certificates (PEM) for `sslmode=verify-ca` and `verify-full`; the system's by default.
    pub ca: Option<PathBuf>,
}

/// `[check]`: the checking side.
#[derive(Clone, Debug)]
pub struct Check {
    /// Where the checks are made from; part of every result's identity.
    pub location: String,
    /// This instance; the host's name by default.
    pub checker: String,
    /// Checks at once; each is a thread. 1 to 20,000, default 512.
    pub threads: usize,
    /// Checks waiting for a thread, beyond which an instant is `missed`/`saturated`. Default 2,048.
    pub queue: usize,
    /// How late a check may start; beyond, its instant is `missed`/`late`. Default 5 s.
    pub max_lateness: Duration,
    /// How long checks in flight may go on after a stop was asked for. Default 10 s.
    pub shutdown_grace: Duration,
    /// Results held in memory while Kafka does not take them, where there is no `spool`. Default 100,000; about 1 kB each.
    pub outbox: usize,
    /// Where results wait on disk, so that they survive a restart; without it they wait in memory.
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
    /// Records of one transaction at most. Default 5,000.
    pub batch_records: usize,
    /// Bytes of one transaction's records at most. Default 8 MiB.
    pub batch_bytes: usize,
    /// How far `scheduled_at` may lie ahead of the database's clock. Default 1 h.
    pub max_ahead: Duration,
    /// How old `scheduled_at` may be. Default 90 days.
    pub max_age: Duration,
}

/// A text that is never shown: not by `Debug`, not in a log.
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
        /// Line, column and what was expected.
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
        // Names or values that aren't Unicode can't be a setting of ours.
        let variables =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Config::load_with(path, variables, role)
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
        // figment takes an absent file for an empty one.
        std::fs::File::open(path)
            .and_then(|file| {
                if file.metadata()?.is_dir() { Err(std::io::ErrorKind::IsADirectory.into()) } else { Ok(()) }
            })
            .map_err(|source| ConfigError::Unreadable { path: shown.clone(), source })?;
        let figment = Figment::new().merge(Toml::file_exact(path)).merge(Environment::new(variables));
        Config::resolve(&figment, shown, role)
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
        Config::resolve(&Figment::new().merge(Toml::string(toml)), "config".to_owned(), role)
    }

    fn resolve(figment: &Figment, origin: String, role: Role) -> Result<Config, ConfigError> {
        let data: Map<Profile, Dict> = figment
            .data()
            .map_err(|error| ConfigError::Syntax { path: origin.clone(), problem: error.to_string() })?;
        let empty = Dict::new();
        let dict = data.get(&Profile::Default).unwrap_or(&empty);
        let context = Context { figment, default_origin: origin, faults: Default::default() };

        let root = Table::root(&context, dict);
        let section = |key| root.section(key, &empty);
        let config = Config {
            kafka: kafka(&section("kafka")),
            postgres: postgres(&section("postgres"), role),
            check: check(&section("check")),
            store: store(&section("store")),
            sites: sites::sites(&root, &section("site_defaults"), role),
        };
        root.refuse_unknown();

        let faults = context.faults.into_inner();
        if faults.is_empty() { Ok(config) } else { Err(ConfigError::Faults(faults)) }
    }
}

fn kafka(table: &Table) -> Kafka {
    let brokers: Vec<String> = match table.list("brokers", 32) {
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
                "{text:?} is not a topic: expected letters, digits, \".\", \"_\" or \"-\""
            ));
        }
        Some(text)
    });
    table.refuse_unknown();
    Kafka { brokers, topic: topic.unwrap_or_else(|| "webmon.check-results.v1".to_owned()) }
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
    let url = table.get("url").and_then(|entry| entry.text(4_096));
    if url.is_none() && role == Role::Store && !table.raw().contains_key("url") {
        table.missing("url", "\"postgres://user@host:5432/database\"");
    }
    let ca = table.file("ca");
    table.refuse_unknown();
    Postgres { url: Secret::new(url.unwrap_or_default()), ca }
}

fn check(table: &Table) -> Check {
    let check = Check {
        location: table.text("location", MAX_TEXT).unwrap_or_else(|| "default".to_owned()),
        checker: table.text("checker", MAX_TEXT).unwrap_or_else(host_name),
        threads: table.integer("threads", 1, 20_000u32).map_or(512, |n| n as usize),
        queue: table.integer("queue", 1, 1_000_000u32).map_or(2_048, |n| n as usize),
        max_lateness: table.duration("max_lateness", MILLISECOND * 100, HOUR / 2).unwrap_or(SECOND * 5),
        shutdown_grace: table.duration("shutdown_grace", Duration::ZERO, MINUTE * 10).unwrap_or(SECOND * 10),
        outbox: table.integer("outbox", 1_000, 10_000_000u32).map_or(100_000, |n| n as usize),
        spool: table.table("spool").and_then(|table| spool(&table)),
        ca: table.file("ca"),
        deny_addresses: table
            .list("deny_addresses", 256)
            .map(|items| items.iter().filter_map(|item| item.parse(network)).collect())
            .unwrap_or_default(),
        user_agent: table
            .get("user_agent")
            .and_then(|entry| {
                let text = entry.text(MAX_TEXT)?;
                let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
                if printable {
                    Some(text)
                } else {
                    entry.refuse("is not a header's value: expected printable ASCII")
                }
            })
            .unwrap_or_else(|| concat!("webmon/", env!("CARGO_PKG_VERSION")).to_owned()),
    };
    table.refuse_unknown();
    check
}

fn spool(table: &Table) -> Option<SpoolSettings> {
    let dir = table.file("dir");
    if dir.is_none() && !table.raw().contains_key("dir") {
        table.missing("dir", "a directory such as \"spool\"");
    }
    let max_size = table.size("max_size", 1 << 20, 16 << 40).unwrap_or(4 << 30);
    table.refuse_unknown();
    Some(SpoolSettings { dir: dir?, max_size })
}

fn network(text: &str) -> Result<ipnet::IpNet, String> {
    text.parse().map_err(|_| format!("{text:?} is not a network: expected one such as \"10.0.0.0/8\""))
}

fn host_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    if name.is_empty() { "unnamed".to_owned() } else { crate::result::truncated(&name, MAX_TEXT) }
}

fn store(table: &Table) -> Store {
    const DAY: Duration = Duration::from_secs(86_400);
    let store = Store {
        threads: table.integer("threads", 1, 64u32).map_or(1, |n| n as usize),
        lease: table.duration("lease", MILLISECOND * 500, MINUTE * 5).unwrap_or(SECOND * 10),
        batch_records: table.integer("batch_records", 1, 100_000u32).map_or(5_000, |n| n as usize),
        batch_bytes: table.size("batch_bytes", 64 << 10, 256 << 20).map_or(8 << 20, |n| n as usize),
        max_ahead: table.duration("max_ahead", MINUTE, DAY * 30).unwrap_or(HOUR),
        max_age: table.duration("max_age", DAY, DAY * 3_660).unwrap_or(DAY * 90),
    };
    table.refuse_unknown();
    store
}
