-- Finds the jobs whose lease is over, and ends the connections on which their worker may still run them. Otherwise a frozen
-- worker would keep its locks for ever. A lease that was given in the future counts as over: the clock was set back since.
-- Parameters: $1 kinds
-- Rows returned: id, epoch, worker, attempt, and how many connections of the worker were ended
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
