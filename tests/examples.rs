//! The examples as the programs they are, against sites on loopback; and what an embedder need not build.

#![cfg(feature = "check")]

#[cfg(feature = "store")]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use httpmock::MockServer;
use jiff::Timestamp;
use webmon::record::{CheckResult, ErrorType, Outcome, Record};

/// The examples that a test may run.
const EXAMPLES: &[&str] = match cfg!(feature = "store") {
    true => &["check_once", "embed", "custom_sink", "jobs"],
    false => &["check_once", "embed", "custom_sink"],
};
/// A name that does not exist, and is not asked for.
const NO_SITE: &str = "http://no-such-site.invalid/";

/// The folder of the examples, built. `cargo test` has built them already, `cargo test --test examples` has not.
fn examples() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "--offline", "--manifest-path"]);
        build.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).arg("--no-default-features");
        // What this test was built with: nothing is built twice.
        for (feature, on) in [
            ("default", cfg!(feature = "default")),
            ("check", cfg!(feature = "check")),
            ("store", cfg!(feature = "store")),
            ("alerts", cfg!(feature = "alerts")),
            ("librdkafka", cfg!(feature = "librdkafka")),
            ("kafka-rust", cfg!(feature = "kafka-rust")),
            ("cli", cfg!(feature = "cli")),
        ] {
            build.args(on.then_some(["--features", feature]).into_iter().flatten());
        }
        build.args((!cfg!(debug_assertions)).then_some("--release"));
        build.args(EXAMPLES.iter().flat_map(|example| ["--example", example]));
        // This program is <target>/<profile>/deps/examples-<hash>.
        let profile = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
        build.env("CARGO_TARGET_DIR", profile.parent().unwrap());
        // What cargo tells this test about its package would make build scripts run anew that look at it.
        let told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(told)) {
            build.env_remove(name);
        }
        assert!(build.status().unwrap().success(), "{build:?}");
        profile.join("examples")
    })
}

/// Runs an example: exit code, lines of stdout, stderr.
fn run(example: &str, arguments: &[&str]) -> (Option<i32>, Vec<String>, String) {
    assert!(EXAMPLES.contains(&example));
    let mut command = Command::new(examples().join(example));
    let output = command.args(arguments).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout).lines().map(str::to_owned).collect(), text(output.stderr))
}

fn site() -> MockServer {
    let server = MockServer::start();
    server.mock(|when, then| {
        when.path("/");
        then.status(200).body("the data platform");
    });
    server
}

/// `text` as a whole number of thousandths, as in `1.234 ms`.
fn is_millis(text: &str) -> bool {
    text.strip_suffix(" ms").and_then(|number| number.split_once('.')).is_some_and(|(whole, rest)| {
        whole.parse::<u32>().is_ok() && rest.len() == 3 && rest.parse::<u32>().is_ok()
    })
}

#[test]
fn check_once_prints_what_a_check_came_to_with_its_phases() {
    let server = site();
    let (code, lines, errors) = run("check_once", &[&server.url("/")]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{lines:?}");
    let fields: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, rest)| (name, rest.trim()))
        .collect();
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["success", "status", "dns", "connect", "tls", "ttfb", "download", "total"]);
    assert_eq!((fields[0].1, fields[1].1), (server.url("/").as_str(), "200"));
    // Neither a name to look up nor TLS.
    assert_eq!((fields[2].1, fields[4].1), ("-", "-"));
    for index in [3, 5, 6, 7] {
        assert!(is_millis(fields[index].1), "{lines:?}");
    }
}

#[test]
fn check_once_says_why_a_site_is_not_as_expected() {
    let server = site();
    for (url, expected) in [
        (server.url("/missing").as_str(), "expectation_failed, status: status 404: expected 200-299"),
        (NO_SITE, "dns_error, nxdomain: the name does not exist"),
    ] {
        let (code, lines, errors) = run("check_once", &[url]);
        assert_eq!((code, errors.as_str()), (Some(1), ""), "{lines:?}");
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["failure", url]);
        assert_eq!(lines[1].strip_prefix("why").unwrap().trim(), expected);
    }
    let (code, lines, errors) = run("check_once", &[]);
    assert_eq!((code, lines.len()), (Some(1), 0));
    assert!(errors.contains("usage: check_once URL"), "{errors}");
}

