//! `[[site]]`: a site's table. What it leaves out is taken from its templates and from `[site_defaults]`.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::auth::auth;
use super::entry::Entry;
use super::expect::expect;
use super::incident::incident;
use super::network::{literal_that_fits, network};
use super::request;
use super::site_tls::{self, site_tls};
use super::slo::slo;
use super::table::Table;
use super::units::{MILLISECOND, MINUTE};
use crate::limits::{MAX_LABELS, MAX_TEXT, MAX_URL};
use crate::schedule::{MAX_EXPRESSION, Schedule, ScheduleError, Schedules};
use crate::site::{Auth, Expect, Incident, Method, Network, RequestBody, Site, Slo};
use crate::text::show_duration;

/// The most sites of one configuration.
pub const MAX_SITES: usize = 200_000;

pub(super) fn schedule(
    table: &Table,
    missing: Option<&str>,
    mut parse: impl FnMut(&str, &str) -> Result<Schedule, ScheduleError>,
) -> Option<Schedule> {
    let zone = match table.get("timezone") {
        Some(entry) => timezone(&entry, &mut parse),
        None => Some("UTC".to_owned()),
    };
    let Some(expression) = table.get("schedule") else {
        if let Some(expected) = missing {
            table.missing("schedule", expected);
        }
        return None;
    };
    let text = expression.text(MAX_EXPRESSION)?;
    // The expression is read even if the time zone is wrong.
    match parse(&text, zone.as_deref().unwrap_or("UTC")) {
        Ok(schedule) => zone.and(Some(schedule)),
        // The path names the key already.
        Err(error) => expression.refuse(error.to_string().trim_start_matches("schedule ")),
    }
}

fn timezone(
    entry: &Entry,
    mut parse: impl FnMut(&str, &str) -> Result<Schedule, ScheduleError>,
) -> Option<String> {
    let zone = entry.text(MAX_TEXT)?;
    match parse("@hourly", &zone) {
        Ok(_) => Some(zone),
        Err(error) => entry.refuse(error.to_string().trim_start_matches("timezone ")),
    }
}

pub(super) fn site(table: &Table, schedules: &mut Schedules) -> Option<Site> {
    let name = required(table, "name", "a text");
    let id = table.text("id", MAX_TEXT);
    let url = match table.get("url") {
        Some(entry) => url(&entry.hidden()),
        None => {
            table.missing("url", "an http or https URL");
            None
        }
    };
    let schedule =
        schedule(table, Some("a cron expression, here or in site_defaults"), |expression, timezone| {
            schedules.get(expression, timezone)
        });
    let options = options(table);
    let (name, url, schedule) = (name?, url?, schedule?);
    let shortest = schedule.shortest_interval();

    let mut site = Site::new(&name, url, schedule);
    site.key = id.unwrap_or(name);
    options.apply(&mut site);
    let budget = site.time_budget();
    if budget >= shortest {
        table.fault(format!(
            "may take {} (timeout × (1 + retries) + pauses), but its schedule {} has instants {} apart: \
             expected a shorter timeout or a rarer schedule",
            show_duration(budget),
            table.shown("schedule", site.schedule.expression()),
            show_duration(shortest),
        ));
    }
    if !site.spread.is_zero() && site.spread >= shortest {
        table.fault(format!(
            "has a spread of {}, but its schedule {} has instants {} apart: expected a shorter spread",
            show_duration(site.spread),
            table.shown("schedule", site.schedule.expression()),
            show_duration(shortest),
        ));
    }
    literal_that_fits(table, &site);
    degraded(table, &site);
    secrets_and_body(table, &site);
    if site.method == Method::Head && site.expect.is_of_the_body() {
        table.fault("expects something of the body, but HEAD has none: expected method = \"GET\"".to_owned());
    }
    Some(site)
}

fn secrets_and_body(table: &Table, site: &Site) {
    if site.auth.is_some() && (!site.url.username().is_empty() || site.url.password().is_some()) {
        table.fault("has credentials in its url and auth: expected one of them".to_owned());
    }
    if site.host.is_some() && site.url.scheme() == "http" && site.network.proxy.is_some() {
        table.fault(
            "has a host and a proxy, which takes it from the url over http: expected one of them".to_owned(),
        );
    }
    if site.body.is_some() && matches!(site.method, Method::Get | Method::Head) {
        table.fault(format!("has a body, but {} sends none: expected method = \"POST\"", site.method));
    }
}

