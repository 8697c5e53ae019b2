//! Reports for people and programs: the latest results, and how far each partition is stored.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use jiff::Timestamp;
use postgres::{Client, IsolationLevel};
use serde::Serialize;

use super::error::StoreError;
use super::stored_outcome::StoredOutcome;
use crate::record::Outcome;

/// Hours, at most, that are counted from their results because they are not rolled up yet.
const COUNTED_HOURS: i64 = 48;

/// The newest result of a site and location, and counts over the time asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LatestResult {
    /// The site's key.
    pub site: String,
    /// Its display name.
    pub name: String,
    /// Where it was checked from.
    pub location: String,
    /// Its URL, redacted.
    pub url: String,
    /// The newest instant stored.
    pub scheduled_at: Timestamp,
    /// How that instant ended.
    pub outcome: Outcome,
    /// The status code, if there was one.
    pub http_status: Option<i16>,
    /// Microseconds of the whole check, if it ran to its end.
    pub total_us: Option<i32>,
    /// The class of what went wrong.
    pub error_type: Option<String>,
    /// The reason within the class.
    pub error_detail: Option<String>,
    /// What went wrong, for people.
    pub error_message: Option<String>,
    /// Instants stored.
    pub results: i64,
    /// Of these, successes.
    pub successes: i64,
    /// Of these, failures.
    pub failures: i64,
    /// Of these, missed.
    pub missed: i64,
}

/// How far a topic-partition is stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartitionStatus {
    /// The partition.
    pub partition: i32,
    /// The next offset to store; none before the first claim.
    pub next_offset: Option<i64>,
    /// How often it was claimed.
    pub epoch: i64,
    /// Who holds it, if anybody.
    pub owner: Option<String>,
    /// Whether the holder's lease is still running.
    pub held: bool,
    /// Why it is paused, if it is: then no writer may claim it.
    pub paused: Option<String>,
    /// The last error with it.
    pub last_error: Option<String>,
    /// When it last moved.
    pub updated_at: Timestamp,
}

/// Returns the newest result of each site and location that has results within `age`, ordered by site and location. It
/// counts whole hours as they are rolled up. Of the hours that have changed since, it counts the results themselves,
/// for the newest 48.
///
/// # Errors
/// [`StoreError::Database`].
pub fn latest_results(client: &mut Client, age: Duration) -> Result<Vec<LatestResult>, StoreError> {
    read_latest(client, age).map_err(StoreError::statement("cannot read the latest results"))
}

fn read_latest(client: &mut Client, age: Duration) -> Result<Vec<LatestResult>, postgres::Error> {
    // One snapshot: an hour is either rolled up or marked.
    let mut transaction =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start()?;
    let since: Timestamp = transaction
        .query_one(
            "SELECT date_trunc('hour', clock_timestamp() - $1::bigint * interval '1 second', 'UTC')",
            &[&(age.as_secs() as i64)],
        )?
        .get(0);
    let marked = transaction.query(
        "SELECT DISTINCT hour FROM webmon.rollup_dirty, webmon.retention \
         WHERE hour >= greatest($1::timestamptz, purged_at) ORDER BY hour DESC LIMIT $2",
        &[&since, &COUNTED_HOURS],
    )?;
    let marked: Vec<Timestamp> = marked.iter().map(|row| row.get(0)).collect();

    let mut latest: BTreeMap<(String, String), LatestResult> = BTreeMap::new();
    let mut add = |rows: Vec<postgres::Row>| -> Result<(), postgres::Error> {
        for row in &rows {
            let new = latest_result(row)?;
            match latest.entry((new.site.clone(), new.location.clone())) {
                Entry::Vacant(place) => {
                    place.insert(new);
                }
                Entry::Occupied(mut place) => {
                    let known = place.get_mut();
                    let (mut newer, older) = if new.scheduled_at > known.scheduled_at {
                        (new, &*known)
                    } else {
                        (known.clone(), &new)
                    };
                    newer.results += older.results;
                    newer.successes += older.successes;
                    newer.failures += older.failures;
                    newer.missed += older.missed;
                    *known = newer;
                }
            }
        }
        Ok(())
    };
    add(transaction.query(include_str!("../../sql/queries/report/latest_results.sql"), &[&since, &marked])?)?;
    for hour in &marked {
        let end = hour.checked_add(Duration::from_secs(3_600)).unwrap_or(Timestamp::MAX);
        let sql = include_str!("../../sql/queries/report/latest_results_of_hour.sql");
        add(transaction.query(sql, &[hour, &end])?)?;
    }
    transaction.commit()?;
    Ok(latest.into_values().collect())
}

fn latest_result(row: &postgres::Row) -> Result<LatestResult, postgres::Error> {
    Ok(LatestResult {
        site: row.get("site"),
        name: row.get("name"),
        location: row.get("location"),
        url: row.get("url"),
        scheduled_at: row.get("scheduled_at"),
        outcome: row.try_get::<_, StoredOutcome>("outcome")?.0,
        http_status: row.get("http_status"),
        total_us: row.get("total_us"),
        error_type: row.get("error_type"),
        error_detail: row.get("error_detail"),
        error_message: row.get("error_message"),
        results: row.get("results"),
        successes: row.get("successes"),
        failures: row.get("failures"),
        missed: row.get("missed"),
    })
}

/// Returns how far each partition of `topic` is stored, in order.
///
/// # Errors
/// [`StoreError::Database`].
pub fn partition_status(client: &mut Client, topic: &str) -> Result<Vec<PartitionStatus>, StoreError> {
    let rows = client
        .query(include_str!("../../sql/queries/report/partition_status.sql"), &[&topic])
        .map_err(StoreError::statement("cannot read the partitions' status"))?;
    Ok(rows
        .iter()
        .map(|row| PartitionStatus {
            partition: row.get("partition"),
            next_offset: row.get("next_offset"),
            epoch: row.get("epoch"),
            owner: row.get("owner"),
            held: row.get::<_, Option<bool>>("held").unwrap_or(false),
            paused: row.get("paused"),
            last_error: row.get("last_error"),
            updated_at: row.get("updated_at"),
        })
        .collect())
}

/// Ends the pause of all partitions of `topic`, or of one, so that writers claim them again. Returns how many were
/// paused.
///
/// # Errors
/// [`StoreError::Database`].
pub fn resume(client: &mut Client, topic: &str, partition: Option<i32>) -> Result<u64, StoreError> {
    client
        .execute(
            "UPDATE webmon.partition_offsets SET paused = NULL, updated_at = clock_timestamp() \
             WHERE topic = $1 AND ($2::integer IS NULL OR partition = $2) AND paused IS NOT NULL",
            &[&topic, &partition],
        )
        .map_err(StoreError::statement("cannot resume partitions"))
}
