//! Incidents: when sites were down, from the failures on end of each hour, never from the results themselves.

use postgres::Client;

use super::StoreError;
use super::rollup::in_transaction;
use crate::config::Incidents;

/// Sites of one transaction.
const SITES: i64 = 200;

/// Makes `thresholds` those of the database, for every program and all incidents, and returns whether they were others.
/// The incidents are derived anew by the next [`roll_up`](super::roll_up).
///
/// # Errors
/// [`StoreError::Database`].
pub fn set_incident_thresholds(client: &mut Client, thresholds: &Incidents) -> Result<bool, StoreError> {
    in_transaction(client, "cannot set the thresholds of incidents", |transaction| {
        let (failures, locations) = (thresholds.failures as i16, thresholds.locations as i16);
        let changed = transaction.execute(
            "UPDATE webmon.incident_thresholds SET failures = $1, locations = $2 \
             WHERE (failures, locations) IS DISTINCT FROM ($1, $2)",
            &[&failures, &locations],
        )?;
        if changed == 1 {
            transaction.execute(
                "INSERT INTO webmon.incidents_dirty (site_id, from_at, to_at) \
                 SELECT DISTINCT site_id, '-infinity'::timestamptz, 'infinity'::timestamptz FROM webmon.failure_runs",
                &[],
            )?;
        }
        Ok(changed == 1)
    })
}

/// Derives the incidents of up to about `limit` sites whose failures have changed. Returns of how many.
pub(super) fn derive(client: &mut Client, limit: u32) -> Result<u64, StoreError> {
    let mut derived = 0;
    while derived < u64::from(limit) {
        let sites = in_transaction(client, "cannot derive incidents", |transaction| {
            // The locks, in order; a site that somebody else is at keeps its marks for the next time.
            let locked =
                transaction.query(include_str!("../../sql/queries/lock_dirty_sites.sql"), &[&SITES])?;
            let locked: Vec<i32> = locked.iter().map(|row| row.get(0)).collect();
            let marks = transaction.query(
                "WITH deleted AS (DELETE FROM webmon.incidents_dirty WHERE site_id = ANY($1) RETURNING *) \
                 SELECT site_id, min(from_at)::text, max(to_at)::text FROM deleted GROUP BY site_id",
                &[&locked],
            )?;
            if marks.is_empty() {
                return Ok(0);
            }
            let sites: Vec<i32> = marks.iter().map(|row| row.get(0)).collect();
            // As texts, for they may be infinite.
            let from: Vec<&str> = marks.iter().map(|row| row.get(1)).collect();
            let to: Vec<&str> = marks.iter().map(|row| row.get(2)).collect();
            transaction
                .execute(include_str!("../../sql/queries/derive_incidents.sql"), &[&sites, &from, &to])?;
            Ok(sites.len() as u64)
        })?;
        if sites == 0 {
            break;
        }
        derived += sites;
    }
    Ok(derived)
}
