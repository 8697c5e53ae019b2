//! Names to ids: names are looked up, then inserted if they are missing, in a transaction of their own. `ON CONFLICT DO
//! NOTHING` uses up an id each time it finds a row, so it is only tried for names that a look-up did not find.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use postgres::types::{Json, ToSql, Type};
use postgres::{Client, Statement, Transaction};

use super::batch::{Batch, Row};
use super::bisect::bisect;
use super::ids::Ids;
use crate::record::CheckResult;
use crate::store::error::StoreError;

/// When the cached versions, or the cached names, take about so many bytes, that cache starts over. This bounds memory,
/// not the number of sites.
const MAX_VERSIONS_BYTES: usize = 64 << 20;
const MAX_NAMES_BYTES: usize = 32 << 20;
/// About what an entry takes besides its texts.
const ENTRY_BYTES: usize = 200;
/// Versions of one site that are cached at most.
const MAX_VERSIONS: usize = 1_000;

/// What a writer knows of the dimensions.
#[derive(Default)]
pub(crate) struct Dimensions {
    sites: Names,
    locations: Names,
    checkers: Names,
    versions: Versions,
}

/// The ids of names.
#[derive(Default)]
struct Names {
    ids: HashMap<String, i32>,
    bytes: usize,
}

impl Names {
    fn insert(&mut self, name: String, id: i32) {
        self.bytes += ENTRY_BYTES + name.len();
        self.ids.insert(name, id);
    }

    /// Starts over once there is too much of it.
    fn bound(&mut self) {
        if self.bytes > MAX_NAMES_BYTES {
            *self = Names::default();
        }
    }
}

/// The versions of each site. There is usually one, so they are compared one by one.
#[derive(Default)]
struct Versions {
    of_site: HashMap<i32, Vec<(Version, i32)>>,
    bytes: usize,
}

impl Versions {
    fn get(&self, site: i32, result: &CheckResult) -> Option<i32> {
        self.of_site.get(&site)?.iter().find(|(version, _)| version.is_of(result)).map(|(_, id)| *id)
    }

    fn insert(&mut self, site: i32, version: Version, id: i32) {
        let versions = self.of_site.entry(site).or_default();
        // A site that changes with every batch must not make the comparison slow.
        if versions.len() >= MAX_VERSIONS {
            self.bytes -= versions.drain(..).map(|(version, _)| version.bytes()).sum::<usize>();
        }
        self.bytes += version.bytes();
        versions.push((version, id));
    }

    /// Starts over once there is too much of it.
    fn bound(&mut self) {
        if self.bytes > MAX_VERSIONS_BYTES {
            *self = Versions::default();
        }
    }
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

    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        let labels =
            self.labels.iter().map(|(key, value)| ENTRY_BYTES + key.len() + value.len()).sum::<usize>();
        let schedule = self.schedule.as_ref().map_or(0, String::len);
        ENTRY_BYTES + self.name.len() + self.url.len() + self.method.len() + schedule + labels
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

/// The names or versions that the database refuses, and why.
type Refused<K> = BTreeMap<K, String>;

impl Dimensions {
    /// Gives every row of `batch` its ids. It asks the database only for names that are not cached, and waits for a
    /// lock no longer than `patience`, because its holder may be frozen. A record whose name or version the database
    /// refuses becomes a dead letter.
    pub(super) fn resolve(
        &mut self,
        client: &mut Client,
        batch: &mut Batch,
        patience: Duration,
    ) -> Result<(), StoreError> {
        let results = || batch.results.iter().map(|row| row.result.as_ref());
        let gaps = || batch.gaps.iter().map(|row| &row.gap);
        let sites = results().map(|r| &r.site).chain(gaps().map(|g| &g.site));
        let locations = results().map(|r| &r.location).chain(gaps().map(|g| &g.location));
        let checkers = results().map(|r| &r.checker).chain(gaps().map(|g| &g.checker));
        let refused = [
            self.sites.resolve(client, patience, sites, ("sites", "site_id", "key"))?,
            self.locations.resolve(client, patience, locations, ("locations", "location_id", "name"))?,
            self.checkers.resolve(client, patience, checkers, ("checkers", "checker_id", "name"))?,
        ];
        let ids = |site: &str, location: &str, checker: &str| -> Result<Ids, String> {
            Ok(Ids {
                site: self.sites.find(site, &refused[0])?,
                location: self.locations.find(location, &refused[1])?,
                checker: self.checkers.find(checker, &refused[2])?,
                version: 0,
            })
        };
        batch.identify(&|Row { result, .. }| ids(&result.site, &result.location, &result.checker), &|row| {
            ids(&row.gap.site, &row.gap.location, &row.gap.checker)
        });

        self.versions.bound();
        let missing =
            batch.results.iter().filter(|row| self.versions.get(row.ids.site, &row.result).is_none());
        let missing: BTreeSet<(i32, Version)> =
            missing.map(|row| (row.ids.site, Version::of(&row.result))).collect();
        let refused = self.versions.resolve(client, patience, missing.into_iter().collect())?;
        let version = |row: &Row| match self.versions.get(row.ids.site, &row.result) {
            Some(version) => Ok(Ids { version, ..row.ids }),
            None => Err(refused.get(&(row.ids.site, Version::of(&row.result))).cloned().unwrap_or_default()),
        };
        batch.identify(&version, &|row| Ok(row.ids));
        Ok(())
    }
}

impl Names {
    fn find(&self, name: &str, refused: &Refused<String>) -> Result<i32, String> {
        let id = self.ids.get(name).copied();
        id.ok_or_else(|| refused.get(name).cloned().unwrap_or_default())
    }

