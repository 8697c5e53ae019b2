//! Hours, days and incidents on a real PostgreSQL: whatever arrives in whatever order, they are what a derivation from
//! all results and gaps, in Rust, comes to.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postgres::Client;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use serde_json::json;
use support::instance::Instance;
use support::log::Log;
use support::{Database, Signal, database, instant, result, value, wait_until};
use webmon::config::{Config, Retention};
use webmon::database;
use webmon::jobs::{self, Worker, WorkerOptions};
use webmon::record::{CheckResult, ErrorType, Gap, GapReason, GapRecord, Outcome, Record, RecordVersion};
use webmon::shutdown::Shutdown;
use webmon::site::Incident as Thresholds;
use webmon::store::{self, RollUpLimits, RolledUp, StoreError};
use webmon::upkeep;

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

fn config(database: &Database, more: &str) -> Config {
    support::config("127.0.0.1:1", "log", &database.url, more)
}

/// At once, whenever an hour was last rolled up.
const AT_ONCE: RollUpLimits =
    RollUpLimits { hours: 10_000, sites: 10_000, days: 10_000, pause: Duration::ZERO };

fn roll_up(database: &Database) -> RolledUp {
    store::roll_up(&mut database.client(), &AT_ONCE).unwrap()
}

fn gap(site: &str, location: &str, from: i64, to: Option<i64>, instants: u64, reason: GapReason) -> Vec<u8> {
    let gap = Gap { from: instant(from), to: to.map(instant), instants, reason };
    let (site, location) = (site.to_owned(), location.to_owned());
    Record::Gap(GapRecord { v: RecordVersion, site, location, checker: "checker-1".to_owned(), gap }).encode()
}

// ---- The derivation to compare with: from all results and gaps, one by one.

struct Raw {
    site: String,
    location: String,
    at: i64,
    outcome: String,
    error_type: Option<String>,
    error_detail: Option<String>,
    total_us: Option<i32>,
}

/// Site, location, and since when nothing is waited for there.
type Retired = (String, String, i64);

struct RawGap {
    site: String,
    location: String,
    from: i64,
    to: Option<i64>,
    instants: i64,
}

fn raw(client: &mut Client) -> (Vec<Raw>, Vec<RawGap>) {
    let results = client
        .query(
            "SELECT site, location, extract(epoch FROM scheduled_at)::bigint, outcome, error_type, error_detail, total_us \
             FROM webmon.checks ORDER BY 1, 2, 3",
            &[],
        )
        .unwrap();
    let results = results.iter().map(|row| Raw {
        site: row.get(0),
        location: row.get(1),
        at: row.get(2),
        outcome: row.get(3),
        error_type: row.get(4),
        error_detail: row.get(5),
        total_us: row.get(6),
    });
    let gaps = client
        .query(
            "SELECT s.key, l.name, extract(epoch FROM from_at)::bigint, extract(epoch FROM to_at)::bigint, instants \
             FROM webmon.gaps JOIN webmon.sites s USING (site_id) JOIN webmon.locations l USING (location_id) \
             ORDER BY 1, 2, from_at, coalesce(to_at, from_at + interval '1 second'), reason",
            &[],
        )
        .unwrap();
    let gaps = gaps.iter().map(|row| RawGap {
        site: row.get(0),
        location: row.get(1),
        from: row.get(2),
        to: row.get(3),
        instants: row.get(4),
    });
    (results.collect(), gaps.collect())
}

/// The places that are retired, each at the end of the last hour that it has a result of.
fn retired(client: &mut Client, results: &[Raw]) -> Vec<Retired> {
    let rows = client
        .query(
            "SELECT s.key, l.name, extract(epoch FROM p.retired_at)::bigint \
             FROM webmon.site_locations p JOIN webmon.sites s USING (site_id) JOIN webmon.locations l USING (location_id) \
             WHERE p.retired_at IS NOT NULL",
            &[],
        )
        .unwrap();
    let retired: Vec<Retired> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    for (site, location, at) in &retired {
        let last = results
            .iter()
            .filter(|raw| raw.site == *site && raw.location == *location)
            .map(|raw| raw.at)
            .max();
        assert_eq!(*at, (last.unwrap().div_euclid(HOUR) + 1) * HOUR, "{site} at {location} is retired");
    }
    retired
}

/// Site, location and hour (or day) since 1970.
type Place = (String, String, i64);

/// What one hour or day came to.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sums {
    success: i64,
    failure: i64,
    /// By error type.
    missed: BTreeMap<String, i64>,
    gap: i64,
    total_us: Option<(i64, i32, i32)>,
    histogram: BTreeMap<i16, i64>,
}

impl Sums {
    fn is_nothing(&self) -> bool {
        *self == Sums::default()
    }
}

fn derive_sums(results: &[Raw], gaps: &[RawGap], unit: i64) -> BTreeMap<Place, Sums> {
    let mut all: BTreeMap<Place, Sums> = BTreeMap::new();
    for raw in results {
        let sums = all.entry((raw.site.clone(), raw.location.clone(), raw.at.div_euclid(unit))).or_default();
        match raw.outcome.as_str() {
            "success" => sums.success += 1,
            "failure" => sums.failure += 1,
            _ => *sums.missed.entry(raw.error_type.clone().unwrap()).or_default() += 1,
        }
        if let (Some(us), true) = (raw.total_us, raw.outcome != "missed") {
            let (sum, min, max) = sums.total_us.unwrap_or((0, us, us));
            sums.total_us = Some((sum + i64::from(us), min.min(us), max.max(us)));
            *sums.histogram.entry((8.0 * f64::from(us.max(1)).log2()).floor() as i16).or_default() += 1;
        }
    }
    let mut covered: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for gap in gaps {
        let end = gap.to.unwrap_or(gap.from + 1);
        let covered = covered.entry((&gap.site, &gap.location)).or_insert(i64::MIN);
        let begin = gap.from.max(*covered);
        *covered = end.max(*covered);
        let seconds = end - gap.from;
        let instants = gap.instants.min(seconds);
        // Each instant of the gap, by the hour, as what a row takes away it takes away from its hour's.
        let mut missing: BTreeMap<i64, i64> = BTreeMap::new();
        for i in 0..instants {
            // At from + seconds * i / instants, which need not be a whole second.
            if (gap.from - begin) * instants + seconds * i >= 0 {
                let at = gap.from + seconds * i / instants;
                *missing.entry(at.div_euclid(HOUR)).or_default() += 1;
            }
        }
        for raw in results.iter().filter(|raw| raw.site == gap.site && raw.location == gap.location) {
            if (begin..end).contains(&raw.at) {
                *missing.entry(raw.at.div_euclid(HOUR)).or_default() -= 1;
            }
        }
        for (hour, missing) in missing.into_iter().filter(|(_, missing)| *missing > 0) {
            let place = (gap.site.clone(), gap.location.clone(), (hour * HOUR).div_euclid(unit));
            all.entry(place).or_default().gap += missing;
        }
    }
    all
}

/// Class and detail.
type Reason = (String, Option<String>);

#[derive(Clone, Debug, PartialEq)]
struct Incident {
    site: String,
    from: i64,
    to: Option<i64>,
    failures: i64,
    locations: usize,
    reason: Reason,
}

