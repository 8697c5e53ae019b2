//! Replays, dead letters, and the proof that the history is complete, with the real program where people look.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::log::Log;
use support::{Database, database, instant, result, value, wait_within};
use webmon::config::{Config, Retention};
use webmon::record::{CheckResult, Gap, GapReason, GapRecord, Outcome, Record, RecordVersion};
use webmon::store::{self, DeadLetterFilter, RollUpLimits, StoreError, Verification};

fn config(database: &Database, more: &str) -> Config {
    support::config("127.0.0.1:1", "log", &database.url, more)
}

fn verified(database: &Database) -> Verification {
    store::verify(&database.connector(), None, &mut |_, _| {}).unwrap()
}

/// A chain of `count` results of a minute each, from `first` on; the last one announces another.
fn chain(site: &str, first: i64, count: i64) -> Vec<CheckResult> {
    let link = |i| {
        let mut r = result(site, (first + i) * 60, Outcome::Success);
        r.next_at = Some(instant((first + i + 1) * 60));
        r
    };
    (0..count).map(link).collect()
}

fn gap(site: &str, from: i64, to: Option<i64>, instants: u64) -> Vec<u8> {
    let gap = Gap {
        from: instant(from * 60),
        to: to.map(|to| instant(to * 60)),
        instants,
        reason: GapReason::CheckerDown,
    };
    Record::Gap(GapRecord {
        v: RecordVersion,
        site: site.to_owned(),
        location: "here".to_owned(),
        checker: "checker-1".to_owned(),
        gap,
    })
    .encode()
}

fn store_json(database: &Database, arguments: &[&str]) -> (Option<i32>, Value) {
    let toml = support::config_toml("127.0.0.1:1", "log", &database.url, "");
    let (code, stdout, log) = support::program(env!("CARGO_BIN_EXE_webmon-store"), &toml, arguments).finish();
    (code, serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{log}")))
}

#[test]
fn a_complete_history_is_proven() {
    let Some(database) = database() else { return };
    let log = Log::new(2);
    // Over midnight, from two sites in two partitions, with duplicates, a gap between, and poison.
    for (partition, site) in [(0, "shop"), (1, "blog")] {
        for r in chain(site, -30, 60) {
            log.append(partition, value(r.clone()));
            log.append(partition, value(r));
        }
        log.append(partition, gap(site, 30, Some(45), 15));
        for r in chain(site, 45, 5) {
            log.append(partition, value(r));
        }
        log.append(partition, b"poison".to_vec());
    }
    log.store(&config(&database, "")).unwrap();
    let found = verified(&database);
    assert!(found.proven, "{found:#?}");
    assert_eq!((found.results, found.results_expected), (130, 130));
    assert_eq!((found.dead_letters, found.dead_letters_expected), (2, 2));
    assert_eq!((found.links, found.broken, found.open), (132, 0, 2));

    let (code, printed) = store_json(&database, &["verify", "--json"]);
    assert_eq!((code, &printed["proven"], &printed["links"]), (Some(0), &json!(true), &json!(132)));
}

#[test]
fn a_lost_result_is_found_as_the_broken_link_and_as_a_missing_row() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    for r in chain("shop", 0, 10) {
        log.append(0, value(r));
    }
    log.store(&config(&database, "")).unwrap();
    assert!(verified(&database).proven);
    let sql = format!("DELETE FROM webmon.check_results WHERE scheduled_at = '{}'", instant(4 * 60));
    assert_eq!(database.client().execute(&sql, &[]).unwrap(), 1);
    let found = verified(&database);
    assert!(!found.proven);
    assert_eq!((found.results, found.results_expected, found.broken, found.open), (9, 10, 1, 1));
    let link = &found.broken_links[0];
    assert_eq!((link.site.as_str(), link.announced_at, link.due_at), ("shop", instant(180), instant(240)));
    let (code, _) = store_json(&database, &["verify", "--json"]);
    assert_eq!(code, Some(1));
}

