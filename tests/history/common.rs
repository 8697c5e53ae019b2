//! Results, gaps and databases that the tests share, and the derivation to compare with: from all results and gaps, one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use postgres::Client;
use webmon::config::{Config, Retention};
use webmon::record::{CheckResult, Gap, GapReason, GapRecord, Outcome, Record, RecordVersion};
use webmon::site::{Incident as Thresholds, Locations};
use webmon::store::{self, RollUpLimits, RolledUp, StoreError};

use crate::support::log::Log;
use crate::support::{Database, instant, result, value};

pub const HOUR: i64 = 3_600;

pub const DAY: i64 = 86_400;

pub fn config(database: &Database, more: &str) -> Config {
    crate::support::config("127.0.0.1:1", "log", &database.url, more)
}

/// At once, whenever an hour was last rolled up.
pub const AT_ONCE: RollUpLimits =
    RollUpLimits { hours: 10_000, sites: 10_000, days: 10_000, pause: Duration::ZERO };

pub fn roll_up(database: &Database) -> RolledUp {
    store::roll_up(&mut database.client(), &AT_ONCE).unwrap()
}

pub fn gap(
    site: &str,
    location: &str,
    from: i64,
    to: Option<i64>,
    instants: u64,
    reason: GapReason,
) -> Vec<u8> {
    let gap = Gap { from: instant(from), to: to.map(instant), instants, reason };
    let (site, location) = (site.to_owned(), location.to_owned());
    Record::Gap(GapRecord { v: RecordVersion, site, location, checker: "checker-1".to_owned(), gap }).encode()
}

pub struct Raw {
    pub site: String,
    pub location: String,
    pub at: i64,
    pub outcome: String,
    pub error_type: Option<String>,
    pub error_detail: Option<String>,
    pub total_us: Option<i32>,
    /// In the order of [`PHASES`].
    pub phases: [Option<i32>; 5],
}

pub const PHASES: [&str; 5] = ["dns_us", "connect_us", "tls_us", "ttfb_us", "download_us"];

/// Site, location, and since when nothing is waited for there.
pub type Retired = (String, String, i64);

pub struct RawGap {
    pub site: String,
    pub location: String,
    pub from: i64,
    pub to: Option<i64>,
    pub instants: i64,
}

