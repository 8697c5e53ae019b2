//! A database that does not answer, does not let write, or does not let write for long: writers say so, end when they are
//! told to, and go on when they can.

#![cfg(feature = "librdkafka")]

mod support;

use std::time::{Duration, Instant};

use support::log::Log;
use support::pipeline::{Pipeline, pipeline, send_all};
use support::proxy::{Link, Proxy};
use support::{Database, Program, Signal, database, program, result, value, wait_until, wait_within};
use webmon::kafka::{self, Outgoing};
use webmon::record::Outcome;

const STORE: &str = env!("CARGO_BIN_EXE_webmon-store");
const GAVE_UP: &str = "gave up on the database after 30s without an answer: connecting again";

/// Processes that are suspended until this is dropped.
struct Suspended(Vec<i32>);

fn signal(pid: i32, signal: Signal) {
    // One that has ended needs no signal.
    let _ = support::signal(pid, signal);
}

impl Drop for Suspended {
    fn drop(&mut self) {
        self.0.iter().for_each(|pid| signal(*pid, Signal::CONT));
    }
}

/// Suspends the server's backends of writers and jobs.
fn suspend_backends(database: &Database) -> Suspended {
    let mut client = database.client();
    let sql =
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE $1";
    let rows = client.query(sql, &[&"webmon-%"]).unwrap();
    let suspended = Suspended(rows.iter().map(|row| row.get(0)).collect());
    assert!(!suspended.0.is_empty());
    suspended.0.iter().for_each(|pid| signal(*pid, Signal::STOP));
    suspended
}

/// Suspends the only writer's backend while it is idle, and so holds no lock.
fn suspend_idle_writer(database: &Database) -> Suspended {
    let mut client = database.client();
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
               AND application_name LIKE 'webmon-store:%' AND state = 'idle'";
    let mut suspended = None;
    wait_until("the writer's backend is idle", || {
        // Dropped where it was not: it goes on.
        suspended = None;
        let Some(row) = client.query_opt(sql, &[]).unwrap() else { return false };
        let pid: i32 = row.get(0);
        signal(pid, Signal::STOP);
        suspended = Some(Suspended(vec![pid]));
        client.query_opt(sql, &[]).unwrap().is_some()
    });
    suspended.unwrap()
}

fn produce(pipeline: &Pipeline, from: i64) {
    let records: Vec<Outgoing> = (from..from + 100)
        .map(|n| Outgoing { key: "shop".to_owned(), value: value(result("shop", -n, Outcome::Success)) })
        .collect();
    let mut producer = kafka::producer(&pipeline.config().kafka).unwrap();
    send_all(&mut *producer, records);
}

fn writer(pipeline: &Pipeline) -> Program {
    program(STORE, &pipeline.toml("jobs.threads = 0"), &["run"])
}

fn end(writer: Program) {
    writer.signal(Signal::TERM);
    let (code, _, log) = writer.finish();
    assert_eq!(code, Some(0), "{log}");
}

/// A way to the pipeline's database that can be cut, and the configuration that takes it.
fn through_proxy(pipeline: &Pipeline, more: &str) -> (Proxy, String) {
    let config: postgres::Config = pipeline.database.url.parse().unwrap();
    let postgres::config::Host::Tcp(host) = &config.get_hosts()[0] else { panic!("a socket") };
    let server = format!("{host}:{}", config.get_ports()[0]);
    let proxy = Proxy::start(&server, Link::Pass);
    let toml = pipeline.toml(more);
    let through = toml.replace(&server, &proxy.address.to_string());
    assert_ne!(through, toml);
    (proxy, through)
}

#[test]
fn a_writer_whose_backend_hangs_says_so_and_goes_on_over_another_connection() {
    let Some(pipeline) = pipeline(1) else { return };
    let writer = writer(&pipeline);
    produce(&pipeline, 0);
    pipeline.wait_for_all();
    let suspended = suspend_idle_writer(&pipeline.database);
    let begun = Instant::now();
    produce(&pipeline, 100);
    wait_within(Duration::from_secs(45), "it gives up", || writer.log().contains(GAVE_UP));
    assert!(begun.elapsed() > Duration::from_secs(25), "it is patient: {:?}", begun.elapsed());
    // The backend is suspended still.
    pipeline.assert_exactly_once(200);
    drop(suspended);
    end(writer);
    pipeline.assert_exactly_once(200);
}