#[test]
fn embed_hands_every_result_to_the_closure_and_ends_by_itself() {
    let server = site();
    let (code, lines, errors) = run("embed", &["--seconds", "3", &server.url("/"), NO_SITE]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{lines:?}");
    let (last, results) = lines.split_last().unwrap();
    assert_eq!(last, &format!("{} results", results.len()));
    // One of each site for each second that began meanwhile.
    let seen: BTreeSet<(Timestamp, bool)> = results
        .iter()
        .map(|line| {
            let [at, outcome, status, micros, "us", url] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            micros.parse::<u32>().unwrap();
            let up = url == server.url("/");
            assert_eq!((outcome, status), if up { ("success", "200") } else { ("failure", "-") }, "{line}");
            (at.parse().unwrap(), up)
        })
        .collect();
    assert_eq!(seen.len(), results.len(), "an instant came twice: {lines:?}");
    let instants: BTreeSet<Timestamp> = seen.iter().map(|(at, _)| *at).collect();
    assert_eq!(seen.len(), 2 * instants.len(), "{lines:?}");
    let (first, last) = (instants.first().unwrap(), instants.last().unwrap());
    assert_eq!(last.as_second() - first.as_second() + 1, instants.len() as i64, "a second is missing");
    // A busy machine makes it run for longer, and so see more.
    assert!(instants.len() >= 3, "{lines:?}");
}

#[test]
fn custom_sink_writes_each_instant_once_and_unbroken() {
    let server = site();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("results.jsonl");
    let (code, lines, errors) =
        run("custom_sink", &[file.to_str().unwrap(), "3", &server.url("/"), &server.url("/missing")]);
    assert_eq!((code, lines.len(), errors.as_str()), (Some(0), 0, ""));
    let written = std::fs::read_to_string(&file).unwrap();
    let results: Vec<CheckResult> = written
        .lines()
        .map(|line| match Record::decode(line.as_bytes()).unwrap() {
            Record::Result(result) => *result,
            Record::Gap(gap) => panic!("{gap:?}"),
        })
        .collect();
    for (path, outcome, error) in
        [("/", Outcome::Success, None), ("/missing", Outcome::Failure, Some(ErrorType::ExpectationFailed))]
    {
        let mut chain: Vec<_> = results.iter().filter(|result| result.site == server.url(path)).collect();
        chain.sort_by_key(|result| result.scheduled_at);
        assert!(chain.len() >= 3, "{written}");
        assert!(chain.windows(2).all(|pair| pair[0].next_at == Some(pair[1].scheduled_at)), "{written}");
        assert!(chain.iter().all(|result| (result.outcome, result.error_type) == (outcome, error)));
    }
}

#[test]
fn custom_sink_says_what_a_full_disk_did_not_take() {
    let server = site();
    let (code, _, errors) = run("custom_sink", &["/dev/full", "2", &server.url("/")]);
    assert_eq!(code, Some(1));
    assert!(errors.contains(" results were not written"), "{errors}");
}

#[cfg(feature = "store")]
#[test]
fn jobs_writes_each_report_once_though_one_fails_at_first() {
    let Some(database) = support::empty_database() else { return };
    for round in 1..=2 {
        let (code, lines, errors) = run("jobs", &[&database.url]);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{lines:?}");
        // Two of the same key are one.
        assert_eq!(lines, ["blog", "flaky", "shop"].map(|site| format!("{site} {round}")));
    }
    let attempts = "SELECT sum(attempt)::bigint FROM webmon.jobs WHERE kind = 'write_report'";
    assert_eq!(database.number(attempts), 2 * (1 + 2 + 1));
    let (code, _, errors) = run("jobs", &[]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("usage: jobs DATABASE_URL"), "{errors}");
}

/// The names of the packages that a build with only these features takes in, on this platform.
fn packages(features: &str) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args([
        "tree",
        "--locked",
        "--offline",
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    tree.args([
        "--no-default-features",
        "--features",
        features,
        "--edges",
        "normal,build",
        "--prefix",
        "none",
    ]);
    let output = tree.output().unwrap();
    assert!(output.status.success(), "{tree:?}: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn an_embedder_builds_only_what_its_features_need() {
    const KAFKA: &[&str] = &["rdkafka", "rdkafka-sys", "kafka"];
    const POSTGRES: &[&str] = &["postgres", "tokio-postgres", "postgres-native-tls", "native-tls"];
    const OPENSSL: &[&str] = &["openssl", "openssl-sys"];
    const CHECKS: &[&str] = &["ureq", "rustls", "hickory-resolver"];
    const PROGRAMS: &[&str] = &["clap", "anyhow", "fern", "signal-hook"];
    for (features, expected, unwanted) in [
        ("", "croner", [KAFKA, POSTGRES, OPENSSL, CHECKS, PROGRAMS, &["tokio"]].concat()),
        ("schedule", "tokio-cron-scheduler", [KAFKA, POSTGRES, OPENSSL, CHECKS, PROGRAMS].concat()),
        ("check", "ureq", [KAFKA, POSTGRES, OPENSSL, PROGRAMS].concat()),
        ("store", "postgres", [KAFKA, CHECKS, PROGRAMS, &["lettre", "minijinja"]].concat()),
        // It tells receivers by ureq, but over native-tls.
        ("alerts", "lettre", [KAFKA, &["rustls", "hickory-resolver"], PROGRAMS].concat()),
        ("librdkafka", "rdkafka", [POSTGRES, CHECKS, PROGRAMS].concat()),
        ("kafka-rust", "kafka", [POSTGRES, CHECKS, PROGRAMS, &["rdkafka"]].concat()),
    ] {
        let packages = packages(features);
        assert!(packages.contains(expected), "{features:?} lacks {expected}: the test is blind");
        let taken: Vec<_> = unwanted.iter().filter(|package| packages.contains(**package)).collect();
        assert!(taken.is_empty(), "{features:?} takes in {taken:?}");
    }
}
