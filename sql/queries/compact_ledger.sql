-- Merges old rows of the ledger, one a minute, to one a day: where they adjoin, with the sums of their counts. What the
-- ledger proves stays the same.
-- Parameters: $1 how long rows are left as they are, in seconds, $2 days of a partition and epoch to merge at most
-- Locks: the merged rows, until the transaction ends
-- Rows returned: one, with the number of rows that there are less
WITH old AS (
    SELECT topic, partition, epoch, minute, from_offset,
           lag(to_offset) OVER stretch IS DISTINCT FROM from_offset AS begins
    FROM webmon.ingest_batches
    WHERE minute < date_trunc('day', statement_timestamp() - $1::float8 * interval '1 second', 'UTC')
    WINDOW stretch AS (
        PARTITION BY topic, partition, epoch, date_trunc('day', minute, 'UTC')
        ORDER BY from_offset)
), numbered AS (
    SELECT topic, partition, epoch, minute, date_trunc('day', minute, 'UTC') AS day,
           count(*) FILTER (WHERE begins) OVER (PARTITION BY topic, partition, epoch ORDER BY from_offset) AS stretch
    FROM old
), several AS (
    SELECT topic, partition, epoch, day, stretch, min(minute) AS minute
    FROM numbered
    GROUP BY topic, partition, epoch, day, stretch
    HAVING count(*) > 1
    LIMIT $2
), merged AS (
    DELETE FROM webmon.ingest_batches b
    USING numbered n, several s
    WHERE (n.topic, n.partition, n.epoch, n.day, n.stretch) = (s.topic, s.partition, s.epoch, s.day, s.stretch)
      AND (b.topic, b.partition, b.epoch, b.minute) = (n.topic, n.partition, n.epoch, n.minute)
    RETURNING b.topic, b.partition, b.epoch, s.minute, b.from_offset, b.to_offset, b.records, b.inserted,
              b.superseded, b.duplicate, b.gaps, b.expired, b.dead
), sums AS (
    INSERT INTO webmon.ingest_batches (
        topic, partition, epoch, minute, from_offset, to_offset, records, inserted, superseded, duplicate, gaps,
        expired, dead)
    SELECT topic, partition, epoch, minute, min(from_offset), max(to_offset), sum(records), sum(inserted),
           sum(superseded), sum(duplicate), sum(gaps), sum(expired), sum(dead)
    FROM merged
    GROUP BY topic, partition, epoch, minute
    RETURNING 1
)
SELECT (SELECT count(*) FROM merged) - (SELECT count(*) FROM sums)
