-- Says that a writer is at work, and counts all of its topic that were seen within two leases. Who was seen later than
-- now was seen before the clock was set back: they show up again at once, or are gone.
-- Parameters: $1 topic, $2 owner, $3 lease in milliseconds
-- Rows returned: one: the writers at work (this one included), its place among them by name (from 0), and the server's
--                clock
WITH seen AS (
    INSERT INTO webmon.writers (topic, owner, started_at, seen_at, lease_until)
    VALUES ($1, $2, clock_timestamp(), clock_timestamp(),
            clock_timestamp() + $3::float8 * interval '1 millisecond')
    ON CONFLICT (topic, owner) DO UPDATE SET seen_at = excluded.seen_at, lease_until = excluded.lease_until
)
SELECT 1 + count(*) AS writers,
       count(*) FILTER (WHERE owner < $2) AS place,
       clock_timestamp() AS server_time
FROM webmon.writers
WHERE topic = $1
  AND owner <> $2
  AND seen_at > clock_timestamp() - 2 * $3::float8 * interval '1 millisecond'
  AND seen_at <= clock_timestamp() + 2 * $3::float8 * interval '1 millisecond'
