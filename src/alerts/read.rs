//! Reads what must be known to judge sites. The caller has locked them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postgres::types::Json;
use postgres::{Row, Transaction};

use super::known::{Failure, Fires, Known, Place};
use super::votes::Verdict;
use crate::config::AlertKind;
use crate::database::AnyTime;
use crate::site::{Incident, Locations};

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How far ahead of the clock a result may be and still be seen.
const AHEAD: SignedDuration = SignedDuration::from_hours(48);
/// A result is overdue so long after its time budget.
pub(super) const GRACE: SignedDuration = SignedDuration::from_secs(60);
/// After so long without a verdict, and two intervals, a location is mute.
const MUTE: SignedDuration = SignedDuration::from_hours(1);
/// Verdicts that are read of a location beyond what the thresholds ask for, to find where a run begins.
const MORE_VERDICTS: u16 = 20;

/// Reads everything about `sites`, without looking at the clock more than `now` says.
pub(super) fn read(
    transaction: &mut Transaction<'_>,
    sites: &[i32],
    now: Timestamp,
) -> Result<Vec<Known>, postgres::Error> {
    let mut known = places(transaction, sites)?;
    newest(transaction, &mut known, now)?;
    versions(transaction, &mut known)?;
    verdicts(transaction, &mut known, now)?;
    due(transaction, &mut known, now)?;
    firing(transaction, sites, &mut known)?;
    Ok(known.into_values().collect())
}

type Sites = BTreeMap<i32, Known>;

fn places(transaction: &mut Transaction<'_>, sites: &[i32]) -> Result<Sites, postgres::Error> {
    let mut known = Sites::new();
    for row in transaction.query(include_str!("../../sql/queries/alerts/read_places.sql"), &[&sites])? {
        let site_id = row.get("site_id");
        let site: &mut Known = known.entry(site_id).or_default();
        site.site_id = site_id;
        site.key = row.get("key");
        site.name.clone_from(&site.key);
        site.created_at = row.get("created_at");
        let mut place = Place { location: row.get("location"), ..Place::default() };
        place.voice.location_id = row.get("location_id");
        place.voice.newest = Some((row.get::<_, AnyTime>("newest_at").0, true));
        place.voice.down_since = time(&row, "down_since_at");
        place.voice.slow_since = time(&row, "slow_since_at");
        place.voice.retired_at = time(&row, "retired_at");
        place.is_listed = row.get("is_listed");
        site.places.push(place);
    }
    Ok(known)
}

/// A time that may be null.
fn time(row: &Row, name: &str) -> Option<Timestamp> {
    row.get::<_, Option<AnyTime>>(name).map(|at| at.0)
}

/// Places whose results are read together, and the time to look at.
#[derive(Default)]
struct Group {
    sites: Vec<i32>,
    locations: Vec<i32>,
    from: Option<Timestamp>,
}

/// Groups places by how far back their results are looked for, so that those of today are read from few partitions.
fn groups(known: &Sites, now: Timestamp, from: impl Fn(&Place) -> Option<Timestamp>) -> Vec<Group> {
    let mut groups: BTreeMap<u8, Group> = BTreeMap::new();
    for site in known.values() {
        for place in &site.places {
            let Some(from) = from(place) else { continue };
            let age = now.duration_since(from);
            let group = groups.entry(u8::from(age > DAY) + u8::from(age > DAY * 8)).or_default();
            group.sites.push(site.site_id);
            group.locations.push(place.voice.location_id);
            group.from = Some(group.from.map_or(from, |so_far| so_far.min(from)));
        }
    }
    groups.into_values().collect()
}

fn newest(
    transaction: &mut Transaction<'_>,
    known: &mut Sites,
    now: Timestamp,
) -> Result<(), postgres::Error> {
    let until = now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
    // What was seen so far is where to look. The clock of who wrote it may have been ahead.
    let from = |place: &Place| place.voice.newest.map(|(at, _)| at.min(now));
    for group in groups(known, now, from) {
        let rows = transaction.query(
            include_str!("../../sql/queries/alerts/read_newest.sql"),
            &[&group.sites, &group.locations, &group.from, &until],
        )?;
        for row in rows {
            let Some(place) = find(known, &row) else { continue };
            let outcome: i8 = row.get("outcome");
            let at: Timestamp = row.get("scheduled_at");
            place.voice.newest = Some((at, outcome == b'm' as i8));
            place.next_after_s = row.get("next_after_s");
            place.planned = row.get("planned");
            place.version = Some(row.get("version_id"));
            // An operator retired the location, and a result came all the same.
            place.voice.retired_at = place.voice.retired_at.filter(|retired_at| *retired_at > at);
            if place.next_after_s.is_none() {
                place.voice.retired_at.get_or_insert(at);
            }
        }
    }
    Ok(())
}

