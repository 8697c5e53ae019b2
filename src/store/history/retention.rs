//! Retention: deletes results a day at a time, once nothing more can be stored in that day and its hours are derived.
//!
//! 1. It raises the floor and commits. An ingest transaction that begins later stores nothing below the floor.
//! 2. It waits until the ingest transactions that were open have ended.
//! 3. It derives the hours that they and others have marked.
//! 4. Only then it declares that the results may be deleted (`purged_at`). From then on their hours stay as they are.
//! 5. Hours follow in the same way, once the days and incidents below are derived (`hours_purged_at`).
//!
//! Each step finds out what is left to do, so the whole may be stopped anywhere and started again.
//!
//! Functions of the schema's owner raise the floor. They bound it by what is stored and refuse what looks like a
//! mistake, because what is below the floor is deleted for good.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use postgres::Client;
use postgres::error::SqlState;
use serde::Serialize;

use super::incidents;
use super::rolled_up::RolledUp;
use super::rollup::{roll_up_before, roll_up_days_before};
use crate::config::Retention;
use crate::database::{AnyTime, in_transaction};
use crate::store::error::StoreError;

/// How often to look whether transactions have ended.
const POLL: Duration = Duration::from_millis(50);
/// Rows that one statement deletes.
const ROWS: i64 = 10_000;
/// The SQLSTATE with which the schema's functions refuse.
const REFUSED: &str = "WM001";

/// What a call of [`retain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Retained {
    /// Days whose results were dropped.
    pub partitions: u64,
    /// Rows of `webmon.site_hours` deleted.
    pub hours: u64,
    /// Rows of `webmon.site_days` deleted.
    pub days: u64,
    /// Whether something was in the way, so that it must be called again: a transaction that writes did not end within
    /// the patience, or others read results, or derived from them, all the time.
    pub again: bool,
}

/// What [`retain`] would delete if it were called now. Days are UTC days; sizes are those of now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RetentionPlan {
    /// Days that results are to be kept, as configured.
    pub results_kept_days: f64,
    /// Days that they were kept so far, which is the policy; none before the first call of [`retain`].
    pub policy_days: Option<f64>,
    /// The first day whose results are stored; none while results of any day are.
    pub floor: Option<Date>,
    /// The first day whose results would be stored after the call.
    pub next_floor: Option<Date>,
    /// The first day whose results are certainly still there. The floor can be lowered to it.
    pub purged: Option<Date>,
    /// Days of results that would be dropped.
    pub partitions: i64,
    /// The results of these days: PostgreSQL's last estimate, or counted if there is none.
    pub results: i64,
    /// The bytes of these days on the disk, indexes included.
    pub bytes: i64,
    /// Rows of `webmon.site_hours` that would be deleted.
    pub hours: i64,
    /// Rows of `webmon.site_days` that would be deleted.
    pub days: i64,
    /// Why [`retain`] would refuse, if it would.
    pub objection: Option<String>,
}

/// Deletes results, hours and days that are older than `retention` says, counted back from the newest result or from
/// the server's clock, whichever is earlier. Waits up to `patience` for transactions that were open when it began.
///
/// # Errors
/// [`StoreError::RetentionRefused`] if results would be kept for less time than so far, or if more than 7 days of them
/// would be deleted at once. Then nothing is deleted; [`apply_retention`] does it nevertheless.
/// [`StoreError::Database`]; what was done before the error stays done.
pub fn retain(
    client: &mut Client,
    retention: &Retention,
    patience: Duration,
) -> Result<Retained, StoreError> {
    let raised = client.execute(
        "SELECT webmon.raise_retention_floor(make_interval(secs => $1))",
        &[&retention.results.as_secs_f64()],
    );
    match raised {
        Ok(_) => let_go(client, retention, patience),
        Err(error) if is_locked(&error) => Ok(Retained { again: true, ..Retained::default() }),
        Err(error) => Err(refused("cannot raise the floor of retention", error)),
    }
}

/// Does what [`retain`] does, however much that deletes, and makes `retention` the policy. Needs the rights of the
/// schema's owner.
///
/// # Errors
/// [`StoreError::Database`]; what was done before the error stays done.
pub fn apply_retention(
    client: &mut Client,
    retention: &Retention,
    patience: Duration,
) -> Result<Retained, StoreError> {
    let kept = retention.results.as_secs_f64();
    client
        .execute(
            "SELECT webmon.set_retention_floor((webmon.plan_retention(kept)).floor_at, kept) \
             FROM make_interval(secs => $1) AS kept",
            &[&kept],
        )
        .map_err(|error| refused("cannot set the floor of retention", error))?;
    let_go(client, retention, patience)
}

