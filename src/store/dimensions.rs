//! Names to ids: looked up, then inserted where missing, in a transaction of their own. `ON CONFLICT DO NOTHING`
//! burns an id each time it finds a row, so it is only tried for names that a look-up did not find.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use postgres::types::{Json, ToSql, Type};
use postgres::{Client, Transaction};

use super::StoreError;
use super::batch::Batch;
use crate::result::CheckResult;

/// Entries of one cache, beyond which it starts over: a bound on memory, not on sites.
const MAX_CACHED: usize = 1_000_000;
/// Versions of one site that are cached.
const MAX_VERSIONS: usize = 1_000;

/// What a writer knows of the dimensions.
#[derive(Default)]
pub(super) struct Dimensions {
    sites: HashMap<String, i32>,
    locations: HashMap<String, i32>,
    checkers: HashMap<String, i32>,
    /// The versions of each site: usually one, so they are told apart by looking at each.
    versions: HashMap<i32, Vec<(Version, i32)>>,
}

/// What distinguishes two rows of `site_versions`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    name: String,
    url: String,
    method: String,
    labels: BTreeMap<String, String>,
    schedule: Option<String>,
    time_budget_ms: Option<u32>,
    incident_failures: Option<u16>,
    incident_locations: Option<u16>,
}

impl Version {
    fn of(result: &CheckResult) -> Version {
        Version {
            name: result.name.clone(),
            url: result.url.clone(),
            method: result.method.clone(),
            labels: result.labels.clone(),
            schedule: result.schedule.clone(),
            time_budget_ms: result.time_budget_ms,
            incident_failures: result.incident_failures,
            incident_locations: result.incident_locations,
        }
    }

    fn is_of(&self, result: &CheckResult) -> bool {
        self.url == result.url
            && self.name == result.name
            && self.method == result.method
            && self.labels == result.labels
            && self.schedule == result.schedule
            && self.time_budget_ms == result.time_budget_ms
            && self.incident_failures == result.incident_failures
            && self.incident_locations == result.incident_locations
    }
}

/// The ids of one result; 0, which no dimension has, before they are known.
#[derive(Clone, Copy, Default)]
pub(super) struct Ids {
    pub site: i32,
    pub location: i32,
    pub checker: i32,
    pub version: i32,
}

