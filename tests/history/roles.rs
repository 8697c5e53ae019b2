//! Each role may do what its work needs, and nothing else.

use std::time::Duration;

use postgres::Client;
use webmon::config::Config;
use webmon::jobs::{self, Worker, WorkerOptions};
use webmon::record::{GapReason, Outcome};
use webmon::shutdown::Shutdown;
use webmon::{database, store, upkeep};

use crate::common::{AT_ONCE, DAY, LONG, ONE_DAY, TWO_DAYS, gap, results, roll_up, store_days};
use crate::support::instance::Instance;
use crate::support::log::Log;
use crate::support::login::Login;
use crate::support::{Database, Signal, database, instant, result, value, wait_until};

#[track_caller]
fn assert_refused(client: &mut Client, sql: &str) {
    let error = client.batch_execute(sql).expect_err(sql);
    assert_eq!(error.code(), Some(&postgres::error::SqlState::INSUFFICIENT_PRIVILEGE), "{sql}: {error}");
}

#[test]
fn a_writer_stores_rolls_up_and_retains_and_can_do_no_more() {
    let (Some(database), Some(login)) = (database(), Login::new("webmon_writer")) else { return };
    let url = login.url(&database);
    let config = crate::support::config("127.0.0.1:1", "log", &url, "");
    let log = Log::new(1);
    for day in 0..4 {
        for n in 0..300 {
            log.append(0, value(result("shop", -DAY * day - n, Outcome::Failure)));
            log.append(0, value(result("shop", -DAY * day - n, Outcome::Success)));
        }
    }
    log.append(0, gap("shop", "here", -DAY, Some(0), 5, GapReason::OutboxFull));
    log.append(0, b"poison".to_vec());
    log.store(&config).unwrap();
    let mut client = Client::connect(&url, postgres::NoTls).unwrap();
    assert!(store::roll_up(&mut client, &AT_ONCE).unwrap().hours > 0);
    assert_eq!(store::retain(&mut client, &TWO_DAYS, LONG).unwrap().partitions, 2);
    assert_history_of_days(&database);

    for sql in [
        "DELETE FROM webmon.check_results",
        "TRUNCATE webmon.check_results",
        "DROP TABLE webmon.check_results",
        "DELETE FROM webmon.gaps",
        "DELETE FROM webmon.sites",
        "UPDATE webmon.migrations SET version = 0",
        "INSERT INTO webmon.error_types VALUES (200, 'x', 'f')",
        "DELETE FROM webmon.retention",
        "CREATE TABLE webmon.mine (n integer)",
        "ALTER TABLE webmon.check_results ADD COLUMN n integer",
    ] {
        assert_refused(&mut client, sql);
    }
}

#[test]
fn a_writer_cannot_raise_the_floor_by_itself() {
    let (Some(database), Some(login), log) = (database(), Login::new("webmon_writer"), Log::new(1)) else {
        return;
    };
    store_days(&database, &log, -4..1);
    let mut client = Client::connect(&login.url(&database), postgres::NoTls).unwrap();
    for sql in [
        "UPDATE webmon.retention SET floor_at = now()",
        "UPDATE webmon.retention SET floor_at = now(), purged_at = now()",
        "UPDATE webmon.retention SET results_kept = NULL",
        "UPDATE webmon.retention SET results_dropped = 0",
        "SELECT webmon.set_retention_floor(now(), interval '1 day')",
    ] {
        assert_refused(&mut client, sql);
    }
    let refused = "SELECT webmon.raise_retention_floor(interval '1 second')";
    let error = client.batch_execute(refused).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "WM001", "{error}");
    // What may be gone is below the floor, whatever it says.
    client.batch_execute("SELECT webmon.purge_results(now()), webmon.purge_hours(now())").unwrap();
    assert_eq!(store::retain(&mut client, &TWO_DAYS, LONG).unwrap().partitions, 2);
    client.batch_execute("SELECT webmon.purge_results(now()), webmon.purge_hours(now())").unwrap();
    let day = instant(-DAY).strftime("%F");
    client.batch_execute(&format!("SELECT webmon.drop_result_partition('{day}')")).unwrap();
    assert_eq!(results(&database), 3);
    // An operator's commands are the owner's.
    let error = store::apply_retention(&mut client, &ONE_DAY, LONG).unwrap_err();
    assert!(error.to_string().contains("permission denied for function set_retention_floor"), "{error}");
    #[cfg(feature = "cli")]
    {
        let toml = crate::support::config_toml("127.0.0.1:1", "log", &login.url(&database), "");
        let arguments = ["retention", "apply"];
        let (code, _, log) =
            crate::support::program(env!("CARGO_BIN_EXE_webmon-store"), &toml, &arguments).finish();
        assert_eq!(code, Some(1));
        assert!(log.starts_with("webmon-store: this takes the rights of webmon_owner: "), "{log}");
    }
}

