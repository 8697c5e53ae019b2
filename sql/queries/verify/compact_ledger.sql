-- Merges the old rows of the ledger of one epoch and UTC day into one row. Within an epoch the ranges adjoin, so the merged
-- row proves the same.
-- Parameters: $1 the minute from which rows are left alone
-- Locks: the merged rows, until the transaction ends
-- Rows changed: the rows that are left of those merged
WITH mergeable AS (
    SELECT topic, partition, epoch, date_trunc('day', minute AT TIME ZONE 'UTC') AS day
    FROM webmon.ingest_batches
    WHERE minute < $1
    GROUP BY topic, partition, epoch, day
    HAVING count(*) > 1
), merged AS (
    DELETE FROM webmon.ingest_batches b
    USING mergeable m
    WHERE b.topic = m.topic
      AND b.partition = m.partition
      AND b.epoch = m.epoch
      AND date_trunc('day', b.minute AT TIME ZONE 'UTC') = m.day
      AND b.minute < $1
    RETURNING b.*, m.day
)
INSERT INTO webmon.ingest_batches (
    topic, partition, epoch, minute, from_offset, to_offset, records, inserted, superseded, duplicate, gaps, expired,
    dead, discarded)
SELECT topic,
       partition,
       epoch,
       min(minute),
       min(from_offset),
       max(to_offset),
       sum(records),
       sum(inserted),
       sum(superseded),
       sum(duplicate),
       sum(gaps),
       sum(expired),
       sum(dead),
       sum(discarded)
FROM merged
GROUP BY topic, partition, epoch, day
