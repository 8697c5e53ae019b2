//! `[[maintenance]]`: when no requests are made, and of which sites.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::sites::{labels, schedule};
use super::table::Table;
use super::units::SECOND;
use crate::limits::{MAX_LABELS, MAX_MAINTENANCE, MAX_MAINTENANCE_S};
use crate::schedule::Schedule;
use crate::site::{Maintenance, Site};

/// The most tables.
const MAX_WINDOWS: usize = 1_000;
/// The most sites that one table names.
const MAX_NAMED: usize = 10_000;
const LONGEST: Duration = Duration::from_secs(MAX_MAINTENANCE_S as u64);

/// The windows of all files, and the sites that they are for. A table is known by its place among all.
pub(super) struct Selections {
    now: Timestamp,
    windows: Vec<Maintenance>,
    /// The tables that name a site, by its key.
    named: HashMap<String, Vec<usize>>,
    /// The tables with labels, which select the sites that have them all, and the tables for all sites, without any.
    labelled: Vec<(usize, BTreeMap<String, String>)>,
    /// Sites for which the same tables are share their windows.
    shared: HashMap<Vec<usize>, Arc<[Maintenance]>>,
}

impl Selections {
    /// The tables of every file. `keys` are those of all sites, as written, because a site with a fault of its own is not an
    /// unknown site.
    pub(super) fn new(roots: &[Table], keys: &HashSet<String>) -> Selections {
        let tables: Vec<Table> = roots.iter().flat_map(|root| root.tables("maintenance")).collect();
        let mut selections = Selections {
            now: Timestamp::now(),
            windows: Vec::new(),
            named: HashMap::new(),
            labelled: Vec::new(),
            shared: HashMap::new(),
        };
        match roots.first() {
            Some(root) if tables.len() > MAX_WINDOWS => {
                root.fault(format!(
                    "maintenance has {} tables: expected at most {MAX_WINDOWS}",
                    tables.len()
                ));
            }
            _ => tables.iter().for_each(|table| selections.add(table, keys)),
        }
        selections
    }

    fn add(&mut self, table: &Table, keys: &HashSet<String>) {
        let schedule =
            schedule(table, Some("when it begins, as a cron expression"), |expression, timezone| {
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
        let sites: Vec<String> = named.iter().filter_map(|item| item.parse(known)).collect();
        let labels = table.entries("labels", MAX_LABELS).map(labels).unwrap_or_default();
        table.refuse_unknown();
        let (Some(schedule), Some(duration)) = (schedule, duration) else { return };
        let place = self.windows.len();
        self.windows.push(Maintenance::new(schedule, duration));
        if sites.is_empty() || !labels.is_empty() {
            self.labelled.push((place, labels));
        }
        for site in sites {
            self.named.entry(site).or_default().push(place);
        }
    }

    /// Gives `site` its windows.
    pub(super) fn apply(&mut self, site: &mut Site) {
        let mut places = self.named.get(&site.key).cloned().unwrap_or_default();
        let has = |(label, value): (&String, &String)| site.labels.get(label) == Some(value);
        let labelled = self.labelled.iter().filter(|(_, labels)| labels.iter().all(has));
        places.extend(labelled.map(|(place, _)| *place));
        if places.is_empty() {
            return;
        }
        places.sort_unstable();
        places.dedup();
        let windows = self.shared.entry(places).or_insert_with_key(|places| {
            let mut windows: Vec<_> = places.iter().map(|place| self.windows[*place].clone()).collect();
            if windows.len() > MAX_MAINTENANCE {
                // A record says the first ones. Those that are over come last.
                windows.sort_by_cached_key(|windows| windows.is_over(self.now));
            }
            windows.into()
        });
        site.maintenance = Arc::clone(windows);
    }
}
