//! Alerts about certificates that expire soon: one for each threshold that is crossed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postgres::Transaction;
use postgres::types::Json;

use super::draft::Draft;
use super::judge::Change;
use super::known::{Fires, Known};
use crate::config::{AlertKind, Severity};
use crate::database::AnyTime;
use crate::text::show_duration;

/// Returns the alerts that begin and end. `thresholds` are the times left, the longest first. The caller has made sure
/// that nobody else looks.
pub(super) fn look(
    transaction: &mut Transaction<'_>,
    thresholds: &[Duration],
    now: Timestamp,
) -> Result<Vec<Draft>, postgres::Error> {
    let mut firing: HashMap<i32, BTreeMap<i32, Fires>> = HashMap::new();
    let mut keys: HashMap<i32, String> = HashMap::new();
    let sql = "SELECT site_id, level, alert_id, began_at, subject FROM webmon.alerts \
               WHERE resolved_at IS NULL AND kind = 'certificate' AND site_id IS NOT NULL";
    for row in transaction.query(sql, &[])? {
        keys.insert(row.get(0), row.get(4));
        let fires = Fires { alert_id: row.get(2), began_at: row.get::<_, AnyTime>(3).0 };
        firing.entry(row.get(0)).or_default().insert(row.get(1), fires);
    }
    let mut drafts = Vec::new();
    for row in transaction.query(include_str!("../../sql/queries/alerts/certificates.sql"), &[])? {
        let Some(AnyTime(not_after)) = row.get("not_after") else { continue };
        let mut site = Known {
            site_id: row.get("site_id"),
            key: row.get("key"),
            name: row.get("name"),
            url: row.get("url"),
            labels: row.get::<_, Json<_>>("labels").0,
            ..Known::default()
        };
        let left = not_after.duration_since(now);
        let fires = firing.remove(&site.site_id).unwrap_or_default();
        let crossed = thresholds.iter().rev().map(|t| hours(*t)).find(|hours| left <= within(*hours));
        for (level, fires) in &fires {
            if left > within(*level) {
                site.alerts.insert(AlertKind::Certificate, *fires);
                let change = Change { kind: AlertKind::Certificate, fires: false, at: now };
                let summary =
                    format!("{} has a certificate that is valid until {}", site.name, shown(not_after));
                drafts.extend(draft(&site, &change, *level, &summary, now));
            }
        }
        if let Some(level) = crossed.filter(|level| !fires.contains_key(level)) {
            site.alerts.clear();
            let change = Change { kind: AlertKind::Certificate, fires: true, at: now };
            let summary = match left.is_positive() {
                true => {
                    let left = Duration::from_secs(left.as_secs().unsigned_abs() / 3_600 * 3_600);
                    format!(
                        "the certificate of {} expires in {}, on {}",
                        site.name,
                        show_duration(left),
                        shown(not_after)
                    )
                }
                false => format!("the certificate of {} has expired on {}", site.name, shown(not_after)),
            };
            let last = thresholds.last().map(|threshold| hours(*threshold));
            let severity = if last == Some(level) { Severity::Critical } else { Severity::Warning };
            drafts.extend(draft(&site, &change, level, &summary, now).map(|draft| draft.severity(severity)));
        }
    }
    // Sites that are not checked any more, or have no certificate.
    for (site_id, levels) in firing {
        let Some(key) = keys.remove(&site_id) else { continue };
        for (level, fires) in levels {
            let mut site = Known { site_id, name: key.clone(), key: key.clone(), ..Known::default() };
            site.alerts.insert(AlertKind::Certificate, fires);
            let change = Change { kind: AlertKind::Certificate, fires: false, at: now };
            let summary = format!("{key} has no certificate any more, or is not checked any more");
            drafts.extend(draft(&site, &change, level, &summary, now));
        }
    }
    Ok(drafts)
}

fn draft(site: &Known, change: &Change, level: i32, summary: &str, now: Timestamp) -> Option<Draft> {
    Draft::new(site, change, summary, now).map(|draft| draft.level(level))
}

fn shown(at: Timestamp) -> String {
    at.strftime("%F %H:%M UTC").to_string()
}

fn hours(threshold: Duration) -> i32 {
    i32::try_from(threshold.as_secs() / 3_600).unwrap_or(i32::MAX)
}

fn within(hours: i32) -> SignedDuration {
    SignedDuration::from_hours(i64::from(hours))
}
