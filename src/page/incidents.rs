//! Incidents: when sites were down.

use jiff::{SignedDuration, Timestamp};
use postgres::Row;
use schemars::JsonSchema;
use serde::Serialize;

use super::chosen::{self, ShownReason};
use super::overview::Reason;
use crate::config::Page;

/// A row of the incidents.
#[derive(Clone, Debug)]
pub(super) struct Incident {
    /// Its number.
    pub incident_id: i64,
    /// When it began.
    pub from_at: Timestamp,
    /// When it ended. None while it lasts.
    pub to_at: Option<Timestamp>,
    /// Why.
    pub reason: Reason,
    /// The failures of all locations that were down.
    pub failures: i64,
    /// How many locations were down.
    pub locations: i16,
}

impl Incident {
    /// Reads a row.
    pub(super) fn of(row: &Row) -> Incident {
        Incident {
            incident_id: row.get("incident_id"),
            from_at: row.get("from_at"),
            to_at: row.get("to_at"),
            reason: Reason { error_type: row.get("error_type"), detail: row.get("error_detail") },
            failures: row.get("failures"),
            locations: row.get("locations"),
        }
    }
}

/// An incident, as far as a page shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct ShownIncident {
    /// Its number, which stays the same as long as it begins at the same instant.
    pub incident_id: i64,
    /// What the site is called in addresses.
    pub site_id: String,
    /// The site's name.
    pub site: String,
    /// When it began.
    pub from_at: Timestamp,
    /// When it ended. None while it lasts.
    pub to_at: Option<Timestamp>,
    /// How long it lasted, or has lasted until now, in seconds.
    pub lasted_s: i64,
    /// Why.
    pub reason: ShownReason,
    /// The failures of all locations that were down.
    pub failures: i64,
    /// How many locations were down.
    pub locations: i16,
}

impl ShownIncident {
    /// What `page` shows of an incident of the site that it calls `id` and `name`.
    pub(super) fn of(
        page: &Page,
        incident: &Incident,
        id: &str,
        name: &str,
        now: Timestamp,
    ) -> ShownIncident {
        let to = incident.to_at.unwrap_or(now);
        ShownIncident {
            incident_id: incident.incident_id,
            site_id: id.to_owned(),
            site: name.to_owned(),
            from_at: incident.from_at,
            to_at: incident.to_at,
            lasted_s: to.duration_since(incident.from_at).max(SignedDuration::ZERO).as_secs(),
            reason: chosen::reason(page, &incident.reason),
            failures: incident.failures,
            locations: incident.locations,
        }
    }
}