impl Dimensions {
    /// Gives every row of `batch` its ids; touches the database only for names never seen, and waits for a lock no
    /// longer than `patience`: its holder may be frozen.
    pub fn resolve(
        &mut self,
        client: &mut Client,
        batch: &mut Batch,
        patience: Duration,
    ) -> Result<(), StoreError> {
        let results = || batch.results.iter().map(|row| row.result.as_ref());
        let site_names = results().map(|r| &r.site).chain(batch.gaps.iter().map(|g| &g.record.site));
        let location_names =
            results().map(|r| &r.location).chain(batch.gaps.iter().map(|g| &g.record.location));
        let checker_names = results().map(|r| &r.checker).chain(batch.gaps.iter().map(|g| &g.record.checker));
        let (sites, locations, checkers) = (&mut self.sites, &mut self.locations, &mut self.checkers);
        resolve_names(client, patience, sites, site_names, ("sites", "site_id", "key"))?;
        resolve_names(client, patience, locations, location_names, ("locations", "location_id", "name"))?;
        resolve_names(client, patience, checkers, checker_names, ("checkers", "checker_id", "name"))?;
        if self.versions.len() > MAX_CACHED {
            self.versions.clear();
        }
        let mut missing: BTreeSet<(i32, Version)> = BTreeSet::new();
        for row in &mut batch.results {
            let result = &row.result;
            row.ids = Ids {
                site: lookup(&self.sites, &result.site)?,
                location: lookup(&self.locations, &result.location)?,
                checker: lookup(&self.checkers, &result.checker)?,
                version: 0,
            };
            match self.version(row.ids.site, result) {
                Some(version) => row.ids.version = version,
                None => {
                    missing.insert((row.ids.site, Version::of(result)));
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.resolve_versions(client, patience, missing.into_iter().collect())?;
        for row in batch.results.iter_mut().filter(|row| row.ids.version == 0) {
            row.ids.version =
                self.version(row.ids.site, &row.result).ok_or_else(|| vanished(&row.result.site))?;
        }
        Ok(())
    }

    fn version(&self, site: i32, result: &CheckResult) -> Option<i32> {
        self.versions.get(&site)?.iter().find(|(version, _)| version.is_of(result)).map(|(_, id)| *id)
    }

    fn resolve_versions(
        &mut self,
        client: &mut Client,
        patience: Duration,
        missing: Vec<(i32, Version)>,
    ) -> Result<(), StoreError> {
        let site_ids: Vec<i32> = missing.iter().map(|(site, _)| *site).collect();
        let names: Vec<&str> = missing.iter().map(|(_, v)| v.name.as_str()).collect();
        let urls: Vec<&str> = missing.iter().map(|(_, v)| v.url.as_str()).collect();
        let methods: Vec<&str> = missing.iter().map(|(_, v)| v.method.as_str()).collect();
        let labels: Vec<Json<&BTreeMap<String, String>>> =
            missing.iter().map(|(_, v)| Json(&v.labels)).collect();
        let schedules: Vec<Option<&str>> = missing.iter().map(|(_, v)| v.schedule.as_deref()).collect();
        let budgets: Vec<Option<i32>> =
            missing.iter().map(|(_, v)| v.time_budget_ms.map(|ms| ms as i32)).collect();
        let failures: Vec<Option<i16>> =
            missing.iter().map(|(_, v)| v.incident_failures.map(|n| n as i16)).collect();
        let locations: Vec<Option<i16>> =
            missing.iter().map(|(_, v)| v.incident_locations.map(|n| n as i16)).collect();
        let parameters: [&(dyn ToSql + Sync); 9] =
            [&site_ids, &names, &urls, &methods, &labels, &schedules, &budgets, &failures, &locations];

        let failed = StoreError::database("cannot store the versions of sites");
        let mut found = || -> Result<Vec<(usize, i32)>, postgres::Error> {
            let mut transaction = begin(client, patience)?;
            let look_up = transaction.prepare(include_str!("../../sql/queries/look_up_site_versions.sql"))?;
            let mut rows = transaction.query(&look_up, &parameters)?;
            if rows.len() < missing.len() {
                transaction
                    .execute(include_str!("../../sql/queries/insert_site_versions.sql"), &parameters)?;
                rows = transaction.query(&look_up, &parameters)?;
            }
            transaction.commit()?;
            Ok(rows.iter().map(|row| (row.get::<_, i64>(0) as usize - 1, row.get(1))).collect())
        };
        for (place, id) in found().map_err(failed)? {
            let (site, version) = &missing[place];
            let versions = self.versions.entry(*site).or_default();
            // A site that changes with every batch must not fill the memory.
            if versions.len() >= MAX_VERSIONS {
                versions.clear();
            }
            versions.push((version.clone(), id));
        }
        Ok(())
    }

    /// The ids of a gap's site, location and checker.
    pub fn gap_ids(&self, site: &str, location: &str, checker: &str) -> Result<(i32, i32, i32), StoreError> {
        Ok((lookup(&self.sites, site)?, lookup(&self.locations, location)?, lookup(&self.checkers, checker)?))
    }
}

fn lookup<I: Copy>(cache: &HashMap<String, I>, name: &str) -> Result<I, StoreError> {
    cache.get(name).copied().ok_or_else(|| vanished(name))
}

/// Somebody deletes from the dimensions while results refer to them.
fn vanished(name: &str) -> StoreError {
    StoreError::Schema(format!("the id of {name:?} is gone from the dimensions as soon as it was inserted"))
}

fn begin(client: &mut Client, patience: Duration) -> Result<Transaction<'_>, postgres::Error> {
    let mut transaction = client.transaction()?;
    transaction.batch_execute(&format!("SET LOCAL lock_timeout = {}", patience.as_millis()))?;
    Ok(transaction)
}

fn resolve_names<'a, I>(
    client: &mut Client,
    patience: Duration,
    cache: &mut HashMap<String, I>,
    names: impl Iterator<Item = &'a String>,
    (table, id, name): (&'static str, &'static str, &'static str),
) -> Result<(), StoreError>
where
    I: for<'b> postgres::types::FromSql<'b>,
{
    if cache.len() > MAX_CACHED {
        cache.clear();
    }
    // Sorted, so that two writers insert in the same order.
    let missing: BTreeSet<&str> =
        names.map(String::as_str).filter(|name| !cache.contains_key(*name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<&str> = missing.into_iter().collect();
    let mut resolve = || -> Result<(), postgres::Error> {
        let mut transaction = begin(client, patience)?;
        let look_up = format!("SELECT {name}, {id} FROM webmon.{table} WHERE {name} = ANY($1)");
        let look_up = transaction.prepare_typed(&look_up, &[Type::TEXT_ARRAY])?;
        let mut rows = transaction.query(&look_up, &[&missing])?;
        if rows.len() < missing.len() {
            let known: BTreeSet<&str> = rows.iter().map(|row| row.get(0)).collect();
            let new: Vec<&str> = missing.iter().copied().filter(|name| !known.contains(name)).collect();
            let insert = format!(
                "INSERT INTO webmon.{table} ({name}) SELECT unnest($1::text[]) ON CONFLICT ({name}) DO NOTHING"
            );
            transaction.execute(&insert, &[&new])?;
            rows = transaction.query(&look_up, &[&missing])?;
        }
        transaction.commit()?;
        for row in rows {
            cache.insert(row.get(0), row.get(1));
        }
        Ok(())
    };
    resolve().map_err(StoreError::database("cannot store the names of sites, locations and checkers"))
}
