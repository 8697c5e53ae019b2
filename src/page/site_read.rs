//! Reads what a site's page shows beyond what is known of all sites.

use jiff::{SignedDuration, Timestamp};
use postgres::{Client, IsolationLevel, Row};
use serde_json::Value;

use super::changes::{self, Change};
use super::incidents::Incident;
use super::result::ShownResult;
use super::series::{self, Steps};
use super::together::Together;
use crate::config::Page;
use crate::database::DatabaseError;

/// How many incidents are listed.
const INCIDENTS: i64 = 20;
/// How many results are listed.
const RESULTS: i64 = 50;
/// How many versions of the configuration are compared.
const VERSIONS: i64 = 50;
/// How many results are compared over all locations.
const COMPARED: i64 = 3_000;
/// How far back results are compared.
const COMPARED_FOR: SignedDuration = SignedDuration::from_hours(24);
/// How far back hours are read: the heat map has 30 days.
const HOURS_FOR: SignedDuration = SignedDuration::from_hours(31 * 24);
/// How far back days are read.
const DAYS_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Which site, and where to look.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Its number.
    pub site_id: i32,
    /// Its key.
    pub key: String,
    /// When what is known of all sites was read.
    pub at: Timestamp,
    /// The instant of its newest result.
    pub newest_at: Timestamp,
    /// How far back its newest results are looked for.
    pub back: SignedDuration,
}

/// What was read of a site.
pub(super) struct Found {
    /// Its hours.
    pub hours: Steps,
    /// Its days.
    pub days: Steps,
    /// Its newest incidents.
    pub incidents: Vec<Incident>,
    /// Its locations over the same instants.
    pub together: Option<Together>,
    /// The certificate that was seen last.
    pub certificate: Option<Certificate>,
    /// What changed, and when.
    pub changes: Vec<Change>,
    /// Its newest results.
    pub results: Vec<ShownResult>,
}

/// A certificate that a site presented.
pub(super) struct Certificate {
    /// When the first certificate of its chain expires.
    pub expires_at: Option<Timestamp>,
    /// When it was first seen.
    pub first_seen_at: Timestamp,
    /// Who issued it.
    pub issuer: String,
    /// What it is for.
    pub names: Vec<String>,
    /// Its SHA-256.
    pub sha256: String,
}

/// Reads all of it, as it is at one time.
///
/// # Errors
/// [`DatabaseError::Statement`].
pub(super) fn read(client: &mut Client, page: &Page, wanted: &Wanted) -> Result<Found, DatabaseError> {
    let fault = DatabaseError::statement("cannot read a site");
    let transaction =
        client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
    let mut transaction = transaction.start().map_err(fault)?;
    let before = |at: Timestamp, back| at.saturating_sub(back).unwrap_or(Timestamp::UNIX_EPOCH);
    let Wanted { site_id, key, at, newest_at, back } = wanted;
    let first_hour = before(*at, HOURS_FOR);
    let first_day = before(*at, DAYS_FOR).to_zoned(jiff::tz::TimeZone::UTC).date();
    let hours = transaction
        .query(include_str!("../../sql/queries/page/site_hours.sql"), &[site_id, &first_hour])
        .map_err(fault)?;
    let days = transaction
        .query(include_str!("../../sql/queries/page/site_days.sql"), &[site_id, &first_day])
        .map_err(fault)?;
    let incidents = transaction
        .query(include_str!("../../sql/queries/page/site_incidents.sql"), &[site_id, &INCIDENTS])
        .map_err(fault)?;
    // Planned anew each time, so that only the days in question are looked at.
    let together = transaction
        .query_typed(
            include_str!("../../sql/queries/page/site_together.sql"),
            &[
                (site_id, postgres::types::Type::INT4),
                (&before(*newest_at, COMPARED_FOR), postgres::types::Type::TIMESTAMPTZ),
                (&COMPARED, postgres::types::Type::INT8),
            ],
        )
        .map_err(fault)?;
    let results = transaction
        .query_typed(
            include_str!("../../sql/queries/page/site_results.sql"),
            &[
                (key, postgres::types::Type::TEXT),
                (&before(*newest_at, *back), postgres::types::Type::TIMESTAMPTZ),
                (&RESULTS, postgres::types::Type::INT8),
            ],
        )
        .map_err(fault)?;
    let versions = transaction
        .query(include_str!("../../sql/queries/page/site_versions.sql"), &[key, &VERSIONS])
        .map_err(fault)?;
    let certificates = transaction
        .query(include_str!("../../sql/queries/page/site_certificates.sql"), &[key, &1_i64])
        .map_err(fault)?;
    transaction.commit().map_err(fault)?;
    Ok(Found {
        hours: series::steps(&hours),
        days: series::steps(&days),
        incidents: incidents.iter().map(Incident::of).collect(),
        together: Together::of(&together),
        certificate: certificates.first().map(certificate),
        changes: changes::changes(page, &versions),
        results: results.iter().map(|row| ShownResult::of(page, row)).collect(),
    })
}

fn certificate(row: &Row) -> Certificate {
    let names = match row.get::<_, Value>("subject_names") {
        Value::Array(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let (own, chain): (Option<Timestamp>, Option<Timestamp>) =
        (row.get("not_after"), row.get("chain_not_after"));
    Certificate {
        expires_at: [own, chain].into_iter().flatten().min(),
        first_seen_at: row.get("first_seen_at"),
        issuer: row.get("issuer"),
        names,
        sha256: row.get("sha256"),
    }
}
