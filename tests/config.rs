//! The configuration: a file that is wrong is told so exactly, one that is right is understood, and no secret is told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use proptest::prelude::*;
use webmon::config::{
    Channel, Config, ConfigError, Fault, MAX_SITES, PageAuth, Role, Secret, Show, SigningKey, SmtpSecurity,
    Web,
};
use webmon::site::{Method, Origin, Slo};
use webmon::text::{parse_duration, show_duration};

const MINIMAL: &str = r#"
kafka.brokers = ["127.0.0.1:9092"]
postgres.url = "postgres://127.0.0.1/webmon"
[[site]]
name = "shop"
url = "https://shop.example/"
schedule = "@every 1m"
"#;

fn no_environment() -> [(String, String); 0] {
    []
}

fn environment(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads `toml` from a file, with an environment.
fn load(toml: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    std::fs::write(&path, toml).unwrap();
    Config::load_with(&path, environment(variables), Role::Check)
}

#[track_caller]
fn faults(outcome: Result<Config, ConfigError>) -> Vec<Fault> {
    match outcome {
        Err(ConfigError::Faults(faults)) => faults,
        other => panic!("no faults: {other:?}"),
    }
}

/// The messages of the faults that `variables` add to a configuration without any.
#[track_caller]
fn environment_faults(variables: &[(&str, &str)]) -> Vec<String> {
    faults(load(MINIMAL, variables)).iter().map(Fault::to_string).collect()
}

// ---- Files that are wrong: each has its exact message beside it.

fn role_of(path: &Path) -> Role {
    match path.file_name().unwrap().to_string_lossy() {
        name if name.starts_with("invalid-store-") => Role::Store,
        name if name.starts_with("invalid-page-") => Role::Page,
        _ => Role::Check,
    }
}

fn invalid_files() -> Vec<PathBuf> {
    // Relative to the package, where cargo runs tests: messages name the file as it was given.
    let mut paths: Vec<PathBuf> = std::fs::read_dir("tests/config")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_fault_has_its_exact_message() {
    let now = regex::Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").unwrap();
    let bless = std::env::var("WEBMON_BLESS").is_ok_and(|bless| bless == "1");
    let mut wrong = Vec::new();
    for path in invalid_files() {
        let error = Config::load_with(&path, no_environment(), role_of(&path))
            .expect_err(&format!("{} is valid", path.display()));
        let message = format!("{}\n", now.replace_all(&error.to_string(), "<now>"));
        let golden = path.with_extension("txt");
        if bless {
            std::fs::write(&golden, &message).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if message != expected {
            wrong.push(format!("{}:\n  {message}expected\n  {expected}", path.display()));
        }
    }
    assert!(invalid_files().len() > 80);
    assert!(wrong.is_empty(), "WEBMON_BLESS=1 writes what is right now:\n{}", wrong.join("\n"));
}

#[test]
fn a_fault_is_one_line_with_its_origin_and_without_secrets() {
    for path in invalid_files() {
        let error = Config::load_with(&path, no_environment(), role_of(&path)).unwrap_err();
        // A key may have the word in its name.
        let shown = format!("{error} {error:?}");
        let shown = shown.replace("secrets", "").replace("secret_files", "").replace("signing secret", "");
        let shown = shown.replace("-secret", "");
        assert!(!shown.contains("secret") && !shown.contains("12345678"), "{shown}");
        for line in error.to_string().lines() {
            assert!(line.starts_with(&path.display().to_string()), "{line}");
            assert!(!line.contains("  ") && !line.ends_with(['.', ' ']), "{line}");
            assert!(line.len() < 700, "{line}");
        }
        let expected = if path.ends_with("invalid-eight.toml") { 8 } else { 1 };
        assert_eq!(error.to_string().lines().count(), expected, "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_no_empty_configuration() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("absent.toml"), directory.path().to_owned()] {
        let error = Config::load_with(&path, no_environment(), Role::Check).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read the configuration {}", path.display()));
        let source = std::error::Error::source(&error).unwrap().to_string();
        let expected = if path.is_dir() { "Is a directory" } else { "No such file" };
        assert!(source.starts_with(expected), "{source}");
    }
    let empty = faults(load("", &[]));
    assert_eq!(empty.len(), 2, "{empty:?}");
}

#[test]
fn a_file_without_end_is_not_read_to_its_end() {
    let error = Config::load_with(Path::new("/dev/zero"), no_environment(), Role::Check).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
}

#[test]
fn a_configuration_may_come_through_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let writer = {
        let path = path.clone();
        std::thread::spawn(move || std::fs::write(path, MINIMAL))
    };
    let config = Config::load_with(&path, no_environment(), Role::Check).unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(config.sites.len(), 1);
}

/// Ten times as many take about ten times as long, and not a hundred times.
#[test]
fn many_faulty_sites_are_reported_in_time_that_grows_with_their_number() {
    let time = |sites: usize| {
        let text: String = (0..sites)
            .map(|i| {
                format!(
                    "[[site]]\nname = \"s{i}\"\nurl = \"ftp://s{i}.example/\"\nschedule = \"@every 1m\"\n"
                )
            })
            .collect();
        let started = Instant::now();
        let found = faults(load(&format!("kafka.brokers = [\"h:1\"]\n{text}"), &[]));
        assert_eq!(found.len(), sites);
        started.elapsed()
    };
    // The best of some: the machine has other work.
    let few = (0..5).map(|_| time(3_000)).min().unwrap();
    let many = (0..2).map(|_| time(30_000)).min().unwrap();
    assert!(many < few * 50, "3,000 sites: {few:?}, 30,000: {many:?}");
}

#[test]
fn too_many_sites_are_refused() {
    let sites = "[[site]]\n".repeat(MAX_SITES + 1);
    let found = faults(load(&format!("kafka.brokers = [\"h:1\"]\n{sites}"), &[]));
    assert_eq!(found.len(), 1);
    let message = found[0].to_string();
    assert!(message.ends_with("/config.toml: there are 200001 sites: expected at most 200000"), "{message}");
}

// ---- Files that are right.

#[test]
fn what_the_file_says_is_what_is_done() {
    let config = load(
        r#"
        kafka = { brokers = ["a:1", "[::1]:2"], topic = "t.1_2-3" }
        [check]
        location = "berlin-1"
        checker = "c"
        threads = 20_000
        queue = 1
        max_lateness = "100ms"
        shutdown_grace = "0s"
        outbox = 1_000
        ca = "ca/extra.pem"
        deny_addresses = ["10.0.0.0/8", "fd00::/8", "private"]
        user_agent = "probe"
        [site_defaults]
        schedule = "0 */5 * * * *"
        timezone = "Europe/Berlin"
        labels = { team = "web" }
        expect = { status = ["200"], body = "a" }
        [[site]]
        name = "inherits"
        url = "http://one.example:8080/path?x=1#y"
        [[site]]
        name = "overrides"
        id = "two"
        url = "https://two.example"
        schedule = "@every 90s"
        timezone = "UTC"
        method = "HEAD"
        timeout = "1s500ms"
        retries = 5
        retry_pause = "0s"
        max_redirects = 0
        max_body = "1.5KiB"
        labels = { tier = "1" }
        headers = { Authorization = "Bearer x" }
        expect = { header = { Content-Type = "html" }, max_time = "2s", certificate = "14d" }
        keep_query = true
        sample = true
        "#,
        &[],
    )
    .unwrap();
    assert_eq!(config.kafka.brokers, ["a:1", "[::1]:2"]);
    assert_eq!((config.check.threads, config.check.queue, config.check.outbox), (20_000, 1, 1_000));
    assert_eq!(config.check.deny_addresses.len(), 2 + 22);
    let [one, two] = &config.sites[..] else { panic!("{:?}", config.sites) };
    assert_eq!((one.key.as_str(), one.schedule.expression()), ("inherits", "0 */5 * * * *"));
    assert_eq!((one.labels["team"].as_str(), one.expect.status.len()), ("web", 1));
    assert_eq!((two.key.as_str(), two.name.as_str(), two.method.clone()), ("two", "overrides", Method::Head));
    assert_eq!((two.timeout, two.max_body, two.retries), (Duration::from_millis(1_500), 1_536, 5));
    // A table of the site's own replaces that of the defaults whole.
    assert_eq!(two.labels, [("tier".to_owned(), "1".to_owned())].into());
    assert!(two.expect.body.is_empty() && two.expect.status[0].contains(204));
    assert_eq!(two.expect.headers[0].0, "content-type");
    assert!(two.keep_query && two.sample);
}

#[test]
fn a_relative_path_starts_at_the_file_that_states_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    std::fs::write(
        &path,
        format!("check.ca = \"ca.pem\"\npostgres.ca = \"/etc/ca.pem\"\n{MINIMAL}")
            .replace("postgres.url", "#"),
    )
    .unwrap();
    let config = Config::load_with(&path, no_environment(), Role::Check).unwrap();
    assert_eq!(config.check.ca, Some(directory.path().join("ca.pem")));
    assert_eq!(config.postgres.ca, Some("/etc/ca.pem".into()));
    // One from the environment starts where the program does.
    let variables = environment(&[("WEBMON_CHECK__CA", "ca.pem")]);
    let config = Config::load_with(&path, variables, Role::Check).unwrap();
    assert_eq!(config.check.ca, Some("ca.pem".into()));
}

#[test]
fn a_site_may_take_all_but_the_time_to_its_next_instant() {
    let site = |more: &str| {
        format!(
            "kafka.brokers = [\"h:1\"]\n[[site]]\nname = \"s\"\nurl = \"http://s/\"\nschedule = \"@every 30s\"\n{more}"
        )
    };
    assert!(load(&site("timeout = \"29999ms\""), &[]).is_ok());
    assert!(load(&site("timeout = \"14499ms\"\nretries = 1"), &[]).is_ok());
    for more in ["timeout = \"30s\"", "timeout = \"14500ms\"\nretries = 1"] {
        let fault = faults(load(&site(more), &[])).remove(0);
        assert!(fault.problem.starts_with("may take 30s "), "{fault}");
        assert!(fault.problem.contains("\"@every 30s\" has instants 30s apart"), "{fault}");
    }
}

#[test]
fn bounds_hold_at_their_edges() {
    for (key, lowest, too_low, highest, too_high) in [
        ("check.threads", "1", "0", "20000", "20001"),
        ("check.queue", "1", "0", "1000000", "1000001"),
        ("check.outbox", "1000", "999", "10000000", "10000001"),
        ("check.max_lateness", "100ms", "99ms", "30m", "30m1ms"),
        ("check.shutdown_grace", "0s", "-1ms", "10m", "10m1ms"),
        ("store.threads", "1", "0", "64", "65"),
        ("store.lease", "500ms", "499ms", "5m", "5m1ms"),
        ("store.batch_records", "1", "0", "100000", "100001"),
        ("store.batch_bytes", "64KiB", "65535", "256MiB", "268435457"),
        ("store.max_ahead", "1m", "59s", "30d", "30d1ms"),
        ("store.retention.hours", "90d", "23h", "36500d", "36500d1ms"),
        ("store.retention.days", "2y", "23h", "100y", "101y"),
        ("store.retire_after", "1h", "59m", "3660d", "3660d1ms"),
        ("jobs.threads", "0", "-1", "64", "65"),
        ("jobs.lease", "500ms", "499ms", "5m", "5m1ms"),
        ("jobs.poll", "10ms", "9ms", "1m", "1m1ms"),
        ("jobs.keep", "1m", "59s", "3660d", "3660d1ms"),
        ("jobs.keep_discarded", "1m", "59s", "3660d", "3660d1ms"),
        ("jobs.compact_ledger", "1d", "23h", "3660d", "3660d1ms"),
        ("jobs.partitions_ahead", "1", "0", "60", "61"),
        ("site_defaults.timeout", "1ms", "999us", "10m", "10m1ms"),
        ("site_defaults.retries", "0", "-1", "5", "6"),
        ("site_defaults.retry_pause", "0s", "-1ms", "1m", "1m1ms"),
        ("site_defaults.max_redirects", "0", "-1", "20", "21"),
        ("site_defaults.max_body", "0", "-1", "64MiB", "67108865"),
        ("site_defaults.incident.failures", "1", "0", "100", "101"),
        ("site_defaults.incident.recoveries", "1", "0", "100", "101"),
        ("site_defaults.incident.locations", "1", "0", "100", "101"),
        ("site_defaults.incident.locations", "1%", "0%", "100%", "101%"),
        ("site_defaults.incident.min_voters", "1", "0", "100", "101"),
        ("site_defaults.slo.uptime", "0.0001", "0.00001", "99.9999", "100"),
        ("site_defaults.expect.max_time", "1ms", "0ms", "10m", "10m1ms"),
        ("site_defaults.expect.certificate", "0s", "-1ms", "3650d", "3650d1ms"),
    ] {
        let name = format!("WEBMON_{}", key.replace('.', "__").to_uppercase());
        // Rare enough for the longest of budgets.
        let toml = MINIMAL.replace("@every 1m", "@every 366d");
        for value in [lowest, highest] {
            assert!(load(&toml, &[(&name, value)]).is_ok(), "{key} = {value}");
        }
        for value in [too_low, too_high] {
            let faults = faults(load(&toml, &[(&name, value)]));
            assert_eq!(
                (faults.len(), &faults[0].origin, faults[0].path.as_str()),
                (1, &name, key),
                "{faults:?}"
            );
            assert!(faults[0].problem.contains("expected "), "{faults:?}");
        }
    }
}

#[test]
fn every_role_needs_only_its_own() {
    let store = "kafka.brokers = [\"h:1\"]\npostgres.url = \"postgres://h/d\"\n";
    assert!(Config::from_toml(store, Role::Store).is_ok());
    assert_eq!(faults(Config::from_toml(store, Role::Check))[0].path, "site");
    let check = MINIMAL.replace("postgres.url", "#");
    assert!(Config::from_toml(&check, Role::Check).is_ok());
    assert_eq!(faults(Config::from_toml(&check, Role::Store))[0].path, "postgres.url");
}

// ---- The example.

const EXAMPLE: &str = include_str!("../config.toml.example");

/// The keys that each section may have, as the message about an unknown one lists them.
fn known_keys() -> BTreeMap<&'static str, Vec<String>> {
    let mut known = BTreeMap::new();
    for (section, toml) in [
        ("", "zzz = 1"),
        ("kafka", "kafka.zzz = 1"),
        ("postgres", "postgres.zzz = 1"),
        ("check", "check.zzz = 1"),
        ("store", "store.zzz = 1"),
        ("jobs", "jobs.zzz = 1"),
        ("web", "web.zzz = 1"),
        ("site_defaults", "site_defaults.zzz = 1"),
        ("site", "[[site]]\nzzz = 1"),
        ("site.expect", "[[site]]\nexpect.zzz = 1"),
    ] {
        let role = if section == "web" { Role::Page } else { Role::Check };
        let faults = faults(Config::from_toml(toml, role));
        let fault = faults.iter().find(|fault| fault.path.ends_with("zzz")).unwrap();
        let keys = fault.problem.strip_prefix("is unknown: expected one of ").unwrap();
        known.insert(section, keys.split(", ").map(str::to_owned).collect());
    }
    known
}

/// The settings of the example, also those commented out: section, key, number of the line.
fn example_settings() -> Vec<(String, String, usize)> {
    let mut section = String::new();
    let mut settings = Vec::new();
    for (number, line) in EXAMPLE.lines().enumerate() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, _)) = line.trim_start_matches('#').split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            settings.push((section.clone(), key.to_owned(), number));
        }
    }
    settings
}

