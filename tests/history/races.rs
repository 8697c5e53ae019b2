//! Roll-ups at the same time, and beside writers, lose no change.

use std::sync::Barrier;
use std::time::Duration;

use postgres::Client;
use webmon::record::Outcome;
use webmon::store::{self, RollUpLimits, RolledUp};

use crate::common::{AT_ONCE, DAY, HOUR, THRESHOLDS, assert_history, config, roll_up, waiting};
use crate::support::log::Log;
use crate::support::{Database, database, result, value, wait_until};

/// Makes the connection that calls itself `first` wait within a derivation, after it has looked at the results and
/// before it writes, for as long as somebody holds the advisory lock 1.
fn hold_first(client: &mut Client) {
    client
        .batch_execute(
            "CREATE FUNCTION wait_if_first() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF current_setting('application_name') = 'first' THEN
                     PERFORM pg_advisory_xact_lock(1);
                 END IF;
                 RETURN NULL;
             END $$;
             CREATE TRIGGER wait BEFORE INSERT ON webmon.site_hours EXECUTE FUNCTION wait_if_first();
             SELECT pg_advisory_lock(1);",
        )
        .unwrap();
}

/// The derivation that [`hold_first`] holds.
fn roll_up_first(database: &Database) -> RolledUp {
    let mut client = database.client();
    client.batch_execute("SET application_name = 'first'").unwrap();
    store::roll_up(&mut client, &AT_ONCE).unwrap()
}

#[test]
fn what_is_stored_while_its_hour_is_derived_is_not_forgotten() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    log.append(0, value(result("shop", -DAY, Outcome::Success)));
    log.store(&config).unwrap();
    let mut holder = database.client();
    hold_first(&mut holder);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| roll_up_first(&database));
        wait_until("the derivation has looked", || waiting(&database, "advisory"));
        log.append(0, value(result("shop", -DAY + 1, Outcome::Failure)));
        log.store(&config).unwrap();
        holder.batch_execute("SELECT pg_advisory_unlock(1)").unwrap();
        assert_eq!(first.join().unwrap().hours, 1);
    });
    assert_eq!(
        database.number("SELECT sum(success + failure) FROM webmon.site_hours"),
        1,
        "it had looked before"
    );
    assert_eq!(roll_up(&database).hours, 1);
    assert_history(&database, THRESHOLDS);
}

#[test]
fn of_two_derivations_of_an_hour_the_one_that_looked_later_is_kept() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    // The hour was rolled up before: its lock is there already.
    for n in 0..2 {
        log.append(0, value(result("shop", -DAY + 10 + n, Outcome::Success)));
        log.store(&config).unwrap();
        if n == 0 {
            roll_up(&database);
        }
    }
    let mut holder = database.client();
    hold_first(&mut holder);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| roll_up_first(&database));
        wait_until("the first has looked", || waiting(&database, "advisory"));
        log.append(0, value(result("shop", -DAY + 1, Outcome::Failure)));
        log.store(&config).unwrap();
        let second = scope.spawn(|| roll_up(&database));
        wait_until("the second waits for the first", || {
            waiting(&database, "transactionid") || second.is_finished()
        });
        holder.batch_execute("SELECT pg_advisory_unlock(1)").unwrap();
        first.join().unwrap();
        assert_eq!(second.join().unwrap().hours, 1);
    });
    assert_history(&database, THRESHOLDS);
}

#[test]
fn writers_and_derivations_at_once_come_to_what_is_stored() {
    let Some(database) = database() else { return };
    let log = Log::new(3);
    for n in 0..3_000 {
        let outcome = if n % 7 < 3 { Outcome::Failure } else { Outcome::Success };
        let mut r = result(&format!("site-{}", n % 5), -DAY + (n / 5) * 61, outcome);
        // Twins, in different partitions: of two results for one instant the higher is kept.
        log.append(n as usize % 3, value(r.clone()));
        r.outcome = Outcome::Success;
        r.error_type = None;
        if n % 11 == 0 {
            log.append((n + 1) as usize % 3, value(r));
        }
    }
    let config = config(&database, "store.batch_records = 50\nstore.threads = 3");
    let stored = std::sync::atomic::AtomicBool::new(false);
    let barrier = Barrier::new(3);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = database.client();
                barrier.wait();
                while !stored.load(std::sync::atomic::Ordering::SeqCst) {
                    store::roll_up(&mut client, &AT_ONCE).unwrap();
                }
            });
        }
        barrier.wait();
        // A stop that is asked for by the first writer that finds nothing may leave something for the next round.
        while database.number("SELECT coalesce(sum(next_offset), 0)::bigint FROM webmon.partition_offsets")
            < 3_273
        {
            log.store(&config).unwrap();
        }
        stored.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    roll_up(&database);
    assert_history(&database, THRESHOLDS);
    assert_eq!(database.number("SELECT count(*) FROM webmon.rollup_dirty"), 0);
    assert_eq!(database.number("SELECT count(*) FROM webmon.incidents_dirty"), 0);
}

#[test]
fn a_replay_of_what_is_stored_marks_nothing() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    for n in 0..100 {
        log.append(0, value(result("shop", -DAY + n * 60, Outcome::Failure)));
    }
    log.store(&config).unwrap();
    assert_eq!(roll_up(&database), RolledUp { hours: 2, sites: 1, days: 1, ..RolledUp::default() });
    let sql = "UPDATE webmon.partition_offsets SET next_offset = 0, epoch = epoch + 1";
    database.client().execute(sql, &[]).unwrap();
    log.store(&config).unwrap();
    assert_eq!(roll_up(&database), RolledUp::default());
    assert_history(&database, THRESHOLDS);
}

#[test]
fn an_hour_is_left_alone_for_a_while_once_it_was_rolled_up() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let limits = RollUpLimits { pause: Duration::from_secs(3_600), ..AT_ONCE };
    for (n, hours) in [(0, 1), (1, 0), (2, 0)] {
        log.append(0, value(result("shop", n, Outcome::Success)));
        log.store(&config).unwrap();
        assert_eq!(store::roll_up(&mut database.client(), &limits).unwrap().hours, hours);
    }
    assert_eq!(roll_up(&database).hours, 1);
    assert_history(&database, THRESHOLDS);
}

#[test]
fn a_call_does_no_more_than_its_limits() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    for n in 0..10 {
        log.append(0, value(result("shop", -DAY + n * HOUR, Outcome::Success)));
    }
    log.store(&config).unwrap();
    let limits = RollUpLimits { hours: 4, ..AT_ONCE };
    let mut done = Vec::new();
    loop {
        let rolled_up = store::roll_up(&mut database.client(), &limits).unwrap();
        done.push(rolled_up.hours);
        if !rolled_up.more {
            break;
        }
    }
    assert_eq!(done, [4, 4, 2]);
    assert_history(&database, THRESHOLDS);
}
