-- Sets aside what could not be derived. It is tried again after 10 seconds, then after twice as long each time, at most an
-- hour.
-- Parameters: $1 what, $2 which, $3 error
-- Locks: the row, until the transaction ends
INSERT INTO webmon.set_aside AS stored (what, which, failed_at, again_at, attempts, error)
VALUES ($1, $2, clock_timestamp(), clock_timestamp() + interval '10 seconds', 1, $3)
ON CONFLICT (what, which) DO UPDATE
SET failed_at = excluded.failed_at,
    again_at = excluded.failed_at
        + least(interval '10 seconds' * power(2, least(stored.attempts, 20)), interval '1 hour'),
    attempts = stored.attempts + 1,
    error = excluded.error
