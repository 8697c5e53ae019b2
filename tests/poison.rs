//! What the database refuses, wherever in a record it lies, is that record's dead letter and stops no partition; and what
//! a batch with results that are stored already costs.

mod support;

use serde_json::json;
use support::log::Log;
use support::{Database, database, instant, result, scale, value};
use webmon::config::Config;
use webmon::record::{CheckResult, Gap, GapReason, GapRecord, Outcome, Record, RecordVersion};
use webmon::store::{self, DeadLetterFilter, Retried};

fn config(database: &Database) -> Config {
    support::config("127.0.0.1:1", "log", &database.url, "")
}

fn seen_from(location: &str, seconds: i64) -> Vec<u8> {
    value(CheckResult { location: location.to_owned(), ..result("shop", seconds, Outcome::Success) })
}

fn gap(location: &str, from: i64, instants: u64) -> Vec<u8> {
    let gap =
        Gap { from: instant(from), to: Some(instant(from + 60)), instants, reason: GapReason::OutboxFull };
    let (site, checker) = ("shop".to_owned(), "checker-1".to_owned());
    let location = location.to_owned();
    Record::Gap(GapRecord { v: RecordVersion, site, location, checker, gap }).encode()
}

/// The offsets of the dead letters, all of them `refused` and with the record as it came.
fn refused(database: &Database, sent: &[Vec<u8>]) -> Vec<i64> {
    let sql = "SELECT record_offset, reason, value FROM webmon.dead_letters ORDER BY 1";
    let rows = database.client().query(sql, &[]).unwrap();
    for row in &rows {
        assert_eq!(row.get::<_, &str>(1), "refused");
        assert_eq!(row.get::<_, Vec<u8>>(2), sent[row.get::<_, i64>(0) as usize]);
    }
    rows.iter().map(|row| row.get(0)).collect()
}

/// Everything is stored and accounted for, in one ledger without a hole.
fn assert_ledger(database: &Database, end: i64, dead: i64) {
    let sums = database.json(
        "SELECT min(from_offset) AS f, max(to_offset) AS t, sum(records)::bigint AS r, sum(dead)::bigint AS d \
         FROM webmon.ingest_batches WHERE partition = 0",
    );
    assert_eq!(sums, [json!({"f": 0, "t": end, "r": end, "d": dead})]);
    let found = store::verify(&database.connector(), None, &mut |_, _| {}).unwrap();
    assert_eq!(found.results, found.results_expected);
}

fn store(database: &Database, records: &[Vec<u8>]) -> Log {
    let log = Log::new(1);
    records.iter().for_each(|record| log.append(0, record.clone()));
    log.store(&config(database)).unwrap();
    log
}

#[test]
fn a_location_that_no_id_is_left_for_is_the_dead_letter_of_its_records() {
    let Some(database) = database() else { return };
    let identity = |maximum: &str| {
        let sql = format!("ALTER SEQUENCE webmon.locations_location_id_seq {maximum}");
        database.client().batch_execute(&sql).unwrap();
    };
    identity("MAXVALUE 2");
    let mut sent: Vec<Vec<u8>> = Vec::new();
    for i in 0..40 {
        sent.push(seen_from(["a", "b", "c", "d"][i % 4], i as i64));
    }
    sent.push(gap("e", 0, 60));
    sent.push(gap("a", 0, 60));
    // Two have an id before, as the end of a sequence is passed by whoever meets it.
    let log = store(&database, &sent[..2]);
    sent[2..].iter().for_each(|record| log.append(0, record.clone()));
    log.store(&config(&database)).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM webmon.locations"), 2);
    let dead = refused(&database, &sent);
    assert_eq!(dead.len() as i64, 20 + 1, "{dead:?}");
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 20);
    assert_ledger(&database, 42, 21);

    // Once there are more ids, they can be stored as what they are.
    identity("MAXVALUE 100");
    let config = config(&database).store;
    let all = DeadLetterFilter::default();
    let retried =
        store::retry_dead_letters(&mut database.client(), "log", &all, &config, &mut |_| true).unwrap();
    assert_eq!(retried, Retried { stored: 21, still_dead: 0 });
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 40);
    assert_eq!(database.number("SELECT count(*) FROM webmon.gaps"), 2);
    assert_ledger(&database, 42, 0);
}

