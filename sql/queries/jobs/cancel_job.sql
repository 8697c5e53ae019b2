-- Cancels a job. A waiting job is cancelled at once. The worker of a running job is asked to stop.
-- Parameters: $1 id
-- Locks: the row, until the transaction ends
-- Rows returned: the state that the job is in now; none if there is no such job or it has ended
UPDATE webmon.jobs
SET state = CASE state WHEN 'running' THEN 'running' ELSE 'cancelled' END,
    finalized_at = CASE WHEN state <> 'running' THEN clock_timestamp() END,
    cancel_requested_at = clock_timestamp()
WHERE id = $1
  AND state IN ('available', 'retryable', 'running')
RETURNING state
