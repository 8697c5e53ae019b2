-- Takes a dead letter out, and out of the ledger's count of dead ones, because it can be stored as a result after all.
-- Parameters: $1 topic, $2 partition, $3 offset, $4 digest
-- Locks: the letter, and the newest row of the ledger that counts it, until the transaction ends
-- Rows returned: epoch and minute of that row of the ledger; none if the letter is gone
WITH taken AS (
    DELETE FROM webmon.dead_letters
    WHERE topic = $1
      AND partition = $2
      AND record_offset = $3
      AND digest = $4::text::uuid
    RETURNING topic, partition, record_offset
), counted AS (
    SELECT b.topic, b.partition, b.epoch, b.minute
    FROM webmon.ingest_batches b
    JOIN taken t ON t.topic = b.topic AND t.partition = b.partition
    WHERE b.from_offset <= t.record_offset
      AND b.to_offset > t.record_offset
      AND b.dead > 0
    ORDER BY b.epoch DESC, b.minute DESC
    LIMIT 1
)
UPDATE webmon.ingest_batches b
SET dead = b.dead - 1,
    records = b.records - 1
FROM counted c
WHERE b.topic = c.topic
  AND b.partition = c.partition
  AND b.epoch = c.epoch
  AND b.minute = c.minute
RETURNING b.epoch, b.minute
