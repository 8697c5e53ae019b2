-- Enqueues jobs. If a job with the same kind and key waits already, the new one is folded into it. The waiting job keeps its
-- args. It takes the earlier time and the higher priority of the two, but after a failure it keeps its pause.
-- The waiting job is locked, so it begins only after this transaction. So it sees everything that this transaction wrote.
-- Parameters, arrays of the same length: $1 kinds, $2 keys (null: none), $3 args, $4 priorities, $5 times (null: now),
--             $6 attempts at most, $7 schedules (null: none); no kind and key twice
-- Locks: the rows with the same kind and key, in the order of the arrays, until the transaction ends
-- Rows returned: id, and whether it is new
INSERT INTO webmon.jobs AS j (kind, key, args, priority, scheduled_at, max_attempts, schedule)
SELECT n.kind, n.key, n.args, n.priority, coalesce(n.scheduled_at, clock_timestamp()), n.max_attempts, n.schedule
FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::smallint[], $5::timestamptz[], $6::smallint[], $7::text[])
     AS n (kind, key, args, priority, scheduled_at, max_attempts, schedule)
ORDER BY n.kind, n.key
ON CONFLICT (kind, key) WHERE state IN ('available', 'retryable') AND key IS NOT NULL DO UPDATE
SET priority = least(j.priority, excluded.priority),
    scheduled_at = CASE j.state WHEN 'available' THEN least(j.scheduled_at, excluded.scheduled_at)
                                ELSE j.scheduled_at END
RETURNING id, xmax = 0
