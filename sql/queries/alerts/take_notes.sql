-- Takes the notes of sites, and makes known the locations that they name.
-- Parameters: $1 sites
-- Locks: the rows of the locations, until the transaction ends; the caller has locked the sites before
WITH taken AS (
    DELETE FROM webmon.alert_notes
    WHERE site_id = ANY($1::integer[])
    RETURNING site_id, location_id, newest_at
)
INSERT INTO webmon.alert_places AS known (site_id, location_id, newest_at)
SELECT site_id, location_id, max(newest_at)
FROM taken
GROUP BY site_id, location_id
ORDER BY site_id, location_id
ON CONFLICT (site_id, location_id) DO UPDATE
SET newest_at = excluded.newest_at
WHERE known.newest_at < excluded.newest_at