/// The example with the settings uncommented that `chosen` chooses by the number of their lines.
fn example_with(chosen: impl Fn(usize) -> bool) -> String {
    let lines: Vec<&str> = EXAMPLE
        .lines()
        .enumerate()
        .map(|(number, line)| if chosen(number) { line.trim_start_matches('#') } else { line })
        .collect();
    lines.join("\n")
}

#[test]
fn the_example_serves_all_programs_as_it_is() {
    for role in [Role::Check, Role::Store, Role::Page] {
        let config = Config::load_with(Path::new("config.toml.example"), no_environment(), role).unwrap();
        assert_eq!((config.sites.len(), config.sites[0].key.as_str()), (1, "Shop"));
    }
}

#[test]
fn the_example_shows_every_key_and_no_other() {
    let settings = example_settings();
    for (section, keys) in known_keys() {
        for key in &keys {
            let table = section.is_empty()
                && (settings.iter().any(|(named, ..)| named == key)
                    || EXAMPLE.contains(&format!("[[{key}]]"))
                    || EXAMPLE.contains(&format!("   [{key}]"))
                    || EXAMPLE.contains(&format!("[{key}.")))
                || settings.iter().any(|(named, ..)| *named == format!("{section}.{key}"));
            // What a site may have too is explained once, with the defaults.
            let inherited = section == "site" && known_keys()["site_defaults"].contains(key);
            let shown = settings.iter().any(|(named, shown, _)| named == section && shown == key);
            assert!(shown || table || inherited, "config.toml.example lacks {key} of [{section}]");
        }
        for (_, shown, _) in settings.iter().filter(|(named, ..)| named == section) {
            assert!(keys.contains(shown), "{shown} is no key of [{section}]");
        }
    }
}

