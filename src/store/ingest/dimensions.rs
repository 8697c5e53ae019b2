//! Names to ids: names are looked up, then inserted if they are missing, in a transaction of their own. `ON CONFLICT DO
//! NOTHING` uses up an id each time it finds a row, so it is only tried for names that a look-up did not find.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use postgres::types::Type;
use postgres::{Client, Transaction};

use super::batch::{Batch, Row};
use super::bisect::bisect;
use super::ids::Ids;
use super::per_site::{ENTRY_BYTES, PerSite, Refused, begin};
use super::site_certificate::SiteCertificate;
use super::site_version::SiteVersion;
use crate::store::error::StoreError;

/// When the cached names take about so many bytes, the cache starts over.
const MAX_NAMES_BYTES: usize = 32 << 20;

/// What a writer knows of the dimensions.
#[derive(Default)]
pub(crate) struct Dimensions {
    sites: Names,
    locations: Names,
    checkers: Names,
    versions: PerSite<SiteVersion>,
    certificates: PerSite<SiteCertificate>,
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
                certificate: None,
            })
        };
        batch.identify(&|Row { result, .. }| ids(&result.site, &result.location, &result.checker), &|row| {
            ids(&row.gap.site, &row.gap.location, &row.gap.checker)
        });

        self.resolve_certificates(client, batch, patience)?;
        self.versions.bound();
        let version_of = |versions: &PerSite<SiteVersion>, row: &Row| {
            versions.get(row.ids.site, |version| version.is_of(&row.result))
        };
        let missing = batch.results.iter().filter(|row| version_of(&self.versions, row).is_none());
        let missing = missing.map(|row| (row.ids.site, SiteVersion::of(&row.result))).collect();
        let refused = self.versions.resolve(client, patience, &missing)?;
        let stored = |row: &Row| version_of(&self.versions, row);
        let is_gone = |row: &&Row| {
            stored(row).is_none() && !refused.contains_key(&(row.ids.site, SiteVersion::of(&row.result)))
        };
        if let Some(row) = batch.results.iter().find(is_gone) {
            return Err(vanished(&row.result.name));
        }
        let version = |row: &Row| match stored(row) {
            Some(version) => Ok(Ids { version, ..row.ids }),
            None => {
                let version = (row.ids.site, SiteVersion::of(&row.result));
                Err(refused.get(&version).cloned().unwrap_or_default())
            }
        };
        batch.identify(&version, &|row| Ok(row.ids));
        Ok(())
    }

    /// As [`Dimensions::resolve`], for the certificates. A result whose certificate is not stored, because the site has
    /// had too many, is stored without it.
    fn resolve_certificates(
        &mut self,
        client: &mut Client,
        batch: &mut Batch,
        patience: Duration,
    ) -> Result<(), StoreError> {
        self.certificates.bound();
        let id_of = |certificates: &PerSite<SiteCertificate>, row: &Row| {
            certificates.get(row.ids.site, |certificate| certificate.is_of(&row.result))
        };
        let missing = batch.results.iter().filter(|row| id_of(&self.certificates, row).is_none());
        let missing: BTreeSet<(i32, SiteCertificate)> =
            missing.filter_map(|row| Some((row.ids.site, SiteCertificate::of(&row.result)?))).collect();
        let refused = self.certificates.resolve(client, patience, &missing)?;
        if let Some(reason) = refused.values().next() {
            log::warn!(certificates = refused.len(), reason; "the database refuses certificates: results lack them");
        }
        let known = |row: &Row| Ok(Ids { certificate: id_of(&self.certificates, row), ..row.ids });
        batch.identify(&known, &|row| Ok(row.ids));
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

/// The error when somebody deletes from the dimensions while results refer to them.
fn vanished(name: &str) -> StoreError {
    StoreError::Unreadable {
        doing: "cannot resolve names",
        problem: format!("the id of {name:?} was deleted as soon as it was inserted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_of_names_starts_over_before_it_takes_more_bytes_than_it_may() {
        let (mut names, mut largest) = (Names::default(), 0);
        for id in 0..400_000 {
            names.bound();
            names.insert(format!("pod-{id}"), id);
            largest = largest.max(names.bytes);
        }
        assert!((MAX_NAMES_BYTES..MAX_NAMES_BYTES + 1_000).contains(&largest), "{largest}");
    }
}