pub fn raw(client: &mut Client) -> (Vec<Raw>, Vec<RawGap>) {
    let sql = format!(
        "SELECT site, location, extract(epoch FROM scheduled_at)::bigint, outcome, error_type, error_detail, total_us, {} \
         FROM webmon.checks ORDER BY 1, 2, 3",
        PHASES.join(", ")
    );
    let results = client.query(&sql, &[]).unwrap();
    let results = results.iter().map(|row| Raw {
        site: row.get(0),
        location: row.get(1),
        at: row.get(2),
        outcome: row.get(3),
        error_type: row.get(4),
        error_detail: row.get(5),
        total_us: row.get(6),
        phases: std::array::from_fn(|phase| row.get(7 + phase)),
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
pub fn retired(client: &mut Client, results: &[Raw]) -> Vec<Retired> {
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
pub type Place = (String, String, i64);

/// What one hour or day came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    pub success: i64,
    pub failure: i64,
    /// By error type.
    pub missed: BTreeMap<String, i64>,
    pub gap: i64,
    pub total_us: Option<(i64, i32, i32)>,
    /// In the order of [`PHASES`]. None where no check measured the phase.
    pub phases: [Option<i64>; 5],
    pub histogram: BTreeMap<i16, i64>,
}

impl Sums {
    pub fn is_nothing(&self) -> bool {
        *self == Sums::default()
    }
}

pub fn derive_sums(results: &[Raw], gaps: &[RawGap], unit: i64) -> BTreeMap<Place, Sums> {
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
            for (sum, us) in sums.phases.iter_mut().zip(raw.phases) {
                *sum = us.map(|us| sum.unwrap_or(0) + i64::from(us)).or(*sum);
            }
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
pub type Reason = (String, Option<String>);

#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    pub site: String,
    pub from: i64,
    pub to: Option<i64>,
    pub failures: i64,
    pub locations: usize,
    pub reason: Reason,
}

/// A time in which a location was down.
#[derive(Clone)]
pub struct Outage {
    pub location: String,
    pub from: i64,
    pub to: Option<i64>,
    pub failures: i64,
    pub reason: Reason,
}

/// What may happen at a location. At the same instant a retirement comes before a result.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Retired,
    Succeeded,
    Failed(Reason),
}

/// Goes through the events of a location, in order, and keeps count.
fn outages(location: &str, events: Vec<(i64, Event)>, thresholds: Thresholds) -> Vec<Outage> {
    let mut outages = Vec::new();
    // The failures since the last success or retirement, if they are too few to be down.
    let mut failing: Option<Outage> = None;
    let mut down: Option<Outage> = None;
    // While it is down: since when it succeeds, and how often it did.
    let mut recovering: Option<(i64, u16)> = None;
    for (at, event) in events {
        match event {
            Event::Failed(reason) => {
                recovering = None;
                if let Some(outage) = &mut down {
                    outage.failures += 1;
                    continue;
                }
                let location = location.to_owned();
                let outage =
                    failing.get_or_insert(Outage { location, from: at, to: None, failures: 0, reason });
                outage.failures += 1;
                if outage.failures >= i64::from(thresholds.failures) {
                    down = failing.take();
                }
            }
            Event::Succeeded => {
                failing = None;
                if down.is_some() {
                    let (since, successes) = recovering.unwrap_or((at, 0));
                    recovering = Some((since, successes + 1));
                    if successes + 1 >= thresholds.recoveries {
                        outages.extend(down.take().map(|outage| Outage { to: Some(since), ..outage }));
                        recovering = None;
                    }
                }
            }
            Event::Retired => {
                failing = None;
                let to = recovering.take().map_or(at, |(since, _)| since);
                outages.extend(down.take().map(|outage| Outage { to: Some(to), ..outage }));
            }
        }
    }
    outages.extend(down);
    outages
}

fn sites(results: &[Raw]) -> BTreeSet<&str> {
    results.iter().map(|raw| raw.site.as_str()).collect()
}

/// The outages of a site at each location, and from when until when each is in use.
fn outages_of(
    site: &str,
    results: &[Raw],
    gaps: &[RawGap],
    retired: &[Retired],
    thresholds: Thresholds,
) -> (Vec<Outage>, Vec<(i64, Option<i64>)>) {
    let locations: BTreeSet<&str> =
        results.iter().filter(|raw| raw.site == site).map(|raw| raw.location.as_str()).collect();
    let (mut all, mut in_use) = (Vec::new(), Vec::new());
    for location in locations {
        let results = || results.iter().filter(|raw| raw.site == site && raw.location == location);
        let mut events: Vec<(i64, Event)> = results()
            .filter(|raw| raw.outcome != "missed")
            .map(|raw| match raw.error_type.clone() {
                Some(class) => (raw.at, Event::Failed((class, raw.error_detail.clone()))),
                None => (raw.at, Event::Succeeded),
            })
            .collect();
        events.extend(
            gaps.iter()
                .filter(|gap| gap.site == site && gap.location == location && gap.to.is_none())
                .map(|gap| (gap.from, Event::Retired)),
        );
        let retired = retired.iter().find(|r| r.0 == site && r.1 == location).map(|r| r.2);
        events.extend(retired.map(|at| (at, Event::Retired)));
        events.sort();
        all.extend(outages(location, events, thresholds));
        let first = results().map(|raw| raw.at).min().unwrap();
        in_use.push((first.div_euclid(HOUR) * HOUR, retired));
    }
    (all, in_use)
}

/// Site, location, and since when the site is down there.
pub fn derive_down(
    results: &[Raw],
    gaps: &[RawGap],
    retired: &[Retired],
    thresholds: &dyn Fn(&str) -> Thresholds,
) -> BTreeSet<(String, String, i64)> {
    let mut down = BTreeSet::new();
    for site in sites(results) {
        let (outages, _) = outages_of(site, results, gaps, retired, thresholds(site));
        let last = outages.into_iter().filter(|outage| outage.to.is_none());
        down.extend(last.map(|outage| (site.to_owned(), outage.location, outage.from)));
    }
    down
}

pub fn derive_incidents(
    results: &[Raw],
    gaps: &[RawGap],
    retired: &[Retired],
    thresholds: &dyn Fn(&str) -> Thresholds,
) -> Vec<Incident> {
    let mut incidents = Vec::new();
    for site in sites(results) {
        let thresholds = thresholds(site);
        let (all, in_use) = outages_of(site, results, gaps, retired, thresholds);
        let within = |at: i64, from: i64, to: Option<i64>| from <= at && to.is_none_or(|to| to > at);
        let down_at = |at: i64| {
            let down = all.iter().filter(|outage| within(at, outage.from, outage.to)).count();
            let voters = in_use.iter().filter(|(from, to)| within(at, *from, *to)).count() as u16;
            down >= usize::from(thresholds.locations.needed(voters)) && voters >= thresholds.min_voters
        };
        let outages = all.iter().map(|outage| (outage.from, outage.to));
        let mut edges: Vec<i64> =
            outages.chain(in_use.iter().copied()).flat_map(|(from, to)| [Some(from), to]).flatten().collect();
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
            let during: Vec<&Outage> = all
                .iter()
                .filter(|outage| to.is_none_or(|to| outage.from < to) && outage.to.is_none_or(|to| to > from))
                .collect();
            // It was the last one needed. If the locations in use have changed instead, it was down already.
            let cause = during.iter().find(|outage| outage.from == from);
            let cause = cause.or_else(|| during.iter().find(|outage| outage.from < from)).unwrap();
            incidents.push(Incident {
                site: site.to_owned(),
                from,
                to,
                failures: during.iter().map(|outage| outage.failures).sum(),
                locations: during.iter().map(|outage| &outage.location).collect::<BTreeSet<_>>().len(),
                reason: cause.reason.clone(),
            });
        }
    }
    incidents
}

pub fn stored_sums(client: &mut Client, table: &str, unit: &str) -> BTreeMap<Place, Sums> {
    let kinds = ["late", "overlap", "saturated", "cancelled", "network_down", "checker_down", "maintenance"];
    let sql = format!(
        "SELECT s.key, l.name, ({unit})::bigint, success::bigint, failure::bigint, gap::bigint, total_us_sum, total_us_min, \
         total_us_max, buckets, counts, {}, {} \
         FROM webmon.{table} JOIN webmon.sites s USING (site_id) JOIN webmon.locations l USING (location_id)",
        PHASES.map(|phase| format!("{phase}_sum")).join(", "),
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
                    .map(|(i, kind)| ((*kind).to_owned(), row.get(16 + i)))
                    .filter(|(_, count)| *count > 0)
                    .collect(),
                gap: row.get(5),
                total_us: row.get::<_, Option<i64>>(6).map(|sum| (sum, row.get(7), row.get(8))),
                phases: std::array::from_fn(|phase| row.get(11 + phase)),
                histogram: buckets.into_iter().zip(counts.into_iter().map(i64::from)).collect(),
            };
            ((row.get(0), row.get(1), row.get(2)), sums)
        })
        // An hour that lost what it had stays as a row of nothing.
        .filter(|(_, sums)| !sums.is_nothing())
        .collect()
}