#[test]
fn a_chain_that_goes_on_only_in_a_later_gap_or_after_one_is_broken() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    // 3 is announced, the gap begins at 5; it ends at 8, and the chain goes on at 9.
    for r in chain("shop", 0, 3).into_iter().chain(chain("shop", 9, 2)) {
        log.append(0, value(r));
    }
    log.append(0, gap("shop", 5, Some(8), 3));
    log.store(&config(&database, "")).unwrap();
    let found = verified(&database);
    let due: Vec<_> = found.broken_links.iter().map(|link| link.due_at).collect();
    assert_eq!(due, [instant(3 * 60), instant(8 * 60)]);
}

#[test]
fn a_gap_without_an_end_stands_for_its_own_instant_only() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    for r in chain("shop", -200, 3) {
        log.append(0, value(r));
    }
    log.append(0, gap("shop", -197, None, 1));
    for r in chain("shop", -100, 3).into_iter().chain(chain("shop", -90, 3)) {
        log.append(0, value(r));
    }
    log.store(&config(&database, "")).unwrap();
    let due: Vec<_> = verified(&database).broken_links.iter().map(|link| link.due_at).collect();
    assert_eq!(due, [instant(-97 * 60)]);
}

#[test]
fn a_hole_in_the_ledger_is_found() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    for r in chain("shop", 0, 30) {
        log.append(0, value(r));
    }
    let config = config(&database, "");
    log.store(&config).unwrap();
    let skip = "UPDATE webmon.partition_offsets SET next_offset = 40, last_record_crc = NULL";
    database.client().batch_execute(skip).unwrap();
    for r in chain("shop", 30, 30) {
        log.append(0, value(r));
    }
    log.store(&config).unwrap();
    let found = verified(&database);
    assert_eq!(found.partitions[0].holes, [(30, 40)]);
    assert!(!found.proven);
    // What Kafka lost is known, and is no hole.
    let lost = "INSERT INTO webmon.offset_gaps VALUES ('log', 0, 30, 40)";
    database.client().batch_execute(lost).unwrap();
    assert_eq!(verified(&database).partitions[0].holes, []);
}

#[test]
fn a_replay_stores_nothing_twice_and_leaves_the_proof_whole() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let config = config(&database, "store.batch_records = 7");
    for (i, r) in chain("shop", 0, 50).into_iter().enumerate() {
        log.append(0, if i % 10 == 9 { b"poison".to_vec() } else { value(r) });
    }
    log.store(&config).unwrap();
    let before = database.json("SELECT * FROM webmon.checks ORDER BY scheduled_at");
    assert_eq!(store::replay(&mut database.client(), "log", 0, 20).unwrap(), Some(50));
    log.store(&config).unwrap();
    assert_eq!(database.json("SELECT * FROM webmon.checks ORDER BY scheduled_at"), before);
    let found = verified(&database);
    let ledger = &found.partitions[0];
    assert_eq!((ledger.next_offset, ledger.records, ledger.duplicate), (Some(50), 80, 30));
    assert_eq!((ledger.from_offset, ledger.to_offset), (Some(0), Some(50)));
    assert_eq!((found.results, found.results_expected), (45, 45));
    assert_eq!((found.dead_letters, found.dead_letters_expected), (5, 5));
    assert_eq!(ledger.holes, []);
}

#[test]
fn a_replay_neither_leaves_records_out_nor_takes_a_partition_nobody_knows() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    log.append(0, value(result("shop", 0, Outcome::Success)));
    log.store(&config(&database, "")).unwrap();
    let error = store::replay(&mut database.client(), "log", 0, 2).unwrap_err();
    assert!(matches!(error, StoreError::ReplayAhead { offset: 2, next_offset: 1 }), "{error}");
    assert_eq!(database.number("SELECT next_offset FROM webmon.partition_offsets"), 1);
    let error = store::replay(&mut database.client(), "log", 1, 0).unwrap_err();
    assert!(matches!(error, StoreError::UnknownPartition { partition: 1, .. }), "{error}");
}

#[test]
fn a_writer_at_work_is_fenced_off_by_a_replay() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    for r in chain("shop", 0, 10) {
        log.append(0, value(r));
    }
    let url = database.url.clone();
    log.before_delivery(move |fetch| {
        if fetch == 2 {
            let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
            store::replay(&mut client, "log", 0, 0).unwrap();
        }
    });
    log.store(&config(&database, "store.batch_records = 5")).unwrap();
    // The second batch was fetched for a claim that is no more: it comes again, after the first.
    let shutdown_early = database.number("SELECT next_offset FROM webmon.partition_offsets");
    assert!(shutdown_early == 0 || shutdown_early == 10);
    log.store(&config(&database, "")).unwrap();
    let found = verified(&database);
    assert!(found.proven, "{found:#?}");
    assert_eq!(found.partitions[0].duplicate, 5);
}

