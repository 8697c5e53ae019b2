-- Finds the sites that are under planned maintenance: the newest instant of a location was missed because of it, and the next
-- one is not overdue.
-- Parameters: $1 sites; $2 and $3 the begin and end of the time to look at, given as values, so that only the partitions of
--             that time are planned for and locked
-- Rows returned: the sites
SELECT DISTINCT p.site_id
FROM webmon.alert_places p
CROSS JOIN LATERAL (
    SELECT r.scheduled_at, r.next_after_s, r.error_type
    FROM webmon.check_results r
    WHERE r.site_id = p.site_id
      AND r.location_id = p.location_id
      AND r.scheduled_at >= $2::timestamptz
      AND r.scheduled_at < $3::timestamptz
    ORDER BY r.scheduled_at DESC
    LIMIT 1) AS newest
WHERE p.site_id = ANY($1::integer[])
  AND newest.error_type = 107
  -- The result of the next instant may take about as long as until the one after it.
  AND clock_timestamp() < newest.scheduled_at + make_interval(secs => 60 + 2 * newest.next_after_s::float8)
