//! What people and programs ask of the database about the storing side.

use std::time::Duration;

use jiff::Timestamp;
use postgres::Client;
use serde::Serialize;

use super::StoreError;
use crate::result::Outcome;

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
    /// The status code, where there was one.
    pub http_status: Option<i16>,
    /// Microseconds of the whole check, where it ran to its end.
    pub total_us: Option<i32>,
    /// The class of what went wrong.
    pub error_type: Option<String>,
    /// The reason within the class.
    pub error_detail: Option<String>,
    /// For people.
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
    /// Why nobody may claim it.
    pub paused: Option<String>,
    /// The last trouble with it.
    pub last_error: Option<String>,
    /// When it last moved.
    pub updated_at: Timestamp,
}

/// The newest result of each site and location within `age` (whole seconds), by site and location.
///
/// # Errors
/// [`StoreError::Database`].
pub fn latest_results(client: &mut Client, age: Duration) -> Result<Vec<LatestResult>, StoreError> {
    let rows = client
        .query(include_str!("../../sql/queries/latest_results.sql"), &[&(age.as_secs() as i64)])
        .map_err(StoreError::database("cannot read the latest results"))?;
    Ok(rows
        .iter()
        .map(|row| LatestResult {
            site: row.get("site"),
            name: row.get("name"),
            location: row.get("location"),
            url: row.get("url"),
            scheduled_at: row.get("scheduled_at"),
            outcome: match row.get("outcome") {
                "success" => Outcome::Success,
                "failure" => Outcome::Failure,
                _ => Outcome::Missed,
            },
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
        .collect())
}

/// How far each partition of `topic` is stored, in order.
///
/// # Errors
/// [`StoreError::Database`].
pub fn partition_status(client: &mut Client, topic: &str) -> Result<Vec<PartitionStatus>, StoreError> {
    let rows = client
        .query(include_str!("../../sql/queries/partition_status.sql"), &[&topic])
        .map_err(StoreError::database("cannot read the partitions' status"))?;
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

/// Lets writers claim paused partitions of `topic` again: all, or one. Returns how many were paused.
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
        .map_err(StoreError::database("cannot resume partitions"))
}