#[test]
fn a_dead_letter_that_can_be_stored_by_now_is_stored_and_the_ledger_moves_with_it() {
    let Some(database) = database() else { return };
    let teapots = "ALTER TABLE webmon.check_results ADD CONSTRAINT no_teapots CHECK (http_status <> 418)";
    database.client().batch_execute(teapots).unwrap();
    let log = Log::new(1);
    let config = config(&database, "");
    for (i, mut r) in chain("shop", 0, 20).into_iter().enumerate() {
        if i % 5 == 0 {
            r.http_status = Some(418);
        }
        log.append(0, value(r));
    }
    log.append(0, b"poison".to_vec());
    log.store(&config).unwrap();
    assert_eq!(verified(&database).broken, 3);
    let all = DeadLetterFilter::default();
    let mut client = database.client();
    let retry = |client: &mut postgres::Client, filter: &DeadLetterFilter| {
        store::retry_dead_letters(client, "log", filter, &config.store, &mut |_| true).unwrap()
    };
    let retried = retry(&mut client, &all);
    assert_eq!((retried.stored, retried.still_dead), (0, 5));

    client.batch_execute("ALTER TABLE webmon.check_results DROP CONSTRAINT no_teapots").unwrap();
    let (code, listed) = store_json(&database, &["dead-letters", "list", "--reason", "refused", "--json"]);
    let offsets: Vec<_> = listed.as_array().unwrap().iter().map(|letter| letter["offset"].clone()).collect();
    assert_eq!((code, offsets), (Some(0), vec![json!(0), json!(5), json!(10), json!(15)]));
    let (_, shown) =
        store_json(&database, &["dead-letters", "show", "--partition", "0", "--offset", "20", "--json"]);
    assert_eq!((&shown[0]["value"], &shown[0]["reason"]), (&json!("poison"), &json!("malformed")));

    let (code, retried) = store_json(&database, &["dead-letters", "retry", "--offset", "5", "--json"]);
    assert_eq!((code, retried), (Some(0), json!({"stored": 1, "still_dead": 0})));
    let retried = retry(&mut client, &all);
    assert_eq!((retried.stored, retried.still_dead), (3, 1));
    let found = verified(&database);
    assert!(found.proven, "{found:#?}");
    assert_eq!((found.results, found.dead_letters), (20, 1));
    assert_eq!(found.partitions[0].inserted, 20);
}

#[test]
fn a_compacted_ledger_proves_the_same() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let config = config(&database, "store.batch_records = 5");
    for round in 0..4 {
        for r in chain("shop", round * 20, 20) {
            log.append(0, value(r));
        }
        log.append(0, b"poison".to_vec());
        log.store(&config).unwrap();
        // An hour later, still in this claim's epoch: what was stored in the meantime is a row of its own.
        let later = "UPDATE webmon.ingest_batches SET minute = minute - interval '1 hour'";
        database.client().batch_execute(later).unwrap();
        let same = "UPDATE webmon.partition_offsets SET epoch = 0";
        database.client().batch_execute(same).unwrap();
    }
    let rows = || database.number("SELECT count(*) FROM webmon.ingest_batches");
    let before = verified(&database);
    assert!(before.proven && rows() >= 4, "{before:#?}");
    let hour = std::time::Duration::from_secs(3_600);
    let client = &mut database.client();
    // The newest are left alone; compacting again changes nothing.
    store::compact_ledger(client, 2 * hour).unwrap();
    assert_eq!(store::compact_ledger(client, 2 * hour).unwrap(), 0);
    let (left, days) =
        (rows(), "SELECT count(DISTINCT (minute AT TIME ZONE 'UTC')::date) FROM webmon.ingest_batches");
    assert!(left <= 1 + database.number(days), "{left} rows are left");
    let after = verified(&database);
    assert!(after.proven);
    assert_eq!(after.partitions, before.partitions);
}

