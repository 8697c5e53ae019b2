-- Counts in a row of the ledger what became of a letter that was taken out of it.
-- Parameters: $1 topic, $2 partition, $3 epoch, $4 minute, $5 inserted, $6 superseded, $7 duplicate, $8 gaps, $9 expired
UPDATE webmon.ingest_batches
SET records = records + 1,
    inserted = inserted + $5,
    superseded = superseded + $6,
    duplicate = duplicate + $7,
    gaps = gaps + $8,
    expired = expired + $9
WHERE topic = $1
  AND partition = $2
  AND epoch = $3
  AND minute = $4
