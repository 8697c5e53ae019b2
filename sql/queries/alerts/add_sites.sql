-- Adds sites that are noted and not judged yet.
-- Parameters: $1 notes to look at
-- Locks: the new rows, until the transaction ends
INSERT INTO webmon.alert_sites (site_id)
SELECT DISTINCT n.site_id
FROM (SELECT site_id FROM webmon.alert_notes ORDER BY note_id LIMIT $1::bigint) AS n
WHERE NOT EXISTS (SELECT FROM webmon.alert_sites a WHERE a.site_id = n.site_id)
ORDER BY n.site_id
ON CONFLICT (site_id) DO NOTHING
