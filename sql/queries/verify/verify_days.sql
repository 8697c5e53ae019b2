-- The UTC days to verify: days with stored results, and days at or above the floor on which a gap ends.
-- Parameters: $1 floor (null: none)
-- Rows returned: one for each day, the newest first: its begin, and whether results of it may be stored
SELECT day, bool_or(stored) AS stored
FROM (
    SELECT day, true AS stored
    FROM webmon.result_partitions() AS p
    CROSS JOIN LATERAL generate_series(
        date_trunc('day', p.from_at, 'UTC'), p.to_at - interval '1 microsecond', interval '24 hours') AS day
    UNION ALL
    SELECT DISTINCT date_trunc('day', to_at, 'UTC'), false
    FROM webmon.gaps
    WHERE to_at IS NOT NULL
      AND ($1::timestamptz IS NULL OR to_at >= $1)
) AS days
GROUP BY day
ORDER BY day DESC
