//! The record: what one check, or one instant without a check, comes to. It is the value of a Kafka record
//! (JSON, `"v": 1`) and, field for field, a row of the database.
//!
//! A result's identity is `(site, location, scheduled_at)`. Two results for one identity are ranked
//! `missed < failure < success`; the higher one replaces the lower, so the order of arrival never matters.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::site::{Origin, Site};

/// The version of the record that this library writes and reads.
pub const VERSION: u32 = 1;
/// The longest key, name, location, checker, label or `error_detail`, in characters.
pub const MAX_TEXT: usize = 200;
/// The most labels of a site.
pub const MAX_LABELS: usize = 16;
/// The longest `url` or `final_url`, in bytes.
pub const MAX_URL: usize = 2_048;
/// The longest `error_message`, in bytes.
pub const MAX_MESSAGE: usize = 1_024;
/// The longest sampled body, in bytes of UTF-8.
pub const MAX_SAMPLE_BODY: usize = 4_096;
/// The most sampled headers.
pub const MAX_SAMPLE_HEADERS: usize = 32;
/// The most failures on end, or locations, that an incident may need.
pub const MAX_THRESHOLD: u16 = 100;
/// The largest encoded record, in bytes; a larger Kafka value is not parsed. Every valid record is smaller, also
/// one of control characters only, which JSON writes as six bytes each; and Kafka's own default limit is larger.
pub const MAX_RECORD: usize = 512 * 1024;

/// The longest time between an instant and the next one, in seconds: 68 years, as much as the database's columns hold.
const MAX_DISTANCE: i64 = i32::MAX as i64;
/// 0000-01-01T00:00:00Z in seconds from the Unix epoch.
const YEAR_0: i64 = -62_167_219_200;

/// How a scheduled instant ended. The order is the rank: `Missed < Failure < Success`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No verdict: the check did not run, or not to its end. Never counted against the site.
    Missed,
    /// The site did not answer as expected.
    Failure,
    /// The site answered as expected.
    Success,
}

impl Outcome {
    /// The word used in records, tables and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Missed => "missed",
            Outcome::Failure => "failure",
            Outcome::Success => "success",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word used in records, tables and logs.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }
    };
}

words! {
    /// The low-cardinality class of what went wrong (OpenTelemetry's `error.type`). The first nine belong to
    /// a failure, the others to a missed instant: see [`ErrorType::outcome`].
    ErrorType {
        /// The name did not resolve.
        Dns = "dns_error",
        /// No TCP connection: refused, unreachable, reset while connecting.
        Connect = "connect_error",
        /// The TLS handshake failed, or the certificate was not trusted.
        Tls = "tls_error",
        /// The check's time was over; `error_detail` names the phase.
        Timeout = "timeout",
        /// The peer did not speak HTTP, or cut the connection off within the response's head.
        Protocol = "protocol_error",
        /// Too many redirects, or one that cannot be followed.
        Redirect = "redirect_error",
        /// The body broke off, could not be decoded, or was not as long as announced.
        Body = "body_error",
        /// An address that the configuration forbids.
        BlockedAddress = "blocked_address",
        /// The response came, and was not what was expected: see `failed_expectations`.
        ExpectationFailed = "expectation_failed",
        /// The instant had passed by more than the allowed lateness before a check could start, or the checker stood
        /// still during the check (`suspended`).
        Late = "late",
        /// The site's previous check was still running.
        Overlap = "overlap",
        /// The checker lacked a thread, a file descriptor, memory or a port.
        Saturated = "saturated",
        /// The checker was stopped before the check ended.
        Cancelled = "cancelled",
        /// The checker's own network was down: the sentinels failed too, or this host has no route to the site.
        NetworkDown = "network_down",
        /// The checker did not run; recorded after its restart.
        CheckerDown = "checker_down",
        /// A planned maintenance window.
        Maintenance = "maintenance",
    }
}

impl ErrorType {
    /// The outcome that this class belongs to: [`Outcome::Failure`] or [`Outcome::Missed`].
    pub fn outcome(self) -> Outcome {
        if self < ErrorType::Late { Outcome::Failure } else { Outcome::Missed }
    }
}

