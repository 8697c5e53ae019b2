//! Reminders of alerts that still fire.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use postgres::Transaction;
use postgres::types::Json;

use super::notice::Notice;
use super::routing::route_to;
use super::silence::in_force;
use crate::config::Route;
use crate::database::AnyTime;

/// Reminders that are made at once. What is left is found in the next round.
const MOST: usize = 5_000;
/// Alerts that are read at once. Those that are passed over, such as silenced ones, do not count as made.
const PAGE: i64 = 5_000;

/// Makes notifications for alerts that were told long enough ago, and for those whose silence is over. The caller has
/// made sure that nobody else does.
pub(super) fn remind(
    transaction: &mut Transaction<'_>,
    routes: &[Route],
    now: Timestamp,
) -> Result<(), postgres::Error> {
    let age = |repeat| SignedDuration::try_from(repeat).ok().and_then(|repeat| now.checked_sub(repeat).ok());
    // Of several routes to a receiver, the shortest time.
    let mut told_before: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for (route, before) in routes.iter().filter_map(|route| Some((route, age(route.repeat?)?))) {
        let latest = told_before.entry(&route.receiver).or_insert(before);
        *latest = before.max(*latest);
    }
    let reminded: Vec<&str> = told_before.keys().copied().collect();
    let before: Vec<Timestamp> = told_before.values().copied().collect();
    let silences = in_force(transaction)?;
    let mut made = Made::default();
    let mut last: Option<(Timestamp, i64, String)> = None;
    loop {
        let (at, id, of) = match &last {
            Some((at, id, of)) => (Some(*at), Some(*id), Some(of.as_str())),
            None => (None, None, None),
        };
        let sql = include_str!("../../sql/queries/alerts/reminders.sql");
        let rows = transaction.query(sql, &[&reminded, &before, &at, &id, &of, &PAGE])?;
        for row in &rows {
            let (receiver, state): (&str, &str) = (row.get("receiver"), row.get("state"));
            let Json(notice): Json<Notice> = row.get("notice");
            let Some(route) = route_to(routes, receiver, &notice) else { continue };
            let told_at = row.get::<_, AnyTime>("finished_at").0;
            let due = match state {
                "silenced" => !silences.iter().any(|silence| silence.covers(&notice)),
                _ => route.repeat.and_then(age).is_some_and(|before| told_at < before),
            };
            if due && made.transitions.len() < MOST {
                made.transitions.push(row.get("transition_id"));
                made.receivers.push(receiver.to_owned());
                made.numbers.push(row.get::<_, i32>("reminder") + 1);
            }
        }
        let is_last = rows.len() < PAGE as usize || made.transitions.len() >= MOST;
        last = rows.last().map(|row| {
            (row.get::<_, AnyTime>("finished_at").0, row.get("transition_id"), row.get("receiver"))
        });
        if is_last {
            return made.insert(transaction);
        }
    }
}

/// The columns of the reminders.
#[derive(Default)]
struct Made {
    transitions: Vec<i64>,
    receivers: Vec<String>,
    numbers: Vec<i32>,
}

impl Made {
    fn insert(&self, transaction: &mut Transaction<'_>) -> Result<(), postgres::Error> {
        transaction.execute(
            "INSERT INTO webmon.notifications (transition_id, receiver, reminder, not_before) \
             SELECT *, clock_timestamp() FROM unnest($1::bigint[], $2::text[], $3::integer[]) ON CONFLICT DO NOTHING",
            &[&self.transitions, &self.receivers, &self.numbers],
        )?;
        Ok(())
    }
}