/// Keys that name a file, or stand only with or without others.
const NOT_ALONE: [&str; 5] = ["password_file", "body", "body_file", "json", "content_type"];

#[test]
fn what_the_example_comments_out_is_valid_and_the_default() {
    let load =
        |toml: &str| Config::from_toml(toml, Role::Check).unwrap_or_else(|error| panic!("{error}\n{toml}"));
    load(
        &example_with(|_| true)
            .lines()
            .filter(|line| !line.starts_with(' '))
            .filter(|line| !NOT_ALONE.iter().any(|key| line.starts_with(&format!("{key} = "))))
            .collect::<Vec<_>>()
            .join("\n"),
    );
    // Only webmon-page reads what is in [web].
    let shown = |section: &str, toml: &str| match section {
        "web" => {
            format!("{:?}", Config::from_toml(toml, Role::Page).unwrap_or_else(|error| panic!("{error}")))
        }
        _ => format!("{:?}", load(toml)),
    };
    let mut without_default = Vec::new();
    for (section, key, number) in example_settings() {
        if NOT_ALONE.contains(&key.as_str()) && section != "site.expect" {
            without_default.push(format!("{section}.{key}"));
            continue;
        }
        // A certificate is nothing without its key.
        let pair = match key.as_str() {
            "certificate" => [number, number + 1],
            "key" => [number - 1, number],
            _ => [number, number],
        };
        let chosen = |n: usize| if section == "postgres" { pair.contains(&n) } else { n == number };
        if shown(&section, &example_with(chosen)) != shown(&section, EXAMPLE) {
            without_default.push(format!("{section}.{key}"));
        }
    }
    let examples = [
        "kafka.tls",
        "kafka.sasl",
        "postgres.ca",
        "postgres.password_file",
        "postgres.certificate",
        "postgres.key",
        "check.checker",
        "check.ca",
        "check.user_agent",
        "site_defaults.degraded",
        "site_defaults.body",
        "site_defaults.body_file",
        "site_defaults.json",
        "site_defaults.content_type",
        "site_defaults.host",
        "site_defaults.auth",
        "site_defaults.tls",
        "site_defaults.source",
        "site_defaults.resolve",
        "site.id",
        "site.expect.body",
        "site.expect.not_body",
        "site.expect.header",
        "site.expect.not_header",
        "site.expect.json",
        "site.expect.tls",
        "site.expect.final_url",
        "site.expect.max_time",
        "site.expect.certificate",
    ];
    assert_eq!(without_default, examples);
    // And the text above each of them says so.
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    for (section, key, number) in example_settings() {
        if examples.contains(&format!("{section}.{key}").as_str()) {
            let block: Vec<&str> =
                lines[..number].iter().rev().take_while(|line| !line.is_empty()).copied().collect();
            assert!(block.iter().any(|line| line.contains("xample")), "{section}.{key}");
        }
    }
}

