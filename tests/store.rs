//! The storing side on a real PostgreSQL, fed from a topic in memory.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use support::log::Log;
use support::{Database, database, instant, result, value};
use webmon::config::Config;
use webmon::record::{
    Certificate, CheckResult, ErrorType, Expectation, Gap, GapReason, GapRecord, Hop, HttpVersion, Outcome,
    Record, RecordVersion, Sample, TlsVersion, Try,
};
use webmon::shutdown::Shutdown;

fn config(database: &Database, more: &str) -> Config {
    support::config("127.0.0.1:1", "log", &database.url, more)
}

/// The ledger covers `[0, end)` of a partition without a hole, and every record is accounted for.
fn assert_ledger(database: &Database, partition: i32, end: i64) {
    let rows = database.json(&format!(
        "SELECT from_offset, to_offset, records FROM webmon.ingest_batches WHERE partition = {partition} ORDER BY from_offset"
    ));
    let mut next = 0;
    for row in rows {
        assert_eq!(row["from_offset"], next, "a hole or an overlap in the ledger");
        assert_eq!(row["records"].as_i64().unwrap(), row["to_offset"].as_i64().unwrap() - next);
        next = row["to_offset"].as_i64().unwrap();
    }
    assert_eq!(next, end);
}

fn ledger_sum(database: &Database, column: &str) -> i64 {
    database.number(&format!("SELECT coalesce(sum({column}), 0)::bigint FROM webmon.ingest_batches"))
}

fn full_result() -> CheckResult {
    let mut r = result("full", 60, Outcome::Failure);
    r.labels = [("team".to_owned(), "söme \"team\"".to_owned())].into();
    r.final_url = Some("https://full.example/login".to_owned());
    r.redirects = 2;
    r.error_type = Some(ErrorType::ExpectationFailed);
    r.error_detail = Some("status".to_owned());
    r.error_message = Some("status 503: expected 200-299\nand more".to_owned());
    r.failed_expectations = Expectation::ALL.to_vec();
    r.http_status = Some(503);
    r.body_matched = Some(false);
    (r.dns_us, r.connect_us, r.tls_us) = (Some(0), Some(1), Some(2));
    (r.ttfb_us, r.download_us, r.total_us) = (Some(3), Some(4), Some(i32::MAX as u32));
    r.body_bytes = Some(5);
    r.body_truncated = true;
    r.remote_ip = Some("2001:db8::1".parse().unwrap());
    r.http_version = Some(HttpVersion::Http11);
    r.tls_version = Some(TlsVersion::Tls13);
    r.cert_not_after = Some("2027-01-02T03:04:05Z".parse().unwrap());
    r.certificate = Some(Certificate {
        sha256: "0a".repeat(32),
        issuer: "CN=Issuing CA, O=Example".to_owned(),
        subject_names: vec!["full.example".to_owned(), "192.0.2.1".to_owned()],
        chain_not_after: Some("2026-12-31T23:59:59Z".parse().unwrap()),
    });
    r.hops = vec![Hop {
        url: "https://full.example/".to_owned(),
        http_status: 302,
        remote_ip: Some("2001:db8::2".parse().unwrap()),
        dns_us: Some(1),
        connect_us: Some(2),
        tls_us: Some(3),
        ttfb_us: Some(4),
    }];
    r.tries = vec![Try {
        outcome: Outcome::Failure,
        error_type: ErrorType::Timeout,
        error_detail: Some("body".to_owned()),
        total_us: Some(9),
    }];
    r.attempts = 3;
    r.sample = Some(Sample { headers: vec![("server".to_owned(), "x".to_owned())], body: "<h1>".to_owned() });
    r
}

