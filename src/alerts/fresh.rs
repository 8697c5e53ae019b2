//! Tells history at once what a watcher has found, so that `webmon.current_status` and `webmon.incidents` are as fresh as
//! the alerts. A minute later history derives the same from the results, and is right where the two differ.

use jiff::Timestamp;
use postgres::{Client, Transaction};

use super::known::Known;
use crate::database::{DatabaseError, Remedy};

/// Sites of which history is to be told, and those of their locations that it does not know.
#[derive(Default)]
pub(super) struct Fresh {
    sites: Vec<i32>,
    /// The columns of the new locations.
    of: Vec<i32>,
    locations: Vec<i32>,
    newest: Vec<Option<Timestamp>>,
    verdicts: Vec<Option<Timestamp>>,
    next_after_s: Vec<Option<i32>>,
}

impl Fresh {
    pub(super) fn push(&mut self, site: &Known) {
        self.sites.push(site.site_id);
        for place in site.unlisted() {
            self.of.push(site.site_id);
            self.locations.push(place.voice.location_id);
            self.newest.push(place.voice.newest.map(|(at, _)| at));
            self.verdicts.push(place.voice.verdicts.first().map(|verdict| verdict.at));
            self.next_after_s.push(place.next_after_s);
        }
    }

    /// Writes what the sites came to into the tables of history. Gives way to a derivation that is at work on them.
    pub(super) fn write(&self, client: &mut Client) -> Result<(), DatabaseError> {
        if self.sites.is_empty() {
            return Ok(());
        }
        let failed = DatabaseError::statement("cannot refresh the state of sites");
        let mut transaction = client.transaction().map_err(failed)?;
        match self.write_in(&mut transaction).map_err(failed) {
            Ok(()) => transaction.commit().map_err(failed),
            // A derivation holds a lock that is needed. It comes to the same a little later.
            Err(error) if error.remedy() == Remedy::Retry => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write_in(&self, transaction: &mut Transaction<'_>) -> Result<(), postgres::Error> {
        // Sites that are being derived are left to the derivation.
        transaction.batch_execute(
            "SET LOCAL lock_timeout = '200ms'; SET LOCAL synchronous_commit = off; \
             SET LOCAL idle_in_transaction_session_timeout = '60s'",
        )?;
        let rows = transaction.query(
            "SELECT site_id FROM webmon.sites WHERE site_id = ANY($1::integer[]) \
             ORDER BY site_id FOR NO KEY UPDATE SKIP LOCKED",
            &[&self.sites],
        )?;
        let locked: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        if !self.of.is_empty() {
            transaction.execute(
                include_str!("../../sql/queries/alerts/add_locations.sql"),
                &[&locked, &self.of, &self.locations, &self.newest, &self.verdicts, &self.next_after_s],
            )?;
        }
        transaction.execute(include_str!("../../sql/queries/alerts/refresh_places.sql"), &[&locked])?;
        transaction.execute(include_str!("../../sql/queries/alerts/refresh_incidents.sql"), &[&locked])?;
        Ok(())
    }
}
