//! The incidents of a page, and one of them.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use postgres::Client;
use postgres::types::Type;
use schemars::JsonSchema;
use serde::Serialize;

use super::ahead::Ahead;
use super::chosen::Shown;
use super::incidents::{Incident, ShownIncident};
use super::result::ShownResult;
use crate::config::Page;
use crate::database::DatabaseError;

/// How many incidents are listed at once.
const LISTED: i64 = 100;
/// How many results of an incident are listed.
const RESULTS: i64 = 100;
/// What was seen just before an incident and just after it is listed, too.
const AROUND: SignedDuration = SignedDuration::from_mins(10);

/// Incidents, the newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Incidents {
    /// When the sites were read.
    pub at: Timestamp,
    /// Planned maintenance that lasts or begins within 7 days, the earliest first.
    pub ahead: Vec<Ahead>,
    /// At most 100 incidents.
    pub incidents: Vec<ShownIncident>,
    /// Where the earlier ones begin: the value of `before`. None if there are none.
    pub next: Option<String>,
}

/// One incident.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct IncidentPage {
    /// When the sites were read.
    pub at: Timestamp,
    /// The incident.
    pub incident: ShownIncident,
    /// What was seen from shortly before it on, the oldest first. At most 100 results.
    pub results: Vec<ShownResult>,
    /// Whether there are more results.
    pub more: bool,
}

/// Where a page of the list begins: only incidents before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Before {
    /// When it began, in microseconds since 1970.
    pub at_us: i64,
    /// Its number.
    pub incident_id: i64,
}

impl Before {
    /// Reads `1764086400000000-17`.
    pub(super) fn parse(text: &str) -> Option<Before> {
        let (at_us, incident_id) = text.split_once('-')?;
        Some(Before { at_us: at_us.parse().ok()?, incident_id: incident_id.parse().ok()? })
    }
}

/// Reads the incidents of `sites`, and the earliest that is left out.
///
/// # Errors
/// [`DatabaseError::Statement`].
pub(super) fn read(
    client: &mut Client,
    site_ids: &[i32],
    before: Option<Before>,
) -> Result<Vec<(i32, Incident)>, DatabaseError> {
    let fault = DatabaseError::statement("cannot read the incidents");
    let (at, id) = match before {
        Some(before) => {
            (Timestamp::from_microsecond(before.at_us).unwrap_or(Timestamp::UNIX_EPOCH), before.incident_id)
        }
        None => (Timestamp::now() + SignedDuration::from_hours(24 * 365), i64::MAX),
    };
    let rows = client
        .query(include_str!("../../sql/queries/page/incidents.sql"), &[&site_ids, &at, &id, &(LISTED + 1)])
        .map_err(fault)?;
    Ok(rows.iter().map(|row| (row.get("site_id"), Incident::of(row))).collect())
}

impl Incidents {
    /// The list. `sites` are those of the page, by number.
    pub(super) fn new(
        page: &Page,
        sites: &HashMap<i32, Shown<'_>>,
        found: &[(i32, Incident)],
        ahead: Vec<Ahead>,
        at: Timestamp,
    ) -> Incidents {
        let listed = &found[..found.len().min(LISTED as usize)];
        let next = (found.len() > listed.len()).then(|| listed.last()).flatten();
        let shown = |(site_id, incident): &(i32, Incident)| {
            let shown = sites.get(site_id)?;
            Some(ShownIncident::of(page, incident, &shown.id, shown.name, at))
        };
        Incidents {
            at,
            ahead,
            incidents: listed.iter().filter_map(shown).collect(),
            next: next.map(|(_, last)| format!("{}-{}", last.from_at.as_microsecond(), last.incident_id)),
        }
    }
}

/// Reads one incident.
///
/// # Errors
/// [`DatabaseError::Statement`].
pub(super) fn read_one(
    client: &mut Client,
    incident_id: i64,
) -> Result<Option<(i32, Incident)>, DatabaseError> {
    let fault = DatabaseError::statement("cannot read an incident");
    let row = client
        .query_opt(include_str!("../../sql/queries/page/incident.sql"), &[&incident_id])
        .map_err(fault)?;
    Ok(row.map(|row| (row.get("site_id"), Incident::of(&row))))
}

/// Reads what was seen of the site `key` around an incident.
///
/// # Errors
/// [`DatabaseError::Statement`].
pub(super) fn read_results(
    client: &mut Client,
    page: &Page,
    key: &str,
    incident: &Incident,
) -> Result<Vec<ShownResult>, DatabaseError> {
    let fault = DatabaseError::statement("cannot read the results of an incident");
    let from = incident.from_at.saturating_sub(AROUND).unwrap_or(incident.from_at);
    let to = incident.to_at.unwrap_or_else(Timestamp::now);
    let to = to.saturating_add(AROUND).unwrap_or(to);
    let rows = client
        .query_typed(
            include_str!("../../sql/queries/page/incident_results.sql"),
            &[
                (&key, Type::TEXT),
                (&from, Type::TIMESTAMPTZ),
                (&to, Type::TIMESTAMPTZ),
                (&(RESULTS + 1), Type::INT8),
            ],
        )
        .map_err(fault)?;
    Ok(rows.iter().map(|row| ShownResult::of(page, row)).collect())
}

impl IncidentPage {
    /// The page of an incident.
    pub(super) fn new(
        page: &Page,
        shown: &Shown<'_>,
        incident: &Incident,
        mut results: Vec<ShownResult>,
        at: Timestamp,
    ) -> IncidentPage {
        let more = results.len() > RESULTS as usize;
        results.truncate(RESULTS as usize);
        IncidentPage {
            at,
            incident: ShownIncident::of(page, incident, &shown.id, shown.name, at),
            results,
            more,
        }
    }
}