#[test]
fn every_field_of_a_record_reaches_the_view_unchanged() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let sent = full_result();
    log.append(0, value(sent.clone()));
    log.store(&config(&database, "")).unwrap();

    let mut stored = database.json("SELECT * FROM webmon.checks").remove(0);
    let mut expected = serde_json::to_value(&sent).unwrap();
    let expected_fields = expected.as_object_mut().unwrap();
    expected_fields.remove("v");
    expected_fields.insert("degraded".to_owned(), json!(false));
    let certificate = expected_fields.remove("certificate").unwrap();
    for (field, value) in certificate.as_object().unwrap() {
        expected_fields.insert(format!("cert_{field}"), value.clone());
    }
    // The view is read through PostgreSQL's own JSON, which writes times with an offset.
    for object in [&mut stored, &mut expected] {
        for (key, value) in object.as_object_mut().unwrap() {
            if key.ends_with("_at") || key.ends_with("_not_after") {
                let at: jiff::Timestamp = value.as_str().unwrap().parse().unwrap();
                *value = at.as_microsecond().into();
            }
        }
    }
    assert_eq!(stored, expected);
}

fn certified(site: &str, seconds: i64, certificate: usize) -> CheckResult {
    let mut r = result(site, seconds, Outcome::Success);
    r.cert_not_after = Some("2027-01-02T03:04:05Z".parse().unwrap());
    r.certificate = Some(Certificate {
        sha256: format!("{certificate:064x}"),
        issuer: "CN=CA".to_owned(),
        subject_names: Vec::new(),
        chain_not_after: None,
    });
    r
}

#[test]
fn each_certificate_of_a_site_is_stored_once_and_its_change_is_seen() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    for (seconds, certificate) in [(0, 1), (1, 1), (2, 2), (3, 2), (4, 1)] {
        log.append(0, value(certified("shop", seconds, certificate)));
    }
    log.append(0, value(certified("other", 0, 1)));
    log.append(0, value(result("plain", 0, Outcome::Success)));
    log.store(&config(&database, "store.batch_records = 2")).unwrap();
    // A writer that knows nothing yet finds the same rows.
    log.append(0, value(certified("shop", 5, 2)));
    log.store(&config(&database, "")).unwrap();
    assert_eq!(
        database.json("SELECT site, sha256::numeric FROM webmon.certificate_history ORDER BY site, sha256"),
        [
            json!({"site": "other", "sha256": 1}),
            json!({"site": "shop", "sha256": 1}),
            json!({"site": "shop", "sha256": 2})
        ],
    );
    let sql = "SELECT count(*) FROM webmon.checks WHERE site = 'shop' AND cert_sha256::numeric = ";
    assert_eq!((database.number(&format!("{sql}1")), database.number(&format!("{sql}2"))), (3, 3));
    assert_eq!(database.number("SELECT count(*) FROM webmon.checks WHERE cert_sha256 IS NULL"), 1);
}

#[test]
fn a_site_that_shows_another_certificate_each_time_fills_no_table_and_loses_no_result() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    for i in 0..150 {
        log.append(0, value(certified("hostile", i, i as usize)));
    }
    log.store(&config(&database, "store.batch_records = 30")).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM webmon.checks WHERE cert_not_after IS NOT NULL"), 150);
    assert_eq!(database.number("SELECT count(*) FROM webmon.checks WHERE cert_sha256 IS NOT NULL"), 100);
    assert_eq!(database.number("SELECT count(*) FROM webmon.site_certificates"), 100);
}

#[test]
fn every_error_type_is_stored_as_its_own_word() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    for (i, error_type) in ErrorType::ALL.iter().enumerate() {
        let mut r = result("shop", i as i64, error_type.outcome());
        r.error_type = Some(*error_type);
        log.append(0, value(r));
    }
    log.store(&config(&database, "")).unwrap();
    let stored = database.json("SELECT error_type, outcome FROM webmon.checks ORDER BY scheduled_at");
    let expected: Vec<_> = ErrorType::ALL
        .iter()
        .map(
            |error_type| json!({"error_type": error_type.as_str(), "outcome": error_type.outcome().as_str()}),
        )
        .collect();
    assert_eq!(stored, expected);
}

