//! What is dropped was derived before, and nothing dropped comes back.

use std::time::Duration;

use webmon::config::Retention;
use webmon::record::{GapReason, Outcome};
use webmon::store::{self, StoreError};

use crate::common::{
    DAY, HOUR, Incident, LONG, ONE_DAY, THRESHOLDS, TWO_DAYS, config, derive_incidents, derive_sums, gap,
    partitions, raw, results, retain, roll_up, store_days, stored_incidents, stored_sums, waiting,
};
use crate::support::log::Log;
use crate::support::{Database, database, instant, result, value, wait_until};

const SHORT: Duration = Duration::from_millis(200);

/// As if something of the current hour had been stored and rolled up.
fn it_is_today(database: &Database) {
    let sql = "INSERT INTO webmon.site_locations (site_id, location_id, first_hour, last_hour)
               VALUES (0, 0, date_trunc('hour', now(), 'UTC'), date_trunc('hour', now(), 'UTC'))";
    database.client().batch_execute(sql).unwrap();
}

#[track_caller]
fn assert_refuses(database: &Database, retention: &Retention, because: &str) {
    let before = database.json("TABLE webmon.retention");
    let error = retain(database, retention).unwrap_err();
    assert!(matches!(&error, StoreError::RetentionRefused(why) if why == because), "{error}");
    assert_eq!(database.json("TABLE webmon.retention"), before);
}

#[test]
fn a_wrong_clock_drops_nothing() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    // The server's clock is as far ahead of all that was stored as if it were wrong by over a year.
    store_days(&database, &log, -402..-399);
    assert_eq!(retain(&database, &TWO_DAYS).unwrap(), store::Retained::default());
    assert_eq!(
        retain(&database, &Retention { days: Some(TWO_DAYS.results), ..ONE_DAY }).unwrap_err().to_string(),
        "results would be kept for 1 day, and were kept for 2 days so far"
    );
    assert_eq!(results(&database), 3);
    assert_eq!(database.number("SELECT count(*) FROM webmon.site_days"), 3);
    // Neither is anything new expired, and what is old by the newest result does go.
    store_days(&database, &log, -399..-398);
    assert_eq!(results(&database), 4);
    assert_eq!(retain(&database, &TWO_DAYS).unwrap().partitions, 1);
}

#[test]
fn a_shorter_retention_waits_for_an_operator() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    store_days(&database, &log, -5..1);
    let four_days = Retention { results: 2 * TWO_DAYS.results, ..TWO_DAYS };
    assert_eq!(retain(&database, &four_days).unwrap().partitions, 1);
    assert_refuses(&database, &TWO_DAYS, "results would be kept for 2 days, and were kept for 4 days so far");
    assert_eq!(results(&database), 5);
    let plan = store::plan_retention(&mut database.client(), &TWO_DAYS).unwrap();
    assert_eq!((plan.partitions, plan.results, plan.policy_days), (2, 2, Some(4.0)));
    assert!(plan.objection.is_some());
    // A longer one needs nobody.
    let five_days = Retention { results: Duration::from_secs(5 * 86_400), ..TWO_DAYS };
    assert_eq!(retain(&database, &five_days).unwrap().partitions, 0);
    assert_refuses(
        &database,
        &four_days,
        "results would be kept for 4 days, and were kept for 5 days so far",
    );
    let done = store::apply_retention(&mut database.client(), &TWO_DAYS, LONG).unwrap();
    assert_eq!((done.partitions, results(&database)), (2, 3));
    assert_eq!(retain(&database, &TWO_DAYS).unwrap(), store::Retained::default());
}

#[test]
fn more_than_a_week_at_once_waits_for_an_operator() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    store_days(&database, &log, -10..1);
    assert_refuses(&database, &TWO_DAYS, "8 days of results would go at once");
    assert_eq!(results(&database), 11);
    let three_days = Retention { results: Duration::from_secs(3 * 86_400), ..TWO_DAYS };
    assert_eq!(retain(&database, &three_days).unwrap().partitions, 7);
    assert_eq!(store::apply_retention(&mut database.client(), &TWO_DAYS, LONG).unwrap().partitions, 1);
}

