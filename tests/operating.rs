//! What an operator does with `webmon-store`: dead letters, and the check of the status.

mod support;

use serde_json::{Value, json};
use support::log::Log;
use support::{Database, database, result, value};
use webmon::config::Config;
use webmon::record::Outcome;
use webmon::store::{self, Verification};

fn config(database: &Database, more: &str) -> Config {
    support::config("127.0.0.1:1", "log", &database.url, more)
}

fn verified(database: &Database) -> Verification {
    store::verify(&database.connector(), None, &mut |_, _| {}).unwrap()
}

fn run(database: &Database, arguments: &[&str]) -> (Option<i32>, String, String) {
    let toml = support::config_toml("127.0.0.1:1", "log", &database.url, "");
    support::program(env!("CARGO_BIN_EXE_webmon-store"), &toml, arguments).finish()
}

fn store_json(database: &Database, arguments: &[&str]) -> (Option<i32>, Value) {
    let (code, stdout, log) = run(database, arguments);
    (code, serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{log}")))
}

#[test]
fn a_discarded_dead_letter_is_gone_and_the_ledger_says_so() {
    let Some(database) = database() else { return };
    let log = Log::new(2);
    for i in 0..7 {
        log.append(i % 2, if i < 5 { b"poison \xff".to_vec() } else { b"{}".to_vec() });
    }
    log.append(0, value(result("shop", 0, Outcome::Success)));
    // A partition of the ledger that was merged, and one offset with two letters, of a topic that was recreated.
    log.store(&config(&database, "store.batch_records = 1")).unwrap();
    store::compact_ledger(&mut database.client(), std::time::Duration::ZERO).unwrap();
    let mut client = database.client();
    client
        .batch_execute(
            "INSERT INTO webmon.dead_letters (topic, partition, record_offset, value, reason, detail)
             VALUES ('log', 1, 0, 'of the new topic', 'malformed', 'x');
             INSERT INTO webmon.ingest_batches (topic, partition, epoch, minute, from_offset, to_offset, records, inserted,
                                                superseded, duplicate, gaps, expired, dead)
             VALUES ('log', 1, 2, now(), 0, 1, 1, 0, 0, 0, 0, 0, 1)",
        )
        .unwrap();
    assert!(verified(&database).proven);

    let (code, _, errors) = run(&database, &["dead-letters", "discard", "--because", "x"]);
    assert_eq!(code, Some(1), "all letters go only when that is said");
    assert!(errors.contains("--all"), "{errors}");
    let (code, _, errors) = run(&database, &["dead-letters", "discard", "--because", " ", "--all"]);
    assert_eq!(code, Some(1), "a reason is needed");
    assert!(errors.contains("expected 1 to 1000"), "{errors}");

    let because = ["--because", "a test of the loader"];
    let (code, done) = store_json(
        &database,
        &[&["dead-letters", "discard", "--partition", "1", "--json"][..], &because[..]].concat(),
    );
    assert_eq!((code, done), (Some(0), json!({"discarded": 4, "left": 0})));
    let found = verified(&database);
    assert!(found.proven, "{found:#?}");
    assert_eq!((found.dead_letters, found.partitions[1].dead, found.partitions[1].discarded), (4, 0, 4));
    let kept = database.json("SELECT topic, letters, reason FROM webmon.dead_letter_discards");
    assert_eq!(kept, [json!({"topic": "log", "letters": 4, "reason": "a test of the loader"})]);

    let (code, done) =
        store_json(&database, &[&["dead-letters", "discard", "--all", "--json"][..], &because[..]].concat());
    assert_eq!((code, done), (Some(0), json!({"discarded": 4, "left": 0})));
    assert!(verified(&database).proven);
}

#[test]
fn an_export_of_dead_letters_loses_nothing_of_them() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let sent = [b"poison \xff\x00".to_vec(), "{\"v\": \"größer\"}".as_bytes().to_vec()];
    for value in &sent {
        log.append(0, value.clone());
    }
    for _ in 0..120 {
        log.append(0, b"more than a page".to_vec());
    }
    log.store(&config(&database, "")).unwrap();
    let (code, lines, errors) = run(&database, &["dead-letters", "export"]);
    assert_eq!(code, Some(0), "{errors}");
    let letters: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(letters.len(), 122);
    assert_eq!((&letters[0]["offset"], &letters[0]["value_base64"]), (&json!(0), &json!("cG9pc29uIP8A")));
    assert_eq!(letters[1]["value"], json!("{\"v\": \"größer\"}"));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("letters");
    std::fs::write(&path, "precious").unwrap();
    let file = path.to_str().unwrap();
    let (code, _, _) = run(&database, &["dead-letters", "export", "--output", file]);
    assert_eq!((code, std::fs::read_to_string(&path).unwrap().as_str()), (Some(1), "precious"));
    std::fs::remove_file(&path).unwrap();
    let (code, _, _) = run(&database, &["dead-letters", "export", "--output", file, "--reason", "malformed"]);
    assert_eq!(
        (code, std::fs::read_to_string(&path).unwrap().lines().count()),
        (Some(0), letters.iter().filter(|l| l["reason"] == "malformed").count())
    );
}

