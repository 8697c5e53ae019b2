//! Alerts about webmon itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postgres::Transaction;

use super::draft::Draft;
use super::judge::Change;
use super::known::{Fires, Known};
use crate::config::{AlertKind, Alerts, Severity};
use crate::database::AnyTime;
use crate::limits::MAX_TEXT;
use crate::text::truncated;

/// How long a partition must be seen behind. A program that has just started has had no time to catch up.
const BEHIND_FOR: Duration = Duration::from_secs(30);

/// The alert that an outbox is behind. It is less grave than that results were lost, and both may fire.
const BACKLOG: (AlertKind, i32) = (AlertKind::Spool, 1);

/// What was wrong when it was looked at last.
#[derive(Default)]
pub(super) struct OwnTroubles {
    behind: BTreeMap<String, Instant>,
}

impl OwnTroubles {
    /// Returns what has begun and what has ended. The caller has made sure that nobody else looks.
    pub(super) fn look(
        &mut self,
        transaction: &mut Transaction<'_>,
        topic: &str,
        alerts: &Alerts,
        now: Timestamp,
    ) -> Result<Vec<Draft>, postgres::Error> {
        let sql = include_str!("../../sql/queries/alerts/own_troubles.sql");
        let ms = |limit: Duration| limit.as_millis() as f64;
        let rows = transaction.query(sql, &[&topic, &ms(alerts.max_lag), &ms(alerts.max_backlog)])?;
        let firing = transaction.query(
            "SELECT kind, subject, alert_id, began_at, level FROM webmon.alerts \
             WHERE resolved_at IS NULL AND site_id IS NULL",
            &[],
        )?;
        let mut found = BTreeSet::new();
        let mut drafts = Vec::new();
        let fires = |kind: AlertKind, subject: &str, level: i32| {
            firing.iter().any(|row| {
                row.get::<_, &str>(0) == kind.as_str()
                    && row.get::<_, &str>(1) == subject
                    && row.get::<_, i32>(4) == level
            })
        };
        let mut behind = BTreeMap::new();
        for row in &rows {
            let (subject, level, summary): (&str, i32, &str) = (row.get(1), row.get(2), row.get(3));
            // As it is stored.
            let subject = &*truncated(subject, MAX_TEXT);
            let Ok(kind) = row.get::<_, &str>(0).parse::<AlertKind>() else { continue };
            found.insert((kind, subject.to_owned(), level));
            if kind == AlertKind::Lag {
                let since = self.behind.get(subject).copied().unwrap_or_else(Instant::now);
                behind.insert(subject.to_owned(), since);
                if since.elapsed() < BEHIND_FOR {
                    continue;
                }
            }
            if !fires(kind, subject, level) {
                drafts.extend(draft(kind, subject, level, summary, None, now));
            }
        }
        self.behind = behind;
        for row in &firing {
            let (kind, subject): (&str, &str) = (row.get(0), row.get(1));
            let Ok(kind) = kind.parse::<AlertKind>() else { continue };
            // Partitions of other topics are looked after by those who store them.
            let is_ours = !matches!(kind, AlertKind::Lag | AlertKind::Paused | AlertKind::DeadLetters)
                || subject == topic
                || subject.rsplit_once('/').map_or(subject, |(of, _)| of) == topic
                || subject.len() >= MAX_TEXT - 3;
            let level = row.get(4);
            if is_ours && !found.contains(&(kind, subject.to_owned(), level)) {
                let fires = Fires { alert_id: row.get(2), began_at: row.get::<_, AnyTime>(3).0 };
                drafts.extend(draft(kind, subject, level, &over(kind, subject, level), Some(fires), now));
            }
        }
        Ok(drafts)
    }
}

/// The beginning of an alert, or the end of the one that `fires`.
fn draft(
    kind: AlertKind,
    subject: &str,
    level: i32,
    summary: &str,
    fires: Option<Fires>,
    now: Timestamp,
) -> Option<Draft> {
    let known = Known {
        key: subject.to_owned(),
        name: subject.to_owned(),
        alerts: fires.map(|fires| (kind, fires)).into_iter().collect(),
        ..Known::default()
    };
    let draft = Draft::new(&known, &Change { kind, fires: fires.is_none(), at: now }, summary, now)?;
    let draft = if (kind, level) == BACKLOG { draft.severity(Severity::Warning) } else { draft };
    Some(draft.level(level))
}

fn over(kind: AlertKind, subject: &str, level: i32) -> String {
    match kind {
        _ if (kind, level) == BACKLOG => format!("the outbox of {subject} has caught up"),
        AlertKind::Lag => format!("{subject} is stored up to its end again"),
        AlertKind::Paused => format!("{subject} is not paused any more"),
        AlertKind::DeadLetters => format!("{subject} has no dead letters any more"),
        AlertKind::Discarded => format!("jobs of kind {subject} run again"),
        AlertKind::Spool => format!("the outbox of {subject} has lost nothing for 15 minutes"),
        kind => format!("{subject}: {kind} is over"),
    }
}
