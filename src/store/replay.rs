//! Replay: stores again what was stored before. It sets a partition's offset back and fences off the writer that held
//! it.

use postgres::Client;

use super::error::StoreError;

/// Makes the writers store `partition` of `topic` again from `offset` on. What is stored already counts as duplicate.
/// The call also ends a pause, and forgets the record with which the partition is compared; so this is the way to store
/// a topic that was recreated. Returns the previous next offset, if there was one.
///
/// The caller must ask whether Kafka still holds the offset: offsets that it does not hold are recorded as lost.
///
/// # Errors
/// [`StoreError::ReplayAhead`]; [`StoreError::UnknownPartition`] if no writer has seen it yet;
/// [`StoreError::Database`], also if a writer keeps it locked for 10 s.
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
