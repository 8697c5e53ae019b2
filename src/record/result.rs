//! The result of one scheduled instant.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::certificate::Certificate;
use super::gap::{Gap, GapRecord};
use super::hop::Hop;
use super::maintenance::MaintenanceWindow;
use super::tries::Try;
use super::version::RecordVersion;
use super::words::{ErrorType, Expectation, GapReason, HttpVersion, Outcome, TlsVersion};
use crate::limits::{
    MAX_HOPS, MAX_LABELS, MAX_MAINTENANCE, MAX_MESSAGE, MAX_SAMPLE_BODY, MAX_SAMPLE_HEADERS,
    MAX_SLO_UPTIME_PPM, MAX_SLO_WINDOW_DAYS, MAX_TEXT, MAX_THRESHOLD, MAX_TRIES, MAX_URL,
};
use crate::text::truncated;

/// What one scheduled instant of one site, seen from one location, came to.
///
/// Optional fields are left out of the JSON when they are null. Durations are whole microseconds; a null
/// duration was not measured, which is not the same as 0.
///
/// ```
/// use webmon::record::{CheckResult, Outcome, Record};
///
/// let json = br#"{"v":1,"site":"shop","name":"Shop","location":"berlin-1","checker":"host-a",
///     "url":"https://shop.example/","method":"GET","scheduled_at":"2026-03-01T12:00:00Z",
///     "next_at":"2026-03-01T12:01:00Z","started_at":"2026-03-01T12:00:00.0019Z","outcome":"success",
///     "http_status":200,"total_us":48211,"attempts":1}"#;
/// let Record::Result(result) = Record::decode(json)? else { panic!("a gap") };
/// assert_eq!(result.outcome, Outcome::Success);
/// assert_eq!(result.body_matched, None); // there was no pattern
/// # Ok::<(), webmon::record::DecodeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(
    description = "What one scheduled instant of one site, seen from one location, came to. Optional fields \
may be left out or null. Durations are whole microseconds; a null duration was not measured, which is not 0."
)]
pub struct CheckResult {
    /// The record's version, 1.
    pub v: RecordVersion,
    /// The site's key: its `id` where one is configured, else its name. At most 200 characters.
    #[schemars(length(min = 1, max = MAX_TEXT))]
    pub site: String,
    /// The site's display name.
    #[schemars(length(min = 1, max = MAX_TEXT))]
    pub name: String,
    /// Where the check was made from.
    #[schemars(length(min = 1, max = MAX_TEXT))]
    pub location: String,
    /// The host or instance that made it.
    #[schemars(length(min = 1, max = MAX_TEXT))]
    pub checker: String,
    /// The site's labels, at most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = MAX_LABELS,
        "propertyNames" = { "minLength": 1, "maxLength": MAX_TEXT },
        "additionalProperties" = { "type": "string", "maxLength": MAX_TEXT },
    ))]
    pub labels: BTreeMap<String, String>,
    /// The URL as configured, credentials and query values redacted.
    #[schemars(length(max = MAX_URL))]
    pub url: String,
    /// The URL requested last, where redirects led elsewhere; redacted likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_URL))]
    pub final_url: Option<String>,
    /// The schedule: the cron expression and its time zone, as `*/30 * * * * * in UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_TEXT))]
    pub schedule: Option<String>,
    /// The longest time from an instant to its result, in milliseconds: the delay of its start, all attempts and pauses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub time_budget_ms: Option<u32>,
    /// How many consecutive failures take a location down. Null: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_THRESHOLD))]
    pub incident_failures: Option<u16>,
    /// How many consecutive successes take it up again. Null: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_THRESHOLD))]
    pub incident_recoveries: Option<u16>,
    /// At how many locations the site must be down to make an incident. Null: 1, unless there is a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_THRESHOLD))]
    pub incident_locations: Option<u16>,
    /// At how many percent of the locations in use, rounded up. Null where there is a number of locations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_THRESHOLD))]
    pub incident_locations_percent: Option<u16>,
    /// How many locations must be in use to make an incident. Null: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_THRESHOLD))]
    pub incident_min_voters: Option<u16>,
    /// The share of the scheduled instants that must not fail, in millionths. Null: there is no target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_SLO_UPTIME_PPM))]
    pub slo_uptime_ppm: Option<u32>,
    /// Over how many days, the current UTC day included. Null exactly where there is no target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_SLO_WINDOW_DAYS))]
    pub slo_window_days: Option<u16>,
    /// The windows of planned maintenance, those that are over too. Of more than ten, the first ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_MAINTENANCE))]
    pub maintenance: Vec<MaintenanceWindow>,
    /// The request's method.
    #[schemars(regex(pattern = "^[!-~]{1,16}$"))]
    pub method: String,
    /// Redirects followed.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = i16::MAX))]
    pub redirects: u16,
    /// The cron instant, in whole seconds: with site and location, the identity.
    pub scheduled_at: Timestamp,
    /// The next instant planned, in whole seconds, later than `scheduled_at`; null when the site was retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// When the check really began, to the microsecond; null when it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// How the instant ended.
    pub outcome: Outcome,
    /// Whether a success took longer than the site's `degraded`: it is up, but slow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
    /// The class of what went wrong; null exactly on success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<ErrorType>,
    /// A low-cardinality reason within the class, such as `nxdomain` or `certificate_expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_TEXT))]
    pub error_detail: Option<String>,
    /// Free text for people, at most 1 kB, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_MESSAGE))]
    pub error_message: Option<String>,
    /// Every expectation that failed, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("uniqueItems" = true))]
    pub failed_expectations: Vec<Expectation>,
    /// The status code of the last response; null when none arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 999))]
    pub http_status: Option<u16>,
    /// Whether the body was as its patterns ask (`body` found, `not_body` not found); null when there is none, or
    /// it was not evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_matched: Option<bool>,
    /// Microseconds to resolve the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub dns_us: Option<u32>,
    /// Microseconds to connect by TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub connect_us: Option<u32>,
    /// Microseconds of the TLS handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub tls_us: Option<u32>,
    /// Microseconds from the request sent to the response's head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub ttfb_us: Option<u32>,
    /// Microseconds to read the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub download_us: Option<u32>,
    /// Microseconds of the whole check, redirects and body included; of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub total_us: Option<u32>,
    /// Decoded bytes of the body that were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub body_bytes: Option<u32>,
    /// Whether reading stopped at the site's `max_body`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub body_truncated: bool,
    /// The address connected to; where there was no connection, the one tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<std::net::IpAddr>,
    /// `HTTP/1.0` or `HTTP/1.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_version: Option<HttpVersion>,
    /// `TLSv1.2` or `TLSv1.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<TlsVersion>,
    /// When the server's certificate expires; also for one that failed verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_not_after: Option<Timestamp>,
    /// The certificate itself; null over plain HTTP, and before one was presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// The redirects followed, in order, of the last try.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_HOPS))]
    pub hops: Vec<Hop>,
    /// The tries before the last one, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_TRIES))]
    pub tries: Vec<Try>,
    /// Tries within the instant; 0 when it never started.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = i16::MAX))]
    pub attempts: u16,
    /// Headers and the start of a failing body, where the site opted in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
}