#[test]
fn the_highest_outcome_is_kept_in_every_order_of_arrival() {
    let Some(database) = database() else { return };
    let (m, f, s) = (Outcome::Missed, Outcome::Failure, Outcome::Success);
    let orders = [[m, f, s], [m, s, f], [f, m, s], [f, s, m], [s, m, f], [s, f, m]];
    // As one batch, as batches of one, and over two partitions in each of the ways to deal three cards.
    for (way, batch_records) in [("one-batch", 5_000), ("one-by-one", 1)] {
        for (o, order) in orders.iter().enumerate() {
            for deal in 0..8 {
                let log = Log::new(2);
                let site = format!("{way}-{o}-{deal}");
                let mut highest_so_far = None;
                let mut expected_superseded = 0;
                for (i, outcome) in order.iter().enumerate() {
                    // Twins: each result comes twice.
                    for _ in 0..2 {
                        log.append(deal >> i & 1, value(result(&site, 0, *outcome)));
                    }
                    expected_superseded +=
                        i64::from(highest_so_far.is_some_and(|highest| *outcome > highest));
                    highest_so_far = highest_so_far.max(Some(*outcome));
                }
                let more = format!("kafka.topic = {site:?}\nstore.batch_records = {batch_records}");
                let toml = support::config_toml("127.0.0.1:1", "x", &database.url, "")
                    .replace("kafka.topic = \"x\"", "")
                    + &more;
                let config = Config::from_toml(&toml, webmon::config::Role::Store).unwrap();
                log.store(&config).unwrap();

                let rows = database.json(&format!("SELECT outcome FROM webmon.checks WHERE site = '{site}'"));
                assert_eq!(rows, [json!({"outcome": "success"})], "{site}");
                let sums = database.json(&format!(
                    "SELECT sum(records)::int AS records, sum(inserted)::int AS inserted, sum(superseded)::int AS superseded, \
                     sum(duplicate)::int AS duplicate FROM webmon.ingest_batches WHERE topic = '{site}'"
                ));
                assert_eq!(sums[0]["records"], 6, "{site}: {sums:?}");
                assert_eq!(sums[0]["inserted"], 1, "{site}: {sums:?}");
                // In one partition, one by one, it is known how often the stored row was replaced.
                if batch_records == 1 && (deal == 0 || deal == 7) {
                    assert_eq!(sums[0]["superseded"], expected_superseded, "{site}: {sums:?}");
                }
            }
        }
    }
}

/// Large batches are copied, looked up first after a conflict, or inserted: what is stored and counted is the same.
#[test]
fn large_batches_of_new_better_worse_and_equal_results_are_told_apart() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let outcomes = [Outcome::Missed, Outcome::Failure, Outcome::Success];
    let mut best: BTreeMap<i64, Outcome> = BTreeMap::new();
    let (mut inserted, mut superseded, mut duplicate) = (0, 0, 0);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for batch in 0..30 {
        // Each batch is half new, and half what came lately; within it no identity comes twice.
        for i in 0..500 {
            let n = batch * 250 + i;
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let outcome = outcomes[(random % 3) as usize];
            // Into the past, of which there is enough at any time of the day.
            log.append(0, value(result("shop", n - 10_000, outcome)));
            match best.get(&n) {
                None => inserted += 1,
                Some(stored) if outcome > *stored => superseded += 1,
                Some(_) => duplicate += 1,
            }
            best.entry(n).and_modify(|stored| *stored = outcome.max(*stored)).or_insert(outcome);
        }
    }
    log.store(&config(&database, "store.batch_records = 500")).unwrap();
    let rows = database.json("SELECT scheduled_at, outcome FROM webmon.checks ORDER BY scheduled_at");
    assert_eq!(rows.len(), best.len());
    for (row, (n, outcome)) in rows.iter().zip(&best) {
        assert_eq!(row["outcome"], outcome.as_str(), "instant {n}");
    }
    let counted = ["inserted", "superseded", "duplicate"].map(|column| ledger_sum(&database, column));
    assert_eq!(counted, [inserted, superseded, duplicate]);
    assert_ledger(&database, 0, 15_000);
}

