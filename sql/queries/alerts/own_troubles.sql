-- Finds what is wrong with webmon itself.
-- Parameters: $1 topic, $2 how far behind a partition may be, in milliseconds, $3 how late the results of a checker may reach
--             Kafka, in milliseconds
-- Rows returned: kind, subject, level and, for people, what is wrong; each kind, subject and level once. The level
--                distinguishes what may be wrong with an outbox: 0 it lost results, 1 it is behind
SELECT 'lag' AS kind,
       format('%s/%s', o.topic, o.partition) AS subject,
       0 AS level,
       format('partition %s of %s is stored up to %s, and not further%s', o.partition, o.topic,
              to_char(a.as_of AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
              CASE WHEN o.owner IS NULL THEN ': no writer has it' ELSE '' END) AS summary
FROM webmon.partition_offsets o
CROSS JOIN LATERAL (SELECT greatest(o.caught_up_at, o.last_record_at)) AS a (as_of)
WHERE o.topic = $1
  AND o.paused IS NULL
  AND a.as_of < clock_timestamp() - $2::float8 * interval '1 millisecond'
UNION ALL
SELECT 'paused', format('%s/%s', topic, partition), 0, format('partition %s of %s is paused: %s', partition, topic, paused)
FROM webmon.partition_offsets
WHERE topic = $1
  AND paused IS NOT NULL
UNION ALL
SELECT 'dead_letters', $1, 0, format('%s has dead letters: %s%s', $1, count(*), CASE WHEN count(*) = 1000 THEN ' or more' ELSE '' END)
FROM (SELECT FROM webmon.dead_letters WHERE topic = $1 LIMIT 1000) AS letters
HAVING count(*) > 0
UNION ALL
SELECT DISTINCT ON (j.kind) 'discarded', j.kind, 0, format('job %s of kind %s was discarded: %s', j.id, j.kind, j.last_error)
FROM webmon.jobs j
WHERE j.state = 'discarded'
  -- A completed job, which would end the alert, is not kept for longer.
  AND j.finalized_at > clock_timestamp() - interval '1 day'
  AND NOT EXISTS (
      SELECT
      FROM webmon.jobs later
      WHERE later.kind = j.kind
        AND later.state = 'completed'
        AND later.finalized_at > j.finalized_at)
UNION ALL
SELECT DISTINCT 'spool', c.name, 0, format('the outbox of %s was full: results were lost', c.name)
FROM webmon.gaps g
JOIN webmon.checkers c USING (checker_id)
WHERE g.reason = 'outbox_full'
  AND g.stored_at > clock_timestamp() - interval '15 minutes'
UNION ALL
-- Whoever sends a small backlog at once has caught up already.
SELECT 'spool', c.name, 1, format('the outbox of %s is behind: what it sent at %s was %s minutes late', c.name,
                                  to_char(l.sent_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), l.late_s / 60)
FROM (
    SELECT checker_id, max(sent_at) AS sent_at, (array_agg(late_s ORDER BY sent_at DESC))[1] AS late_s
    FROM webmon.late_results
    WHERE sent_at > clock_timestamp() - interval '5 minutes'
      AND late_s > $3::float8 / 1000
    GROUP BY checker_id
    HAVING max(sent_at) - min(sent_at) >= interval '30 seconds') AS l
JOIN webmon.checkers c USING (checker_id)
