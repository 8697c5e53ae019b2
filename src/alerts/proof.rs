//! The proof that everybody was told.

use postgres::Client;
use serde::Serialize;

use crate::database::DatabaseError;

/// What became of all that was to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertProof {
    /// Beginnings and ends of alerts.
    pub transitions: i64,
    /// Transitions that do not have exactly one notification for each receiver that they name.
    pub unaccounted: i64,
    /// Transitions that follow one of the same kind: an alert that began or ended twice in a row.
    pub repeated: i64,
    /// Notifications that say something else than the message they are in.
    pub contradictions: i64,
    /// Notifications, reminders too.
    pub notifications: i64,
    /// Those without an outcome yet.
    pub pending: i64,
    /// Those that the receiver has.
    pub delivered: i64,
    /// Those that were of no interest any more.
    pub superseded: i64,
    /// Those that a silence kept back.
    pub silenced: i64,
    /// Those that could not be delivered.
    pub dead: i64,
}

impl AlertProof {
    /// Whether every transition is accounted for. Those that wait and those that are dead are accounted for, too.
    pub fn holds(&self) -> bool {
        self.unaccounted == 0 && self.repeated == 0 && self.contradictions == 0
    }
}

/// Looks at every transition that is kept, and proves that each has exactly one outcome for each receiver, or waits for it.
///
/// # Errors
/// [`DatabaseError`].
pub fn prove(client: &mut Client) -> Result<AlertProof, DatabaseError> {
    let row = client
        .query_one(include_str!("../../sql/queries/alerts/prove.sql"), &[])
        .map_err(DatabaseError::statement("cannot prove what was told"))?;
    Ok(AlertProof {
        transitions: row.get("transitions"),
        unaccounted: row.get("unaccounted"),
        repeated: row.get("repeated"),
        contradictions: row.get("contradictions"),
        notifications: row.get("notifications"),
        pending: row.get("pending"),
        delivered: row.get("delivered"),
        superseded: row.get("superseded"),
        silenced: row.get("silenced"),
        dead: row.get("dead"),
    })
}
