//! Hours and days: results summed up for each site and location.
//!
//! The same steps derive an hour, a day and a site's incidents: lock it, delete its marks, and then derive the whole of
//! it in a later statement, which has a newer snapshot. A writer that commits in between leaves its mark for the next
//! time. The lock covers one hour, so several processes may work at once.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use postgres::Client;

use super::incidents;
use super::rolled_up::{RollUpLimits, RolledUp};
use super::set_aside::{self, What};
use crate::database::in_transaction;
use crate::store::error::StoreError;

/// The advisory lock that keeps two derivations of one day apart. Any number will do, as long as nobody else uses it.
const DAY_LOCK: i32 = 0x7764_6179;
const HOUR: Duration = Duration::from_secs(3_600);

/// Derives what has changed: hours, then incidents, then days, the newest first. Any number of callers may run at once,
/// and each may be stopped at any time. What fails because of its own data is set aside: the rest goes on, and it is
/// tried again later.
///
/// # Errors
/// [`StoreError::Database`]; what was done before the error stays done.
pub fn roll_up(client: &mut Client, limits: &RollUpLimits) -> Result<RolledUp, StoreError> {
    let hours = dirty_hours(client, limits.hours, limits.pause, None)?;
    let mut done = RolledUp { more: hours.len() >= limits.hours as usize, ..RolledUp::default() };
    for hour in hours {
        match roll_up_hour(client, hour) {
            Ok(derived) => done.hours += u64::from(derived),
            Err(error) => {
                set_aside::put(client, What::Hour, &hour.to_string(), error)?;
                done.set_aside += 1;
            }
        }
    }
    incidents::derive(client, limits.sites, &mut done)?;
    let days = dirty_days(client, limits.days, None)?;
    done.more |= done.sites >= u64::from(limits.sites) || days.len() >= limits.days as usize;
    for day in days {
        match roll_up_day(client, day) {
            Ok(derived) => done.days += u64::from(derived),
            Err(error) => {
                set_aside::put(client, What::Day, &day.to_string(), error)?;
                done.set_aside += 1;
            }
        }
    }
    Ok(done)
}

/// Derives every marked hour before `floor`. Returns up to where everything is derived: `floor`, or the first hour that
/// is set aside.
pub(crate) fn roll_up_before(client: &mut Client, floor: Timestamp) -> Result<Timestamp, StoreError> {
    loop {
        let hours = dirty_hours(client, RollUpLimits::default().hours, Duration::ZERO, Some(floor))?;
        if hours.is_empty() {
            break;
        }
        for hour in hours {
            if let Err(error) = roll_up_hour(client, hour) {
                set_aside::put(client, What::Hour, &hour.to_string(), error)?;
            }
        }
    }
    client
        .query_one("SELECT least($1, min(hour)) FROM webmon.rollup_dirty", &[&floor])
        .map(|row| row.get(0))
        .map_err(StoreError::statement("cannot look for changed hours"))
}

/// Derives every marked day before the day of `before`, except those that are set aside.
pub(crate) fn roll_up_days_before(client: &mut Client, before: Timestamp) -> Result<(), StoreError> {
    loop {
        let days = dirty_days(client, RollUpLimits::default().days, Some(before))?;
        if days.is_empty() {
            return Ok(());
        }
        for day in days {
            if let Err(error) = roll_up_day(client, day) {
                set_aside::put(client, What::Day, &day.to_string(), error)?;
            }
        }
    }
}

/// Returns marked hours that were not rolled up within `pause`, the newest first.
fn dirty_hours(
    client: &mut Client,
    limit: u32,
    pause: Duration,
    before: Option<Timestamp>,
) -> Result<Vec<Timestamp>, StoreError> {
    let waiting = set_aside::waiting(client, What::Hour)?;
    let rows = client
        .query(
            include_str!("../../../sql/queries/history/dirty_hours.sql"),
            &[&i64::from(limit), &(pause.as_millis() as f64), &before, &waiting],
        )
        .map_err(StoreError::statement("cannot look for changed hours"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn dirty_days(client: &mut Client, limit: u32, before: Option<Timestamp>) -> Result<Vec<Date>, StoreError> {
    let waiting = set_aside::waiting(client, What::Day)?;
    let rows = client
        .query(
            "SELECT DISTINCT day FROM webmon.rollup_dirty_days \
             WHERE to_char(day, 'YYYY-MM-DD') <> ALL($2::text[]) \
               AND ($3::timestamptz IS NULL OR day < ($3 AT TIME ZONE 'UTC')::date) \
             ORDER BY day DESC LIMIT $1",
            &[&i64::from(limit), &waiting, &before],
        )
        .map_err(StoreError::statement("cannot look for changed days"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Derives one hour. Returns whether there was anything to do.
fn roll_up_hour(client: &mut Client, hour: Timestamp) -> Result<bool, StoreError> {
    in_transaction(client, "cannot roll up an hour", |transaction| {
        // Takes the lock. A process that waits for it sees what the holder did, because each statement has its own
        // snapshot. (Deleting marks that another process is deleting waits as well.)
        transaction.execute(
            "INSERT INTO webmon.rolled_up_hours (hour, rolled_up_at) VALUES ($1, clock_timestamp()) \
             ON CONFLICT (hour) DO UPDATE SET rolled_up_at = excluded.rolled_up_at",
            &[&hour],
        )?;
        // This lock is held until the end, so that the results are there until then.
        let purged: bool =
            transaction.query_one("SELECT $1 < purged_at FROM webmon.retention FOR SHARE", &[&hour])?.get(0);
        let marks = transaction.execute("DELETE FROM webmon.rollup_dirty WHERE hour = $1", &[&hour])?;
        if marks == 0 || purged {
            return Ok(false);
        }
        let end = hour.checked_add(HOUR).unwrap_or(Timestamp::MAX);
        transaction.execute(include_str!("../../../sql/queries/history/roll_up_hour.sql"), &[&hour, &end])?;
        transaction
            .execute(include_str!("../../../sql/queries/history/find_failure_runs.sql"), &[&hour, &end])?;
        set_aside::forget(transaction, What::Hour, &[&hour.to_string()])?;
        transaction.execute(
            "INSERT INTO webmon.rollup_dirty_days (day) VALUES (($1::timestamptz AT TIME ZONE 'UTC')::date)",
            &[&hour],
        )?;
        Ok(true)
    })
    .map_err(StoreError::from)
}

fn roll_up_day(client: &mut Client, day: Date) -> Result<bool, StoreError> {
    in_transaction(client, "cannot roll up a day", |transaction| {
        transaction
            .execute("SELECT pg_advisory_xact_lock($1, $2::date - '1970-01-01'::date)", &[&DAY_LOCK, &day])?;
        // This lock is held until the end, so that the hours are there until then.
        let purged: bool = transaction
            .query_one(
                "SELECT $1::date::timestamp AT TIME ZONE 'UTC' < hours_purged_at FROM webmon.retention FOR SHARE",
                &[&day],
            )?
            .get(0);
        let marks = transaction.execute("DELETE FROM webmon.rollup_dirty_days WHERE day = $1", &[&day])?;
        if marks == 0 || purged {
            return Ok(false);
        }
        transaction.execute(include_str!("../../../sql/queries/history/roll_up_day.sql"), &[&day])?;
        set_aside::forget(transaction, What::Day, &[&day.to_string()])?;
        Ok(true)
    })
    .map_err(StoreError::from)
}
