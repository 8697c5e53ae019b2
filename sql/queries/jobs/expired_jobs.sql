-- Finds the jobs whose worker let the lease run out, and ends the connections on which it may still be at them: a
-- frozen one would keep its locks for ever. A lease given in the future was given before the clock was set back.
-- Parameters: $1 kinds
-- Rows returned: id, epoch, worker, attempt, and how many of the worker's connections were ended
SELECT j.id,
       j.epoch,
       j.attempted_by,
       j.attempt,
       (SELECT count(pg_terminate_backend(a.pid))
        FROM pg_stat_activity a
        WHERE a.application_name = 'webmon-jobs:' || j.attempted_by
          AND a.datname = current_database()
          AND pg_has_role(a.usesysid, 'USAGE'))
FROM webmon.jobs j
WHERE j.state = 'running'
  AND j.kind = ANY ($1)
  AND (j.lease_until < clock_timestamp() OR j.leased_at > clock_timestamp())
ORDER BY j.id
LIMIT 100