#[test]
fn a_site_has_the_target_of_the_defaults_its_own_or_none() {
    let targets = |defaults: &str, site: &str| {
        let toml = format!("{MINIMAL}{site}\n[site_defaults]\n{defaults}\n");
        Config::from_toml(&toml, Role::Check).unwrap_or_else(|error| panic!("{error}\n{toml}")).sites[0].slo
    };
    let slo = |uptime_ppm, window_days| Some(Slo { uptime_ppm, window_days });
    assert_eq!(targets("", ""), None);
    assert_eq!(targets("slo = { uptime = 99.9 }", ""), slo(999_000, 30));
    assert_eq!(targets("slo = { uptime = 99.9 }", "slo = { uptime = 95, window = \"7d\" }"), slo(950_000, 7));
    assert_eq!(targets("slo = { uptime = 99.9 }", "slo = false"), None);
    for (uptime, ppm) in [("0.0001", 1), ("99.9999", 999_999), ("33.3333", 333_333), ("99.95", 999_500)] {
        assert_eq!(targets(&format!("slo = {{ uptime = {uptime}, window = \"90d\" }}"), ""), slo(ppm, 90));
    }
}

#[test]
fn the_discovery_of_the_example_is_valid() {
    let (_, block) = EXAMPLE.split_once("#   [[discover]]").unwrap();
    let toml = format!("{EXAMPLE}\n[[discover]]{}", block.replace("#   ", ""));
    assert_eq!(Config::from_toml(&toml, Role::Check).unwrap().sites.len(), 1);
}

#[test]
fn the_maintenance_of_the_example_is_valid() {
    let (_, block) = EXAMPLE.split_once("#   [[maintenance]]").unwrap();
    let toml = format!("{EXAMPLE}\n[[maintenance]]{}", block.replace("#   ", ""));
    let config = Config::from_toml(&toml, Role::Check).unwrap();
    assert_eq!(config.sites[0].maintenance.len(), 1);
}

#[test]
fn a_record_says_of_many_windows_those_that_are_not_over() {
    let window = |schedule: &str| format!("[[maintenance]]\nschedule = \"{schedule}\"\nduration = \"1h\"\n");
    let over = (0..10).map(|hour| window(&format!("0 0 {hour} 1 1 * 2020"))).collect::<String>();
    let said = |toml: &str| {
        let config = Config::from_toml(toml, Role::Check).unwrap();
        let result = Origin::new("here", "checker").blank(&config.sites[0], Timestamp::UNIX_EPOCH, None);
        result.maintenance.into_iter().map(|window| window.schedule).collect::<Vec<_>>()
    };
    // As long as there are few, their order is that of the file, whatever the time.
    assert_eq!(said(&format!("{MINIMAL}{}", over))[0], "0 0 0 1 1 * 2020");
    let said = said(&format!("{MINIMAL}{over}{}{}", window("0 2 * * *"), window("0 4 * * *")));
    assert_eq!(
        (said.len(), &said[..3]),
        (10, &["0 2 * * *", "0 4 * * *", "0 0 0 1 1 * 2020"].map(str::to_owned)[..])
    );
}

#[test]
fn a_window_is_for_the_sites_that_it_names_and_those_with_all_its_labels() {
    let site = |name: &str, labels: &str| {
        format!(
            "[[site]]\nname = {name:?}\nurl = \"https://shop.example/\"\nschedule = \"@daily\"\nlabels = {{{labels}}}\n"
        )
    };
    let window = |hours: u8, selection: &str| {
        format!("[[maintenance]]\nschedule = \"0 2 * * *\"\nduration = \"{hours}h\"\n{selection}\n")
    };
    let toml = [
        "kafka.brokers = [\"h:1\"]\n".to_owned(),
        site("a", "team = \"x\", tier = \"1\""),
        site("b", "team = \"x\""),
        site("c", ""),
        site("d", "tier = \"1\", team = \"x\""),
        window(1, "sites = [\"c\"]\nlabels = { team = \"x\", tier = \"1\" }"),
        window(2, "labels = { team = \"x\" }"),
        window(3, "sites = [\"b\", \"b\"]\nlabels = { team = \"x\" }"),
        window(4, ""),
    ];
    let config = Config::from_toml(&toml.concat(), Role::Check).unwrap();
    let hours: Vec<Vec<u64>> = config
        .sites
        .iter()
        .map(|site| site.maintenance.iter().map(|windows| windows.duration.as_secs() / 3_600).collect())
        .collect();
    assert_eq!(hours, [vec![1, 2, 3, 4], vec![2, 3, 4], vec![1, 4], vec![1, 2, 3, 4]]);
    assert!(std::sync::Arc::ptr_eq(&config.sites[0].maintenance, &config.sites[3].maintenance));
}

// ---- Receivers and the heartbeat: only webmon-store reads them.

/// The blocks of the example that begin with `header`, uncommented.
fn example_blocks(header: &str) -> Vec<String> {
    let begin = format!("#   {header}");
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| **line == begin).map(|(at, _)| at);
    let block = |at: usize| {
        let block = lines[at..].iter().take_while(|line| line.starts_with("#   "));
        block.map(|line| &line[4..]).collect::<Vec<_>>().join("\n")
    };
    starts.map(block).collect()
}

/// Keys that name files, which are not there, or that stand instead of another one. Each is tried elsewhere.
const INSTEAD: [&str; 7] =
    ["url_file", "secret_files", "body_file", "routing_key_file", "password_file", "ca", "starttls"];

#[test]
fn the_receivers_of_the_example_are_valid_and_show_every_key() {
    let blocks = example_blocks("[[receiver]]");
    assert_eq!(blocks.len(), 5, "one for each type");
    for block in blocks {
        let minimal = "postgres.url = \"postgres://h/d\"\nkafka.brokers = [\"h:1\"]\n";
        let load = |toml: &str| Config::from_toml(&format!("{minimal}\n{toml}"), Role::Store);
        let config = load(&block).unwrap_or_else(|error| panic!("{error}\n{block}"));
        assert_eq!(config.receivers.len(), 1);
        let faults = faults(load(&format!("{block}\nzzz = 1")));
        let known = faults[0].problem.strip_prefix("is unknown: expected one of ").unwrap();
        for key in known.split(", ") {
            let shown = block.lines().any(|line| line.starts_with(&format!("{key} = ")));
            assert!(shown || INSTEAD.contains(&key), "{key} is not shown:\n{block}");
            assert!(shown || EXAMPLE.contains(&format!("{key}:")), "{key} is not explained");
        }
    }
}