    /// Finds the ids of the names that are not cached, and inserts the names that are missing.
    fn resolve<'a>(
        &mut self,
        client: &mut Client,
        patience: Duration,
        names: impl Iterator<Item = &'a String>,
        (table, id, name): (&'static str, &'static str, &'static str),
    ) -> Result<Refused<String>, StoreError> {
        const DOING: &str = "cannot store the names of sites, locations and checkers";
        self.bound();
        // Sorted, so that two writers insert in the same order.
        let missing: BTreeSet<&str> =
            names.map(String::as_str).filter(|name| !self.ids.contains_key(*name)).collect();
        let missing: Vec<&str> = missing.into_iter().collect();
        let mut refused = Refused::new();
        if missing.is_empty() {
            return Ok(refused);
        }
        let failed = StoreError::statement;
        let look_up = format!("SELECT {name}, {id} FROM webmon.{table} WHERE {name} = ANY($1)");
        let insert = format!(
            "INSERT INTO webmon.{table} ({name}) SELECT unnest($1::text[]) ON CONFLICT ({name}) DO NOTHING"
        );
        let mut transaction = begin(client, patience).map_err(failed(DOING))?;
        let look_up = transaction.prepare_typed(&look_up, &[Type::TEXT_ARRAY]).map_err(failed(DOING))?;
        let mut rows = transaction.query(&look_up, &[&missing]).map_err(failed(DOING))?;
        if rows.len() < missing.len() {
            let known: BTreeSet<&str> = rows.iter().map(|row| row.get(0)).collect();
            let new: Vec<&str> = missing.iter().copied().filter(|name| !known.contains(name)).collect();
            let mut work = |transaction: &mut Transaction<'_>, new: &[&str]| {
                transaction.execute(&insert, &[&new]).map(drop).map_err(failed(DOING))
            };
            bisect(&mut transaction, &new, &mut work, &mut |name, error| {
                refused.insert(name.to_owned(), error.to_string());
            })?;
            rows = transaction.query(&look_up, &[&missing]).map_err(failed(DOING))?;
        }
        transaction.commit().map_err(failed(DOING))?;
        for row in rows {
            self.insert(row.get(0), row.get(1));
        }
        match missing.iter().find(|name| !self.ids.contains_key(**name) && !refused.contains_key(**name)) {
            Some(name) => Err(vanished(name)),
            None => Ok(refused),
        }
    }
}

impl Versions {
    /// As [`Names::resolve`].
    fn resolve(
        &mut self,
        client: &mut Client,
        patience: Duration,
        missing: Vec<(i32, Version)>,
    ) -> Result<Refused<(i32, Version)>, StoreError> {
        const DOING: &str = "cannot store the versions of sites";
        let mut refused = Refused::new();
        if missing.is_empty() {
            return Ok(refused);
        }
        let failed = StoreError::statement;
        let all: Vec<&(i32, Version)> = missing.iter().collect();
        let mut transaction = begin(client, patience).map_err(failed(DOING))?;
        let look_up = include_str!("../../../sql/queries/ingest/look_up_site_versions.sql");
        let look_up = transaction.prepare(look_up).map_err(failed(DOING))?;
        let mut rows = VersionColumns::of(&all).query(&mut transaction, &look_up).map_err(failed(DOING))?;
        if rows.len() < missing.len() {
            let known: BTreeSet<usize> = rows.iter().map(place).collect();
            let new: Vec<&(i32, Version)> =
                (0..all.len()).filter(|i| !known.contains(i)).map(|i| all[i]).collect();
            let insert = include_str!("../../../sql/queries/ingest/insert_site_versions.sql");
            let insert = transaction.prepare(insert).map_err(failed(DOING))?;
            let mut work = |transaction: &mut Transaction<'_>, new: &[&(i32, Version)]| {
                VersionColumns::of(new).query(transaction, &insert).map(drop).map_err(failed(DOING))
            };
            bisect(&mut transaction, &new, &mut work, &mut |version, error| {
                refused.insert(version.clone(), error.to_string());
            })?;
            rows = VersionColumns::of(&all).query(&mut transaction, &look_up).map_err(failed(DOING))?;
        }
        transaction.commit().map_err(failed(DOING))?;
        let mut found = BTreeSet::new();
        for row in &rows {
            let (site, version) = all[place(row)];
            self.insert(*site, version.clone(), row.get(1));
            found.insert(place(row));
        }
        match (0..all.len()).find(|i| !found.contains(i) && !refused.contains_key(all[*i])) {
            Some(i) => Err(vanished(&all[i].1.name)),
            None => Ok(refused),
        }
    }
}

