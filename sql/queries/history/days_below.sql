-- The partitions of results that may be dropped.
-- Rows returned: the UTC day on which each begins, the oldest first
SELECT (p.from_at AT TIME ZONE 'UTC')::date AS day
FROM webmon.result_partitions() p
WHERE p.to_at <= (SELECT purged_at FROM webmon.retention)
ORDER BY p.from_at