words! {
    /// An expectation of a site's `expect` table.
    Expectation {
        /// The status code.
        Status = "status",
        /// A pattern that the body must contain.
        Body = "body",
        /// A pattern that the body must not contain.
        NotBody = "not_body",
        /// A response header.
        Header = "header",
        /// The longest total time.
        MaxTime = "max_time",
        /// How long the certificate must still be valid.
        Certificate = "certificate",
    }
}

words! {
    /// Why instants lie in a [`Gap`] and not in rows.
    GapReason {
        /// The checker was down for longer than it backfills.
        CheckerDown = "checker_down",
        /// The outbox was full: the oldest results were dropped.
        OutboxFull = "outbox_full",
        /// The broker refused the results for good.
        Refused = "refused",
        /// The site's schedule was changed.
        Rescheduled = "rescheduled",
    }
}

/// The record's version field. It only ever holds [`VERSION`]: a record of another version does not decode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordVersion;

impl Serialize for RecordVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(VERSION)
    }
}

impl<'de> Deserialize<'de> for RecordVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            VERSION => Ok(RecordVersion),
            other => Err(serde::de::Error::custom(format_args!("unknown version {other}"))),
        }
    }
}

impl JsonSchema for RecordVersion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RecordVersion".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "const": VERSION })
    }
}

/// What one scheduled instant of one site, seen from one location, came to.
///
/// Optional fields are left out of the JSON when they are null. Durations are whole microseconds; a null
/// duration was not measured, which is not the same as 0.
///
/// ```
/// use webmon::result::{CheckResult, Outcome, Record};
///
/// let json = br#"{"v":1,"site":"shop","name":"Shop","location":"berlin-1","checker":"host-a",
///     "url":"https://shop.example/","method":"GET","scheduled_at":"2026-03-01T12:00:00Z",
///     "next_at":"2026-03-01T12:01:00Z","started_at":"2026-03-01T12:00:00.0019Z","outcome":"success",
///     "http_status":200,"total_us":48211,"attempts":1}"#;
/// let Record::Result(result) = Record::decode(json)? else { panic!("a gap") };
/// assert_eq!(result.outcome, Outcome::Success);
/// assert_eq!(result.body_matched, None); // there was no pattern
/// # Ok::<(), webmon::result::DecodeError>(())
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
    /// So many failures on end make the site down, seen from one location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_THRESHOLD))]
    pub incident_failures: Option<u16>,
    /// From so many locations the site must be down to make an incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_THRESHOLD))]
    pub incident_locations: Option<u16>,
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
    #[schemars(length(max = 6), extend("uniqueItems" = true))]
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
    /// Tries within the instant; 0 when it never started.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = i16::MAX))]
    pub attempts: u16,
    /// Headers and the start of a failing body, where the site opted in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
}

words! {
    /// The version of HTTP spoken.
    HttpVersion {
        /// HTTP/1.0
        Http10 = "HTTP/1.0",
        /// HTTP/1.1
        Http11 = "HTTP/1.1",
        /// HTTP/2
        Http2 = "HTTP/2",
        /// HTTP/3
        Http3 = "HTTP/3",
    }
}

words! {
    /// The version of TLS negotiated.
    TlsVersion {
        /// TLS 1.2
        Tls12 = "TLSv1.2",
        /// TLS 1.3
        Tls13 = "TLSv1.3",
    }
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

/// A stretch of instants that have no rows: it closes the chain of `next_at` where rows cannot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GapRecord {
    /// The record's version, 1.
    pub v: RecordVersion,
    /// The site's key.
    #[schemars(length(min = 1, max = MAX_TEXT))]
    pub site: String,
    /// The location whose instants are missing.
    #[schemars(length(min = 1, max = MAX_TEXT))]
    pub location: String,
    /// The checker that reports it.
    #[schemars(length(min = 1, max = MAX_TEXT))]
    pub checker: String,
    /// What is missing.
    pub gap: Gap,
}

