//! `[[site]]`: each site's table. What it leaves out is taken from `[site_defaults]`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use figment::value::Value;
use regex::{Regex, RegexBuilder};
use url::Url;

use super::entry::Entry;
use super::role::Role;
use super::table::Table;
use super::units::{MILLISECOND, MINUTE};
use crate::limits::{MAX_LABELS, MAX_TEXT, MAX_THRESHOLD, MAX_URL};
use crate::mutex::lock;
use crate::schedule::{MAX_EXPRESSION, Schedule, ScheduleError, Schedules};
use crate::site::{Expect, Incident, Method, Site};
use crate::text::{quoted, show_duration};

/// The most sites of one configuration.
pub const MAX_SITES: usize = 200_000;
/// The longest pattern, in characters.
const MAX_PATTERN: usize = 4_096;
/// The largest compiled pattern, in bytes. It bounds the memory of each thread.
const MAX_PATTERN_SIZE: usize = 1 << 20;

pub(super) fn sites(root: &Table, defaults: &Table, role: Role) -> Vec<Arc<Site>> {
    let mut schedules = Schedules::default();
    // The defaults must be known and right even if every site overrides them.
    let _ = (
        schedule(defaults, None, |expression, timezone| schedules.get(expression, timezone)),
        options(defaults),
    );
    defaults.refuse_unknown();

    let tables = root.tables("site");
    let none = match root.raw().get("site") {
        Some(Value::Array(_, tables)) => tables.is_empty(),
        Some(_) => false,
        None => true,
    };
    if none && role == Role::Check {
        root.missing("site", "at least one [[site]] table");
    }
    if tables.len() > MAX_SITES {
        root.fault(format!("there are {} sites: expected at most {MAX_SITES}", tables.len()));
        return Vec::new();
    }
    let mut first_of_key: BTreeMap<String, usize> = BTreeMap::new();
    let mut sites = Vec::with_capacity(tables.len());
    for (i, table) in tables.into_iter().enumerate() {
        let table = match table.raw().get("name").and_then(|name| name.as_str()) {
            Some(name) => table.named(name),
            None => table,
        };
        let table = table.with_defaults("site_defaults", defaults.raw());
        let site = site(&table, &mut schedules);
        table.refuse_unknown();
        let Some(site) = site else { continue };
        if let Some(first) = first_of_key.get(&site.key) {
            table.fault(format!(
                "has the key {:?} of site[{first}]: expected another name, or an id",
                site.key
            ));
        } else {
            first_of_key.insert(site.key.clone(), i);
        }
        sites.push(Arc::new(site));
    }
    sites
}

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

fn site(table: &Table, schedules: &mut Schedules) -> Option<Site> {
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
            "may take {} (timeout × (1 + retries) + pauses), but its schedule \"{}\" has instants {} apart: \
             expected a shorter timeout or a rarer schedule",
            show_duration(budget),
            site.schedule.expression(),
            show_duration(shortest),
        ));
    }
    if !site.spread.is_zero() && site.spread >= shortest {
        table.fault(format!(
            "has a spread of {}, but its schedule \"{}\" has instants {} apart: expected a shorter spread",
            show_duration(site.spread),
            site.schedule.expression(),
            show_duration(shortest),
        ));
    }
    if site.method == Method::Head && (site.expect.body.is_some() || site.expect.not_body.is_some()) {
        table.fault("expects something of the body, but HEAD has none: expected method = \"GET\"".to_owned());
    }
    Some(site)
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
struct Options {
    labels: Option<BTreeMap<String, String>>,
    method: Option<Method>,
    headers: Option<Vec<(String, String)>>,
    spread: Option<Duration>,
    timeout: Option<Duration>,
    retries: Option<u16>,
    retry_pause: Option<Duration>,
    max_redirects: Option<u16>,
    max_body: Option<u64>,
    expect: Option<Expect>,
    incident: Option<Incident>,
    keep_query: Option<bool>,
    sample: Option<bool>,
}

fn options(table: &Table) -> Options {
    Options {
        labels: table.entries("labels", MAX_LABELS).map(labels),
        method: table.get("method").and_then(|entry| method(&entry)),
        headers: table.entries("headers", 32).map(headers),
        spread: table.duration("spread", Duration::ZERO, MINUTE * 30),
        timeout: table.duration("timeout", MILLISECOND, MINUTE * 10),
        retries: table.integer("retries", 0, 5u16),
        retry_pause: table.duration("retry_pause", Duration::ZERO, MINUTE),
        max_redirects: table.integer("max_redirects", 0, 20u16),
        max_body: table.size("max_body", 0, 64 << 20),
        expect: table.table("expect").map(|table| expect(&table)),
        incident: table.table("incident").map(|table| incident(&table)),
        keep_query: table.bool("keep_query"),
        sample: table.bool("sample"),
    }
}

