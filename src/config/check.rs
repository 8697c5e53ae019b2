//! `[check]`: the checking side.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::table::Table;
use super::units::{HOUR, MILLISECOND, MINUTE, SECOND};
use crate::limits::MAX_TEXT;
use crate::site::{MAX_SENTINELS, Sentinel};
use crate::text::{quoted, truncated};

/// `[check]`: the checking side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Where the checks are made from. It is part of every result's identity.
    pub location: String,
    /// The name of this instance; by default the host's name.
    pub checker: String,
    /// How many checks run at once, each in a thread. 1 to 20,000, default 512.
    pub threads: usize,
    /// How many checks may wait for a thread. Further instants are `missed`/`saturated`. Default 2,048.
    pub queue: usize,
    /// How late a check may start. After that its instant is `missed`/`late`. 100 ms to 30 min, default 5 s.
    pub max_lateness: Duration,
    /// How long running checks may go on after a stop was requested. 0 to 10 min, default 10 s.
    pub shutdown_grace: Duration,
    /// How many results wait in memory while Kafka does not accept them, if there is no `spool`. Each takes about 1 kB.
    /// Default 100,000.
    pub outbox: usize,
    /// Up to which age an instant that no checker saw still becomes a row, `missed`. Older ones are covered by a gap. 0
    /// s to 7 days, default 1 h.
    pub backfill: Duration,
    /// Other hosts that should answer. If none of them does, checks without an answer are `missed`, `network_down`.
    /// None by default, else 2 to 8.
    pub sentinels: Vec<Sentinel>,
    /// Where results wait on disk, so that they survive a restart. Without it they wait in memory. By default the
    /// directory `webmon-spool` in `$STATE_DIRECTORY`, or beside the configuration file if that is not set.
    pub spool: Option<SpoolSettings>,
    /// A file of CA certificates (PEM) to trust in addition to the public ones.
    pub ca: Option<PathBuf>,
    /// Networks that no check may connect to, such as `10.0.0.0/8`.
    pub deny_addresses: Vec<ipnet::IpNet>,
    /// The `User-Agent` of the requests.
    pub user_agent: String,
}

/// `check.spool`: results on disk until Kafka has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Its directory, which only one checker may use. A relative path starts at the folder of the configuration.
    pub dir: PathBuf,
    /// About how much waiting results may take on disk. Beyond that the oldest are dropped, and a gap is recorded for
    /// them. 1 MiB to 16 TiB, default 4 GiB.
    pub max_size: u64,
}

impl Default for Check {
    /// The defaults of the section. Results wait in memory, because only a file implies a directory for the spool.
    fn default() -> Check {
        Check {
            location: "default".to_owned(),
            checker: host_name(),
            threads: 512,
            queue: 2_048,
            max_lateness: SECOND * 5,
            shutdown_grace: SECOND * 10,
            outbox: 100_000,
            backfill: HOUR,
            sentinels: Vec::new(),
            spool: None,
            ca: None,
            deny_addresses: Vec::new(),
            user_agent: concat!("webmon/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

pub(super) fn check(table: &Table, state: &Path) -> Check {
    let default = Check::default();
    let check = Check {
        location: table.text("location", MAX_TEXT).unwrap_or(default.location),
        checker: table.text("checker", MAX_TEXT).unwrap_or(default.checker),
        threads: table.integer("threads", 1, 20_000u32).map_or(default.threads, |n| n as usize),
        queue: table.integer("queue", 1, 1_000_000u32).map_or(default.queue, |n| n as usize),
        max_lateness: table
            .duration("max_lateness", MILLISECOND * 100, HOUR / 2)
            .unwrap_or(default.max_lateness),
        shutdown_grace: table
            .duration("shutdown_grace", Duration::ZERO, MINUTE * 10)
            .unwrap_or(default.shutdown_grace),
        outbox: table.integer("outbox", 1_000, 10_000_000u32).map_or(default.outbox, |n| n as usize),
        backfill: table.duration("backfill", Duration::ZERO, HOUR * 24 * 7).unwrap_or(default.backfill),
        sentinels: sentinels(table),
        spool: spool(table, state),
        ca: table.file("ca"),
        deny_addresses: table
            .list("deny_addresses", 0, 256)
            .map(|items| items.iter().filter_map(|item| item.parse(networks)).flatten().collect())
            .unwrap_or_default(),
        user_agent: user_agent(table).unwrap_or(default.user_agent),
    };
    table.refuse_unknown();
    check
}

fn user_agent(table: &Table) -> Option<String> {
    let entry = table.get("user_agent")?;
    let text = entry.text(MAX_TEXT)?;
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if printable {
        Some(text)
    } else {
        entry.refuse(format_args!("{} is not a header's value: expected printable ASCII", quoted(&text)))
    }
}

fn sentinels(table: &Table) -> Vec<Sentinel> {
    let Some(entry) = table.get("sentinels") else { return Vec::new() };
    let items = table.list("sentinels", 0, MAX_SENTINELS).unwrap_or_default();
    if items.len() == 1 {
        // With only one, its own trouble would hide that of every site.
        return entry
            .refuse(format_args!("has 1 entry: expected none, or 2 to {MAX_SENTINELS}"))
            .unwrap_or_default();
    }
    items.iter().filter_map(|item| item.parse(str::parse)).collect()
}

/// On unless it is `false`: keeping every result must not depend on a setting that one has to know.
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

/// Networks that are not public (IANA's special-purpose registries for IPv4 and IPv6, RFC 6890).
const PRIVATE: [&str; 22] = [
    // This host, and no host.
    "127.0.0.0/8",
    "0.0.0.0/8",
    "::1/128",
    "::/128",
    // Private and unique local. Some clouds have their metadata in the latter.
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
    // Link-local. The other clouds have their metadata here.
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
    if name.is_empty() { "unnamed".to_owned() } else { truncated(&name, MAX_TEXT) }
}
