//! Tells history at once what a watcher has found, so that `webmon.current_status` and `webmon.incidents` are as fresh as
//! the alerts. A minute later history derives the same from the results, and is right where the two differ.

use postgres::Client;

use crate::database::{DatabaseError, Remedy};

/// Writes what `sites` came to into the tables of history. Gives way to a derivation that is at work on them.
pub(super) fn refresh(client: &mut Client, sites: &[i32]) -> Result<(), DatabaseError> {
    if sites.is_empty() {
        return Ok(());
    }
    let failed = DatabaseError::statement("cannot refresh the state of sites");
    let mut transaction = client.transaction().map_err(failed)?;
    let mut write = || {
        // Sites that are being derived are left to the derivation.
        transaction.batch_execute(
            "SET LOCAL lock_timeout = '200ms'; SET LOCAL synchronous_commit = off; \
             SET LOCAL idle_in_transaction_session_timeout = '60s'",
        )?;
        let rows = transaction.query(
            "SELECT site_id FROM webmon.sites WHERE site_id = ANY($1::integer[]) \
             ORDER BY site_id FOR NO KEY UPDATE SKIP LOCKED",
            &[&sites],
        )?;
        let locked: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        transaction.execute(include_str!("../../sql/queries/alerts/refresh_places.sql"), &[&locked])?;
        transaction.execute(include_str!("../../sql/queries/alerts/refresh_incidents.sql"), &[&locked])?;
        Ok(())
    };
    let outcome: Result<(), postgres::Error> = write();
    match outcome.map_err(failed) {
        Ok(()) => transaction.commit().map_err(failed),
        // A derivation holds a lock that is needed. It comes to the same a little later.
        Err(error) if error.remedy() == Remedy::Retry => Ok(()),
        Err(error) => Err(error),
    }
}