/// The half-open stretch `[from, to)` of a [`GapRecord`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// The first instant without a row, in whole seconds.
    pub from: Timestamp,
    /// The next instant planned after the gap, in whole seconds, at most 68 years after `from`; null when the site was
    /// retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// How many instants are missing: at least 1, and no more than the stretch has seconds. Where it has no end, at most
    /// 2,147,483,647.
    #[schemars(range(min = 1, max = MAX_DISTANCE))]
    pub instants: u64,
    /// Why.
    pub reason: GapReason,
}

/// One Kafka record: a result, or a gap.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Record {
    /// A [`CheckResult`].
    #[schemars(description = "What one scheduled instant came to.")]
    Result(Box<CheckResult>),
    /// A [`GapRecord`].
    #[schemars(description = "A stretch of instants without results.")]
    Gap(GapRecord),
}

impl From<CheckResult> for Record {
    fn from(result: CheckResult) -> Record {
        Record::Result(Box::new(result))
    }
}

impl From<GapRecord> for Record {
    fn from(gap: GapRecord) -> Record {
        Record::Gap(gap)
    }
}

/// Why a Kafka value is not a record. Each is a dead letter, none is a panic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The record has no value (a tombstone).
    #[error("the record has no value")]
    Empty,
    /// Larger than [`MAX_RECORD`].
    #[error("{0} bytes are more than a record may have ({MAX_RECORD})")]
    TooLarge(usize),
    /// Not JSON, or not the JSON of a record.
    #[error("not a record: {0}")]
    Malformed(String),
    /// A version this library does not know: the checkers were upgraded first.
    #[error("unknown record version {0}: expected {VERSION}")]
    UnknownVersion(u64),
    /// Well-formed, but a field is out of its range or contradicts another.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl DecodeError {
    /// A low-cardinality word for the fault, stored beside a dead letter.
    pub fn reason(&self) -> &'static str {
        match self {
            DecodeError::Empty => "empty",
            DecodeError::TooLarge(_) => "too_large",
            DecodeError::Malformed(_) => "malformed",
            DecodeError::UnknownVersion(_) => "unknown_version",
            DecodeError::Invalid { .. } => "invalid",
        }
    }
}

impl Record {
    /// The Kafka key: the site's key, so that a site's records stay in one partition.
    pub fn key(&self) -> &str {
        match self {
            Record::Result(result) => &result.site,
            Record::Gap(gap) => &gap.site,
        }
    }

