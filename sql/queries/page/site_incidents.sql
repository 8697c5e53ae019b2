-- The newest incidents of a site.
--
-- Parameters: $1 integer: the site; $2 bigint: how many.
-- Locks: none.
-- Rows: one for each incident, the newest first.
SELECT i.incident_id, i.from_at, i.to_at, e.name AS error_type, i.error_detail, i.failures, i.locations
FROM webmon.site_incidents i
JOIN webmon.error_types e USING (error_type)
WHERE i.site_id = $1
ORDER BY i.from_at DESC
LIMIT $2
