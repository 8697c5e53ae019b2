-- The newest instants of a site, location by location.
--
-- Parameters: $1 integer: the site; $2 timestamptz: none from before it; $3 bigint: how many results.
-- Locks: none.
-- Rows: one for each instant and location, the newest first.
SELECT l.name AS location, r.scheduled_at, r.outcome, r.total_us
FROM webmon.check_results r
JOIN webmon.locations l USING (location_id)
WHERE r.site_id = $1
  AND r.scheduled_at >= $2
ORDER BY r.scheduled_at DESC
LIMIT $3
