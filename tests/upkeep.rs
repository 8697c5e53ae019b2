//! The jobs of `webmon-store` itself: the real program, killed and frozen at its work, and its commands.

#![cfg(all(feature = "alerts", feature = "librdkafka", feature = "cli"))]

mod support;

use serde_json::{Value, json};
use support::log::Log;
use support::{Database, Program, Signal, database, result, value, wait_until};
use webmon::config::{Config, Role};
use webmon::jobs::{self, NewJob, State, enqueue};
use webmon::record::Outcome;
use webmon::upkeep;

/// A lock that stands for how long the work takes.
const GATE: i64 = 7;

fn config_toml(database: &Database) -> String {
    // There is no broker: the writers wait for it, and the jobs do not.
    let more = "jobs.lease = \"500ms\"\njobs.poll = \"10ms\"\njobs.partitions_ahead = 1";
    support::config_toml("127.0.0.1:1", "log", &database.url, more)
}

fn start(database: &Database) -> Program {
    support::program(env!("CARGO_BIN_EXE_webmon-store"), &config_toml(database), &["run"])
}

/// Runs a command to its end: exit code, stdout, stderr.
fn run(database: &Database, arguments: &[&str]) -> (Option<i32>, String, String) {
    support::program(env!("CARGO_BIN_EXE_webmon-store"), &config_toml(database), arguments).finish()
}

/// Lets the job `partitions` leave a row for each of two days, and wait at the gate.
fn database_with_a_gate() -> Option<Database> {
    let database = database()?;
    let sql = format!(
        "CREATE TABLE effects (day date);
         CREATE OR REPLACE FUNCTION webmon.ensure_result_partition(day date) RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO effects VALUES (day);
             PERFORM pg_advisory_xact_lock_shared({GATE});
             RETURN true;
         END $$"
    );
    database.client().batch_execute(&sql).unwrap();
    Some(database)
}

fn wait_at_the_gate(database: &Database) {
    let sql = format!(
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
         WHERE locktype = 'advisory' AND objid = {GATE} AND NOT granted AND datname = current_database()"
    );
    wait_until("a job waits at the gate", || database.number(&sql) == 1);
}

/// Each completed job has left its two rows, and no other has. The schedule may have brought another one.
fn assert_effects(database: &Database) {
    let completed =
        database.number("SELECT count(*) FROM webmon.jobs WHERE state = 'completed' AND kind = 'partitions'");
    assert!(completed >= 1);
    assert_eq!(database.number("SELECT count(*) FROM effects"), 2 * completed);
}

#[test]
fn the_job_of_a_killed_program_runs_again_and_takes_effect_once() {
    let Some(database) = database_with_a_gate() else { return };
    let (mut client, mut keeper) = (database.client(), database.client());
    keeper.execute("SELECT pg_advisory_lock($1)", &[&GATE]).unwrap();
    let id = enqueue(&mut client, &NewJob::new("partitions").key("")).unwrap().id;
    let killed = start(&database);
    wait_at_the_gate(&database);
    killed.signal(Signal::KILL);
    // Its connection is still there and waits: the next one ends it, and waits at the gate itself.
    let _next = start(&database);
    wait_until("it was begun again", || jobs::get(&mut client, id).unwrap().unwrap().attempt == 2);
    let owners = "SELECT count(*) FROM pg_stat_activity JOIN webmon.jobs ON application_name = 'webmon-jobs:' || attempted_by
                  WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait_until("its new worker waits at the gate", || database.number(owners) == 1);
    wait_at_the_gate(&database);
    let error = jobs::get(&mut client, id).unwrap().unwrap().last_error.unwrap();
    assert!(error.contains("let the lease run out"), "{error}");
    keeper.execute("SELECT pg_advisory_unlock($1)", &[&GATE]).unwrap();
    wait_until("it is completed", || jobs::get(&mut client, id).unwrap().unwrap().state == State::Completed);
    assert_effects(&database);
}