/// Lowers the floor to the UTC day `to`, or as far as results are still there. Returns the new floor; none means that
/// any result is stored. The next call of [`retain`] raises it again as far as its `retention` says. Needs the rights
/// of the schema's owner.
///
/// # Errors
/// [`StoreError::RetentionRefused`] if results of that day are gone, or if the floor is already lower;
/// [`StoreError::Database`].
pub fn lower_retention(client: &mut Client, to: Option<Date>) -> Result<Option<Date>, StoreError> {
    let failed = |error| refused("cannot lower the floor of retention", error);
    let lowered = client
        .query_opt(
            "SELECT nullif(webmon.set_retention_floor(coalesce($1::date::timestamp AT TIME ZONE 'UTC', purged_at), NULL), \
                           '-infinity') \
             FROM webmon.retention \
             WHERE $1 IS NULL OR $1::date::timestamp AT TIME ZONE 'UTC' <= floor_at",
            &[&to],
        )
        .map_err(failed)?;
    match lowered {
        Some(row) => Ok(row.get::<_, Option<Timestamp>>(0).map(utc_day)),
        None => Err(StoreError::RetentionRefused("the floor is already lower than that".to_owned())),
    }
}

/// Returns what [`retain`] would do, and changes nothing.
///
/// # Errors
/// [`StoreError::Database`].
pub fn plan_retention(client: &mut Client, retention: &Retention) -> Result<RetentionPlan, StoreError> {
    let failed = || StoreError::statement("cannot plan retention");
    let age = |age: Option<Duration>| age.map(|age| age.as_secs_f64());
    let kept = retention.results.as_secs_f64();
    let row = client
        .query_one(
            include_str!("../../../sql/queries/history/plan_retention.sql"),
            &[&kept, &age(retention.hours), &age(retention.days)],
        )
        .map_err(failed())?;
    let day = |column: &str| row.get::<_, Option<Timestamp>>(column).map(utc_day);
    let mut plan = RetentionPlan {
        results_kept_days: kept / 86_400.0,
        policy_days: row.get::<_, Option<f64>>("policy_s").map(|seconds| seconds / 86_400.0),
        floor: day("floor_at"),
        next_floor: day("next_floor_at"),
        purged: day("purged_at"),
        partitions: row.get("partitions"),
        results: row.get("results"),
        bytes: row.get("bytes"),
        hours: row.get("hours"),
        days: row.get("days"),
        objection: row.get("objection"),
    };
    // One by one, so that few tables are locked at once.
    for table in row.get::<_, Vec<String>>("uncounted") {
        let count = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).map_err(failed())?;
        plan.results += count.get::<_, i64>(0);
    }
    Ok(plan)
}

fn utc_day(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}

fn is_locked(error: &postgres::Error) -> bool {
    error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

fn refused(doing: &'static str, cause: postgres::Error) -> StoreError {
    match cause.as_db_error() {
        Some(error) if error.code().code() == REFUSED => {
            StoreError::RetentionRefused(error.message().to_owned())
        }
        _ => StoreError::statement(doing)(cause),
    }
}

/// Deletes what is below the floor, and old hours and days.
fn let_go(client: &mut Client, retention: &Retention, patience: Duration) -> Result<Retained, StoreError> {
    let failed = || StoreError::statement("cannot read the floor of retention");
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
            return Ok(Retained { again: true, ..done });
        }
        let derived = roll_up_before(client, floor)?;
        if !say_gone(client, "SELECT webmon.purge_results($1)", derived)? {
            return Ok(Retained { again: true, ..done });
        }
    }
    drop_partitions(client, &mut done)?;
    if let Some(age) = retention.hours {
        let_hours_go(client, age, &mut done)?;
    }
    if let Some(age) = retention.days {
        done.days = client
            .execute(
                "DELETE FROM webmon.site_days \
                 USING webmon.retention, webmon.floor_for(make_interval(secs => $1)) AS kept_from \
                 WHERE day < (least(purged_at, kept_from) AT TIME ZONE 'UTC')::date AND kept_from IS NOT NULL",
                &[&age.as_secs_f64()],
            )
            .map_err(StoreError::statement("cannot delete old days"))?;
    }
    client
        .execute("DELETE FROM webmon.rolled_up_hours WHERE hour < $1", &[&floor])
        .map_err(StoreError::statement("cannot delete old hours"))?;
    Ok(done)
}

