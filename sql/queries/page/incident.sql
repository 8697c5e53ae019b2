-- One incident.
--
-- Parameters: $1 bigint: the incident.
-- Locks: none.
-- Rows: one, or none.
SELECT i.incident_id, i.site_id, i.from_at, i.to_at, e.name AS error_type, i.error_detail, i.failures, i.locations
FROM webmon.site_incidents i
JOIN webmon.error_types e USING (error_type)
WHERE i.incident_id = $1
