-- Cancels a job: one that waits at once, one that runs by asking its worker to stop.
-- Parameters: $1 id
-- Locks: the row, until the transaction ends
-- Rows returned: the state it is in now; none when there is no such job or it has ended
UPDATE webmon.jobs
SET state = CASE state WHEN 'running' THEN 'running' ELSE 'cancelled' END,
    finalized_at = CASE WHEN state <> 'running' THEN clock_timestamp() END,
    cancel_requested_at = clock_timestamp()
WHERE id = $1
  AND state IN ('available', 'retryable', 'running')
RETURNING state
