-- The days below the floor that have a partition of results.
-- Parameters: $1 floor
-- Rows returned: the days, the oldest first
SELECT day
FROM (
    SELECT to_date(substring(relname FROM '^check_results_([0-9]{8})$'), 'YYYYMMDD') AS day
    FROM pg_catalog.pg_class
    WHERE relnamespace = 'webmon'::regnamespace
      AND relkind = 'r') AS days
WHERE (day + 1)::timestamp AT TIME ZONE 'UTC' <= $1::timestamptz
ORDER BY day