pub fn stored_incidents(client: &mut Client) -> Vec<Incident> {
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

pub fn stored_down(client: &mut Client) -> BTreeSet<(String, String, i64)> {
    let rows = client
        .query(
            "SELECT s.key, l.name, extract(epoch FROM p.down_since_at)::bigint \
             FROM webmon.site_locations p JOIN webmon.sites s USING (site_id) JOIN webmon.locations l USING (location_id) \
             WHERE p.down_since_at IS NOT NULL",
            &[],
        )
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// Hours, days and incidents are what all results and gaps come to.
#[track_caller]
pub fn assert_history(database: &Database, thresholds: Thresholds) {
    assert_history_of(database, &|_| thresholds);
}

#[track_caller]
pub fn assert_history_of(database: &Database, thresholds: &dyn Fn(&str) -> Thresholds) {
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
    assert_eq!(stored_down(client), derive_down(&results, &gaps, &retired, thresholds), "down");
}

pub const THRESHOLDS: Thresholds =
    Thresholds { failures: 2, recoveries: 1, locations: Locations::Count(1), min_voters: 1 };

pub fn waiting(database: &Database, on: &str) -> bool {
    database.number(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = '{on}'"
    )) > 0
}

pub fn incidents(database: &Database) -> Vec<(i64, i64, Option<i64>, i64)> {
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

pub fn partitions(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM pg_inherits WHERE inhparent = 'webmon.check_results'::regclass")
}

pub const TWO_DAYS: Retention =
    Retention { results: Duration::from_secs(2 * 86_400), hours: None, days: None };

pub const ONE_DAY: Retention =
    Retention { results: Duration::from_secs(86_400), hours: Some(Duration::from_secs(86_400)), days: None };

pub const LONG: Duration = Duration::from_secs(60);

/// Stores and rolls up a success at the begin of each of these days.
pub fn store_days(database: &Database, log: &Log, days: std::ops::Range<i64>) {
    for day in days {
        log.append(0, value(result("shop", day * DAY, Outcome::Success)));
    }
    log.store(&config(database, "store.retention.results = \"3000d\"\nstore.retention.hours = \"forever\""))
        .unwrap();
    roll_up(database);
}

pub fn results(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM webmon.check_results")
}

pub fn retain(database: &Database, retention: &Retention) -> Result<store::Retained, StoreError> {
    store::retain(&mut database.client(), retention, LONG)
}

/// What a retention of hours leaves: all from `at` on, and the hours of incidents that reach over it.
pub fn purge_hours(database: &Database, at: i64) {
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

/// Writes thresholds into a result.
pub fn say(result: &mut CheckResult, thresholds: Thresholds) {
    result.incident_failures = Some(thresholds.failures);
    result.incident_recoveries = Some(thresholds.recoveries);
    (result.incident_locations, result.incident_locations_percent) = match thresholds.locations {
        Locations::Count(count) => (Some(count), None),
        Locations::Percent(percent) => (None, Some(percent)),
    };
    result.incident_min_voters = Some(thresholds.min_voters);
}

/// A result of `site` seen from `location`, whose site has these thresholds.
pub fn seen(site: &str, location: &str, seconds: i64, outcome: Outcome, thresholds: Thresholds) -> Vec<u8> {
    let mut r = result(site, seconds, outcome);
    r.location = location.to_owned();
    say(&mut r, thresholds);
    value(r)
}