#[test]
fn a_frozen_program_cannot_complete_the_job_that_another_one_has_begun_anew() {
    let Some(database) = database_with_a_gate() else { return };
    let (mut client, mut keeper) = (database.client(), database.client());
    keeper.execute("SELECT pg_advisory_lock($1)", &[&GATE]).unwrap();
    let id = enqueue(&mut client, &NewJob::new("partitions").key("")).unwrap().id;
    let frozen = start(&database);
    wait_at_the_gate(&database);
    frozen.signal(Signal::STOP);
    // All that it asked for is done; only to complete and to commit is left.
    keeper.execute("SELECT pg_advisory_unlock($1)", &[&GATE]).unwrap();
    let worker = jobs::get(&mut client, id).unwrap().unwrap().attempted_by.unwrap();
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE application_name = 'webmon-jobs:{worker}' AND state = 'idle in transaction'"
    );
    wait_until("its transaction is open", || database.number(&open) == 1);
    let next = start(&database);
    wait_until("it is completed", || jobs::get(&mut client, id).unwrap().unwrap().state == State::Completed);
    let completed = jobs::get(&mut client, id).unwrap().unwrap();
    assert_eq!(completed.attempt, 2);
    assert!(completed.attempted_by.unwrap().contains(&format!(":{}:", next.child.id())));
    // The frozen one was ended, and with it whatever it had locked.
    wait_until("its transaction is gone", || database.number(&open) == 0);
    frozen.signal(Signal::CONT);
    wait_until("it has found out", || frozen.log().contains("lost a job to another worker"));
    assert_eq!(jobs::get(&mut client, id).unwrap().unwrap().attempt, 2);
    assert_effects(&database);
}

#[test]
fn the_program_ends_in_order_with_its_jobs() {
    let Some(database) = database() else { return };
    let program = start(&database);
    let mut client = database.client();
    let id = enqueue(&mut client, &NewJob::new("partitions").key("")).unwrap().id;
    wait_until("it is completed", || jobs::get(&mut client, id).unwrap().unwrap().state == State::Completed);
    let days = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'webmon.check_results'::regclass";
    assert!(database.number(days) >= 2);
    let schedules = database.json("SELECT kind FROM webmon.job_schedules ORDER BY kind");
    let mut names = upkeep::NAMES;
    names.sort_unstable();
    assert_eq!(schedules, names.map(|kind| json!({ "kind": kind })));
    program.signal(Signal::TERM);
    let (code, _, log) = program.finish();
    assert_eq!(code, Some(0), "{log}");
    let left = "SELECT count(*) FROM pg_stat_activity
                WHERE application_name LIKE 'webmon-%' AND datname = current_database()";
    wait_until("its connections are gone", || database.number(left) == 0);
}

#[test]
fn every_kind_runs_on_command() {
    let Some(database) = database() else { return };
    for kind in upkeep::NAMES {
        let (code, output, errors) = run(&database, &["jobs", "run", kind]);
        assert_eq!(code, Some(0), "{output}{errors}");
        assert!(output.ends_with(&format!(" {kind}: completed\n")), "{output}");
    }
    let (code, _, errors) = run(&database, &["jobs", "run", "nothing"]);
    assert_eq!(code, Some(2));
    assert!(
        errors.contains("[possible values: roll_up, retention, partitions, prune, dead_letters]"),
        "{errors}"
    );
}

#[test]
fn a_job_that_fails_on_command_says_why_and_runs_the_next_time() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    client.batch_execute("ALTER TABLE webmon.writers RENAME TO scribes").unwrap();
    let (code, output, _) = run(&database, &["jobs", "run", "prune", "--json"]);
    assert_eq!(code, Some(1));
    let failed: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((failed["state"].as_str(), failed["attempt"].as_i64()), (Some("retryable"), Some(1)));
    assert!(failed["last_error"].as_str().unwrap().contains("\"webmon.writers\" does not exist"), "{failed}");
    client.batch_execute("ALTER TABLE webmon.scribes RENAME TO writers").unwrap();
    // It waits for its pause to be over, and is not waited for.
    let (code, output, _) = run(&database, &["jobs", "run", "prune"]);
    assert_eq!((code, output), (Some(0), format!("job {} prune: completed\n", failed["id"])));
}

