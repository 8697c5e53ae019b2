-- Claims free partitions. A partition is free if it was never claimed, was released, or its lease is over. A lease that was
-- given in the future counts as over: the clock was set back since.
-- Parameters: $1 topic, $2 claimer, $3 lease in milliseconds, $4 partitions at most, $5 Kafka's cluster (null: unknown),
--             $6 how many partitions the topic has now, $7 partitions to leave alone
-- Locks: the claimed rows, until the transaction ends; rows locked by others are passed over
-- Rows returned: the claimed partitions, each with its new epoch, the next offset (null: none yet), the cluster from which
--                it is stored, and the timestamp and CRC of the record before that offset
WITH free AS (
    SELECT topic, partition
    FROM webmon.partition_offsets
    WHERE topic = $1
      AND partition < $6
      AND partition <> ALL ($7::integer[])
      AND paused IS NULL
      AND (owner IS NULL
           OR lease_until < clock_timestamp()
           OR leased_at > clock_timestamp())
    ORDER BY partition
    LIMIT $4
    FOR UPDATE SKIP LOCKED
)
UPDATE webmon.partition_offsets o
SET owner = $2,
    epoch = o.epoch + 1,
    leased_at = clock_timestamp(),
    lease_until = clock_timestamp() + $3::float8 * interval '1 millisecond',
    updated_at = clock_timestamp(),
    cluster_id = coalesce(o.cluster_id, $5)
FROM free
WHERE o.topic = free.topic
  AND o.partition = free.partition
RETURNING o.partition, o.epoch, o.next_offset, o.cluster_id, o.last_record_at, o.last_record_crc
