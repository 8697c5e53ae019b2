//! The front page: what all sites are now, and how their last days were.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ahead::{self, Ahead};
use super::chosen::{self, Shown, ShownReason};
use super::day::{DAYS, Day, Shares};
use super::hours::Recent;
use super::overview::Overview;
use super::state::State;
use super::words;
use crate::config::Page;

/// The most sites on one page of the list.
pub(super) const PAGE_SITES: usize = 100;
/// The most sites that are listed as wrong.
const MAX_WRONG: usize = 50;

/// What somebody looks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    /// A part of the name, in any case.
    pub q: String,
    /// The name of a group.
    pub group: String,
    /// The word of a [`State`], or nothing.
    pub state: String,
    /// The page of the list, from 1 on.
    pub page: usize,
}

/// The front page.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Front {
    /// The title of the page.
    pub title: String,
    /// When the database was read.
    pub at: Timestamp,
    /// Why it is older than it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outdated: Option<String>,
    /// All in one sentence.
    pub headline: String,
    /// The gravest state of any site. None without sites.
    pub state: Option<State>,
    /// How many sites are in each state.
    pub counts: BTreeMap<String, usize>,
    /// How many sites there are.
    pub sites_total: usize,
    /// success / (success + failure) of this month, in percent, over all sites.
    pub month_uptime_percent: Option<f64>,
    /// How much of this month was checked, in percent, over all sites.
    pub month_coverage_percent: Option<f64>,
    /// The sites that are not well, the gravest first. At most 50.
    pub wrong: Vec<Glance>,
    /// Planned maintenance that lasts or begins within 7 days, the earliest first.
    pub ahead: Vec<Ahead>,
    /// The names of all groups.
    pub groups: Vec<String>,
    /// How many sites the filter selects.
    pub matched: usize,
    /// The page of the list, from 1 on.
    pub page: usize,
    /// How many pages the list has.
    pub pages: usize,
    /// The sites of this page of the list, by group and name.
    pub sites: Vec<Row>,
}

/// A site in one line.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Glance {
    /// What it is called in addresses.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub state: State,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Why.
    pub reason: Option<ShownReason>,
    /// The incident that lasts.
    pub incident_id: Option<i64>,
}

impl Glance {
    fn of(page: &Page, shown: &Shown<'_>) -> Glance {
        Glance {
            id: shown.id.clone(),
            name: shown.name.to_owned(),
            state: shown.site.state,
            since: shown.site.since,
            reason: shown.site.reason.as_ref().map(|reason| chosen::reason(page, reason)),
            incident_id: shown.site.incident_id,
        }
    }

    /// All sites of `page`, the gravest first, whether they are well or not.
    pub(super) fn all(page: &Page, overview: &Overview) -> Vec<Glance> {
        let mut sites = chosen::sites(page, overview);
        sites.sort_by_key(|shown| (shown.site.state, shown.site.since));
        sites.iter().map(|shown| Glance::of(page, shown)).collect()
    }
}

/// A site in the list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Row {
    /// What it is called in addresses.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: Option<String>,
    /// What it is.
    pub state: State,
    /// Since when, if that is known.
    pub since: Option<Timestamp>,
    /// Why.
    pub reason: Option<ShownReason>,
    /// success / (success + failure) of the last 90 days, in percent.
    pub uptime_percent: Option<f64>,
    /// How much of the last 90 days was checked, in percent.
    pub coverage_percent: Option<f64>,
    /// The last 90 UTC days, the oldest first.
    pub days: Vec<Day>,
    /// The time in microseconds that 95 % of the checks of the last 24 hours did not exceed.
    pub p95_us: Option<u32>,
    /// The same of each of these hours, the oldest first.
    pub p95_by_hour_us: Vec<Option<u32>>,
    /// How many whole days the certificate is valid.
    pub certificate_days: Option<i64>,
}

/// The sites of a page that `filter` selects, in the order of the list, and which of them the page of the list has.
pub(super) struct Selected<'a> {
    all: Vec<Shown<'a>>,
    matched: Vec<usize>,
    page: usize,
}

impl<'a> Selected<'a> {
    /// Selects by `filter`.
    pub(super) fn new(page: &'a Page, overview: &'a Overview, filter: &Filter) -> Selected<'a> {
        let mut all = chosen::sites(page, overview);
        // Sites without a group come last.
        all.sort_by_key(|shown| (group(page, shown).is_none(), group(page, shown)));
        let (wanted, state) = (filter.q.trim().to_lowercase(), filter.state.parse::<State>().ok());
        let matches = |shown: &Shown| {
            (wanted.is_empty() || shown.name.to_lowercase().contains(&wanted))
                && (filter.group.is_empty() || group(page, shown) == Some(filter.group.as_str()))
                && state.is_none_or(|state| state == shown.site.state)
        };
        let matched: Vec<usize> = (0..all.len()).filter(|i| matches(&all[*i])).collect();
        let pages = matched.len().div_ceil(PAGE_SITES).max(1);
        Selected { all, matched, page: filter.page.clamp(1, pages) }
    }

    fn rows(&self) -> impl Iterator<Item = &Shown<'a>> {
        let from = (self.page - 1) * PAGE_SITES;
        self.matched.iter().skip(from).take(PAGE_SITES).map(|i| &self.all[*i])
    }

    /// The numbers of the sites on this page of the list.
    pub(super) fn site_ids(&self) -> Vec<i32> {
        self.rows().map(|shown| shown.site.site_id).collect()
    }
}