#[test]
fn a_writer_may_do_every_job() {
    let (Some(database), Some(login)) = (database(), Login::new("webmon_writer")) else { return };
    let config = crate::support::config("127.0.0.1:1", "log", &login.url(&database), "");
    let kinds = upkeep::kinds(&config.kafka.topic, &config.store, &config.jobs, config.alerts.keep).unwrap();
    let mut client = Client::connect(&login.url(&database), postgres::NoTls).unwrap();
    for kind in &kinds {
        jobs::enqueue(&mut client, &kind.due()).unwrap();
    }
    // One that another worker let go is taken in.
    client
        .batch_execute(
            "UPDATE webmon.jobs SET state = 'running', attempt = 1, attempted_at = now(), attempted_by = 'gone',
                                    leased_at = now() - interval '1 hour', lease_until = now() - interval '1 hour'
             WHERE kind = 'prune'",
        )
        .unwrap();
    let shutdown = Shutdown::new();
    let worker = Worker::new(&config.postgres, kinds, WorkerOptions::default()).unwrap();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| worker.run(&shutdown));
        wait_until("every job has ended", || {
            database.number("SELECT count(*) FROM webmon.jobs WHERE finalized_at IS NULL") == 0
                || running.is_finished()
        });
        shutdown.request();
        running.join().unwrap().unwrap();
    });
    let failed = database.json("SELECT kind, state, last_error FROM webmon.jobs WHERE state <> 'completed'");
    assert!(failed.is_empty(), "{failed:?}");
}

/// Two days are left of four, and what all four came to.
#[track_caller]
fn assert_history_of_days(database: &Database) {
    assert_eq!(database.number("SELECT sum(success)::bigint FROM webmon.uptime"), 1_200);
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 1 + 300 + 300);
}

#[test]
fn a_reader_reads_everything_and_changes_nothing() {
    let (Some(database), Some(login)) = (database(), Login::new("webmon_reader")) else { return };
    let mut client = Client::connect(&login.url(&database), postgres::NoTls).unwrap();
    let relations = database.json(
        "SELECT relname AS name FROM pg_class WHERE relnamespace = 'webmon'::regnamespace AND relkind IN ('r', 'p', 'v')",
    );
    assert!(relations.len() > 20);
    for relation in &relations {
        let name = relation["name"].as_str().unwrap();
        client.query(&format!("SELECT * FROM webmon.{name}"), &[]).unwrap();
        let table = database.number(&format!(
            "SELECT (relkind <> 'v')::int::bigint FROM pg_class WHERE oid = 'webmon.{name}'::regclass"
        ));
        if table == 1 {
            assert_refused(&mut client, &format!("DELETE FROM webmon.{name}"));
            assert_refused(&mut client, &format!("INSERT INTO webmon.{name} DEFAULT VALUES"));
        }
    }
    assert_eq!(
        client.query("SELECT * FROM webmon.uptime_between('2000-01-01', '2100-01-01')", &[]).unwrap().len(),
        0
    );
    assert_refused(&mut client, "SELECT webmon.ensure_result_partition('2026-01-01')");
    assert_refused(&mut client, "SELECT webmon.drop_result_partition('2026-01-01')");
    assert_refused(&mut client, "SELECT webmon.raise_retention_floor('90 days')");
    assert_refused(&mut client, "SELECT webmon.purge_results(now())");
    assert_refused(&mut client, "CREATE TABLE webmon.mine (n integer)");
}

/// How much of the schema does not belong to webmon_owner.
const NOT_THE_OWNERS: &str = "
    SELECT count(*)
    FROM (SELECT relowner AS owner FROM pg_class WHERE relnamespace = 'webmon'::regnamespace
          UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace = 'webmon'::regnamespace
          UNION ALL SELECT nspowner FROM pg_namespace WHERE nspname = 'webmon') AS o
    WHERE owner <> 'webmon_owner'::regrole";

#[test]
fn everything_belongs_to_the_owner_whoever_migrates() {
    let (Some(database), Some(login)) = (database(), Login::new("webmon_owner")) else { return };
    assert_eq!(database.number(NOT_THE_OWNERS), 0);
    // A member of it, and of nothing else, migrates again.
    let mut client = Client::connect(&login.url(&database), postgres::NoTls).unwrap();
    assert_eq!(database::migrate(&mut client).unwrap(), Vec::<&str>::new());
    assert_eq!(database.number(NOT_THE_OWNERS), 0);
}

