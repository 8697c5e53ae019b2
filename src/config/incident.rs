//! `incident`: which failures of a site make an incident.

use super::entry::Entry;
use super::table::Table;
use crate::limits::MAX_THRESHOLD;
use crate::site::{Incident, Locations};

pub(super) fn incident(table: &Table) -> Incident {
    let default = Incident::default();
    let threshold = |key, default| table.integer(key, 1, MAX_THRESHOLD).unwrap_or(default);
    let incident = Incident {
        failures: threshold("failures", default.failures),
        recoveries: threshold("recoveries", default.recoveries),
        locations: table.get("locations").and_then(|entry| locations(&entry)).unwrap_or(default.locations),
        min_voters: threshold("min_voters", default.min_voters),
    };
    table.refuse_unknown();
    incident
}

/// A number of locations, or a percentage of them such as `"50%"`.
fn locations(entry: &Entry) -> Option<Locations> {
    let expected = format!("1 to {MAX_THRESHOLD}, or \"1%\" to \"100%\"");
    let percent = entry.value.as_str().and_then(|text| text.trim().strip_suffix('%'));
    let number = match percent {
        Some(percent) => percent.parse::<u16>().ok().map(i128::from),
        None => entry.integer(),
    };
    let Some(number) = number else { return entry.mistyped("a number of locations", &expected) };
    match u16::try_from(number) {
        Ok(number) if (1..=MAX_THRESHOLD).contains(&number) => {
            Some(if percent.is_some() { Locations::Percent(number) } else { Locations::Count(number) })
        }
        _ => entry.out_of_range(&expected),
    }
}
