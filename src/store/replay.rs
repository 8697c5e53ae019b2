//! Storing again what was stored before: a partition's offset is set back, and whoever held it is fenced off.

use postgres::Client;

use super::error::StoreError;

/// Makes the writers store `partition` of `topic` again, from `offset` on; what is stored already counts as duplicate.
/// A pause is over, and what the partition is compared with is forgotten: after a topic was recreated this is the way to
/// store the new one. Returns the next offset that there was, if any.
///
/// Whether Kafka still holds the offset is for the caller to ask: what it does not hold is recorded as lost.
///
/// # Errors
/// [`StoreError::ReplayAhead`]; [`StoreError::UnknownPartition`] where no writer has come upon it yet; [`StoreError::Database`], also when a writer
/// keeps it locked for 10 s.
pub fn replay(
    client: &mut Client,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Option<i64>, StoreError> {
    let failed = StoreError::statement;
    let mut transaction = client.transaction().map_err(failed("cannot begin a transaction"))?;
    transaction
        .batch_execute("SET LOCAL lock_timeout = '10s'")
        .map_err(failed("cannot set up a transaction"))?;
    let row = transaction
        .query_opt(
            include_str!("../../sql/queries/claims/replay_partition.sql"),
            &[&topic, &partition, &offset],
        )
        .map_err(failed("cannot set the partition back"))?
        .ok_or_else(|| StoreError::UnknownPartition { topic: topic.to_owned(), partition })?;
    let before: Option<i64> = row.get(0);
    match before {
        Some(next_offset) if next_offset < offset => Err(StoreError::ReplayAhead { offset, next_offset }),
        before => {
            transaction.commit().map_err(failed("cannot set the partition back"))?;
            Ok(before)
        }
    }
}
