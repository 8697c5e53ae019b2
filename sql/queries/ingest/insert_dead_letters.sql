-- Keeps records that could not be stored as results, unchanged. A replay stores no letter twice.
-- Parameters: $1 topic, $2 partition, $3 offsets, $4 record times, $5 keys, $6 values, $7 reasons, $8 details
-- Rows changed: the letters that were not there before
INSERT INTO webmon.dead_letters (topic, partition, record_offset, record_at, key, value, reason, detail)
SELECT $1, $2, d.*
FROM unnest($3::bigint[], $4::timestamptz[], $5::bytea[], $6::bytea[], $7::text[], $8::text[]) AS d
ON CONFLICT (topic, partition, record_offset, digest) DO NOTHING
