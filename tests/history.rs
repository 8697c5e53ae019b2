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
use support::log::Log;
use support::{Database, database, instant, result, value, wait_until};
use webmon::config::{Config, Incidents, Retention};
use webmon::result::{CheckResult, ErrorType, Gap, GapReason, GapRecord, Outcome, Record, RecordVersion};
use webmon::store::{self, RollUpLimits, RolledUp};

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

fn config(database: &Database, more: &str) -> Config {
    support::config("127.0.0.1:1", "log", &database.url, more)
}

/// At once, whenever an hour was last rolled up.
const AT_ONCE: RollUpLimits = RollUpLimits { hours: 10_000, sites: 10_000, days: 10_000, pause: Duration::ZERO };

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
        let sums =
            all.entry((raw.site.clone(), raw.location.clone(), raw.at.div_euclid(unit))).or_default();
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

#[derive(Clone, Debug, PartialEq)]
struct Incident {
    site: String,
    from: i64,
    to: Option<i64>,
    failures: i64,
    locations: usize,
    reason: (String, Option<String>),
}

struct Run {
    location: String,
    from: i64,
    to: Option<i64>,
    failures: i64,
    reason: (String, Option<String>),
}

fn derive_incidents(results: &[Raw], gaps: &[RawGap], thresholds: Incidents) -> Vec<Incident> {
    let sites: BTreeSet<&str> = results.iter().map(|raw| raw.site.as_str()).collect();
    let mut incidents = Vec::new();
    for site in sites {
        let locations: BTreeSet<&str> =
            results.iter().filter(|raw| raw.site == site).map(|raw| raw.location.as_str()).collect();
        let mut runs: Vec<Run> = Vec::new();
        for location in locations {
            // What happened, in order: a failure with its reason, or the end of one.
            let mut events: Vec<(i64, Option<(String, Option<String>)>)> = results
                .iter()
                .filter(|raw| raw.site == site && raw.location == location && raw.outcome != "missed")
                .map(|raw| (raw.at, raw.error_type.clone().map(|class| (class, raw.error_detail.clone()))))
                .collect();
            events.extend(
                gaps.iter()
                    .filter(|gap| gap.site == site && gap.location == location && gap.to.is_none())
                    .map(|gap| (gap.from, None)),
            );
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
        let mut edges: Vec<i64> =
            runs.iter().flat_map(|run| [Some(run.from), run.to]).flatten().collect();
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
fn assert_history(database: &Database, thresholds: Incidents) {
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
    assert_eq!(stored_incidents(client), derive_incidents(&results, &gaps, thresholds), "incidents");
}

const THRESHOLDS: Incidents = Incidents { failures: 2, locations: 1 };

// ---- Any order.

/// What may arrive: a result, or a gap.
#[derive(Clone, Debug)]
enum Arrival {
    Result { site: u8, location: u8, slot: i64, outcome: u8, total_us: i32 },
    Gap { site: u8, location: u8, from: i64, length: Option<i64>, instants: u64 },
    /// Everything so far is stored and rolled up.
    RollUp,
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
    prop_oneof![30 => result, 2 => gap, 1 => Just(Arrival::RollUp)]
}

#[test]
fn history_is_right_in_every_order_of_arrival() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let case = std::cell::Cell::new(0);
    let thresholds = (1..4u16, 1..3u16).prop_map(|(failures, locations)| Incidents { failures, locations });
    let mut runner = TestRunner::new(Cases { cases: 12, failure_persistence: None, max_shrink_iters: 0, ..Cases::default() });
    let arrivals = prop::collection::vec(arrival(), 1..250);
    let outcome = runner.run(&(arrivals, thresholds), |(arrivals, thresholds)| {
        case.set(case.get() + 1);
        let more = format!(
            "store.batch_records = 40\nstore.incidents = {{ failures = {}, locations = {} }}",
            thresholds.failures, thresholds.locations
        );
        let config = config(&database, &more);
        for arrival in arrivals {
            match arrival {
                Arrival::Result { site, location, slot, outcome, total_us } => {
                    let outcome = match outcome {
                        0..4 => Outcome::Success,
                        4..8 => Outcome::Failure,
                        _ => Outcome::Missed,
                    };
                    let mut r = result(&format!("{:03}-{site}", case.get()), (FIRST_SLOT + slot) * SLOT, outcome);
                    r.location = format!("location-{location}");
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
                    let reason = if instants % 2 == 0 { GapReason::OutboxFull } else { GapReason::CheckerDown };
                    log.append(0, gap(&site, &format!("location-{location}"), from, to, instants, reason));
                }
                Arrival::RollUp => {
                    log.store(&config).unwrap();
                    roll_up(&database);
                }
            }
        }
        log.store(&config).unwrap();
        roll_up(&database);
        assert_history(&database, thresholds);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // Derived step by step, incidents are what they are when all are derived at once.
    store::set_incident_thresholds(&mut database.client(), &Incidents { failures: 50, locations: 50 }).unwrap();
    roll_up(&database);
    assert_eq!(stored_incidents(&mut database.client()), []);
    store::set_incident_thresholds(&mut database.client(), &THRESHOLDS).unwrap();
    roll_up(&database);
    assert_history(&database, THRESHOLDS);
}
