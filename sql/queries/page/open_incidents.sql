-- The incidents that last.
--
-- Locks: none.
-- Rows: at most one for each site.
SELECT i.site_id, i.incident_id, i.from_at, e.name AS error_type, i.error_detail
FROM webmon.site_incidents i
JOIN webmon.error_types e USING (error_type)
WHERE i.to_at IS NULL