#[test]
fn an_undecodable_record_is_kept_raw_and_blocks_nothing() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let good = || value(result("shop", 0, Outcome::Success));
    let changed = |field: &str, to: serde_json::Value| {
        let mut json: serde_json::Value = serde_json::from_slice(&good()).unwrap();
        json[field] = to;
        Some(serde_json::to_vec(&json).unwrap())
    };
    let poison: Vec<(Option<Vec<u8>>, &str)> = vec![
        (None, "empty"),
        (Some(Vec::new()), "empty"),
        (Some(vec![0xff, 0x00, 0xfe]), "malformed"),
        (Some(b"{\"v\":1}".to_vec()), "malformed"),
        (Some(vec![b' '; webmon::limits::MAX_RECORD + 1]), "too_large"),
        (changed("v", json!(2)), "unknown_version"),
        (changed("site", json!("a\u{0}b")), "invalid"),
        (changed("site", json!("x".repeat(201))), "invalid"),
        (changed("total_us", json!(3_000_000_000_u32)), "invalid"),
        (changed("outcome", json!("failure")), "invalid"),
        (changed("scheduled_at", json!("9999-01-01T00:00:00Z")), "invalid"),
        (Some(value(result("shop", 86_400 * 3, Outcome::Success))), "ahead_of_time"),
    ];
    for (poison, _) in &poison {
        log.append(0, good());
        log.append(0, poison.clone());
    }
    log.append(0, value(result("shop", 1, Outcome::Success)));
    log.store(&config(&database, "")).unwrap();

    let dead = database.client();
    let mut dead = dead;
    let rows = dead
        .query("SELECT topic, partition, record_offset, key, value, reason FROM webmon.dead_letters ORDER BY record_offset", &[])
        .unwrap();
    assert_eq!(rows.len(), poison.len());
    for (i, (row, (sent, reason))) in rows.iter().zip(&poison).enumerate() {
        assert_eq!(row.get::<_, &str>(0), "log");
        assert_eq!(row.get::<_, i32>(1), 0);
        assert_eq!(row.get::<_, i64>(2), 2 * i as i64 + 1);
        assert_eq!(row.get::<_, &[u8]>(3), b"key");
        assert_eq!(row.get::<_, Option<Vec<u8>>>(4), *sent);
        assert_eq!(
            row.get::<_, &str>(5),
            *reason,
            "{:?}",
            String::from_utf8_lossy(sent.as_deref().unwrap_or_default())
        );
    }
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 2);
    assert_ledger(&database, 0, 2 * poison.len() as i64 + 1);
}

#[test]
fn a_result_that_the_database_refuses_is_found_and_kept_raw() {
    let Some(database) = database() else { return };
    database
        .client()
        .batch_execute(
            "ALTER TABLE webmon.check_results ADD CONSTRAINT no_teapots CHECK (http_status <> 418)",
        )
        .unwrap();
    let log = Log::new(1);
    for i in 0..100 {
        let mut r = result("shop", i, Outcome::Success);
        if i % 40 == 7 {
            r.http_status = Some(418);
        }
        log.append(0, value(r));
    }
    log.store(&config(&database, "")).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 97);
    let dead = database.json("SELECT record_offset, reason FROM webmon.dead_letters ORDER BY 1");
    let expected: Vec<_> = [7, 47, 87].map(|o| json!({"record_offset": o, "reason": "refused"})).into();
    assert_eq!(dead, expected);
    assert_ledger(&database, 0, 100);
}

#[test]
fn a_fault_of_the_whole_system_stops_the_writer_and_dead_letters_nothing() {
    let Some(database) = database() else { return };
    database
        .client()
        .batch_execute("ALTER TABLE webmon.check_results RENAME COLUMN outcome TO verdict")
        .unwrap();
    let log = Log::new(1);
    log.append(0, value(result("shop", 0, Outcome::Success)));
    let error = log.store(&config(&database, "")).unwrap_err().to_string();
    assert!(error.starts_with("cannot insert results: column \"outcome\""), "{error}");
    assert_eq!(database.number("SELECT count(*) FROM webmon.dead_letters"), 0);
    assert_eq!(database.number("SELECT next_offset FROM webmon.partition_offsets"), 0);
}

#[test]
fn a_flood_of_an_unknown_version_pauses_the_partition_until_it_is_resumed() {
    let Some(database) = database() else { return };
    let log = Log::new(2);
    for _ in 0..100 {
        log.append(0, b"{\"v\":2}".to_vec());
    }
    log.append(1, value(result("shop", 0, Outcome::Success)));
    let config = config(&database, "");
    log.store(&config).unwrap();
    let status = webmon::store::partition_status(&mut database.client(), "log").unwrap();
    assert_eq!(status[0].next_offset, Some(0));
    assert!(status[0].paused.as_ref().unwrap().contains("unknown version"));
    assert_eq!(status[1].next_offset, Some(1));
    assert_eq!(database.number("SELECT count(*) FROM webmon.dead_letters"), 0);

    log.clear(0);
    assert_eq!(webmon::store::resume(&mut database.client(), "log", None).unwrap(), 1);
    log.append(0, value(result("shop", 1, Outcome::Success)));
    log.store(&config).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 2);
}

