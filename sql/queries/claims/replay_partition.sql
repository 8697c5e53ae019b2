-- Sets a partition back to an offset. The writer that holds it loses its claim, a pause ends, and the topic is accepted as it
-- is now.
-- Parameters: $1 topic, $2 partition, $3 the offset to store from
-- Locks: the partition's row; waits for the transaction that is storing it
-- Rows returned: one, the next offset before; none if there is no such partition
WITH before AS (
    SELECT topic, partition, next_offset
    FROM webmon.partition_offsets
    WHERE topic = $1
      AND partition = $2
    FOR UPDATE
)
UPDATE webmon.partition_offsets o
SET next_offset = $3,
    epoch = o.epoch + 1,
    owner = NULL,
    leased_at = NULL,
    lease_until = NULL,
    paused = NULL,
    last_error = NULL,
    updated_at = clock_timestamp(),
    cluster_id = NULL,
    last_record_at = NULL,
    last_record_crc = NULL
FROM before
WHERE o.topic = before.topic
  AND o.partition = before.partition
RETURNING before.next_offset
