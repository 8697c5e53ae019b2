//! Logical replication of the whole database: nothing that webmon does is refused for want of a replica identity, and what
//! arrives at the other end is the same.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::log::Log;
use support::{Database, database, instant, result, unique, value, wait_until, wait_within};
use webmon::jobs::{self, Worker, WorkerOptions};
use webmon::record::{Gap, GapReason, GapRecord, Outcome, Record, RecordVersion};
use webmon::shutdown::Shutdown;
use webmon::upkeep;

const DAY: i64 = 86_400;

/// A publication of all tables, and a subscription to it in another database of the same server.
struct Replication<'a> {
    name: String,
    from: &'a Database,
    to: &'a Database,
}

impl Replication<'_> {
    fn start<'a>(from: &'a Database, to: &'a Database) -> Replication<'a> {
        let replication = Replication { name: unique("webmon_test_copy"), from, to };
        let name = &replication.name;
        // By the root: the other end has not the same partitions.
        let publish =
            format!("CREATE PUBLICATION {name} FOR ALL TABLES WITH (publish_via_partition_root = true)");
        from.client().batch_execute(&publish).unwrap();
        // Within one server the subscription would wait for itself if it made the slot.
        let slot = format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')");
        from.client().batch_execute(&slot).unwrap();
        let subscribe = format!(
            "CREATE TABLE webmon.check_results_copied PARTITION OF webmon.check_results DEFAULT;
             ALTER TABLE webmon.check_results_copied OWNER TO webmon_owner;
             CREATE SUBSCRIPTION {name} CONNECTION '{}' PUBLICATION {name}
             WITH (create_slot = false, slot_name = '{name}', copy_data = false)",
            from.url
        );
        to.client().batch_execute(&subscribe).unwrap();
        replication
    }

    /// Waits until everything that is committed by now has arrived.
    fn catch_up(&self) {
        let position: String =
            self.from.client().query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).unwrap().get(0);
        let arrived = format!(
            "SELECT count(*) FROM pg_replication_slots
             WHERE slot_name = '{}' AND confirmed_flush_lsn >= '{position}'",
            self.name
        );
        wait_within(Duration::from_secs(120), "the copy has caught up", || self.from.number(&arrived) == 1);
    }

    /// Every row of every table is at both ends, but for the tables named.
    #[track_caller]
    fn assert_same(&self, but: &[&str]) {
        self.catch_up();
        for table in tables(self.from) {
            if !but.contains(&table.as_str()) {
                let rows = format!("SELECT t::text AS row FROM webmon.{table} t ORDER BY 1");
                assert_eq!(self.to.json(&rows), self.from.json(&rows), "{table}");
            }
        }
    }
}

impl Drop for Replication<'_> {
    fn drop(&mut self) {
        let name = &self.name;
        // Each by itself; a slot keeps its database from being dropped, and is free once nobody reads it.
        for sql in ["DISABLE", "SET (slot_name = NONE)"] {
            let _ = self.to.client().batch_execute(&format!("ALTER SUBSCRIPTION {name} {sql}"));
        }
        let _ = self.to.client().batch_execute(&format!("DROP SUBSCRIPTION {name}"));
        let slot = format!("SELECT pg_drop_replication_slot('{name}')");
        wait_until("the slot is dropped", || self.from.client().batch_execute(&slot).is_ok());
    }
}

fn tables(database: &Database) -> Vec<String> {
    let sql = "SELECT relname::text AS name FROM pg_class
               WHERE relnamespace = 'webmon'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition";
    let names = database.json(sql).into_iter().map(|row| row["name"].as_str().unwrap().to_owned());
    names.collect()
}

#[test]
fn a_database_that_is_replicated_as_a_whole_stores_derives_and_retains_and_its_copy_is_the_same() {
    let (Some(database), Some(copy)) = (database(), database()) else { return };
    if database.json("SELECT current_setting('wal_level') AS level") != [json!({"level": "logical"})] {
        return support::not_tested("a server with wal_level = logical: run ./dev/services up");
    }
    let replication = Replication::start(&database, &copy);

    let more = "store.retention = { results = \"2d\" }";
    let config = support::config("127.0.0.1:1", "log", &database.url, more);
    let log = Log::new(2);
    for day in 0..4 {
        for n in 0..100 {
            let at = -DAY * day - n;
            // Superseded, failed, met again.
            log.append(0, value(result("shop", at, Outcome::Missed)));
            log.append(0, value(result("shop", at, Outcome::Success)));
            log.append(1, value(result("news", at, Outcome::Failure)));
            log.append(1, value(result("news", at, Outcome::Failure)));
        }
    }
    let gap =
        Gap { from: instant(-500), to: Some(instant(-490)), instants: 10, reason: GapReason::OutboxFull };
    let (site, location) = ("shop".to_owned(), "here".to_owned());
    let checker = "checker-1".to_owned();
    log.append(0, Record::Gap(GapRecord { v: RecordVersion, site, location, checker, gap }).encode());
    log.append(0, b"poison".to_vec());
    log.store(&config).unwrap();
    replication.assert_same(&["migrations"]);

    work_at_each_kind(&database, &config);
    assert!(database.number("SELECT count(*) FROM webmon.site_hours") > 0);
    assert!(database.number("SELECT count(*) FROM webmon.check_results") < 800, "days were let go");
    // That a day's partition is dropped is not replicated.
    replication.assert_same(&["migrations", "check_results"]);

    // And what nothing of this has touched.
    for table in tables(&database) {
        database.client().batch_execute(&format!("DELETE FROM webmon.{table} WHERE false")).unwrap();
    }
}

/// Has a worker do one job of each of webmon's own kinds.
fn work_at_each_kind(database: &Database, config: &webmon::config::Config) {
    let kinds = upkeep::kinds(&config.kafka.topic, &config.store, &config.jobs, config.alerts.keep).unwrap();
    let mut client = database.client();
    for kind in &kinds {
        jobs::enqueue(&mut client, &kind.due()).unwrap();
    }
    let shutdown = Shutdown::new();
    let worker = Worker::new(&config.postgres, kinds, WorkerOptions::default()).unwrap();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| worker.run(&shutdown));
        wait_until("every job has ended", || {
            let waiting =
                "SELECT count(*) FROM webmon.jobs WHERE finalized_at IS NULL AND scheduled_at <= now()";
            database.number(waiting) == 0 || running.is_finished()
        });
        shutdown.request();
        running.join().unwrap().unwrap();
    });
    let failed =
        database.json("SELECT kind, state, last_error FROM webmon.jobs WHERE last_error IS NOT NULL");
    assert_eq!(failed, Vec::<Value>::new());
}