#[test]
fn a_writer_that_lost_its_claim_commits_nothing() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    for i in 0..10 {
        log.append(0, value(result("shop", i, Outcome::Success)));
    }
    // Between the first fetch and its transaction somebody else claims the partition.
    let url = database.url.clone();
    log.before_delivery(move |fetch| {
        if fetch == 1 {
            let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
            let sql = "UPDATE webmon.partition_offsets SET epoch = epoch + 1, owner = 'another', \
                       leased_at = now(), lease_until = now() + interval '300 ms'";
            assert_eq!(client.execute(sql, &[]).unwrap(), 1);
        }
    });
    let shutdown = Shutdown::new();
    std::thread::scope(|scope| {
        let config = config(&database, "");
        let (log, shutdown) = (&log, &shutdown);
        let writer = scope.spawn(move || log.store_until(&config, shutdown, false));
        // It stores them after all, once the other's lease is over, and each once: were the first batch not
        // fenced off, its rows would stand under the lost epoch.
        support::wait_until("the batch is stored", || {
            database.number("SELECT count(*) FROM webmon.check_results") == 10
        });
        shutdown.request();
        writer.join().unwrap().unwrap();
    });
    let ledger = database.json("SELECT epoch, from_offset, to_offset, duplicate FROM webmon.ingest_batches");
    assert_eq!(ledger, [json!({"epoch": 3, "from_offset": 0, "to_offset": 10, "duplicate": 0})]);
}

#[test]
fn a_writer_whose_connection_is_cut_goes_on_without_loss_or_repetition() {
    let Some(database) = database() else { return };
    let log = Log::new(3);
    for i in 0..300 {
        log.append(i % 3, value(result("shop", i as i64, Outcome::Success)));
    }
    let url = database.url.clone();
    log.before_delivery(move |fetch| {
        if fetch % 4 == 1 && fetch < 20 {
            let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE application_name LIKE 'webmon-store:%' AND datname = current_database()";
            assert_eq!(client.query(sql, &[]).unwrap().len(), 1);
        }
    });
    log.store(&config(&database, "store.batch_records = 10")).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 300);
    assert_eq!(ledger_sum(&database, "inserted"), 300);
    assert_eq!(ledger_sum(&database, "records"), 300);
    for partition in 0..3 {
        assert_ledger(&database, partition, 100);
    }
}

/// Ends writers also where the test fails.
struct Ended<'a>(&'a [Shutdown]);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(Shutdown::request);
    }
}

/// Of seven partitions three writers hold three, two and two, and two of them four and three; another topic's writer
/// does not count among them.
#[test]
fn writers_share_the_partitions_evenly_also_those_that_come_and_go() {
    let Some(database) = database() else { return };
    let log = Log::new(5);
    let held = || -> Vec<i64> {
        let sql = "SELECT count(*) FROM webmon.partition_offsets WHERE topic = 'log' AND owner IS NOT NULL \
                   GROUP BY owner ORDER BY 1 DESC";
        database.client().query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    };
    let stops: Vec<Shutdown> = (0..4).map(|_| Shutdown::new()).collect();
    std::thread::scope(|scope| {
        for (i, stop) in stops.iter().enumerate() {
            let topic = if i == 3 { "another" } else { "log" };
            let config = support::config("127.0.0.1:1", topic, &database.url, "");
            let log = &log;
            scope.spawn(move || log.store_until(&config, stop, false).unwrap());
        }
        let _ended = Ended(&stops);
        support::wait_until("three share five", || held() == [2, 2, 1]);
        log.grow(7);
        support::wait_until("they have found two new partitions", || held() == [3, 2, 2]);
        stops[0].request();
        support::wait_until("two share seven", || held() == [4, 3]);
        log.append(6, value(result("shop", 0, Outcome::Success)));
        let rows = "SELECT count(*) FROM webmon.check_results";
        support::wait_until("a new partition is stored", || database.number(rows) == 1);
    });
    assert!(held().is_empty());
}