fn roll_up(database: &Database) {
    store::roll_up(&mut database.client(), &RollUpLimits::default()).unwrap();
}

/// Stores a result every six hours, from so many days ago until now.
fn store_days(database: &Database, log: &Log, days: i64) {
    for i in -days * 4..1 {
        let mut r = result("shop", i * 21_600, Outcome::Success);
        r.next_at = Some(instant((i + 1) * 21_600));
        log.append(0, value(r));
    }
    log.store(&config(database, "")).unwrap();
}

const ONE_DAY: Retention = Retention { results: Duration::from_secs(86_400), hours: None, days: None };

#[test]
fn verify_is_complete_after_retention() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    store_days(&database, &log, 4);
    // Three days ago, and yesterday, a gap ends with an instant that has a result.
    log.append(0, gap("shop", -3 * 1_440 - 10, Some(-3 * 1_440), 10));
    log.append(0, gap("shop", -1_440 - 10, Some(-1_440), 10));
    log.store(&config(&database, "")).unwrap();
    let before = verified(&database);
    assert!(before.proven, "{before:#?}");
    assert_eq!((before.results, before.links), (17, 19));
    roll_up(&database);
    store::retain(&mut database.client(), &ONE_DAY, Duration::from_secs(60)).unwrap();
    let found = verified(&database);
    assert!(found.proven, "{found:#?}");
    assert_eq!((found.results, found.links, found.open), (5, 6, 1));
    // What is there must be whole.
    let lost = format!("DELETE FROM webmon.check_results WHERE scheduled_at = '{}'", instant(-86_400));
    database.client().batch_execute(&lost).unwrap();
    assert_eq!(verified(&database).broken, 1);
}

#[test]
fn results_that_are_dropped_while_others_are_verified_are_not_missed() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    store_days(&database, &log, 4);
    roll_up(&database);
    let mut dropped = 0;
    let mut retain = |done: usize, days: usize| {
        // The newest, and one that is about to go, are read.
        if done + 2 == days {
            let client = &mut database.client();
            dropped = store::retain(client, &ONE_DAY, Duration::from_secs(60)).unwrap().partitions;
        }
    };
    let found = store::verify(&database.connector(), None, &mut retain).unwrap();
    assert_eq!(dropped, 3);
    assert!(found.proven, "{found:#?}");
    assert_eq!((found.results, found.results_expected), (9, 9));
}

#[test]
fn an_instant_that_is_days_ahead_is_looked_up_there() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    let link = |from: i64, to: i64| {
        let mut r = result("shop", from * 86_400, Outcome::Success);
        r.next_at = Some(instant(to * 86_400));
        value(r)
    };
    // By a gap that ends on a day without any result, too.
    log.append(0, link(-20, -15));
    log.append(0, link(-15, -12));
    log.append(0, gap("shop", -12 * 1_440, Some(-10 * 1_440), 2));
    log.append(0, gap("shop", -10 * 1_440, Some(-5 * 1_440), 5));
    log.append(0, link(-5, 0));
    log.store(&config(&database, "")).unwrap();
    let found = verified(&database);
    assert!(found.proven, "{found:#?}");
    assert_eq!((found.links, found.open), (5, 1));
    for (table, column, day) in [("check_results", "scheduled_at", -15), ("gaps", "from_at", -10)] {
        let lost = format!("DELETE FROM webmon.{table} WHERE {column} = '{}'", instant(day * 86_400));
        assert_eq!(database.client().execute(&lost, &[]).unwrap(), 1);
    }
    let due: Vec<_> = verified(&database).broken_links.iter().map(|link| link.due_at).collect();
    assert_eq!(due, [instant(-10 * 86_400), instant(-15 * 86_400)]);
}

