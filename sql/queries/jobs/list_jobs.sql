-- Jobs, the newest first.
-- Parameters: $1 id, $2 state, $3 kind (each null: any), $4 rows at most
-- Rows returned: one for each job
SELECT id, kind, key, args, state, priority, attempt, max_attempts, schedule, created_at, scheduled_at, attempted_at,
       attempted_by, lease_until, cancel_requested_at, finalized_at, last_error
FROM webmon.jobs
WHERE ($1::bigint IS NULL OR id = $1)
  AND ($2::text IS NULL OR state = $2)
  AND ($3::text IS NULL OR kind = $3)
ORDER BY id DESC
LIMIT $4