    /// The Kafka value: one JSON object on one line.
    pub fn encode(&self) -> Vec<u8> {
        // Maps with text keys, numbers and texts only: serde_json has no way to fail on them.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a Kafka value and checks every range and relation. About a microsecond a record.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong; the caller keeps the raw value.
    pub fn decode(value: &[u8]) -> Result<Record, DecodeError> {
        if value.is_empty() {
            return Err(DecodeError::Empty);
        }
        if value.len() > MAX_RECORD {
            return Err(DecodeError::TooLarge(value.len()));
        }
        // A result is by far the usual case, so it is tried first; what it isn't is found out afterwards.
        let record = match serde_json::from_slice::<CheckResult>(value) {
            Ok(result) => Record::Result(Box::new(result)),
            Err(error) => decode_other(value, &error)?,
        };
        record.validate()?;
        Ok(record)
    }

    /// Checks every range and relation between fields.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] for the first field at fault.
    pub fn validate(&self) -> Result<(), DecodeError> {
        match self {
            Record::Result(result) => result.validate(),
            Record::Gap(gap) => gap.validate(),
        }
    }

    /// The JSON Schema of a record's value, as in `docs/record.schema.json`.
    pub fn json_schema() -> serde_json::Value {
        let mut schema = schemars::schema_for!(Record);
        schema.insert("title".into(), "webmon record, version 1".into());
        schema.to_value()
    }
}

/// What a value is that did not decode as a result: a gap, a record of another version, or nothing known.
fn decode_other(value: &[u8], error: &serde_json::Error) -> Result<Record, DecodeError> {
    #[derive(Deserialize)]
    struct Head {
        v: Option<serde_json::Value>,
        gap: Option<serde::de::IgnoredAny>,
    }
    let Ok(head) = serde_json::from_slice::<Head>(value) else {
        return Err(DecodeError::Malformed(brief(error)));
    };
    let Some(v) = head.v else {
        return Err(DecodeError::Malformed("no version field \"v\"".to_owned()));
    };
    match v.as_u64() {
        Some(v) if v == u64::from(VERSION) => {}
        Some(v) => return Err(DecodeError::UnknownVersion(v)),
        None => {
            return Err(DecodeError::Malformed("the version field \"v\" is not a whole number".to_owned()));
        }
    }
    if head.gap.is_none() {
        return Err(DecodeError::Malformed(brief(error)));
    }
    serde_json::from_slice::<GapRecord>(value)
        .map(Record::Gap)
        .map_err(|error| DecodeError::Malformed(brief(&error)))
}

fn brief(error: &serde_json::Error) -> String {
    truncated(&error.to_string(), MAX_MESSAGE)
}

impl CheckResult {
    /// A result with the identity of one instant and nothing measured yet: `missed`, without a reason.
    pub fn blank(
        site: &Site,
        origin: &Origin,
        scheduled_at: Timestamp,
        next_at: Option<Timestamp>,
    ) -> CheckResult {
        CheckResult {
            v: RecordVersion,
            site: site.key.clone(),
            name: site.name.clone(),
            location: origin.location.clone(),
            checker: origin.checker.clone(),
            labels: site.labels.clone(),
            url: site.redacted(&site.url),
            final_url: None,
            schedule: Some(truncated(&site.schedule.to_string(), MAX_TEXT)),
            time_budget_ms: u32::try_from((site.start_offset() + site.time_budget()).as_millis()).ok(),
            incident_failures: Some(site.incident.failures),
            incident_locations: Some(site.incident.locations),
            method: site.method.as_str().to_owned(),
            redirects: 0,
            scheduled_at,
            next_at,
            started_at: None,
            outcome: Outcome::Missed,
            error_type: None,
            error_detail: None,
            error_message: None,
            failed_expectations: Vec::new(),
            http_status: None,
            body_matched: None,
            dns_us: None,
            connect_us: None,
            tls_us: None,
            ttfb_us: None,
            download_us: None,
            total_us: None,
            body_bytes: None,
            body_truncated: false,
            remote_ip: None,
            http_version: None,
            tls_version: None,
            cert_not_after: None,
            attempts: 0,
            sample: None,
        }
    }

    /// Sets the error and, from it, the outcome. The texts are cut to their bounds.
    pub fn set_error(&mut self, error_type: ErrorType, detail: Option<&str>, message: Option<&str>) {
        self.outcome = error_type.outcome();
        self.error_type = Some(error_type);
        self.error_detail = detail.map(|text| truncated(text, MAX_TEXT));
        self.error_message = message.map(|text| truncated(text, MAX_MESSAGE));
    }

    /// The gap that this result leaves where it is lost: its one instant, up to the next.
    pub fn gap(&self, reason: GapReason) -> GapRecord {
        GapRecord {
            v: RecordVersion,
            site: self.site.clone(),
            location: self.location.clone(),
            checker: self.checker.clone(),
            gap: Gap { from: self.scheduled_at, to: self.next_at, instants: 1, reason },
        }
    }

    /// Whether this result replaces a stored one of the same identity: only a higher rank does.
    pub fn supersedes(&self, stored: Outcome) -> bool {
        self.outcome > stored
    }