struct Run {
    location: String,
    from: i64,
    to: Option<i64>,
    failures: i64,
    reason: Reason,
}

fn derive_incidents(
    results: &[Raw],
    gaps: &[RawGap],
    retired: &[Retired],
    thresholds: &dyn Fn(&str) -> Thresholds,
) -> Vec<Incident> {
    let sites: BTreeSet<&str> = results.iter().map(|raw| raw.site.as_str()).collect();
    let mut incidents = Vec::new();
    for site in sites {
        let thresholds = thresholds(site);
        let locations: BTreeSet<&str> =
            results.iter().filter(|raw| raw.site == site).map(|raw| raw.location.as_str()).collect();
        let mut runs: Vec<Run> = Vec::new();
        for location in locations {
            // What happened, in order: a failure with its reason, or the end of one.
            let mut events: Vec<(i64, Option<Reason>)> = results
                .iter()
                .filter(|raw| raw.site == site && raw.location == location && raw.outcome != "missed")
                .map(|raw| (raw.at, raw.error_type.clone().map(|class| (class, raw.error_detail.clone()))))
                .collect();
            events.extend(
                gaps.iter()
                    .filter(|gap| gap.site == site && gap.location == location && gap.to.is_none())
                    .map(|gap| (gap.from, None)),
            );
            events.extend(retired.iter().filter(|r| r.0 == site && r.1 == location).map(|r| (r.2, None)));
            // A row at the instant of a retirement comes after it.
            events.sort_by_key(|(at, failure)| (*at, failure.is_some()));
            let mut run: Option<Run> = None;
            for (at, failure) in events {
                match (failure, &mut run) {
                    (Some(_), Some(run)) => run.failures += 1,
                    (Some(reason), None) => {
                        let location = location.to_owned();
                        run = Some(Run { location, from: at, to: None, failures: 1, reason });
                    }
                    (None, _) => runs.extend(run.take().map(|run| Run { to: Some(at), ..run })),
                }
            }
            runs.extend(run);
        }
        runs.retain(|run| run.failures >= i64::from(thresholds.failures));
        let down_at = |at: i64| {
            runs.iter().filter(|run| run.from <= at && run.to.is_none_or(|to| to > at)).count()
                >= usize::from(thresholds.locations)
        };
        let mut edges: Vec<i64> = runs.iter().flat_map(|run| [Some(run.from), run.to]).flatten().collect();
        edges.sort();
        edges.dedup();
        let mut open: Option<i64> = None;
        let mut stretches: Vec<(i64, Option<i64>)> = Vec::new();
        for at in edges {
            match (open, down_at(at)) {
                (None, true) => open = Some(at),
                (Some(from), false) => {
                    stretches.push((from, Some(at)));
                    open = None;
                }
                _ => {}
            }
        }
        stretches.extend(open.map(|from| (from, None)));
        for (from, to) in stretches {
            let during: Vec<&Run> = runs
                .iter()
                .filter(|run| to.is_none_or(|to| run.from < to) && run.to.is_none_or(|to| to > from))
                .collect();
            incidents.push(Incident {
                site: site.to_owned(),
                from,
                to,
                failures: during.iter().map(|run| run.failures).sum(),
                locations: during.iter().map(|run| &run.location).collect::<BTreeSet<_>>().len(),
                reason: during.iter().find(|run| run.from == from).unwrap().reason.clone(),
            });
        }
    }
    incidents
}

// ---- What is stored.

fn stored_sums(client: &mut Client, table: &str, unit: &str) -> BTreeMap<Place, Sums> {
    let kinds = ["late", "overlap", "saturated", "cancelled", "network_down", "checker_down", "maintenance"];
    let sql = format!(
        "SELECT s.key, l.name, ({unit})::bigint, success::bigint, failure::bigint, gap::bigint, total_us_sum, total_us_min, \
         total_us_max, buckets, counts, {} \
         FROM webmon.{table} JOIN webmon.sites s USING (site_id) JOIN webmon.locations l USING (location_id)",
        kinds.map(|kind| format!("{kind}::bigint")).join(", ")
    );
    let rows = client.query(&sql, &[]).unwrap();
    rows.iter()
        .map(|row| {
            let (buckets, counts): (Vec<i16>, Vec<i32>) = (row.get(9), row.get(10));
            assert!(buckets.is_sorted() && buckets.len() == counts.len());
            let sums = Sums {
                success: row.get(3),
                failure: row.get(4),
                missed: kinds
                    .iter()
                    .enumerate()
                    .map(|(i, kind)| ((*kind).to_owned(), row.get(11 + i)))
                    .filter(|(_, count)| *count > 0)
                    .collect(),
                gap: row.get(5),
                total_us: row.get::<_, Option<i64>>(6).map(|sum| (sum, row.get(7), row.get(8))),
                histogram: buckets.into_iter().zip(counts.into_iter().map(i64::from)).collect(),
            };
            ((row.get(0), row.get(1), row.get(2)), sums)
        })
        // An hour that lost what it had stays as a row of nothing.
        .filter(|(_, sums)| !sums.is_nothing())
        .collect()
}

fn stored_incidents(client: &mut Client) -> Vec<Incident> {
    let rows = client
        .query(
            "SELECT site, extract(epoch FROM from_at)::bigint, extract(epoch FROM to_at)::bigint, failures, locations, \
             error_type, error_detail FROM webmon.incidents ORDER BY 1, 2",
            &[],
        )
        .unwrap();
    rows.iter()
        .map(|row| Incident {
            site: row.get(0),
            from: row.get(1),
            to: row.get(2),
            failures: row.get(3),
            locations: row.get::<_, i16>(4) as usize,
            reason: (row.get(5), row.get(6)),
        })
        .collect()
}

/// Hours, days and incidents are what all results and gaps come to.
#[track_caller]
fn assert_history(database: &Database, thresholds: Thresholds) {
    assert_history_of(database, &|_| thresholds);
}

#[track_caller]
fn assert_history_of(database: &Database, thresholds: &dyn Fn(&str) -> Thresholds) {
    let client = &mut database.client();
    let (results, gaps) = raw(client);
    assert_eq!(
        stored_sums(client, "site_hours", "extract(epoch FROM hour) / 3600"),
        derive_sums(&results, &gaps, HOUR),
        "hours"
    );
    assert_eq!(
        stored_sums(client, "site_days", "day - date '1970-01-01'"),
        derive_sums(&results, &gaps, DAY),
        "days"
    );
    let retired = retired(client, &results);
    assert_eq!(
        stored_incidents(client),
        derive_incidents(&results, &gaps, &retired, thresholds),
        "incidents"
    );
}

const THRESHOLDS: Thresholds = Thresholds { failures: 2, locations: 1 };

// ---- Any order.

/// What may arrive: a result, or a gap.
#[derive(Clone, Debug)]
enum Arrival {
    Result {
        site: u8,
        location: u8,
        slot: i64,
        outcome: u8,
        total_us: i32,
    },
    Gap {
        site: u8,
        location: u8,
        from: i64,
        length: Option<i64>,
        instants: u64,
    },
    /// Everything so far is stored and rolled up.
    RollUp,
    /// So too, and then nothing is waited for from this location.
    Retire(u8),
}

/// Instants are ten minutes apart, over five hours of yesterday that reach into today.
const SLOT: i64 = 600;
const FIRST_SLOT: i64 = -18;

