//! Hours, days and incidents that could not be derived because of their own data. They are set aside, so that
//! everything else goes on, and tried again later.

use jiff::Timestamp;
use postgres::{Client, Transaction};
use serde::Serialize;

use crate::limits::MAX_MESSAGE;
use crate::store::error::StoreError;
use crate::text::truncated;

/// Rows that [`set_aside`] returns at most.
const MAX_LISTED: i64 = 1_000;

/// What is derived, and may be set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Hour,
    Day,
    Incidents,
}

impl What {
    fn as_str(self) -> &'static str {
        match self {
            What::Hour => "hour",
            What::Day => "day",
            What::Incidents => "incidents",
        }
    }
}

/// An hour, a day or a site's incidents that could not be derived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// `hour`, `day` or `incidents`.
    pub what: String,
    /// The hour, the day, or the site's key.
    pub which: String,
    /// When it failed last.
    pub failed_at: Timestamp,
    /// The earliest time at which it is tried again.
    pub again_at: Timestamp,
    /// How often it has failed.
    pub attempts: i32,
    /// What was wrong.
    pub error: String,
}

/// Returns what is set aside, the oldest failures first, at most 1,000.
///
/// # Errors
/// [`StoreError::Database`].
pub fn set_aside(client: &mut Client) -> Result<Vec<SetAside>, StoreError> {
    let sql = "SELECT what, which, failed_at, again_at, attempts, error FROM webmon.set_aside \
               ORDER BY failed_at, what, which LIMIT $1";
    let rows =
        client.query(sql, &[&MAX_LISTED]).map_err(StoreError::statement("cannot read what is set aside"))?;
    let set_aside = |row: &postgres::Row| SetAside {
        what: row.get("what"),
        which: row.get("which"),
        failed_at: row.get("failed_at"),
        again_at: row.get("again_at"),
        attempts: row.get("attempts"),
        error: row.get("error"),
    };
    Ok(rows.iter().map(set_aside).collect())
}

/// Which of `what` are not to be tried again yet.
pub(crate) fn waiting(client: &mut Client, what: What) -> Result<Vec<String>, StoreError> {
    // One that failed in the future failed before the clock was set back.
    let sql = "SELECT which FROM webmon.set_aside \
               WHERE what = $1 AND clock_timestamp() < again_at AND clock_timestamp() >= failed_at";
    let rows = client
        .query(sql, &[&what.as_str()])
        .map_err(StoreError::statement("cannot read what is set aside"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Sets `which` aside if `error` is due to its own data; returns the error if it is not.
pub(crate) fn put(client: &mut Client, what: What, which: &str, error: StoreError) -> Result<(), StoreError> {
    if !is_its_own(&error) {
        return Err(error);
    }
    let text = truncated(&error.to_string(), MAX_MESSAGE);
    log::error!(what = what.as_str(), which, error = text; "cannot derive this, so it is set aside: the rest goes on");
    client
        .execute(include_str!("../../../sql/queries/history/set_aside.sql"), &[&what.as_str(), &which, &text])
        .map(drop)
        .map_err(StoreError::statement("cannot set aside what could not be derived"))
}

/// Deletes the notes about `which`. Call it in the transaction that derives them.
pub(crate) fn forget(
    transaction: &mut Transaction<'_>,
    what: What,
    which: &[&str],
) -> Result<u64, postgres::Error> {
    let sql = "DELETE FROM webmon.set_aside WHERE what = $1 AND which = ANY($2)";
    transaction.execute(sql, &[&what.as_str(), &which])
}

/// Whether the error may be due to what was derived, so that others may succeed. It is if the server has answered and
/// goes on, and the error is not about the connection (class 08), a read-only server (25), the login (28), rights or
/// the schema (42), missing resources (53), an operator (57) or the disk (58).
pub(crate) fn is_its_own(error: &StoreError) -> bool {
    use postgres::error::Severity;
    let StoreError::Database(error) = error else { return false };
    error.of_server().is_some_and(|db| {
        !matches!(db.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
            && !["08", "25", "28", "42", "53", "57", "58"].contains(&&db.code().code()[..2])
    })
}
