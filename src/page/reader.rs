//! Reads what is known of all sites, as often as the pages are to be fresh, and only while somebody looks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, IsolationLevel, Row, Transaction};
use serde_json::Value;

use super::day::{DAYS, Shares};
use super::overview::{Bar, Facts, Overview, Place, Reason, SiteNow};
use super::pool::{Pool, Unread};
use super::state::State;
use crate::database::DatabaseError;
use crate::mutex::lock;
use crate::record::MaintenanceWindow;
use crate::site::{Maintenance, Slo};

/// After so long without a visitor nothing is read.
const IDLE: Duration = Duration::from_secs(60);
/// How old what sites are called may be. The views that it comes from are up to a minute late.
const FACTS_FRESH: Duration = Duration::from_secs(30);
/// How old the days may be. They are derived at most once a minute.
const DAYS_FRESH: Duration = Duration::from_secs(15);
/// A day may be derived so long after its hour was.
const DAY_AFTER_HOUR: Duration = Duration::from_secs(120);

/// Reads what is known of all sites. While somebody looks it reads again and again, so that nobody waits for it; when nobody
/// has looked for a minute it stops.
pub(super) struct Reader {
    pool: Arc<Pool>,
    fresh: Duration,
    last: Mutex<Last>,
    /// Held by the one who reads.
    reading: tokio::sync::Mutex<()>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Last {
    overview: Option<Arc<Overview>>,
    /// When it was read, or could not be.
    tried: Option<Instant>,
    /// When somebody asked last.
    asked: Option<Instant>,
    /// Whether it is read again and again.
    kept_fresh: bool,
}

/// What changes slowly, and is not read each time.
#[derive(Default)]
struct Known {
    facts_read: Option<Instant>,
    facts: BTreeMap<String, (i32, Arc<Facts>)>,
    days_read: Option<Instant>,
    today: Option<Date>,
    rolled_up_at: Option<Timestamp>,
    bars: HashMap<i32, Arc<Bar>>,
}

impl Reader {
    pub(super) fn new(pool: Arc<Pool>, fresh: Duration) -> Reader {
        Reader {
            pool,
            fresh,
            last: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            known: Arc::default(),
        }
    }

    /// What is known. While the database does not answer: the last that was known, and it says so.
    ///
    /// # Errors
    /// [`Unread`], if nothing is known yet.
    pub(super) async fn overview(self: &Arc<Reader>) -> Result<Arc<Overview>, Unread> {
        let (overview, begins) = {
            let mut last = lock(&self.last);
            last.asked = Some(Instant::now());
            let begins = !std::mem::replace(&mut last.kept_fresh, true);
            // After a pause the last one is too old. Else it is about to be read again.
            (last.overview.clone().filter(|_| !begins), begins)
        };
        if begins {
            tokio::spawn(Arc::clone(self).keep_fresh());
        }
        match overview {
            Some(overview) => Ok(overview),
            None => self.read_once().await,
        }
    }

    /// Reads again and again until nobody has looked for a while.
    async fn keep_fresh(self: Arc<Reader>) {
        loop {
            tokio::time::sleep(self.fresh).await;
            {
                let mut last = lock(&self.last);
                if last.asked.is_none_or(|asked| asked.elapsed() > IDLE) {
                    last.kept_fresh = false;
                    return;
                }
            }
            // It is told where it happens.
            let _ = self.read_once().await;
        }
    }

