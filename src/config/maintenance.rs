//! `[[maintenance]]`: when no requests are made, and for which sites.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;

use super::sites::{labels, schedule};
use super::table::Table;
use super::units::SECOND;
use crate::limits::MAX_LABELS;
use crate::schedule::Schedule;
use crate::site::Maintenance;

/// The most tables.
const MAX_WINDOWS: usize = 1_000;
/// The most sites that one table names.
const MAX_NAMED: usize = 10_000;
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// The windows of every file. `keys` are those of all sites, as written, because a site with a fault of its own is not an
/// unknown site.
pub(super) fn maintenance(roots: &[Table], keys: &HashSet<String>) -> Vec<Maintenance> {
    let tables: Vec<Table> = roots.iter().flat_map(|root| root.tables("maintenance")).collect();
    match roots.first() {
        Some(root) if tables.len() > MAX_WINDOWS => {
            root.fault(format!("maintenance has {} tables: expected at most {MAX_WINDOWS}", tables.len()));
            Vec::new()
        }
        _ => tables.iter().filter_map(|table| window(table, keys)).collect(),
    }
}

fn window(table: &Table, keys: &HashSet<String>) -> Option<Maintenance> {
    let schedule = schedule(table, Some("when it begins, as a cron expression"), |expression, timezone| {
        // A window that is over is no fault.
        Schedule::new_at(expression, timezone, Timestamp::UNIX_EPOCH)
    });
    if table.get("duration").is_none() {
        table.missing("duration", "how long it lasts, such as \"2h\"");
    }
    let duration = table.duration("duration", SECOND, LONGEST);
    let named = table.list("sites", 1, MAX_NAMED).unwrap_or_default();
    let known = |key: &str| {
        if keys.contains(key) { Ok(key.to_owned()) } else { Err(format!("{key:?} is not a site's key")) }
    };
    let sites = named.iter().filter_map(|item| item.parse(known)).collect();
    let labels = table.entries("labels", MAX_LABELS).map(labels).unwrap_or_default();
    table.refuse_unknown();
    Some(Maintenance { schedule: schedule?, duration: duration?, sites, labels })
}
