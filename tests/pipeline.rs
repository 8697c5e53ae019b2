//! The two programs, real Kafka and real PostgreSQL, with real signals.

#[path = "support/sites.rs"]
mod local;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use httpmock::prelude::*;
use jiff::Timestamp;
use local::{ClosedPort, Server, read_head, response};
use serde_json::json;
use support::pipeline::{Pipeline, pipeline};
use support::proxy::{Link, Proxy};
use support::{Signal, config_toml, program, program_under, result, scale, value, wait_until};
use webmon::kafka::librdkafka::LibrdkafkaProducer;
use webmon::kafka::{Delivery, Outgoing, Producer};
use webmon::record::{Outcome, Record};

const STORE: &str = env!("CARGO_BIN_EXE_webmon-store");
const CHECK: &str = env!("CARGO_BIN_EXE_webmon-check");

#[test]
fn a_writer_told_to_stop_hands_over_at_once() {
    let Some(pipeline) = pipeline(4) else { return };
    // A lease much longer than this test may wait.
    let toml = pipeline.toml("").replace("500ms", "5m");
    let leaving = program(STORE, &toml, &["run"]);
    wait_until("it holds all", || {
        pipeline.database.number("SELECT count(owner) FROM webmon.partition_offsets") == 4
    });
    let staying = program(STORE, &toml, &["run"]);
    wait_until("they share evenly", || {
        let sql = "SELECT array_agg(n ORDER BY n) AS n FROM (SELECT count(*) AS n FROM webmon.partition_offsets WHERE owner IS NOT NULL GROUP BY owner) q";
        pipeline.database.json(sql) == [json!({"n": [2, 2]})]
    });
    leaving.signal(Signal::TERM);
    let (code, _, log) = leaving.finish();
    assert_eq!(code, Some(0), "{log}");
    let (key, value) = ("site-1".to_owned(), value(result("site-1", 0, Outcome::Success)));
    LibrdkafkaProducer::new(&pipeline.config().kafka).produce(&[Outgoing { key, value }]);
    wait_until("the other one holds all", || {
        pipeline.database.number("SELECT count(owner) FROM webmon.partition_offsets") == 4
    });
    pipeline.assert_exactly_once(1);
    staying.signal(Signal::INT);
    assert_eq!(staying.finish().0, Some(0));
    assert_eq!(pipeline.database.number("SELECT count(owner) FROM webmon.partition_offsets"), 0);
    assert_eq!(pipeline.database.number("SELECT count(*) FROM webmon.writers"), 0);
}

#[test]
fn a_missing_topic_is_one_exact_error_that_says_what_to_do() {
    let Some(pipeline) = pipeline(1) else { return };
    let site = "[[site]]\nname = \"a\"\nurl = \"http://127.0.0.1:1/\"\nschedule = \"@hourly\"";
    let toml = config_toml(&pipeline.brokers, "no-such-topic", &pipeline.database.url, site);
    for (binary, name) in [(STORE, "webmon-store"), (CHECK, "webmon-check")] {
        let (code, _, log) = program(binary, &toml, &["run"]).finish();
        assert_eq!(code, Some(1));
        let last = log.lines().last().unwrap();
        assert_eq!(
            last,
            format!(
                "{name}: topic \"no-such-topic\" does not exist: create it with \"webmon-store topic create\""
            )
        );
    }
    let (code, out, _) = program(STORE, &pipeline.toml(""), &["topic", "create", "--if-missing"]).finish();
    assert_eq!((code, out), (Some(0), format!("topic {:?} exists already\n", pipeline.topic)));
}

/// Sites of every kind on a local server, as `[[site]]` tables with an instant every second.
fn sites(server: &MockServer) -> String {
    server.mock(|when, then| {
        when.path("/ok");
        then.status(200).body("an open data platform");
    });
    server.mock(|when, then| {
        when.path("/broken");
        then.status(503);
    });
    server.mock(|when, then| {
        when.path("/slow");
        then.status(200).delay(Duration::from_secs(5));
    });
    let base = server.base_url();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = |name: &str, url: &str| {
        format!("[[site]]\nname = {name:?}\nurl = {url:?}\nexpect.body = 'data.*platform'\n")
    };
    [
        "[site_defaults]\nschedule = \"* * * * * *\"\ntimeout = \"500ms\"\n".to_owned(),
        site("ok", &format!("{base}/ok?token=secret-query").replace("//", "//user:secret-password@")),
        site("broken", &format!("{base}/broken")),
        site("slow", &format!("{base}/slow")),
        site("refusing", &format!("http://{closed}/")),
        site("no-name", "http://no-such-name.invalid/"),
    ]
    .concat()
}

