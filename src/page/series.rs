//! How a site did over a stretch of time, hour by hour or day by day.

use std::collections::BTreeMap;

use jiff::Timestamp;
use postgres::Row;
use schemars::JsonSchema;
use serde::Serialize;

use super::day::Shares;
use super::histogram::Histogram;

/// What was measured in one step of a stretch.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Point {
    /// When the step begins.
    pub from_at: Timestamp,
    /// How the instants ended.
    #[serde(flatten)]
    pub shares: Shares,
    /// The median time of a check, in microseconds, within 4.4 %.
    pub p50_us: Option<u32>,
    /// The time that 95 % of the checks did not exceed.
    pub p95_us: Option<u32>,
    /// The time that 99 % of the checks did not exceed.
    pub p99_us: Option<u32>,
    /// The mean time of each phase.
    pub phases: Option<Phases>,
}

/// Where the time of a check went, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Phases {
    /// To resolve the name.
    pub dns_us: u32,
    /// To connect by TCP.
    pub connect_us: u32,
    /// For the TLS handshake.
    pub tls_us: u32,
    /// From the end of the request to the head of the response.
    pub wait_us: u32,
    /// To read the body.
    pub download_us: u32,
    /// Redirects, earlier tries, and what lies between the phases.
    pub rest_us: u32,
}

impl Phases {
    /// The phases in order, each with its name.
    pub(super) fn parts(&self) -> [(&'static str, u32); 6] {
        [
            ("dns", self.dns_us),
            ("connect", self.connect_us),
            ("tls", self.tls_us),
            ("wait", self.wait_us),
            ("download", self.download_us),
            ("rest", self.rest_us),
        ]
    }

    /// All together.
    pub(super) fn total(&self) -> u32 {
        self.parts().iter().fold(0, |sum, (_, us)| sum.saturating_add(*us))
    }
}

/// What is added up of one step.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    /// How the instants ended.
    pub shares: Shares,
    histogram: Histogram,
    total_us: u64,
    phases_us: [u64; 5],
}

impl Sums {
    /// Adds a row of `site_hours` or `site_days`.
    pub(super) fn add(&mut self, row: &Row) {
        let count = |name| u32::try_from(row.get::<_, i32>(name)).unwrap_or(0);
        self.shares += Shares {
            success: count("success"),
            failure: count("failure"),
            unchecked: count("unchecked"),
            planned: count("planned"),
        };
        let (buckets, counts): (Vec<i16>, Vec<i32>) = (row.get("buckets"), row.get("counts"));
        self.histogram.add(&buckets, &counts);
        let sum = |name| row.get::<_, Option<i64>>(name).and_then(|us| u64::try_from(us).ok()).unwrap_or(0);
        self.total_us += sum("total_us_sum");
        let phases = ["dns_us_sum", "connect_us_sum", "tls_us_sum", "ttfb_us_sum", "download_us_sum"];
        self.phases_us.iter_mut().zip(phases).for_each(|(all, name)| *all += sum(name));
    }

    /// Adds another.
    pub(super) fn merge(&mut self, other: &Sums) {
        self.shares += other.shares;
        self.histogram.merge(&other.histogram);
        self.total_us += other.total_us;
        self.phases_us.iter_mut().zip(other.phases_us).for_each(|(all, more)| *all += more);
    }

    /// The time in microseconds that this fraction of the checks did not exceed.
    pub(super) fn percentile(&self, fraction: f64) -> Option<u32> {
        self.histogram.percentile(fraction)
    }

    fn point(&self, from_at: Timestamp) -> Point {
        let mean = |us: u64| (us / self.histogram.total().max(1)).try_into().unwrap_or(u32::MAX);
        let [dns_us, connect_us, tls_us, wait_us, download_us] = self.phases_us.map(mean);
        let rest = self.total_us.saturating_sub(self.phases_us.iter().sum());
        let phases = Phases { dns_us, connect_us, tls_us, wait_us, download_us, rest_us: mean(rest) };
        Point {
            from_at,
            shares: self.shares,
            p50_us: self.percentile(0.50),
            p95_us: self.percentile(0.95),
            p99_us: self.percentile(0.99),
            phases: (self.histogram.total() > 0).then_some(phases),
        }
    }
}

/// The rows of a site, by the time at which their hour or day begins.
pub(super) type Steps = BTreeMap<Timestamp, Sums>;

/// Adds up the rows of all locations.
pub(super) fn steps(rows: &[Row]) -> Steps {
    let mut steps = Steps::new();
    for row in rows {
        steps.entry(row.get("from_at")).or_default().add(row);
    }
    steps
}

/// The steps from `from` to before `to`, each `width_s` seconds long. A step without rows has a point, too.
pub(super) fn points(steps: &Steps, from: Timestamp, to: Timestamp, width_s: i64) -> Vec<Point> {
    /// More than any chart has.
    const MAX_POINTS: i64 = 1_000;
    let count = ((to.as_second() - from.as_second()) / width_s.max(1)).clamp(0, MAX_POINTS);
    let at = |i: i64| Timestamp::from_second(from.as_second() + i * width_s).unwrap_or(Timestamp::MAX);
    let point = |i: i64| {
        let mut sums = Sums::default();
        steps.range(at(i)..at(i + 1)).for_each(|(_, step)| sums.merge(step));
        sums.point(at(i))
    };
    (0..count).map(point).collect()
}

/// All steps from `from` on, added up.
pub(super) fn sum_since(steps: &Steps, from: Timestamp) -> Sums {
    let mut sums = Sums::default();
    steps.range(from..).for_each(|(_, step)| sums.merge(step));
    sums
}