fn arrival() -> impl Strategy<Value = Arrival> {
    let result = (0..2u8, 0..2u8, 0..30i64, 0..10u8, 1..i32::MAX).prop_map(
        |(site, location, slot, outcome, total_us)| {
            // Successes and failures in equal parts, so that runs of failures are long enough.
            Arrival::Result { site, location, slot, outcome, total_us }
        },
    );
    let gap = (0..2u8, 0..2u8, 0..30i64, prop::option::weighted(0.8, 1..15i64), 1..20u64).prop_map(
        |(site, location, from, length, instants)| Arrival::Gap { site, location, from, length, instants },
    );
    let retire = (0..2u8).prop_map(Arrival::Retire);
    prop_oneof![60 => result, 4 => gap, 2 => Just(Arrival::RollUp), 1 => retire]
}

#[test]
fn history_is_right_in_every_order_of_arrival() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let case = std::cell::Cell::new(0);
    let thresholds = (1..4u16, 1..3u16).prop_map(|(failures, locations)| Thresholds { failures, locations });
    let mut runner = TestRunner::new(Cases {
        cases: 12,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Cases::default()
    });
    let arrivals = prop::collection::vec(arrival(), 1..250);
    // Of each site, by its key.
    let all: std::cell::RefCell<BTreeMap<String, Thresholds>> = Default::default();
    let thresholds_of = |site: &str| all.borrow()[site];
    let outcome = runner.run(&(arrivals, [thresholds.clone(), thresholds]), |(arrivals, thresholds)| {
        case.set(case.get() + 1);
        for (site, thresholds) in thresholds.iter().enumerate() {
            all.borrow_mut().insert(format!("{:03}-{site}", case.get()), *thresholds);
        }
        let config = config(&database, "store.batch_records = 40");
        for arrival in arrivals {
            match arrival {
                Arrival::Result { site, location, slot, outcome, total_us } => {
                    let outcome = match outcome {
                        0..4 => Outcome::Success,
                        4..8 => Outcome::Failure,
                        _ => Outcome::Missed,
                    };
                    let mut r =
                        result(&format!("{:03}-{site}", case.get()), (FIRST_SLOT + slot) * SLOT, outcome);
                    r.location = format!("{:03}-location-{location}", case.get());
                    r.incident_failures = Some(thresholds[usize::from(site)].failures);
                    r.incident_locations = Some(thresholds[usize::from(site)].locations);
                    r.total_us = (total_us % 5 != 0).then_some(total_us as u32);
                    match outcome {
                        Outcome::Success => {}
                        Outcome::Failure => {
                            r.error_type = Some(ErrorType::ALL[total_us as usize % 9]);
                            r.error_detail = (total_us % 2 == 0).then(|| format!("detail {}", total_us % 7));
                        }
                        Outcome::Missed => r.error_type = Some(ErrorType::ALL[9 + total_us as usize % 7]),
                    }
                    log.append(0, value(r));
                }
                Arrival::Gap { site, location, from, length, instants } => {
                    let from = (FIRST_SLOT + from) * SLOT;
                    let site = format!("{:03}-{site}", case.get());
                    let to = length.map(|length| from + length * SLOT);
                    // A reason, and so an identity, that may come again with more instants.
                    let reason =
                        if instants % 2 == 0 { GapReason::OutboxFull } else { GapReason::CheckerDown };
                    let location = format!("{:03}-location-{location}", case.get());
                    log.append(0, gap(&site, &location, from, to, instants, reason));
                }
                Arrival::RollUp => {
                    log.store(&config).unwrap();
                    roll_up(&database);
                }
                Arrival::Retire(location) => {
                    log.store(&config).unwrap();
                    roll_up(&database);
                    let location = format!("{:03}-location-{location}", case.get());
                    store::retire_location(&mut database.client(), &location).unwrap();
                }
            }
        }
        log.store(&config).unwrap();
        roll_up(&database);
        assert_history_of(&database, &thresholds_of);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // Derived step by step, incidents are what they are when all are derived at once.
    database
        .client()
        .batch_execute(
            "DELETE FROM webmon.site_incidents;
             INSERT INTO webmon.incidents_dirty (site_id, from_at, to_at) SELECT site_id, '-infinity', 'infinity' FROM webmon.sites",
        )
        .unwrap();
    roll_up(&database);
    assert_history_of(&database, &thresholds_of);
    let retired = database.number("SELECT count(*) FROM webmon.site_locations WHERE retired_at IS NOT NULL");
    let down = database.number("SELECT count(*) FROM webmon.site_locations WHERE down_since_at IS NOT NULL");
    assert!(retired > 0 && down > 0, "{retired} retired, {down} down");
}

// ---- Races.

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

fn waiting(database: &Database, on: &str) -> bool {
    database.number(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = '{on}'"
    )) > 0
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
        let first = scope.spawn(|| {
            let mut client = database.client();
            client.batch_execute("SET application_name = 'first'").unwrap();
            store::roll_up(&mut client, &AT_ONCE).unwrap()
        });
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
        let first = scope.spawn(|| {
            let mut client = database.client();
            client.batch_execute("SET application_name = 'first'").unwrap();
            store::roll_up(&mut client, &AT_ONCE).unwrap()
        });
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

// ---- Incidents.

fn store_outcomes(log: &Log, config: &Config, outcomes: &[(i64, Outcome)]) {
    for (seconds, outcome) in outcomes {
        log.append(0, value(result("shop", *seconds, *outcome)));
    }
    log.store(config).unwrap();
}

fn incidents(database: &Database) -> Vec<(i64, i64, Option<i64>, i64)> {
    roll_up(database);
    assert_history(database, THRESHOLDS);
    let day = instant(0).as_second();
    let rows = database.json(
        "SELECT incident_id AS id, extract(epoch FROM from_at)::bigint AS f, extract(epoch FROM to_at)::bigint AS t, \
         failures AS n FROM webmon.incidents ORDER BY from_at",
    );
    let number = |row: &serde_json::Value, key: &str| row[key].as_i64();
    rows.iter()
        .map(|row| {
            let (id, from) = (number(row, "id").unwrap(), number(row, "f").unwrap() - day);
            (id, from, number(row, "t").map(|to| to - day), number(row, "n").unwrap())
        })
        .collect()
}

#[test]
fn late_results_split_and_join_incidents_and_the_first_keeps_its_number() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let (s, f) = (Outcome::Success, Outcome::Failure);
    // Half an hour apart, over two days: failures from 1 to 8 with a hole at 4 and 5.
    let at = |n: i64| -DAY / 6 + n * HOUR / 2;
    store_outcomes(
        &log,
        &config,
        &[(at(0), s), (at(1), f), (at(2), f), (at(3), f), (at(6), f), (at(7), f), (at(8), f)],
    );
    let open = incidents(&database);
    assert_eq!(open, [(open[0].0, at(1), None, 6)]);
    let first = open[0].0;
    store_outcomes(&log, &config, &[(at(9), s)]);
    assert_eq!(incidents(&database), [(first, at(1), Some(at(9)), 6)]);
    // A success in the middle splits it.
    store_outcomes(&log, &config, &[(at(5), s)]);
    let split = incidents(&database);
    assert_eq!(split, [(first, at(1), Some(at(5)), 3), (split[1].0, at(6), Some(at(9)), 3)]);
    // Another one takes the first's end away, and a late failure gives it back.
    store_outcomes(&log, &config, &[(at(4), f)]);
    assert_eq!(incidents(&database)[0], (first, at(1), Some(at(5)), 4));
    // A success in place of a failure (a twin's): two runs, of which one is too short.
    store_outcomes(&log, &config, &[(at(2), s)]);
    let rest = incidents(&database);
    assert_eq!(rest.iter().map(|i| (i.1, i.3)).collect::<Vec<_>>(), [(at(3), 2), (at(6), 3)]);
    assert_eq!(rest[1].0, split[1].0, "it begins where it began");
}