#[test]
fn jobs_are_listed_shown_retried_and_cancelled() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let args = json!({"site": "shop\u{1b}[31m"});
    let new = NewJob::new("report").key("k").args(&args).unwrap();
    let ids =
        [enqueue(&mut client, &new).unwrap().id, enqueue(&mut client, &NewJob::new("other")).unwrap().id];
    assert_eq!(ids, [1, 2]);

    let list = |arguments: &[&str]| {
        let (code, output, errors) = run(&database, &[&["jobs", "list"], arguments].concat());
        assert_eq!(code, Some(0), "{errors}");
        output
    };
    let table = list(&[]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..4], ["ID", "KIND", "KEY", "STATE"], "{table}");
    assert_eq!(lines[1][..3], ["2", "other", "available"], "{table}");
    assert_eq!(lines[2][..6], ["1", "report", "k", "available", "2", "0/20"], "{table}");
    let listed: Vec<Value> = serde_json::from_str(&list(&["--json", "--kind", "report"])).unwrap();
    assert_eq!((listed.len(), &listed[0]["args"]), (1, &args));

    let (code, output, _) = run(&database, &["jobs", "cancel", "1", "2", "99"]);
    assert_eq!((code, output.as_str()), (Some(1), "job 1 is cancelled\njob 2 is cancelled\n"));
    assert_eq!(list(&["--state", "available"]).lines().count(), 1);
    let (code, output, _) = run(&database, &["jobs", "retry", "1"]);
    assert_eq!((code, output.as_str()), (Some(0), "job 1 is available\n"));
    let (code, _, errors) = run(&database, &["jobs", "cancel", "99"]);
    assert_eq!((code, errors.as_str()), (Some(1), "webmon-store: job 99 has ended or does not exist\n"));

    let (code, output, _) = run(&database, &["jobs", "show", "1"]);
    assert_eq!(code, Some(0));
    assert!(
        output.starts_with("id                  1\nkind                report\nkey                 \"k\"\n"),
        "{output}"
    );
    assert!(output.contains("state               available\n") && !output.contains('\u{1b}'), "{output}");
    let (_, output, _) = run(&database, &["jobs", "show", "1", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&output).unwrap()["state"], "available");
    let (code, _, errors) = run(&database, &["jobs", "show", "99"]);
    assert_eq!((code, errors.as_str()), (Some(1), "webmon-store: there is no job 99\n"));
    let (code, _, errors) = run(&database, &["jobs", "list", "--state", "done"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("\"done\" is not a state: expected one of available, running"), "{errors}");
}

#[test]
fn what_is_stored_is_rolled_up_and_let_go_by_jobs() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    for day in [-3, 0] {
        log.append(0, value(result("shop", day * 86_400, Outcome::Success)));
    }
    let config = support::config("127.0.0.1:1", "log", &database.url, "store.retention.results = \"5d\"");
    log.store(&config).unwrap();
    let (code, _, errors) = run(&database, &["jobs", "run", "roll_up"]);
    assert_eq!(code, Some(0), "{errors}");
    let hours = || database.number("SELECT count(*) FROM webmon.site_hours");
    let results = || database.number("SELECT count(*) FROM webmon.check_results");
    assert_eq!((hours(), results()), (2, 2));
    let config = format!("{}store.retention.results = \"1d\"\n", config_toml(&database));
    let arguments = ["jobs", "run", "retention"];
    // It gives up where a transaction is in its way, and is tried again; anything else is a fault.
    wait_until("the job has dropped the day", || {
        let (code, _, errors) =
            support::program(env!("CARGO_BIN_EXE_webmon-store"), &config, &arguments).finish();
        assert!(code == Some(0) || errors.contains("was in the way"), "{errors}");
        code == Some(0)
    });
    assert_eq!((hours(), results()), (2, 1));
}

