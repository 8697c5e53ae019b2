-- The newest result of each site and location, with counts over hours that are rolled up.
-- Parameters: $1 the first hour, $2 hours to leave out, because their changes are not rolled up yet
-- Rows returned: one for each site and location that has results in these hours
WITH counted AS (
    SELECT site_id,
           location_id,
           sum(success + failure + late + overlap + saturated + cancelled + network_down + checker_down + maintenance)
               AS results,
           sum(success) AS successes,
           sum(failure) AS failures
    FROM webmon.site_hours
    WHERE hour >= $1::timestamptz
      AND hour <> ALL($2::timestamptz[])
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
       counted.results - counted.successes - counted.failures AS missed
FROM counted
JOIN webmon.sites s USING (site_id)
JOIN webmon.locations l USING (location_id)
JOIN webmon.current_status c
    ON c.site = s.key
   AND c.location = l.name
WHERE counted.results > 0