/// The place in the arrays, from 0, that a row of `look_up_site_versions.sql` is about.
fn place(row: &postgres::Row) -> usize {
    row.get::<_, i64>(0) as usize - 1
}

/// The parameters of `look_up_site_versions.sql` and `insert_site_versions.sql`.
#[derive(Default)]
struct VersionColumns<'a> {
    site_ids: Vec<i32>,
    names: Vec<&'a str>,
    urls: Vec<&'a str>,
    methods: Vec<&'a str>,
    labels: Vec<Json<&'a BTreeMap<String, String>>>,
    schedules: Vec<Option<&'a str>>,
    budgets: Vec<Option<i32>>,
    incident_failures: Vec<Option<i16>>,
    incident_locations: Vec<Option<i16>>,
}

impl<'a> VersionColumns<'a> {
    fn of(versions: &[&'a (i32, Version)]) -> VersionColumns<'a> {
        let mut columns = VersionColumns::default();
        for (site, version) in versions {
            columns.site_ids.push(*site);
            columns.names.push(&version.name);
            columns.urls.push(&version.url);
            columns.methods.push(&version.method);
            columns.labels.push(Json(&version.labels));
            columns.schedules.push(version.schedule.as_deref());
            columns.budgets.push(version.time_budget_ms.map(|ms| ms as i32));
            columns.incident_failures.push(version.incident_failures.map(|n| n as i16));
            columns.incident_locations.push(version.incident_locations.map(|n| n as i16));
        }
        columns
    }

    fn query(
        &self,
        transaction: &mut Transaction<'_>,
        statement: &Statement,
    ) -> Result<Vec<postgres::Row>, postgres::Error> {
        let parameters: [&(dyn ToSql + Sync); 9] = [
            &self.site_ids,
            &self.names,
            &self.urls,
            &self.methods,
            &self.labels,
            &self.schedules,
            &self.budgets,
            &self.incident_failures,
            &self.incident_locations,
        ];
        transaction.query(statement, &parameters)
    }
}

/// The error when somebody deletes from the dimensions while results refer to them.
fn vanished(name: &str) -> StoreError {
    StoreError::Unreadable {
        doing: "cannot resolve names",
        problem: format!("the id of {name:?} was deleted as soon as it was inserted"),
    }
}

fn begin(client: &mut Client, patience: Duration) -> Result<Transaction<'_>, postgres::Error> {
    let mut transaction = client.transaction()?;
    transaction.batch_execute(&format!("SET LOCAL lock_timeout = {}", patience.as_millis()))?;
    Ok(transaction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(url: &str) -> Version {
        Version {
            name: "shop".to_owned(),
            url: url.to_owned(),
            method: "GET".to_owned(),
            labels: BTreeMap::new(),
            schedule: None,
            time_budget_ms: None,
            incident_failures: None,
            incident_locations: None,
        }
    }

    #[test]
    fn the_caches_start_over_before_they_take_more_bytes_than_they_may() {
        let (mut versions, mut largest) = (Versions::default(), 0);
        let url = "u".repeat(2_000);
        for id in 0..100_000 {
            versions.bound();
            versions.insert(id / 3, version(&url), id);
            let counted: usize = if id % 10_000 == 0 {
                versions.of_site.values().flatten().map(|(version, _)| version.bytes()).sum()
            } else {
                versions.bytes
            };
            assert_eq!(versions.bytes, counted);
            largest = largest.max(versions.bytes);
        }
        assert!((MAX_VERSIONS_BYTES..MAX_VERSIONS_BYTES + 4_000).contains(&largest), "{largest}");

        let (mut names, mut largest) = (Names::default(), 0);
        for id in 0..400_000 {
            names.bound();
            names.insert(format!("pod-{id}"), id);
            largest = largest.max(names.bytes);
        }
        assert!((MAX_NAMES_BYTES..MAX_NAMES_BYTES + 1_000).contains(&largest), "{largest}");
    }

    #[test]
    fn a_site_that_changes_with_every_record_takes_no_more_than_its_part_of_the_cache() {
        let mut versions = Versions::default();
        for id in 0..10_000 {
            versions.insert(1, version(&format!("https://shop.example/{id}")), id);
            assert!(versions.of_site[&1].len() <= MAX_VERSIONS);
        }
        let counted: usize = versions.of_site[&1].iter().map(|(version, _)| version.bytes()).sum();
        assert_eq!(versions.bytes, counted);
    }
}