/// Records that what is before `before` may be deleted. Returns false if a transaction that derives from it does not
/// end.
fn say_gone(client: &mut Client, sql: &str, before: Timestamp) -> Result<bool, StoreError> {
    match client.execute(sql, &[&before]) {
        Ok(_) => Ok(true),
        Err(error) if is_locked(&error) => Ok(false),
        Err(error) => Err(StoreError::statement("cannot record what may be deleted")(error)),
    }
}

/// Reads the floor: results of earlier instants must not be stored. Only a transaction that has already written to
/// `webmon.partition_offsets` or `webmon.ingest_batches` may use it, because [`retain`] waits for such transactions.
pub(crate) const FLOOR: &str = "SELECT nullif(floor_at, '-infinity') FROM webmon.retention";

/// Waits until every transaction that may have read the floor before now has ended.
fn wait_out(client: &mut Client, patience: Duration) -> Result<bool, StoreError> {
    let failed = || StoreError::statement("cannot wait for open transactions");
    let sql = include_str!("../../../sql/queries/history/open_ingests.sql");
    let begun = Instant::now();
    let mut open: Option<Vec<String>> = None;
    loop {
        let row = client.query_one(sql, &[&open]).map_err(failed())?;
        let left: Vec<String> = row.get(0);
        if left.is_empty() || begun.elapsed() >= patience {
            return Ok(left.is_empty());
        }
        open = Some(left);
        std::thread::sleep(POLL);
    }
}

fn drop_partitions(client: &mut Client, done: &mut Retained) -> Result<(), StoreError> {
    let failed = || StoreError::statement("cannot drop the results of a day");
    let days =
        client.query(include_str!("../../../sql/queries/history/days_below.sql"), &[]).map_err(failed())?;
    for day in days.iter().map(|row| row.get::<_, Date>(0)) {
        match client.query_one("SELECT webmon.drop_result_partition($1)", &[&day]) {
            Ok(row) => done.partitions += u64::from(row.get::<_, bool>(0)),
            Err(error) if is_locked(&error) => {
                log::info!(day = day.to_string(); "cannot drop a day of results while they are read: trying again later");
                done.again = true;
                return Ok(());
            }
            Err(error) => return Err(failed()(error)),
        }
    }
    Ok(())
}

/// Deletes hours that are older than `age`, once everything that depends on them is derived.
fn let_hours_go(client: &mut Client, age: Duration, done: &mut Retained) -> Result<(), StoreError> {
    let failed = || StoreError::statement("cannot delete old hours");
    let cut: Option<Timestamp> = client
        .query_one(
            "SELECT CASE WHEN kept_from IS NOT NULL THEN nullif(least(purged_at, kept_from), '-infinity') END \
             FROM webmon.retention, webmon.floor_for(make_interval(secs => $1)) AS kept_from",
            &[&age.as_secs_f64()],
        )
        .map_err(failed())?
        .get(0);
    let Some(cut) = cut else { return Ok(()) };
    roll_up_days_before(client, cut)?;
    incidents::derive(client, u32::MAX, &mut RolledUp::default())?;
    let derived: bool = client
        .query_one(
            "SELECT NOT EXISTS (SELECT FROM webmon.incidents_dirty WHERE from_at < $1) \
                AND NOT EXISTS (SELECT FROM webmon.rollup_dirty_days WHERE day < ($1 AT TIME ZONE 'UTC')::date)",
            &[&cut],
        )
        .map_err(failed())?
        .get(0);
    if !derived || !say_gone(client, "SELECT webmon.purge_hours($1)", cut)? {
        done.again = true;
        return Ok(());
    }
    loop {
        let rows = in_transaction(client, "cannot delete old hours", |transaction| {
            transaction.execute(include_str!("../../../sql/queries/history/delete_hours.sql"), &[&ROWS])
        })?;
        done.hours += rows;
        if rows < ROWS as u64 {
            return Ok(());
        }
    }
}
