-- The UTC days that results are stored of.
-- Rows returned: one a day's partition, in order: the day's begin
SELECT to_date(right(c.relname, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC' AS day
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'webmon.check_results'::regclass
ORDER BY day
