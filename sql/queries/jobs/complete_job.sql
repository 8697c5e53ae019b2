-- Completes a job, in the transaction of its own work. This is the fence. A cancelled job is not completed.
-- Parameters: $1 id, $2 epoch
-- Locks: the row, until the transaction ends
UPDATE webmon.jobs
SET state = 'completed',
    finalized_at = clock_timestamp(),
    leased_at = NULL,
    lease_until = NULL
WHERE id = $1
  AND epoch = $2
  AND state = 'running'
  AND cancel_requested_at IS NULL