#[test]
fn offsets_without_a_record_are_told_and_records_counted_twice_disprove() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    let config = config(&database, "store.batch_records = 10");
    for r in chain("shop", 0, 30) {
        log.append(0, value(r));
    }
    log.store(&config).unwrap();
    store::replay(&mut database.client(), "log", 0, 10).unwrap();
    log.store(&config).unwrap();
    let figures = |found: &Verification| {
        (found.proven, found.partitions[0].without_record, found.partitions[0].overcounted)
    };
    assert_eq!(figures(&verified(&database)), (true, 0, 0));
    // As if five offsets of a compacted topic had held nothing.
    let fewer = "UPDATE webmon.ingest_batches SET records = records - 5, duplicate = duplicate - 5 \
                 WHERE epoch = (SELECT max(epoch) FROM webmon.ingest_batches)";
    database.client().batch_execute(fewer).unwrap();
    assert_eq!(figures(&verified(&database)), (true, 5, 0));
    let toml = support::config_toml("127.0.0.1:1", "log", &database.url, "");
    let (code, stdout, _) = support::program(env!("CARGO_BIN_EXE_webmon-store"), &toml, &["verify"]).finish();
    assert_eq!(code, Some(0));
    assert!(stdout.contains("offsets       5 without a record, 0 records counted twice\n"), "{stdout}");
    let more = fewer.replace(" - 5", " + 7");
    database.client().batch_execute(&more).unwrap();
    assert_eq!(figures(&verified(&database)), (false, 0, 2));
}

#[test]
fn verify_locks_the_partitions_of_a_day_or_two_at_once() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    let days = support::scale(150, 4_000);
    log.append(0, value(result("shop", 0, Outcome::Success)));
    log.store(&config(&database, "")).unwrap();
    // A few a transaction: to make them takes locks, too.
    let make = format!(
        "DO $$ DECLARE day date; name text; BEGIN
             FOR n IN 1..{days} LOOP
                 day := (now() AT TIME ZONE 'UTC')::date - n;
                 name := format('check_results_%s', to_char(day, 'YYYYMMDD'));
                 EXECUTE format('CREATE TABLE webmon.%I PARTITION OF webmon.check_results FOR VALUES FROM (%L) TO (%L)',
                                name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
                 IF n % 50 = 0 THEN COMMIT; END IF;
             END LOOP;
         END $$"
    );
    database.client().batch_execute(&make).unwrap();
    let oldest = instant(-days * 86_400).strftime("webmon.check_results_%Y%m%d").to_string();
    let mut client = database.client();
    let mut blocking = client.transaction().unwrap();
    blocking.batch_execute(&format!("LOCK TABLE ONLY {oldest} IN ACCESS EXCLUSIVE MODE")).unwrap();
    std::thread::scope(|scope| {
        let verifying = scope.spawn(|| verified(&database));
        // At the oldest day, the last one, it has been through all the others.
        let waiting = format!(
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
             WHERE NOT granted AND datname = current_database() AND relation = '{oldest}'::regclass"
        );
        let patience = Duration::from_secs(600);
        wait_within(patience, "it waits for the oldest day", || database.number(&waiting) == 1);
        let locks = database.number(
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        blocking.commit().unwrap();
        assert!(verifying.join().unwrap().proven);
        assert!(locks < 60, "{locks} locks");
    });
}

#[test]
fn results_that_retention_has_dropped_leave_the_proof_whole() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    // A result every six hours, from four days ago until now.
    for i in -16..1 {
        let mut r = result("shop", i * 21_600, Outcome::Success);
        r.next_at = Some(instant((i + 1) * 21_600));
        log.append(0, value(r));
    }
    let config = config(&database, "store.retention = { results = \"1d\" }");
    let keep_all = support::config("127.0.0.1:1", "log", &database.url, "");
    log.store(&keep_all).unwrap();
    assert_eq!(verified(&database).results, 17);
    roll_up(&database);
    let minute = std::time::Duration::from_secs(60);
    let retained = store::retain(&mut database.client(), &config.store.retention, minute).unwrap();
    assert!(retained.partitions >= 2 && !retained.again, "{retained:?}");
    let found = verified(&database);
    assert!(found.proven && found.results < 17, "{found:#?}");
    assert_eq!(found.partitions[0].inserted, 17);
    // What is stored again of them is counted as expired, and the proof stands.
    store::replay(&mut database.client(), "log", 0, 0).unwrap();
    log.store(&config).unwrap();
    let found = verified(&database);
    assert!(found.proven, "{found:#?}");
    assert_eq!(found.partitions[0].expired + found.partitions[0].duplicate, 17);
}
