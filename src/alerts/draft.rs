//! A transition that is about to be stored.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::judge::Change;
use super::known::Known;
use super::notice::{Action, Notice};
use super::summary::summary;
use crate::config::{AlertKind, Severity};
use crate::limits::{MAX_MESSAGE, MAX_TEXT};
use crate::text::truncated;

/// A transition that is about to be stored. Its notice has no ids yet.
pub(super) struct Draft {
    pub site_id: Option<i32>,
    /// What distinguishes alerts of one kind about one subject: for certificates the hours left. Otherwise 0.
    pub level: i32,
    /// The alert that ends. None if one begins.
    pub alert_id: Option<i64>,
    pub notice: Notice,
}

impl Draft {
    /// What is told of a change of `site`. None if an alert ends that is not known.
    pub(super) fn of_site(site: &Known, change: &Change, now: Timestamp) -> Option<Draft> {
        let fires = site.alerts.get(&change.kind).filter(|_| !change.fires);
        if !change.fires && fires.is_none() {
            return None;
        }
        let failure = site.failure.clone().filter(|_| change.fires).unwrap_or_default();
        let notice = Notice {
            transition_id: 0,
            alert_id: 0,
            reminder: 0,
            kind: change.kind,
            action: if change.fires { Action::Firing } else { Action::Resolved },
            severity: change.kind.severity(),
            subject: site.key.clone(),
            name: site.name.clone(),
            url: site.url.clone(),
            labels: site.labels.clone(),
            began_at: fires.map_or(change.at, |fires| fires.began_at),
            ended_at: Some(change.at).filter(|_| !change.fires),
            noticed_at: now,
            summary: truncated(&summary(site, change), MAX_MESSAGE),
            error_type: failure.error_type,
            error_detail: failure.error_detail,
            error_message: failure.error_message,
            locations: site.down_locations(),
        };
        Some(Draft {
            site_id: Some(site.site_id),
            level: 0,
            alert_id: fires.map(|fires| fires.alert_id),
            notice,
        })
    }

    /// What is told of webmon itself.
    pub(super) fn of_webmon(
        kind: AlertKind,
        subject: &str,
        summary: &str,
        alert: Option<(i64, Timestamp)>,
        now: Timestamp,
    ) -> Draft {
        let notice = Notice {
            transition_id: 0,
            alert_id: 0,
            reminder: 0,
            kind,
            action: if alert.is_none() { Action::Firing } else { Action::Resolved },
            severity: kind.severity(),
            subject: truncated(subject, MAX_TEXT),
            name: truncated(subject, MAX_TEXT),
            url: None,
            labels: BTreeMap::new(),
            began_at: alert.map_or(now, |(_, began_at)| began_at),
            ended_at: alert.map(|_| now),
            noticed_at: now,
            summary: truncated(summary, MAX_MESSAGE),
            error_type: None,
            error_detail: None,
            error_message: None,
            locations: Vec::new(),
        };
        Draft { site_id: None, level: 0, alert_id: alert.map(|(alert_id, _)| alert_id), notice }
    }

    pub(super) fn graver(mut self, severity: Severity) -> Draft {
        self.notice.severity = severity;
        self
    }
}
