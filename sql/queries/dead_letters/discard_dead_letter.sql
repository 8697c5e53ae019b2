-- Deletes a dead letter. From then on the ledger counts its record as discarded. If the ledger's row is being merged, the
-- letter stays, and the caller tries again.
-- Parameters: $1 topic, $2 partition, $3 offset, $4 digest
-- Locks: the letter, and the newest row of the ledger that counts it, until the transaction ends
-- Rows changed: 1, or 0 if the letter stays or is gone
WITH letter AS MATERIALIZED (
    SELECT topic, partition, record_offset, digest
    FROM webmon.dead_letters
    WHERE topic = $1
      AND partition = $2
      AND record_offset = $3
      AND digest = $4::text::uuid
    FOR UPDATE
), counted AS MATERIALIZED (
    SELECT b.topic, b.partition, b.epoch, b.minute
    FROM webmon.ingest_batches b
    JOIN letter l ON l.topic = b.topic AND l.partition = b.partition
    WHERE b.from_offset <= l.record_offset
      AND b.to_offset > l.record_offset
      AND b.dead > 0
    ORDER BY b.epoch DESC, b.minute DESC
    LIMIT 1
    FOR UPDATE OF b
), deleted AS (
    DELETE FROM webmon.dead_letters d
    USING letter l, counted
    WHERE d.topic = l.topic
      AND d.partition = l.partition
      AND d.record_offset = l.record_offset
      AND d.digest = l.digest
)
UPDATE webmon.ingest_batches b
SET dead = b.dead - 1,
    discarded = b.discarded + 1
FROM counted c
WHERE b.topic = c.topic
  AND b.partition = c.partition
  AND b.epoch = c.epoch
  AND b.minute = c.minute