impl Options {
    fn apply(self, site: &mut Site) {
        fn set<T>(target: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *target = value;
            }
        }
        set(&mut site.labels, self.labels);
        set(&mut site.method, self.method);
        set(&mut site.headers, self.headers);
        set(&mut site.spread, self.spread);
        set(&mut site.timeout, self.timeout);
        set(&mut site.retries, self.retries);
        set(&mut site.retry_pause, self.retry_pause);
        set(&mut site.max_redirects, self.max_redirects);
        set(&mut site.max_body, self.max_body.map(|bytes| bytes as usize));
        set(&mut site.expect, self.expect);
        set(&mut site.incident, self.incident);
        set(&mut site.keep_query, self.keep_query);
        set(&mut site.sample, self.sample);
    }
}

fn method(entry: &Entry) -> Option<Method> {
    match entry.text(16)?.as_str() {
        "GET" => Some(Method::Get),
        "HEAD" => Some(Method::Head),
        "OPTIONS" => Some(Method::Options),
        other => entry
            .refuse(format_args!("{other:?} is not supported: expected \"GET\", \"HEAD\" or \"OPTIONS\"")),
    }
}

pub(super) fn labels(entries: Vec<(&str, Entry)>) -> BTreeMap<String, String> {
    entries.into_iter().filter_map(|(key, entry)| Some((key.to_owned(), entry.text(MAX_TEXT)?))).collect()
}

fn headers(entries: Vec<(&str, Entry)>) -> Vec<(String, String)> {
    entries.into_iter().filter_map(|(name, entry)| header(name, &entry.hidden())).collect()
}

/// A header of the request. The value is never quoted: it may be a token.
fn header(name: &str, entry: &Entry) -> Option<(String, String)> {
    if !is_header_name(name) {
        return entry.refuse(NOT_A_HEADER);
    }
    let lower = name.to_ascii_lowercase();
    if matches!(lower.as_str(), "host" | "content-length" | "transfer-encoding" | "connection") {
        return entry.refuse("is set by the check itself");
    }
    let value = entry.text(4_096)?;
    if value.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return entry.refuse("has a control character");
    }
    Some((name.to_owned(), value))
}

const NOT_A_HEADER: &str = "is not a header's name: expected letters, digits or \"-\"";

/// A token (RFC 9110, 5.6.2).
fn is_header_name(name: &str) -> bool {
    name.bytes().all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
}

fn expect(table: &Table) -> Expect {
    let mut expect = Expect::default();
    if let Some(items) = table.list("status", 1, 32) {
        expect.status = items.iter().filter_map(|item| item.parse(str::parse)).collect();
    }
    expect.body = table.get("body").and_then(|entry| pattern(&entry));
    expect.not_body = table.get("not_body").and_then(|entry| pattern(&entry));
    let headers = table.entries("header", 16).unwrap_or_default();
    expect.headers = headers.into_iter().filter_map(|(name, entry)| expected_header(name, &entry)).collect();
    expect.max_time = table.duration("max_time", MILLISECOND, MINUTE * 10);
    expect.certificate = table.duration("certificate", Duration::ZERO, Duration::from_secs(3_650 * 86_400));
    table.refuse_unknown();
    expect
}

fn incident(table: &Table) -> Incident {
    let default = Incident::default();
    let incident = Incident {
        failures: table.integer("failures", 1, MAX_THRESHOLD).unwrap_or(default.failures),
        locations: table.integer("locations", 1, MAX_THRESHOLD).unwrap_or(default.locations),
    };
    table.refuse_unknown();
    incident
}

fn expected_header(name: &str, entry: &Entry) -> Option<(String, Arc<Regex>)> {
    if !is_header_name(name) {
        return entry.refuse(NOT_A_HEADER);
    }
    Some((name.to_ascii_lowercase(), pattern(entry)?))
}

fn pattern(entry: &Entry) -> Option<Arc<Regex>> {
    match compile(&entry.text(MAX_PATTERN)?) {
        Ok(regex) => Some(regex),
        Err(problem) => entry.refuse(problem),
    }
}

/// Compiles the pattern once for all sites that have it, and for those of a reload. An automaton takes some ten
/// kilobytes, and as much again for each thread that uses it.
fn compile(text: &str) -> Result<Arc<Regex>, String> {
    static COMPILED: Mutex<BTreeMap<String, Weak<Regex>>> = Mutex::new(BTreeMap::new());
    let mut compiled = lock(&COMPILED);
    if let Some(regex) = compiled.get(text).and_then(Weak::upgrade) {
        return Ok(regex);
    }
    let built = RegexBuilder::new(text).size_limit(MAX_PATTERN_SIZE).build();
    let regex = built.map(Arc::new).map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("{} compiles to more than {limit} bytes", quoted(text))
        }
        // The parser's message has several lines. The last one says what is wrong.
        error => {
            let shown = error.to_string();
            let reason = shown.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("{} is not a regular expression: {reason}", quoted(text))
        }
    })?;
    // Patterns that no site has any more are removed only now and then: looking through all for each new one would take
    // quadratic time.
    if compiled.len().is_power_of_two() {
        compiled.retain(|_, regex| regex.strong_count() > 0);
    }
    compiled.insert(text.to_owned(), Arc::downgrade(&regex));
    Ok(regex)
}