fn find<'a>(known: &'a mut Sites, row: &Row) -> Option<&'a mut Place> {
    let location: i32 = row.get("location_id");
    let site = known.get_mut(&row.get("site_id"))?;
    site.places.iter_mut().find(|place| place.voice.location_id == location)
}

/// The version that was first seen latest, of those that the newest results have, says what a site looks like.
fn versions(transaction: &mut Transaction<'_>, known: &mut Sites) -> Result<(), postgres::Error> {
    let versions: Vec<i32> =
        known.values().flat_map(|site| &site.places).filter_map(|place| place.version).collect();
    let mut budgets: HashMap<i32, i32> = HashMap::new();
    let sql = include_str!("../../sql/queries/alerts/read_versions.sql");
    let mut last = None;
    for row in transaction.query(sql, &[&versions])? {
        let (version, site_id): (i32, i32) = (row.get("version_id"), row.get("site_id"));
        if let Some(ms) = row.get("time_budget_ms") {
            budgets.insert(version, ms);
        }
        let Some(site) = known.get_mut(&site_id).filter(|_| last != Some(site_id)) else { continue };
        last = Some(site_id);
        site.name = row.get("name");
        site.url = row.get("url");
        site.labels = row.get::<_, Json<_>>("labels").0;
        let number = |name| u16::try_from(row.get::<_, i32>(name)).unwrap_or(1).max(1);
        let percent: Option<i16> = row.get("percent");
        site.thresholds = Incident {
            failures: number("failures"),
            recoveries: number("recoveries"),
            locations: match percent.and_then(|percent| u16::try_from(percent).ok()) {
                Some(percent) => Locations::Percent(percent),
                None => Locations::Count(number("locations")),
            },
            min_voters: number("min_voters"),
        };
    }
    for place in known.values_mut().flat_map(|site| &mut site.places) {
        let Some(((at, _), after)) = place.voice.newest.zip(place.next_after_s) else { continue };
        let after = SignedDuration::from_secs(i64::from(after));
        let budget = place.version.and_then(|version| budgets.get(&version));
        let budget = budget.map_or(after, |ms| SignedDuration::from_millis(i64::from(*ms)));
        place.overdue_at = Some(at.saturating_add(after + budget + GRACE).unwrap_or(Timestamp::MAX));
    }
    Ok(())
}

fn verdicts(
    transaction: &mut Transaction<'_>,
    known: &mut Sites,
    now: Timestamp,
) -> Result<(), postgres::Error> {
    let until = now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
    let most = |site: &Known| site.thresholds.failures.max(site.thresholds.recoveries) + MORE_VERDICTS;
    let limit = known.values().map(most).max().unwrap_or(MORE_VERDICTS);
    // As long as so many instants take, and a day for those that were missed.
    let from = |place: &Place| {
        let (at, _) = place.voice.newest.filter(|_| place.version.is_some())?;
        let after = SignedDuration::from_secs(i64::from(place.next_after_s.unwrap_or_default()));
        at.min(now).saturating_sub(after * i32::from(limit) + DAY).ok()
    };
    let mut newest_failures: HashMap<i32, Timestamp> = HashMap::new();
    for group in groups(known, now, from) {
        let rows = transaction.query(
            include_str!("../../sql/queries/alerts/read_verdicts.sql"),
            &[&group.sites, &group.locations, &group.from, &until, &i64::from(limit)],
        )?;
        for row in rows {
            let Some(place) = find(known, &row) else { continue };
            let verdict = Verdict {
                at: row.get("scheduled_at"),
                failed: row.get("failed"),
                degraded: row.get("degraded"),
            };
            place.voice.verdicts.push(verdict);
            let is_newest = place.voice.verdicts.len() == 1;
            let site_id: i32 = row.get("site_id");
            if is_newest
                && verdict.failed
                && newest_failures.get(&site_id).is_none_or(|at| *at < verdict.at)
                && let Some(site) = known.get_mut(&site_id)
            {
                newest_failures.insert(site_id, verdict.at);
                site.failure = Some(Failure {
                    error_type: row.get("error_type"),
                    error_detail: row.get("error_detail"),
                    error_message: row.get("error_message"),
                });
            }
        }
    }
    let places = known.values_mut().flat_map(|site| {
        let created_at = site.created_at;
        site.places.iter_mut().map(move |place| (created_at, place))
    });
    for (created_at, place) in places {
        let interval = SignedDuration::from_secs(2 * i64::from(place.next_after_s.unwrap_or_default()));
        let last = place.voice.verdicts.first().map_or(created_at, |verdict| verdict.at);
        if let Some((at, true)) = place.voice.newest
            && !place.planned
            && place.version.is_some()
        {
            place.voice.mute = at.duration_since(last) > MUTE + interval;
        }
    }
    Ok(())
}

