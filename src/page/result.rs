//! One result of a site, as far as a page shows it.

use jiff::Timestamp;
use postgres::Row;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::chosen::{self, ShownReason};
use super::overview::Reason;
use super::series::Phases;
use crate::config::{Page, Show};

/// The phases of a redirect.
const HOP_PHASES: [&str; 4] = ["dns_us", "connect_us", "tls_us", "ttfb_us"];

/// One result.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct ShownResult {
    /// Where it was checked from.
    pub location: String,
    /// The instant of the schedule.
    pub scheduled_at: Timestamp,
    /// `success`, `failure` or `missed`.
    pub outcome: String,
    /// Whether a success took longer than the site's `degraded`.
    pub degraded: bool,
    /// Why it did not succeed.
    pub reason: Option<ShownReason>,
    /// The expectations that were not met.
    pub failed_expectations: Vec<String>,
    /// The status code of the last response.
    pub http_status: Option<i16>,
    /// How long it took, in microseconds.
    pub total_us: Option<i32>,
    /// Where the time went.
    pub phases: Option<Phases>,
    /// How many decoded bytes of the body were read.
    pub body_bytes: Option<i32>,
    /// How often it was tried.
    pub attempts: i16,
    /// The version of HTTP.
    pub http_version: Option<String>,
    /// The version of TLS.
    pub tls_version: Option<String>,
    /// The tries before the last one.
    pub tries: Vec<Try>,
    /// How many redirects were followed. Their URLs and addresses are in `hops` on pages that show them.
    pub redirects: usize,
    /// The redirects.
    pub hops: Vec<Hop>,
    /// What went wrong, in words. Only on pages that show errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The URL requested last. Only on pages that show URLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The address of the server. Only on pages that show addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The headers of a failing answer. Only on pages that show headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<String>,
    /// The start of the body of a failing answer. Only on pages that show bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// A try before the last one.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Try {
    /// Why it failed.
    pub reason: Option<ShownReason>,
    /// How long it took, in microseconds.
    pub total_us: Option<i64>,
}

/// A redirect that was followed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Hop {
    /// The status code of the redirect.
    pub http_status: Option<i64>,
    /// How long it took, in microseconds.
    pub total_us: Option<i64>,
    /// The URL that redirected. Only on pages that show URLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The address of the server. Only on pages that show addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl ShownResult {
    /// What `page` shows of a row of `site_results.sql`.
    pub(super) fn of(page: &Page, row: &Row) -> ShownResult {
        let shows = |show| page.show.contains(&show);
        let us = |name| row.get::<_, Option<i32>>(name).and_then(|us| u32::try_from(us).ok()).unwrap_or(0);
        let total_us: Option<i32> = row.get("total_us");
        let phases = total_us.and_then(|total| u32::try_from(total).ok()).map(|total| {
            let measured = Phases {
                dns_us: us("dns_us"),
                connect_us: us("connect_us"),
                tls_us: us("tls_us"),
                wait_us: us("ttfb_us"),
                download_us: us("download_us"),
                rest_us: 0,
            };
            Phases { rest_us: total.saturating_sub(measured.total()), ..measured }
        });
        let reason = |error_type: Option<String>, detail: Option<String>| {
            error_type.map(|error_type| chosen::reason(page, &Reason { error_type, detail }))
        };
        let array = |name| match row.get::<_, Option<Value>>(name) {
            Some(Value::Array(values)) => values,
            _ => Vec::new(),
        };
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_i64);
        let hops = array("hops");
        let sample: Option<Value> = row.get("sample");
        let of_sample = |show, key: &str| {
            let value = sample.as_ref().filter(|_| shows(show))?.get(key)?;
            Some(value.as_str().map_or_else(|| lines(value), str::to_owned))
        };
        ShownResult {
            location: row.get("location"),
            scheduled_at: row.get("scheduled_at"),
            outcome: row.get("outcome"),
            degraded: row.get("degraded"),
            reason: reason(row.get("error_type"), row.get("error_detail")),
            failed_expectations: row.get("failed_expectations"),
            http_status: row.get("http_status"),
            total_us,
            phases,
            body_bytes: row.get("body_bytes"),
            attempts: row.get("attempts"),
            http_version: row.get("http_version"),
            tls_version: row.get("tls_version"),
            tries: array("tries")
                .iter()
                .map(|one| Try {
                    reason: reason(text(one, "error_type"), text(one, "error_detail")),
                    total_us: number(one, "total_us"),
                })
                .collect(),
            redirects: hops.len(),
            hops: hops
                .iter()
                .map(|hop| Hop {
                    http_status: number(hop, "http_status"),
                    total_us: HOP_PHASES
                        .iter()
                        .filter_map(|phase| number(hop, phase))
                        .reduce(i64::saturating_add),
                    url: text(hop, "url").filter(|_| shows(Show::Url)),
                    address: text(hop, "remote_ip").filter(|_| shows(Show::Address)),
                })
                .collect(),
            message: row.get::<_, Option<String>>("error_message").filter(|_| shows(Show::Error)),
            url: row
                .get::<_, Option<String>>("final_url")
                .or_else(|| row.get("url"))
                .filter(|_| shows(Show::Url)),
            address: row.get::<_, Option<String>>("remote_ip").filter(|_| shows(Show::Address)),
            headers: of_sample(Show::Headers, "headers"),
            body: of_sample(Show::Body, "body"),
        }
    }
}

/// Headers, which are an object or an array of pairs, a line each.
fn lines(value: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line = |name: &str, value: &Value| format!("{name}: {}", text(value));
    let lines: Vec<String> = match value {
        Value::Object(headers) => headers.iter().map(|(name, value)| line(name, value)).collect(),
        Value::Array(headers) => headers
            .iter()
            .map(|header| match header.as_array().map(Vec::as_slice) {
                Some([name, value]) => line(&text(name), value),
                _ => text(header),
            })
            .collect(),
        other => vec![text(other)],
    };
    lines.join("\n")
}
