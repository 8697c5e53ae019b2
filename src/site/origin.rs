//! The location and the instance that check.

use jiff::Timestamp;

use super::incident::Locations;
use super::maintenance::Maintenance;
use super::site::Site;
use crate::limits::{MAX_MAINTENANCE, MAX_TEXT};
use crate::record::{CheckResult, Outcome, RecordVersion};
use crate::text::truncated;

/// The location and the instance that check. Every record has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where the checks are made from, such as `berlin-1`. It is part of a result's identity. 1 to 200 characters.
    pub location: String,
    /// The host or instance. 1 to 200 characters.
    pub checker: String,
}

impl Origin {
    /// An origin with this location and checker.
    pub fn new(location: impl Into<String>, checker: impl Into<String>) -> Origin {
        Origin { location: location.into(), checker: checker.into() }
    }

    /// The result of one instant of `site` with nothing measured yet: `missed`, without a reason.
    pub fn blank(&self, site: &Site, scheduled_at: Timestamp, next_at: Option<Timestamp>) -> CheckResult {
        let incident = &site.incident;
        let (incident_locations, incident_locations_percent) = match incident.locations {
            Locations::Count(count) => (Some(count), None),
            Locations::Percent(percent) => (None, Some(percent)),
        };
        // Left out, so that most records are no longer than before there were these thresholds, and their site's version is
        // the same.
        let unless_one = |threshold: u16| (threshold != 1).then_some(threshold);
        CheckResult {
            v: RecordVersion,
            site: site.key.clone(),
            name: site.name.clone(),
            location: self.location.clone(),
            checker: self.checker.clone(),
            labels: site.labels.clone(),
            url: site.redacted(&site.url),
            final_url: None,
            schedule: Some(truncated(&site.schedule.to_string(), MAX_TEXT)),
            time_budget_ms: u32::try_from((site.start_offset() + site.time_budget()).as_millis()).ok(),
            incident_failures: Some(incident.failures),
            incident_recoveries: unless_one(incident.recoveries),
            incident_locations,
            incident_locations_percent,
            incident_min_voters: unless_one(incident.min_voters),
            slo_uptime_ppm: site.slo.map(|slo| slo.uptime_ppm),
            slo_window_days: site.slo.map(|slo| slo.window_days),
            maintenance: site.maintenance.iter().take(MAX_MAINTENANCE).map(Maintenance::to_record).collect(),
            method: site.method.as_str().to_owned(),
            redirects: 0,
            scheduled_at,
            next_at,
            started_at: None,
            outcome: Outcome::Missed,
            degraded: false,
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
            certificate: None,
            hops: Vec::new(),
            tries: Vec::new(),
            attempts: 0,
            sample: None,
        }
    }
}
