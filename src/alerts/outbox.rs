//! What waits for one receiver, in the database: notifications, and the message that is being sent.

use std::collections::{BTreeSet, HashSet};

use jiff::{SignedDuration, Timestamp};
use postgres::types::Json;
use postgres::{Client, Row, Transaction};

use super::compose::{Down, Fate, Pending, Rules, decide, held_by};
use super::notice::{Action, Held, Message, Notice};
use super::silence::in_force;
use crate::config::{AlertKind, Route};
use crate::database::DatabaseError;

/// The most notifications that are read at once, and so the most of one message.
const MOST: usize = 2_500;
/// What waits longer than the database can tell waits until it is asked for.
const FOR_EVER: SignedDuration = SignedDuration::from_hours(24 * 365 * 100);

/// A site whose newest instant is further away than this is not found to be under maintenance.
const PLANNED: SignedDuration = SignedDuration::from_hours(48);

/// A message that is to be sent.
pub(super) struct Open {
    pub message_id: i64,
    pub attempts: i32,
    /// Whether the pause after the last try is over.
    pub is_due: bool,
    pub message: Message,
}

/// The outbox of one receiver.
pub(super) struct Outbox<'a> {
    pub receiver: &'a str,
    pub routes: &'a [Route],
    /// The most notices of a message.
    pub max_notices: usize,
}

impl Outbox<'_> {
    /// The message that is to be sent next. Makes one if there is none. None if nothing is to be told now.
    pub(super) fn open(&self, client: &mut Client) -> Result<Option<Open>, DatabaseError> {
        let failed = DatabaseError::statement("cannot compose a message");
        loop {
            let mut transaction = client.transaction().map_err(failed)?;
            let mut work = || match self.pending_message(&mut transaction)? {
                Some(open) => Ok((Some(open), false)),
                None => self.compose(&mut transaction),
            };
            let (open, again) = work().map_err(failed)?;
            transaction.commit().map_err(failed)?;
            if open.is_some() || !again {
                return Ok(open);
            }
        }
    }

    fn pending_message(&self, transaction: &mut Transaction<'_>) -> Result<Option<Open>, postgres::Error> {
        let row = transaction.query_opt(
            "SELECT message_id, attempts, next_try_at <= clock_timestamp(), content FROM webmon.messages \
             WHERE receiver = $1 AND state = 'pending'",
            &[&self.receiver],
        )?;
        Ok(row.map(|row| Open {
            message_id: row.get(0),
            attempts: row.get(1),
            is_due: row.get(2),
            message: row.get::<_, Json<_>>(3).0,
        }))
    }

    /// Decides about what waits, and makes a message of what is to be told. Also returns whether there may be more.
    fn compose(&self, transaction: &mut Transaction<'_>) -> Result<(Option<Open>, bool), postgres::Error> {
        // Two workers, of which one was frozen, must not compose at once.
        transaction.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('webmon.messages ' || $1, 0))",
            &[&self.receiver],
        )?;
        let limit = self.max_notices.clamp(1, MOST) as i64;
        let rows = transaction
            .query(include_str!("../../sql/queries/alerts/pending.sql"), &[&self.receiver, &limit])?;
        if rows.is_empty() {
            return Ok((None, false));
        }
        let planned = in_maintenance(transaction, &rows)?;
        let mut pending: Vec<Pending> = Vec::with_capacity(rows.len());
        for row in &rows {
            let Json(notice): Json<Notice> = row.get("notice");
            pending.push(Pending {
                transition_id: row.get("transition_id"),
                reminder: row.get("reminder"),
                notice,
                is_over: row.get("is_over"),
                beginning: row.get("beginning"),
                is_out_of_turn: row.get("is_out_of_turn"),
                in_maintenance: row
                    .get::<_, Option<i32>>("site_id")
                    .is_some_and(|site_id| planned.contains(&site_id)),
            });
        }
        let silences = in_force(transaction)?;
        let down = self.down(transaction)?;
        let row = transaction.query_one(
            "SELECT clock_timestamp(), nextval(pg_get_serial_sequence('webmon.messages', 'message_id'))",
            &[],
        )?;
        let (now, message_id): (Timestamp, i64) = (row.get(0), row.get(1));
        let (routes, receiver) = (self.routes, self.receiver);
        let rules = Rules { routes, receiver, silences: &silences, down: &down, now };
        let fates = decide(&pending, &rules);
        let again = rows.len() as i64 == limit;

        let mut message = Message {
            id: format!("msg_{message_id}_{}", now.as_microsecond()),
            created_at: now,
            notices: Vec::new(),
            held: Vec::new(),
        };
        let mut settled = Settled::default();
        for (one, fate) in pending.iter().zip(fates) {
            settled.push(one, &fate, message_id, now);
            if fate == Fate::Send {
                message.notices.push(Notice { reminder: one.reminder, ..one.notice.clone() });
            }
        }
        if message.notices.is_empty() {
            settled.write(transaction, self.receiver)?;
            return Ok((None, again));
        }
        transaction.execute(
            "INSERT INTO webmon.messages (message_id, receiver, created_at, content) \
             OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, 'null')",
            &[&message_id, &self.receiver, &now],
        )?;
        settled.write(transaction, self.receiver)?;
        message.held = self.held(transaction, &message)?;
        transaction.execute(
            "UPDATE webmon.messages SET content = $2 WHERE message_id = $1",
            &[&message_id, &Json(&message)],
        )?;
        Ok((Some(Open { message_id, attempts: 0, is_due: true, message }), again))
    }

    /// The sites that are down, if a route to this receiver asks for it.
    fn down(&self, transaction: &mut Transaction<'_>) -> Result<Vec<Down>, postgres::Error> {
        let asks = |route: &Route| route.receiver == self.receiver && !route.depends_on.is_empty();
        if !self.routes.iter().any(asks) {
            return Ok(Vec::new());
        }
        let rows = transaction.query(
            "SELECT a.subject, t.notice -> 'labels' FROM webmon.alerts a \
             JOIN webmon.alert_transitions t ON t.transition_id = a.alert_id \
             WHERE a.resolved_at IS NULL AND a.kind = 'down' ORDER BY a.alert_id",
            &[],
        )?;
        let down: Vec<Down> =
            rows.iter().map(|row| Down { key: row.get(0), labels: row.get::<_, Json<_>>(1).0 }).collect();
        let parent = |down: &Down| {
            self.routes.iter().any(|route| asks(route) && route.depends_on.contains(&down.key, &down.labels))
        };
        Ok(down.into_iter().filter(parent).collect())
    }

    /// How much is held back because of the sites that the message says are down.
    fn held(
        &self,
        transaction: &mut Transaction<'_>,
        message: &Message,
    ) -> Result<Vec<Held>, postgres::Error> {
        let began = |notice: &&Notice| notice.action == Action::Firing && notice.kind == AlertKind::Down;
        let parents: Vec<&str> =
            message.notices.iter().filter(began).map(|notice| notice.subject.as_str()).collect();
        let reasons: Vec<String> = parents.iter().map(|parent| held_by(parent)).collect();
        let rows = transaction.query(
            "SELECT reason, count(*) FROM webmon.notifications \
             WHERE receiver = $1 AND state = 'pending' AND reason = ANY($2) GROUP BY reason",
            &[&self.receiver, &reasons],
        )?;
        let count = |reason: &str| {
            rows.iter().find(|row| row.get::<_, &str>(0) == reason).map(|row| row.get::<_, i64>(1))
        };
        let held = parents.iter().zip(&reasons).filter_map(|(parent, reason)| {
            Some(Held { parent: (*parent).to_owned(), alerts: count(reason)?.unsigned_abs() })
        });
        Ok(held.collect())
    }
}