#[test]
fn a_retired_site_is_not_down() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    store_outcomes(&log, &config, &[(0, Outcome::Failure), (60, Outcome::Failure)]);
    assert_eq!(incidents(&database)[0].2, None);
    // The instant that was announced.
    log.append(0, gap("shop", "here", 61, None, 1, GapReason::Rescheduled));
    log.store(&config).unwrap();
    assert_eq!(incidents(&database)[0].2, Some(61));
    let status = database.json("SELECT status, next_at, down_since_at FROM webmon.current_status");
    assert_eq!(status, [json!({"status": "retired", "next_at": null, "down_since_at": null})]);
}

// ---- What is read.

#[test]
fn percentiles_are_within_4_4_percent() {
    let Some(database) = database() else { return };
    // Of every time, the short ones all, apart from half a microsecond for the rounding.
    let off = "SELECT max((abs(webmon.histogram_middle(webmon.histogram_bucket(us)) - us) - 0.5) / us::float8) \
               FROM (SELECT generate_series(1, 20000) AS us \
                     UNION ALL SELECT floor(power(2, 30.9 * n / 20000))::integer FROM generate_series(1, 20000) AS n \
                     UNION ALL SELECT 2147483647) AS times";
    let off: f64 = database.client().query_one(off, &[]).unwrap().get(0);
    assert!((0.04..0.0443).contains(&off), "{off}");

    let (log, config) = (Log::new(1), config(&database, ""));
    for n in 0..4_000i64 {
        let mut r = result("shop", -2 * DAY + n * 43, Outcome::Success);
        r.location = format!("location-{}", n % 2);
        // Scattered over four powers of ten.
        r.total_us = Some((10f64.powf(3.0 + (n * 7_919 % 4_001) as f64 / 1_000.0)) as u32);
        log.append(0, value(r));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    for fraction in [50, 95, 99] {
        let sql = format!(
            "SELECT u.p{fraction}_us::float8 / c.exact AS by_day, b.p{fraction}_us::float8 / b.exact AS between \
             FROM webmon.uptime u \
             JOIN (SELECT (scheduled_at AT TIME ZONE 'UTC')::date AS day, \
                   percentile_disc(0.{fraction}) WITHIN GROUP (ORDER BY total_us) AS exact \
                   FROM webmon.checks GROUP BY 1) c USING (day) \
             CROSS JOIN (SELECT b.*, (SELECT percentile_disc(0.{fraction}) WITHIN GROUP (ORDER BY total_us) FROM webmon.checks) AS exact \
                         FROM webmon.uptime_between('2000-01-01', '2100-01-01') b) b"
        );
        let rows = database.json(&sql);
        assert_eq!(rows.len(), 2);
        for row in rows {
            for key in ["by_day", "between"] {
                let ratio = row[key].as_f64().unwrap();
                assert!((0.956..1.0443).contains(&ratio), "p{fraction} {row}");
            }
        }
    }
}

#[test]
fn uptime_and_coverage_of_a_day_are_what_its_instants_say() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let mut seconds = -DAY..;
    let mut add = |count: usize, outcome: Outcome, error_type: Option<ErrorType>| {
        for _ in 0..count {
            let mut r = result("shop", seconds.next().unwrap(), outcome);
            r.error_type = error_type;
            log.append(0, value(r));
        }
    };
    add(6, Outcome::Success, None);
    add(2, Outcome::Failure, Some(ErrorType::Timeout));
    add(1, Outcome::Missed, Some(ErrorType::Late));
    add(5, Outcome::Missed, Some(ErrorType::Maintenance));
    log.append(0, gap("shop", "here", -DAY + 600, Some(-DAY + 8_000), 7, GapReason::OutboxFull));
    log.store(&config).unwrap();
    roll_up(&database);
    let row = database.json("SELECT site, uptime_percent, coverage_percent, success, failure, missed, maintenance, gap, mean_us, max_us FROM webmon.uptime").remove(0);
    assert_eq!(
        row,
        json!({"site": "shop", "uptime_percent": 75, "coverage_percent": 50, "success": 6, "failure": 2, "missed": 1,
               "maintenance": 5, "gap": 7, "mean_us": 1_234, "max_us": 1_234})
    );
    let between = database.json("SELECT site, uptime_percent, coverage_percent, success, failure, missed, maintenance, gap, mean_us, max_us FROM webmon.uptime_between('2000-01-01', '2100-01-01')").remove(0);
    assert_eq!(row, between);
}

#[test]
fn the_current_status_is_up_down_stale_or_retired() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let now = Timestamp::now().as_second() - instant(0).as_second();
    let add = |site: &str, ago: i64, outcome: Outcome, next_in: Option<i64>, budget: Option<u32>| {
        let mut r = result(site, now - ago, outcome);
        r.next_at = next_in.map(|next| r.scheduled_at + SignedDuration::from_secs(next));
        r.time_budget_ms = budget;
        log.append(0, value(r));
    };
    let (s, f, m) = (Outcome::Success, Outcome::Failure, Outcome::Missed);
    add("up", 30, s, Some(60), None);
    for ago in [150, 90, 30] {
        add("down", ago, f, Some(60), None);
        add("down-and-missed", ago, if ago == 30 { m } else { f }, Some(60), None);
    }
    add("one-failure", 90, s, Some(60), None);
    add("one-failure", 30, f, Some(60), None);
    add("late", 210, s, Some(60), None);
    add("late-with-budget", 150, s, Some(60), Some(20_000));
    add("slow-with-budget", 210, s, Some(60), Some(600_000));
    add("never-again", 3_600, s, None, None);
    add("no-verdict", 3 * 3_600 + 30, s, Some(60), None);
    add("no-verdict", 30, m, Some(60), None);
    log.append(0, gap("rescheduled", "here", now - 540, Some(now + 3_600), 1, GapReason::Rescheduled));
    let mut r = result("rescheduled", now - 600, s);
    r.next_at = Some(instant(now - 540));
    log.append(0, value(r));
    log.store(&config).unwrap();
    roll_up(&database);
    let rows = database.json("SELECT site, status FROM webmon.current_status ORDER BY site");
    let status: Vec<(&str, &str)> =
        rows.iter().map(|row| (row["site"].as_str().unwrap(), row["status"].as_str().unwrap())).collect();
    assert_eq!(
        status,
        [
            ("down", "down"),
            ("down-and-missed", "down"),
            ("late", "stale"),
            ("late-with-budget", "stale"),
            ("never-again", "retired"),
            ("no-verdict", "stale"),
            ("one-failure", "up"),
            ("rescheduled", "up"),
            ("slow-with-budget", "up"),
            ("up", "up"),
        ]
    );
    // A success shows at once, before anything is rolled up.
    log.append(0, value(result("down", now - 1, s)));
    log.store(&config).unwrap();
    let down = database.json("SELECT status, down_since_at FROM webmon.current_status WHERE site = 'down'");
    assert_eq!(down, [json!({"status": "up", "down_since_at": null})]);
}

