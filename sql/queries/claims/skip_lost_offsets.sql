-- Records that Kafka no longer holds some offsets, and goes on after them in a new epoch. So no row of the ledger spans
-- them.
-- Parameters: $1 topic, $2 partition, $3 epoch held, $4 first offset lost, $5 first offset held
-- Locks: the partition's row, until the transaction ends
-- Rows returned: one, the new epoch; none if the claim was lost
WITH moved AS (
    UPDATE webmon.partition_offsets
    SET next_offset = $5,
        epoch = epoch + 1,
        updated_at = clock_timestamp(),
        last_record_at = NULL,
        last_record_crc = NULL
    WHERE topic = $1
      AND partition = $2
      AND epoch = $3
      AND next_offset = $4
    RETURNING topic, partition, epoch
), recorded AS (
    INSERT INTO webmon.offset_gaps (topic, partition, from_offset, to_offset)
    SELECT topic, partition, $4, $5
    FROM moved
    ON CONFLICT (topic, partition, from_offset) DO UPDATE
    SET to_offset = greatest(offset_gaps.to_offset, excluded.to_offset)
)
SELECT epoch
FROM moved
