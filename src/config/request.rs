//! What a site's request is made of: method, body, headers and host.

use std::path::Path;

use super::credentials::first_line;
use super::entry::Entry;
use super::header_name::{NOT_A_HEADER, is_header_name};
use super::table::Table;
use crate::limits::MAX_TEXT;
use crate::site::{Method, RequestBody};

/// The largest body of a request, in bytes.
const MAX_BODY: u64 = 1 << 20;
/// The most headers of a site.
const MAX_HEADERS: usize = 32;
/// The longest value of a header.
const MAX_VALUE: usize = 4_096;

pub(super) fn method(entry: &Entry) -> Option<Method> {
    match entry.text(MAX_TEXT)?.parse() {
        Ok(method) => Some(method),
        Err(error) => entry.refuse(error),
    }
}

/// The body that `body`, `body_file` or `json` gives.
pub(super) fn body(table: &Table) -> Option<RequestBody> {
    let given: Vec<&str> =
        ["body", "body_file", "json"].into_iter().filter(|key| table.get(key).is_some()).collect();
    let content_type = table.get("content_type").map(|entry| value(&entry));
    if given.len() > 1 {
        table.fault(format!("has {}: expected one of them", given.join(" and ")));
    }
    if given.is_empty() && content_type.is_some() {
        table.fault("has a content_type and no body: expected body, body_file or json".to_owned());
    }
    let text = table.get("body").and_then(|entry| entry.hidden().text(MAX_BODY as usize));
    let file = table.get("body_file").and_then(|entry| read(&entry, &table.file("body_file")?));
    let json = table.get("json").and_then(|entry| entry.hidden().json(MAX_BODY as usize));
    let json = json.map(|json| json.to_string().into_bytes());
    let usual = if json.is_some() { "application/json" } else { "text/plain; charset=utf-8" };
    let content = text.map(String::into_bytes).or(file).or(json)?;
    let content_type = match content_type {
        Some(given) => given?,
        None => usual.to_owned(),
    };
    Some(RequestBody { content: content.into(), content_type })
}

pub(super) fn read(entry: &Entry, path: &Path) -> Option<Vec<u8>> {
    let shown = path.display().to_string();
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_BODY => {
            return entry.refuse(format_args!("{shown:?} is larger than {MAX_BODY} bytes"));
        }
        Ok(metadata) if !metadata.is_file() => return entry.refuse(format_args!("{shown:?} is not a file")),
        _ => {}
    }
    match std::fs::read(path) {
        Ok(content) => Some(content),
        Err(error) => entry.refuse(format_args!("{shown:?} cannot be read: {error}")),
    }
}

pub(super) fn host(entry: &Entry) -> Option<String> {
    let host = entry.text(MAX_TEXT)?;
    match host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte)) {
        true => Some(host),
        false => entry.refuse("is not a host: expected a name or an address, and a port if there is one"),
    }
}

pub(super) fn headers(table: &Table) -> Option<Vec<(String, String)>> {
    let entries = table.entries("headers", MAX_HEADERS)?;
    Some(entries.into_iter().filter_map(|(name, entry)| header(name, entry.hidden())).collect())
}

/// A header of the request. The value is never quoted: it may be a token.
fn header(name: &str, entry: Entry) -> Option<(String, String)> {
    if !is_header_name(name) {
        return entry.refuse(NOT_A_HEADER);
    }
    let lower = name.to_ascii_lowercase();
    if matches!(lower.as_str(), "content-length" | "transfer-encoding" | "connection" | "expect") {
        return entry.refuse("is set by the check itself");
    }
    if lower == "host" {
        return entry.refuse("is not set here: expected the site's host");
    }
    let Some(dict) = entry.value.as_dict() else { return Some((name.to_owned(), value(&entry)?)) };
    let table = Table::new(entry.context, entry.path.clone(), ".", entry.value.tag(), dict);
    let line = first_line(&table, "file");
    if line.is_none() {
        table.missing("file", "the file with the header's value");
    }
    table.refuse_unknown();
    Some((name.to_owned(), line.flatten()?.reveal().to_owned()))
}

pub(super) fn value(entry: &Entry) -> Option<String> {
    let value = entry.text(MAX_VALUE)?;
    if value.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return entry.refuse("has a control character");
    }
    Some(value)
}