#[test]
fn changes_of_a_site_show_over_time() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let version = |seconds: i64, name: &str, schedule: &str, budget: u32| -> CheckResult {
        let mut r = result("shop", seconds, Outcome::Success);
        r.name = name.to_owned();
        r.schedule = Some(schedule.to_owned());
        r.time_budget_ms = Some(budget);
        r.labels = [("team".to_owned(), name.to_owned())].into();
        r
    };
    for r in [
        version(-DAY, "Shop", "@hourly in UTC", 10_000),
        version(-DAY + 7_200, "Shop", "@daily in UTC", 10_000),
        version(-DAY + 3_600, "Shop", "@hourly in UTC", 10_000),
        version(-3_600, "The Shop", "@daily in UTC", 20_000),
    ] {
        log.append(0, value(r));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    let day = instant(0).as_second();
    let rows = database.json(&format!(
        "SELECT name, schedule, time_budget_ms AS budget, extract(epoch FROM first_seen_at)::bigint - {day} AS f, \
         extract(epoch FROM last_seen_at)::bigint - {day} AS l FROM webmon.site_history ORDER BY first_seen_at"
    ));
    assert_eq!(
        rows,
        [
            json!({"name": "Shop", "schedule": "@hourly in UTC", "budget": 10_000, "f": -DAY, "l": -DAY + 3_600}),
            json!({"name": "Shop", "schedule": "@daily in UTC", "budget": 10_000, "f": -DAY + 7_200, "l": -DAY + 7_200}),
            json!({"name": "The Shop", "schedule": "@daily in UTC", "budget": 20_000, "f": -3_600, "l": -3_600}),
        ]
    );
    let now = database.json("SELECT site, name, labels, schedule FROM webmon.current_sites");
    let expected = json!({"site": "shop", "name": "The Shop", "labels": {"team": "The Shop"}, "schedule": "@daily in UTC"});
    assert_eq!(now, [expected]);
}

#[test]
fn every_column_of_every_view_has_a_comment() {
    let Some(database) = database() else { return };
    let sql = "SELECT c.relname || '.' || a.attname AS name, col_description(c.oid, a.attnum) IS NOT NULL AS commented \
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 \
               WHERE c.relnamespace = 'webmon'::regnamespace AND c.relkind = 'v'";
    let columns = database.json(sql);
    assert!(columns.len() > 70, "{}", columns.len());
    let bare: Vec<_> = columns.iter().filter(|column| column["commented"] == false).collect();
    assert!(bare.is_empty(), "{bare:?}");
}

// ---- Retention.

fn partitions(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM pg_inherits WHERE inhparent = 'webmon.check_results'::regclass")
}

const TWO_DAYS: Retention = Retention { results: Duration::from_secs(2 * 86_400), hours: None, days: None };
const ONE_DAY: Retention =
    Retention { results: Duration::from_secs(86_400), hours: Some(Duration::from_secs(86_400)), days: None };
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);

/// As if something of the current hour had been stored and rolled up.
fn it_is_today(database: &Database) {
    let sql = "INSERT INTO webmon.site_locations (site_id, location_id, first_hour, last_hour)
               VALUES (0, 0, date_trunc('hour', now(), 'UTC'), date_trunc('hour', now(), 'UTC'))";
    database.client().batch_execute(sql).unwrap();
}

/// Stores and rolls up a success at the begin of each of these days.
fn store_days(database: &Database, log: &Log, days: std::ops::Range<i64>) {
    for day in days {
        log.append(0, value(result("shop", day * DAY, Outcome::Success)));
    }
    log.store(&config(database, "store.retention.results = \"3000d\"\nstore.retention.hours = \"forever\""))
        .unwrap();
    roll_up(database);
}

fn results(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM webmon.check_results")
}

