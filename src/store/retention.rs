//! Retention: results go by the day, once nothing can be stored in it any more and its hours are derived.
//!
//! The floor is raised first, and committed: from then on no ingest transaction that begins stores anything below it.
//! Those that were open are waited out, the hours that they and others have marked are derived, and only then results
//! may be gone (`purged_at`): their hours stay as they are from then on. Each step finds out what is left to do, so
//! the whole may be stopped anywhere and begun again.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use postgres::Client;
use postgres::error::SqlState;

use super::StoreError;
use super::rollup::{in_transaction, roll_up_before};
use super::time::AnyTime;
use crate::config::Retention;

/// How often is looked whether transactions have ended.
const POLL: Duration = Duration::from_millis(50);
/// Rows of one statement that deletes.
const ROWS: i64 = 10_000;

/// What a call of [`retain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Days whose results were dropped.
    pub partitions: u64,
    /// Rows of `webmon.site_hours` deleted.
    pub hours: u64,
    /// Rows of `webmon.site_days` deleted.
    pub days: u64,
    /// Whether somebody was in the way, and it is to be called again: a transaction that writes did not end within the
    /// patience, or somebody is reading results all the time.
    pub again: bool,
}

/// Lets go of results, hours and days that are older than `retention` says. Waits up to `patience` for transactions
/// that were open when it began.
///
/// # Errors
/// [`StoreError::Database`]; what was done until then is done.
pub fn retain(
    client: &mut Client,
    retention: &Retention,
    patience: Duration,
) -> Result<Retained, StoreError> {
    let failed = || StoreError::database("cannot raise the floor of retention");
    let seconds = retention.results.as_secs() as i64;
    client
        .execute(
            "UPDATE webmon.retention \
             SET floor_at = date_trunc('day', clock_timestamp() - $1::bigint * interval '1 second', 'UTC') \
             WHERE floor_at < date_trunc('day', clock_timestamp() - $1::bigint * interval '1 second', 'UTC')",
            &[&seconds],
        )
        .map_err(failed())?;
    let row = client
        .query_one("SELECT nullif(floor_at, '-infinity'), purged_at < floor_at FROM webmon.retention", &[])
        .map_err(failed())?;
    let mut done = Retained::default();
    let (Some(floor), raised): (Option<AnyTime>, bool) = (row.get(0), row.get(1)) else { return Ok(done) };
    if floor.is_infinite() {
        return Err(StoreError::InfiniteFloor);
    }
    let AnyTime(floor) = floor;
    if raised {
        if !wait_out(client, patience)? {
            done.again = true;
            return Ok(done);
        }
        roll_up_before(client, floor)?;
        // Waits for whoever is deriving an hour from results that are about to go.
        client
            .execute("UPDATE webmon.retention SET purged_at = $1 WHERE purged_at < $1", &[&floor])
            .map_err(failed())?;
    }
    drop_partitions(client, floor, &mut done)?;
    if let Some(age) = retention.hours {
        done.hours = delete_hours(client, age)?;
    }
    if let Some(age) = retention.days {
        done.days = client
            .execute(
                "DELETE FROM webmon.site_days \
                 WHERE day < (clock_timestamp() AT TIME ZONE 'UTC')::date - ($1::bigint / 86400)::integer",
                &[&(age.as_secs() as i64)],
            )
            .map_err(StoreError::database("cannot delete old days"))?;
    }
    client
        .execute("DELETE FROM webmon.rolled_up_hours WHERE hour < $1", &[&floor])
        .map_err(StoreError::database("cannot delete old hours"))?;
    Ok(done)
}

/// Reads the floor: results of earlier instants are not to be stored. Only a transaction that has written before is
/// waited out by [`retain`].
pub(super) const FLOOR: &str = "SELECT nullif(floor_at, '-infinity') FROM webmon.retention";

/// Waits until every transaction has ended that has written, or was given an id, before now.
fn wait_out(client: &mut Client, patience: Duration) -> Result<bool, StoreError> {
    let failed = || StoreError::database("cannot wait for open transactions");
    let next: String = client
        .query_one("SELECT pg_snapshot_xmax(pg_current_snapshot())::text", &[])
        .map_err(failed())?
        .get(0);
    let begun = Instant::now();
    loop {
        let ended: bool = client
            .query_one("SELECT pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8", &[&next])
            .map_err(failed())?
            .get(0);
        if ended || begun.elapsed() >= patience {
            return Ok(ended);
        }
        std::thread::sleep(POLL);
    }
}

fn drop_partitions(client: &mut Client, floor: Timestamp, done: &mut Retained) -> Result<(), StoreError> {
    let failed = || StoreError::database("cannot drop the results of a day");
    let days = client.query(include_str!("../../sql/queries/days_below.sql"), &[&floor]).map_err(failed())?;
    for day in days.iter().map(|row| row.get::<_, Date>(0)) {
        match client.query_one("SELECT webmon.drop_result_partition($1)", &[&day]) {
            Ok(row) => done.partitions += u64::from(row.get::<_, bool>(0)),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                log::info!(day = day.to_string(); "somebody is reading results: dropping a day's later");
                done.again = true;
                return Ok(());
            }
            Err(error) => return Err(failed()(error)),
        }
    }
    Ok(())
}

fn delete_hours(client: &mut Client, age: Duration) -> Result<u64, StoreError> {
    let mut deleted = 0;
    loop {
        let rows = in_transaction(client, "cannot delete old hours", |transaction| {
            transaction.execute(
                include_str!("../../sql/queries/delete_hours.sql"),
                &[&(age.as_secs() as i64), &ROWS],
            )
        })?;
        deleted += rows;
        if rows < ROWS as u64 {
            return Ok(deleted);
        }
    }
}
