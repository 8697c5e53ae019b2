//! Locations: where checks are made from, and when a location is retired.

use std::time::Duration;

use jiff::Timestamp;
use postgres::Client;
use serde::Serialize;

use crate::database::in_transaction;
use crate::store::error::StoreError;

/// A location, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// Its name.
    pub name: String,
    /// Sites that were ever checked from there.
    pub sites: i64,
    /// The last hour with a result from there; none before one is rolled up.
    pub last_hour: Option<Timestamp>,
    /// Sites that are down, seen from there.
    pub down: i64,
    /// Since when it is retired; none while it is in use.
    pub retired_at: Option<Timestamp>,
}

/// All locations, by name.
///
/// # Errors
/// [`StoreError::Database`].
pub fn locations(client: &mut Client) -> Result<Vec<Location>, StoreError> {
    let rows = client
        .query(include_str!("../../../sql/queries/history/list_locations.sql"), &[])
        .map_err(StoreError::statement("cannot read the locations"))?;
    let location = |row: &postgres::Row| Location {
        name: row.get("name"),
        sites: row.get("sites"),
        last_hour: row.get("last_hour"),
        down: row.get("down"),
        retired_at: row.get("retired_at"),
    };
    Ok(rows.iter().map(location).collect())
}

/// Retires the location `name`. The outage of each of its sites ends with the site's last hour there, once the next
/// [`roll_up`](super::roll_up) has derived it. A later result from there takes that back. Returns how many sites were
/// not retired there before, or none if there is no such location.
///
/// # Errors
/// [`StoreError::Database`].
pub fn retire_location(client: &mut Client, name: &str) -> Result<Option<u64>, StoreError> {
    in_transaction(client, "cannot retire a location", |transaction| {
        let row = transaction
            .query_one(include_str!("../../../sql/queries/history/retire_location.sql"), &[&name])?;
        Ok((row.get::<_, i64>("locations") > 0).then(|| row.get::<_, i64>("sites") as u64))
    })
    .map_err(StoreError::from)
}

/// Retires each site at each location from which no result came for `silence` after one was due. Time is measured up to
/// the newest hour stored of any site. Returns how many sites are affected.
///
/// # Errors
/// [`StoreError::Database`].
pub fn retire_silent(client: &mut Client, silence: Duration) -> Result<u64, StoreError> {
    in_transaction(client, "cannot retire silent sites", |transaction| {
        transaction.execute(
            include_str!("../../../sql/queries/history/retire_places.sql"),
            &[&(silence.as_secs() as i64)],
        )
    })
    .map_err(StoreError::from)
}
