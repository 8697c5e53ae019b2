-- The newest result of each site and location, with counts over all that is stored of them.
-- Rows returned: one a site and location, by site and location
WITH counted AS (
    SELECT site_id,
           location_id,
           max(scheduled_at) AS newest_at,
           count(*) AS results,
           count(*) FILTER (WHERE outcome = 's') AS successes,
           count(*) FILTER (WHERE outcome = 'f') AS failures,
           count(*) FILTER (WHERE outcome = 'm') AS missed
    FROM webmon.check_results
    WHERE scheduled_at > now() - $1::bigint * interval '1 second'
    GROUP BY site_id, location_id
)
SELECT c.site,
       c.name,
       c.location,
       c.url,
       c.scheduled_at,
       c.outcome,
       c.http_status,
       c.total_us,
       c.error_type,
       c.error_detail,
       c.error_message,
       counted.results,
       counted.successes,
       counted.failures,
       counted.missed
FROM counted
JOIN webmon.sites s USING (site_id)
JOIN webmon.locations l USING (location_id)
JOIN webmon.checks c
    ON c.site = s.key
   AND c.location = l.name
   AND c.scheduled_at = counted.newest_at
ORDER BY c.site, c.location
