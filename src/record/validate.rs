//! Checks the ranges of a record's fields, and the relations between them.

use std::fmt::Display;

use jiff::Timestamp;

use super::certificate::Certificate;
use super::error::DecodeError;
use super::gap::{GapRecord, MAX_DISTANCE};
use super::hop::Hop;
use super::maintenance::MaintenanceWindow;
use super::result::CheckResult;
use super::tries::Try;
use super::words::Outcome;
use crate::limits::{
    MAX_HOP_URL, MAX_HOPS, MAX_LABELS, MAX_MAINTENANCE, MAX_MAINTENANCE_S, MAX_MESSAGE, MAX_NAME,
    MAX_SAMPLE_BODY, MAX_SAMPLE_HEADERS, MAX_SLO_UPTIME_PPM, MAX_SLO_WINDOW_DAYS, MAX_SUBJECT_NAMES,
    MAX_TEXT, MAX_THRESHOLD, MAX_TRIES, MAX_URL,
};
use crate::text::truncated;

/// 0000-01-01T00:00:00Z in seconds from the Unix epoch.
const YEAR_0: i64 = -62_167_219_200;

impl CheckResult {
    /// Checks the fields in the order of the record. Stops at the first fault.
    pub(super) fn validate(&self) -> Result<(), DecodeError> {
        self.validate_site()?;
        self.validate_request()?;
        self.validate_instants()?;
        self.validate_verdict()?;
        self.validate_measurements()?;
        self.validate_way()?;
        self.validate_sample()
    }

    fn validate_site(&self) -> Result<(), DecodeError> {
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
        Ok(())
    }

    fn validate_request(&self) -> Result<(), DecodeError> {
        bytes("url", Some(&self.url), MAX_URL)?;
        bytes("final_url", self.final_url.as_deref(), MAX_URL)?;
        if let Some(schedule) = &self.schedule {
            text("schedule", schedule)?;
        }
        at_most_i32("time_budget_ms", self.time_budget_ms)?;
        self.validate_incident()?;
        self.validate_slo()?;
        at_most("maintenance", self.maintenance.len(), MAX_MAINTENANCE)?;
        self.maintenance.iter().try_for_each(MaintenanceWindow::validate)?;
        if !(1..=16).contains(&self.method.len()) || !self.method.bytes().all(|b| b.is_ascii_graphic()) {
            return invalid("method", format!("{:?} is not a method", truncated(&self.method, 40)));
        }
        small("redirects", self.redirects)?;
        small("attempts", self.attempts)
    }

    fn validate_incident(&self) -> Result<(), DecodeError> {
        threshold("incident_failures", self.incident_failures)?;
        threshold("incident_recoveries", self.incident_recoveries)?;
        threshold("incident_locations", self.incident_locations)?;
        threshold("incident_locations_percent", self.incident_locations_percent)?;
        threshold("incident_min_voters", self.incident_min_voters)?;
        if self.incident_locations.is_some() && self.incident_locations_percent.is_some() {
            return invalid("incident_locations_percent", "set beside incident_locations".to_owned());
        }
        Ok(())
    }

    fn validate_slo(&self) -> Result<(), DecodeError> {
        from_one("slo_uptime_ppm", self.slo_uptime_ppm, MAX_SLO_UPTIME_PPM)?;
        from_one("slo_window_days", self.slo_window_days, MAX_SLO_WINDOW_DAYS)?;
        match (self.slo_uptime_ppm, self.slo_window_days) {
            (Some(_), None) => invalid("slo_uptime_ppm", "set without slo_window_days".to_owned()),
            (None, Some(_)) => invalid("slo_window_days", "set without slo_uptime_ppm".to_owned()),
            _ => Ok(()),
        }
    }

    fn validate_instants(&self) -> Result<(), DecodeError> {
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
        Ok(())
    }

    fn validate_verdict(&self) -> Result<(), DecodeError> {
        match (self.outcome, self.error_type) {
            (Outcome::Success, None) => {}
            (Outcome::Success, Some(_)) => return invalid("error_type", "set on a success".to_owned()),
            (outcome, None) => return invalid("error_type", format!("missing on a {outcome}")),
            (outcome, Some(error_type)) if error_type.outcome() != outcome => {
                return invalid("error_type", format!("{error_type} does not belong to a {outcome}"));
            }
            _ => {}
        }
        if self.degraded && self.outcome != Outcome::Success {
            return invalid("degraded", format!("set on a {}", self.outcome));
        }
        optional_text("error_detail", self.error_detail.as_deref(), MAX_TEXT)?;
        bytes("error_message", self.error_message.as_deref(), MAX_MESSAGE)?;
        if self.outcome == Outcome::Success && !self.failed_expectations.is_empty() {
            return invalid("failed_expectations", "not empty on a success".to_owned());
        }
        for (i, expectation) in self.failed_expectations.iter().enumerate() {
            // This ends at the eleventh at the latest, because there are ten different ones.
            if self.failed_expectations[..i].contains(expectation) {
                return invalid("failed_expectations", format!("{expectation} is named twice"));
            }
        }
        Ok(())
    }

