//! Silences: when alerts are not told, who decided it, and why.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use postgres::types::Json;
use postgres::{GenericClient, Row};
use serde::Serialize;

use super::notice::Notice;
use crate::config::{AlertKind, Selection};
use crate::database::{AnyTime, DatabaseError};

/// The longest reason, and the longest name of who decided it, in characters.
pub const MAX_SILENCE_TEXT: usize = 1_000;
/// The most silences that [`silences`] returns.
const MAX_LIST: i64 = 10_000;

/// A silence that is to be added.
#[derive(Clone, Debug)]
pub struct NewSilence {
    /// The sites. If it is empty, all sites, and webmon itself.
    pub of: Selection,
    /// The kinds. Empty: all.
    pub kinds: BTreeSet<AlertKind>,
    /// When it begins. Default: now.
    pub from_at: Option<Timestamp>,
    /// When it ends.
    pub until_at: Timestamp,
    /// Who decided it.
    pub created_by: String,
    /// Why.
    pub reason: String,
}

/// A silence.
#[derive(Clone, Debug, Serialize)]
pub struct Silence {
    /// Its id.
    pub silence_id: i64,
    /// When it begins.
    pub from_at: Timestamp,
    /// When it ends, or has ended.
    pub until_at: Timestamp,
    /// Who decided it.
    pub created_by: String,
    /// Why.
    pub reason: String,
    /// The keys of the sites.
    pub sites: BTreeSet<String>,
    /// The labels that a site must all have. Without sites and labels, it is about everything.
    pub labels: BTreeMap<String, String>,
    /// The kinds. Empty: all.
    pub kinds: BTreeSet<String>,
}

impl Silence {
    /// Whether it is about `notice`.
    pub(super) fn covers(&self, notice: &Notice) -> bool {
        let of = Selection { sites: self.sites.clone(), labels: self.labels.clone() };
        (self.kinds.is_empty() || self.kinds.contains(notice.kind.as_str()))
            && (of.is_empty() || of.contains(&notice.subject, &notice.labels))
    }

    fn read(row: &Row) -> Silence {
        let texts = |name| row.get::<_, Vec<String>>(name).into_iter().collect();
        Silence {
            silence_id: row.get("silence_id"),
            from_at: row.get::<_, AnyTime>("from_at").0,
            until_at: row.get::<_, AnyTime>("until_at").0,
            created_by: row.get("created_by"),
            reason: row.get("reason"),
            sites: texts("sites"),
            labels: row.get::<_, Json<_>>("labels").0,
            kinds: texts("kinds"),
        }
    }
}

/// Adds a silence and returns its id.
///
/// # Errors
/// [`DatabaseError`]; also if it would end before it begins.
pub fn add_silence<C: GenericClient>(client: &mut C, new: &NewSilence) -> Result<i64, DatabaseError> {
    let sites: Vec<&String> = new.of.sites.iter().collect();
    let kinds: Vec<&str> = new.kinds.iter().map(|kind| kind.as_str()).collect();
    let row = client.query_one(
        "INSERT INTO webmon.silences (from_at, until_at, created_by, reason, sites, labels, kinds) \
         VALUES (coalesce($1, clock_timestamp()), $2, $3, $4, $5, $6, $7) RETURNING silence_id",
        &[&new.from_at, &new.until_at, &new.created_by, &new.reason, &sites, &Json(&new.of.labels), &kinds],
    );
    Ok(row.map_err(DatabaseError::statement("cannot add a silence"))?.get(0))
}

/// Ends a silence now. Returns whether it had not ended yet.
///
/// # Errors
/// [`DatabaseError`].
pub fn end_silence<C: GenericClient>(client: &mut C, silence_id: i64) -> Result<bool, DatabaseError> {
    let sql = "UPDATE webmon.silences \
                   SET from_at = least(from_at, clock_timestamp()), until_at = clock_timestamp() \
               WHERE silence_id = $1 AND until_at > clock_timestamp()";
    Ok(client.execute(sql, &[&silence_id]).map_err(DatabaseError::statement("cannot end a silence"))? > 0)
}

/// The silences that have not ended, or all that are kept, the newest first.
///
/// # Errors
/// [`DatabaseError`].
pub fn silences<C: GenericClient>(client: &mut C, ended_too: bool) -> Result<Vec<Silence>, DatabaseError> {
    let sql = "SELECT * FROM webmon.silences WHERE $1 OR until_at > clock_timestamp() \
               ORDER BY silence_id DESC LIMIT $2";
    let rows = client.query(sql, &[&ended_too, &MAX_LIST]);
    Ok(rows.map_err(DatabaseError::statement("cannot list silences"))?.iter().map(Silence::read).collect())
}

/// The silences in force.
pub(super) fn in_force<C: GenericClient>(client: &mut C) -> Result<Vec<Silence>, postgres::Error> {
    let sql = "SELECT * FROM webmon.silences \
               WHERE from_at <= clock_timestamp() AND until_at > clock_timestamp() ORDER BY silence_id LIMIT $1";
    Ok(client.query(sql, &[&MAX_LIST])?.iter().map(Silence::read).collect())
}
