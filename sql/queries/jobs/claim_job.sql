-- Claims the first job that is due, by priority, then by time. A job whose kind and key is running is passed over. Each
-- priority is looked up by itself, so that jobs that are due later are never walked through.
-- Parameters: $1 kinds, $2 worker, $3 lease in milliseconds
-- Locks: the claimed row, until the transaction ends; rows locked by others are passed over
-- Rows returned: the job, or none
WITH due AS (
    SELECT waiting.id
    FROM (VALUES (1::smallint), (2), (3), (4)) AS level (priority)
    CROSS JOIN LATERAL (
        SELECT j.id
        FROM webmon.jobs j
        WHERE j.state IN ('available', 'retryable')
          AND j.priority = level.priority
          -- statement_timestamp() can use the index. clock_timestamp() would be called for each row.
          AND j.scheduled_at <= statement_timestamp()
          AND j.kind = ANY ($1)
          AND (j.key IS NULL
               OR NOT EXISTS (SELECT FROM webmon.jobs r
                              WHERE r.kind = j.kind AND r.key = j.key AND r.state = 'running'))
        ORDER BY j.scheduled_at, j.id
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS waiting
    LIMIT 1
)
UPDATE webmon.jobs j
SET state = 'running',
    attempt = j.attempt + 1,
    epoch = j.epoch + 1,
    attempted_at = clock_timestamp(),
    attempted_by = $2,
    leased_at = clock_timestamp(),
    lease_until = clock_timestamp() + $3::float8 * interval '1 millisecond'
FROM due
WHERE j.id = due.id
RETURNING j.id, j.epoch, j.kind, j.key, j.args, j.attempt, j.max_attempts, j.scheduled_at
