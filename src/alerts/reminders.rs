//! Reminders of alerts that still fire.

use jiff::{SignedDuration, Timestamp};
use postgres::Transaction;
use postgres::types::Json;

use super::notice::Notice;
use super::routing::route_to;
use super::silence::in_force;
use crate::config::Route;
use crate::database::AnyTime;

/// Reminders that are made at once. What is left is found in the next round.
const MOST: i64 = 5_000;

/// Makes notifications for alerts that were told long enough ago, and for those whose silence is over. The caller has
/// made sure that nobody else does.
pub(super) fn remind(
    transaction: &mut Transaction<'_>,
    routes: &[Route],
    now: Timestamp,
) -> Result<(), postgres::Error> {
    let age = |repeat| SignedDuration::try_from(repeat).ok().and_then(|repeat| now.checked_sub(repeat).ok());
    let newest = routes.iter().filter_map(|route| age(route.repeat?)).max();
    let silences = in_force(transaction)?;
    let (mut transitions, mut receivers, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    let rows =
        transaction.query(include_str!("../../sql/queries/alerts/reminders.sql"), &[&newest, &MOST])?;
    for row in &rows {
        let (receiver, state): (&str, &str) = (row.get("receiver"), row.get("state"));
        let Json(notice): Json<Notice> = row.get("notice");
        let Some(route) = route_to(routes, receiver, &notice) else { continue };
        let told_at = row.get::<_, AnyTime>("finished_at").0;
        let due = match state {
            "silenced" => !silences.iter().any(|silence| silence.covers(&notice)),
            _ => route.repeat.and_then(age).is_some_and(|before| told_at < before),
        };
        if due {
            transitions.push(row.get::<_, i64>("transition_id"));
            receivers.push(receiver);
            numbers.push(row.get::<_, i32>("reminder") + 1);
        }
    }
    transaction.execute(
        "INSERT INTO webmon.notifications (transition_id, receiver, reminder, not_before) \
         SELECT *, clock_timestamp() FROM unnest($1::bigint[], $2::text[], $3::integer[]) ON CONFLICT DO NOTHING",
        &[&transitions, &receivers, &numbers],
    )?;
    Ok(())
}
