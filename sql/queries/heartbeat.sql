-- Says that a writer is at work, and counts all that were seen within two leases. Who was seen later than now was seen
-- before the clock was set back: they show up again at once, or are gone.
-- Parameters: $1 owner, $2 lease in milliseconds
-- Rows returned: one: the writers at work (this one included), and the server's clock
WITH seen AS (
    INSERT INTO webmon.writers (owner, seen_at)
    VALUES ($1, clock_timestamp())
    ON CONFLICT (owner) DO UPDATE SET seen_at = excluded.seen_at
)
SELECT 1 + count(*) AS writers, clock_timestamp() AS server_time
FROM webmon.writers
WHERE owner <> $1
  AND seen_at > clock_timestamp() - 2 * $2::float8 * interval '1 millisecond'
  AND seen_at <= clock_timestamp() + 2 * $2::float8 * interval '1 millisecond'