    fn validate_measurements(&self) -> Result<(), DecodeError> {
        if let Some(http_status) = self.http_status {
            status("http_status", http_status)?;
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
            expiry("cert_not_after", not_after)?;
        }
        match &self.certificate {
            Some(certificate) => certificate.validate(),
            None => Ok(()),
        }
    }

    /// The tries and redirects on the way to the result.
    fn validate_way(&self) -> Result<(), DecodeError> {
        at_most("hops", self.hops.len(), MAX_HOPS)?;
        self.hops.iter().try_for_each(Hop::validate)?;
        at_most("tries", self.tries.len(), MAX_TRIES)?;
        self.tries.iter().try_for_each(Try::validate)
    }

    fn validate_sample(&self) -> Result<(), DecodeError> {
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

impl Certificate {
    fn validate(&self) -> Result<(), DecodeError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if self.sha256.len() != 64 || !self.sha256.bytes().all(is_digit) {
            return invalid("certificate.sha256", "not 64 lower-case hexadecimal digits".to_owned());
        }
        optional_text("certificate.issuer", Some(&self.issuer), MAX_TEXT)?;
        at_most("certificate.subject_names", self.subject_names.len(), MAX_SUBJECT_NAMES)?;
        for name in &self.subject_names {
            bytes("certificate.subject_names", Some(name), MAX_NAME)?;
        }
        match self.chain_not_after {
            Some(not_after) => expiry("certificate.chain_not_after", not_after),
            None => Ok(()),
        }
    }
}

impl MaintenanceWindow {
    fn validate(&self) -> Result<(), DecodeError> {
        text("maintenance.schedule", &self.schedule)?;
        text("maintenance.timezone", &self.timezone)?;
        from_one("maintenance.duration_s", Some(self.duration_s), MAX_MAINTENANCE_S)
    }
}

impl Hop {
    fn validate(&self) -> Result<(), DecodeError> {
        bytes("hops.url", Some(&self.url), MAX_HOP_URL)?;
        status("hops.http_status", self.http_status)?;
        at_most_i32("hops.dns_us", self.dns_us)?;
        at_most_i32("hops.connect_us", self.connect_us)?;
        at_most_i32("hops.tls_us", self.tls_us)?;
        at_most_i32("hops.ttfb_us", self.ttfb_us)
    }
}

impl Try {
    fn validate(&self) -> Result<(), DecodeError> {
        if self.error_type.outcome() != self.outcome {
            let problem = format!("{} does not belong to a {}", self.error_type, self.outcome);
            return invalid("tries.error_type", problem);
        }
        optional_text("tries.error_detail", self.error_detail.as_deref(), MAX_TEXT)?;
        at_most_i32("tries.total_us", self.total_us)
    }
}

impl GapRecord {
    pub(super) fn validate(&self) -> Result<(), DecodeError> {
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
    // Characters are counted only if there are too many bytes, so that the usual case is one comparison.
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

fn status(field: &'static str, value: u16) -> Result<(), DecodeError> {
    if (100..=999).contains(&value) {
        return Ok(());
    }
    invalid(field, format!("{value} is out of range: expected 100 to 999"))
}

fn at_most(field: &'static str, count: usize, max: usize) -> Result<(), DecodeError> {
    if count <= max { Ok(()) } else { invalid(field, format!("{count} are more than {max}")) }
}

/// When a certificate expires. X.509 has the years 0 to 9999 (RFC 5280, 4.1.2.5.2). PostgreSQL's years begin at -4712,
/// jiff's earlier.
fn expiry(field: &'static str, value: Timestamp) -> Result<(), DecodeError> {
    whole_seconds(field, value)?;
    if value.as_second() < YEAR_0 {
        return invalid(field, format!("{value} is before the year 0"));
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
    from_one(field, value, MAX_THRESHOLD)
}

fn from_one<T: PartialOrd + From<u8> + Display>(
    field: &'static str,
    value: Option<T>,
    max: T,
) -> Result<(), DecodeError> {
    match value {
        Some(value) if value < T::from(1) || value > max => {
            invalid(field, format!("{value} is out of range: expected 1 to {max}"))
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