#[test]
fn a_site_that_fails_in_any_way_is_a_stored_result_and_every_instant_is_one_row() {
    let Some(pipeline) = pipeline(3) else { return };
    let server = MockServer::start();
    let toml = pipeline.toml(&sites(&server));
    let store = program(STORE, &toml, &["--log-level", "debug", "run"]);
    let check = program(CHECK, &toml, &["--log-level", "debug", "run"]);
    wait_until("every site has 4 results", || {
        let sql =
            "SELECT count(*) FROM (SELECT FROM webmon.check_results GROUP BY site_id HAVING count(*) >= 4) q";
        pipeline.database.number(sql) == 5
    });
    check.signal(Signal::TERM);
    let (code, _, check_log) = check.finish();
    assert_eq!(code, Some(0), "{check_log}");
    let records = pipeline.log_end();
    pipeline.assert_exactly_once(records);
    store.signal(Signal::TERM);
    let (code, _, store_log) = store.finish();
    assert_eq!(code, Some(0), "{store_log}");

    let kinds = pipeline.database.json(
        "SELECT DISTINCT site, outcome, error_type, error_detail, http_status FROM webmon.checks \
         WHERE outcome <> 'missed' ORDER BY site",
    );
    let expected = [
        json!({"site": "broken", "outcome": "failure", "error_type": "expectation_failed", "error_detail": "status", "http_status": 503}),
        json!({"site": "no-name", "outcome": "failure", "error_type": "dns_error", "error_detail": "nxdomain", "http_status": null}),
        json!({"site": "ok", "outcome": "success", "error_type": null, "error_detail": null, "http_status": 200}),
        json!({"site": "refusing", "outcome": "failure", "error_type": "connect_error", "error_detail": "refused", "http_status": null}),
        json!({"site": "slow", "outcome": "failure", "error_type": "timeout", "error_detail": "response", "http_status": null}),
    ];
    assert_eq!(kinds, expected);
    // What was missed was missed because of the stop, and only at the end.
    let missed =
        pipeline.database.json("SELECT DISTINCT error_type FROM webmon.checks WHERE outcome = 'missed'");
    assert!(missed.is_empty() || missed == [json!({"error_type": "cancelled"})], "{missed:?}");
    // Link by link: each row but a site's last says when the next one is due, and there it is.
    assert_eq!(pipeline.database.broken_links(), 0);

    for secret in ["secret-password", "secret-query"] {
        assert!(!check_log.contains(secret) && !store_log.contains(secret), "{secret} is in a log");
        let found = format!("SELECT count(*) FROM webmon.checks c WHERE c::text LIKE '%{secret}%'");
        assert_eq!(pipeline.database.number(&found), 0, "{secret} is in the database");
    }
    let lines: BTreeSet<bool> =
        check_log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).collect();
    assert_eq!(lines, BTreeSet::from([true]), "each line of the log is a JSON object: {check_log}");
}

#[test]
fn results_wait_while_kafka_is_away() {
    let Some(pipeline) = pipeline(1) else { return };
    let server = MockServer::start();
    let gate = Proxy::start(&pipeline.brokers, Link::Hold);
    let toml = pipeline.toml(&sites(&server)).replace(&pipeline.brokers, &gate.address.to_string());
    let check = program(CHECK, &toml, &["run"]);
    let first = Instant::now();
    wait_until("some instants have passed", || first.elapsed() > Duration::from_secs(4));
    assert_eq!(pipeline.log_end(), 0);
    let before = jiff::Timestamp::now();

    // The broker's own address is learnt from it.
    gate.set(Link::Pass);
    let store = pipeline.store();
    wait_until("what was checked before is stored", || {
        let sql =
            format!("SELECT count(*) FROM webmon.checks WHERE site = 'ok' AND scheduled_at < '{before}'");
        pipeline.database.number(&sql) >= 3
    });
    check.signal(Signal::TERM);
    assert_eq!(check.finish().0, Some(0));
    pipeline.assert_exactly_once(pipeline.log_end());
    drop(store);
}

