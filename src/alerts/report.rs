//! Alerts, for people and programs that ask.

use jiff::Timestamp;
use postgres::types::Json;
use postgres::{Client, Row};
use serde::Serialize;

use super::notice::Notice;
use crate::config::AlertKind;
use crate::database::{AnyTime, DatabaseError};

/// The most alerts that [`alerts`] returns.
pub const MAX_ALERTS: i64 = 10_000;

/// An alert.
#[derive(Clone, Debug, Serialize)]
pub struct AlertInfo {
    /// Its id.
    pub alert_id: i64,
    /// What it is about.
    pub kind: String,
    /// The site's key, or what of webmon it is about.
    pub subject: String,
    /// How grave it is.
    pub severity: String,
    /// The instant with which it began.
    pub began_at: Timestamp,
    /// The instant with which it ended.
    pub ended_at: Option<Timestamp>,
    /// When webmon noticed that it had begun.
    pub fired_at: Timestamp,
    /// When webmon noticed that it had ended.
    pub resolved_at: Option<Timestamp>,
    /// One line about its beginning.
    pub summary: String,
    /// The incident, as history has it now.
    pub incident_id: Option<i64>,
    /// Notifications without an outcome yet, of its beginning and its end.
    pub pending: i64,
    /// Notifications that receivers have.
    pub delivered: i64,
    /// Notifications that were silenced or superseded.
    pub kept_back: i64,
    /// Notifications that could not be delivered.
    pub dead: i64,
}

/// A notification.
#[derive(Clone, Debug, Serialize)]
pub struct NotificationInfo {
    /// `firing` or `resolved`.
    pub action: String,
    /// Whom it is for.
    pub receiver: String,
    /// 0, or the number of the reminder.
    pub reminder: i32,
    /// `pending`, `sending`, `delivered`, `superseded`, `silenced` or `dead`.
    pub state: String,
    /// Why it waits, or why it was not delivered.
    pub reason: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// It waits at least until this time.
    pub not_before: Timestamp,
    /// When it came to its outcome.
    pub finished_at: Option<Timestamp>,
    /// The message that it is in.
    pub message_id: Option<i64>,
    /// How often the message was sent.
    pub attempts: Option<i32>,
    /// What the receiver answered last.
    pub answer: Option<String>,
}

/// An alert with everything that is known of it.
#[derive(Clone, Debug, Serialize)]
pub struct AlertDetails {
    /// The alert.
    #[serde(flatten)]
    pub alert: AlertInfo,
    /// What was told of its beginning and its end.
    pub notices: Vec<Notice>,
    /// To whom, and what became of it.
    pub notifications: Vec<NotificationInfo>,
}

fn time(row: &Row, name: &str) -> Option<Timestamp> {
    row.get::<_, Option<AnyTime>>(name).map(|at| at.0)
}

/// Alerts that fire, or all that are kept, the newest first, at most `limit` (up to [`MAX_ALERTS`]).
///
/// # Errors
/// [`DatabaseError`].
pub fn alerts(
    client: &mut Client,
    ended_too: bool,
    subject: Option<&str>,
    kind: Option<AlertKind>,
    limit: i64,
) -> Result<Vec<AlertInfo>, DatabaseError> {
    let kind = kind.map(AlertKind::as_str);
    let rows = client
        .query(
            include_str!("../../sql/queries/alerts/list_alerts.sql"),
            &[&ended_too, &subject, &kind, &limit.clamp(1, MAX_ALERTS), &None::<i64>],
        )
        .map_err(DatabaseError::statement("cannot list alerts"))?;
    Ok(rows.iter().map(info).collect())
}

fn info(row: &Row) -> AlertInfo {
    AlertInfo {
        alert_id: row.get("alert_id"),
        kind: row.get("kind"),
        subject: row.get("subject"),
        severity: row.get("severity"),
        began_at: row.get::<_, AnyTime>("began_at").0,
        ended_at: time(row, "ended_at"),
        fired_at: row.get("fired_at"),
        resolved_at: time(row, "resolved_at"),
        summary: row.get("summary"),
        incident_id: row.get("incident_id"),
        pending: row.get("pending"),
        delivered: row.get("delivered"),
        kept_back: row.get("kept_back"),
        dead: row.get("dead"),
    }
}

/// Everything about one alert. None if there is none with this id.
///
/// # Errors
/// [`DatabaseError`].
pub fn alert(client: &mut Client, alert_id: i64) -> Result<Option<AlertDetails>, DatabaseError> {
    let failed = DatabaseError::statement("cannot show an alert");
    let (subject, kind) = (None::<&str>, None::<&str>);
    let found = client
        .query_opt(
            include_str!("../../sql/queries/alerts/list_alerts.sql"),
            &[&true, &subject, &kind, &1i64, &alert_id],
        )
        .map_err(failed)?;
    let Some(alert) = found.as_ref().map(info) else { return Ok(None) };
    let notices = client
        .query(
            "SELECT notice FROM webmon.alert_transitions WHERE alert_id = $1 ORDER BY transition_id",
            &[&alert_id],
        )
        .map_err(failed)?;
    let notifications = client
        .query(include_str!("../../sql/queries/alerts/show_notifications.sql"), &[&alert_id])
        .map_err(failed)?;
    Ok(Some(AlertDetails {
        alert,
        notices: notices.iter().map(|row| row.get::<_, Json<Notice>>(0).0).collect(),
        notifications: notifications
            .iter()
            .map(|row| NotificationInfo {
                action: row.get("action"),
                receiver: row.get("receiver"),
                reminder: row.get("reminder"),
                state: row.get("state"),
                reason: row.get("reason"),
                created_at: row.get("created_at"),
                not_before: row.get::<_, AnyTime>("not_before").0,
                finished_at: time(row, "finished_at"),
                message_id: row.get("message_id"),
                attempts: row.get("attempts"),
                answer: row.get("answer"),
            })
            .collect(),
    }))
}

/// Tells a disabled receiver again from now on. Returns whether it was disabled.
///
/// # Errors
/// [`DatabaseError`].
pub fn enable_receiver(client: &mut Client, name: &str) -> Result<bool, DatabaseError> {
    let enabled = client.execute("DELETE FROM webmon.receivers WHERE name = $1", &[&name]);
    Ok(enabled.map_err(DatabaseError::statement("cannot enable a receiver"))? > 0)
}