    fn validate(&self) -> Result<(), DecodeError> {
        text("site", &self.site)?;
        text("name", &self.name)?;
        text("location", &self.location)?;
        text("checker", &self.checker)?;
        if self.labels.len() > MAX_LABELS {
            return invalid("labels", format!("{} are more than {MAX_LABELS}", self.labels.len()));
        }
        for (key, value) in &self.labels {
            text("labels", key)?;
            optional_text("labels", Some(value), MAX_TEXT)?;
        }
        bytes("url", Some(&self.url), MAX_URL)?;
        bytes("final_url", self.final_url.as_deref(), MAX_URL)?;
        if let Some(schedule) = &self.schedule {
            text("schedule", schedule)?;
        }
        at_most_i32("time_budget_ms", self.time_budget_ms)?;
        threshold("incident_failures", self.incident_failures)?;
        threshold("incident_locations", self.incident_locations)?;
        if !(1..=16).contains(&self.method.len()) || !self.method.bytes().all(|b| b.is_ascii_graphic()) {
            return invalid("method", format!("{:?} is not a method", truncated(&self.method, 40)));
        }
        small("redirects", self.redirects)?;
        small("attempts", self.attempts)?;
        instant("scheduled_at", self.scheduled_at)?;
        if let Some(next_at) = self.next_at {
            instant("next_at", next_at)?;
            let distance = next_at.as_second() - self.scheduled_at.as_second();
            if !(1..=MAX_DISTANCE).contains(&distance) {
                return invalid("next_at", format!("{next_at} is not 1 s to 68 years after scheduled_at"));
            }
        }
        if let Some(started_at) = self.started_at {
            let delay = started_at.as_microsecond() - self.scheduled_at.as_microsecond();
            if i32::try_from(delay).is_err() {
                return invalid("started_at", format!("{started_at} is over 35 minutes from scheduled_at"));
            }
        }
        match (self.outcome, self.error_type) {
            (Outcome::Success, None) => {}
            (Outcome::Success, Some(_)) => return invalid("error_type", "set on a success".to_owned()),
            (outcome, None) => return invalid("error_type", format!("missing on a {outcome}")),
            (outcome, Some(error_type)) if error_type.outcome() != outcome => {
                return invalid("error_type", format!("{error_type} does not belong to a {outcome}"));
            }
            _ => {}
        }
        optional_text("error_detail", self.error_detail.as_deref(), MAX_TEXT)?;
        bytes("error_message", self.error_message.as_deref(), MAX_MESSAGE)?;
        if self.outcome == Outcome::Success && !self.failed_expectations.is_empty() {
            return invalid("failed_expectations", "not empty on a success".to_owned());
        }
        for (i, expectation) in self.failed_expectations.iter().enumerate() {
            // It ends at the seventh at the latest: there are six different ones.
            if self.failed_expectations[..i].contains(expectation) {
                return invalid("failed_expectations", format!("{expectation} is named twice"));
            }
        }
        if let Some(status) = self.http_status
            && !(100..=999).contains(&status)
        {
            return invalid("http_status", format!("{status} is out of range: expected 100 to 999"));
        }
        for (field, value) in [
            ("dns_us", self.dns_us),
            ("connect_us", self.connect_us),
            ("tls_us", self.tls_us),
            ("ttfb_us", self.ttfb_us),
            ("download_us", self.download_us),
            ("total_us", self.total_us),
            ("body_bytes", self.body_bytes),
        ] {
            at_most_i32(field, value)?;
        }
        if let Some(not_after) = self.cert_not_after {
            whole_seconds("cert_not_after", not_after)?;
            // X.509 has the years 0 to 9999 (RFC 5280, 4.1.2.5.2). PostgreSQL's begin at -4712, jiff's earlier.
            if not_after.as_second() < YEAR_0 {
                return invalid("cert_not_after", format!("{not_after} is before the year 0"));
            }
        }
        if let Some(sample) = &self.sample {
            if sample.headers.len() > MAX_SAMPLE_HEADERS {
                return invalid("sample", format!("more than {MAX_SAMPLE_HEADERS} headers"));
            }
            for (name, value) in &sample.headers {
                bytes("sample", Some(name), MAX_MESSAGE)?;
                bytes("sample", Some(value), MAX_MESSAGE)?;
            }
            bytes("sample", Some(&sample.body), MAX_SAMPLE_BODY)?;
        }
        Ok(())
    }
}

impl GapRecord {
    fn validate(&self) -> Result<(), DecodeError> {
        text("site", &self.site)?;
        text("location", &self.location)?;
        text("checker", &self.checker)?;
        instant("gap.from", self.gap.from)?;
        if let Some(to) = self.gap.to {
            instant("gap.to", to)?;
            if to <= self.gap.from {
                return invalid("gap.to", format!("{to} is not after gap.from"));
            }
            if to.as_second() - self.gap.from.as_second() > MAX_DISTANCE {
                return invalid("gap.to", format!("{to} is over 68 years after gap.from"));
            }
        }
        let most = self.gap.max_instants();
        if !(1..=most).contains(&self.gap.instants) {
            let problem = format!("{} is out of range: expected 1 to {most}", self.gap.instants);
            return invalid("gap.instants", problem);
        }
        Ok(())
    }
}

impl Gap {
    /// The most instants that can be missing: an instant is a whole second.
    pub fn max_instants(&self) -> u64 {
        let seconds = self.to.map_or(MAX_DISTANCE, |to| to.as_second() - self.from.as_second());
        seconds.clamp(0, MAX_DISTANCE) as u64
    }

