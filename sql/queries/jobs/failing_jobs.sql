-- Kinds of jobs that keep failing: a job was discarded and none has completed since, or a job waits after several failures.
-- Parameters: $1 how often a waiting job must have failed
-- Rows returned: one for each kind: the kind, its last error, how often it was tried, and when it failed
SELECT DISTINCT ON (j.kind) j.kind, j.last_error, j.attempt, coalesce(j.finalized_at, j.attempted_at) AS failed_at
FROM webmon.jobs j
WHERE (j.state = 'discarded'
       AND NOT EXISTS (
           SELECT
           FROM webmon.jobs c
           WHERE c.kind = j.kind
             AND c.state = 'completed'
             AND c.finalized_at > j.finalized_at))
   OR (j.state = 'retryable' AND j.attempt >= $1)
ORDER BY j.kind, failed_at DESC