#[test]
fn the_heartbeat_of_the_example_is_valid_and_the_default() {
    let block = example_blocks("[heartbeat]").concat();
    let minimal = "postgres.url = \"postgres://h/d\"\nkafka.brokers = [\"h:1\"]\n";
    let load = |toml: &str| Config::from_toml(&format!("{minimal}\n{toml}"), Role::Store).unwrap().heartbeat;
    let url = block.lines().find(|line| line.starts_with("url = ")).unwrap();
    assert_eq!(load(&block), load(&format!("[heartbeat]\n{url}")));
    assert_eq!(load(&block).unwrap().every, Duration::from_secs(60));
    assert_eq!(load(""), None);
    assert_eq!(load("[heartbeat]\nevery = \"30s\""), None);
}

#[test]
fn a_checker_needs_nothing_of_the_receivers() {
    let toml = format!(
        "{MINIMAL}\n[heartbeat]\nurl = \"${{NOT_SET}}\"\n\
         [[receiver]]\nname = \"ops\"\ntype = \"slack\"\nurl_file = \"/absent/file\"\nca = \"${{NOT_SET}}\"\n"
    );
    let config = load(&toml, &[]).unwrap();
    assert!(config.receivers.is_empty() && config.heartbeat.is_none());
    assert_eq!(faults(Config::from_toml(&toml, Role::Store)).len(), 3);
}

#[test]
fn the_secrets_of_receivers_come_from_files_and_variables_and_are_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let secret = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";
    for (name, text) in [
        ("url", "https://hooks.example/secret1?a=secret2\nsecond line"),
        ("key", "secret3"),
        ("password", "secret4"),
        ("signing", secret),
        ("template", "{{ text }} secret5"),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let toml = r#"
        kafka.brokers = ["h:1"]
        postgres.url = "postgres://h/d"
        heartbeat.url = "https://hc.example/${TOKEN}"
        [[receiver]]
        name = "webhook"
        type = "webhook"
        url_file = "url"
        secret_files = ["signing", "signing"]
        headers = { Authorization = "Bearer ${TOKEN}", X-Key = { file = "key" } }
        body_file = "template"
        content_type = "text/plain"
        [[receiver]]
        name = "pagerduty"
        type = "pagerduty"
        routing_key_file = "key"
        [[receiver]]
        name = "alertmanager"
        type = "alertmanager"
        url = "http://127.0.0.1:9093/secret6"
        auth = { bearer = "${TOKEN}" }
        [[receiver]]
        name = "email"
        type = "email"
        server = "smtps://mail.example"
        username = "webmon"
        password_file = "password"
        from = "webmon@example.com"
        to = "ops@example.com"
    "#;
    let path = directory.path().join("config.toml");
    std::fs::write(&path, toml).unwrap();
    let config = Config::load_with(&path, environment(&[("TOKEN", "secret7")]), Role::Store).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains("secret") && !shown.contains("c2Vj"), "{shown}");
    assert!(
        shown.contains("Endpoint(https://hooks.example/***)") && shown.contains("Authorization"),
        "{shown}"
    );
    let Channel::Webhook(webhook) = &config.receivers[0].channel else { panic!("{config:?}") };
    assert_eq!(webhook.url.reveal().as_str(), "https://hooks.example/secret1?a=secret2");
    assert_eq!(webhook.keys, [SigningKey::new(secret).unwrap(), SigningKey::new(secret).unwrap()]);
    let headers: Vec<&str> = webhook.headers.iter().map(|(_, value)| value.reveal()).collect();
    assert_eq!(headers, ["Bearer secret7", "secret3"]);
    let Channel::Email(email) = &config.receivers[3].channel else { panic!("{config:?}") };
    assert_eq!((email.port, email.security), (465, SmtpSecurity::Tls));
    assert_eq!(email.credentials.as_ref().unwrap().1.reveal(), "secret4");
}

#[test]
fn a_mail_server_is_spoken_to_as_safely_as_can_be_unless_told_otherwise() {
    for (server, more, expected) in [
        ("smtp://mail.example", "", ("mail.example", 587, SmtpSecurity::StartTls)),
        (
            "smtp://mail.example:25/",
            "starttls = \"opportunistic\"",
            ("mail.example", 25, SmtpSecurity::Opportunistic),
        ),
        (
            "smtp://127.0.0.1:2525",
            "starttls = \"off\"\nusername = \"a\"\npassword = \"b\"",
            ("127.0.0.1", 2525, SmtpSecurity::Off),
        ),
        ("smtps://[::1]", "", ("::1", 465, SmtpSecurity::Tls)),
    ] {
        let toml = format!(
            "kafka.brokers = [\"h:1\"]\npostgres.url = \"postgres://h/d\"\n[[receiver]]\nname = \"ops\"\n\
             type = \"email\"\nserver = \"{server}\"\nfrom = \"a@example.com\"\nto = [\"Ops <b@example.com>\"]\n{more}\n"
        );
        let config = Config::from_toml(&toml, Role::Store).unwrap();
        let Channel::Email(email) = &config.receivers[0].channel else { panic!("{config:?}") };
        assert_eq!((email.host.as_str(), email.port, email.security), expected);
    }
}

// ---- Pages: only webmon-page reads them.

#[test]
fn the_pages_of_the_example_are_valid_and_show_every_key() {
    let blocks = example_blocks("[[page]]");
    assert_eq!(blocks.len(), 3, "a public one, and one for each way to be known");
    let load = |toml: &str| {
        let toml = format!("postgres.url = \"postgres://h/d\"\n{toml}");
        Config::load_with(&page_folder(&toml).path().join("config.toml"), no_environment(), Role::Page)
    };
    let both = blocks.join("\n");
    let config = load(&both).unwrap_or_else(|error| panic!("{error}\n{both}"));
    assert_eq!(config.pages.len(), 3);
    for (inside, unknown) in
        [("", "zzz = 1"), ("auth", "auth.zzz = 1"), ("auth.basic", "auth.basic = { zzz = 1 }")]
    {
        let faults = faults(load(&format!("[[page]]\n{unknown}")));
        let fault = faults.iter().find(|fault| fault.path.ends_with("zzz")).unwrap();
        for key in fault.problem.strip_prefix("is unknown: expected one of ").unwrap().split(", ") {
            let mut lines = both.lines();
            let shown = lines
                .any(|line| line.starts_with(&format!("{key} = ")) || line.contains(&format!(" {key} = ")));
            assert!(shown || key == "password_file", "{inside} {key} is not shown:\n{both}");
            assert!(EXAMPLE.contains(&format!("{key}:")) || inside == "auth.basic", "{key} is not explained");
        }
    }
}