#[test]
fn a_day_that_another_writer_makes_at_the_same_time_is_no_fault() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    log.append(0, value(result("shop", 0, Outcome::Success)));
    let mut other = database.client();
    let mut transaction = other.transaction().unwrap();
    let day = instant(0).strftime("%F");
    transaction.batch_execute(&format!("SELECT webmon.ensure_result_partition('{day}')")).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| log.store(&config(&database, "")));
        support::wait_until("the writer waits for the other one", || {
            let sql = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database \
                       WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted";
            database.number(sql) == 1
        });
        transaction.commit().unwrap();
        writer.join().unwrap().unwrap();
    });
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 1);
}

#[test]
fn a_writer_resumes_at_the_stored_offset() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let config = config(&database, "");
    for round in 0..5 {
        for i in 0..10 {
            log.append(0, value(result("shop", round * 10 + i, Outcome::Success)));
        }
        log.store(&config).unwrap();
        assert_eq!(database.number("SELECT next_offset FROM webmon.partition_offsets"), (round + 1) * 10);
    }
    assert_eq!(ledger_sum(&database, "duplicate"), 0);
    assert_ledger(&database, 0, 50);
}

#[test]
fn offsets_that_kafka_lost_are_written_down() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let config = config(&database, "");
    for i in 0..5 {
        log.append(0, value(result("shop", i, Outcome::Success)));
    }
    log.store(&config).unwrap();
    for i in 5..20 {
        log.append(0, value(result("shop", i, Outcome::Success)));
    }
    log.forget(0, 12);
    log.store(&config).unwrap();
    let lost = database.json("SELECT partition, from_offset, to_offset FROM webmon.offset_gaps");
    assert_eq!(lost, [json!({"partition": 0, "from_offset": 5, "to_offset": 12})]);
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 13);
    assert_eq!(database.number("SELECT next_offset FROM webmon.partition_offsets"), 20);
}

#[test]
fn a_recreated_topic_pauses_its_partition() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let config = config(&database, "");
    for i in 0..5 {
        log.append(0, value(result("shop", i, Outcome::Success)));
    }
    log.store(&config).unwrap();
    log.clear(0);
    log.append(0, value(result("shop", 9, Outcome::Success)));
    log.store(&config).unwrap();
    let status = webmon::store::partition_status(&mut database.client(), "log").unwrap();
    assert_eq!(
        status[0].paused.as_deref(),
        Some("the next offset is 5, but the partition ends at 1: the topic was recreated")
    );
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 5);
}

#[test]
fn lost_offsets_stay_out_of_the_ledgers_ranges() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    for i in 0..20 {
        log.append(0, value(result("shop", i, Outcome::Success)));
    }
    // Within one claim and one minute: the records are forgotten between two fetches.
    let forgetful = log.clone();
    log.before_delivery(move |fetch| {
        if fetch == 1 {
            forgetful.forget(0, 12);
        }
    });
    log.store(&config(&database, "store.batch_records = 5")).unwrap();
    let ranges = database
        .json("SELECT from_offset AS f, to_offset AS t, records AS r FROM webmon.ingest_batches ORDER BY 1");
    assert_eq!(ranges, [json!({"f": 0, "t": 5, "r": 5}), json!({"f": 12, "t": 20, "r": 8})]);
}

#[test]
fn a_topic_recreated_with_as_many_records_pauses_its_partition_until_it_is_replayed() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let config = config(&database, "");
    for i in 0..5 {
        log.append(0, value(result("shop", i, Outcome::Success)));
    }
    log.store(&config).unwrap();
    log.clear(0);
    for i in 10..20 {
        log.append(0, value(result("shop", i, Outcome::Success)));
    }
    // Resuming alone does not make it the old topic again.
    for _ in 0..2 {
        log.store(&config).unwrap();
        let status = webmon::store::partition_status(&mut database.client(), "log").unwrap();
        let paused = status[0].paused.as_deref();
        assert_eq!(
            paused,
            Some("the record at offset 4 is not the one that was stored: the topic was recreated")
        );
        assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 5);
        webmon::store::resume(&mut database.client(), "log", None).unwrap();
    }
    webmon::store::replay(&mut database.client(), "log", 0, 0).unwrap();
    log.store(&config).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 15);
}