    /// Reads, unless somebody else has just done so.
    async fn read_once(&self) -> Result<Arc<Overview>, Unread> {
        let began = Instant::now();
        let _reading = self.reading.lock().await;
        let just_read = {
            let last = lock(&self.last);
            last.overview.clone().filter(|_| last.tried.is_some_and(|tried| tried >= began))
        };
        if let Some(overview) = just_read {
            return Ok(overview);
        }
        let known = Arc::clone(&self.known);
        let read = self.pool.read(move |client| read(client, &mut lock(&known))).await;
        let mut last = lock(&self.last);
        last.tried = Some(Instant::now());
        let overview = match (read, &last.overview) {
            (Ok(overview), _) => Arc::new(overview),
            (Err(error), Some(old)) => {
                log::error!(error = error.to_string(); "the database cannot be read; the pages show what was read last");
                let why = "the database does not answer".to_owned();
                Arc::new(Overview {
                    at: old.at,
                    outdated: Some(why),
                    today: old.today,
                    sites: old.sites.clone(),
                })
            }
            (Err(error), None) => return Err(error),
        };
        last.overview = Some(Arc::clone(&overview));
        Ok(overview)
    }
}

fn read(client: &mut Client, known: &mut Known) -> Result<Overview, DatabaseError> {
    let fault = DatabaseError::statement("cannot read what sites are");
    let transaction =
        client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
    let mut transaction = transaction.start().map_err(fault)?;
    let at = Timestamp::now();
    let today = at.to_zoned(TimeZone::UTC).date();
    let old = |read: Option<Instant>, fresh| read.is_none_or(|read| read.elapsed() >= fresh);
    if old(known.facts_read, FACTS_FRESH) {
        known.facts = facts(&mut transaction, &known.facts).map_err(fault)?;
        known.facts_read = Some(Instant::now());
    }
    if old(known.days_read, DAYS_FRESH) || known.today != Some(today) {
        days(&mut transaction, known, today).map_err(fault)?;
        known.days_read = Some(Instant::now());
    }
    let places = places(&mut transaction).map_err(fault)?;
    // A site that is new.
    if places.keys().any(|key| !known.facts.contains_key(key)) {
        known.facts = facts(&mut transaction, &known.facts).map_err(fault)?;
    }
    let sites = sites(&mut transaction, places, known).map_err(fault)?;
    transaction.commit().map_err(fault)?;
    Ok(Overview { at, outdated: None, today, sites })
}

/// What sites are called. What has not changed stays where it is.
fn facts(
    transaction: &mut Transaction<'_>,
    old: &BTreeMap<String, (i32, Arc<Facts>)>,
) -> Result<BTreeMap<String, (i32, Arc<Facts>)>, postgres::Error> {
    let mut all = BTreeMap::new();
    for row in transaction.query(include_str!("../../sql/queries/page/sites.sql"), &[])? {
        let labels: Value = row.get("labels");
        let labels = labels.as_object().into_iter().flatten();
        let labels =
            labels.filter_map(|(label, value)| Some((label.clone(), value.as_str()?.to_owned()))).collect();
        let facts = Facts {
            key: row.get("site"),
            name: row.get("name"),
            url: row.get("url"),
            method: row.get("method"),
            labels,
            schedule: row.get("schedule"),
            maintenance: windows(row.get("maintenance")),
            target: target(&row),
        };
        let site_id = row.get("site_id");
        let facts = match old.get(&facts.key) {
            Some((_, same)) if **same == facts => Arc::clone(same),
            _ => Arc::new(facts),
        };
        all.insert(facts.key.clone(), (site_id, facts));
    }
    Ok(all)
}

/// The windows of maintenance. Those that cannot be read are left out.
fn windows(value: Option<Value>) -> Vec<Maintenance> {
    let windows: Vec<MaintenanceWindow> =
        value.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default();
    windows.iter().filter_map(|window| Maintenance::try_from(window).ok()).collect()
}

fn target(row: &Row) -> Option<Slo> {
    let uptime_ppm: Option<i32> = row.get("slo_uptime_ppm");
    let window_days: Option<i16> = row.get("slo_window_days");
    Some(Slo { uptime_ppm: uptime_ppm?.try_into().ok()?, window_days: window_days?.try_into().ok()? })
}

/// Reads the days that may have changed.
fn days(transaction: &mut Transaction<'_>, known: &mut Known, today: Date) -> Result<(), postgres::Error> {
    let span = |days: usize| Span::new().days(days as i64);
    let first = today.saturating_sub(span(DAYS - 1));
    // How many days have begun since.
    let begun = known.today.map_or(DAYS, |last| match (today - last).get_days() {
        days @ 0.. => (days as usize).min(DAYS),
        _ => DAYS,
    });
    if begun == DAYS {
        known.bars.clear();
        known.rolled_up_at = None;
    } else if begun > 0 {
        for bar in known.bars.values_mut() {
            let shares = &mut Arc::make_mut(bar).0;
            shares.rotate_left(begun);
            shares[DAYS - begun..].fill(Shares::default());
        }
    }
    known.today = Some(today);

    let since =
        known.rolled_up_at.map_or(Timestamp::MIN, |at| at.saturating_sub(DAY_AFTER_HOUR).unwrap_or(at));
    let first_hour = first.to_zoned(TimeZone::UTC).map_or(Timestamp::MIN, |first| first.timestamp());
    let changed = include_str!("../../sql/queries/page/changed_days.sql");
    let since = since.max(Timestamp::UNIX_EPOCH);
    let mut changed_days: Vec<Date> = Vec::new();
    for row in transaction.query(changed, &[&since, &first_hour])? {
        changed_days.push(row.get("day"));
        known.rolled_up_at = known.rolled_up_at.max(Some(row.get("rolled_up_at")));
    }
    // Hours may be gone where days are kept, so the first time all are read.
    if begun == DAYS {
        changed_days = (0..DAYS).map(|day| first.saturating_add(span(day))).collect();
    }
    // One by one: there may be a million.
    let mut rows = transaction.query_raw(include_str!("../../sql/queries/page/days.sql"), [&changed_days])?;
    while let Some(row) = rows.next()? {
        let day: Date = row.get("day");
        let place = usize::try_from((day - first).get_days()).unwrap_or(DAYS);
        let count = |name| u32::try_from(row.get::<_, i64>(name)).unwrap_or(u32::MAX);
        let shares = Shares {
            success: count("success"),
            failure: count("failure"),
            unchecked: count("unchecked"),
            planned: count("planned"),
        };
        let bar = known.bars.entry(row.get("site_id")).or_default();
        if place < DAYS && bar.0[place] != shares {
            Arc::make_mut(bar).0[place] = shares;
        }
    }
    Ok(())
}

/// What the locations say, by the keys of the sites.
fn places(transaction: &mut Transaction<'_>) -> Result<BTreeMap<String, Vec<Place>>, postgres::Error> {
    let mut locations: BTreeMap<String, Arc<str>> = BTreeMap::new();
    let mut places: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for row in transaction.query(include_str!("../../sql/queries/page/status.sql"), &[])? {
        let location: &str = row.get("location");
        let location = match locations.get(location) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(locations.entry(location.to_owned()).or_insert_with(|| location.into())),
        };
        let error_type: Option<String> = row.get("error_type");
        let state = match row.get::<_, &str>("status") {
            "down" => State::Down,
            "stale" => State::Unchecked,
            _ if error_type.as_deref() == Some("maintenance") => State::Planned,
            _ if row.get("degraded") => State::Slow,
            _ => State::Up,
        };
        let place = Place {
            location,
            state,
            down_since_at: row.get("down_since_at"),
            scheduled_at: row.get("scheduled_at"),
            next_at: row.get("next_at"),
            reason: error_type.map(|error_type| Reason { error_type, detail: row.get("error_detail") }),
            http_status: row.get("http_status"),
            total_us: row.get("total_us"),
            expires_at: row.get("expires_at"),
        };
        match places.get_mut(row.get::<_, &str>("site")) {
            Some(places) => places.push(place),
            None => drop(places.insert(row.get("site"), vec![place])),
        }
    }
    Ok(places)
}

