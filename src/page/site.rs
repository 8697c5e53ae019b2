//! A site's page: all that is known of it.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use super::budget::Budget;
use super::changes::Change;
use super::chosen::{self, Shown, ShownReason};
use super::day::{Day, Shares};
use super::front::whole_days;
use super::incidents::ShownIncident;
use super::overview::{Overview, SiteNow};
use super::result::ShownResult;
use super::series::{self, Point, Steps, Sums};
use super::site_read::Found;
use super::state::State;
use super::together::Together;
use crate::config::{Page, Show};

/// A site's page.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SitePage {
    /// When the database was read.
    pub at: Timestamp,
    /// Why it is older than it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outdated: Option<String>,
    /// What the site is called in addresses.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub state: State,
    /// Since when, if that is known.
    pub since: Option<Timestamp>,
    /// Why.
    pub reason: Option<ShownReason>,
    /// The incident that lasts.
    pub incident_id: Option<i64>,
    /// When the next result is due.
    pub next_at: Option<Timestamp>,
    /// The cron expression and its time zone.
    pub schedule: Option<String>,
    /// The method and the URL. Only on pages that show URLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// What each location says.
    pub locations: Vec<ShownPlace>,
    /// The last 24 hours, 7, 30 and 90 days.
    pub figures: Vec<Figures>,
    /// The last 90 UTC days, the oldest first.
    pub days: Vec<Day>,
    /// Response times of the last 24 hours, 7 and 90 days.
    pub latency: Vec<Latency>,
    /// What is left of the failures that the site's target of uptime allows. None without a target.
    pub budget: Option<Budget>,
    /// The hours of the last 30 UTC days, the oldest day first.
    pub heat: Vec<HeatDay>,
    /// The newest incidents, at most 20.
    pub incidents: Vec<ShownIncident>,
    /// The locations over the same instants. None with fewer than two locations.
    pub together: Option<Together>,
    /// The certificate that was seen last.
    pub certificate: Option<ShownCertificate>,
    /// What changed in the configuration, and when, the newest first.
    pub changes: Vec<Change>,
    /// The newest results, at most 50.
    pub results: Vec<ShownResult>,
}

/// What a location says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct ShownPlace {
    /// Its name.
    pub location: String,
    /// What the site is there.
    pub state: State,
    /// Since when it is down there.
    pub down_since_at: Option<Timestamp>,
    /// The instant of the newest result.
    pub scheduled_at: Timestamp,
    /// When the next one is due.
    pub next_at: Option<Timestamp>,
    /// Why the newest instant did not succeed.
    pub reason: Option<ShownReason>,
    /// The status code of the newest result.
    pub http_status: Option<i16>,
    /// How long it took, in microseconds.
    pub total_us: Option<i32>,
}

/// Uptime and percentiles of a stretch that ends now.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Figures {
    /// Such as `24 hours`.
    pub of: String,
    /// How the instants ended.
    #[serde(flatten)]
    pub shares: Shares,
    /// success / (success + failure), in percent.
    pub uptime_percent: Option<f64>,
    /// How much was checked, in percent.
    pub coverage_percent: Option<f64>,
    /// The median time of a check, in microseconds.
    pub p50_us: Option<u32>,
    /// The time that 95 % of the checks did not exceed.
    pub p95_us: Option<u32>,
    /// The time that 99 % of the checks did not exceed.
    pub p99_us: Option<u32>,
}

/// Response times over a stretch.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Latency {
    /// Such as `24 hours`.
    pub of: String,
    /// How long a step is, in seconds.
    pub step_s: i64,
    /// The steps, the oldest first.
    pub points: Vec<Point>,
}

/// The hours of a UTC day.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct HeatDay {
    /// The day.
    pub day: Date,
    /// How the instants of its 24 hours ended.
    pub hours: Vec<Shares>,
}

/// A certificate.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct ShownCertificate {
    /// When the first certificate of its chain expires.
    pub expires_at: Option<Timestamp>,
    /// How many whole days are left.
    pub days: Option<i64>,
    /// When it was first seen.
    pub first_seen_at: Timestamp,
    /// Who issued it.
    pub issuer: String,
    /// What it is for. Only on pages that show URLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// The SHA-256 of the certificate. Only on pages that show URLs: public logs tell its names by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The seconds of an hour and a day.
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// How many days the heat map has.
const HEAT_DAYS: i64 = 30;