#[test]
fn the_floor_can_be_lowered_to_what_was_purged() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    store_days(&database, &log, -4..1);
    assert_eq!(retain(&database, &TWO_DAYS).unwrap().partitions, 2);
    let day = |day: i64| jiff::tz::TimeZone::UTC.to_datetime(instant(day * DAY)).date();
    let client = &mut database.client();
    // Somebody has raised it by mistake, and nothing has gone yet.
    client.batch_execute("UPDATE webmon.retention SET floor_at = date_trunc('day', now(), 'UTC')").unwrap();
    log.append(0, value(result("shop", -DAY + 1, Outcome::Success)));
    log.store(&config(&database, "")).unwrap();
    assert_eq!(database.number("SELECT sum(expired)::bigint FROM webmon.ingest_batches"), 1);
    let error = store::lower_retention(client, Some(day(-3))).unwrap_err().to_string();
    assert!(error.starts_with("results before ") && error.ends_with("the floor cannot be lower"), "{error}");
    assert!(store::lower_retention(client, Some(day(1))).is_err(), "that is higher");
    assert_eq!(store::lower_retention(client, Some(day(-1))).unwrap(), Some(day(-1)));
    assert_eq!(store::lower_retention(client, None).unwrap(), Some(day(-2)));
    log.append(0, value(result("shop", -DAY + 2, Outcome::Success)));
    log.store(&config(&database, "")).unwrap();
    assert_eq!(results(&database), 4);
}

#[test]
fn an_open_transaction_of_another_database_holds_nothing_up() {
    let (Some(database), Some(other), log) = (database(), crate::support::empty_database(), Log::new(1))
    else {
        return;
    };
    store_days(&database, &log, -4..1);
    // As one that was prepared, and forgotten.
    let mut client = other.client();
    let mut open = client.transaction().unwrap();
    open.batch_execute("CREATE TABLE written ()").unwrap();
    // Nor does one that has nothing to do with storing.
    let mut client = database.client();
    let mut here = client.transaction().unwrap();
    here.batch_execute("CREATE TABLE written ()").unwrap();
    let done = store::retain(&mut database.client(), &TWO_DAYS, SHORT).unwrap();
    assert_eq!((done.partitions, done.again), (2, false));
}

#[test]
fn a_table_that_was_detached_is_never_dropped() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    store_days(&database, &log, -4..1);
    let name = instant(-4 * DAY).strftime("webmon.check_results_%Y%m%d").to_string();
    let detach = format!("ALTER TABLE webmon.check_results DETACH PARTITION {name}");
    database.client().batch_execute(&detach).unwrap();
    assert_eq!(retain(&database, &TWO_DAYS).unwrap().partitions, 1);
    assert_eq!(database.number(&format!("SELECT count(*) FROM {name}")), 1);
    let drop = format!("SELECT webmon.drop_result_partition('{}')", instant(-4 * DAY).strftime("%F"));
    database.client().batch_execute(&drop).unwrap();
    assert_eq!(database.number(&format!("SELECT count(*) FROM {name}")), 1);
}

#[test]
fn a_detached_current_day_does_not_stop_the_writers() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    store_days(&database, &log, 0..1);
    let name = instant(0).strftime("webmon.check_results_%Y%m%d").to_string();
    let detach = format!("ALTER TABLE webmon.check_results DETACH PARTITION {name}");
    database.client().batch_execute(&detach).unwrap();
    log.append(0, value(result("shop", 1, Outcome::Success)));
    log.store(&config(&database, "")).unwrap();
    assert_eq!(results(&database), 1);
    assert_eq!(database.number(&format!("SELECT count(*) FROM {name}_2")), 1);
    // It is found under that name, and goes with its day.
    assert_eq!(database.number("SELECT count(*) FROM webmon.result_partitions()"), 1);
    let today = instant(0).strftime("%F");
    assert_eq!(database.number(&format!("SELECT webmon.ensure_result_partition('{today}')::int::bigint")), 0);
    database
        .client()
        .batch_execute(
            "UPDATE webmon.retention SET floor_at = date_trunc('day', now() + interval '1 day', 'UTC'),
                                         purged_at = date_trunc('day', now() + interval '1 day', 'UTC')",
        )
        .unwrap();
    assert_eq!(retain(&database, &TWO_DAYS).unwrap().partitions, 1);
    assert_eq!(database.number(&format!("SELECT count(*) FROM {name}")), 1);
}

