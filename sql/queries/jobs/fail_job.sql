-- Ends an attempt that failed. The job is then:
--
-- - cancelled, if that was requested;
-- - discarded, if it was the last attempt or another one is of no use;
-- - otherwise retryable, after a pause. But if another job with its kind and key waits, that one takes over the attempts,
--   the error and the pause, and the failed job is cancelled.
--
-- Parameters: $1 id, $2 epoch, $3 error, $4 pause in milliseconds, $5 whether another attempt is of no use,
--             $6 whether the attempt counts
-- Locks: the row, then the row of the job that waits, until the transaction ends
-- Rows returned: the new state, and the id of the job that took over, if any; none if another worker has claimed the job
WITH failed AS (
    SELECT j.id,
           j.kind,
           j.key,
           j.priority,
           j.attempt - CASE WHEN $6 THEN 0 ELSE 1 END AS attempt,
           j.attempted_at,
           j.attempted_by,
           j.cancel_requested_at IS NOT NULL AS is_cancelled,
           $5 OR ($6 AND j.attempt >= j.max_attempts) AS is_over
    FROM webmon.jobs j
    WHERE j.id = $1
      AND j.epoch = $2
      AND j.state = 'running'
    FOR UPDATE
), waiting AS (
    SELECT w.id
    FROM webmon.jobs w
    JOIN failed f ON w.kind = f.kind AND w.key = f.key
    WHERE w.state IN ('available', 'retryable')
      AND NOT f.is_cancelled
      AND NOT f.is_over
    FOR UPDATE OF w
), heir AS (
    UPDATE webmon.jobs w
    SET state = 'retryable',
        -- It keeps at least one attempt, because it was enqueued for something new.
        attempt = least(greatest(w.attempt, f.attempt), w.max_attempts - 1),
        priority = least(w.priority, f.priority),
        scheduled_at = greatest(w.scheduled_at, clock_timestamp() + $4::float8 * interval '1 millisecond'),
        attempted_at = f.attempted_at,
        attempted_by = f.attempted_by,
        last_error = $3
    FROM failed f, waiting
    WHERE w.id = waiting.id
)
UPDATE webmon.jobs j
SET state = CASE
                WHEN f.is_cancelled THEN 'cancelled'
                WHEN f.is_over THEN 'discarded'
                WHEN EXISTS (SELECT FROM waiting) THEN 'cancelled'
                ELSE 'retryable'
            END,
    attempt = f.attempt,
    scheduled_at = CASE
                       WHEN f.is_cancelled OR f.is_over OR EXISTS (SELECT FROM waiting) THEN j.scheduled_at
                       ELSE clock_timestamp() + $4::float8 * interval '1 millisecond'
                   END,
    finalized_at = CASE
                       WHEN f.is_cancelled OR f.is_over OR EXISTS (SELECT FROM waiting) THEN clock_timestamp()
                   END,
    leased_at = NULL,
    lease_until = NULL,
    last_error = $3
FROM failed f
WHERE j.id = f.id
RETURNING j.state, (SELECT waiting.id FROM waiting)