/// What a failing response looked like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// At most 32 headers, name and value, in the order received; no cookies.
    #[serde(default)]
    #[schemars(length(max = MAX_SAMPLE_HEADERS))]
    pub headers: Vec<(String, String)>,
    /// The start of the body, at most 4,096 bytes, invalid UTF-8 replaced.
    #[serde(default)]
    #[schemars(length(max = MAX_SAMPLE_BODY))]
    pub body: String,
}

impl CheckResult {
    /// Sets the error and, from it, the outcome. The texts are cut to their bounds.
    pub fn set_error(&mut self, error_type: ErrorType, detail: Option<&str>, message: Option<&str>) {
        self.outcome = error_type.outcome();
        self.degraded = false;
        self.error_type = Some(error_type);
        self.error_detail = detail.map(|text| truncated(text, MAX_TEXT));
        self.error_message = message.map(|text| truncated(text, MAX_MESSAGE));
    }

    /// The gap that this result leaves if it is lost: its one instant, up to the next.
    pub fn gap(&self, reason: GapReason) -> GapRecord {
        GapRecord {
            v: RecordVersion,
            site: self.site.clone(),
            location: self.location.clone(),
            checker: self.checker.clone(),
            gap: Gap { from: self.scheduled_at, to: self.next_at, instants: 1, reason },
        }
    }

    /// Whether this result replaces a stored one of the same identity. It does only if its rank is higher.
    pub fn supersedes(&self, stored: Outcome) -> bool {
        self.outcome > stored
    }
}

fn is_zero(value: &u16) -> bool {
    *value == 0
}