/// A folder with a configuration and the files that it may name.
fn page_folder(toml: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("config.toml", toml),
        ("logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
        ("page-password", "s3cret\n"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn without_pages_there_is_one_of_all_sites_that_shows_no_more_than_everybody_may_see() {
    let config = Config::from_toml("postgres.url = \"postgres://h/d\"", Role::Page).unwrap();
    let [page] = &config.pages[..] else { panic!("{:?}", config.pages) };
    assert_eq!((page.path.as_str(), page.title.as_str(), page.host.as_deref()), ("/", "Status", None));
    assert!(page.of.is_empty() && page.show.is_empty() && page.auth.is_none());
    assert_eq!(config.web, Web::default());
    assert!(config.web.listen.ip().is_loopback() && config.web.proxies.is_empty());
}

#[test]
fn what_the_file_says_of_pages_is_what_is_done() {
    let folder = page_folder(
        r##"
        postgres.url = "postgres://h/d"
        [web]
        listen = "[::1]:81"
        fresh = "5m"
        connections = 64
        statement_timeout = "1m"
        clients = 10_000
        proxies = ["127.0.0.1", "fd00::/8"]
        [[page]]
        host = "Status.Example"
        title = "Example"
        logo = "logo.svg"
        accent = "#0a6Bcd"
        footer = "Call 110"
        timezone = "Europe/Berlin"
        sites = ["a"]
        labels = { team = "web" }
        group_by = "team"
        names = { a = "Web Shop" }
        show = ["url", "address", "error", "headers", "body"]
        auth.header = "X-Forwarded-User"
        [[page]]
        path = "/a/b/"
        auth.basic = { username = "team", password_file = "page-password" }
        "##,
    );
    let config = Config::load_with(&folder.path().join("config.toml"), no_environment(), Role::Page).unwrap();
    assert_eq!(config.web.listen, "[::1]:81".parse().unwrap());
    assert_eq!((config.web.fresh, config.web.connections), (Duration::from_secs(300), 64));
    assert_eq!((config.web.statement_timeout, config.web.clients), (Duration::from_secs(60), 10_000));
    assert!(config.web.trusts("::ffff:127.0.0.1".parse().unwrap()));
    assert!(
        config.web.trusts("fd12::1".parse().unwrap()) && !config.web.trusts("127.0.0.2".parse().unwrap())
    );
    let [public, inner] = &config.pages[..] else { panic!("{:?}", config.pages) };
    assert_eq!((public.host.as_deref(), public.path.as_str()), (Some("status.example"), "/"));
    assert_eq!(public.logo.as_ref().map(|logo| logo.media_type), Some("image/svg+xml"));
    assert_eq!((public.accent.as_deref(), public.group_by.as_deref()), (Some("#0a6Bcd"), Some("team")));
    assert_eq!(public.timezone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(public.names["a"], "Web Shop");
    assert!(public.of.contains("a", &BTreeMap::new()) && !public.of.contains("b", &BTreeMap::new()));
    assert_eq!(public.show, Show::ALL.into_iter().collect());
    assert_eq!(public.auth, Some(PageAuth::Header("x-forwarded-user".to_owned())));
    assert_eq!(inner.path, "/a/b");
    let password = Secret::new("s3cret");
    assert_eq!(inner.auth, Some(PageAuth::Basic { username: "team".to_owned(), password }));
}

#[test]
fn the_password_of_a_page_comes_from_a_file_or_a_variable_and_is_never_shown() {
    let with = |auth: &str| {
        let folder = page_folder(&format!(
            "postgres.url = \"postgres://h/d\"\n[[page]]\nauth.basic = {{ username = \"team\", {auth} }}\n"
        ));
        let variables = environment(&[("PAGE_PASSWORD", "s3cret")]);
        Config::load_with(&folder.path().join("config.toml"), variables, Role::Page).unwrap()
    };
    for auth in
        ["password = \"s3cret\"", "password_file = \"page-password\"", "password = \"${PAGE_PASSWORD}\""]
    {
        let config = with(auth);
        let Some(PageAuth::Basic { password, .. }) = &config.pages[0].auth else { panic!("{config:?}") };
        assert_eq!(password.reveal(), "s3cret", "{auth}");
        let shown = format!("{config:?} {config:#?}");
        assert!(shown.contains("team") && !shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn the_other_programs_need_nothing_of_the_pages() {
    let toml = format!(
        "{MINIMAL}\n[web]\nlisten = 1\nzzz = 1\n\
         [[page]]\nlogo = \"/absent/logo.svg\"\n\
         auth.basic = {{ username = \"${{NOT_SET}}\", password_file = \"/absent/file\" }}\n"
    );
    for role in [Role::Check, Role::Once, Role::Inspect, Role::Store] {
        let config = Config::from_toml(&toml, role).unwrap_or_else(|error| panic!("{role:?}: {error}"));
        assert_eq!((config.web, config.pages.len()), (Web::default(), 0), "{role:?}");
    }
    assert_eq!(faults(Config::from_toml(&toml, Role::Page)).len(), 5);
    // And it needs nothing of theirs.
    let page =
        "postgres.url = \"postgres://h/d\"\n[[receiver]]\nname = \"ops\"\nurl_file = \"/absent/file\"\n";
    assert!(Config::from_toml(page, Role::Page).is_ok());
}

#[test]
fn a_logo_is_no_larger_than_pages_keep() {
    let folder = page_folder("postgres.url = \"postgres://h/d\"\n[[page]]\nlogo = \"logo.png\"\n");
    let load = |bytes: usize| {
        std::fs::write(folder.path().join("logo.png"), vec![0; bytes]).unwrap();
        Config::load_with(&folder.path().join("config.toml"), no_environment(), Role::Page)
    };
    assert_eq!(load(256 * 1024).unwrap().pages[0].logo.as_ref().unwrap().bytes.len(), 256 * 1024);
    assert_eq!(faults(load(256 * 1024 + 1))[0].problem, "has more than 262144 bytes");
}

#[test]
fn bounds_of_the_pages_hold_at_their_edges() {
    for (key, lowest, too_low, highest, too_high) in [
        ("web.fresh", "1s", "999ms", "5m", "5m1ms"),
        ("web.connections", "1", "0", "64", "65"),
        ("web.statement_timeout", "100ms", "99ms", "1m", "1m1ms"),
        ("web.clients", "1", "0", "10000", "10001"),
    ] {
        let load = |value: &str| {
            let name = format!("WEBMON_{}", key.replace('.', "__").to_uppercase());
            let folder = page_folder("postgres.url = \"postgres://h/d\"\n");
            let variables = environment(&[(&name, value)]);
            Config::load_with(&folder.path().join("config.toml"), variables, Role::Page)
        };
        for value in [lowest, highest] {
            assert!(load(value).is_ok(), "{key} = {value}");
        }
        for value in [too_low, too_high] {
            let faults = faults(load(value));
            assert!(faults.len() == 1 && faults[0].problem.contains("expected "), "{faults:?}");
        }
    }
}

// ---- The environment.

#[test]
fn the_environment_overrides_the_file() {
    let config = load(
        &format!("check.threads = 3\ncheck.location = \"file\"\n{MINIMAL}"),
        &[
            ("WEBMON_KAFKA__BROKERS", "a:1, b:2,[::1]:3"),
            ("WEBMON_CHECK__LOCATION", "007"),
            ("WEBMON_CHECK__CHECKER", "true"),
            ("WEBMON_CHECK__THREADS", " 12 "),
            ("WEBMON_SITE_DEFAULTS__SAMPLE", "true"),
            ("WEBMON_SITE_DEFAULTS__EXPECT__STATUS", "200,3xx"),
            ("WEBMON_STORE__BATCH_BYTES", "1048576"),
            ("WEBMON_KAFKA__TOPIC", "[a]"),
        ][..7],
    )
    .unwrap();
    assert_eq!(config.kafka.brokers, ["a:1", "b:2", "[::1]:3"]);
    assert_eq!((config.check.location.as_str(), config.check.checker.as_str()), ("007", "true"));
    assert_eq!((config.check.threads, config.store.batch_bytes), (12, 1 << 20));
    assert!(config.sites[0].sample);
    assert_eq!(config.sites[0].expect.status.len(), 2);
}

#[test]
fn a_text_from_the_environment_stays_that_text() {
    for text in ["007", "true", "1e3", "[1,2]", "{a=1}", "\"quoted\"", "a,b", " padded ", "2026-01-01"] {
        let config = load(MINIMAL, &[("WEBMON_CHECK__LOCATION", text)]).unwrap();
        assert_eq!(config.check.location, text);
    }
}

#[test]
fn other_variables_are_not_read() {
    let variables = [
        ("WEBMON_CONFIG", "x"),
        ("WEBMON_LOG", "x"),
        ("WEBMON_TEST_KAFKA", "x"),
        ("WEBMON", "x"),
        ("WEBMON_", "x"),
        ("XWEBMON_KAFKA__TOPIC", "x y"),
        ("webmon_kafka__topic", "x y"),
        ("PATH", "/bin"),
        ("", ""),
    ];
    assert!(load(MINIMAL, &variables).is_ok());
}

#[test]
fn a_fault_of_the_environment_names_the_variable() {
    for (name, value, message) in [
        (
            "WEBMON_KAFKA__BROKERS",
            "localhost",
            "kafka.brokers \"localhost\" is not a broker: expected \"host:port\"",
        ),
        ("WEBMON_KAFKA__BROKERS", "", "kafka.brokers \"\" is out of range: expected 1 to 300 bytes"),
        ("WEBMON_CHECK__THREADS", "many", "check.threads \"many\" is not an integer: expected 1 to 20000"),
        ("WEBMON_CHECK__THREADS", "0", "check.threads \"0\" is out of range: expected 1 to 20000"),
        (
            "WEBMON_STORE__LEASE",
            "10",
            "store.lease \"10\" is not a duration: expected one such as \"10s\", 500ms to 5m",
        ),
        (
            "WEBMON_SITE_DEFAULTS__SAMPLE",
            "1",
            "site_defaults.sample \"1\" is not a truth value: expected true or false",
        ),
        (
            "WEBMON_SITE_DEFAULTS__EXPECT__STATUS",
            "2xx,abc",
            "site_defaults.expect.status \"abc\" is not a status: expected \"200\", \"2xx\" or \"200-204\"",
        ),
        (
            "WEBMON_SITE_DEFAULTS__HEADERS__X_TOKEN",
            "secret\n",
            "site_defaults.headers.x_token has a control character",
        ),
        (
            "WEBMON_KAFKA__TOPICS",
            "t",
            "kafka.topics is unknown: expected one of brokers, client, group, sasl, tls, topic",
        ),
        (
            "WEBMON_KAFKA__SSL__CA",
            "ca.pem",
            "kafka.ssl is unknown: expected one of brokers, client, group, sasl, tls, topic",
        ),
        (
            "WEBMON_KAFCA__BROKERS",
            "h:1",
            "kafca is unknown: expected one of alerts, check, discover, heartbeat, include, jobs, kafka, maintenance, page, \
             postgres, receiver, route, site, site_defaults, store, template, web",
        ),
        (
            "WEBMON_Kafka__Topic",
            "a b",
            "kafka.topic \"a b\" is not a topic: expected letters, digits, \".\", \"_\" or \"-\"",
        ),
        ("WEBMON_SITE__0__NAME", "shop", "site (a table) is not an array of tables"),
        ("WEBMON_KAFKA__TOPIC__X", "t", "kafka.topic (a table) is not a text"),
        (
            "WEBMON___X",
            "x",
            "\"\" is unknown: expected one of alerts, check, discover, heartbeat, include, jobs, kafka, maintenance, page, \
             postgres, receiver, route, site, site_defaults, store, template, web",
        ),
    ] {
        assert_eq!(environment_faults(&[(name, value)]), [format!("{name}: {message}")]);
    }
}

#[test]
fn two_variables_for_one_key_are_not_settled_in_silence() {
    let (one, two) = (("WEBMON_KAFKA__TOPIC", "t"), ("WEBMON_KAFKA__TOPIC__X", "t"));
    for variables in [[one, two], [two, one]] {
        let messages = environment_faults(&variables);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].ends_with(": kafka.topic (a table) is not a text"), "{messages:?}");
    }
}

#[cfg(all(feature = "check", feature = "librdkafka", feature = "cli"))]
#[test]
fn a_variable_of_ours_that_is_not_utf_8_is_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    std::fs::write(&path, MINIMAL).unwrap();
    let validate = |name: &str| {
        use std::os::unix::ffi::OsStringExt;
        let bytes = std::ffi::OsString::from_vec(b"s\xffcret".to_vec());
        let program = env!("CARGO_BIN_EXE_webmon-check");
        Command::new(program).arg("--config").arg(&path).arg("validate").env(name, bytes).output().unwrap()
    };
    let output = validate("WEBMON_KAFKA__TOPIC");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("WEBMON_KAFKA__TOPIC: the value is not UTF-8"), "{said}");
    assert!(!said.contains("cret"), "{said}");
    assert_eq!(validate("WEBMON_OTHER").status.code(), Some(0));
}

// ---- Secrets.

#[test]
fn no_secret_is_told_by_debug() {
    let config = load(
        r#"
        kafka.brokers = ["h:1"]
        postgres.url = "postgres://user:secret1@h/d?password=secret2"
        [[site]]
        name = "s"
        url = "https://secret3:secret4@h/path?token=secret5#secret6"
        schedule = "@every 1m"
        headers = { Authorization = "Bearer secret7", X-Api-Key = "secret8" }
        "#,
        &[],
    )
    .unwrap();
    for shown in [format!("{config:?}"), format!("{config:#?}"), format!("{:?}", config.sites[0])] {
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("Authorization") && shown.contains("token=..."), "{shown}");
    }
    assert_eq!(config.postgres.url.reveal(), "postgres://user:secret1@h/d?password=secret2");
    assert_eq!(config.sites[0].headers[0].1, "Bearer secret7");
}

/// Puts `value` where secrets are, in every way that can be wrong.
fn with_secret(value: &str, place: usize) -> String {
    match place {
        0 => format!("postgres.url = {value}\n{}", MINIMAL.replace("postgres.url", "#")),
        1 => MINIMAL.replace("\"https://shop.example/\"", value),
        2 => format!("{MINIMAL}headers.X-Token = {value}\n"),
        _ => format!("site_defaults.headers.Cookie = {value}\n{MINIMAL}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_secret_is_told_by_a_fault(
        before in prop::sample::select(vec![
            "", "\"", "[\"", "{a=\"", "\"https://u:", "\"ftp://u:", "\"\\u0000", "\"\\r", "'", "\"\"\"\n", "5", "[", "\"\\q",
        ]),
        after in prop::sample::select(vec![
            "", "\"", "\"]", "\"}", "@h/\"", "@h:999999/\"", "\n", "'", "\"\"\"", "@[/\"", "\" x",
        ]),
        long in any::<bool>(), place in 0..4usize,
    ) {
        let value = format!("{before}hunter2{}{after}", if long { "x".repeat(5_000) } else { String::new() });
        let toml = with_secret(&value, place);
        match load(&toml, &[]) {
            Ok(config) => prop_assert!(!format!("{config:?}").contains("hunter2"), "{:?}", config),
            Err(error) => {
                let shown = format!("{error} {error:?}");
                prop_assert!(!shown.contains("hunter2"), "{}", shown);
            }
        }
    }

    #[test]
    fn no_file_makes_loading_panic(toml in odd_toml(), variables in odd_environment()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, &toml).unwrap();
        for role in [Role::Check, Role::Store] {
            if let Err(error) = Config::load_with(&path, variables.clone(), role) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn a_duration_shown_is_read_as_the_same(millis in prop_oneof![0..10_000u64, 0..400 * 86_400_000u64]) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
    }

    #[test]
    fn no_text_makes_reading_a_duration_panic(text in "\\PC{0,12}|-?[0-9]{1,25}(ns|us|ms|s|m|h|d|w|mo|y)") {
        if let Some(duration) = parse_duration(&text) {
            show_duration(duration);
        }
    }
}

fn odd_value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:?}")),
        any::<bool>().prop_map(|b| b.to_string()),
        "\\PC{0,10}".prop_map(|text| format!("{text:?}")),
        "[0-9]{1,30}(ms|s|m|h|d|y|KiB|GiB|EB)?".prop_map(|text| format!("{text:?}")),
        prop::sample::select(vec![
            "\"@every 30s\"",
            "\"* * * * *\"",
            "\"https://a/\"",
            "\"2xx\"",
            "\"GET\"",
            "\"h:1\"",
            "1979-05-27",
            "nan",
            "07:32:00",
            "\"\"",
            "\"\\u0000\"",
        ])
        .prop_map(str::to_owned),
    ];
    scalar.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::btree_map(odd_key(), inner, 0..4).prop_map(|pairs| {
                let pairs: Vec<String> =
                    pairs.iter().map(|(key, value)| format!("{key} = {value}")).collect();
                format!("{{{}}}", pairs.join(", "))
            }),
        ]
    })
}

