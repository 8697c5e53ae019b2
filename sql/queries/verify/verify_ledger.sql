-- What the ledger says about each partition, and which offsets it does not account for.
-- Parameters: $1 topic (null: all)
-- Rows returned: one for each partition. Holes are ranges [hole_from, hole_to) between the first offset stored and the next
--                one to store that are neither stored nor known to be lost.
WITH ranges AS (
    SELECT topic, partition, from_offset, to_offset
    FROM webmon.ingest_batches
    UNION ALL
    SELECT topic, partition, from_offset, to_offset
    FROM webmon.offset_gaps
), covered AS (
    SELECT topic, partition, range_agg(int8range(from_offset, to_offset)) AS offsets
    FROM ranges
    GROUP BY topic, partition
), lost AS (
    SELECT topic, partition, sum(to_offset - from_offset)::bigint AS lost
    FROM webmon.offset_gaps
    GROUP BY topic, partition
), counted AS (
    SELECT topic,
           partition,
           sum(records)::bigint AS records,
           sum(inserted)::bigint AS inserted,
           sum(superseded)::bigint AS superseded,
           sum(duplicate)::bigint AS duplicate,
           sum(gaps)::bigint AS gaps,
           sum(expired)::bigint AS expired,
           sum(dead)::bigint AS dead,
           sum(discarded)::bigint AS discarded,
           -- The ranges within a row adjoin, so a row never has more records than offsets.
           sum(greatest(to_offset - from_offset - records, 0))::bigint AS without_record,
           sum(greatest(records - (to_offset - from_offset), 0))::bigint AS overcounted
    FROM webmon.ingest_batches
    GROUP BY topic, partition
), holes AS (
    SELECT c.topic,
           c.partition,
           int8multirange(int8range(lower(c.offsets), greatest(upper(c.offsets), o.next_offset))) - c.offsets AS holes
    FROM covered c
    JOIN webmon.partition_offsets o USING (topic, partition)
)
SELECT o.topic,
       o.partition,
       o.next_offset,
       lower(c.offsets) AS from_offset,
       upper(c.offsets) AS to_offset,
       coalesce(l.lost, 0) AS lost,
       coalesce(n.records, 0) AS records,
       coalesce(n.inserted, 0) AS inserted,
       coalesce(n.superseded, 0) AS superseded,
       coalesce(n.duplicate, 0) AS duplicate,
       coalesce(n.gaps, 0) AS gaps,
       coalesce(n.expired, 0) AS expired,
       coalesce(n.dead, 0) AS dead,
       coalesce(n.discarded, 0) AS discarded,
       coalesce(n.without_record, 0) AS without_record,
       coalesce(n.overcounted, 0) AS overcounted,
       ARRAY(SELECT lower(hole) FROM unnest(h.holes) AS hole ORDER BY hole) AS hole_from,
       ARRAY(SELECT upper(hole) FROM unnest(h.holes) AS hole ORDER BY hole) AS hole_to
FROM webmon.partition_offsets o
LEFT JOIN covered c USING (topic, partition)
LEFT JOIN lost l USING (topic, partition)
LEFT JOIN counted n USING (topic, partition)
LEFT JOIN holes h USING (topic, partition)
WHERE $1::text IS NULL OR o.topic = $1
ORDER BY o.topic, o.partition