#[test]
fn storing_goes_on_while_a_day_waits_to_be_dropped() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    store_days(&database, &log, -4..1);
    let purged = "UPDATE webmon.retention SET floor_at = date_trunc('day', now(), 'UTC'),
                                              purged_at = date_trunc('day', now(), 'UTC')";
    database.client().batch_execute(purged).unwrap();
    // Somebody derives an hour, for long.
    let mut client = database.client();
    let mut deriving = client.transaction().unwrap();
    deriving.batch_execute("SELECT FROM webmon.retention FOR SHARE").unwrap();
    std::thread::scope(|scope| {
        let dropping = scope.spawn(|| {
            let day = instant(-4 * DAY).strftime("%F").to_string();
            database.number(&format!("SELECT webmon.drop_result_partition('{day}')::int::bigint"))
        });
        wait_until("it waits", || {
            database.number(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%drop_result%'
                   AND pid <> pg_backend_pid()",
            ) == 1
        });
        let store = "LOCK TABLE ONLY webmon.check_results IN ROW EXCLUSIVE MODE NOWAIT";
        let mut storing = database.client();
        storing.transaction().unwrap().batch_execute(store).unwrap();
        deriving.commit().unwrap();
        assert_eq!(dropping.join().unwrap(), 1);
    });
}

#[test]
fn days_outlive_hours_that_were_deleted_in_a_backlog() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    it_is_today(&database);
    for day in -4..1 {
        for n in 0..4 {
            log.append(0, value(result("shop", day * DAY + n * HOUR, Outcome::Failure)));
        }
        log.append(0, value(result("shop", day * DAY + 4 * HOUR, Outcome::Success)));
    }
    log.store(&config(&database, "")).unwrap();
    let client = &mut database.client();
    let (results, gaps) = raw(client);
    // Nothing was rolled up yet.
    assert_eq!(
        retain(&database, &ONE_DAY).unwrap(),
        store::Retained { partitions: 3, hours: 15, ..Default::default() }
    );
    let old: Vec<Incident> = derive_incidents(&results, &gaps, &[], &|_| THRESHOLDS)
        .into_iter()
        .filter(|incident| incident.from < instant(-DAY).as_second())
        .collect();
    assert_eq!((old.len(), stored_incidents(client)), (3, old));
    roll_up(&database);
    assert_eq!(
        stored_sums(client, "site_days", "day - date '1970-01-01'"),
        derive_sums(&results, &gaps, DAY)
    );
}

#[test]
fn a_day_is_not_derived_anew_from_a_part_of_its_hours() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    for hour in 0..24 * 3 {
        let outcome = if hour < 12 { Outcome::Success } else { Outcome::Failure };
        log.append(0, value(result("shop", -3 * DAY + hour * HOUR, outcome)));
    }
    log.store(&config(&database, "")).unwrap();
    roll_up(&database);
    let days = "SELECT * FROM webmon.site_days ORDER BY day";
    let before = database.json(days);
    // It is down since noon: these hours stay.
    assert_eq!(retain(&database, &ONE_DAY).unwrap().hours, 12);
    database
        .client()
        .batch_execute("INSERT INTO webmon.rollup_dirty_days (day) SELECT day FROM webmon.site_days")
        .unwrap();
    roll_up(&database);
    assert_eq!(database.json(days), before);
    assert_eq!(database.number("SELECT count(*) FROM webmon.rollup_dirty_days"), 0);
}

