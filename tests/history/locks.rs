//! Reading the history locks the partitions of a few days, and the programs show it.

use std::time::Duration;

use serde_json::json;
use webmon::record::Outcome;
use webmon::store;

use crate::common::{DAY, HOUR, config, roll_up};
use crate::support::log::Log;
use crate::support::{database, instant, result, value};

#[test]
fn reading_the_current_status_locks_no_day_however_many_there_are() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    for site in 0..100 {
        let mut r = result(&format!("site-{site}"), -DAY * (site % 3), Outcome::Success);
        r.next_at = Some(instant(7 * DAY));
        log.append(0, value(r));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    // Days without rows, 100 to a parent of their own: made one by one below one parent they take minutes.
    let parents = crate::support::scale(3, 40);
    database
        .client()
        .batch_execute(&format!(
            "DO $$
             DECLARE
                 first timestamptz := date_trunc('day', now(), 'UTC') - make_interval(hours => 2400 * {parents} + 2640);
             BEGIN
                 FOR parent IN 1..{parents} LOOP
                     EXECUTE format('CREATE TABLE webmon.days_%s (LIKE webmon.check_results INCLUDING CONSTRAINTS) PARTITION BY RANGE (scheduled_at)', parent);
                     FOR n IN 0..99 LOOP
                         EXECUTE format('CREATE TABLE webmon.days_%1$s_%2$s PARTITION OF webmon.days_%1$s FOR VALUES FROM (%3$L) TO (%4$L) PARTITION BY RANGE (scheduled_at)',
                             parent, n, first + make_interval(hours => 24 * (parent * 100 + n)), first + make_interval(hours => 24 * (parent * 100 + n + 1)));
                     END LOOP;
                     EXECUTE format('ALTER TABLE webmon.check_results ATTACH PARTITION webmon.days_%s FOR VALUES FROM (%L) TO (%L)',
                         parent, first + make_interval(hours => 2400 * parent), first + make_interval(hours => 2400 * (parent + 1)));
                     COMMIT;
                 END LOOP;
             END $$",
        ))
        .unwrap();
    let mut client = database.client();
    let mut transaction = client.transaction().unwrap();
    assert_eq!(
        transaction.query("SELECT * FROM webmon.current_status WHERE status = 'up'", &[]).unwrap().len(),
        100
    );
    let locks = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation::regclass::text ~ '(days|results)_'";
    let locks: i64 = transaction.query_one(locks, &[]).unwrap().get(0);
    assert_eq!(locks, 0, "what was read is let go");
    let all: i64 = transaction
        .query_one("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    assert!(all < 40, "{all} locks");
    transaction.commit().unwrap();
    // Nor does deriving an hour lock every day.
    let mut transaction = client.transaction().unwrap();
    let hour = instant(-DAY);
    let sql = include_str!("../../sql/queries/history/find_failure_runs.sql");
    transaction.execute(sql, &[&hour, &instant(-DAY + HOUR)]).unwrap();
    let sql = include_str!("../../sql/queries/history/roll_up_hour.sql");
    transaction.execute(sql, &[&hour, &instant(-DAY + HOUR)]).unwrap();
    let all: i64 = transaction
        .query_one("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    assert!(all < 100, "{all} locks");
}

#[test]
fn sites_are_counted_before_and_after_they_are_rolled_up() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let latest = || {
        let latest = store::latest_results(&mut database.client(), Duration::from_secs(2 * 86_400)).unwrap();
        let brief = |l: &store::LatestResult| {
            (l.site.clone(), l.scheduled_at, l.outcome, l.results, l.successes, l.failures, l.missed)
        };
        latest.iter().map(brief).collect::<Vec<_>>()
    };
    for (n, outcome) in [(-3 * DAY, Outcome::Failure), (-DAY, Outcome::Success), (-DAY + 1, Outcome::Missed)]
    {
        log.append(0, value(result("shop", n, outcome)));
    }
    log.append(0, value(result("old", -3 * DAY, Outcome::Success)));
    log.store(&config).unwrap();
    // Of a site that nothing is known of yet.
    let first = [("shop".to_owned(), instant(-DAY + 1), Outcome::Missed, 2, 1, 0, 1)];
    assert_eq!(latest(), first);
    roll_up(&database);
    assert_eq!(latest(), first);
    // One more of an hour that is rolled up, and one of another hour.
    log.append(0, value(result("shop", -DAY, Outcome::Failure)));
    log.append(0, value(result("shop", -DAY + 2, Outcome::Failure)));
    log.append(0, value(result("shop", -HOUR, Outcome::Failure)));
    log.store(&config).unwrap();
    let then = [("shop".to_owned(), instant(-HOUR), Outcome::Failure, 4, 1, 2, 1)];
    assert_eq!(latest(), then);
    roll_up(&database);
    assert_eq!(latest(), then);
}

#[test]
#[cfg(feature = "cli")]
fn locations_are_listed_and_retired_by_the_program_and_status_names_what_is_set_aside() {
    let (Some(database), Some(brokers)) = (database(), crate::support::kafka()) else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    log.append(0, value(result("shop", -DAY, Outcome::Failure)));
    log.append(0, value(result("shop", -DAY + 1, Outcome::Failure)));
    log.store(&config).unwrap();
    roll_up(&database);
    let run = |arguments: &[&str]| {
        let toml = crate::support::config_toml(&brokers, "log", &database.url, "");
        crate::support::program(env!("CARGO_BIN_EXE_webmon-store"), &toml, arguments).finish()
    };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let (code, listed, error) = run(&["locations", "list", "--json"]);
    assert_eq!(code, Some(0), "{error}");
    let hour = instant(-DAY);
    assert_eq!(
        json(&listed),
        json!([{"name": "here", "sites": 1, "last_hour": hour, "down": 1, "retired_at": null}])
    );
    let (code, _, error) = run(&["locations", "retire", "nowhere"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("there is no location \"nowhere\""), "{error}");
    assert_eq!(run(&["locations", "retire", "here"]).1, "retired 1 sites at location \"here\"\n");
    roll_up(&database);
    let (_, listed, _) = run(&["locations", "list"]);
    assert!(listed.contains("RETIRED SINCE") && listed.contains("here"), "{listed}");
    assert!(json(&run(&["locations", "list", "--json"]).1)[0]["retired_at"].is_string());

    database
        .client()
        .batch_execute(
            "INSERT INTO webmon.set_aside (what, which, failed_at, again_at, attempts, error)
             VALUES ('day', '2026-03-01', now(), now(), 3, 'numeric field overflow')",
        )
        .unwrap();
    let (_, status, _) = run(&["status"]);
    assert!(status.contains("2026-03-01") && status.contains("numeric field overflow"), "{status}");
    let status = json(&run(&["status", "--json"]).1);
    assert_eq!(status["set_aside"][0]["attempts"], json!(3));
    assert_eq!(status["partitions"][0]["next_offset"], json!(2));
}