#[test]
fn a_writer_whose_bytes_are_swallowed_says_so_and_goes_on_when_they_pass_again() {
    let Some(pipeline) = pipeline(1) else { return };
    let (proxy, toml) = through_proxy(&pipeline, "jobs.threads = 1");
    let writer = program(STORE, &toml, &["run"]);
    produce(&pipeline, 0);
    pipeline.wait_for_all();
    proxy.set(Link::Swallow);
    produce(&pipeline, 100);
    // The writer, the supervisor, and the jobs' thread.
    wait_within(Duration::from_secs(60), "all give up", || writer.log().matches(GAVE_UP).count() >= 3);
    // Nobody has told either side that the old connections are gone.
    proxy.set(Link::Pass);
    pipeline.assert_exactly_once(200);
    end(writer);
}

#[test]
fn a_program_ends_in_time_when_the_network_swallows_all() {
    let Some(pipeline) = pipeline(1) else { return };
    let (proxy, toml) = through_proxy(&pipeline, "jobs.threads = 2");
    let writer = program(STORE, &toml, &["run"]);
    produce(&pipeline, 0);
    pipeline.wait_for_all();
    proxy.set(Link::Swallow);
    assert_ends_in_time(writer);
}

#[test]
fn a_program_ends_in_time_when_all_its_backends_hang() {
    let Some(pipeline) = pipeline(1) else { return };
    let writer = program(STORE, &pipeline.toml("jobs.threads = 2"), &["run"]);
    produce(&pipeline, 0);
    pipeline.wait_for_all();
    let _suspended = suspend_backends(&pipeline.database);
    assert_ends_in_time(writer);
}

/// In order, and not by the last resort.
fn assert_ends_in_time(writer: Program) {
    writer.signal(Signal::TERM);
    let begun = Instant::now();
    let (code, _, log) = writer.finish();
    let took = begun.elapsed();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("cutting off the connections"), "{log}");
    assert!(took < Duration::from_secs(20), "{took:?}: {log}");
}

/// As after a failover to a server that is not promoted yet.
#[test]
fn a_writer_outlives_a_database_that_takes_no_writes() {
    let Some(pipeline) = pipeline(1) else { return };
    let writer = writer(&pipeline);
    produce(&pipeline, 0);
    pipeline.wait_for_all();
    let mut admin = pipeline.database.client();
    let name: String = admin.query_one("SELECT current_database()::text", &[]).unwrap().get(0);
    admin.batch_execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).unwrap();
    let end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND application_name LIKE 'webmon-store:%'";
    admin.execute(end_all, &[]).unwrap();
    produce(&pipeline, 100);
    wait_until("it says what is wrong", || writer.log().contains("SQLSTATE 25006"));
    admin.batch_execute(&format!("ALTER DATABASE {name} RESET default_transaction_read_only")).unwrap();
    pipeline.assert_exactly_once(200);
    end(writer);
}

#[test]
fn batches_shrink_until_the_servers_statement_timeout_lets_them_through() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let name: String = client.query_one("SELECT current_database()::text", &[]).unwrap().get(0);
    client
        .batch_execute(&format!(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$;
             CREATE TRIGGER slow BEFORE INSERT ON webmon.check_results FOR EACH ROW EXECUTE FUNCTION slow();
             ALTER DATABASE {name} SET statement_timeout = '1s'"
        ))
        .unwrap();
    let log = Log::new(1);
    for n in 0..300 {
        log.append(0, value(result("shop", n, Outcome::Success)));
    }
    log.store(&support::config("127.0.0.1:1", "log", &database.url, "")).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 300);
    assert_eq!(database.number("SELECT count(*) FROM webmon.dead_letters"), 0);
    assert_eq!(database.number("SELECT sum(records)::bigint FROM webmon.ingest_batches"), 300);
}

#[test]
fn a_panic_of_a_writer_ends_the_run_with_what_it_said() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    log.append(0, value(result("shop", 0, Outcome::Success)));
    log.before_delivery(|_| panic!("out of order"));
    let config = support::config("127.0.0.1:1", "log", &database.url, "");
    let error = log.store(&config).unwrap_err().to_string();
    assert_eq!(error, "thread writer-0 panicked: out of order");
}

#[test]
fn an_infinite_floor_neither_ends_the_writer_nor_expires_anything() {
    let Some(pipeline) = pipeline(1) else { return };
    let mut client = pipeline.database.client();
    // A constraint keeps it out; whoever drops that is told.
    let infinite = "ALTER TABLE webmon.retention DROP CONSTRAINT retention_floor_at_check; \
                    UPDATE webmon.retention SET floor_at = 'infinity'";
    client.batch_execute(infinite).unwrap();
    let writer = writer(&pipeline);
    produce(&pipeline, 0);
    wait_until("it says what is wrong", || writer.log().contains("floor_at is infinite"));
    client.batch_execute("UPDATE webmon.retention SET floor_at = '-infinity'").unwrap();
    pipeline.assert_exactly_once(100);
    end(writer);
}