/// Creates a user who may log in, create roles, and use `database`: what a managed service calls an administrator.
fn role_creator(database: &Database, name: &str) -> String {
    let mut client = database.client();
    client.batch_execute(&format!("CREATE ROLE {name} LOGIN CREATEROLE")).unwrap();
    client
        .batch_execute(&format!(
            "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {name}', current_database()); END $$"
        ))
        .unwrap();
    database.url.replacen("webmon@", &format!("{name}@"), 1)
}

#[test]
fn a_user_who_may_create_roles_hands_all_to_the_owner_or_is_told_how() {
    // A server on which the roles are missing.
    let Some(server) = Instance::postgres() else { return };
    let database = Database::on(&server.address);
    let url = role_creator(&database, "first");
    let mut client = Client::connect(&url, postgres::NoTls).unwrap();
    database::migrate(&mut client).unwrap();
    assert_eq!(database.number(NOT_THE_OWNERS), 0);
    assert_eq!(database::migrate(&mut client).unwrap(), Vec::<&str>::new());
    let log = Log::new(1);
    log.append(0, value(result("shop", 0, Outcome::Success)));
    log.store(&crate::support::config("127.0.0.1:1", "log", &url, "")).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 1);
    assert_eq!(database.number(NOT_THE_OWNERS), 0, "the day's partition too");

    // Another one in another database finds the roles, made by somebody else.
    let other = Database::on(&server.address);
    let url = role_creator(&other, "second");
    let mut client = Client::connect(&url, postgres::NoTls).unwrap();
    if database.number("SELECT current_setting('server_version_num')::bigint / 10000") >= 16 {
        let error = database::migrate(&mut client).unwrap_err().to_string();
        let remedy = "GRANT webmon_owner TO second WITH INHERIT TRUE, SET TRUE";
        assert!(error.contains(&format!("have an administrator run \"{remedy}\"")), "{error}");
        // The schema is there, and not the owner's yet.
        assert!(other.number(NOT_THE_OWNERS) > 0);
        // A member who may not act as the owner is told the same.
        other.client().batch_execute("GRANT webmon_owner TO second WITH INHERIT TRUE, SET FALSE").unwrap();
        let error = database::migrate(&mut client).unwrap_err().to_string();
        assert!(error.contains(remedy), "{error}");
        other.client().batch_execute(remedy).unwrap();
    }
    database::migrate(&mut client).unwrap();
    assert_eq!(other.number(NOT_THE_OWNERS), 0);
}

#[test]
fn a_user_who_may_not_create_roles_migrates_all_the_same() {
    let (Some(database), Some(login)) = (crate::support::empty_database(), Login::new("pg_monitor")) else {
        return;
    };
    let mut client = database.client();
    client.batch_execute(&format!("CREATE SCHEMA webmon AUTHORIZATION {}", login.name)).unwrap();
    client
        .batch_execute(&format!(
            "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {}', current_database()); END $$",
            login.name
        ))
        .unwrap();
    let url = login.url(&database);
    database::migrate(&mut Client::connect(&url, postgres::NoTls).unwrap()).unwrap();
    // It has stayed the owner, and works as such.
    let log = Log::new(1);
    log.append(0, value(result("shop", 0, Outcome::Success)));
    log.store(&crate::support::config("127.0.0.1:1", "log", &url, "")).unwrap();
    assert_eq!(roll_up(&database).hours, 1);
    let owner = format!("REASSIGN OWNED BY {} TO CURRENT_USER; DROP OWNED BY {}", login.name, login.name);
    client.batch_execute(&owner).unwrap();
}

#[test]
#[cfg(feature = "cli")]
fn webmon_store_runs_as_a_writer() {
    let (Some(database), Some(brokers)) = (database(), crate::support::kafka()) else { return };
    let Some(login) = Login::new("webmon_writer") else { return };
    let topic = crate::support::unique("writer");
    let toml = crate::support::config_toml(&brokers, &topic, &login.url(&database), "");
    let config = Config::from_toml(&toml, webmon::config::Role::Store).unwrap();
    let new =
        webmon::kafka::NewTopic { partitions: 1, replication: 1, retention: Duration::from_secs(3_600) };
    webmon::kafka::create_topic(&config.kafka, &new).unwrap();
    let mut producer = webmon::kafka::producer(&config.kafka).unwrap();
    let outgoing =
        webmon::kafka::Outgoing { key: "shop".to_owned(), value: value(result("shop", 0, Outcome::Success)) };
    producer.produce(&[outgoing]);
    let program = crate::support::program(env!("CARGO_BIN_EXE_webmon-store"), &toml, &["run"]);
    wait_until("the result is stored", || database.number("SELECT count(*) FROM webmon.check_results") == 1);
    program.signal(Signal::TERM);
    let (code, _, log) = program.finish();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(roll_up(&database).hours, 1);
}
