//! Planned maintenance that is now or comes soon.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use super::chosen::Shown;
use crate::site::Maintenance;

/// How far ahead it is announced.
const AHEAD: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The most stretches that are announced.
const MAX_STRETCHES: usize = 50;
/// The most sites that are named for each.
const MAX_NAMES: usize = 20;

/// Planned maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Ahead {
    /// When it begins.
    pub from_at: Timestamp,
    /// When it ends.
    pub to_at: Timestamp,
    /// The names of the sites. At most 20.
    pub sites: Vec<String>,
    /// How many more sites there are.
    pub more: usize,
}

/// What is planned for `sites` within a week, the earliest first.
pub(super) fn ahead(sites: &[Shown<'_>], now: Timestamp) -> Vec<Ahead> {
    let mut stretches: BTreeMap<(Timestamp, Timestamp), Vec<&str>> = BTreeMap::new();
    let last = now.saturating_add(AHEAD).unwrap_or(now);
    for shown in sites.iter().filter(|shown| !shown.site.facts.maintenance.is_empty()) {
        match Maintenance::now_or_next(&shown.site.facts.maintenance, now) {
            Some(stretch) if stretch.start <= last => {
                stretches.entry((stretch.start, stretch.end)).or_default().push(shown.name);
            }
            _ => {}
        }
    }
    let announced = stretches.into_iter().take(MAX_STRETCHES);
    announced
        .map(|((from_at, to_at), names)| Ahead {
            from_at,
            to_at,
            more: names.len().saturating_sub(MAX_NAMES),
            sites: names.into_iter().take(MAX_NAMES).map(str::to_owned).collect(),
        })
        .collect()
}