#[test]
fn the_same_topic_is_known_again_also_when_only_its_newest_record_is_left() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let config = config(&database, "");
    for i in 0..5 {
        log.append(0, value(result("shop", i, Outcome::Success)));
    }
    for kept in [0, 4, 5] {
        log.forget(0, kept);
        log.store(&config).unwrap();
        let status = webmon::store::partition_status(&mut database.client(), "log").unwrap();
        assert_eq!((status[0].next_offset, &status[0].paused), (Some(5), &None), "kept from {kept} on");
    }
    assert_eq!(ledger_sum(&database, "records"), 5);
}

#[test]
fn another_cluster_pauses_the_partitions_stored_from_the_first() {
    let Some(database) = database() else { return };
    let log = Log::new(2);
    let config = config(&database, "");
    log.move_to("one");
    log.append(0, value(result("shop", 0, Outcome::Success)));
    log.store(&config).unwrap();
    log.move_to("two");
    log.append(0, value(result("shop", 1, Outcome::Success)));
    log.store(&config).unwrap();
    let status = webmon::store::partition_status(&mut database.client(), "log").unwrap();
    for status in &status {
        let paused = status.paused.as_deref();
        assert_eq!(paused, Some("the kafka cluster is \"two\", but the partition was stored from \"one\""));
    }
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 1);
    // Moved on purpose: the new cluster is taken as it is.
    webmon::store::replay(&mut database.client(), "log", 0, 0).unwrap();
    log.store(&config).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 2);
}

#[test]
fn a_dead_letter_of_a_recreated_topic_does_not_hide_behind_an_older_one() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let config = config(&database, "");
    log.append(0, b"old".to_vec());
    log.store(&config).unwrap();
    log.clear(0);
    log.append(0, b"new".to_vec());
    webmon::store::replay(&mut database.client(), "log", 0, 0).unwrap();
    log.store(&config).unwrap();
    let letters =
        database.json("SELECT convert_from(value, 'UTF8') AS v FROM webmon.dead_letters ORDER BY 1");
    assert_eq!(letters, [json!({"v": "new"}), json!({"v": "old"})]);
    assert_eq!(ledger_sum(&database, "dead"), 2);
}

#[test]
fn a_result_older_than_results_are_kept_is_counted_and_not_stored() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    log.append(0, value(result("shop", -86_400 * 3, Outcome::Success)));
    log.append(0, value(result("shop", 0, Outcome::Success)));
    log.store(&config(&database, "store.retention = { results = \"1d\" }")).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 1);
    assert_eq!(ledger_sum(&database, "expired"), 1);
    assert_ledger(&database, 0, 2);
}

#[test]
fn a_gap_reported_twice_is_one_row() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let gap = |instants| {
        let gap = Gap { from: instant(0), to: Some(instant(60)), instants, reason: GapReason::OutboxFull };
        let record = GapRecord {
            v: RecordVersion,
            site: "shop".to_owned(),
            location: "here".to_owned(),
            checker: "checker-1".to_owned(),
            gap,
        };
        Record::Gap(record).encode()
    };
    for instants in [60, 60, 59] {
        log.append(0, gap(instants));
    }
    log.store(&config(&database, "store.batch_records = 2")).unwrap();
    let gaps = database.json("SELECT instants, reason FROM webmon.gaps");
    assert_eq!(gaps, [json!({"instants": 60, "reason": "outbox_full"})]);
    assert_eq!(ledger_sum(&database, "gaps"), 3);
}

#[test]
fn a_changed_site_gets_a_new_version_and_keeps_its_identity() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    for (i, name) in ["Shop", "Shop", "The Shop", "Shop"].into_iter().enumerate() {
        let mut r = result("shop", i as i64, Outcome::Success);
        r.name = name.to_owned();
        log.append(0, value(r));
    }
    log.store(&config(&database, "store.batch_records = 1")).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM webmon.sites"), 1);
    assert_eq!(database.number("SELECT max(version_id)::bigint FROM webmon.site_versions"), 2);
    let names = database.json("SELECT name FROM webmon.checks ORDER BY scheduled_at");
    assert_eq!(names, ["Shop", "Shop", "The Shop", "Shop"].map(|name| json!({"name": name})));
}

