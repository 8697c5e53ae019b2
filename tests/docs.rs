//! What README.md and docs/ show works: command lines, SQL and configurations, taken out of the pages themselves.

#![cfg(all(
    feature = "check",
    feature = "alerts",
    feature = "page",
    feature = "librdkafka",
    feature = "cli"
))]

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use webmon::config::{Config, ConfigError, Role};
use webmon::record::{Certificate, Outcome};
use webmon::store::{self, RollUpLimits};

/// A fenced block of a page, without the fence's indentation.
struct Block {
    page: String,
    text: String,
}

/// Every page: README.md, CONTRIBUTING.md and docs/*.md, with its name and text.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)).into();
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    paths.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
    paths.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// The blocks of a page in one of these languages.
fn blocks(page: &str, text: &str, languages: &[&str]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let indentation = line.len() - line.trim_start().len();
        let inside: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
        if languages.contains(&language) {
            let text =
                inside.iter().map(|line| line.get(indentation..).unwrap_or_default()).collect::<Vec<_>>();
            blocks.push(Block { page: page.to_owned(), text: text.join("\n") });
        }
    }
    blocks
}

/// Every block in one of these languages, of all pages.
fn all_blocks(languages: &[&str]) -> Vec<Block> {
    pages().iter().flat_map(|(page, text)| blocks(page, text, languages)).collect()
}

/// The command lines of our programs on a page: lines of shell blocks, and code spans in the text.
fn command_lines(page: &str, text: &str) -> Vec<String> {
    let ours = ["webmon-check ", "webmon-store ", "webmon-page "];
    let is_ours = |text: &&str| ours.iter().any(|program| text.starts_with(program));
    let shell = blocks(page, text, &["sh", "bash", "shell", "console"]);
    let in_blocks = shell.iter().flat_map(|block| block.text.lines()).map(|line| {
        let line = line.trim().trim_start_matches("$ ");
        line.split_once('#').map_or(line, |(command, _comment)| command).trim()
    });
    let spans = text.lines().filter(|line| !line.trim_start().starts_with("```"));
    let spans = spans.flat_map(|line| line.split('`').skip(1).step_by(2)).map(str::trim);
    // What is left out, or stands for something, cannot be tried.
    let complete = |text: &&str| !text.contains(['…', '<', '[', '|']) && !text.contains("...");
    in_blocks.chain(spans).filter(is_ours).filter(complete).map(str::to_owned).collect()
}