#[test]
fn a_version_of_a_site_that_is_refused_costs_the_others_nothing() {
    let Some(database) = database() else { return };
    let check = "ALTER TABLE webmon.site_versions ADD CONSTRAINT no_teapots CHECK (url NOT LIKE '%teapot%')";
    database.client().batch_execute(check).unwrap();
    let sent: Vec<Vec<u8>> = (0..100)
        .map(|i| {
            let mut r = result(&format!("site-{}", i % 10), i, Outcome::Success);
            if i % 40 == 7 {
                r.url = "https://teapot.example/".to_owned();
            }
            value(r)
        })
        .collect();
    store(&database, &sent);
    assert_eq!(refused(&database, &sent), [7, 47, 87]);
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 97);
    assert_ledger(&database, 100, 3);
}

#[test]
fn a_gap_that_is_refused_costs_the_others_nothing() {
    let Some(database) = database() else { return };
    let check = "ALTER TABLE webmon.gaps ADD CONSTRAINT no_thirteen CHECK (instants <> 13)";
    database.client().batch_execute(check).unwrap();
    let mut sent: Vec<Vec<u8>> = (0..20).map(|i| gap("a", i * 60, if i == 9 { 13 } else { 60 })).collect();
    sent.push(seen_from("a", 3_000));
    store(&database, &sent);
    assert_eq!(refused(&database, &sent), [9]);
    assert_eq!(database.number("SELECT count(*) FROM webmon.gaps"), 19);
    assert_eq!(database.number("SELECT sum(gaps)::bigint FROM webmon.ingest_batches"), 19);
    assert_ledger(&database, 21, 1);
}

#[test]
fn a_dead_letter_that_is_refused_is_kept_without_its_value() {
    let Some(database) = database() else { return };
    let check = "ALTER TABLE webmon.dead_letters ADD CONSTRAINT no_novels CHECK (octet_length(value) < 100)";
    database.client().batch_execute(check).unwrap();
    let sent = [b"{".to_vec(), vec![b'x'; 1_000], seen_from("a", 0), b"}".to_vec()];
    store(&database, &sent);
    let letters = database.json(
        "SELECT record_offset AS o, octet_length(value) AS n, detail LIKE '%kept without key and value: %no_novels%' AS told \
         FROM webmon.dead_letters ORDER BY 1",
    );
    let expected = [
        json!({"o": 0, "n": 1, "told": false}),
        json!({"o": 1, "n": null, "told": true}),
        json!({"o": 3, "n": 1, "told": false}),
    ];
    assert_eq!(letters, expected);
    assert_ledger(&database, 4, 3);
}

/// Of what not even a dead letter can be made, nothing is lost: its partition waits, and the others go on.
#[test]
fn a_partition_whose_dead_letters_are_all_refused_waits_and_costs_the_others_nothing() {
    let Some(database) = database() else { return };
    let check = "ALTER TABLE webmon.dead_letters ADD CONSTRAINT closed CHECK (reason <> 'malformed')";
    database.client().batch_execute(check).unwrap();
    let log = Log::new(2);
    log.append(0, b"{".to_vec());
    log.append(1, seen_from("a", 0));
    log.store(&config(&database)).unwrap();
    let status = store::partition_status(&mut database.client(), "log").unwrap();
    assert_eq!(status[0].next_offset, Some(0));
    assert!(status[0].last_error.as_ref().unwrap().contains("\"closed\""), "{status:?}");
    assert_eq!((&status[0].paused, &status[0].owner), (&None, &None));
    assert_eq!(status[1].next_offset, Some(1));

    database.client().batch_execute("ALTER TABLE webmon.dead_letters DROP CONSTRAINT closed").unwrap();
    log.store(&config(&database)).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM webmon.dead_letters"), 1);
    assert_eq!(store::partition_status(&mut database.client(), "log").unwrap()[0].last_error, None);
}

