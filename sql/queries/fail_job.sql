-- Ends an attempt that failed: to be tried again after a pause; discarded, when that was the last attempt or is of no
-- use; cancelled, when that was asked for or another one of its kind and key waits, which then stands for both.
-- Parameters: $1 id, $2 epoch, $3 error, $4 pause in milliseconds, $5 whether to try again is of no use,
--             $6 whether the attempt counts
-- Locks: the row, until the transaction ends
-- Rows returned: the new state; none when another worker has claimed it
WITH failed AS (
    SELECT j.id,
           CASE WHEN j.cancel_requested_at IS NOT NULL THEN 'cancelled'
                WHEN EXISTS (SELECT FROM webmon.jobs w
                             WHERE w.kind = j.kind AND w.key = j.key AND w.state IN ('available', 'retryable'))
                    THEN 'cancelled'
                WHEN $5 OR ($6 AND j.attempt >= j.max_attempts) THEN 'discarded'
                ELSE 'retryable' END AS state
    FROM webmon.jobs j
    WHERE j.id = $1
      AND j.epoch = $2
      AND j.state = 'running'
    FOR UPDATE
)
UPDATE webmon.jobs j
SET state = failed.state,
    attempt = j.attempt - CASE WHEN $6 THEN 0 ELSE 1 END,
    scheduled_at = CASE failed.state
                       WHEN 'retryable' THEN clock_timestamp() + $4::float8 * interval '1 millisecond'
                       ELSE j.scheduled_at END,
    finalized_at = CASE WHEN failed.state <> 'retryable' THEN clock_timestamp() END,
    leased_at = NULL,
    lease_until = NULL,
    last_error = $3
FROM failed
WHERE j.id = failed.id
RETURNING j.state
