-- What a site looked like, and when.
--
-- Parameters: $1 text: the site's key; $2 bigint: how many versions.
-- Locks: none.
-- Rows: one for each version, the newest first.
SELECT h.first_seen_at, h.name, h.url, h.method, h.labels, h.schedule, h.time_budget_ms, h.incident_failures,
       h.incident_recoveries, h.incident_locations, h.incident_locations_percent, h.incident_min_voters
FROM webmon.site_history h
WHERE h.site = $1
ORDER BY h.first_seen_at DESC
LIMIT $2
