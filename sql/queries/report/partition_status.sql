-- How far each topic-partition is stored, and by whom.
-- Parameters: $1 topic
-- Rows returned: one for each partition, in order
SELECT partition,
       next_offset,
       epoch,
       owner,
       lease_until > clock_timestamp() AS held,
       paused,
       last_error,
       updated_at
FROM webmon.partition_offsets
WHERE topic = $1
ORDER BY partition