/// The sites with reminders among `rows` that are under planned maintenance.
fn in_maintenance(transaction: &mut Transaction<'_>, rows: &[Row]) -> Result<HashSet<i32>, postgres::Error> {
    let reminded = rows.iter().filter(|row| row.get::<_, i32>("reminder") > 0);
    let sites: BTreeSet<i32> = reminded.filter_map(|row| row.get("site_id")).collect();
    if sites.is_empty() {
        return Ok(HashSet::new());
    }
    let sites: Vec<i32> = sites.into_iter().collect();
    let now: Timestamp = transaction.query_one("SELECT clock_timestamp()", &[])?.get(0);
    let (from, to) = (now.checked_sub(PLANNED).ok(), now.checked_add(PLANNED).ok());
    let found = transaction
        .query(include_str!("../../sql/queries/alerts/read_planned.sql"), &[&sites, &from, &to])?;
    Ok(found.iter().map(|row| row.get(0)).collect())
}

/// The columns of what was decided.
#[derive(Default)]
struct Settled {
    transitions: Vec<i64>,
    reminders: Vec<i32>,
    states: Vec<&'static str>,
    reasons: Vec<Option<String>>,
    not_before: Vec<Option<Timestamp>>,
    messages: Vec<Option<i64>>,
}

impl Settled {
    fn push(&mut self, one: &Pending, fate: &Fate, message_id: i64, now: Timestamp) {
        let latest = now.saturating_add(FOR_EVER).unwrap_or(Timestamp::MAX);
        let (state, reason, not_before, message) = match fate {
            Fate::Send => ("sending", None, None, Some(message_id)),
            Fate::Wait(until, reason) => ("pending", Some(reason.clone()), Some((*until).min(latest)), None),
            Fate::Superseded(reason) => ("superseded", Some(reason.clone()), None, None),
            Fate::Silenced(reason) => ("silenced", Some(reason.clone()), None, None),
        };
        self.transitions.push(one.transition_id);
        self.reminders.push(one.reminder);
        self.states.push(state);
        self.reasons.push(reason);
        self.not_before.push(not_before);
        self.messages.push(message);
    }

    fn write(&self, transaction: &mut Transaction<'_>, receiver: &str) -> Result<(), postgres::Error> {
        transaction.execute(
            include_str!("../../sql/queries/alerts/settle_notifications.sql"),
            &[
                &receiver,
                &self.transitions,
                &self.reminders,
                &self.states,
                &self.reasons,
                &self.not_before,
                &self.messages,
            ],
        )?;
        Ok(())
    }
}