    /// Where its instants end: at `to`, or, where the site was retired, after the one at `from`.
    pub fn end(&self) -> Timestamp {
        self.to.unwrap_or_else(|| self.from.checked_add(SignedDuration::from_secs(1)).unwrap_or(self.from))
    }
}

/// `text` cut to at most `max` bytes at a character's boundary, NUL characters replaced.
pub fn truncated(text: &str, max: usize) -> String {
    let mut cut = text[..text.floor_char_boundary(max)].to_owned();
    if cut.contains('\0') {
        // The replacement is longer than what it replaces.
        cut = cut.replace('\0', "\u{fffd}");
        cut.truncate(cut.floor_char_boundary(max));
    }
    cut
}

fn is_zero(value: &u16) -> bool {
    *value == 0
}

fn invalid(field: &'static str, problem: String) -> Result<(), DecodeError> {
    Err(DecodeError::Invalid { field, problem })
}

fn text(field: &'static str, value: &str) -> Result<(), DecodeError> {
    if value.is_empty() {
        return invalid(field, "empty".to_owned());
    }
    optional_text(field, Some(value), MAX_TEXT)
}

fn optional_text(field: &'static str, value: Option<&str>, max_chars: usize) -> Result<(), DecodeError> {
    let Some(value) = value else { return Ok(()) };
    // Counting characters only where bytes leave a doubt keeps the usual case one comparison.
    if value.len() > max_chars && value.chars().count() > max_chars {
        return invalid(field, format!("longer than {max_chars} characters"));
    }
    no_nul(field, value)
}

fn bytes(field: &'static str, value: Option<&str>, max: usize) -> Result<(), DecodeError> {
    let Some(value) = value else { return Ok(()) };
    if value.len() > max {
        return invalid(field, format!("{} bytes are more than {max}", value.len()));
    }
    no_nul(field, value)
}

/// PostgreSQL's text cannot hold NUL (manual, "Character Types").
fn no_nul(field: &'static str, value: &str) -> Result<(), DecodeError> {
    if value.as_bytes().contains(&0) {
        return invalid(field, "contains a NUL character".to_owned());
    }
    Ok(())
}

fn at_most_i32(field: &'static str, value: Option<u32>) -> Result<(), DecodeError> {
    match value {
        Some(value) if value > i32::MAX as u32 => {
            invalid(field, format!("{value} is out of range: expected 0 to {}", i32::MAX))
        }
        _ => Ok(()),
    }
}

fn threshold(field: &'static str, value: Option<u16>) -> Result<(), DecodeError> {
    match value {
        Some(value) if !(1..=MAX_THRESHOLD).contains(&value) => {
            invalid(field, format!("{value} is out of range: expected 1 to {MAX_THRESHOLD}"))
        }
        _ => Ok(()),
    }
}

fn small(field: &'static str, value: u16) -> Result<(), DecodeError> {
    if value > i16::MAX as u16 {
        return invalid(field, format!("{value} is out of range: expected 0 to {}", i16::MAX));
    }
    Ok(())
}

/// An instant of a schedule.
fn instant(field: &'static str, value: Timestamp) -> Result<(), DecodeError> {
    whole_seconds(field, value)?;
    if value < Timestamp::UNIX_EPOCH {
        return invalid(field, format!("{value} is before 1970"));
    }
    Ok(())
}

fn whole_seconds(field: &'static str, value: Timestamp) -> Result<(), DecodeError> {
    if value.subsec_nanosecond() != 0 {
        return invalid(field, format!("{value} is not in whole seconds"));
    }
    Ok(())
}
