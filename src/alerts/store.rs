//! Stores transitions: the state of the alert, whom it is told to, and the jobs that tell it, in one transaction.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use postgres::Transaction;
use postgres::types::Json;

use super::draft::Draft;
use super::notice::{Action, Notice};
use super::routing::{route_to, routes_of};
use crate::config::Route;
use crate::database::{AnyTime, DatabaseError};
use crate::jobs::{self, NewJob, QueueError};

/// The kind of the jobs that tell a receiver. Each receiver has its own, so that a worker that does not know the
/// receiver leaves its jobs to others.
pub(super) fn job_kind(receiver: &str) -> String {
    format!("notify {receiver}")
}

/// When each receiver is to be told, at the earliest.
pub(super) type Wakes = BTreeMap<String, Timestamp>;

/// Stores `drafts`, whose subjects the caller has locked. Returns when to tell whom.
pub(super) fn store(
    transaction: &mut Transaction<'_>,
    routes: &[Route],
    drafts: Vec<Draft>,
    now: Timestamp,
) -> Result<Wakes, postgres::Error> {
    let mut wakes = Wakes::new();
    if drafts.is_empty() {
        return Ok(wakes);
    }
    let ids = transaction.query(
        "SELECT nextval(pg_get_serial_sequence('webmon.alert_transitions', 'transition_id')) \
         FROM generate_series(1, $1::bigint)",
        &[&(drafts.len() as i64)],
    )?;
    let told = told_before(transaction, &drafts)?;
    let mut rows = Rows::default();
    for (draft, id) in drafts.into_iter().zip(ids.iter().map(|row| row.get(0))) {
        let alert_id = draft.alert_id.unwrap_or(id);
        let mut notice = Notice { transition_id: id, alert_id, ..draft.notice };
        let beginning = draft.alert_id.and_then(|alert_id| told.get(&alert_id));
        if let Some((_, beginning)) = beginning {
            // By these a receiver knows the alert, and a route applies to both ends.
            notice.severity = beginning.severity;
            notice.labels.clone_from(&beginning.labels);
            notice.name.clone_from(&beginning.name);
            notice.url.clone_from(&beginning.url);
        }
        let route_and_wait: Vec<(String, SignedDuration)> = match draft.alert_id {
            None => routes_of(routes, &notice).into_iter().map(|r| (r.receiver.clone(), wait(r))).collect(),
            // Those who heard of the beginning hear of the end.
            Some(_) => {
                let receivers = beginning.map_or(&[][..], |(receivers, _)| receivers.as_slice());
                let told = receivers.iter().map(|name| (name, route_to(routes, name, &notice)));
                told.filter(|(_, route)| route.is_none_or(|route| route.resolved))
                    .map(|(name, route)| (name.clone(), route.map_or(SignedDuration::ZERO, wait)))
                    .collect()
            }
        };
        let mut receivers = Vec::with_capacity(route_and_wait.len());
        for (receiver, wait) in route_and_wait {
            let not_before = now.saturating_add(wait).unwrap_or(now);
            let wake = wakes.entry(receiver.clone()).or_insert(not_before);
            *wake = not_before.min(*wake);
            rows.notified.push(id);
            rows.receivers.push(receiver.clone());
            rows.not_before.push(not_before);
            receivers.push(receiver);
        }
        log::info!(
            alert = alert_id, kind = notice.kind.as_str(), action = notice.action.as_str(), subject = notice.subject;
            "{}", notice.summary
        );
        rows.push(draft.site_id, draft.level, receivers, notice);
    }
    rows.insert(transaction)?;
    Ok(wakes)
}

/// When to tell `receiver`, or all, what waits for them.
pub(super) fn waiting(
    transaction: &mut Transaction<'_>,
    receiver: Option<&str>,
) -> Result<Wakes, postgres::Error> {
    let rows = transaction.query(include_str!("../../sql/queries/alerts/waiting.sql"), &[&receiver])?;
    Ok(rows.iter().map(|row| (row.get(0), row.get::<_, AnyTime>(1).0)).collect())
}

