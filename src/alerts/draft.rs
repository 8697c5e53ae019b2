//! A transition that is about to be stored.

use jiff::Timestamp;

use super::judge::Change;
use super::known::Known;
use super::notice::{Action, Notice};
use crate::config::Severity;
use crate::limits::MAX_MESSAGE;
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
    /// What is told of a change of `subject`, which is a site or a part of webmon. None if an alert ends that is not known.
    pub(super) fn new(subject: &Known, change: &Change, summary: &str, now: Timestamp) -> Option<Draft> {
        let fires = subject.alerts.get(&change.kind).filter(|_| !change.fires);
        if !change.fires && fires.is_none() {
            return None;
        }
        let failure = subject.failure.clone().filter(|_| change.fires).unwrap_or_default();
        let notice = Notice {
            transition_id: 0,
            alert_id: 0,
            reminder: 0,
            kind: change.kind,
            action: if change.fires { Action::Firing } else { Action::Resolved },
            severity: change.kind.severity(),
            subject: subject.key.clone(),
            name: subject.name.clone(),
            url: subject.url.clone(),
            labels: subject.labels.clone(),
            began_at: fires.map_or(change.at, |fires| fires.began_at),
            ended_at: Some(change.at).filter(|_| !change.fires),
            noticed_at: now,
            summary: truncated(summary, MAX_MESSAGE),
            error_type: failure.error_type,
            error_detail: failure.error_detail,
            error_message: failure.error_message,
            locations: subject.down_locations(),
        };
        Some(Draft {
            site_id: Some(subject.site_id).filter(|_| change.kind.is_of_a_site()),
            level: 0,
            alert_id: fires.map(|fires| fires.alert_id),
            notice,
        })
    }

    /// What distinguishes this alert from others of its kind about the same subject.
    pub(super) fn level(mut self, level: i32) -> Draft {
        self.level = level;
        self
    }

    pub(super) fn severity(mut self, severity: Severity) -> Draft {
        self.notice.severity = severity;
        self
    }
}
