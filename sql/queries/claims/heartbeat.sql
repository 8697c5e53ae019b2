-- Records that a writer is at work, and counts the writers of its topic whose leases are running. Each lease is as long as
-- its writer asked for. A writer that was seen in the future was seen before the clock was set back. It is not counted. If
-- it is alive, it is seen again at once.
--
-- A writer is a newcomer for its first lease if another one has already run for a lease. If none has, no writer is a
-- newcomer.
--
-- Parameters: $1 topic, $2 owner, $3 lease in milliseconds
-- Rows returned: one: how many writers are not newcomers, and how many of these come before this one by name; how many are
--                newcomers, and how many of these came after this one; whether it is a newcomer itself; the server's clock.
--                This writer is counted too.
WITH living AS (
    SELECT owner,
           started_at,
           started_at <= seen_at - (lease_until - seen_at) AS proven,
           full_from > seen_at AND full_from <= lease_until AS newcomer
    FROM webmon.writers
    WHERE topic = $1
      AND owner <> $2
      AND lease_until > clock_timestamp()
      AND seen_at <= clock_timestamp() + (lease_until - seen_at)
), me AS (
    INSERT INTO webmon.writers AS w (topic, owner, started_at, seen_at, lease_until, full_from)
    SELECT $1, $2, now, now, now + lease, CASE WHEN EXISTS (SELECT FROM living WHERE proven) THEN now + lease ELSE now END
    FROM (SELECT clock_timestamp() AS now, $3::float8 * interval '1 millisecond' AS lease) AS given
    ON CONFLICT (topic, owner) DO UPDATE SET seen_at = excluded.seen_at, lease_until = excluded.lease_until
    RETURNING started_at, full_from > seen_at AND full_from <= lease_until AS newcomer
)
SELECT count(*) FILTER (WHERE NOT living.newcomer) + (NOT me.newcomer)::integer AS writers,
       count(*) FILTER (WHERE NOT living.newcomer AND living.owner < $2) AS place,
       count(*) FILTER (WHERE living.newcomer) + me.newcomer::integer AS newcomers,
       count(*) FILTER (WHERE living.newcomer AND (living.started_at, living.owner) > (me.started_at, $2)) AS younger,
       me.newcomer,
       clock_timestamp() AS server_time
FROM me
LEFT JOIN living ON true
GROUP BY me.started_at, me.newcomer
