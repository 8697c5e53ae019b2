//! `[[receiver]]`: who can be told of alerts.

use std::collections::HashSet;
use std::time::Duration;

use super::alertmanager::{Alertmanager, alertmanager};
use super::authorities::{Authorities, authorities};
use super::email::{Email, email};
use super::pagerduty::{PagerDuty, pagerduty};
use super::slack::{Slack, slack};
use super::table::Table;
use super::units::{MILLISECOND, SECOND};
use super::webhook::{Webhook, webhook};
use crate::limits::MAX_TEXT;

/// The longest name, in characters. It is part of the kind of a job.
const MAX_RECEIVER_NAME: usize = 90;
/// The most receivers of a configuration.
pub const MAX_RECEIVERS: usize = 1_000;

/// `[[receiver]]`: one who can be told of alerts.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Its name, by which routes know it. 1 to 90 characters, no two alike.
    pub name: String,
    /// How long one try may take: name, connection, TLS, request and answer. 100 ms to 15 s, default 10 s.
    pub timeout: Duration,
    /// Whom to trust for TLS, by default the system's authorities.
    pub ca: Option<Authorities>,
    /// How it is told.
    pub channel: Channel,
}

/// How a receiver is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Channel {
    /// A request of webmon's own form, or of one that a template gives.
    Webhook(Webhook),
    /// An incoming webhook of Slack, or of what understands the same.
    Slack(Slack),
    /// An event for a service of PagerDuty.
    PagerDuty(PagerDuty),
    /// Alerts for an Alertmanager of Prometheus.
    Alertmanager(Alertmanager),
    /// An e-mail.
    Email(Email),
}

pub(super) fn receivers(root: &Table) -> Vec<Receiver> {
    let tables = root.tables("receiver");
    if tables.len() > MAX_RECEIVERS {
        root.fault(format!("receiver has {} tables: expected at most {MAX_RECEIVERS}", tables.len()));
        return Vec::new();
    }
    let mut names = HashSet::new();
    let mut receivers = Vec::with_capacity(tables.len());
    for table in tables {
        let name = table.raw().get("name").and_then(|name| name.as_str()).map(str::to_owned);
        let table = match &name {
            Some(name) => table.named(name),
            None => table,
        };
        if name.is_some_and(|name| !names.insert(name)) {
            table.fault("has the name of another receiver: expected one of its own".to_owned());
        }
        receivers.extend(receiver(&table));
    }
    receivers
}

fn receiver(table: &Table) -> Option<Receiver> {
    let name = table.text("name", MAX_RECEIVER_NAME);
    if !table.raw().contains_key("name") {
        table.missing("name", "a text");
    }
    let timeout = table.duration("timeout", MILLISECOND * 100, SECOND * 15).unwrap_or(SECOND * 10);
    let ca = authorities(table);
    let channel = channel(table)?;
    table.refuse_unknown();
    Some(Receiver { name: name?, timeout, ca, channel: channel? })
}

/// None if it is not known which; an inner none after another fault.
fn channel(table: &Table) -> Option<Option<Channel>> {
    const TYPES: &str = "\"webhook\", \"slack\", \"pagerduty\", \"alertmanager\" or \"email\"";
    let Some(entry) = table.get("type") else {
        table.missing("type", TYPES);
        return None;
    };
    Some(match entry.text(MAX_TEXT)?.as_str() {
        "webhook" => webhook(table).map(Channel::Webhook),
        "slack" => slack(table).map(Channel::Slack),
        "pagerduty" => pagerduty(table).map(Channel::PagerDuty),
        "alertmanager" => alertmanager(table).map(Channel::Alertmanager),
        "email" => email(table).map(Channel::Email),
        other => return entry.refuse(format_args!("{other:?} is unknown: expected {TYPES}")),
    })
}
