-- Registers the schedule of a periodic kind. A schedule that has not changed goes on where it is.
-- Parameters: $1 kind, $2 schedule, $3 time zone, $4 its next instant (null: none)
-- Locks: the kind's row, until the transaction ends
INSERT INTO webmon.job_schedules AS s (kind, schedule, timezone, next_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (kind) DO UPDATE
SET schedule = excluded.schedule,
    timezone = excluded.timezone,
    next_at = excluded.next_at
WHERE (s.schedule, s.timezone) IS DISTINCT FROM (excluded.schedule, excluded.timezone)
