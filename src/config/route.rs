//! `[[route]]`: who is told of which alerts, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::alert_kind::{AlertKind, Severity};
use super::sites::{labels, schedule};
use super::table::Table;
use super::units::{DAY, HOUR, MINUTE, SECOND};
use crate::limits::{MAX_LABELS, MAX_TEXT};
use crate::schedule::Schedule;
use crate::site::Maintenance;

/// The most routes.
const MAX_ROUTES: usize = 1_000;
/// The most sites that one route names.
const MAX_NAMED: usize = 10_000;

/// Sites by key or label: those that are named, and those that have all the labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Keys of sites.
    pub sites: BTreeSet<String>,
    /// Labels that a site must all have.
    pub labels: BTreeMap<String, String>,
}

impl Selection {
    /// Whether it selects nothing.
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty() && self.labels.is_empty()
    }

    /// Whether it selects the site with this key and these labels.
    pub fn contains(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.sites.contains(key)
            || (!self.labels.is_empty()
                && self.labels.iter().all(|(label, value)| labels.get(label) == Some(value)))
    }
}

/// `[[route]]`: who is told of which alerts, and when. Of the routes to one receiver the first that matches an alert
/// counts.
#[derive(Clone, Debug)]
pub struct Route {
    /// The receiver's name.
    pub receiver: String,
    /// The sites. If it is empty, all sites, and webmon itself.
    pub of: Selection,
    /// The kinds. Default: all but `advisory` and `degraded`.
    pub kinds: BTreeSet<AlertKind>,
    /// Only alerts at least so grave. Default `info`.
    pub severity: Severity,
    /// How long the first alert waits for others, so that they become one message. 0 s to 1 h, default 10 s.
    pub group_wait: Duration,
    /// After how long an alert that still fires is told again. 1 min to 30 days, default never.
    pub repeat: Option<Duration>,
    /// While one of these sites is down, alerts that begin wait. Default: none.
    pub depends_on: Selection,
    /// Only within these hours. What happens at other times waits for them. Default: always.
    pub hours: Option<Maintenance>,
    /// Whether ends are told too. Default true.
    pub resolved: bool,
}

impl Route {
    /// A route to `receiver` with the defaults.
    pub fn new(receiver: impl Into<String>) -> Route {
        let quiet = [AlertKind::Advisory, AlertKind::Degraded];
        Route {
            receiver: receiver.into(),
            of: Selection::default(),
            kinds: AlertKind::ALL.into_iter().filter(|kind| !quiet.contains(kind)).collect(),
            severity: Severity::Info,
            group_wait: SECOND * 10,
            repeat: None,
            depends_on: Selection::default(),
            hours: None,
            resolved: true,
        }
    }
}

/// The routes of the main file. They may lead to every receiver that is written there: one with a fault of its own is not
/// an unknown one.
pub(super) fn routes(root: &Table) -> Vec<Route> {
    let name = |table: &Table| Some(table.raw().get("name")?.as_str()?.to_owned());
    let receivers: BTreeSet<String> = root.tables("receiver").iter().filter_map(name).collect();
    let tables = root.tables("route");
    if tables.len() > MAX_ROUTES {
        root.fault(format!("route has {} tables: expected at most {MAX_ROUTES}", tables.len()));
        return Vec::new();
    }
    tables.iter().filter_map(|table| route(table, &receivers)).collect()
}

fn route(table: &Table, receivers: &BTreeSet<String>) -> Option<Route> {
    let receiver = match table.get("receiver") {
        Some(entry) => entry.text(MAX_TEXT).and_then(|name| match receivers.contains(&name) {
            true => Some(name),
            false => entry.refuse(format_args!("{name:?} is not a receiver's name")),
        }),
        None => {
            table.missing("receiver", "the name of a receiver");
            None
        }
    };
    let default = Route::new(receiver.as_deref().unwrap_or_default());
    let kinds = table.texts("kinds", 1, AlertKind::ALL.len());
    let kinds = kinds.map(|items| items.iter().filter_map(|item| item.parse(str::parse)).collect());
    let severity = table.texts("severity", 1, 1);
    let route = Route {
        of: selection(table),
        kinds: kinds.unwrap_or(default.kinds),
        severity: severity.and_then(|items| items.first()?.parse(str::parse)).unwrap_or(default.severity),
        group_wait: table.duration("group_wait", Duration::ZERO, HOUR).unwrap_or(default.group_wait),
        repeat: table.duration("repeat", MINUTE, DAY * 30),
        depends_on: table.table("depends_on").map_or_else(Selection::default, |table| {
            let selection = selection(&table);
            if selection.is_empty() {
                table.fault("has neither sites nor labels: expected one of them".to_owned());
            }
            table.refuse_unknown();
            selection
        }),
        hours: table.table("hours").and_then(|table| hours(&table)),
        resolved: table.bool("resolved").unwrap_or(default.resolved),
        receiver: default.receiver,
    };
    table.refuse_unknown();
    receiver.map(|_| route)
}

/// The keys are not compared with those of the sites: the storing side need not know the sites.
pub(super) fn selection(table: &Table) -> Selection {
    let key = |key: &str| Ok::<String, String>(key.to_owned());
    let named = table.list("sites", 1, MAX_NAMED).unwrap_or_default();
    let wanted = table.entries("labels", MAX_LABELS);
    if wanted.as_ref().is_some_and(Vec::is_empty) {
        // It would select everything.
        let _: Option<()> = table
            .get("labels")
            .and_then(|entry| entry.refuse(format_args!("has 0 entries: expected 1 to {MAX_LABELS}")));
    }
    Selection {
        sites: named.iter().filter_map(|item| item.parse(key)).collect(),
        labels: wanted.map(labels).unwrap_or_default(),
    }
}

fn hours(table: &Table) -> Option<Maintenance> {
    let schedule = schedule(table, Some("when they begin, as a cron expression"), |expression, timezone| {
        Schedule::new_at(expression, timezone, Timestamp::UNIX_EPOCH)
    });
    if table.get("duration").is_none() {
        table.missing("duration", "how long they last, such as \"8h\"");
    }
    let duration = table.duration("duration", MINUTE, DAY * 7);
    if schedule.as_ref().is_some_and(|schedule| schedule.next_after(Timestamp::now()).is_none()) {
        table
            .fault("has a schedule that never comes again: what waits for it would wait for ever".to_owned());
    }
    table.refuse_unknown();
    Some(Maintenance::new(schedule?, duration?))
}
