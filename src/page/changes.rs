//! What changed in a site's configuration, and when.

use std::collections::BTreeMap;

use jiff::Timestamp;
use postgres::Row;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::config::{Page, Show};

/// A change.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Change {
    /// The first instant at which it was so.
    pub at: Timestamp,
    /// What changed, a line each.
    pub what: Vec<String>,
}

/// The changes between versions, which are the rows of `site_versions.sql`. The oldest version is where it began.
pub(super) fn changes(page: &Page, rows: &[Row]) -> Vec<Change> {
    let versions: Vec<(Timestamp, BTreeMap<&str, String>)> = rows.iter().map(version).collect();
    let mut changes: Vec<Change> = Vec::new();
    for (i, (at, now)) in versions.iter().enumerate() {
        let what = match versions.get(i + 1) {
            Some((_, before)) => difference(page, before, now),
            None => vec!["first checked".to_owned()],
        };
        if !what.is_empty() {
            changes.push(Change { at: *at, what });
        }
    }
    changes
}

fn difference(page: &Page, before: &BTreeMap<&str, String>, now: &BTreeMap<&str, String>) -> Vec<String> {
    let change = |(name, value): (&&str, &String)| {
        let old = before.get(name)?;
        if old == value {
            return None;
        }
        let hidden = match *name {
            "URL" => !page.show.contains(&Show::Url),
            // A public name takes the place of it, and labels may say what is not for everybody.
            "name" | "labels" => true,
            _ => false,
        };
        Some(if hidden { format!("{name} changed") } else { format!("{name}: {value} (before: {old})") })
    };
    now.iter().filter_map(change).collect()
}

fn version(row: &Row) -> (Timestamp, BTreeMap<&'static str, String>) {
    let text = |name| row.get::<_, Option<String>>(name).unwrap_or_else(|| "unknown".to_owned());
    let threshold = |name, default: i16| row.get::<_, Option<i16>>(name).unwrap_or(default);
    let locations = match row.get::<_, Option<i16>>("incident_locations_percent") {
        Some(percent) => format!("{percent} % of the locations"),
        None => format!("{} location(s)", threshold("incident_locations", 1)),
    };
    let incident = format!(
        "{} failures at {locations}, {} to recover, of at least {} location(s)",
        threshold("incident_failures", 2),
        threshold("incident_recoveries", 1),
        threshold("incident_min_voters", 1),
    );
    let budget = row.get::<_, Option<i32>>("time_budget_ms");
    let facts = [
        ("name", text("name")),
        ("URL", text("url")),
        ("method", text("method")),
        ("labels", row.get::<_, Value>("labels").to_string()),
        ("schedule", text("schedule")),
        ("time for a check", budget.map_or_else(|| "unknown".to_owned(), |ms| format!("{ms} ms"))),
        ("incident", incident),
    ];
    (row.get("first_seen_at"), facts.into_iter().collect())
}
