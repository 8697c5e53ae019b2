//! A dimension whose rows belong to sites: their versions, their certificates.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use postgres::{Client, Statement, Transaction};

use super::bisect::bisect;
use crate::store::error::StoreError;

/// When the cached rows take about so many bytes, the cache starts over. This bounds memory, not the number of sites.
const MAX_BYTES: usize = 64 << 20;
/// About what an entry takes besides its texts.
pub(super) const ENTRY_BYTES: usize = 200;
/// Rows of one site that are cached at most.
const MAX_ROWS: usize = 1_000;

/// What the database refuses, and why.
pub(super) type Refused<K> = BTreeMap<K, String>;

/// A row of the dimension, without its id.
pub(super) trait OfSite: Clone + Ord {
    /// For errors.
    const DOING: &'static str;
    /// Returns the place in the arrays, from 1, and the id, of those that are stored.
    const LOOK_UP: &'static str;
    /// Adds those that are not stored. It has the parameters of `LOOK_UP`.
    const INSERT: &'static str;

    /// About what it takes in memory.
    fn bytes(&self) -> usize;

    /// Runs a statement with an array for each column.
    fn query(
        rows: &[&(i32, Self)],
        transaction: &mut Transaction<'_>,
        statement: &Statement,
    ) -> Result<Vec<postgres::Row>, postgres::Error>;
}

/// The ids of rows. A site usually has one row, so they are compared one by one.
pub(super) struct PerSite<T> {
    of_site: HashMap<i32, Vec<(T, i32)>>,
    bytes: usize,
}

impl<T> Default for PerSite<T> {
    fn default() -> Self {
        PerSite { of_site: HashMap::new(), bytes: 0 }
    }
}

impl<T: OfSite> PerSite<T> {
    /// The id of the row of `site` for which `is` holds, if it is cached.
    pub(super) fn get(&self, site: i32, is: impl Fn(&T) -> bool) -> Option<i32> {
        self.of_site.get(&site)?.iter().find(|(row, _)| is(row)).map(|(_, id)| *id)
    }

    fn insert(&mut self, site: i32, row: T, id: i32) {
        let rows = self.of_site.entry(site).or_default();
        // A site that changes with every batch must not make the comparison slow.
        if rows.len() >= MAX_ROWS {
            self.bytes -= rows.drain(..).map(|(row, _)| row.bytes()).sum::<usize>();
        }
        self.bytes += row.bytes();
        rows.push((row, id));
    }

    /// Starts over once there is too much of it.
    pub(super) fn bound(&mut self) {
        if self.bytes > MAX_BYTES {
            *self = PerSite::default();
        }
    }

    /// Finds the ids of the rows `missing`, and inserts those that are not stored. Waits for a lock no longer than
    /// `patience`. Returns the rows that the database refuses.
    pub(super) fn resolve(
        &mut self,
        client: &mut Client,
        patience: Duration,
        missing: &BTreeSet<(i32, T)>,
    ) -> Result<Refused<(i32, T)>, StoreError> {
        let mut refused = Refused::new();
        if missing.is_empty() {
            return Ok(refused);
        }
        let failed = StoreError::statement;
        let all: Vec<&(i32, T)> = missing.iter().collect();
        let mut transaction = begin(client, patience).map_err(failed(T::DOING))?;
        let look_up = transaction.prepare(T::LOOK_UP).map_err(failed(T::DOING))?;
        let mut rows = T::query(&all, &mut transaction, &look_up).map_err(failed(T::DOING))?;
        if rows.len() < all.len() {
            let known: BTreeSet<usize> = rows.iter().map(place).collect();
            let new: Vec<&(i32, T)> = (0..all.len()).filter(|i| !known.contains(i)).map(|i| all[i]).collect();
            let insert = transaction.prepare(T::INSERT).map_err(failed(T::DOING))?;
            let mut work = |transaction: &mut Transaction<'_>, new: &[&(i32, T)]| {
                T::query(new, transaction, &insert).map(drop).map_err(failed(T::DOING))
            };
            bisect(&mut transaction, &new, &mut work, &mut |row, error| {
                refused.insert(row.clone(), error.to_string());
            })?;
            rows = T::query(&all, &mut transaction, &look_up).map_err(failed(T::DOING))?;
        }
        transaction.commit().map_err(failed(T::DOING))?;
        for row in &rows {
            let (site, value) = all[place(row)];
            self.insert(*site, value.clone(), row.get(1));
        }
        Ok(refused)
    }
}

/// The place in the arrays, from 0, that a row of a look-up is about.
fn place(row: &postgres::Row) -> usize {
    row.get::<_, i64>(0) as usize - 1
}

/// Begins a transaction that waits for a lock no longer than `patience`, because its holder may be frozen.
pub(super) fn begin(client: &mut Client, patience: Duration) -> Result<Transaction<'_>, postgres::Error> {
    let mut transaction = client.transaction()?;
    transaction.batch_execute(&format!("SET LOCAL lock_timeout = {}", patience.as_millis()))?;
    Ok(transaction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
    struct Text(String);

    impl OfSite for Text {
        const DOING: &'static str = "";
        const LOOK_UP: &'static str = "";
        const INSERT: &'static str = "";

        fn bytes(&self) -> usize {
            ENTRY_BYTES + self.0.len()
        }

        fn query(
            _: &[&(i32, Text)],
            _: &mut Transaction<'_>,
            _: &Statement,
        ) -> Result<Vec<postgres::Row>, postgres::Error> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn the_cache_starts_over_before_it_takes_more_bytes_than_it_may() {
        let (mut rows, mut largest) = (PerSite::default(), 0);
        for id in 0..100_000 {
            rows.bound();
            rows.insert(id / 3, Text("u".repeat(2_000)), id);
            let counted: usize = if id % 10_000 == 0 {
                rows.of_site.values().flatten().map(|(row, _)| row.bytes()).sum()
            } else {
                rows.bytes
            };
            assert_eq!(rows.bytes, counted);
            largest = largest.max(rows.bytes);
        }
        assert!((MAX_BYTES..MAX_BYTES + 4_000).contains(&largest), "{largest}");
    }

    #[test]
    fn a_site_that_changes_with_every_record_takes_no_more_than_its_part_of_the_cache() {
        let mut rows = PerSite::default();
        for id in 0..10_000 {
            rows.insert(1, Text(format!("https://shop.example/{id}")), id);
            assert!(rows.of_site[&1].len() <= MAX_ROWS);
        }
        let counted: usize = rows.of_site[&1].iter().map(|(row, _)| row.bytes()).sum();
        assert_eq!(rows.bytes, counted);
    }
}