#[test]
fn hours_stay_until_the_incidents_of_their_site_are_derived() {
    let (Some(database), log) = (database(), Log::new(1)) else { return };
    store_days(&database, &log, -4..1);
    // Somebody else is at the site.
    let mut client = database.client();
    let mut deriving = client.transaction().unwrap();
    deriving.batch_execute("SELECT FROM webmon.sites FOR NO KEY UPDATE").unwrap();
    let mark = "INSERT INTO webmon.incidents_dirty (site_id, from_at, to_at)
                SELECT site_id, now() - interval '4 days', now() - interval '3 days' FROM webmon.sites";
    database.client().batch_execute(mark).unwrap();
    let done = retain(&database, &ONE_DAY).unwrap();
    assert_eq!((done.partitions, done.hours, done.again), (3, 0, true));
    assert_eq!(
        database.number("SELECT count(*) FROM webmon.retention WHERE hours_purged_at = '-infinity'"),
        1
    );
    deriving.commit().unwrap();
    let done = retain(&database, &ONE_DAY).unwrap();
    assert_eq!((done.partitions, done.hours, done.again), (0, 3, false));
    assert_eq!(database.number("SELECT count(*) FROM webmon.retention WHERE hours_purged_at = purged_at"), 1);
}

#[test]
fn results_go_by_the_day_once_their_hours_are_derived_and_none_comes_back() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    for day in 0..6 {
        for n in 0..10 {
            let outcome = if n < 4 { Outcome::Failure } else { Outcome::Success };
            log.append(0, value(result("shop", -day * DAY - n * 600, outcome)));
        }
    }
    log.append(0, gap("shop", "here", -5 * DAY, Some(-3 * DAY), 100, GapReason::CheckerDown));
    log.store(&config).unwrap();
    roll_up(&database);
    // Late, marked and not derived.
    log.append(0, value(result("shop", -4 * DAY + 1, Outcome::Failure)));
    log.store(&config).unwrap();

    let (results, gaps) = raw(&mut database.client());
    let before = partitions(&database);
    let done = store::retain(&mut database.client(), &TWO_DAYS, LONG).unwrap();
    assert!(!done.again);
    assert_eq!(done.partitions as i64, before - partitions(&database));
    assert_eq!(
        database.number("SELECT extract(epoch FROM min(scheduled_at))::bigint FROM webmon.check_results"),
        results.iter().map(|raw| raw.at).find(|at| *at >= instant(-2 * DAY).as_second()).unwrap()
    );
    assert_eq!(store::retain(&mut database.client(), &TWO_DAYS, LONG).unwrap(), store::Retained::default());

    // A late result and a late gap below the floor change nothing there.
    log.append(0, value(result("shop", -4 * DAY + 2, Outcome::Success)));
    log.append(0, gap("shop", "here", -5 * DAY, Some(-3 * DAY), 1_000, GapReason::OutboxFull));
    log.store(&config).unwrap();
    assert_eq!(database.number("SELECT sum(expired)::bigint FROM webmon.ingest_batches"), 2);
    assert_eq!(partitions(&database), before - done.partitions as i64);
    roll_up(&database);
    let client = &mut database.client();
    assert_eq!(
        stored_sums(client, "site_hours", "extract(epoch FROM hour) / 3600"),
        derive_sums(&results, &gaps, HOUR)
    );
    assert_eq!(
        stored_sums(client, "site_days", "day - date '1970-01-01'"),
        derive_sums(&results, &gaps, DAY)
    );
    assert_eq!(stored_incidents(client), derive_incidents(&results, &gaps, &[], &|_| THRESHOLDS));
}

#[test]
fn a_writer_that_read_the_floor_before_it_was_raised_is_waited_for() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    log.append(0, value(result("shop", -4 * DAY, Outcome::Success)));
    log.store(&config).unwrap();
    it_is_today(&database);
    // A writer waits at the end of its transaction.
    let mut holder = database.client();
    holder
        .batch_execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
             CREATE TRIGGER wait BEFORE INSERT ON webmon.ingest_batches EXECUTE FUNCTION wait();
             SELECT pg_advisory_lock(1);",
        )
        .unwrap();
    log.append(0, value(result("shop", -4 * DAY + 1, Outcome::Failure)));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| log.store(&config));
        wait_until("the writer has inserted", || waiting(&database, "advisory"));
        let done = store::retain(&mut database.client(), &TWO_DAYS, SHORT).unwrap();
        assert!(done.again && done.partitions == 0, "{done:?}");
        holder.batch_execute("SELECT pg_advisory_unlock(1)").unwrap();
        writer.join().unwrap().unwrap();
    });
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 2, "it read the old floor");
    let done = store::retain(&mut database.client(), &TWO_DAYS, LONG).unwrap();
    assert_eq!((done.partitions, done.again), (1, false));
    assert_eq!(database.number("SELECT sum(success * 10 + failure) FROM webmon.site_hours"), 11);
    assert_eq!(database.number("SELECT count(*) FROM webmon.check_results"), 0);
}