#[test]
fn four_migrations_at_once_apply_each_file_once() {
    let Some(database) = support::empty_database() else { return };
    let barrier = std::sync::Barrier::new(4);
    let applied: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = database.client();
                    barrier.wait();
                    webmon::database::migrate(&mut client).unwrap().len()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(applied as i64, database.number("SELECT count(*) FROM webmon.migrations"));
}

#[test]
fn a_database_without_the_schema_or_with_a_newer_one_is_refused() {
    let Some(database) = support::empty_database() else { return };
    let log = Log::new(1);
    let error = log.store(&config(&database, "")).unwrap_err().to_string();
    assert!(error.ends_with("run \"webmon-store migrate\""), "{error}");
    webmon::database::migrate(&mut database.client()).unwrap();
    database
        .client()
        .batch_execute("INSERT INTO webmon.migrations (version, name, readable_from) VALUES (1000, 'x', 999)")
        .unwrap();
    let error = log.store(&config(&database, "")).unwrap_err().to_string();
    assert!(error.ends_with("upgrade webmon-store"), "{error}");
    let error = webmon::database::migrate(&mut database.client()).unwrap_err().to_string();
    assert!(error.ends_with("upgrade webmon-store"), "{error}");
}

/// Every object of the schema, as PostgreSQL's own catalogue describes it.
fn catalogue(database: &Database) -> BTreeSet<String> {
    let sql = "
        SELECT format('column %s.%s %s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                      a.attidentity, pg_get_expr(d.adbin, d.adrelid))
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'webmon'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
          AND c.relkind IN ('r', 'p', 'v')
        UNION ALL
        SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'webmon'::regnamespace
        UNION ALL
        SELECT format('index %s', pg_get_indexdef(indexrelid)) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
        WHERE c.relnamespace = 'webmon'::regnamespace
        UNION ALL
        SELECT format('function %s', CASE prokind WHEN 'a' THEN oid::regprocedure::text ELSE pg_get_functiondef(oid) END)
        FROM pg_proc WHERE pronamespace = 'webmon'::regnamespace
        UNION ALL
        SELECT format('view %s %s', oid::regclass, pg_get_viewdef(oid)) FROM pg_class
        WHERE relnamespace = 'webmon'::regnamespace AND relkind = 'v'
        UNION ALL
        SELECT format('comment %s %s %s', objoid::regclass, a.attname, description) FROM pg_description
        LEFT JOIN pg_attribute a ON a.attrelid = objoid AND a.attnum = objsubid AND objsubid > 0
        WHERE classoid = 'pg_class'::regclass AND objoid IN (SELECT oid FROM pg_class WHERE relnamespace = 'webmon'::regnamespace)";
    database.client().query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn the_migrations_lead_to_the_schema_in_schema_sql() {
    // As long as there is one migration, it is the schema.
    if std::env::var_os("WEBMON_BLESS").is_some() {
        let (old, new) =
            (include_str!("../sql/schema.sql"), include_str!("../sql/migrations/0001_schema.sql"));
        let (head, body) =
            (old.split_once("-- Dimensions").unwrap().0, new.split_once("-- Dimensions").unwrap().1);
        std::fs::write("sql/schema.sql", format!("{head}-- Dimensions{body}")).unwrap();
    }
    let (Some(migrated), Some(read)) = (database(), support::empty_database()) else { return };
    read.client().batch_execute(include_str!("../sql/schema.sql")).unwrap();
    let (migrated, read) = (catalogue(&migrated), catalogue(&read));
    assert!(migrated.len() > 100);
    let only_migrated: Vec<_> = migrated.difference(&read).collect();
    let only_read: Vec<_> = read.difference(&migrated).collect();
    assert!(only_migrated.is_empty() && only_read.is_empty(), "{only_migrated:#?}\n{only_read:#?}");
}