#[test]
fn a_checker_with_a_spool_accounts_for_the_time_it_was_down() {
    let Some(pipeline) = pipeline(1) else { return };
    let server = MockServer::start();
    let spool = tempfile::tempdir().unwrap();
    let more =
        format!("check.spool = {{ dir = {:?} }}\n{}", spool.path().display().to_string(), sites(&server));
    let toml = pipeline.toml(&more);
    let store = pipeline.store();
    let ok = |condition: &str| {
        pipeline
            .database
            .number(&format!("SELECT count(*) FROM webmon.checks WHERE site = 'ok' AND {condition}"))
    };

    let mut check = program(CHECK, &toml, &["run"]);
    wait_until("it checks", || ok("outcome = 'success'") >= 3);
    check.child.kill().unwrap();
    check.child.wait().unwrap();
    let down = Instant::now();
    wait_until("some instants have passed", || down.elapsed() > Duration::from_secs(4));
    let again = program(CHECK, &toml, &["run"]);
    let before = ok("outcome = 'success'");
    wait_until("it checks again", || ok("outcome = 'success'") >= before + 3);
    again.signal(Signal::TERM);
    assert_eq!(again.finish().0, Some(0));
    pipeline.wait_for_all();
    drop(store);

    assert!(ok("error_type = 'checker_down'") >= 2, "the time between is accounted for");
    assert_eq!(pipeline.database.broken_links(), 0);
}

#[test]
fn twins_make_one_row_of_each_instant_and_the_highest_outcome_is_kept() {
    let Some(pipeline) = pipeline(3) else { return };
    // Asked by both twins; only one of them gets through to "torn".
    let server = Server::start(|mut stream| {
        let head = read_head(&mut stream);
        let up = head.starts_with("GET /fine ") || head.contains("user-agent: anna");
        let status = if up { "200 OK" } else { "503 Service Unavailable" };
        let _ = stream.write_all(&response(status, &["connection: close"], b"hello"));
    });
    let spools = tempfile::tempdir().unwrap();
    let twin = |name: &str| {
        let mut more = format!(
            "check.location = \"here\"\ncheck.checker = {name:?}\ncheck.user_agent = {name:?}\n\
             check.spool = {{ dir = {:?} }}\n[site_defaults]\nschedule = \"* * * * * *\"\ntimeout = \"800ms\"\n",
            spools.path().join(name)
        );
        for site in ["fine", "torn"] {
            more += &format!("[[site]]\nname = {site:?}\nurl = {:?}\n", server.url(&format!("/{site}")));
        }
        program(CHECK, &pipeline.toml(&more), &["run"])
    };
    let store = pipeline.store();
    let torn = |outcome: &str| {
        let sql = format!("SELECT count(*) FROM webmon.checks WHERE site = 'torn' AND outcome = '{outcome}'");
        pipeline.database.number(&sql)
    };
    let more = |outcome: &str| {
        let before = torn(outcome);
        wait_until(outcome, || torn(outcome) >= before + 2);
    };

    let (mut anna, mut bert) = (twin("anna"), twin("bert"));
    more("success");
    for round in 0..scale(2, 12) {
        let victim = if round % 2 == 0 { &mut anna } else { &mut bert };
        victim.child.kill().unwrap();
        victim.child.wait().unwrap();
        // Without anna the site is down, without bert it is not.
        more(if round % 2 == 0 { "failure" } else { "success" });
        *victim = twin(if round % 2 == 0 { "anna" } else { "bert" });
        more("success");
    }
    for checker in [anna, bert] {
        checker.signal(Signal::TERM);
        let (code, _, log) = checker.finish();
        assert_eq!(code, Some(0), "{log}");
    }
    let end = pipeline.wait_for_all();
    drop(store);

    let mut highest: BTreeMap<(String, Timestamp), Outcome> = BTreeMap::new();
    let mut checkers = BTreeSet::new();
    support::read_topic(&pipeline.config().kafka, |record| {
        let Record::Result(result) = Record::decode(record.value.unwrap()).unwrap() else { panic!("a gap") };
        let kept = highest.entry((result.site, result.scheduled_at)).or_insert(result.outcome);
        *kept = result.outcome.max(*kept);
        checkers.insert(result.checker);
    });
    assert_eq!(checkers.len(), 2);
    let rows = pipeline.database.json("SELECT site, scheduled_at, outcome FROM webmon.checks");
    assert_eq!(rows.len(), highest.len(), "one row an instant");
    for row in rows {
        let at: Timestamp = row["scheduled_at"].as_str().unwrap().parse().unwrap();
        let identity = (row["site"].as_str().unwrap().to_owned(), at);
        assert_eq!(row["outcome"], highest[&identity].as_str(), "{identity:?}");
    }
    assert_eq!(pipeline.database.broken_links(), 0);
    let ledger = pipeline.database.json(
        "SELECT sum(records)::bigint AS records, sum(inserted)::bigint AS inserted, \
         sum(inserted + superseded + duplicate)::bigint AS told FROM webmon.ingest_batches",
    );
    assert_eq!(ledger, [json!({"records": end, "inserted": highest.len(), "told": end})]);
}