#[test]
fn retention_goes_on_where_it_was_stopped() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    for day in 0..4 {
        log.append(0, value(result("shop", -DAY * day, Outcome::Success)));
    }
    log.store(&config).unwrap();
    let mut client = database.client();
    // Stopped after the floor was raised, before anything was derived.
    client
        .batch_execute(
            "UPDATE webmon.retention SET floor_at = date_trunc('day', now() - interval '1 day', 'UTC')",
        )
        .unwrap();
    let one_day = Retention { results: Duration::from_secs(86_400), ..TWO_DAYS };
    assert_eq!(store::retain(&mut client, &one_day, LONG).unwrap().partitions, 2);
    assert_eq!(database.number("SELECT sum(success) FROM webmon.site_hours"), 2);
    // Stopped after what is below may be gone, and before it was; or a partition that came back.
    roll_up(&database);
    client
        .batch_execute(
            "UPDATE webmon.retention SET floor_at = date_trunc('day', now(), 'UTC'), purged_at = date_trunc('day', now(), 'UTC')",
        )
        .unwrap();
    assert_eq!(store::retain(&mut client, &one_day, LONG).unwrap().partitions, 1);
    roll_up(&database);
    assert_eq!(database.number("SELECT sum(success) FROM webmon.site_hours"), 4);
    assert_eq!(partitions(&database), 1);
}

#[test]
fn a_reader_is_not_disturbed_and_the_day_goes_later() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    log.append(0, value(result("shop", -4 * DAY, Outcome::Success)));
    log.store(&config).unwrap();
    it_is_today(&database);
    let mut reader = database.client();
    let mut reading = reader.transaction().unwrap();
    reading.query("SELECT FROM webmon.checks", &[]).unwrap();
    let done = store::retain(&mut database.client(), &TWO_DAYS, LONG).unwrap();
    assert_eq!((done.partitions, done.again), (0, true));
    assert_eq!(reading.query("SELECT FROM webmon.checks", &[]).unwrap().len(), 1);
    reading.commit().unwrap();
    assert_eq!(store::retain(&mut database.client(), &TWO_DAYS, LONG).unwrap().partitions, 1);
}

#[test]
fn hours_and_days_go_by_their_age_and_an_incident_that_lasts_keeps_its_beginning() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    for hour in 0..24 * 5 {
        log.append(0, value(result("healthy", -5 * DAY + hour * HOUR, Outcome::Success)));
        log.append(0, value(result("dead", -5 * DAY + hour * HOUR, Outcome::Failure)));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    let retention = Retention { results: Duration::from_secs(86_400), hours: days(2), days: days(3) };
    let done = store::retain(&mut database.client(), &retention, LONG).unwrap();
    assert_eq!((done.hours, done.days), (3 * 24, 2 * 2));
    assert_eq!(database.number("SELECT count(*) FROM webmon.site_hours"), 24 * (5 + 2));
    let incident = stored_incidents(&mut database.client());
    // The site is still down, and what is derived anew begins where it began.
    log.append(0, value(result("dead", 60, Outcome::Failure)));
    log.store(&config).unwrap();
    roll_up(&database);
    let again = stored_incidents(&mut database.client());
    assert_eq!((again[0].from, again[0].failures), (incident[0].from, incident[0].failures + 1));
    // Once it is up, the rest goes too.
    log.append(0, value(result("dead", 120, Outcome::Success)));
    log.store(&config).unwrap();
    roll_up(&database);
    let kept = stored_incidents(&mut database.client());
    assert!(kept[0].to.is_some());
    assert_eq!(
        store::retain(&mut database.client(), &retention, LONG).unwrap().hours,
        0,
        "its end is still kept"
    );
}