impl Front {
    /// The front page of `page`. `recent` has the last hours of the selected sites.
    pub(super) fn new(
        page: &Page,
        overview: &Overview,
        selected: &Selected<'_>,
        recent: &HashMap<i32, Recent>,
    ) -> Front {
        let sites = &selected.all;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for shown in sites {
            *counts.entry(shown.site.state.word().to_owned()).or_default() += 1;
        }
        let month_days = usize::try_from(overview.today.day()).unwrap_or(1);
        let mut month = Shares::default();
        sites.iter().for_each(|shown| month += shown.site.bar.sum(month_days));
        let mut groups: Vec<String> =
            sites.iter().filter_map(|shown| group(page, shown)).map(str::to_owned).collect();
        groups.dedup();
        let mut wrong: Vec<&Shown> = sites.iter().filter(|shown| shown.site.state.is_wrong()).collect();
        wrong.sort_by_key(|shown| (shown.site.state, shown.site.since));
        let wrong = wrong.into_iter().take(MAX_WRONG).map(|shown| Glance::of(page, shown));
        let row = |shown: &Shown| {
            let (site, all) = (shown.site, shown.site.bar.sum(DAYS));
            let recent = recent.get(&site.site_id);
            Row {
                id: shown.id.clone(),
                name: shown.name.to_owned(),
                group: group(page, shown).map(str::to_owned),
                state: site.state,
                since: site.since,
                reason: site.reason.as_ref().map(|reason| chosen::reason(page, reason)),
                uptime_percent: all.uptime_percent(),
                coverage_percent: all.coverage_percent(),
                days: site.bar.days(overview.today),
                p95_us: recent.and_then(|recent| recent.p95_us),
                p95_by_hour_us: recent.map(|recent| recent.p95_by_hour_us.clone()).unwrap_or_default(),
                certificate_days: site.expires_at.map(|at| whole_days(overview.at, at)),
            }
        };
        Front {
            title: page.title.clone(),
            at: overview.at,
            outdated: overview.outdated.clone(),
            headline: headline(&counts, sites.len(), overview, month),
            state: sites.iter().map(|shown| shown.site.state).min(),
            counts,
            sites_total: sites.len(),
            month_uptime_percent: month.uptime_percent(),
            month_coverage_percent: month.coverage_percent(),
            wrong: wrong.collect(),
            ahead: ahead::ahead(sites, overview.at),
            groups,
            matched: selected.matched.len(),
            page: selected.page,
            pages: selected.matched.len().div_ceil(PAGE_SITES).max(1),
            sites: selected.rows().map(row).collect(),
        }
    }
}

/// The whole days from `now` to `at`. Negative when it has passed.
pub(super) fn whole_days(now: Timestamp, at: Timestamp) -> i64 {
    at.duration_since(now).as_secs().div_euclid(SignedDuration::from_hours(24).as_secs())
}

fn group<'a>(page: &Page, shown: &Shown<'a>) -> Option<&'a str> {
    let label = page.group_by.as_ref()?;
    shown.site.facts.labels.get(label).map(String::as_str)
}

/// `All 12 sites are up · 99.98 % of November checked`, or what is wrong.
fn headline(counts: &BTreeMap<String, usize>, sites: usize, overview: &Overview, month: Shares) -> String {
    let of = |state: State| counts.get(state.word()).copied().unwrap_or_default();
    let mut parts: Vec<String> = Vec::new();
    for (state, words) in [
        (State::Down, "down"),
        (State::Partial, "partly down"),
        (State::Unchecked, "not checked"),
        (State::Slow, "slow"),
    ] {
        if of(state) > 0 {
            parts.push(format!("{} {words}", words::thousands(of(state) as u64)));
        }
    }
    let planned = of(State::Planned);
    let state = match (sites, parts.is_empty()) {
        (0, _) => return "No site has been checked yet".to_owned(),
        (1, true) if planned == 0 => "The site is up".to_owned(),
        (2, true) if planned == 0 => "Both sites are up".to_owned(),
        (_, true) if planned == 0 => format!("All {} are up", words::count(sites, "site", "sites")),
        (_, true) => {
            format!("{} up, {planned} in maintenance", words::count(sites - planned, "site is", "sites are"))
        }
        (_, false) => format!("{} of {}", parts.join(", "), words::count(sites, "site", "sites")),
    };
    let checked = words::percent(month.coverage_percent());
    match month.coverage_percent() {
        Some(_) => format!("{state} · {checked} of {} checked", overview.today.strftime("%B")),
        None => state,
    }
}