/// The sites that are checked.
fn sites(
    transaction: &mut Transaction<'_>,
    places: BTreeMap<String, Vec<Place>>,
    known: &Known,
) -> Result<Vec<Arc<SiteNow>>, postgres::Error> {
    let mut incidents = HashMap::new();
    for row in transaction.query(include_str!("../../sql/queries/page/open_incidents.sql"), &[])? {
        let reason = Reason { error_type: row.get("error_type"), detail: row.get("error_detail") };
        incidents.insert(
            row.get::<_, i32>("site_id"),
            (row.get::<_, i64>("incident_id"), row.get::<_, Timestamp>("from_at"), reason),
        );
    }
    let site = |(key, places): (String, Vec<Place>)| {
        let (site_id, facts) = known.facts.get(&key)?;
        let bar = known.bars.get(site_id).map(Arc::clone).unwrap_or_default();
        let incident = incidents.remove(site_id);
        Some(Arc::new(SiteNow::of(*site_id, Arc::clone(facts), places, incident, bar)))
    };
    let mut sites: Vec<Arc<SiteNow>> = places.into_iter().filter_map(site).collect();
    sites.sort_by(|a, b| (&a.facts.name, &a.facts.key).cmp(&(&b.facts.name, &b.facts.key)));
    Ok(sites)
}
