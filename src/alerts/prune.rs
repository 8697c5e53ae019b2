//! Deletes alerts that ended long ago.

use std::time::Duration;

use postgres::Transaction;

use crate::database::DatabaseError;

/// Deletes up to `limit` alerts that ended longer than `keep` ago, and then messages and silences of that time to which
/// nothing refers any more; also old notes of late results, and notes that nobody has taken for a day, as where no process
/// judges sites. Returns how many alerts, messages and silences.
///
/// # Errors
/// [`DatabaseError`].
pub(crate) fn prune(
    transaction: &mut Transaction<'_>,
    keep: Duration,
    limit: i64,
) -> Result<u64, DatabaseError> {
    let failed = DatabaseError::statement("cannot prune alerts");
    let seconds = keep.as_secs_f64();
    let mut work = || -> Result<u64, postgres::Error> {
        let before: Option<jiff::Timestamp> = transaction
            .query_one("SELECT clock_timestamp() - $1::float8 * interval '1 second'", &[&seconds])?
            .get(0);
        let alerts = transaction
            .execute(include_str!("../../sql/queries/alerts/prune_alerts.sql"), &[&before, &limit])?;
        let messages = transaction.execute(
            "DELETE FROM webmon.messages m WHERE m.message_id IN ( \
                 SELECT o.message_id FROM webmon.messages o WHERE o.finished_at < $1 \
                 AND NOT EXISTS (SELECT FROM webmon.notifications n WHERE n.message_id = o.message_id) LIMIT $2)",
            &[&before, &limit],
        )?;
        transaction.execute(
            "DELETE FROM webmon.late_results WHERE sent_at < clock_timestamp() - interval '10 minutes'",
            &[],
        )?;
        // A site whose note is gone is judged with its next one.
        transaction.execute(
            "DELETE FROM webmon.alert_notes WHERE note_id IN ( \
                 SELECT note_id FROM webmon.alert_notes WHERE newest_at < clock_timestamp() - interval '1 day' \
                 ORDER BY note_id LIMIT $1)",
            &[&(limit * 100)],
        )?;
        let silences = transaction.execute("DELETE FROM webmon.silences WHERE until_at < $1", &[&before])?;
        Ok(alerts + messages + silences)
    };
    work().map_err(failed)
}