fn odd_key() -> impl Strategy<Value = String> {
    let mut keys: Vec<String> = known_keys().into_values().flatten().collect();
    keys.extend(["\"\"".to_owned(), "\"a b\"".to_owned(), "zzz".to_owned()]);
    prop::sample::select(keys)
}

fn odd_toml() -> impl Strategy<Value = String> {
    let section = prop::sample::select(vec![
        "[kafka]",
        "[postgres]",
        "[check]",
        "[store]",
        "[site_defaults]",
        "[[site]]",
        "[site_defaults.expect]",
        "[zzz]",
        "[site]",
        "",
    ]);
    let table =
        (section, prop::collection::btree_map(odd_key(), odd_value(), 0..6)).prop_map(|(section, pairs)| {
            let lines: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            format!("{section}\n{}\n", lines.join("\n"))
        });
    prop_oneof![
        4 => prop::collection::vec(table, 0..5).prop_map(|tables| tables.concat()),
        1 => "\\PC{0,60}",
        1 => Just("[".repeat(5_000)),
        1 => Just(format!("a = {}", "[".repeat(5_000))),
    ]
}

fn odd_environment() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        "WEBMON_[A-Z]{0,3}(__[A-Z]{0,3}){0,3}",
        (0..8usize, odd_key()).prop_map(|(section, key)| {
            let section = known_keys().into_keys().nth(section).unwrap_or_default();
            format!("WEBMON_{}__{}", section.replace('.', "__").to_uppercase(), key.to_uppercase())
        }),
    ];
    prop::collection::vec((name, prop_oneof!["\\PC{0,12}", odd_value()]), 0..4)
}

#[test]
fn a_pattern_is_compiled_once_for_all_sites_and_reloads() {
    let mut toml = "kafka.brokers = [\"a:1\"]\n[site_defaults]\nschedule = \"@hourly\"\n".to_owned();
    toml.push_str("expect = { body = 'shared by all', header = { server = 'shared by all' } }\n");
    for i in 0..3 {
        toml.push_str(&format!("[[site]]\nname = \"s{i}\"\nurl = \"https://s{i}.example/\"\n"));
    }
    let (first, reloaded) =
        (Config::from_toml(&toml, Role::Check).unwrap(), Config::from_toml(&toml, Role::Check).unwrap());
    let pattern = &first.sites[0].expect.body[0];
    for site in first.sites.iter().chain(&reloaded.sites) {
        assert!(Arc::ptr_eq(pattern, &site.expect.body[0]), "{}", site.key);
        assert!(Arc::ptr_eq(pattern, &site.expect.headers[0].1), "{}", site.key);
    }
}