fn retain(database: &Database, retention: &Retention) -> Result<store::Retained, StoreError> {
    store::retain(&mut database.client(), retention, LONG)
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
    let (Some(database), Some(other), log) = (database(), support::empty_database(), Log::new(1)) else {
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

// ---- Roles.

/// A user who may log in, and is a member of `role`; gone in the end.
struct Login {
    server: Database,
    name: String,
}

impl Login {
    fn new(role: &str) -> Option<Login> {
        let server = support::empty_database()?;
        let name = support::unique("webmon_test_login");
        server.client().batch_execute(&format!("CREATE ROLE {name} LOGIN IN ROLE {role}")).unwrap();
        Some(Login { server, name })
    }

    /// The database's URL for this user.
    fn url(&self, database: &Database) -> String {
        let (scheme, rest) = database.url.split_once("://").unwrap();
        let (_, host) = rest.split_once('@').unwrap();
        format!("{scheme}://{}@{host}", self.name)
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let _ = self.server.client().batch_execute(&format!("DROP ROLE {}", self.name));
    }
}

#[track_caller]
fn assert_refused(client: &mut Client, sql: &str) {
    let error = client.batch_execute(sql).expect_err(sql);
    assert_eq!(error.code(), Some(&postgres::error::SqlState::INSUFFICIENT_PRIVILEGE), "{sql}: {error}");
}

#[test]
fn a_writer_stores_rolls_up_and_retains_and_can_do_no_more() {
    let (Some(database), Some(login)) = (database(), Login::new("webmon_writer")) else { return };
    let url = login.url(&database);
    let config = support::config("127.0.0.1:1", "log", &url, "");
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
        let toml = support::config_toml("127.0.0.1:1", "log", &login.url(&database), "");
        let arguments = ["retention", "apply"];
        let (code, _, log) = support::program(env!("CARGO_BIN_EXE_webmon-store"), &toml, &arguments).finish();
        assert_eq!(code, Some(1));
        assert!(log.starts_with("webmon-store: this takes the rights of webmon_owner: "), "{log}");
    }
}

#[test]
fn a_writer_may_do_every_job() {
    let (Some(database), Some(login)) = (database(), Login::new("webmon_writer")) else { return };
    let config = support::config("127.0.0.1:1", "log", &login.url(&database), "");
    let kinds = upkeep::kinds(&config.kafka.topic, &config.store, &config.jobs).unwrap();
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
    log.store(&support::config("127.0.0.1:1", "log", &url, "")).unwrap();
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
    let (Some(database), Some(login)) = (support::empty_database(), Login::new("pg_monitor")) else { return };
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
    log.store(&support::config("127.0.0.1:1", "log", &url, "")).unwrap();
    assert_eq!(roll_up(&database).hours, 1);
    let owner = format!("REASSIGN OWNED BY {} TO CURRENT_USER; DROP OWNED BY {}", login.name, login.name);
    client.batch_execute(&owner).unwrap();
}

#[test]
#[cfg(feature = "cli")]
fn webmon_store_runs_as_a_writer() {
    let (Some(database), Some(brokers)) = (database(), support::kafka()) else { return };
    let Some(login) = Login::new("webmon_writer") else { return };
    let topic = support::unique("writer");
    let toml = support::config_toml(&brokers, &topic, &login.url(&database), "");
    let config = Config::from_toml(&toml, webmon::config::Role::Store).unwrap();
    let new =
        webmon::kafka::NewTopic { partitions: 1, replication: 1, retention: Duration::from_secs(3_600) };
    webmon::kafka::create_topic(&config.kafka, &new).unwrap();
    let mut producer = webmon::kafka::producer(&config.kafka).unwrap();
    let outgoing =
        webmon::kafka::Outgoing { key: "shop".to_owned(), value: value(result("shop", 0, Outcome::Success)) };
    producer.produce(&[outgoing]);
    let program = support::program(env!("CARGO_BIN_EXE_webmon-store"), &toml, &["run"]);
    wait_until("the result is stored", || database.number("SELECT count(*) FROM webmon.check_results") == 1);
    program.signal(Signal::TERM);
    let (code, _, log) = program.finish();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(roll_up(&database).hours, 1);
}

// ---- What is older than hours are kept.

/// What a retention of hours leaves: all from `at` on, and the hours of incidents that reach over it.
fn purge_hours(database: &Database, at: i64) {
    database
        .client()
        .batch_execute(&format!(
            "UPDATE webmon.retention SET floor_at = '{at}', purged_at = '{at}', hours_purged_at = '{at}';
             DELETE FROM webmon.site_hours h
             WHERE h.hour < '{at}'
               AND NOT EXISTS (SELECT FROM webmon.site_incidents i
                               WHERE i.site_id = h.site_id AND i.from_at < h.hour + interval '1 hour'
                                 AND coalesce(i.to_at, 'infinity') >= '{at}');
             DELETE FROM webmon.failure_runs f
             WHERE f.from_at < '{at}'
               AND NOT EXISTS (SELECT FROM webmon.site_hours h
                               WHERE h.site_id = f.site_id AND h.location_id = f.location_id
                                 AND h.hour = date_trunc('hour', f.from_at, 'UTC'))",
            at = instant(at)
        ))
        .unwrap();
}

/// A result of `site` seen from `location`, whose site has these thresholds.
fn seen(site: &str, location: &str, seconds: i64, outcome: Outcome, thresholds: Thresholds) -> Vec<u8> {
    let mut r = result(site, seconds, outcome);
    r.location = location.to_owned();
    r.incident_failures = Some(thresholds.failures);
    r.incident_locations = Some(thresholds.locations);
    value(r)
}

#[test]
fn an_incident_older_than_hours_are_kept_stays_whatever_changes() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let (s, f) = (Outcome::Success, Outcome::Failure);
    // Down for two hours four days ago, again for an hour yesterday, and now.
    for (hour, outcome) in
        [(-96, s), (-95, f), (-94, f), (-93, s), (-24, f), (-23, f), (-22, s), (-2, f), (-1, f)]
    {
        for location in ["here", "kept"] {
            log.append(0, seen("shop", location, hour * HOUR, outcome, THRESHOLDS));
        }
        // One that reaches from before what is kept until today.
        log.append(0, seen("long", "here", hour * HOUR, if hour == -96 { s } else { f }, THRESHOLDS));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    let before = stored_incidents(&mut database.client());
    assert_eq!(before.len(), 4);
    purge_hours(&database, -2 * DAY);
    let old = |incidents: &[Incident]| -> Vec<Incident> {
        incidents.iter().filter(|i| i.from < instant(-2 * DAY).as_second()).cloned().collect()
    };

    // A second location comes, one is renamed, and both fail like the others.
    for location in ["there", "kept-renamed"] {
        for site in ["shop", "long"] {
            log.append(0, seen(site, location, -HOUR, f, THRESHOLDS));
        }
    }
    log.store(&config).unwrap();
    roll_up(&database);
    assert_eq!(stored_incidents(&mut database.client()), before);

    // The long one lasts.
    log.append(0, seen("long", "here", -3_000, f, THRESHOLDS));
    log.store(&config).unwrap();
    roll_up(&database);
    let longer = stored_incidents(&mut database.client());
    assert_eq!(
        old(&longer)[0],
        Incident { failures: old(&before)[0].failures + 1, ..old(&before)[0].clone() }
    );
    assert_eq!(old(&longer)[1], old(&before)[1]);

    // With other thresholds what is kept has other incidents, and what is older has not.
    let other = Thresholds { failures: 50, locations: 1 };
    for site in ["shop", "long"] {
        log.append(0, seen(site, "here", -2_000, f, other));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    let changed = stored_incidents(&mut database.client());
    assert_eq!(changed.len(), 2, "{changed:?}");
    assert_eq!((changed[0].from, changed[0].to), (old(&before)[0].from, Some(instant(-2 * DAY).as_second())));
    assert_eq!(changed[1], old(&before)[1]);

    // The location that was renamed is retired, and the long one's end comes late.
    store::retire_location(&mut database.client(), "kept").unwrap();
    log.append(0, seen("long", "here", -1_000, s, other));
    log.store(&config).unwrap();
    roll_up(&database);
    assert_eq!(stored_incidents(&mut database.client()), changed);
}

// ---- Thresholds.

#[test]
fn what_makes_an_incident_is_what_the_sites_newest_version_says() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let needs = |failures: u16| Thresholds { failures, locations: 1 };
    let f = Outcome::Failure;
    for n in 0..3 {
        log.append(0, seen("strict", "here", -DAY + n * 60, f, needs(1)));
        log.append(0, seen("patient", "here", -DAY + n * 60, f, needs(4)));
        // Says nothing.
        log.append(0, value(result("silent", -DAY + n * 60, f)));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    let of = |wanted: [(&'static str, u16); 3]| {
        move |site: &str| needs(wanted.iter().find(|(name, _)| *name == site).unwrap().1)
    };
    assert_history_of(&database, &of([("strict", 1), ("patient", 4), ("silent", 2)]));
    let sites = |incidents: Vec<Incident>| incidents.into_iter().map(|i| i.site).collect::<Vec<_>>();
    assert_eq!(sites(stored_incidents(&mut database.client())), ["silent", "strict"]);

    // A newer version decides over all of the site's incidents; one that comes late does not.
    log.append(0, seen("strict", "here", -60, Outcome::Success, needs(9)));
    log.append(0, seen("patient", "here", -60, Outcome::Success, needs(3)));
    log.append(0, seen("silent", "here", -2 * DAY, Outcome::Success, needs(9)));
    log.store(&config).unwrap();
    roll_up(&database);
    assert_history_of(&database, &of([("strict", 9), ("patient", 3), ("silent", 2)]));
    assert_eq!(sites(stored_incidents(&mut database.client())), ["patient", "silent"]);
    let now = database.json("SELECT site, incident_failures AS n FROM webmon.current_sites ORDER BY site");
    let expected = [("patient", json!(3)), ("silent", json!(null)), ("strict", json!(9))];
    assert_eq!(now, expected.map(|(site, n)| json!({"site": site, "n": n})));
}

#[test]
fn two_checkers_with_different_thresholds_do_not_take_turns() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let in_force = || database.number("SELECT incident_failures::bigint FROM webmon.sites");
    let [old, new] = [5, 7].map(|failures| Thresholds { failures, locations: 1 });
    for n in 0..4 {
        log.append(0, seen("shop", "here", -DAY + n * 600, Outcome::Success, old));
        log.store(&config).unwrap();
        roll_up(&database);
        assert_eq!(in_force(), if n == 0 { 5 } else { 7 }, "after {n}");
        log.append(0, seen("shop", "there", -DAY + n * 600 + 1, Outcome::Success, new));
        log.store(&config).unwrap();
        roll_up(&database);
        assert_eq!(in_force(), 7);
    }
    // The one that came later is gone for an hour: then the other one decides again.
    log.append(0, seen("shop", "here", -DAY + 2 * HOUR, Outcome::Success, old));
    log.store(&config).unwrap();
    roll_up(&database);
    assert_eq!(in_force(), 5);
}

// ---- Retirement.

#[test]
fn an_outage_ends_where_its_location_is_retired_until_a_later_result_comes() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    for seconds in [-DAY, -DAY + 60] {
        log.append(0, seen("shop", "gone", seconds, Outcome::Failure, THRESHOLDS));
        log.append(0, seen("shop", "here", seconds, Outcome::Success, THRESHOLDS));
    }
    log.store(&config).unwrap();
    assert_eq!(incidents(&database)[0].2, None);
    let client = &mut database.client();
    assert_eq!(store::retire_location(client, "nowhere").unwrap(), None);
    assert_eq!(store::retire_location(client, "gone").unwrap(), Some(1));
    assert_eq!(store::retire_location(client, "gone").unwrap(), Some(0));
    assert_eq!(incidents(&database)[0].2, Some(-DAY + HOUR));
    let status = "SELECT location, status, down_since_at FROM webmon.current_status WHERE location = 'gone'";
    assert_eq!(
        database.json(status),
        [json!({"location": "gone", "status": "retired", "down_since_at": null})]
    );
    let listed = store::locations(client).unwrap();
    assert_eq!(
        listed.iter().map(|l| (l.name.as_str(), l.sites, l.down)).collect::<Vec<_>>(),
        [("gone", 1, 0), ("here", 1, 0)]
    );
    assert_eq!(listed.iter().map(|l| l.retired_at.is_some()).collect::<Vec<_>>(), [true, false]);

    // Late ones of its last hour change nothing about it; a later one takes it back.
    log.append(0, seen("shop", "gone", -DAY + 120, Outcome::Failure, THRESHOLDS));
    log.store(&config).unwrap();
    assert_eq!(incidents(&database)[0].2, Some(-DAY + HOUR));
    let now = Timestamp::now().as_second() - instant(0).as_second() + HOUR / 2;
    log.append(0, seen("shop", "gone", now.div_euclid(HOUR) * HOUR, Outcome::Failure, THRESHOLDS));
    log.store(&config).unwrap();
    assert_eq!(incidents(&database)[0].2, None);
    assert_eq!(database.number("SELECT count(*) FROM webmon.site_locations WHERE retired_at IS NOT NULL"), 0);
    assert_eq!(store::locations(client).unwrap()[0].down, 1);
}

#[test]
fn a_location_is_retired_by_itself_once_nothing_came_from_there_for_long_though_it_was_due() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let retire = || {
        roll_up(&database);
        store::retire_silent(&mut database.client(), Duration::from_secs(3 * 86_400)).unwrap()
    };
    let status = |site: &str| {
        let sql = format!("SELECT status FROM webmon.current_status WHERE site = '{site}' ORDER BY location");
        database.json(&sql).iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for site in ["minutely", "weekly"] {
        for n in 0..2 {
            let mut r = result(site, -4 * DAY + n, Outcome::Failure);
            r.location = "gone".to_owned();
            if site == "weekly" {
                r.next_at = Some(r.scheduled_at + SignedDuration::from_hours(7 * 24));
            }
            log.append(0, value(r));
        }
    }
    log.store(&config).unwrap();
    // Nothing is stored at all since: nobody knows.
    assert_eq!(retire(), 0);
    log.append(0, value(result("other", -DAY, Outcome::Success)));
    log.store(&config).unwrap();
    assert_eq!(retire(), 0, "not for so long");
    log.append(0, value(result("other", 0, Outcome::Success)));
    log.store(&config).unwrap();
    assert_eq!(retire(), 1);
    roll_up(&database);
    assert_history(&database, THRESHOLDS);
    assert_eq!((status("minutely"), status("weekly")), (vec!["retired".to_owned()], vec!["down".to_owned()]));
    let ends = database.json("SELECT site, to_at IS NULL AS lasts FROM webmon.incidents ORDER BY site");
    assert_eq!(ends, [json!({"site": "minutely", "lasts": false}), json!({"site": "weekly", "lasts": true})]);
    // Its hours are let go: nobody waits for its end.
    let retention = Retention {
        results: Duration::from_secs(86_400),
        hours: Some(Duration::from_secs(2 * 86_400)),
        days: None,
    };
    store::retain(&mut database.client(), &retention, LONG).unwrap();
    let left =
        "SELECT count(*) FROM webmon.site_hours JOIN webmon.sites USING (site_id) WHERE key = 'minutely'";
    assert_eq!(database.number(left), 0);
}

// ---- Gaps.

#[test]
fn a_gap_is_windowed_like_a_result() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, "store.retention = { results = \"2d\" }"));
    let now = Timestamp::now().as_second() - instant(0).as_second();
    let year = 366 * DAY;
    for value in [
        // Ends before anything that is stored.
        gap("shop", "here", -100 * DAY, Some(-2 * DAY - HOUR), 5, GapReason::CheckerDown),
        gap("shop", "here", -100 * DAY, None, 1, GapReason::Rescheduled),
        // Only half of it does.
        gap("shop", "here", -100 * DAY, Some(0), 50 * 86_400, GapReason::CheckerDown),
        // What is to come is missed by nobody,
        gap("shop", "here", now + DAY, Some(now + 2 * DAY), 5, GapReason::OutboxFull),
        // unless it was announced and will not be.
        gap("shop", "here", now + year, None, 1, GapReason::Rescheduled),
        gap("shop", "here", now + 69 * year, None, 1, GapReason::Rescheduled),
    ] {
        log.append(0, value);
    }
    log.store(&config).unwrap();
    let counts = database.json(
        "SELECT sum(gaps)::bigint AS gaps, sum(expired)::bigint AS expired, sum(dead)::bigint AS dead FROM webmon.ingest_batches",
    );
    assert_eq!(counts, [json!({"gaps": 2, "expired": 2, "dead": 2})]);
    let letters = database.json(
        "SELECT record_offset AS o, reason, value IS NOT NULL AND key IS NOT NULL AS whole FROM webmon.dead_letters ORDER BY 1",
    );
    assert_eq!(letters, [3, 5].map(|o| json!({"o": o, "reason": "ahead_of_time", "whole": true})));
    // From the oldest that is kept to its end, and nothing of what is to come.
    let hours = database.number("SELECT count(DISTINCT hour) FROM webmon.rollup_dirty");
    assert!((24..=49).contains(&hours), "{hours}");
    assert_eq!(
        database.number("SELECT count(*) FROM webmon.rollup_dirty WHERE hour < now() - interval '50 hours'"),
        0
    );
}