/// However many days are stored: what a batch meets of its own days is looked up, and replaced, in these alone.
#[test]
fn a_batch_with_duplicates_locks_the_partitions_of_its_own_days_only() {
    let Some(database) = database() else { return };
    let days: i32 = scale(300, 4_000);
    let mut client = database.client();
    for from in (0..days).step_by(50) {
        let sql = format!(
            "SELECT webmon.ensure_result_partition((now() AT TIME ZONE 'UTC')::date - n) \
             FROM generate_series({from}, {}) AS n",
            (from + 49).min(days - 1)
        );
        client.batch_execute(&sql).unwrap();
    }
    // The ledger is what a transaction writes last.
    client
        .batch_execute(
            "CREATE TABLE public.locks (n bigint);
             CREATE FUNCTION public.count_locks() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 INSERT INTO public.locks SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid();
                 RETURN NULL;
             END $$;
             CREATE TRIGGER count_locks AFTER INSERT OR UPDATE ON webmon.ingest_batches
             FOR EACH ROW EXECUTE FUNCTION public.count_locks();",
        )
        .unwrap();
    let log = Log::new(1);
    for outcome in [Outcome::Missed, Outcome::Success, Outcome::Failure, Outcome::Success] {
        for i in 0..300 {
            // Over two days.
            log.append(0, value(result("shop", i - 86_400 * (i % 2), outcome)));
        }
    }
    let toml = support::config_toml("127.0.0.1:1", "log", &database.url, "store.batch_records = 100");
    for batch in ["store.batch_records = 300", "store.batch_records = 100"] {
        let toml = toml.replace("store.batch_records = 100", batch);
        let config = Config::from_toml(&toml, webmon::config::Role::Store).unwrap();
        log.store(&config).unwrap();
        store::replay(&mut client, "log", 0, 0).unwrap();
    }
    let sums = database.json(
        "SELECT sum(inserted)::int AS i, sum(superseded)::int AS s, sum(duplicate)::int AS d FROM webmon.ingest_batches",
    );
    assert_eq!(sums, [json!({"i": 300, "s": 300, "d": 1_800})]);
    assert_eq!(database.number("SELECT count(*) FROM public.locks"), 4 + 12);
    let most = database.number("SELECT max(n) FROM public.locks");
    assert!(most < 60, "a transaction held {most} locks with {days} days");
}

#[test]
fn a_record_that_is_not_the_one_stored_is_noticed_also_when_the_fetch_fails_for_another_partition() {
    let Some(database) = database() else { return };
    let log = Log::new(2);
    let fill = |partition: usize, from: i64, to: i64| {
        (from..to).for_each(|i| log.append(partition, seen_from(["a", "b"][partition], i)));
    };
    fill(0, 0, 5);
    fill(1, 0, 5);
    log.store(&config(&database)).unwrap();
    // Partition 0 is another one, with as many records and one more. Partition 1 loses some before it is fetched.
    log.clear(0);
    fill(0, 100, 106);
    fill(1, 5, 20);
    let forgetful = log.clone();
    log.before_fetch(move |fetch| {
        if fetch == 1 {
            forgetful.forget(1, 12);
        }
    });
    log.store(&config(&database)).unwrap();
    let status = store::partition_status(&mut database.client(), "log").unwrap();
    let reason = "the record at offset 4 is not the one that was stored: the topic was recreated";
    assert_eq!((status[0].paused.as_deref(), status[0].next_offset), (Some(reason), Some(5)));
    assert_eq!((&status[1].paused, status[1].next_offset), (&None, Some(20)));
    let lost = database.json("SELECT partition, from_offset, to_offset FROM webmon.offset_gaps");
    assert_eq!(lost, [json!({"partition": 1, "from_offset": 5, "to_offset": 12})]);
}
