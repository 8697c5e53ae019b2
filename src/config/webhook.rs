//! A receiver by HTTP: with a signed body of webmon's own, or with one from a template.

use super::credentials::line_of;
use super::endpoint::{Endpoint, endpoint};
use super::message_template::{MAX_TEMPLATE, MessageTemplate};
use super::request::{headers, method, read, value};
use super::signing_key::SigningKey;
use super::table::Table;
use crate::secret::Secret;
use crate::site::Method;

/// The most secrets: the one in use, and those before or after it while it is changed.
const MAX_SECRETS: usize = 4;

/// A receiver by HTTP: with a body of webmon's own (Standard Webhooks 1.0), or with one from a template.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where the message is sent.
    pub url: Endpoint,
    /// POST, or PUT with a template.
    pub method: Method,
    /// The keys with which the message is signed, each for itself. Without any it is not signed.
    pub keys: Vec<SigningKey>,
    /// More headers of the request.
    pub headers: Vec<(String, Secret)>,
    /// What the body is made of, if it is not webmon's own.
    pub body: Option<MessageTemplate>,
}

pub(super) fn webhook(table: &Table) -> Option<Webhook> {
    let url = endpoint(table, "where to send alerts, or url_file");
    let keys = keys(table);
    let headers = headers(table).unwrap_or_default();
    for (name, _) in &headers {
        let lower = name.to_ascii_lowercase();
        if lower.starts_with("webhook-") || lower == "content-type" {
            table.fault(format!(
                "has a header {name:?}, which webmon sets itself: expected it to be left out"
            ));
        }
    }
    let given = table.get("body").is_some() || table.get("body_file").is_some();
    let body = body(table);
    let method = match table.get("method") {
        Some(entry) => match method(&entry)? {
            Method::Post => Method::Post,
            Method::Put if given => Method::Put,
            Method::Put => return entry.refuse("PUT needs a body of one's own: expected \"POST\", or body"),
            other => {
                return entry.refuse(format_args!("{other} sends no alert: expected \"POST\" or \"PUT\""));
            }
        },
        None => Method::Post,
    };
    if given && body.is_none() {
        return None;
    }
    let headers = headers.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
    Some(Webhook { url: url?, method, keys: keys?, headers, body })
}

/// None after a fault.
fn keys(table: &Table) -> Option<Vec<SigningKey>> {
    let (texts, files) = (table.get("secrets"), table.get("secret_files"));
    if texts.is_some() && files.is_some() {
        table.fault("has both secrets and secret_files: expected one of them".to_owned());
        return None;
    }
    let is_of_files = files.is_some();
    let Some(entry) = texts.or(files) else { return Some(Vec::new()) };
    let entries = entry.one_or_more(MAX_SECRETS);
    let count = entries.len();
    let mut keys = Vec::with_capacity(count);
    for entry in entries {
        let entry = if is_of_files { entry } else { entry.hidden() };
        let text =
            if is_of_files { entry.file().and_then(|path| line_of(&entry, &path)) } else { entry.secret() };
        match text.map(|text| SigningKey::new(text.reveal())) {
            Some(Ok(key)) => keys.push(key),
            Some(Err(problem)) => entry.refuse(problem).unwrap_or_default(),
            None => {}
        }
    }
    (count > 0 && keys.len() == count).then_some(keys)
}

/// The template of `body` or `body_file`. None without one, or after a fault.
fn body(table: &Table) -> Option<MessageTemplate> {
    let (inline, file) = (table.get("body"), table.get("body_file"));
    let content_type = table.get("content_type").map(|entry| value(&entry));
    let entry = match (inline, file) {
        (Some(_), Some(_)) => {
            table.fault("has both body and body_file: expected one of them".to_owned());
            return None;
        }
        (None, None) => {
            if content_type.is_some() {
                table.fault("has a content_type and no body: expected body or body_file".to_owned());
            }
            return None;
        }
        (inline, file) => inline.or(file)?,
    };
    let is_file = table.get("body_file").is_some();
    let text = if is_file {
        match String::from_utf8(read(&entry, &entry.file()?)?) {
            Ok(text) if text.is_empty() || text.len() > MAX_TEMPLATE => {
                return entry.refuse(format_args!("is out of range: expected 1 to {MAX_TEMPLATE} bytes"));
            }
            Ok(text) => text,
            Err(_) => return entry.refuse("is not UTF-8"),
        }
    } else {
        // Not hidden: a fault of a template can only be understood with its words.
        let text = entry.text(MAX_TEMPLATE)?;
        if text.len() > MAX_TEMPLATE {
            return entry.refuse(format_args!("is longer than {MAX_TEMPLATE} bytes"));
        }
        text
    };
    let content_type = match content_type {
        Some(given) => given?,
        None => "application/json".to_owned(),
    };
    match MessageTemplate::new(text, content_type) {
        Ok(template) => Some(template),
        Err(problem) => entry.refuse(problem),
    }
}
