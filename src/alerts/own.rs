//! Alerts about webmon itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postgres::Transaction;

use super::draft::Draft;
use crate::config::AlertKind;
use crate::database::AnyTime;
use crate::limits::MAX_TEXT;
use crate::text::truncated;

/// How long a partition must be seen behind. A program that has just started has had no time to catch up.
const BEHIND_FOR: Duration = Duration::from_secs(30);

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
        max_lag: Duration,
        now: Timestamp,
    ) -> Result<Vec<Draft>, postgres::Error> {
        let sql = include_str!("../../sql/queries/alerts/own_troubles.sql");
        let rows = transaction.query(sql, &[&topic, &(max_lag.as_millis() as f64)])?;
        let firing = transaction.query(
            "SELECT kind, subject, alert_id, began_at FROM webmon.alerts \
             WHERE resolved_at IS NULL AND site_id IS NULL",
            &[],
        )?;
        let mut found = BTreeSet::new();
        let mut drafts = Vec::new();
        let fires = |kind: AlertKind, subject: &str| {
            firing
                .iter()
                .any(|row| row.get::<_, &str>(0) == kind.as_str() && row.get::<_, &str>(1) == subject)
        };
        let mut behind = BTreeMap::new();
        for row in &rows {
            let (subject, summary): (&str, &str) = (row.get(1), row.get(2));
            // As it is stored.
            let subject = &*truncated(subject, MAX_TEXT);
            let Ok(kind) = row.get::<_, &str>(0).parse::<AlertKind>() else { continue };
            found.insert((kind, subject.to_owned()));
            if kind == AlertKind::Lag {
                let since = self.behind.get(subject).copied().unwrap_or_else(Instant::now);
                behind.insert(subject.to_owned(), since);
                if since.elapsed() < BEHIND_FOR {
                    continue;
                }
            }
            if !fires(kind, subject) {
                drafts.push(Draft::of_webmon(kind, subject, summary, None, now));
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
            if is_ours && !found.contains(&(kind, subject.to_owned())) {
                let alert = Some((row.get(2), row.get::<_, AnyTime>(3).0));
                drafts.push(Draft::of_webmon(kind, subject, &over(kind, subject), alert, now));
            }
        }
        Ok(drafts)
    }
}

fn over(kind: AlertKind, subject: &str) -> String {
    match kind {
        AlertKind::Lag => format!("{subject} is stored up to its end again"),
        AlertKind::Paused => format!("{subject} is not paused any more"),
        AlertKind::DeadLetters => format!("{subject} has no dead letters any more"),
        AlertKind::Discarded => format!("jobs of kind {subject} run again"),
        AlertKind::Spool => format!("the outbox of {subject} has lost nothing for 15 minutes"),
        kind => format!("{subject}: {kind} is over"),
    }
}
