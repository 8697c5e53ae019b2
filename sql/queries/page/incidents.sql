-- Incidents of some sites, page by page.
--
-- Parameters: $1 integer[]: the sites; $2 timestamptz, $3 bigint: only those that began before this one, by time and id;
-- $4 bigint: how many.
-- Locks: none.
-- Rows: one for each incident, the newest first.
SELECT i.incident_id, i.site_id, i.from_at, i.to_at, e.name AS error_type, i.error_detail, i.failures, i.locations
FROM webmon.site_incidents i
JOIN webmon.error_types e USING (error_type)
WHERE i.site_id = ANY ($1)
  AND (i.from_at, i.incident_id) < ($2, $3)
ORDER BY i.from_at DESC, i.incident_id DESC
LIMIT $4
