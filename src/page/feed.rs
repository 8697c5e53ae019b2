//! The feed of incidents. Its entries are alerts, because history may derive an incident anew, and an alert stays.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use postgres::Client;

use super::chosen::Shown;
use super::words;
use crate::config::Page;
use crate::database::DatabaseError;

/// How many entries the feed has.
const ENTRIES: i64 = 50;

/// An alert that a site was down.
#[derive(Clone, Debug)]
pub(super) struct Told {
    alert_id: i64,
    site_id: i32,
    began_at: Timestamp,
    ended_at: Option<Timestamp>,
    fired_at: Timestamp,
    resolved_at: Option<Timestamp>,
    error_type: Option<String>,
}

/// The feed.
#[derive(Debug)]
pub(super) struct Feed {
    /// Its id, which never changes.
    pub id: String,
    /// When the newest entry changed.
    pub updated: Timestamp,
    /// The entries, the newest first.
    pub entries: Vec<Entry>,
}

/// An entry.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its id, which never changes (RFC 4151).
    pub id: String,
    /// What the site is called in addresses.
    pub site_id: String,
    /// The title.
    pub title: String,
    /// When it was first said.
    pub published: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// What is known of it.
    pub summary: String,
}

/// Reads the alerts of the sites with these numbers.
///
/// # Errors
/// [`DatabaseError::Statement`].
pub(super) fn read(client: &mut Client, site_ids: &[i32]) -> Result<Vec<Told>, DatabaseError> {
    let fault = DatabaseError::statement("cannot read the feed");
    let rows = client
        .query(include_str!("../../sql/queries/page/feed.sql"), &[&site_ids, &ENTRIES])
        .map_err(fault)?;
    let told = rows.iter().map(|row| Told {
        alert_id: row.get("alert_id"),
        site_id: row.get("site_id"),
        began_at: row.get("began_at"),
        ended_at: row.get("ended_at"),
        fired_at: row.get("fired_at"),
        resolved_at: row.get("resolved_at"),
        error_type: row.get("error_type"),
    });
    Ok(told.collect())
}

impl Feed {
    /// The feed of `page`.
    pub(super) fn new(page: &Page, sites: &HashMap<i32, Shown<'_>>, told: &[Told]) -> Feed {
        let entry = |told: &Told| {
            let shown = sites.get(&told.site_id)?;
            let began = words::moment(told.began_at, &page.timezone);
            let why = told
                .error_type
                .as_deref()
                .map(|error| format!(": {}", words::error(error)))
                .unwrap_or_default();
            let (title, summary) = match told.ended_at {
                Some(ended) => {
                    let lasted =
                        words::duration(ended.duration_since(told.began_at).max(SignedDuration::ZERO));
                    let title = format!("{} was down for {lasted}", shown.name);
                    (title, format!("From {began} to {}{why}", words::moment(ended, &page.timezone)))
                }
                None => (format!("{} is down", shown.name), format!("Since {began}{why}")),
            };
            let day = told.began_at.strftime("%Y-%m-%d");
            Some(Entry {
                // Two databases have alerts of the same number.
                id: format!("tag:webmon,{day}:{}-{}", told.alert_id, told.began_at.as_second()),
                site_id: shown.id.clone(),
                title,
                published: told.fired_at,
                updated: told.resolved_at.unwrap_or(told.fired_at),
                summary,
            })
        };
        let entries: Vec<Entry> = told.iter().filter_map(entry).collect();
        let updated = entries.iter().map(|entry| entry.updated).max().unwrap_or(Timestamp::UNIX_EPOCH);
        let place = page.host.as_deref().unwrap_or_default();
        Feed { id: format!("tag:webmon,2026:feed:{place}{}", page.path), updated, entries }
    }
}
