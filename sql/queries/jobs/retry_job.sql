-- Makes a job available at once, with all its attempts, even if it has ended.
-- Parameters: $1 id
-- Locks: the row, until the transaction ends
UPDATE webmon.jobs
SET state = 'available',
    attempt = 0,
    scheduled_at = clock_timestamp(),
    finalized_at = NULL,
    cancel_requested_at = NULL
WHERE id = $1
  AND state <> 'running'
