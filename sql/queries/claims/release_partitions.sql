-- Gives partitions back. Others can claim them at once, unless they are paused.
-- Parameters: $1 topic, $2 owner, $3 partitions, $4 their epochs, $5 why they are paused (null: they are not), $6 what is
--             wrong with them (null: nothing)
-- Locks: the released rows, until the transaction ends
UPDATE webmon.partition_offsets o
SET owner = NULL,
    leased_at = NULL,
    lease_until = NULL,
    paused = $5,
    last_error = coalesce($5, $6, o.last_error),
    updated_at = clock_timestamp()
FROM unnest($3::integer[], $4::bigint[]) AS held (partition, epoch)
WHERE o.topic = $1
  AND o.owner = $2
  AND o.partition = held.partition
  AND o.epoch = held.epoch
