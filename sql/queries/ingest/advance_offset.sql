-- Moves a partition's offset and renews its lease. This is the fence of every ingest transaction, and its first statement.
-- Parameters: $1 topic, $2 partition, $3 epoch held, $4 offset expected, $5 next offset, $6 lease in milliseconds,
--             $7 timestamp and $8 CRC-32 of the record before the next offset
-- Locks: the partition's row, until the transaction ends
-- Rows changed: 1, or 0 if the claim was lost
UPDATE webmon.partition_offsets
SET next_offset = $5,
    leased_at = clock_timestamp(),
    lease_until = clock_timestamp() + $6::float8 * interval '1 millisecond',
    last_error = NULL,
    updated_at = clock_timestamp(),
    last_record_at = $7,
    last_record_crc = $8
WHERE topic = $1
  AND partition = $2
  AND epoch = $3
  AND next_offset = $4