impl SitePage {
    /// The page of a site. `found` is what was read of it.
    pub(super) fn new(page: &Page, overview: &Overview, shown: &Shown<'_>, found: Found) -> SitePage {
        let (site, at) = (shown.site, overview.at);
        let hour = floor(at, HOUR);
        let before = |seconds: i64| Timestamp::from_second(hour.as_second() + HOUR - seconds).unwrap_or(hour);
        let today = floor(at, DAY);
        let days_before =
            |days: i64| Timestamp::from_second(today.as_second() + DAY - days * DAY).unwrap_or(today);
        let tomorrow = days_before(0);
        let latency = vec![
            Latency {
                of: "24 hours".to_owned(),
                step_s: HOUR,
                points: series::points(&found.hours, before(24 * HOUR), before(0), HOUR),
            },
            Latency {
                of: "7 days".to_owned(),
                step_s: 3 * HOUR,
                points: series::points(&found.hours, before(7 * DAY), before(0), 3 * HOUR),
            },
            Latency {
                of: "90 days".to_owned(),
                step_s: DAY,
                points: series::points(&found.days, days_before(90), tomorrow, DAY),
            },
        ];
        let figures = vec![
            figures("24 hours", &series::sum_since(&found.hours, before(24 * HOUR))),
            figures("7 days", &series::sum_since(&found.days, days_before(7))),
            figures("30 days", &series::sum_since(&found.days, days_before(30))),
            figures("90 days", &series::sum_since(&found.days, days_before(90))),
        ];
        let incidents = found.incidents.iter();
        SitePage {
            at,
            outdated: overview.outdated.clone(),
            id: shown.id.clone(),
            name: shown.name.to_owned(),
            state: site.state,
            since: site.since,
            reason: site.reason.as_ref().map(|reason| chosen::reason(page, reason)),
            incident_id: site.incident_id,
            next_at: site.next_at,
            schedule: site.facts.schedule.clone(),
            request: page
                .show
                .contains(&Show::Url)
                .then(|| format!("{} {}", site.facts.method, site.facts.url)),
            locations: places(page, site),
            figures,
            days: site.bar.days(overview.today),
            latency,
            budget: site.facts.target.map(|target| {
                let days = usize::from(target.window_days);
                Budget::of(target, site.bar.sum(days))
            }),
            heat: heat(&found.hours, days_before(HEAT_DAYS)),
            incidents: incidents
                .map(|incident| ShownIncident::of(page, incident, &shown.id, shown.name, at))
                .collect(),
            together: found.together,
            certificate: found.certificate.map(|certificate| ShownCertificate {
                expires_at: certificate.expires_at,
                days: certificate.expires_at.map(|expires_at| whole_days(at, expires_at)),
                first_seen_at: certificate.first_seen_at,
                issuer: certificate.issuer,
                names: page.show.contains(&Show::Url).then_some(certificate.names),
                sha256: page.show.contains(&Show::Url).then_some(certificate.sha256),
            }),
            changes: found.changes,
            results: found.results,
        }
    }
}

/// The time at which the step of `width_s` seconds that has `at` begins.
fn floor(at: Timestamp, width_s: i64) -> Timestamp {
    Timestamp::from_second(at.as_second().div_euclid(width_s) * width_s).unwrap_or(at)
}

fn figures(of: &str, sums: &Sums) -> Figures {
    Figures {
        of: of.to_owned(),
        shares: sums.shares,
        uptime_percent: sums.shares.uptime_percent(),
        coverage_percent: sums.shares.coverage_percent(),
        p50_us: sums.percentile(0.50),
        p95_us: sums.percentile(0.95),
        p99_us: sums.percentile(0.99),
    }
}

fn places(page: &Page, site: &SiteNow) -> Vec<ShownPlace> {
    let place = |place: &super::overview::Place| ShownPlace {
        location: place.location.to_string(),
        state: place.state,
        down_since_at: place.down_since_at,
        scheduled_at: place.scheduled_at,
        next_at: place.next_at,
        reason: place.reason.as_ref().map(|reason| chosen::reason(page, reason)),
        http_status: place.http_status,
        total_us: place.total_us,
    };
    site.places.iter().map(place).collect()
}

fn heat(hours: &Steps, first: Timestamp) -> Vec<HeatDay> {
    let day = |i: i64| {
        let begin = first.saturating_add(SignedDuration::from_secs(i * DAY)).unwrap_or(first);
        let hour = |h: i64| {
            let at = begin.saturating_add(SignedDuration::from_secs(h * HOUR)).unwrap_or(begin);
            hours.get(&at).map(|sums| sums.shares).unwrap_or_default()
        };
        HeatDay { day: begin.to_zoned(TimeZone::UTC).date(), hours: (0..24).map(hour).collect() }
    };
    (0..HEAT_DAYS).map(day).collect()
}