#[test]
fn the_largest_gap_stops_nothing() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    log.append(0, value(result("shop", -DAY, Outcome::Failure)));
    log.append(0, value(result("shop", -DAY + 1, Outcome::Failure)));
    log.store(&config).unwrap();
    // As it could be stored before its bounds were, and longer than any that may be.
    database
        .client()
        .batch_execute(
            "INSERT INTO webmon.gaps (site_id, location_id, from_at, to_at, instants, reason, checker_id)
             SELECT site_id, location_id, '1970-01-01 00:00:00Z', '9999-01-01 00:00:00Z', 9223372036854775807, 'outbox_full', 1
             FROM webmon.sites CROSS JOIN webmon.locations",
        )
        .unwrap();
    let done = roll_up(&database);
    assert_eq!((done.hours, done.set_aside, done.days), (1, 0, 1));
    assert_eq!(database.number("SELECT gap::bigint FROM webmon.site_hours"), 3_598);
    assert_eq!(stored_incidents(&mut database.client()).len(), 1);
}

#[test]
fn a_gap_of_the_future_says_what_is_due_only_where_that_was_announced() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let now = Timestamp::now().as_second() - instant(0).as_second();
    let add = |site: &str, next_in: i64| {
        let mut r = result(site, now - 30, Outcome::Success);
        r.next_at = Some(r.scheduled_at + SignedDuration::from_secs(next_in));
        log.append(0, value(r));
    };
    let later = |site: &str, from: i64, to: Option<i64>| {
        log.append(
            0,
            gap(site, "here", now - 30 + from, to.map(|to| now - 30 + to), 1, GapReason::Rescheduled),
        );
    };
    // Healthy, whatever a stray gap says.
    add("stray", 60);
    later("stray", 90, None);
    later("stray", 3_600, Some(7_200));
    // Its next instant was taken back, and the one after it too: it was retired.
    add("chain", 60);
    later("chain", 60, Some(3_600));
    later("chain", 3_600, None);
    // A year ahead, and rescheduled.
    add("yearly", 366 * DAY);
    later("yearly", 366 * DAY, Some(367 * DAY));
    // Within a gap.
    add("within", 60);
    later("within", 50, Some(120));
    log.store(&config).unwrap();
    roll_up(&database);
    let rows = database.json(&format!(
        "SELECT site, status, extract(epoch FROM next_at - '{}')::bigint AS next FROM webmon.current_status ORDER BY site",
        instant(now - 30)
    ));
    let expected = [
        ("chain", "retired", json!(null)),
        ("stray", "up", json!(60)),
        ("within", "up", json!(120)),
        ("yearly", "up", json!(367 * DAY)),
    ];
    assert_eq!(
        rows,
        expected.map(|(site, status, next)| json!({"site": site, "status": status, "next": next}))
    );
}

