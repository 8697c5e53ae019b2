//! Incidents: when sites were down. They are derived from each hour's runs of consecutive failures, never from the
//! results themselves.

use postgres::{Client, Transaction};

use super::rolled_up::RolledUp;
use super::set_aside::{self, What};
use crate::database::in_transaction;
use crate::store::error::StoreError;

/// Sites per transaction.
const SITES: i64 = 200;

/// Derives the incidents of up to about `limit` sites whose failures, or whose thresholds, have changed.
pub(crate) fn derive(client: &mut Client, limit: u32, done: &mut RolledUp) -> Result<(), StoreError> {
    let until = done.sites + u64::from(limit);
    while done.sites < until {
        if derive_some(client, None, done)? == 0 {
            break;
        }
    }
    Ok(())
}

/// Derives the incidents of some of `sites`, or of any sites. If that fails, it halves them until the site at fault is
/// found and set aside. Returns how many sites it looked at.
fn derive_some(client: &mut Client, sites: Option<&[i32]>, done: &mut RolledUp) -> Result<usize, StoreError> {
    let waiting = set_aside::waiting(client, What::Incidents)?;
    // The sites whose incidents were about to be derived when it failed.
    let mut locked: Vec<(i32, String)> = Vec::new();
    let derived = in_transaction(client, "cannot derive incidents", |transaction| {
        // Takes the locks in order. A site that another process has locked keeps its marks for the next time.
        let sql = include_str!("../../../sql/queries/history/lock_dirty_sites.sql");
        let rows = transaction.query(sql, &[&SITES, &waiting, &sites])?;
        locked = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        derive_locked(transaction, &locked)
    })
    .map_err(StoreError::from);
    let error = match derived {
        Ok(derived) => {
            done.sites += derived;
            return Ok(derived as usize);
        }
        Err(error) if locked.is_empty() => return Err(error),
        Err(error) => error,
    };
    if let [(_, key)] = &locked[..] {
        set_aside::put(client, What::Incidents, key, error)?;
        done.set_aside += 1;
        return Ok(1);
    }
    if !set_aside::is_its_own(&error) {
        return Err(error);
    }
    let sites: Vec<i32> = locked.iter().map(|(site, _)| *site).collect();
    let (left, right) = sites.split_at(sites.len() / 2);
    for half in [left, right] {
        derive_some(client, Some(half), done)?;
    }
    Ok(sites.len())
}

/// Derives the incidents of locked sites, and returns for how many it did.
fn derive_locked(
    transaction: &mut Transaction<'_>,
    locked: &[(i32, String)],
) -> Result<u64, postgres::Error> {
    let ids: Vec<i32> = locked.iter().map(|(site, _)| *site).collect();
    let keys: Vec<&str> = locked.iter().map(|(_, key)| key.as_str()).collect();
    let marks = transaction.query(
        "WITH deleted AS (DELETE FROM webmon.incidents_dirty WHERE site_id = ANY($1) RETURNING *) \
         SELECT site_id, min(from_at)::text, max(to_at)::text FROM deleted GROUP BY site_id",
        &[&ids],
    )?;
    if marks.is_empty() {
        return Ok(0);
    }
    let adopted =
        transaction.query(include_str!("../../../sql/queries/history/adopt_thresholds.sql"), &[&ids])?;
    let adopted: Vec<i32> = adopted.iter().map(|row| row.get(0)).collect();
    let sites: Vec<i32> = marks.iter().map(|row| row.get(0)).collect();
    // As texts, because they may be infinite. When the thresholds of a site change, all its incidents change.
    let mark = |place: usize, whole: &'static str| {
        let of_site =
            |row| if adopted.contains(&postgres::Row::get(row, 0)) { whole } else { row.get(place) };
        marks.iter().map(of_site).collect::<Vec<&str>>()
    };
    let (from, to) = (mark(1, "-infinity"), mark(2, "infinity"));
    transaction
        .execute(include_str!("../../../sql/queries/history/derive_incidents.sql"), &[&sites, &from, &to])?;
    set_aside::forget(transaction, What::Incidents, &keys)?;
    Ok(sites.len() as u64)
}