#[test]
fn a_checker_whose_disk_is_full_goes_on_and_records_what_it_lost_as_gaps() {
    let Some(pipeline) = pipeline(3) else { return };
    let witness = Server::answering(response("200 OK", &["connection: close"], b"hello"));
    // Kafka is away as well: else nothing is lost.
    let gate = Proxy::start(&pipeline.brokers, Link::Hold);
    let refusing = ClosedPort::new();
    let disk = tempfile::tempdir().unwrap();
    let mut more = format!(
        "check.spool = {{ dir = {:?}, max_size = \"1GiB\" }}\n\
         [site_defaults]\nschedule = \"* * * * * *\"\ntimeout = \"800ms\"\n\
         [[site]]\nname = \"witness\"\nurl = {:?}\n",
        disk.path().join("spool"),
        witness.url("/")
    );
    // Results as large as they come, so that memory is soon full too.
    let labels: Vec<String> = (0..16).map(|n| format!("l{n} = {:?}", "x".repeat(200))).collect();
    for n in 0..400 {
        more += &format!(
            "[[site]]\nname = \"s{n}\"\nurl = \"http://{}/\"\nlabels = {{ {} }}\n",
            refusing.address,
            labels.join(", ")
        );
    }
    let toml = pipeline.toml(&more).replace(&pipeline.brokers, &gate.address.to_string());
    let mount = format!("mount -t tmpfs -o size=4m tmpfs {:?} && exec \"$@\"", disk.path());
    let mut check = program_under(&["unshare", "-rm", "sh", "-c", &mount, "sh"], CHECK, &toml, &["run"]);
    wait_until("it checks", || witness.accepted() > 0 || check.child.try_wait().unwrap().is_some());
    if check.child.try_wait().unwrap().is_some() {
        return support::not_tested(&format!("a mount namespace: {}", check.finish().2));
    }

    wait_until("the disk is full", || check.log().contains("cannot write the spool: results wait in memory"));
    wait_until("memory is full", || check.log().contains("the spool is full: dropping results"));
    let asked = witness.accepted();
    wait_until("checks go on", || witness.accepted() >= asked + 3);
    assert!(support::peak_memory_kb(check.child.id()) < 150_000);

    // There is room again, and then Kafka is back.
    let remounted = Command::new("nsenter")
        .args(["-t", &check.child.id().to_string(), "-U", "-m", "--preserve-credentials"])
        .args(["mount", "-o", "remount,size=256m"])
        .arg(disk.path())
        .status();
    assert!(remounted.unwrap().success());
    wait_until("the spool recovers", || check.log().contains("the spool can be written again"));
    gate.set(Link::Pass);
    let store = pipeline.store();
    wait_until("gaps are stored", || pipeline.database.number("SELECT count(*) FROM webmon.gaps") > 0);
    check.signal(Signal::TERM);
    let (code, _, log) = check.finish();
    assert_eq!(code, Some(0), "{log}");
    pipeline.wait_for_all();
    drop(store);

    // Every second of every site is a row, or in a gap that says why.
    assert_eq!(pipeline.database.broken_links(), 0);
    assert_eq!(
        pipeline.database.json("SELECT DISTINCT reason FROM webmon.gaps"),
        [json!({"reason": "outbox_full"})]
    );
    let unaccounted = "
        SELECT count(*) FROM (
            SELECT site_id, sum(instants) AS instants, extract(epoch FROM max(end_at) - min(from_at)) AS seconds
            FROM (
                SELECT site_id, 1 AS instants, scheduled_at AS from_at, scheduled_at + interval '1 s' AS end_at
                FROM webmon.check_results
                UNION ALL SELECT site_id, instants, from_at, to_at FROM webmon.gaps) parts
            GROUP BY site_id) sites
        WHERE instants <> seconds";
    assert_eq!(pipeline.database.number(unaccounted), 0);
    let stopped = log.lines().last().unwrap();
    let stopped: serde_json::Value = serde_json::from_str(stopped).unwrap();
    let lost = pipeline.database.number("SELECT sum(instants)::bigint FROM webmon.gaps");
    assert!(lost > 0);
    assert_eq!(stopped["dropped"].as_i64(), Some(lost), "{stopped}");
}