/// Enqueues the jobs of those who are to be told. It is the last thing of a transaction, because others who enqueue
/// wait for its end.
pub(super) fn wake(transaction: &mut Transaction<'_>, wakes: &Wakes) -> Result<(), DatabaseError> {
    let jobs: Vec<NewJob> = wakes
        .iter()
        .map(|(receiver, at)| NewJob::new(job_kind(receiver)).key("").priority(1).scheduled_at(*at))
        .collect();
    match jobs::enqueue_all(transaction, &jobs) {
        Ok(_) => Ok(()),
        Err(QueueError::Database(error)) => Err(error),
        Err(error) => {
            log::error!(error = error.to_string(); "cannot enqueue the jobs that tell receivers");
            Ok(())
        }
    }
}

fn wait(route: &Route) -> SignedDuration {
    SignedDuration::try_from(route.group_wait).unwrap_or_default()
}

/// Whom the beginnings of the alerts that end were told to, and what.
fn told_before(
    transaction: &mut Transaction<'_>,
    drafts: &[Draft],
) -> Result<HashMap<i64, (Vec<String>, Notice)>, postgres::Error> {
    let ending: Vec<i64> = drafts.iter().filter_map(|draft| draft.alert_id).collect();
    if ending.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = "SELECT transition_id, receivers, notice FROM webmon.alert_transitions \
               WHERE transition_id = ANY($1)";
    let rows = transaction.query(sql, &[&ending])?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get::<_, Json<Notice>>(2).0))).collect())
}

/// The columns of what is inserted.
#[derive(Default)]
struct Rows {
    ids: Vec<i64>,
    alerts: Vec<i64>,
    kinds: Vec<&'static str>,
    levels: Vec<i32>,
    actions: Vec<&'static str>,
    severities: Vec<&'static str>,
    sites: Vec<Option<i32>>,
    subjects: Vec<String>,
    at: Vec<Timestamp>,
    noticed: Vec<Timestamp>,
    told: Vec<Json<Vec<String>>>,
    notices: Vec<Json<Notice>>,
    notified: Vec<i64>,
    receivers: Vec<String>,
    not_before: Vec<Timestamp>,
}

impl Rows {
    fn push(&mut self, site_id: Option<i32>, level: i32, receivers: Vec<String>, notice: Notice) {
        self.ids.push(notice.transition_id);
        self.alerts.push(notice.alert_id);
        self.kinds.push(notice.kind.as_str());
        self.levels.push(level);
        self.actions.push(notice.action.as_str());
        self.severities.push(notice.severity.as_str());
        self.sites.push(site_id);
        self.subjects.push(notice.subject.clone());
        self.at.push(match notice.action {
            Action::Firing => notice.began_at,
            Action::Resolved => notice.ended_at.unwrap_or(notice.noticed_at),
        });
        self.noticed.push(notice.noticed_at);
        self.told.push(Json(receivers));
        self.notices.push(Json(notice));
    }

    fn insert(&self, transaction: &mut Transaction<'_>) -> Result<(), postgres::Error> {
        transaction.execute(
            include_str!("../../sql/queries/alerts/insert_transitions.sql"),
            &[
                &self.ids,
                &self.alerts,
                &self.kinds,
                &self.levels,
                &self.actions,
                &self.sites,
                &self.subjects,
                &self.at,
                &self.noticed,
                &self.told,
                &self.notices,
            ],
        )?;
        transaction.execute(
            include_str!("../../sql/queries/alerts/move_alerts.sql"),
            &[
                &self.alerts,
                &self.kinds,
                &self.levels,
                &self.actions,
                &self.sites,
                &self.subjects,
                &self.severities,
                &self.at,
                &self.noticed,
            ],
        )?;
        transaction.execute(
            "INSERT INTO webmon.notifications (transition_id, receiver, not_before) \
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[])",
            &[&self.notified, &self.receivers, &self.not_before],
        )?;
        Ok(())
    }
}