/// A check that fails is never degraded, so the shorter time must be that of the weaker verdict.
fn degraded(table: &Table, site: &Site) {
    let Some(degraded) = site.degraded else { return };
    let limits = [("timeout", Some(site.timeout)), ("expect.max_time", site.expect.max_time)];
    for (key, limit) in limits {
        if let Some(limit) = limit.filter(|limit| *limit <= degraded) {
            table.fault(format!(
                "is degraded after {}, but fails after its {key} of {}: expected a shorter degraded",
                show_duration(degraded),
                show_duration(limit),
            ));
        }
    }
}

fn required(table: &Table, key: &'static str, expected: &str) -> Option<String> {
    match table.get(key) {
        Some(entry) => entry.text(MAX_TEXT),
        None => {
            table.missing(key, expected);
            None
        }
    }
}

fn url(entry: &Entry) -> Option<Url> {
    let text = entry.text(MAX_URL)?;
    // The text is never quoted: it may hold a password.
    match Url::parse(&text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            entry.refuse(format_args!("has the scheme {:?}: expected http or https", url.scheme()))
        }
        Ok(url) if url.as_str().len() > MAX_URL => {
            entry.refuse(format_args!("is longer than {MAX_URL} bytes"))
        }
        Ok(url) => Some(url),
        Err(error) => entry.refuse(format_args!("is not a URL: {error}")),
    }
}

/// The keys that `[site_defaults]` may have too.
#[derive(Clone)]
pub(super) struct Options {
    labels: Option<BTreeMap<String, String>>,
    method: Option<Method>,
    body: Option<RequestBody>,
    host: Option<String>,
    auth: Option<Auth>,
    headers: Option<Vec<(String, String)>>,
    network: Network,
    tls: Option<site_tls::Built>,
    spread: Option<Duration>,
    timeout: Option<Duration>,
    retries: Option<u16>,
    retry_pause: Option<Duration>,
    degraded: Option<Duration>,
    max_redirects: Option<u16>,
    max_body: Option<u64>,
    expect: Option<Expect>,
    incident: Option<Incident>,
    slo: Option<Option<Slo>>,
    keep_query: Option<bool>,
    sample: Option<bool>,
}

pub(super) fn options(table: &Table) -> Options {
    Options {
        labels: table.entries("labels", MAX_LABELS).map(labels),
        method: table.get("method").and_then(|entry| request::method(&entry)),
        body: request::body(table),
        host: table.get("host").and_then(|entry| request::host(&entry)),
        auth: table.table("auth").and_then(|table| auth(&table)),
        headers: request::headers(table),
        network: network(table),
        tls: table.table("tls").and_then(|table| site_tls(&table)),
        spread: table.duration("spread", Duration::ZERO, MINUTE * 30),
        timeout: table.duration("timeout", MILLISECOND, MINUTE * 10),
        retries: table.integer("retries", 0, 5u16),
        retry_pause: table.duration("retry_pause", Duration::ZERO, MINUTE),
        degraded: table.duration("degraded", MILLISECOND, MINUTE * 10),
        max_redirects: table.integer("max_redirects", 0, 20u16),
        max_body: table.size("max_body", 0, 64 << 20),
        expect: table.table("expect").map(|table| expect(&table)),
        incident: table.table("incident").map(|table| incident(&table)),
        slo: slo(table),
        keep_query: table.bool("keep_query"),
        sample: table.bool("sample"),
    }
}

impl Options {
    pub(super) fn apply(self, site: &mut Site) {
        fn set<T>(target: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *target = value;
            }
        }
        set(&mut site.labels, self.labels);
        set(&mut site.method, self.method);
        site.body = self.body;
        site.host = self.host;
        site.auth = self.auth;
        set(&mut site.headers, self.headers);
        site.network = self.network;
        site_tls::apply(self.tls, site);
        set(&mut site.spread, self.spread);
        set(&mut site.timeout, self.timeout);
        set(&mut site.retries, self.retries);
        set(&mut site.retry_pause, self.retry_pause);
        if self.degraded.is_some() {
            site.degraded = self.degraded;
        }
        set(&mut site.max_redirects, self.max_redirects);
        set(&mut site.max_body, self.max_body.map(|bytes| bytes as usize));
        set(&mut site.expect, self.expect);
        set(&mut site.incident, self.incident);
        set(&mut site.slo, self.slo);
        set(&mut site.keep_query, self.keep_query);
        set(&mut site.sample, self.sample);
    }
}

pub(super) fn labels(entries: Vec<(&str, Entry)>) -> BTreeMap<String, String> {
    entries.into_iter().filter_map(|(key, entry)| Some((key.to_owned(), entry.text(MAX_TEXT)?))).collect()
}