fn store_json(pipeline: &Pipeline, arguments: &[&str]) -> (Option<i32>, serde_json::Value, String) {
    let (code, stdout, stderr) = program(STORE, &pipeline.toml(""), arguments).finish();
    (code, serde_json::from_str(&stdout).unwrap_or_default(), stderr)
}

#[test]
fn a_replay_waits_until_writers_at_work_have_stored_the_partition_again() {
    let Some(pipeline) = pipeline(1) else { return };
    let records: Vec<Outgoing> = (0..500)
        .map(|n| Outgoing { key: "shop".to_owned(), value: value(result("shop", n, Outcome::Success)) })
        .collect();
    let mut producer = LibrdkafkaProducer::new(&pipeline.config().kafka);
    assert!(producer.produce(&records).iter().all(|delivery| matches!(delivery, Delivery::Delivered)));
    let store = pipeline.store();
    pipeline.assert_exactly_once(500);

    let (code, status, _) = store_json(&pipeline, &["status", "--json"]);
    let partition = &status["partitions"][0];
    assert_eq!((code, &partition["end_offset"], &partition["lag"]), (Some(0), &json!(500), &json!(0)));
    assert_eq!(status["set_aside"], json!([]));

    let again = ["replay", "--partition", "0", "--from-offset", "100", "--wait", "--json"];
    let (code, replayed, stderr) = store_json(&pipeline, &again);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!((&replayed["from_offset"], &replayed["to_offset"]), (&json!(100), &json!(500)));
    let sum = "SELECT sum(duplicate)::bigint FROM webmon.ingest_batches";
    assert_eq!(pipeline.database.number(sum), 400);
    // A time before everything is the first offset, one to come the end.
    for (time, from) in [("2020-01-01T00:00:00Z", 0), ("2100-01-01T00:00:00Z", 500)] {
        let again = ["replay", "--partition", "0", "--from-time", time, "--wait", "--json"];
        let (code, replayed, stderr) = store_json(&pipeline, &again);
        assert_eq!((code, &replayed["from_offset"]), (Some(0), &json!(from)), "{stderr}");
    }
    for (partition, offset, wrong) in [
        ("1", "0", "has no partition 1: expected 0 to 0"),
        ("0", "501", "kafka does not hold offset 501: expected 0 to 500"),
    ] {
        let again = ["replay", "--partition", partition, "--from-offset", offset];
        let (code, _, stderr) = store_json(&pipeline, &again);
        assert_eq!(code, Some(1));
        assert!(stderr.contains(wrong), "{stderr}");
    }
    store.signal(Signal::TERM);
    assert_eq!(store.finish().0, Some(0));
    let (code, verified, _) = store_json(&pipeline, &["verify", "--json"]);
    assert_eq!((code, &verified["results"]), (Some(0), &json!(500)), "{verified:#}");
}
