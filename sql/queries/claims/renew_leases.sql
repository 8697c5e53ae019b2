-- Renews the leases of partitions held, also of idle ones.
-- Parameters: $1 topic, $2 owner, $3 lease in milliseconds, $4 partitions, $5 their epochs, $6 those that are stored up to their end
-- Locks: the renewed rows, until the transaction ends
-- Rows returned: the partitions still held; a missing one was lost
UPDATE webmon.partition_offsets o
SET leased_at = clock_timestamp(),
    lease_until = clock_timestamp() + $3::float8 * interval '1 millisecond',
    caught_up_at = CASE WHEN o.partition = ANY($6::integer[]) THEN clock_timestamp() ELSE o.caught_up_at END
FROM unnest($4::integer[], $5::bigint[]) AS held (partition, epoch)
WHERE o.topic = $1
  AND o.owner = $2
  AND o.partition = held.partition
  AND o.epoch = held.epoch
RETURNING o.partition
