-- The newest result of each site and location within one hour, with counts over its results.
-- Parameters: $1 hour, $2 its end. Both are given as values, so that only the partition of the hour is planned for and
--             locked.
-- Rows returned: one for each site and location
WITH counted AS (
    SELECT site_id,
           location_id,
           max(scheduled_at) AS newest_at,
           count(*) AS results,
           count(*) FILTER (WHERE outcome = 's') AS successes,
           count(*) FILTER (WHERE outcome = 'f') AS failures,
           count(*) FILTER (WHERE outcome = 'm') AS missed
    FROM webmon.check_results
    WHERE scheduled_at >= $1::timestamptz
      AND scheduled_at < $2::timestamptz
    GROUP BY site_id, location_id
)
SELECT s.key AS site,
       v.name,
       l.name AS location,
       v.url,
       r.scheduled_at,
       CASE r.outcome WHEN 's' THEN 'success' WHEN 'f' THEN 'failure' ELSE 'missed' END AS outcome,
       r.http_status,
       r.total_us,
       e.name AS error_type,
       r.error_detail,
       r.error_message,
       c.results,
       c.successes,
       c.failures,
       c.missed
FROM counted c
JOIN webmon.check_results r
    ON r.site_id = c.site_id
   AND r.location_id = c.location_id
   AND r.scheduled_at = c.newest_at
   AND r.scheduled_at >= $1
   AND r.scheduled_at < $2
JOIN webmon.sites s ON s.site_id = c.site_id
JOIN webmon.locations l ON l.location_id = c.location_id
JOIN webmon.site_versions v USING (version_id)
LEFT JOIN webmon.error_types e USING (error_type)
