-- Dead letters, a page at a time.
-- Parameters: $1 topic, $2 partition (null: all), $3 offset (null: all), $4 reason (null: all), $5 partition, $6 offset
--             and $7 digest of the last letter seen (null: none yet), $8 how many at most
-- Rows returned: in the order of partition, offset and digest
SELECT partition, record_offset, digest::text AS digest, record_at, key, value, reason, detail, stored_at
FROM webmon.dead_letters
WHERE topic = $1
  AND ($2::integer IS NULL OR partition = $2)
  AND ($3::bigint IS NULL OR record_offset = $3)
  AND ($4::text IS NULL OR reason = $4)
  AND ($5::integer IS NULL OR (partition, record_offset, digest) > ($5, $6::bigint, $7::text::uuid))
ORDER BY partition, record_offset, digest
LIMIT $8
