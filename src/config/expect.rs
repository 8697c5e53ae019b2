//! `expect`: what a response must be like.

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::entry::Entry;
use super::header_name::{NOT_A_HEADER, is_header_name};
use super::pattern::{pattern, patterns};
use super::table::Table;
use super::units::{DAY, MILLISECOND, MINUTE};
use crate::site::{Expect, JsonExpectation, JsonPath, MAX_JSON_PATH};

/// The most headers that are expected, and the most that are unwanted.
const MAX_HEADERS: usize = 16;
/// The most values of a JSON body of which something is expected.
const MAX_JSON: usize = 16;
/// The longest `equals`, in bytes of JSON.
const MAX_EQUALS: usize = 4_096;

pub(super) fn expect(table: &Table) -> Expect {
    let mut expect = Expect::default();
    if let Some(items) = table.list("status", 1, 32) {
        expect.status = items.iter().filter_map(|item| item.parse(str::parse)).collect();
    }
    expect.body = table.get("body").map(patterns).unwrap_or_default();
    expect.not_body = table.get("not_body").map(patterns).unwrap_or_default();
    expect.headers = headers(table, "header");
    expect.not_headers = headers(table, "not_header");
    expect.json = json(table);
    expect.tls = table.bool("tls");
    expect.final_url = table.get("final_url").and_then(|entry| pattern(&entry));
    expect.max_time = table.duration("max_time", MILLISECOND, MINUTE * 10);
    expect.certificate = table.duration("certificate", Duration::ZERO, DAY * 3_650);
    if expect.tls == Some(false) && expect.certificate.is_some() {
        table.fault("has tls = false and a certificate: expected one of them".to_owned());
    }
    table.refuse_unknown();
    expect
}

fn headers(table: &Table, key: &'static str) -> Vec<(String, Arc<Regex>)> {
    let entries = table.entries(key, MAX_HEADERS).unwrap_or_default();
    entries.into_iter().flat_map(|(name, entry)| header(name, entry)).collect()
}

fn header(name: &str, entry: Entry) -> Vec<(String, Arc<Regex>)> {
    if !is_header_name(name) {
        return entry.refuse(NOT_A_HEADER).unwrap_or_default();
    }
    patterns(entry).into_iter().map(|pattern| (name.to_ascii_lowercase(), pattern)).collect()
}

fn json(table: &Table) -> Vec<JsonExpectation> {
    let tables = table.tables("json");
    if tables.len() > MAX_JSON {
        table.fault(format!("has {} entries of json: expected at most {MAX_JSON}", tables.len()));
        return Vec::new();
    }
    tables.iter().filter_map(value).collect()
}

/// What is expected of the values at a path.
fn value(table: &Table) -> Option<JsonExpectation> {
    let path = match table.get("path") {
        Some(entry) => path(&entry),
        None => {
            table.missing("path", "a JSON path such as \"$.status\"");
            None
        }
    };
    let exists = table.bool("exists");
    let equals = table.get("equals").and_then(|entry| entry.json(MAX_EQUALS));
    let matches = table.get("matches").and_then(|entry| pattern(&entry));
    let min = table.get("min").and_then(|entry| entry.number());
    let max = table.get("max").and_then(|entry| entry.number());
    let has = |key: &&str| table.raw().contains_key(*key);
    match (exists, ["equals", "matches", "min", "max"].iter().find(|key| has(key))) {
        (Some(false), Some(key)) => {
            table.fault(format!("has exists = false and {key}: expected one of them"));
        }
        (None, None) if !has(&"exists") => {
            table.fault("expects nothing: expected one of equals, exists, matches, max, min".to_owned());
        }
        _ => {}
    }
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        table.fault(format!("has a min of {min} and a max of {max}: expected a smaller min"));
    }
    table.refuse_unknown();
    Some(JsonExpectation { path: path?, exists: exists.unwrap_or(true), equals, matches, min, max })
}

fn path(entry: &Entry) -> Option<JsonPath> {
    match entry.text(MAX_JSON_PATH)?.parse() {
        Ok(path) => Some(path),
        Err(error) => entry.refuse(error),
    }
}