#[test]
fn what_retention_refuses_is_planned_applied_and_lowered_by_an_operator() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    for day in -4..1 {
        log.append(0, value(result("shop", day * 86_400, Outcome::Success)));
    }
    log.store(&support::config("127.0.0.1:1", "log", &database.url, "")).unwrap();
    let command = |kept: &str, arguments: &[&str]| {
        let config = format!("{}store.retention.results = \"{kept}\"\n", config_toml(&database));
        support::program(env!("CARGO_BIN_EXE_webmon-store"), &config, arguments).finish()
    };
    let results = || database.number("SELECT count(*) FROM webmon.check_results");
    for kind in ["roll_up", "retention"] {
        let (code, output, errors) = command("90d", &["jobs", "run", kind]);
        assert_eq!(code, Some(0), "{output}{errors}");
    }
    // A typo: the job fails, and says what to do.
    let (code, output, _) = command("1d", &["jobs", "run", "retention", "--json"]);
    let failed: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((code, failed["state"].as_str(), results()), (Some(1), Some("retryable"), 5));
    let why = "results would be kept for 1 day, and were kept for 90 days so far";
    let error = format!(
        "{why}: look at \"webmon-store retention plan\"; \"webmon-store retention apply\" does it anyway"
    );
    assert_eq!(failed["last_error"], error.as_str());

    let (code, output, errors) = command("1d", &["retention", "plan", "--json"]);
    assert_eq!(code, Some(0), "{errors}");
    let plan: Value = serde_json::from_str(&output).unwrap();
    let day = |day: i64| support::instant(day * 86_400).strftime("%F").to_string();
    assert_eq!((&plan["objection"], &plan["next_floor"]), (&json!(why), &json!(day(-1))));
    assert_eq!((&plan["results_kept_days"], &plan["policy_days"]), (&json!(1.0), &json!(90.0)));
    assert_eq!(
        (&plan["partitions"], &plan["results"], &plan["purged"]),
        (&json!(3), &json!(3), &plan["floor"])
    );
    assert!(plan["bytes"].as_i64().unwrap() > 0);
    let (_, output, _) = command("1d", &["retention", "plan"]);
    let told = format!("the job \"retention\" REFUSES: {why}; \"webmon-store retention apply\" does it\n");
    assert!(output.ends_with(&told), "{output}");
    assert_eq!(results(), 5);

    let (code, output, errors) = command("1d", &["retention", "apply"]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(output, "deleted 3 days of results, 0 rows of hours and 0 rows of days\n");
    assert_eq!(results(), 2);
    assert_eq!(command("1d", &["jobs", "run", "retention"]).0, Some(0));

    let (code, _, errors) = command("1d", &["retention", "lower", "--to", &day(-3)]);
    assert_eq!(code, Some(1));
    assert!(errors.starts_with("webmon-store: results before ") && errors.contains(" are gone"), "{errors}");
    let (code, output, errors) = command("1d", &["retention", "lower"]);
    assert_eq!((code, output), (Some(0), format!("results from {} on are stored\n", day(-1))), "{errors}");
}

#[test]
fn pruning_forgets_dead_writers_and_merges_an_old_ledger() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    client
        .batch_execute(
            "INSERT INTO webmon.ingest_batches
             SELECT 'log', 0, 1, date_trunc('day', now(), 'UTC') - age + n * interval '1 minute', o + n, o + n + 1, 1, 1,
                    0, 0, 0, 0, 0
             FROM (VALUES (interval '40 days', 0), (interval '20 days', 100)) AS days (age, o), generate_series(0, 99) AS n;
             INSERT INTO webmon.writers (topic, owner, started_at, seen_at, lease_until)
             SELECT 'log', owner, at, at, at FROM (VALUES ('gone', now() - interval '2 days'), ('here', now()))
                 AS w (owner, at)",
        )
        .unwrap();
    let (code, _, errors) = run(&database, &["jobs", "run", "prune"]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(database.json("SELECT owner FROM webmon.writers"), [json!({"owner": "here"})]);
    // Of the older day one row is left; the other day is younger than jobs.compact_ledger.
    let rows = "SELECT count(*) AS rows, sum(records) AS records FROM webmon.ingest_batches";
    assert_eq!(database.json(rows), [json!({"rows": 101, "records": 200})]);
}

#[test]
fn notes_for_alerts_do_not_pile_up_where_nobody_judges_sites() {
    let Some(database) = database() else { return };
    let note = "INSERT INTO webmon.alert_notes (site_id, location_id, newest_at)
                VALUES (1, 1, now() - interval '25 hours'), (1, 1, now() - interval '23 hours')";
    database.client().batch_execute(note).unwrap();
    let (code, _, errors) = run(&database, &["jobs", "run", "prune"]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(
        database.number("SELECT count(*) FROM webmon.alert_notes WHERE newest_at > now() - interval '1 day'"),
        1
    );
    assert_eq!(database.number("SELECT count(*) FROM webmon.alert_notes"), 1);
}

#[test]
fn kinds_and_their_names_agree() {
    let config = Config::from_toml(
        "kafka.brokers = [\"127.0.0.1:1\"]\npostgres.url = \"postgres://webmon@127.0.0.1:1/webmon\"",
        Role::Store,
    )
    .unwrap();
    let kinds = upkeep::kinds(&config.kafka.topic, &config.store, &config.jobs, config.alerts.keep).unwrap();
    assert_eq!(kinds.iter().map(webmon::jobs::Kind::name).collect::<Vec<_>>(), upkeep::NAMES);
}