/// Whether the program understands the line: with `--help` behind it, it reads every word before it says so.
fn is_understood(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let program = match words.next() {
        Some("webmon-check") => env!("CARGO_BIN_EXE_webmon-check"),
        Some("webmon-store") => env!("CARGO_BIN_EXE_webmon-store"),
        Some("webmon-page") => env!("CARGO_BIN_EXE_webmon-page"),
        _ => return Err("not a program of ours".to_owned()),
    };
    let output = Command::new(program).args(words).arg("--help").env_clear().output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn every_command_line_of_the_docs_is_understood() {
    let mut tried = 0;
    for (page, text) in pages() {
        for line in command_lines(&page, &text) {
            is_understood(&line).unwrap_or_else(|error| panic!("{page}: {line}: {error}"));
            tried += 1;
        }
    }
    assert!(tried >= 10, "only {tried} were found: the test is blind");
}

#[test]
fn a_command_line_that_is_wrong_is_found_out() {
    for line in [
        "webmon-store topic creat",
        "webmon-store topic create --partitions 0",
        "webmon-store sites --jsn",
        "webmon-check --confg config.toml run",
        "webmon-page serve",
    ] {
        is_understood(line).expect_err(line);
    }
    let page =
        "Run `webmon-store status` and\n```sh\nwebmon-check once  # now\nls\n```\nbut not `webmon-check …`.";
    assert_eq!(command_lines("page", page), ["webmon-check once", "webmon-store status"]);
}

#[test]
fn every_statement_of_the_docs_runs_on_a_new_database() {
    let statements = all_blocks(&["sql"]);
    assert!(statements.iter().any(|block| block.page == "README.md"), "the test is blind");
    let Some(database) = support::database() else { return };
    let mut client = database.client();
    for Block { page, text } in statements {
        client.batch_execute(&text).unwrap_or_else(|error| panic!("{page}: {text}: {error:?}"));
    }
}

/// Yesterday and today of a site with failures, changes, a gap and missed instants, rolled up.
fn fill(database: &support::Database) {
    let log = support::log::Log::new(1);
    let today = support::instant(0).to_zoned(jiff::tz::TimeZone::UTC);
    let month_before = support::result("shop", -86_400 * i64::from(today.day()), Outcome::Success);
    log.append(0, support::value(month_before));
    for n in 0..200 {
        let outcome = match n % 10 {
            0 => Outcome::Missed,
            1..4 => Outcome::Failure,
            _ => Outcome::Success,
        };
        // An hour of them, up to now: of the last day, whenever this runs.
        let now = jiff::Timestamp::now().as_second() - support::instant(0).as_second();
        let mut result = support::result("shop", now - 3_600 + n * 10, outcome);
        result.labels = [("team".to_owned(), "storefront".to_owned())].into();
        (result.slo_uptime_ppm, result.slo_window_days) = (Some(999_000), Some(30));
        result.cert_not_after = Some(support::instant(86_400));
        result.certificate = Some(Certificate {
            sha256: "0a".repeat(32),
            issuer: "CN=Issuing CA".to_owned(),
            subject_names: vec!["shop.example".to_owned()],
            chain_not_after: result.cert_not_after,
        });
        log.append(0, support::value(result));
    }
    log.store(&support::config("127.0.0.1:1", "log", &database.url, "")).unwrap();
    store::roll_up(&mut database.client(), &RollUpLimits::default()).unwrap();
}

#[test]
fn every_query_of_the_page_on_sql_finds_something() {
    let page = all_blocks(&["sql"]).into_iter().filter(|block| block.page == "docs/sql.md");
    let queries: Vec<Block> = page.collect();
    assert_eq!(queries.len(), 12);
    let Some(database) = support::database() else { return };
    fill(&database);
    let mut client = database.client();
    for Block { text, .. } in queries {
        let rows = client.query(&text, &[]).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert!(!rows.is_empty(), "{text}");
    }
}

/// A file of TOML with the tables of `other` in place of its own of the same name.
fn with_tables_of(base: &str, other: &str) -> String {
    let header = |line: &str| {
        let line = line.split_once('#').map_or(line, |(line, _comment)| line).trim_end();
        (line.starts_with('[') && line.ends_with(']')).then(|| line.to_owned())
    };
    let replaced: Vec<String> = other.lines().filter_map(header).collect();
    let mut keep = true;
    let kept = base.lines().filter(|line| {
        keep = header(line).map_or(keep, |table| !replaced.contains(&table));
        keep
    });
    format!("{}\n\n{other}", kept.collect::<Vec<_>>().join("\n"))
}

/// Loads a configuration from a folder that has the files it may name.
fn load(toml: &str, role: Role) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (name, text) in [
        ("config.toml", toml),
        ("ca.pem", &pair.cert.pem()),
        ("service.cert", &pair.cert.pem()),
        ("service.key", &pair.signing_key.serialize_pem()),
        ("kafka.password", "secret\n"),
        ("postgres.password", "secret\n"),
        ("page.password", "secret\n"),
        ("logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    // What the pages name. A page that names another one says so here.
    let variables = [
        ("API_TIMEOUT", "5s"),
        ("API_TOKEN", "secret"),
        ("SLACK_URL", "https://hooks.example/1"),
        ("PAGERDUTY_KEY", "secret"),
        ("SMTP_PASSWORD", "secret"),
        ("HEARTBEAT_URL", "https://hc.example/1"),
        ("NTFY_TOKEN", "secret"),
        ("TELEGRAM_TOKEN", "secret"),
        ("TEAMS_URL", "https://hooks.example/2"),
        ("DISCORD_URL", "https://hooks.example/3"),
        ("OPSGENIE_KEY", "secret"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config::load_with(&folder.path().join("config.toml"), variables, role)
}

#[test]
fn every_configuration_of_the_docs_loads_for_its_programs() {
    let mut tried = 0;
    for (page, text) in pages() {
        // The first one of a page is whole; those below it replace some of its tables. Cargo's are not ours.
        let mut configurations = blocks(&page, &text, &["toml"])
            .into_iter()
            .filter(|block| !block.text.contains("[dependencies]"));
        let Some(whole) = configurations.next() else { continue };
        let others = configurations.map(|other| with_tables_of(&whole.text, &other.text));
        for toml in std::iter::once(whole.text.clone()).chain(others) {
            // webmon-page has a configuration of its own there.
            let roles = match page.as_str() {
                "docs/page.md" => &[Role::Page][..],
                _ => &[Role::Check, Role::Store, Role::Page],
            };
            for &role in roles {
                load(&toml, role).unwrap_or_else(|error| panic!("{page}, {role:?}:\n{error}\n\n{toml}"));
                tried += 1;
            }
        }
    }
    assert!(tried >= 6, "only {tried} were found: the test is blind");
}

#[test]
fn a_table_replaces_that_of_the_same_name_and_no_other() {
    let base = "[kafka]\nbrokers = [\"a:1\"]\n[kafka.tls] # on\nkey = \"k\"\n[check]\nlocation = \"x\"";
    let other = "[kafka.tls]\nca = \"c\"";
    let expected = "[kafka]\nbrokers = [\"a:1\"]\n[check]\nlocation = \"x\"\n\n[kafka.tls]\nca = \"c\"";
    assert_eq!(with_tables_of(base, other), expected);
}
