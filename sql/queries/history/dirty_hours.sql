-- Hours that are marked and have not been rolled up for a while, the newest first.
-- Parameters: $1 hours at most, $2 how long ago they were rolled up at least, in milliseconds, $3 only hours before this
--             (null: all), $4 hours to leave out, as texts
-- Rows returned: the hours
SELECT d.hour
FROM (
    SELECT DISTINCT hour
    FROM webmon.rollup_dirty
    WHERE $3::timestamptz IS NULL
       OR hour < $3) AS d
LEFT JOIN webmon.rolled_up_hours r USING (hour)
WHERE (r.rolled_up_at IS NULL OR r.rolled_up_at <= clock_timestamp() - $2::float8 * interval '1 millisecond')
  AND to_char(d.hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') <> ALL($4::text[])
ORDER BY d.hour DESC
LIMIT $1