#[test]
fn a_status_check_fails_when_somebody_should_look() {
    let (Some(database), Some(brokers)) = (database(), support::kafka()) else { return };
    // The broker answers, and has no such topic.
    let topic = support::unique("absent");
    let toml = support::config_toml(&brokers, &topic, &database.url, "");
    let run =
        |arguments: &[&str]| support::program(env!("CARGO_BIN_EXE_webmon-store"), &toml, arguments).finish();
    let check = || run(&["status", "--check"]);
    let (code, _, errors) = check();
    assert_eq!(code, Some(1), "no writer yet");
    assert!(errors.contains("no writer has found the topic"), "{errors}");

    let mut client = database.client();
    client
        .execute(
            "INSERT INTO webmon.partition_offsets (topic, partition, next_offset, owner, leased_at, lease_until)
             VALUES ($1, 0, 5, 'a writer', now(), now() + interval '1 hour')",
            &[&topic],
        )
        .unwrap();
    let (code, _, errors) = check();
    assert_eq!(code, Some(0), "{errors}");
    let (code, _, errors) = run(&["status", "--check", "--max-lag", "10"]);
    assert_eq!(code, Some(1), "without Kafka nobody knows");
    assert!(errors.contains("kafka does not tell the lag"), "{errors}");

    for (fault, mended, says) in [
        (
            "UPDATE webmon.partition_offsets SET paused = 'the topic was recreated'",
            "UPDATE webmon.partition_offsets SET paused = NULL",
            "partition 0 is paused: the topic was recreated",
        ),
        (
            "UPDATE webmon.partition_offsets SET lease_until = now() - interval '1 s'",
            "UPDATE webmon.partition_offsets SET lease_until = now() + interval '1 hour'",
            "partition 0 has no writer",
        ),
        (
            "INSERT INTO webmon.jobs (scheduled_at, attempted_at, attempted_by, finalized_at, priority, attempt,
                                      max_attempts, state, kind, last_error, args)
             VALUES (now(), now(), 'w', now(), 1, 5, 5, 'discarded', 'roll_up', 'division by zero', 'null')",
            "INSERT INTO webmon.jobs (scheduled_at, attempted_at, attempted_by, finalized_at, priority, attempt,
                                      max_attempts, state, kind, args)
             VALUES (now(), now(), 'w', now(), 1, 1, 5, 'completed', 'roll_up', 'null')",
            "job roll_up keeps failing: division by zero",
        ),
        (
            "INSERT INTO webmon.jobs (scheduled_at, attempted_at, attempted_by, priority, attempt, max_attempts,
                                      state, kind, last_error, args)
             VALUES (now(), now(), 'w', 1, 3, 5, 'retryable', 'retention', 'somebody is in the way', 'null')",
            "DELETE FROM webmon.jobs WHERE kind = 'retention'",
            "job retention keeps failing: somebody is in the way",
        ),
    ] {
        client.batch_execute(fault).unwrap();
        let (code, _, errors) = check();
        assert_eq!(code, Some(1), "{says}");
        assert!(errors.contains(says), "{errors}");
        client.batch_execute(mended).unwrap();
        let (code, _, errors) = check();
        assert_eq!(code, Some(0), "{errors}");
    }
}

#[test]
fn a_partition_with_too_many_dead_letters_pauses_until_they_are_discarded() {
    let Some(database) = database() else { return };
    let log = Log::new(2);
    for _ in 0..30 {
        log.append(0, b"poison".to_vec());
    }
    log.append(0, value(result("shop", 0, Outcome::Success)));
    log.append(1, value(result("shop", 1, Outcome::Success)));
    let config = config(&database, "store.batch_records = 4\nstore.max_dead_letters = 10");
    log.store(&config).unwrap();
    let mut client = database.client();
    let status = store::partition_status(&mut client, "log").unwrap();
    assert_eq!((status[0].next_offset, status[1].next_offset), (Some(12), Some(1)));
    let paused = status[0].paused.as_deref().unwrap();
    assert_eq!(
        paused,
        "it has 12 dead letters, and store.max_dead_letters is 10: retry or discard them, then resume"
    );

    // The first record fetched is the last one stored, to be compared.
    for next_offset in [23, 31] {
        let (code, _, errors) = run(&database, &["dead-letters", "discard", "--all", "--because", "a test"]);
        assert_eq!(code, Some(0), "{errors}");
        store::resume(&mut client, "log", None).unwrap();
        log.store(&config).unwrap();
        assert_eq!(store::partition_status(&mut client, "log").unwrap()[0].next_offset, Some(next_offset));
    }
    let found = verified(&database);
    assert!(found.proven, "{found:#?}");
    assert_eq!((found.results, found.dead_letters), (2, 7));
    assert_eq!(found.partitions[0].discarded, 23);
}
