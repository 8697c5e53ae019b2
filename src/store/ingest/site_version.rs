//! What distinguishes two rows of `site_versions`.

use std::collections::BTreeMap;

use postgres::types::{Json, ToSql};
use postgres::{Statement, Transaction};

use super::per_site::{ENTRY_BYTES, OfSite};
use crate::record::{CheckResult, MaintenanceWindow};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SiteVersion {
    name: String,
    url: String,
    method: String,
    labels: BTreeMap<String, String>,
    schedule: Option<String>,
    time_budget_ms: Option<u32>,
    incident_failures: Option<u16>,
    incident_recoveries: Option<u16>,
    incident_locations: Option<u16>,
    incident_locations_percent: Option<u16>,
    incident_min_voters: Option<u16>,
    slo_uptime_ppm: Option<u32>,
    slo_window_days: Option<u16>,
    maintenance: Vec<MaintenanceWindow>,
}

impl SiteVersion {
    pub(super) fn of(result: &CheckResult) -> SiteVersion {
        SiteVersion {
            name: result.name.clone(),
            url: result.url.clone(),
            method: result.method.clone(),
            labels: result.labels.clone(),
            schedule: result.schedule.clone(),
            time_budget_ms: result.time_budget_ms,
            incident_failures: result.incident_failures,
            incident_recoveries: result.incident_recoveries,
            incident_locations: result.incident_locations,
            incident_locations_percent: result.incident_locations_percent,
            incident_min_voters: result.incident_min_voters,
            slo_uptime_ppm: result.slo_uptime_ppm,
            slo_window_days: result.slo_window_days,
            maintenance: result.maintenance.clone(),
        }
    }

    pub(super) fn is_of(&self, result: &CheckResult) -> bool {
        self.url == result.url
            && self.name == result.name
            && self.method == result.method
            && self.labels == result.labels
            && self.schedule == result.schedule
            && self.time_budget_ms == result.time_budget_ms
            && self.incident_failures == result.incident_failures
            && self.incident_recoveries == result.incident_recoveries
            && self.incident_locations == result.incident_locations
            && self.incident_locations_percent == result.incident_locations_percent
            && self.incident_min_voters == result.incident_min_voters
            && self.slo_uptime_ppm == result.slo_uptime_ppm
            && self.slo_window_days == result.slo_window_days
            && self.maintenance == result.maintenance
    }
}

impl OfSite for SiteVersion {
    const DOING: &'static str = "cannot store the versions of sites";
    const LOOK_UP: &'static str = include_str!("../../../sql/queries/ingest/look_up_site_versions.sql");
    const INSERT: &'static str = include_str!("../../../sql/queries/ingest/insert_site_versions.sql");

    fn bytes(&self) -> usize {
        let labels =
            self.labels.iter().map(|(key, value)| ENTRY_BYTES + key.len() + value.len()).sum::<usize>();
        let schedule = self.schedule.as_ref().map_or(0, String::len);
        let windows = self.maintenance.iter();
        let windows = windows.map(|window| ENTRY_BYTES + window.schedule.len() + window.timezone.len());
        let windows = windows.sum::<usize>();
        ENTRY_BYTES + self.name.len() + self.url.len() + self.method.len() + schedule + labels + windows
    }

    fn query(
        rows: &[&(i32, SiteVersion)],
        transaction: &mut Transaction<'_>,
        statement: &Statement,
    ) -> Result<Vec<postgres::Row>, postgres::Error> {
        let mut columns = Columns::default();
        for (site, version) in rows {
            columns.site_ids.push(*site);
            columns.names.push(&version.name);
            columns.urls.push(&version.url);
            columns.methods.push(&version.method);
            columns.labels.push(Json(&version.labels));
            columns.schedules.push(version.schedule.as_deref());
            columns.budgets.push(version.time_budget_ms.map(|ms| ms as i32));
            let small = |number: Option<u16>| number.map(|n| n as i16);
            columns.incident_failures.push(small(version.incident_failures));
            columns.incident_recoveries.push(small(version.incident_recoveries));
            columns.incident_locations.push(small(version.incident_locations));
            columns.incident_locations_percent.push(small(version.incident_locations_percent));
            columns.incident_min_voters.push(small(version.incident_min_voters));
            columns.slo_uptimes.push(version.slo_uptime_ppm.map(|ppm| ppm as i32));
            columns.slo_windows.push(small(version.slo_window_days));
            let windows = version.maintenance.as_slice();
            columns.maintenance.push((!windows.is_empty()).then_some(Json(windows)));
        }
        let parameters: [&(dyn ToSql + Sync); 15] = [
            &columns.site_ids,
            &columns.names,
            &columns.urls,
            &columns.methods,
            &columns.labels,
            &columns.schedules,
            &columns.budgets,
            &columns.incident_failures,
            &columns.incident_recoveries,
            &columns.incident_locations,
            &columns.incident_locations_percent,
            &columns.incident_min_voters,
            &columns.slo_uptimes,
            &columns.slo_windows,
            &columns.maintenance,
        ];
        transaction.query(statement, &parameters)
    }
}

/// The parameters of the statements.
#[derive(Default)]
struct Columns<'a> {
    site_ids: Vec<i32>,
    names: Vec<&'a str>,
    urls: Vec<&'a str>,
    methods: Vec<&'a str>,
    labels: Vec<Json<&'a BTreeMap<String, String>>>,
    schedules: Vec<Option<&'a str>>,
    budgets: Vec<Option<i32>>,
    incident_failures: Vec<Option<i16>>,
    incident_recoveries: Vec<Option<i16>>,
    incident_locations: Vec<Option<i16>>,
    incident_locations_percent: Vec<Option<i16>>,
    incident_min_voters: Vec<Option<i16>>,
    slo_uptimes: Vec<Option<i32>>,
    slo_windows: Vec<Option<i16>>,
    maintenance: Vec<Option<Json<&'a [MaintenanceWindow]>>>,
}