// ---- What fails.

#[test]
fn one_bad_hour_day_or_site_never_stops_the_others() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    for site in 0..40 {
        for n in 0..2 {
            log.append(0, value(result(&format!("site-{site:02}"), -DAY + n, Outcome::Failure)));
            log.append(0, value(result(&format!("site-{site:02}"), -2 * DAY + n, Outcome::Success)));
        }
        log.append(0, value(result(&format!("site-{site:02}"), -3 * DAY, Outcome::Success)));
    }
    log.store(&config).unwrap();
    let mut client = database.client();
    // The hour of two days ago, the day three days ago, and the incidents of one site.
    client
        .batch_execute(&format!(
            "ALTER TABLE webmon.site_hours ADD CONSTRAINT bad CHECK (hour <> '{}');
             ALTER TABLE webmon.site_days ADD CONSTRAINT bad CHECK (day <> '{}');
             ALTER TABLE webmon.site_incidents ADD CONSTRAINT bad CHECK (site_id <> 17);",
            instant(-2 * DAY),
            instant(-3 * DAY).strftime("%F"),
        ))
        .unwrap();
    let key =
        client.query_one("SELECT key FROM webmon.sites WHERE site_id = 17", &[]).unwrap().get::<_, String>(0);
    let done = roll_up(&database);
    assert_eq!((done.hours, done.days, done.sites, done.set_aside), (2, 1, 39, 3));
    assert_eq!(stored_incidents(&mut client).len(), 39);
    let named = store::set_aside(&mut client).unwrap();
    let mut names: Vec<_> = named.iter().map(|aside| (aside.what.as_str(), aside.which.as_str())).collect();
    names.sort();
    let (hour, day) = (instant(-2 * DAY).to_string(), instant(-3 * DAY).strftime("%F").to_string());
    assert_eq!(names, [("day", day.as_str()), ("hour", hour.as_str()), ("incidents", key.as_str())]);
    assert!(named.iter().all(|aside| aside.attempts == 1 && aside.error.contains("\"bad\"")), "{named:?}");

    // Not at once again, and later after a longer pause.
    assert_eq!(roll_up(&database), RolledUp::default());
    client.batch_execute("UPDATE webmon.set_aside SET again_at = now()").unwrap();
    assert_eq!(roll_up(&database), RolledUp { set_aside: 3, ..RolledUp::default() });
    let pause = "SELECT min(extract(epoch FROM again_at - failed_at))::bigint FROM webmon.set_aside";
    assert_eq!((database.number(pause), store::set_aside(&mut client).unwrap()[0].attempts), (20, 2));
    // Its results are not let go before it is derived.
    assert!(
        !store::retain(&mut client, &Retention { results: Duration::from_secs(86_400), ..TWO_DAYS }, LONG)
            .unwrap()
            .again
    );
    let kept = format!("SELECT count(*) FROM webmon.check_results WHERE scheduled_at < '{}'", instant(-DAY));
    assert_eq!(database.number(&kept), 80);

    // Mended, it is forgotten.
    client
        .batch_execute(
            "ALTER TABLE webmon.site_hours DROP CONSTRAINT bad; ALTER TABLE webmon.site_days DROP CONSTRAINT bad;
             ALTER TABLE webmon.site_incidents DROP CONSTRAINT bad; UPDATE webmon.set_aside SET again_at = now()",
        )
        .unwrap();
    let done = roll_up(&database);
    assert_eq!((done.hours, done.days, done.sites, done.set_aside), (1, 2, 40, 0));
    assert_eq!(store::set_aside(&mut client).unwrap(), []);
    assert_eq!(stored_incidents(&mut client).len(), 40);
}

// ---- Locks, and what the programs show.

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
    let parents = support::scale(3, 40);
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
    let sql = include_str!("../sql/queries/history/find_failure_runs.sql");
    transaction.execute(sql, &[&hour, &instant(-DAY + HOUR)]).unwrap();
    let sql = include_str!("../sql/queries/history/roll_up_hour.sql");
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
    let (Some(database), Some(brokers)) = (database(), support::kafka()) else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    log.append(0, value(result("shop", -DAY, Outcome::Failure)));
    log.append(0, value(result("shop", -DAY + 1, Outcome::Failure)));
    log.store(&config).unwrap();
    roll_up(&database);
    let run = |arguments: &[&str]| {
        let toml = support::config_toml(&brokers, "log", &database.url, "");
        support::program(env!("CARGO_BIN_EXE_webmon-store"), &toml, arguments).finish()
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