/// Looks into the gaps where the next result seems to be overdue or late. A gap may say that a later one is due, or none.
fn due(transaction: &mut Transaction<'_>, known: &mut Sites, now: Timestamp) -> Result<(), postgres::Error> {
    let soon = now.saturating_add(GRACE).unwrap_or(Timestamp::MAX);
    let (mut sites, mut locations, mut newest) = (Vec::new(), Vec::new(), Vec::new());
    for site in known.values() {
        for place in &site.places {
            if let Some((at, _)) = place.voice.newest
                && place.overdue_at.is_none_or(|overdue_at| overdue_at <= soon)
            {
                sites.push(site.site_id);
                locations.push(place.voice.location_id);
                newest.push(at);
            }
        }
    }
    let sql = include_str!("../../sql/queries/alerts/read_gaps.sql");
    for row in transaction.query(sql, &[&sites, &locations, &newest])? {
        let Some(place) = find(known, &row) else { continue };
        if let Some(retired_at) = time(&row, "retired_at") {
            place.voice.retired_at.get_or_insert(retired_at);
        }
        if let Some((to_at, overdue_at)) = time(&row, "to_at").zip(place.overdue_at) {
            let (newest_at, _) = place.voice.newest.unwrap_or((to_at, true));
            let after = i64::from(place.next_after_s.unwrap_or_default());
            let margin = overdue_at.duration_since(newest_at) - SignedDuration::from_secs(after);
            place.overdue_at = Some(overdue_at.max(to_at.saturating_add(margin).unwrap_or(Timestamp::MAX)));
        }
    }
    Ok(())
}

fn firing(
    transaction: &mut Transaction<'_>,
    sites: &[i32],
    known: &mut Sites,
) -> Result<(), postgres::Error> {
    let rows = transaction.query(
        "SELECT site_id, kind, alert_id, began_at FROM webmon.alerts \
         WHERE site_id = ANY($1::integer[]) AND resolved_at IS NULL AND kind <> 'certificate'",
        &[&sites],
    )?;
    for row in rows {
        let (site_id, kind): (i32, &str) = (row.get(0), row.get(1));
        // A newer program may know more kinds.
        let (Some(site), Ok(kind)) = (known.get_mut(&site_id), kind.parse::<AlertKind>()) else { continue };
        site.firing.set(kind, true);
        site.alerts.insert(kind, Fires { alert_id: row.get(2), began_at: row.get::<_, AnyTime>(3).0 });
    }
    Ok(())
}

/// How far the results of each partition are stored.
pub(super) struct Stored {
    /// Of each partition, the time up to which everything is stored that Kafka had. None if it was never stored.
    as_of: HashMap<i32, Option<Timestamp>>,
    partitions: i32,
    pub now: Timestamp,
}

impl Stored {
    pub(super) fn read(transaction: &mut Transaction<'_>, topic: &str) -> Result<Stored, postgres::Error> {
        let rows = transaction.query(
            "SELECT partition, greatest(caught_up_at, last_record_at), clock_timestamp() \
             FROM webmon.partition_offsets WHERE topic = $1",
            &[&topic],
        )?;
        let now = match rows.first() {
            Some(row) => row.get(2),
            None => transaction.query_one("SELECT clock_timestamp()", &[])?.get(0),
        };
        let as_of: HashMap<i32, Option<Timestamp>> =
            rows.iter().map(|row| (row.get(0), row.get::<_, Option<AnyTime>>(1).map(|at| at.0))).collect();
        let partitions = as_of.keys().max().map_or(0, |last| last + 1);
        Ok(Stored { as_of, partitions, now })
    }

    /// Up to when everything about the site with this key is stored. Now, if it is not known to be otherwise.
    pub(super) fn as_of(&self, key: &str) -> Timestamp {
        if self.partitions == 0 {
            return self.now;
        }
        let partition = crate::kafka::partition_for(key.as_bytes(), self.partitions);
        self.as_of.get(&partition).copied().flatten().map_or(self.now, |as_of| as_of.min(self.now))
    }

    /// Whether what is known of the site is so old that it says nothing about now.
    pub(super) fn is_behind(&self, key: &str, max_lag: Duration) -> bool {
        let lag = self.now.duration_since(self.as_of(key));
        SignedDuration::try_from(max_lag).is_ok_and(|max_lag| lag > max_lag)
    }
}
